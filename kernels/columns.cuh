// Kernels in which a lane owns columns for many rows: vectors over the columns are read once, and column sums stay in
// registers until the rows end.
//
// A lane owns COLUMNS columns: packs of V neighbours, WARP·V apart. A warp then spans SPAN neighbouring columns, and a
// row takes ceil(C / SPAN) warps, which threadIdx.y counts.
#pragma once
#include "common.cuh"

constexpr int COLUMNS = 8;
constexpr int SPAN = WARP * COLUMNS;
constexpr int SLOT = SPAN + SPAN / WARP;  // floats in shared memory for the SPAN of a warp, skewed

template <int V> struct Own {
    static constexpr int PACKS = COLUMNS / V;
    Pack<V> pack[PACKS];
};

// Number of pack k among the packs of the row, and its first column.
template <int V> __device__ __forceinline__ int own_pack(int k) { return threadIdx.y * Own<V>::PACKS + k; }
template <int V> __device__ __forceinline__ int own_column(int k) { return (own_pack<V>(k) * WARP + threadIdx.x) * V; }

// Place in a slot of column `c` of the span: skewed by one in WARP, so that neither neighbouring lanes nor neighbouring
// columns meet in a bank.
__device__ __forceinline__ int in_slot(int c) { return c + c / WARP; }
template <int V> __device__ __forceinline__ int own_in_slot(int k, int j) {
    return in_slot((k * WARP + threadIdx.x) * V + j);
}

// The lane's columns of a vector, or `otherwise` where there is none. Eight neighbours of f32 are 32 bytes: read by one
// lane they would leave half of each sector unused, so that they go through the warp's slot. Every lane must call.
template <int V>
__device__ __forceinline__ Own<V> load_columns(const float* vector, float otherwise, int C, float* slot) {
    Own<V> own;
    if (V == COLUMNS && vector) {
        const int first = threadIdx.y * SPAN;
        __syncwarp();
#pragma unroll
        for (int i = 0; i < COLUMNS; i++) {
            const int c = i * WARP + threadIdx.x;
            if (first + c < C) slot[in_slot(c)] = vector[first + c];
        }
        __syncwarp();
    }
#pragma unroll
    for (int k = 0; k < Own<V>::PACKS; k++) {
        const int c = own_column<V>(k);
#pragma unroll
        for (int j = 0; j < V; j++) own.pack[k].v[j] = otherwise;
        if (!vector || c >= C) continue;
        if constexpr (V == COLUMNS) {
#pragma unroll
            for (int j = 0; j < V; j++) own.pack[k].v[j] = slot[own_in_slot<V>(k, j)];
        } else {
            own.pack[k] = load_pack<V>(vector + c);
        }
    }
    return own;
}

// out[c] = Σ_z of the block's groups of rows, z in order. `slots`: one SLOT a warp. The whole block must call.
template <int V> __device__ __forceinline__ void store_columns(float* out, const Own<V>& own, int C, float* slots) {
    const int warps = blockDim.y;
    float* mine = slots + (threadIdx.z * warps + threadIdx.y) * SLOT;
    __syncthreads();
#pragma unroll
    for (int k = 0; k < Own<V>::PACKS; k++)
#pragma unroll
        for (int j = 0; j < V; j++) mine[own_in_slot<V>(k, j)] = own.pack[k].v[j];
    __syncthreads();
    for (int i = threadIdx.z; i < COLUMNS; i += blockDim.z) {
        const int c = i * WARP + threadIdx.x;
        float s = 0.f;
        for (int z = 0; z < blockDim.z; z++) s += slots[(z * warps + threadIdx.y) * SLOT + in_slot(c)];
        if (threadIdx.y * SPAN + c < C) out[threadIdx.y * SPAN + c] = s;
    }
}
