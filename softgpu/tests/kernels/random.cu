// Random numbers as users of cuRAND expect them: Philox 4×32-10, xorwow with a skipped state, MRG32k3a, uniform and
// normal (Box–Muller) outputs, Monte Carlo π, a Sobol sequence from a constant table.
#include <math_constants.h>
#include <stdint.h>

struct Philox { uint4 counter; uint2 key; };
__device__ uint4 philox(Philox s) {
#pragma unroll
    for (int r = 0; r < 10; ++r) {
        uint32_t h0 = __umulhi(0xD2511F53u, s.counter.x), l0 = 0xD2511F53u * s.counter.x;
        uint32_t h1 = __umulhi(0xCD9E8D57u, s.counter.z), l1 = 0xCD9E8D57u * s.counter.z;
        s.counter = make_uint4(h1 ^ s.counter.y ^ s.key.x, l1, h0 ^ s.counter.w ^ s.key.y, l0);
        s.key.x += 0x9E3779B9u; s.key.y += 0xBB67AE85u;
    }
    return s.counter;
}
extern "C" __global__ void philox_bits(uint4* out, uint64_t seed, uint64_t offset, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    uint64_t c = offset + i;
    out[i] = philox(
        {make_uint4((uint32_t)c, (uint32_t)(c >> 32), i, 0), make_uint2((uint32_t)seed, (uint32_t)(seed >> 32))});
}
// Two normals per pair of words.
extern "C" __global__ void philox_normal(float2* out, uint64_t seed, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    uint4 r = philox({make_uint4(i, 0, 0, 0), make_uint2((uint32_t)seed, (uint32_t)(seed >> 32))});
    float u = r.x * 2.3283064e-10f + 2.3283064e-10f / 2,
          a = r.y * 2.3283064e-10f * 2.0f * CUDART_PI_F + CUDART_PI_F * 2.3283064e-10f, s, c;
    float m = sqrtf(-2.0f * logf(u));
    __sincosf(a, &s, &c);
    out[i] = make_float2(m * s, m * c);
}

struct Xorwow { uint32_t d, v[5]; };
__device__ uint32_t xorwow(Xorwow* s) {
    uint32_t t = s->v[0] ^ s->v[0] >> 2;
    s->v[0] = s->v[1]; s->v[1] = s->v[2]; s->v[2] = s->v[3]; s->v[3] = s->v[4];
    s->v[4] = s->v[4] ^ s->v[4] << 4 ^ t ^ t << 1;
    s->d += 362437;
    return s->v[4] + s->d;
}
extern "C" __global__ void xorwow_init(Xorwow* states, uint64_t seed, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    uint64_t z = seed + (uint64_t)i * 0x9E3779B97F4A7C15ull;
    Xorwow s;
    for (int j = 0; j < 5; ++j) {
        z += 0x9E3779B97F4A7C15ull;
        uint64_t w = z;
        w = (w ^ w >> 30) * 0xBF58476D1CE4E5B9ull; w = (w ^ w >> 27) * 0x94D049BB133111EBull;
        s.v[j] = (uint32_t)(w ^ w >> 31) | 1;
    }
    s.d = 6615241;
    states[i] = s;
}
extern "C" __global__ void xorwow_uniform(float* out, Xorwow* states, int n, int rounds) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    Xorwow s = states[i];
    for (int r = 0; r < rounds; ++r) out[r * n + i] = xorwow(&s) * 2.3283064e-10f;
    states[i] = s;
}
extern "C" __global__ void monte_carlo_pi(unsigned long long* hits, Xorwow* states, int n, int rounds) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    unsigned mine = 0;
    if (i < n) {
        Xorwow s = states[i];
        for (int r = 0; r < rounds; ++r) {
            float x = (xorwow(&s) >> 8) * 0x1p-24f, y = (xorwow(&s) >> 8) * 0x1p-24f;
            mine += x * x + y * y <= 1.0f;
        }
        states[i] = s;
    }
    mine = __reduce_add_sync(~0u, mine);
    if (threadIdx.x % 32 == 0) atomicAdd(hits, (unsigned long long)mine);
}

// MRG32k3a in doubles, as published (L'Ecuyer 1999): exact integer arithmetic in floating point.
extern "C" __global__ void mrg32k3a(double* out, int n, int rounds) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    double s[6] = {12345. + i, 12345, 12345, 12345, 12345. + 2 * i, 12345};
    const double m1 = 4294967087., m2 = 4294944443.;
    for (int r = 0; r < rounds; ++r) {
        double p = 1403580. * s[1] - 810728. * s[0];
        p -= floor(p / m1) * m1;
        s[0] = s[1]; s[1] = s[2]; s[2] = p;
        double q = 527612. * s[5] - 1370589. * s[3];
        q -= floor(q / m2) * m2;
        s[3] = s[4]; s[4] = s[5]; s[5] = q;
        out[r * n + i] = (p <= q ? p - q + m1 : p - q) * 2.328306549295728e-10;
    }
}

// Second dimension of a Sobol sequence in Gray-code order.
__constant__ uint32_t directions[32] = {
    0x80000000, 0xc0000000, 0xa0000000, 0xf0000000, 0x88000000, 0xcc000000, 0xaa000000, 0xff000000,
    0x80800000, 0xc0c00000, 0xa0a00000, 0xf0f00000, 0x88880000, 0xcccc0000, 0xaaaa0000, 0xffff0000,
    0x80008000, 0xc000c000, 0xa000a000, 0xf000f000, 0x88008800, 0xcc00cc00, 0xaa00aa00, 0xff00ff00,
    0x80808080, 0xc0c0c0c0, 0xa0a0a0a0, 0xf0f0f0f0, 0x88888888, 0xcccccccc, 0xaaaaaaaa, 0xffffffff};
extern "C" __global__ void sobol(uint32_t* out, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    uint32_t gray = i ^ i >> 1, x = 0;
    for (int b = 0; gray; ++b, gray >>= 1) if (gray & 1) x ^= directions[b];
    out[i] = x;
}
