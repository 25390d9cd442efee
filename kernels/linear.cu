// y = x·Wᵀ + b: the product is the GEMM's; here are the bias and its gradient.
//   add_bias:    y[n, c] += b[c], in place
//   column_sum:  db[c] (+)= Σ_n dy[n, c]
// Shapes: y dy [N,C] T; b [C] f32; partials [ceil(N/64), C] f32.
// Bytes at 4-byte T: fwd 8·N·C;  bwd 4·N·C + 8·C·N/64; the products' operands come on top.
// Launch: add_bias block (32, 4), a warp per row; column_sum grid (ceil(C/(32·V)), ceil(N/64)), block 32; reduce block
// 128. V = 4 columns a thread, in one access, where 4 divides C; else 1.
#include "common.cuh"

template <int V, typename T> __device__ void linear_add_bias(T* y, const float* b, int N, int C) {
    const int row = blockIdx.x * blockDim.y + threadIdx.y;
    if (row >= N) return;
    y += (size_t)row * C;
    for (int c = threadIdx.x * V; c < C; c += WARP * V) {
        Pack<V> v = load_pack<V>(y + c);
        const Pack<V> bias = load_pack<V>(b + c);
#pragma unroll
        for (int j = 0; j < V; j++) v.v[j] += bias.v[j];
        store_pack<V>(y + c, v);
    }
}

template <int V, typename T> __device__ void linear_column_sum(float* partials, const T* dy, int N, int C) {
    const int c = (blockIdx.x * WARP + threadIdx.x) * V, first = blockIdx.y * ROWS_PER_PARTIAL;
    if (c >= C) return;
    const int last = min(first + ROWS_PER_PARTIAL, N);
    Pack<V> sum = {};
    for (int n = first; n < last; n++) {
        const Pack<V> d = load_pack<V>(dy + (size_t)n * C + c);
#pragma unroll
        for (int j = 0; j < V; j++) sum.v[j] += d.v[j];
    }
    store_pack<V>(partials + (size_t)blockIdx.y * C + c, sum);
}

#define WRAPPERS(T, type)                                                                                       \
    extern "C" __global__ void linear_fwd_##type(T* y, const float* b, int N, int C) {                          \
        C % VECTOR<T> == 0 ? linear_add_bias<VECTOR<T>>(y, b, N, C) : linear_add_bias<1>(y, b, N, C);           \
    }                                                                                                           \
    extern "C" __global__ void linear_bwd_##type(float* partials, const T* dy, int N, int C) {                  \
        C % VECTOR<T> == 0 ? linear_column_sum<VECTOR<T>>(partials, dy, N, C)                                   \
                           : linear_column_sum<1>(partials, dy, N, C);                                          \
    }                                                                                                           \
    extern "C" __global__ void linear_bwd_reduce_##type(T* db, const float* partials, int P, int C, int accumulate) { \
        reduce_partials(db, partials, P, C, accumulate);                                                        \
    }
FOR_EACH_DTYPE(WRAPPERS)
