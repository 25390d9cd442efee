// Control flow and linkage: functions that are not inlined, recursion, function pointers, virtual functions, jump
// tables, local arrays with a dynamic index, constant tables, device variables with initialisers, traps and printing.
#include <assert.h>
#include <stdint.h>
#include <stdio.h>

__device__ __noinline__ float horner(float x, int terms) {
    float s = 0, k = 1;
    for (int i = 0; i < terms; ++i) { s = s * x + k; k = -k * 0.5f; }
    return s;
}
struct Split { double whole; int sign; short tail[3]; };
__device__ __noinline__ Split split(double x, char bias) {
    Split s;
    s.sign = x < 0 ? -1 : 1;
    s.whole = floor(fabs(x));
    for (int j = 0; j < 3; ++j) s.tail[j] = (short)((fabs(x) - s.whole) * (j + 1) * 100) + bias;
    return s;
}
extern "C" __global__ void noinline_calls(float* out, double* whole, int* tails, const float* in, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    out[i] = horner(in[i], i % 5 + 1) + horner(-in[i], 3);
    Split s = split(in[i] * 10.0, (char)(i % 7 - 3));
    whole[i] = s.whole * s.sign;
    tails[i] = s.tail[0] + s.tail[1] * 3 + s.tail[2] * 7;
}

__device__ __noinline__ unsigned ackermann(unsigned m, unsigned n) {
    if (m == 0) return n + 1;
    if (n == 0) return ackermann(m - 1, 1);
    return ackermann(m - 1, ackermann(m, n - 1));
}
extern "C" __global__ void recursion(unsigned* out) {
    out[threadIdx.x] = ackermann(threadIdx.x % 3, threadIdx.x / 3 % 4);
}

// Quicksort on a local array, recursive, dynamic indices.
__device__ __noinline__ void quicksort(int* v, int low, int high) {
    while (low < high) {
        int pivot = v[(low + high) / 2], i = low, j = high;
        while (i <= j) {
            while (v[i] < pivot) ++i;
            while (v[j] > pivot) --j;
            if (i <= j) { int t = v[i]; v[i++] = v[j]; v[j--] = t; }
        }
        if (j - low < high - i) { quicksort(v, low, j); low = i; }
        else { quicksort(v, i, high); high = j; }
    }
}
extern "C" __global__ void local_quicksort(int* data) {
    int v[24];
    int* mine = data + (blockIdx.x * blockDim.x + threadIdx.x) * 24;
    for (int j = 0; j < 24; ++j) v[j] = mine[j];
    quicksort(v, 0, 23);
    for (int j = 0; j < 24; ++j) mine[j] = v[j];
}

typedef float (*Binary)(float, float);
__device__ float op_add(float a, float b) { return a + b; }
__device__ float op_sub(float a, float b) { return a - b; }
__device__ float op_mul(float a, float b) { return a * b; }
__device__ float op_mix(float a, float b) { return fmaf(a, 0.25f, b * 0.75f); }
__device__ Binary table[4] = {op_add, op_sub, op_mul, op_mix};
extern "C" __global__ void function_pointers(float* out, const float* a, const float* b, const int* which, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) out[i] = table[which[i] & 3](a[i], b[i]);
}

struct Shape {
    __device__ virtual float area() const = 0;
    __device__ virtual int corners() const { return 0; }
    __device__ virtual ~Shape() {}
};
struct Circle : Shape {
    float r;
    __device__ Circle(float r) : r(r) {}
    __device__ float area() const override { return 3.0f * r * r; }
};
struct Box : Shape {
    float w, h;
    __device__ Box(float w, float h) : w(w), h(h) {}
    __device__ float area() const override { return w * h; }
    __device__ int corners() const override { return 4; }
};
extern "C" __global__ void virtual_calls(float* out, const float* in, const int* kind, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    Circle circle(in[i]);
    Box box(in[i], 2.0f);
    Shape* shape = kind[i] ? (Shape*)&box : (Shape*)&circle;
    out[i] = shape->area() + shape->corners();
}

