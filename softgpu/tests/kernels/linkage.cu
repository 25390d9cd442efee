// What separate headers and libraries bring: inline and template functions with weak linkage, implicit kernel
// instances, a byte-code interpreter with a dense switch, managed variables, functions that do not return, variable
// argument lists, structures returned by value, lambdas passed to kernels' bodies, unions, bit fields, 16-byte types.
#include <cuda_runtime.h>
#include <stdarg.h>
#include <stdint.h>

template <typename T>
__noinline__ __device__ T clamp_to(T x, T low, T high) {
    return x < low ? low : x > high ? high : x;
}
inline __noinline__ __device__ uint32_t mix(uint32_t h) {
    h ^= h >> 16;
    h *= 0x85ebca6bu;
    h ^= h >> 13;
    h *= 0xc2b2ae35u;
    return h ^ h >> 16;
}

template <typename T, typename F> __global__ void map_kernel(T* x, int n, F f) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) x[i] = f(x[i], i);
}
struct MixIt {
    uint32_t salt;
    __device__ uint32_t operator()(uint32_t v, int i) const {
        return clamp_to<uint32_t>(mix(v + salt), 16u, 1u << 30) + i;
    }
};
struct Clamp { double low, high; __device__ double operator()(double v, int) const { return clamp_to(v, low, high); } };
// Never called on the host: the launches make the instances, as in a library's source.
void instances(uint32_t* a, double* b) {
    map_kernel<<<1, 1>>>(a, 1, MixIt{1});
    map_kernel<<<1, 1>>>(b, 1, Clamp{0, 1});
}

// A stack machine: 0 push i, 1 add, 2 sub, 3 mul, 4 dup, 5 swap, 6 neg, 7 and, 8 or, 9 xor, 10 shl, 11 shr, 12 popc,
// 13 rot, 14 jump if zero, 15 jump, 16 over, 17 drop, 18 inc, 19 dec, 20 halt.
extern "C" __global__ void stack_machine(int* out, const uint8_t* code, const int* input, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    int stack[16] = {input[i]}, top = 0, steps = 0;
    for (int pc = 0; steps < 500; ++steps) {
        int t = stack[top & 15], u = stack[(top - 1) & 15];
        switch (code[pc++]) {
            case 0: stack[++top & 15] = (int8_t)code[pc++]; break;
            case 1: stack[--top & 15] = u + t; break;
            case 2: stack[--top & 15] = u - t; break;
            case 3: stack[--top & 15] = u * t; break;
            case 4: stack[++top & 15] = t; break;
            case 5: stack[top & 15] = u; stack[(top - 1) & 15] = t; break;
            case 6: stack[top & 15] = -t; break;
            case 7: stack[--top & 15] = u & t; break;
            case 8: stack[--top & 15] = u | t; break;
            case 9: stack[--top & 15] = u ^ t; break;
            case 10: stack[--top & 15] = u << (t & 31); break;
            case 11: stack[--top & 15] = u >> (t & 31); break;
            case 12: stack[top & 15] = __popc(t); break;
            case 13: {
                int v = stack[(top - 2) & 15];
                stack[(top - 2) & 15] = u;
                stack[(top - 1) & 15] = t;
                stack[top & 15] = v;
                break;
            }
            case 14: --top; pc = t == 0 ? code[pc] : pc + 1; break;
            case 15: pc = code[pc]; break;
            case 16: stack[++top & 15] = u; break;
            case 17: --top; break;
            case 18: stack[top & 15] = t + 1; break;
            case 19: stack[top & 15] = t - 1; break;
            default: out[2 * i] = t; out[2 * i + 1] = steps; return;
        }
    }
    out[2 * i] = stack[top & 15];
    out[2 * i + 1] = -1;
}

