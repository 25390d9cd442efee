// The double-precision math library (Payne–Hanek reduction of large arguments: local memory and calls), conversions
// and roundings.
#include <stdint.h>

#define UNARY(NAME, EXPR)                                                              \
    extern "C" __global__ void NAME(double* out, const double* in, int n) {            \
        int i = blockIdx.x * blockDim.x + threadIdx.x;                                 \
        if (i >= n) return;                                                            \
        double x = in[i];                                                              \
        out[i] = (EXPR);                                                               \
    }
UNARY(double_sin, sin(x))
UNARY(double_cos, cos(x))
UNARY(double_tan, tan(x))
UNARY(double_exp, exp(x))
UNARY(double_exp2, exp2(x))
UNARY(double_expm1, expm1(x))
UNARY(double_log, log(x))
UNARY(double_log2, log2(x))
UNARY(double_log10, log10(x))
UNARY(double_log1p, log1p(x))
UNARY(double_sqrt, sqrt(x))
UNARY(double_rsqrt, rsqrt(x))
UNARY(double_cbrt, cbrt(x))
UNARY(double_tanh, tanh(x))
UNARY(double_atan, atan(x))
UNARY(double_asin, asin(x))
UNARY(double_erf, erf(x))
UNARY(double_lgamma, lgamma(x))
UNARY(double_reciprocal, 1.0 / x)
UNARY(double_floor, floor(x))
UNARY(double_ceil, ceil(x))
UNARY(double_trunc, trunc(x))
UNARY(double_rint, rint(x))
UNARY(double_round, round(x))

#define BINARY(NAME, EXPR)                                                             \
    extern "C" __global__ void NAME(double* out, const double* a, const double* b, int n) { \
        int i = blockIdx.x * blockDim.x + threadIdx.x;                                 \
        if (i >= n) return;                                                            \
        double x = a[i], y = b[i];                                                     \
        out[i] = (EXPR);                                                               \
    }
BINARY(double_pow, pow(x, y))
BINARY(double_div, x / y)
BINARY(double_fmod, fmod(x, y))
BINARY(double_atan2, atan2(x, y))
BINARY(double_hypot, hypot(x, y))
BINARY(double_fmin, fmin(x, y))
BINARY(double_fmax, fmax(x, y))
BINARY(double_copysign, copysign(x, y))

extern "C" __global__ void double_roundings(double* out, const double* a, const double* b, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    double x = a[i], y = b[i], *o = out + 24 * i, z = x - y, q = fabs(y);
#define FOUR(AT, F, ...)             \
    o[AT] = F##_rn(__VA_ARGS__);     \
    o[AT + 1] = F##_rz(__VA_ARGS__); \
    o[AT + 2] = F##_ru(__VA_ARGS__); \
    o[AT + 3] = F##_rd(__VA_ARGS__);
    FOUR(0, __dadd, x, y)
    FOUR(4, __dmul, x, y) FOUR(8, __fma, x, y, z) FOUR(12, __ddiv, x, y) FOUR(16, __drcp, y) FOUR(20, __dsqrt, q)
}

extern "C" __global__ void double_conversions(long long* out, const double* in, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    double x = in[i];
    long long* o = out + 16 * i;
    o[0] = __double2int_rn(x); o[1] = __double2int_rz(x); o[2] = __double2int_ru(x); o[3] = __double2int_rd(x);
    o[4] = __double2uint_rz(x);
    o[5] = __double2ll_rn(x);
    o[6] = __double2ll_rd(x);
    o[7] = (long long)__double2ull_rz(x);
    o[8] = __float_as_uint(__double2float_rn(x)); o[9] = __float_as_uint(__double2float_rz(x));
    o[10] = __float_as_uint(__double2float_ru(x)); o[11] = __float_as_uint(__double2float_rd(x));
    o[12] = __double2hiint(x); o[13] = __double2loint(x);
    o[14] = __double_as_longlong(__hiloint2double(__double2loint(x) & 0x7fefffff, __double2hiint(x)));
    o[15] = isnan(x) | isinf(x) << 1 | (signbit(x) ? 4 : 0);
}
extern "C" __global__ void integers_to_double(double* out, const long long* in, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    long long v = in[i];
    double* o = out + 6 * i;
    o[0] = __int2double_rn((int)v); o[1] = __uint2double_rn((unsigned)v); o[2] = __ll2double_rn(v);
    o[3] = __ll2double_rz(v);
    o[4] = __ull2double_ru((unsigned long long)v);
    o[5] = __ull2double_rn((unsigned long long)v);
}

// n-body accelerations, softened; double accumulators, float4 bodies tiled through shared memory.
extern "C" __global__ void n_body(double3* acceleration, const float4* body, int n, double softening) {
    __shared__ float4 tile[64];
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    float4 me = i < n ? body[i] : make_float4(0, 0, 0, 0);
    double ax = 0, ay = 0, az = 0;
    for (int base = 0; base < n; base += 64) {
        if (base + threadIdx.x < n) tile[threadIdx.x] = body[base + threadIdx.x];
        __syncthreads();
        for (int j = 0; j < min(64, n - base); ++j) {
            double dx = (double)tile[j].x - me.x, dy = (double)tile[j].y - me.y, dz = (double)tile[j].z - me.z;
            double r2 = dx * dx + dy * dy + dz * dz + softening, w = tile[j].w / (r2 * sqrt(r2));
            ax += dx * w; ay += dy * w; az += dz * w;
        }
        __syncthreads();
    }
    if (i < n) acceleration[i] = make_double3(ax, ay, az);
}