extern "C" __global__ void jump_table(int* out, const int* op, const int* a, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    int x = a[i], r = 0;
    switch (op[i]) {
        case 0: r = x + 17; break;
        case 1: r = x * x - 3; break;
        case 2: for (int k = 0; k < x % 13; ++k) r = r * 3 + k; break;
        case 3: r = x ^ 0x5555; break;
        case 4: r = out[i] / 3 + x; break;                 // falls to nothing; reads what was there
        case 5: r = __popc(x); [[fallthrough]];
        case 6: r += __clz(x); break;
        case 7: r = -x; break;
        case 9: out[i] = 99; return;
        case 10: r = x % 10; break;
        case 11: r = x << (i & 7); break;
        default: r = -1;
    }
    out[i] = r;
}

struct Entry { uint8_t code; uint16_t wide; int32_t value; double weight; };
__constant__ Entry entries[5] = {
    {1, 300, -7, 0.5}, {2, 65535, 2147483647, -1e300}, {3, 0, 1, 3.25}, {0, 1, 2, 1e-310}, {255, 4, -1, 0}};
__constant__ float coefficients[8] = {1.0f, -0.5f, 0.25f, 0, 0, 0.0625f};
__constant__ char text[] = "constant text";
__device__ int counters[3] = {10, 20, 30};
__device__ const int* inside = &counters[1];               // an address as an initialiser
__device__ double scratch;                                 // no initialiser: zero
__device__ int tally = 30;
static __device__ unsigned long long packed[2] = {0x123456789abcdef0ull, 42};
extern "C" __global__ void tables(double* out, int* ints, char* chars, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) {
        const Entry& e = entries[i % 5];
        out[i] = e.weight + e.code + e.wide * 2.0 + e.value + coefficients[i % 8] + text[i % 13];
        chars[i] = text[(i * 3) % 14];
        ints[i] = counters[i % 3] + *inside + (int)(packed[i & 1] >> (i % 32));
    }
    if (i == 0) { scratch = scratch + 2.5; out[n] = scratch; atomicAdd(&tally, 5); }
}
extern "C" __global__ void tables_again(double* out) { *out = scratch * 1000 + tally; }

extern "C" __global__ void print(const float* in, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n && i % 2 == 0)
        printf("thread %d of %u: %.3f %5.1e '%c' %s %llx %%\n", i, blockDim.x, in[i], in[i] * 1000.0, 'a' + i, "text",
               0xfeedfacecafeull);
    if (i == 0) printf("no arguments\n");
}
extern "C" __global__ void asserts(const int* in, int limit) { assert(in[threadIdx.x] < limit); }
extern "C" __global__ void traps(const int* in, int limit) {
    if (in[threadIdx.x] >= limit) __trap();
}

// Early exit by some threads before barriers that the rest still use; exit in inline PTX.
extern "C" __global__ void early_exit(int* out, const int* in) {
    __shared__ int count;
    if (threadIdx.x == 0) count = 0;
    __syncthreads();
    if (in[threadIdx.x] < 0) asm volatile("exit;");
    atomicAdd(&count, 1);
    if (in[threadIdx.x] == 0) return;
    __syncthreads();
    out[threadIdx.x] = count;
}

// Goto soup: irreducible control flow, a loop entered at two places.
extern "C" __global__ void irreducible(int* out, const int* in, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    int x = in[i], steps = 0;
    if (x & 1) goto odd;
even:
    x /= 2;
    if (++steps > 200 || x <= 1) goto done;
    if (!(x & 1)) goto even;
odd:
    x = 3 * x + 1;
    if (++steps > 200) goto done;
    if (x & 1) goto odd;
    goto even;
done:
    out[i] = steps * 1000 + x % 1000;
}

// Fibonacci words by a big local table; alloca as a library would.
extern "C" __global__ void local_table(unsigned long long* out, const int* at, int n) {
    unsigned long long f[93];
    f[0] = 0; f[1] = 1;
    for (int k = 2; k < 93; ++k) f[k] = f[k - 1] + f[k - 2];
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) out[i] = f[at[i] % 93];
}
extern "C" __global__ void device_malloc(int** out) {
    int* p = (int*)malloc(16);
    if (p) { p[0] = threadIdx.x; free(p); }
    out[threadIdx.x] = p;
}
