// The single-precision math library and the fast intrinsics. Built twice: as it is, and with --use_fast_math.
#include <stdint.h>

#define UNARY(NAME, EXPR)                                                              \
    extern "C" __global__ void NAME(float* out, const float* in, int n) {              \
        int i = blockIdx.x * blockDim.x + threadIdx.x;                                 \
        if (i >= n) return;                                                            \
        float x = in[i];                                                               \
        out[i] = (EXPR);                                                               \
    }
UNARY(math_sin, sinf(x))
UNARY(math_cos, cosf(x))
UNARY(math_tan, tanf(x))
UNARY(math_asin, asinf(x))
UNARY(math_acos, acosf(x))
UNARY(math_atan, atanf(x))
UNARY(math_sinh, sinhf(x))
UNARY(math_cosh, coshf(x))
UNARY(math_tanh, tanhf(x))
UNARY(math_asinh, asinhf(x))
UNARY(math_acosh, acoshf(x))
UNARY(math_atanh, atanhf(x))
UNARY(math_exp, expf(x))
UNARY(math_exp2, exp2f(x))
UNARY(math_exp10, exp10f(x))
UNARY(math_expm1, expm1f(x))
UNARY(math_log, logf(x))
UNARY(math_log2, log2f(x))
UNARY(math_log10, log10f(x))
UNARY(math_log1p, log1pf(x))
UNARY(math_sqrt, sqrtf(x))
UNARY(math_rsqrt, rsqrtf(x))
UNARY(math_cbrt, cbrtf(x))
UNARY(math_erf, erff(x))
UNARY(math_erfc, erfcf(x))
UNARY(math_erfinv, erfinvf(x))
UNARY(math_normcdf, normcdff(x))
UNARY(math_lgamma, lgammaf(x))
UNARY(math_tgamma, tgammaf(x))
UNARY(math_j0, j0f(x))
UNARY(math_sinpi, sinpif(x))
UNARY(math_floor, floorf(x))
UNARY(math_ceil, ceilf(x))
UNARY(math_trunc, truncf(x))
UNARY(math_rint, rintf(x))
UNARY(math_round, roundf(x))
UNARY(math_logb, logbf(x))
UNARY(math_saturate, __saturatef(x))
UNARY(math_reciprocal, 1.0f / x)

#define BINARY(NAME, EXPR)                                                             \
    extern "C" __global__ void NAME(float* out, const float* a, const float* b, int n) { \
        int i = blockIdx.x * blockDim.x + threadIdx.x;                                 \
        if (i >= n) return;                                                            \
        float x = a[i], y = b[i];                                                      \
        out[i] = (EXPR);                                                               \
    }
BINARY(math_pow, powf(x, y))
BINARY(math_div, x / y)
BINARY(math_fmod, fmodf(x, y))
BINARY(math_remainder, remainderf(x, y))
BINARY(math_atan2, atan2f(x, y))
BINARY(math_hypot, hypotf(x, y))
BINARY(math_fdim, fdimf(x, y))
BINARY(math_fmin, fminf(x, y))
BINARY(math_fmax, fmaxf(x, y))
BINARY(math_copysign, copysignf(x, y))
BINARY(math_nextafter, nextafterf(x, y))
BINARY(math_ldexp, ldexpf(x, (int)y))

extern "C" __global__ void math_parts(float* out, int* exponents, const float* in, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    float x = in[i], s, c, whole;
    sincosf(x, &s, &c);
    out[5 * i] = s;
    out[5 * i + 1] = c;
    out[5 * i + 2] = frexpf(x, exponents + i);
    out[5 * i + 3] = modff(x, &whole);
    out[5 * i + 4] = whole;
}

extern "C" __global__ void math_fast(float* out, const float* a, const float* b, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    float x = a[i], y = b[i], *o = out + 12 * i;
    o[0] = __sinf(x);
    o[1] = __cosf(x);
    o[2] = __expf(x);
    o[3] = __logf(fabsf(x));
    o[4] = __powf(fabsf(x), y);
    o[5] = __fdividef(x, y);
    o[6] = __frsqrt_rn(fabsf(x));
    o[7] = __exp10f(x);
    o[8] = __log2f(fabsf(y));
    o[9] = __log10f(fabsf(y));
    o[10] = __tanf(y);
    o[11] = __frcp_rn(y);
}

// Directed roundings: add, mul, fma, div, rcp, sqrt × rn rz ru rd.
extern "C" __global__ void math_roundings(float* out, const float* a, const float* b, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    float x = a[i], y = b[i], *o = out + 24 * i, z = x - y, q = fabsf(y);
#define FOUR(AT, F, ...)             \
    o[AT] = F##_rn(__VA_ARGS__);     \
    o[AT + 1] = F##_rz(__VA_ARGS__); \
    o[AT + 2] = F##_ru(__VA_ARGS__); \
    o[AT + 3] = F##_rd(__VA_ARGS__);
    FOUR(0, __fadd, x, y)
    FOUR(4, __fmul, x, y) FOUR(8, __fmaf, x, y, z) FOUR(12, __fdiv, x, y) FOUR(16, __frcp, y) FOUR(20, __fsqrt, q)
}

extern "C" __global__ void math_classes(uint32_t* out, const float* in, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    float x = in[i];
    out[i] = isnan(x) | isinf(x) << 1 | isfinite(x) << 2 | (signbit(x) ? 8 : 0) | (x > 0.f) << 4 | !(x <= 1.f) << 5;
}

// float → integers in every rounding (NaN gives 0 or the type's rule, overflow saturates), and back.
extern "C" __global__ void float_to_integers(long long* out, const float* in, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    float x = in[i];
    long long* o = out + 10 * i;
    o[0] = __float2int_rn(x); o[1] = __float2int_rz(x); o[2] = __float2int_ru(x); o[3] = __float2int_rd(x);
    o[4] = __float2uint_rn(x); o[5] = __float2uint_rz(x);
    o[6] = __float2ll_rn(x); o[7] = (long long)__float2ull_rz(x);
    o[8] = (short)x; o[9] = (unsigned char)x;
}
extern "C" __global__ void integers_to_float(float* out, const long long* in, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    long long v = in[i];
    float* o = out + 10 * i;
    o[0] = __int2float_rn((int)v);
    o[1] = __int2float_rz((int)v);
    o[2] = __int2float_ru((int)v);
    o[3] = __int2float_rd((int)v);
    o[4] = __uint2float_rn((unsigned)v);
    o[5] = __ll2float_rn(v);
    o[6] = __ull2float_rz((unsigned long long)v);
    o[7] = __ll2float_rd(v);
    o[8] = (float)(short)v; o[9] = (float)(signed char)v;
}
