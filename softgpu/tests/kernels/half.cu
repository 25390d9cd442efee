// cuda_fp16.h and cuda_bf16.h: conversions in every rounding, scalar and packed arithmetic, comparisons, min/max with
// and without NaN, transcendental functions, atomics, shuffles.
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <stdint.h>

extern "C" __global__ void half_from_float(uint16_t* out, const float* in, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    float v = in[i];
    uint16_t* o = out + 8 * i;
    o[0] = __half_as_ushort(__float2half_rn(v));
    o[1] = __half_as_ushort(__float2half_rz(v));
    o[2] = __half_as_ushort(__float2half_rd(v));
    o[3] = __half_as_ushort(__float2half_ru(v));
    o[4] = __bfloat16_as_ushort(__float2bfloat16_rn(v));
    o[5] = __bfloat16_as_ushort(__float2bfloat16_rz(v));
    o[6] = __bfloat16_as_ushort(__float2bfloat16_rd(v));
    o[7] = __bfloat16_as_ushort(__float2bfloat16_ru(v));
}

extern "C" __global__ void half_pairs_from_float(uint32_t* out, const float2* in, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    float2 v = in[i];
    half2 h = __float22half2_rn(v), s = __floats2half2_rn(v.y, v.x);
    __nv_bfloat162 b = __float22bfloat162_rn(v), t = __floats2bfloat162_rn(v.y, v.x);
    out[4 * i] = *reinterpret_cast<uint32_t*>(&h);
    out[4 * i + 1] = *reinterpret_cast<uint32_t*>(&s);
    out[4 * i + 2] = *reinterpret_cast<uint32_t*>(&b);
    out[4 * i + 3] = *reinterpret_cast<uint32_t*>(&t);
}

// Integer conversions of every half: out[i] = {int rn, rz, rd, ru, uint rz, short rz, ll rz, uchar rz} of bits i.
extern "C" __global__ void half_to_integers(long long* out, int bf) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    long long* o = out + 8ll * i;
    if (bf) {
        __nv_bfloat16 v = __ushort_as_bfloat16((unsigned short)i);
        o[0] = __bfloat162int_rn(v);
        o[1] = __bfloat162int_rz(v);
        o[2] = __bfloat162int_rd(v);
        o[3] = __bfloat162int_ru(v);
        o[4] = __bfloat162uint_rz(v);
        o[5] = __bfloat162short_rz(v);
        o[6] = __bfloat162ll_rz(v);
        o[7] = __bfloat162uchar_rz(v);
    } else {
        half v = __ushort_as_half((unsigned short)i);
        o[0] = __half2int_rn(v); o[1] = __half2int_rz(v); o[2] = __half2int_rd(v); o[3] = __half2int_ru(v);
        o[4] = __half2uint_rz(v); o[5] = __half2short_rz(v); o[6] = __half2ll_rz(v); o[7] = __half2uchar_rz(v);
    }
}

extern "C" __global__ void half_from_integers(uint16_t* out, const long long* in, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    long long v = in[i];
    uint16_t* o = out + 8 * i;
    o[0] = __half_as_ushort(__int2half_rn((int)v));
    o[1] = __half_as_ushort(__uint2half_rz((unsigned)v));
    o[2] = __half_as_ushort(__short2half_ru((short)v));
    o[3] = __half_as_ushort(__ll2half_rd(v));
    o[4] = __bfloat16_as_ushort(__int2bfloat16_rn((int)v));
    o[5] = __bfloat16_as_ushort(__uint2bfloat16_rz((unsigned)v));
    o[6] = __bfloat16_as_ushort(__ushort2bfloat16_rn((unsigned short)v));
    o[7] = __bfloat16_as_ushort(__ull2bfloat16_rn((unsigned long long)v));
}

extern "C" __global__ void half_rounding(uint16_t* out, const uint16_t* in, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    half v = __ushort_as_half(in[i]);
    out[4 * i] = __half_as_ushort(hrint(v));
    out[4 * i + 1] = __half_as_ushort(htrunc(v));
    out[4 * i + 2] = __half_as_ushort(hfloor(v));
    out[4 * i + 3] = __half_as_ushort(hceil(v));
}

// a, b, c packed; 16 results per pair.
extern "C" __global__ void half2_arithmetic(uint32_t* out, const uint32_t* in, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    half2 a = *(const half2*)(in + 3 * i), b = *(const half2*)(in + 3 * i + 1), c = *(const half2*)(in + 3 * i + 2);
    half2 r[16] = {__hadd2(a, b), __hsub2(a, b), __hmul2(a, b), __hfma2(a, b, c), __hadd2_sat(a, b), __hmul2_sat(a, b),
                   __hfma2_sat(a, b, c), __hfma2_relu(a, b, c), __hneg2(a), __habs2(a), __hmin2(a, b), __hmax2(a, b),
                   __hmin2_nan(a, b), __hmax2_nan(a, b), __h2div(a, b), __hadd2_rn(a, b)};
    for (int j = 0; j < 16; ++j) out[16 * i + j] = *(uint32_t*)&r[j];
}
extern "C" __global__ void bfloat162_arithmetic(uint32_t* out, const uint32_t* in, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    using B = __nv_bfloat162;
    B a = *(const B*)(in + 3 * i), b = *(const B*)(in + 3 * i + 1), c = *(const B*)(in + 3 * i + 2);
    B r[16] = {__hadd2(a, b), __hsub2(a, b), __hmul2(a, b), __hfma2(a, b, c), __hadd2_sat(a, b), __hmul2_sat(a, b),
               __hfma2_sat(a, b, c), __hfma2_relu(a, b, c), __hneg2(a), __habs2(a), __hmin2(a, b), __hmax2(a, b),
               __hmin2_nan(a, b), __hmax2_nan(a, b), __h2div(a, b), __hadd2_rn(a, b)};
    for (int j = 0; j < 16; ++j) out[16 * i + j] = *(uint32_t*)&r[j];
}

