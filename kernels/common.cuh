// Shared by every kernel: warp sums, conversions, and the random numbers of dropout.
#pragma once
#include <stdint.h>

constexpr int WARP = 32;

__device__ __forceinline__ float to_f32(float x) { return x; }
template <typename T> __device__ __forceinline__ T from_f32(float x);
template <> __device__ __forceinline__ float from_f32<float>(float x) { return x; }

__device__ __forceinline__ float sq(float x) { return x * x; }

// Butterfly: every lane ends with the same bits, whatever the lane that asks.
__device__ __forceinline__ float warp_sum(float x) {
#pragma unroll
    for (int step = WARP / 2; step > 0; step /= 2) x += __shfl_xor_sync(0xffffffffu, x, step);
    return x;
}
__device__ __forceinline__ float warp_max(float x) {
#pragma unroll
    for (int step = WARP / 2; step > 0; step /= 2) x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, step));
    return x;
}

// Philox 4x32-10, Salmon et al. 2011, doi:10.1145/2063384.2063405; the same numbers as `rng.rs`.
__device__ __forceinline__ uint4 philox4x32(uint4 counter, uint2 key) {
#pragma unroll
    for (int round = 0; round < 10; round++) {
        const uint32_t high0 = __umulhi(0xD2511F53u, counter.x), low0 = 0xD2511F53u * counter.x;
        const uint32_t high1 = __umulhi(0xCD9E8D57u, counter.z), low1 = 0xCD9E8D57u * counter.z;
        counter = make_uint4(high1 ^ counter.y ^ key.x, low1, high0 ^ counter.w ^ key.y, low0);
        key.x += 0x9E3779B9u, key.y += 0xBB67AE85u;
    }
    return counter;
}

// Dropout at one site of one step. Element i is dropped if its word is below `threshold` = floor(p · 2^32).
struct Dropout {
    uint32_t threshold;
    float scale;  // 1 / (1 − p)
    uint64_t seed;
    uint32_t site, step;

    // 0 or `scale`. p = 0 never draws.
    __device__ __forceinline__ float factor(uint64_t element) const {
        if (threshold == 0) return 1.f;
        const uint64_t group = element / 4;
        const uint4 w = philox4x32(make_uint4((uint32_t)group, (uint32_t)(group >> 32), site, step),
                                   make_uint2((uint32_t)seed, (uint32_t)(seed >> 32)));
        const uint32_t k = element % 4, word = k < 2 ? (k == 0 ? w.x : w.y) : (k == 2 ? w.z : w.w);
        return word < threshold ? 0.f : scale;
    }
};
// The five launch arguments that make a Dropout, in this order in every op.
#define DROPOUT_PARAMS uint32_t threshold, float scale, uint64_t seed, uint32_t site, uint32_t step
#define DROPOUT Dropout{threshold, scale, seed, site, step}

// First stage of an ordered column sum: rows one warp adds up, one thread per column. The second stage adds the
// partial rows in order, so the result depends on the shape alone.
constexpr int ROWS_PER_PARTIAL = 64;

// out[c] (+)= Σ_p partials[p, c], p in order.
__device__ __forceinline__ void reduce_partials(float* out, const float* partials, int P, int C, int accumulate) {
    const int c = blockIdx.x * blockDim.x + threadIdx.x;
    if (c >= C) return;
    float s = 0.f;
    for (int p = 0; p < P; p++) s += partials[(size_t)p * C + c];
    out[c] = accumulate ? out[c] + s : s;
}