// One call per case, so that no select can stand for the switch.
__device__ __noinline__ int way(int k, int x) { return x * k + (x >> (k & 7)); }
extern "C" __global__ void dense_switch(int* out, const int* op, const int* in, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    int x = in[i], r;
    switch (op[i]) {
#define WAY(K) case K: r = way(K * K + 3, x) ^ (K << 4); out[i] = r; __threadfence(); break;
        WAY(0)
        WAY(1) WAY(2) WAY(3) WAY(4) WAY(5) WAY(6) WAY(7) WAY(8) WAY(9) WAY(10) WAY(11) WAY(12) WAY(13) WAY(14) WAY(15)
            WAY(16) WAY(17) WAY(18) WAY(19) WAY(20) WAY(21) WAY(22) WAY(23) WAY(24) WAY(25) WAY(26) WAY(27) WAY(28)
                WAY(29) WAY(30) WAY(31) default : out[i] = -x;
    }
}

__managed__ int managed_count = 5;
__managed__ float managed_table[4];
extern "C" __global__ void managed(float* out) {
    if (threadIdx.x < 4) managed_table[threadIdx.x] = threadIdx.x * 1.5f;
    __syncthreads();
    out[threadIdx.x] = managed_table[threadIdx.x & 3] + managed_count;
}

__device__ __noinline__ void __attribute__((noreturn)) fail(int* where, int code) {
    *where = code;
    __threadfence();
    asm volatile("exit;");
    __builtin_unreachable();
}
extern "C" __global__ void no_return(int* out, int* code, const int* in) {
    int v = in[threadIdx.x];
    if (v < 0) fail(code + threadIdx.x, v);
    out[threadIdx.x] = v * 2;
}

__device__ __noinline__ double sum_of(int count, ...) {
    va_list list;
    va_start(list, count);
    double s = 0;
    for (int i = 0; i < count; ++i) s += i & 1 ? va_arg(list, double) : (double)va_arg(list, int);
    va_end(list);
    return s;
}
extern "C" __global__ void variadic(double* out) {
    out[threadIdx.x] = sum_of(4, (int)threadIdx.x, 0.25, 7, threadIdx.x * 0.5) + sum_of(1, 3);
}

struct Pixel { uint32_t r : 5, g : 6, b : 5, a : 16; };
union Word { uint32_t bits; Pixel pixel; uint8_t byte[4]; };
struct Matrix { float m[3][3]; };
__device__ __noinline__ Matrix multiply(Matrix a, const Matrix& b) {
    Matrix c;
    for (int i = 0; i < 3; ++i)
        for (int j = 0; j < 3; ++j) {
            c.m[i][j] = 0;
            for (int k = 0; k < 3; ++k) c.m[i][j] += a.m[i][k] * b.m[k][j];
        }
    return c;
}
extern "C" __global__ void aggregates(uint32_t* pixels, Matrix* power, const Matrix* in, int exponent, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    Word w;
    w.bits = pixels[i];
    w.pixel.r = w.pixel.b + 1;
    w.pixel.a ^= w.pixel.g;
    w.byte[3] += 3;
    pixels[i] = w.bits;
    Matrix p = in[i];
    for (int e = 1; e < exponent; ++e) p = multiply(p, in[i]);
    power[i] = p;
}

extern "C" __global__ void wide_copies(ulonglong2* a, const ulonglong2* b, short4* c, const short4* d, char2* e,
                                       int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    ulonglong2 v = b[i];
    a[i] = make_ulonglong2(v.y, v.x + 1);
    short4 s = d[i];
    c[i] = make_short4(s.w, s.z, s.y, -s.x);
    char2 t = e[i];
    e[i] = make_char2(t.y, t.x);
}

// nvcc 13 turns switches into comparisons, other compilers into brx.idx.
extern "C" __global__ void indexed_branch(int* out, const int* in) {
    int r, v = in[threadIdx.x];
    asm volatile(
        "{\n\t.reg .u32 k; and.b32 k, %1, 3;\n\tways: .branchtargets way0, way1, way2, way1;\n\tbrx.idx k, ways;\n\t"
        "way0: add.s32 %0, %1, 100; bra join;\n\tway1: mul.lo.s32 %0, %1, 3; bra join;\n\tway2: neg.s32 %0, "
        "%1;\n\tjoin:\n\t}"
        : "=r"(r)
        : "r"(v));
    out[threadIdx.x] = r;
}
