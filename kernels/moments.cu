// Of each row of s⊙x: mean and Σ (s⊙x − mean)². The host joins the rows in f64 (Chan, Golub, LeVeque 1983, eq. 2.1),
// so nothing cancels. For Admin's profiling, which needs one variance per sublayer.
// Shapes: x [N,C] T; s [C] f32 or null (1); mean m2 [N] f32.   Bytes at 2-byte T: 2·N·C + 8·N, x being read once.
// Launch: block (32, W, G), rows in registers as in rows.cuh, `per_block` rows of a block, at most 32·G; dynamic shared
// memory of 4 bytes for each of the block's 32·W·V·packs columns. packs = 0 is any other width: a warp per row, which is
// read twice, W = 1, no shared memory.
#include "rows.cuh"

template <int V, int K, typename T>
__device__ __forceinline__ void moments(float* mean, float* m2, const T* x, const float* s, int N, int C,
                                        int per_block) {
    extern __shared__ float4 shared[];
    __shared__ float slots[2][MOST_WARPS];
    using Staged = Vectors<V, K, 1>;
    if (s) Staged::stage(shared, 0, s, 1.f, C);
    __syncthreads();
    const Staged vectors(shared);
    const Columns<V, K> columns(C);
    const Rows rows(per_block, N);
    const int lane = threadIdx.x;
    const float inverse = 1.f / C;
    float mean_of = 0.f, m2_of = 0.f;  // lane i: of row i of the group
    for (int row = rows.first; row < rows.last; row++) {
        Pack<V> value[K];
        float a = 0.f, b = 0.f;
#pragma unroll
        for (int k = 0; k < K; k++) {
            value[k] = load_pack<V>(x + (size_t)row * C + columns.at[k]);
            if (s) {
                const Pack<V> scale = vectors.get(0, k);
#pragma unroll
                for (int j = 0; j < V; j++) value[k].v[j] *= scale.v[j];
            }
            a += columns.weight[k] * sum(value[k]);
        }
        a = row_sum(a, slots[0]) * inverse;
#pragma unroll
        for (int k = 0; k < K; k++) {
            float squares = 0.f;
#pragma unroll
            for (int j = 0; j < V; j++) squares += sq(value[k].v[j] - a);
            b += columns.weight[k] * squares;
        }
        b = row_sum(b, slots[1]);
        if (lane == row - rows.first) mean_of = a, m2_of = b;
    }
    const int row = rows.first + lane;
    if (threadIdx.y == 0 && row < rows.last) mean[row] = mean_of, m2[row] = m2_of;
}

template <typename T>
__device__ __forceinline__ void moments_any(float* mean, float* m2, const T* x, const float* s, int N, int C,
                                            int per_block) {
    const Rows rows(per_block, N);
    const int lane = threadIdx.x;
    for (int row = rows.first; row < rows.last; row++) {
        auto value = [&](int c) { return (s ? s[c] : 1.f) * to_f32(x[(size_t)row * C + c]); };
        float a = 0.f, b = 0.f;
        for (int c = lane; c < C; c += WARP) a += value(c);
        a = warp_sum(a) / C;
        for (int c = lane; c < C; c += WARP) b += sq(value(c) - a);
        b = warp_sum(b);
        if (lane == 0) mean[row] = a, m2[row] = b;
    }
}

#define WRAPPERS(T, type)                                                                                             \
    extern "C" __global__ void moments_##type(float* mean, float* m2, const T* x, const float* s, int N, int C,       \
                                              int packs, int per_block) {                                             \
        constexpr int V = VECTOR<T>;                                                                                  \
        if (packs == 0) moments_any(mean, m2, x, s, N, C, per_block);                                                 \
        if (packs == 1) moments<V, 1>(mean, m2, x, s, N, C, per_block);                                               \
        if (packs == 2) moments<V, 2>(mean, m2, x, s, N, C, per_block);                                               \
        if constexpr (V == 4)                                                                                         \
            if (packs == 4) moments<V, 4>(mean, m2, x, s, N, C, per_block);                                           \
    }
FOR_EACH_DTYPE(WRAPPERS)
