// Rows that stay in registers between two looks at them. Block (32, W, G): W warps share a row, G rows are under way at
// once; a lane has K packs of V columns. `Layout` of src/ops/mod.rs chooses W, G and K by the width.
#pragma once
#include "common.cuh"

constexpr int MOST_WARPS = 16;  // of a block

// Rows of a group of warps: `share` consecutive ones of a block's.
struct Rows {
    int first, last;
    __device__ __forceinline__ Rows(int per_block, int N) {
        const int share = (per_block + blockDim.z - 1) / blockDim.z;
        const int from = blockIdx.x * per_block + threadIdx.z * share;
        first = from, last = min(min(from + share, (blockIdx.x + 1) * per_block), N);
    }
};

// Σ x over the W warps of a row; `slots` are not those of the sum before.
__device__ __forceinline__ float row_sum(float x, float* slots) {
    x = warp_sum(x);
    const int W = blockDim.y;
    if (W == 1) return x;
    slots += threadIdx.z * W;
    if (threadIdx.x == 0) slots[threadIdx.y] = x;
    asm volatile("bar.sync %0, %1;" ::"r"(threadIdx.z + 1), "r"(W * WARP) : "memory");
    x = 0.f;
    for (int w = 0; w < W; w++) x += slots[w];
    return x;
}

template <int V> __device__ __forceinline__ float sum(const Pack<V>& x) {
    float s = x.v[0];
#pragma unroll
    for (int j = 1; j < V; j++) s += x.v[j];
    return s;
}

// Where a lane's columns are: K packs of V, a warp's side by side. The last lanes of a row that is not as wide as its
// warps read its last pack again, count it with weight 0 and store nothing.
template <int V, int K> struct Columns {
    int at[K];
    float weight[K];

    __device__ __forceinline__ explicit Columns(int C) {
#pragma unroll
        for (int k = 0; k < K; k++) {
            const int c = ((threadIdx.y * K + k) * WARP + threadIdx.x) * V;
            at[k] = min(c, C - V), weight[k] = c < C ? 1.f : 0.f;
        }
    }
    __device__ __forceinline__ bool has(int k) const { return weight[k] != 0.f; }
};

// `COUNT` vectors [C] in shared memory: those of a warp's columns one after the other, in float4s. Lanes that read two
// each, V = 8 columns, would meet in the banks: half of the pairs lie the other way round.
template <int V, int K, int COUNT> struct Vectors {
    static constexpr int QUADS = V * K * WARP / 4;  // of one vector and warp

    // All threads of the block; __syncthreads() is the caller's.
    __device__ __forceinline__ static void stage(float4* shared, int which, const float* from, float otherwise, int C) {
        const int thread = (threadIdx.z * blockDim.y + threadIdx.y) * WARP + threadIdx.x;
        for (int i = thread; i < QUADS * blockDim.y; i += blockDim.x * blockDim.y * blockDim.z) {
            const int quad = i % QUADS, to = V == 8 ? quad ^ (quad >> 3 & 1) : quad;
            shared[(i / QUADS * COUNT + which) * QUADS + to] =
                from && i * 4 < C ? reinterpret_cast<const float4*>(from)[i]
                                  : make_float4(otherwise, otherwise, otherwise, otherwise);
        }
    }

    const float4* own[V / 4];
    __device__ __forceinline__ explicit Vectors(const float4* shared) {
        const int lane = threadIdx.x, turned = V == 8 ? lane >> 2 & 1 : 0;
#pragma unroll
        for (int j = 0; j < V / 4; j++) own[j] = shared + threadIdx.y * COUNT * QUADS + lane * (V / 4) + (j ^ turned);
    }
    __device__ __forceinline__ Pack<V> get(int which, int k) const {
        Pack<V> x;
#pragma unroll
        for (int j = 0; j < V; j += 4) {
            const float4 q = own[j / 4][which * QUADS + k * WARP * V / 4];
            x.v[j] = q.x, x.v[j + 1] = q.y, x.v[j + 2] = q.z, x.v[j + 3] = q.w;
        }
        return x;
    }
};

// Columns of pack k, (k·32 + lane)·V …, to a vector [C] in f32. Where V is 8, a lane's two float4s would leave every other
// one to the next access: lanes exchange them and write neighbouring ones. Every lane of the warp must call.
template <int V> __device__ __forceinline__ void store_vector(float* p, const Pack<V>& x, int k, int C) {
    const int lane = threadIdx.x % WARP, c = (k * WARP + lane) * V;
    if constexpr (V == 8) {
#pragma unroll
        for (int half = 0; half < 2; half++) {
            const int at = ((k * 2 + half) * WARP + lane) * 4, from = half * WARP / 2 + lane / 2;
            Pack<4> mine;
#pragma unroll
            for (int j = 0; j < 4; j++) {
                const float even = __shfl_sync(0xffffffffu, x.v[j], from);
                const float odd = __shfl_sync(0xffffffffu, x.v[4 + j], from);
                mine.v[j] = lane % 2 ? odd : even;
            }
            if (at < C) store_pack<4>(p + at, mine);
        }
    } else if (c < C) {
        store_pack<V>(p + c, x);
    }
}
