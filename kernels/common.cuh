// Shared by every kernel: warp sums, conversions, and the random numbers of dropout.
#pragma once
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <stdint.h>

constexpr int WARP = 32;

// Activations and gradients are of type T: float, __half or __nv_bfloat16. Sums are in float, and a result is rounded
// once, to nearest even. The wrappers of a kernel are made for each: FOR_EACH_DTYPE(W) is W(float, f32) W(__half, f16) …
#define FOR_EACH_HALF(W) W(__half, f16) W(__nv_bfloat16, bf16)
#define FOR_EACH_DTYPE(W) W(float, f32) FOR_EACH_HALF(W)

__device__ __forceinline__ float to_f32(float x) { return x; }
__device__ __forceinline__ float to_f32(__half x) { return __half2float(x); }
__device__ __forceinline__ float to_f32(__nv_bfloat16 x) { return __bfloat162float(x); }
template <typename T> __device__ __forceinline__ T from_f32(float x);
template <> __device__ __forceinline__ float from_f32<float>(float x) { return x; }
template <> __device__ __forceinline__ __half from_f32<__half>(float x) { return __float2half_rn(x); }
template <> __device__ __forceinline__ __nv_bfloat16 from_f32<__nv_bfloat16>(float x) { return __float2bfloat16_rn(x); }

// Two neighbours of a 2-byte type in one register, the first in the low half.
template <typename T> __device__ __forceinline__ float2 unpack2(uint32_t w);
template <> __device__ __forceinline__ float2 unpack2<__half>(uint32_t w) {  // as the intrinsic, which splits w twice
    float2 v;
    asm("{.reg .b16 low, high; mov.b32 {low, high}, %2; cvt.f32.f16 %0, low; cvt.f32.f16 %1, high;}"
        : "=f"(v.x), "=f"(v.y)
        : "r"(w));
    return v;
}
template <> __device__ __forceinline__ float2 unpack2<__nv_bfloat16>(uint32_t w) {  // bf16 is the high half of a float
    return make_float2(__uint_as_float(w << 16), __uint_as_float(w & 0xffff0000u));
}
template <typename T> __device__ __forceinline__ uint32_t pack2(float x, float y);
template <> __device__ __forceinline__ uint32_t pack2<__half>(float x, float y) {
    const __half2 h = __floats2half2_rn(x, y);
    return *reinterpret_cast<const uint32_t*>(&h);
}
template <> __device__ __forceinline__ uint32_t pack2<__nv_bfloat16>(float x, float y) {
    const __nv_bfloat162 h = __floats2bfloat162_rn(x, y);
    return *reinterpret_cast<const uint32_t*>(&h);
}

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

template <typename T4> __device__ __forceinline__ auto pick(T4 w, uint32_t k) {
    return k < 2 ? (k == 0 ? w.x : w.y) : (k == 2 ? w.z : w.w);
}

// V neighbouring elements of a row, as f32. VECTOR<T> of them are one 16-byte access, for rows whose length it divides;
// V = 1 serves the others; each wrapper chooses. f32 operands beside 2-byte ones take two accesses.
template <typename T> constexpr int VECTOR = 16 / sizeof(T);
template <int V> struct Pack {
    float v[V];
};
template <int V, typename T> __device__ __forceinline__ Pack<V> load_pack(const T* p) {
    Pack<V> x;
    if constexpr (sizeof(T) == 4 && V % 4 == 0) {
#pragma unroll
        for (int j = 0; j < V; j += 4) {
            const float4 q = *reinterpret_cast<const float4*>(p + j);
            x.v[j] = q.x, x.v[j + 1] = q.y, x.v[j + 2] = q.z, x.v[j + 3] = q.w;
        }
    } else if constexpr (sizeof(T) == 2 && V == 8) {
        const uint4 q = *reinterpret_cast<const uint4*>(p);
        const float2 a = unpack2<T>(q.x), b = unpack2<T>(q.y), c = unpack2<T>(q.z), d = unpack2<T>(q.w);
        x.v[0] = a.x, x.v[1] = a.y, x.v[2] = b.x, x.v[3] = b.y, x.v[4] = c.x, x.v[5] = c.y, x.v[6] = d.x, x.v[7] = d.y;
    } else if constexpr (sizeof(T) == 2 && V == 4) {
        const uint2 q = *reinterpret_cast<const uint2*>(p);
        const float2 a = unpack2<T>(q.x), b = unpack2<T>(q.y);
        x.v[0] = a.x, x.v[1] = a.y, x.v[2] = b.x, x.v[3] = b.y;
    } else {
#pragma unroll
        for (int j = 0; j < V; j++) x.v[j] = to_f32(p[j]);
    }
    return x;
}
// As `load_pack`, or V times `otherwise` where there is no such operand.
template <int V, typename T> __device__ __forceinline__ Pack<V> load_pack(const T* p, float otherwise) {
    if (p) return load_pack<V>(p);
    Pack<V> x;
#pragma unroll
    for (int j = 0; j < V; j++) x.v[j] = otherwise;
    return x;
}
template <int V, typename T> __device__ __forceinline__ void store_pack(T* p, const Pack<V>& x) {
    if constexpr (sizeof(T) == 4 && V % 4 == 0) {
#pragma unroll
        for (int j = 0; j < V; j += 4)
            *reinterpret_cast<float4*>(p + j) = make_float4(x.v[j], x.v[j + 1], x.v[j + 2], x.v[j + 3]);
    } else if constexpr (sizeof(T) == 2 && V == 8) {
        *reinterpret_cast<uint4*>(p) = make_uint4(pack2<T>(x.v[0], x.v[1]), pack2<T>(x.v[2], x.v[3]),
                                                  pack2<T>(x.v[4], x.v[5]), pack2<T>(x.v[6], x.v[7]));
    } else if constexpr (sizeof(T) == 2 && V == 4) {
        *reinterpret_cast<uint2*>(p) = make_uint2(pack2<T>(x.v[0], x.v[1]), pack2<T>(x.v[2], x.v[3]));
    } else {
#pragma unroll
        for (int j = 0; j < V; j++) p[j] = from_f32<T>(x.v[j]);
    }
}