// Scalar forms, written with operators.
template <typename T> __device__ void polynomial(T* out, const T* in, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    T x = in[i], one = T(1.0f), y = x * x + x * T(0.5f) - one;
    if (y > one || y != y) y = __hmax(y, T(-2.0f));
    y += -x;
    out[i] = y / (one + __habs(x));
}
extern "C" __global__ void half_polynomial(half* out, const half* in, int n) { polynomial(out, in, n); }
extern "C" __global__ void bfloat16_polynomial(__nv_bfloat16* out, const __nv_bfloat16* in, int n) {
    polynomial(out, in, n);
}

// Comparison bits: eq ne lt le gt ge, ordered then unordered; then the packed forms' boolean results and masks.
extern "C" __global__ void half_compare(uint32_t* out, const uint16_t* a, const uint16_t* b, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    half x = __ushort_as_half(a[i]), y = __ushort_as_half(b[i]);
    uint32_t r =
        __heq(x, y) | __hne(x, y) << 1 | __hlt(x, y) << 2 | __hle(x, y) << 3 | __hgt(x, y) << 4 | __hge(x, y) << 5;
    r |= __hequ(x, y) << 6 | __hneu(x, y) << 7 | __hltu(x, y) << 8 | __hleu(x, y) << 9 | __hgtu(x, y) << 10 |
         __hgeu(x, y) << 11;
    r |= __hisnan(x) << 12 | (__hisinf(x) != 0) << 13;
    half2 p = __halves2half2(x, y), q = __halves2half2(y, y);
    r |= __hbeq2(p, q) << 14 | __hbltu2(p, q) << 15;
    out[3 * i] = r;
    out[3 * i + 1] = __heq2_mask(p, q);
    half2 f = __hge2(p, q);
    out[3 * i + 2] = *(uint32_t*)&f;
}
extern "C" __global__ void bfloat16_compare(uint32_t* out, const uint16_t* a, const uint16_t* b, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    __nv_bfloat16 x = __ushort_as_bfloat16(a[i]), y = __ushort_as_bfloat16(b[i]);
    uint32_t r =
        __heq(x, y) | __hne(x, y) << 1 | __hlt(x, y) << 2 | __hle(x, y) << 3 | __hgt(x, y) << 4 | __hge(x, y) << 5;
    r |= __hequ(x, y) << 6 | __hneu(x, y) << 7 | __hltu(x, y) << 8 | __hleu(x, y) << 9 | __hgtu(x, y) << 10 |
         __hgeu(x, y) << 11;
    r |= __hisnan(x) << 12 | (__hisinf(x) != 0) << 13;
    out[i] = r;
}

extern "C" __global__ void half_functions(uint16_t* out, const uint16_t* in, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    half v = __ushort_as_half(in[i]);
    half r[8] = {hsqrt(v), hrsqrt(v), hrcp(v), hexp(v), hexp2(v), hlog(v), hsin(v), htanh(v)};
    for (int j = 0; j < 8; ++j) out[8 * i + j] = __half_as_ushort(r[j]);
}
extern "C" __global__ void bfloat16_functions(uint16_t* out, const uint16_t* in, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    __nv_bfloat16 v = __ushort_as_bfloat16(in[i]);
    __nv_bfloat16 r[8] = {hsqrt(v), hrsqrt(v), hrcp(v), hexp(v), hexp2(v), hlog(v), hcos(v), htanh(v)};
    for (int j = 0; j < 8; ++j) out[8 * i + j] = __bfloat16_as_ushort(r[j]);
}

// Sums of small integers are exact in both formats, so that the order of the atomics does not matter.
extern "C" __global__ void half_atomics(half2* h2, __nv_bfloat162* b2, half* h, __nv_bfloat16* b, const int* bins,
                                        int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    int k = bins[i];
    atomicAdd(h2 + k, __floats2half2_rn(1.f, 2.f));
    atomicAdd(b2 + k, __floats2bfloat162_rn(1.f, -1.f));
    atomicAdd(h + k, __float2half(1.f));
    atomicAdd(b + k, __float2bfloat16(1.f));
}

// Dot product of half2 rows by one warp: hfma2 with f32 promotion at the end, shuffles of half2.
extern "C" __global__ void half2_dot(float* out, const half2* a, const half2* b, int cols) {
    half2 s = __float2half2_rn(0.f);
    const half2 *x = a + (size_t)blockIdx.x * cols, *y = b + (size_t)blockIdx.x * cols;
    for (int c = threadIdx.x; c < cols; c += 32) s = __hfma2(x[c], y[c], s);
    for (int d = 16; d > 0; d >>= 1) s = __hadd2(s, __shfl_xor_sync(0xffffffff, s, d));
    if (threadIdx.x == 0) out[blockIdx.x] = __low2float(s) + __high2float(s);
}