// Keep bits: bit c % 32 of word c / 32 says that column c was not dropped. Lane `lane` has the V bits of columns
// (k·32 + lane)·V …; every lane of the warp must call.
template <int V>
__device__ __forceinline__ void store_keep(uint32_t* row, uint32_t bits, int k, int words) {
    const int lane = threadIdx.x;
    if constexpr (V == 1) {
        bits = __ballot_sync(0xffffffffu, bits);
        if (lane == 0) row[k] = bits;
    } else {
        bits <<= lane * V % WARP;
#pragma unroll
        for (int step = 1; step < WARP / V; step *= 2) bits |= __shfl_xor_sync(0xffffffffu, bits, step);
        const int word = k * V + lane * V / WARP;
        if (lane * V % WARP == 0 && word < words) row[word] = bits;
    }
}
// The bit of column c, and those of its V − 1 neighbours above it; all set without dropout.
__device__ __forceinline__ uint32_t load_keep(const uint32_t* row, int c) {
    return row ? row[c / WARP] >> (c % WARP) : ~0u;
}

// Dropout at one site of one step. Element i is dropped if its word is below `threshold` = floor(p · 2^32).
struct Dropout {
    uint32_t threshold;
    float scale;  // 1 / (1 − p)
    uint64_t seed;
    uint32_t site, step;

    // One draw: the words of elements 4·group … 4·group + 3.
    __device__ __forceinline__ uint4 words(uint64_t group) const {
        return philox4x32(make_uint4((uint32_t)group, (uint32_t)(group >> 32), site, step),
                          make_uint2((uint32_t)seed, (uint32_t)(seed >> 32)));
    }
    __device__ __forceinline__ float of(uint32_t word) const { return word < threshold ? 0.f : scale; }

    // 0 or `scale`. p = 0 never draws.
    __device__ __forceinline__ float factor(uint64_t element) const {
        return threshold == 0 ? 1.f : of(pick(words(element / 4), element % 4));
    }

    // Those of elements `element` … `element + V − 1`, where V divides `element`.
    template <int V> __device__ __forceinline__ Pack<V> factors(uint64_t element) const {
        Pack<V> f;
        if constexpr (V % 4 == 0) {
#pragma unroll
            for (int j = 0; j < V; j += 4) {
                const uint4 w = threshold == 0 ? make_uint4(~0u, ~0u, ~0u, ~0u) : words((element + j) / 4);
                f.v[j] = of(w.x), f.v[j + 1] = of(w.y), f.v[j + 2] = of(w.z), f.v[j + 3] = of(w.w);
            }
        } else {
            f.v[0] = factor(element);
        }
        return f;
    }
};
// The five launch arguments that make a Dropout, in this order in every op.
#define DROPOUT_PARAMS uint32_t threshold, float scale, uint64_t seed, uint32_t site, uint32_t step
#define DROPOUT Dropout{threshold, scale, seed, site, step}

// First stage of an ordered column sum: rows that one block adds up. The second stage adds the partial rows in order, so
// the result depends on the shape alone.
constexpr int ROWS_PER_PARTIAL = 128;

// out[c] (+)= Σ_p partials[p, c], p in order; rounded once.
template <typename T>
__device__ __forceinline__ void reduce_partials(T* out, const float* partials, int P, int C, int accumulate) {
    const int c = blockIdx.x * blockDim.x + threadIdx.x;
    if (c >= C) return;
    float s = 0.f;
    for (int p = 0; p < P; p++) s += partials[(size_t)p * C + c];
    out[c] = from_f32<T>(accumulate ? to_f32(out[c]) + s : s);
}
