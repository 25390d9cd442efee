// y = x·Wᵀ + b: the product is the GEMM's; here are the bias and its gradient.
//   add_bias:    y[n, c] += b[c], in place
//   column_sum:  db[c] (+)= Σ_n dy[n, c]
// Shapes: y dy [N,C] T; b [C] f32, db [C] T; partials [ceil(N/128), C] f32.
// Bytes at 2-byte T: fwd 4·N·C;  bwd 2·N·C + 8·C·N/128; the products' operands come on top.
// Launch: grid (ceil(C/256), ceil(N/128)), block (32, 1, 4): a warp goes through a quarter of 128 rows, a lane owns 8 columns
// (columns.cuh); reduce block 128.
#include "columns.cuh"

template <int V, typename T> __device__ void linear_add_bias(T* y, const float* b, int N, int C, float* slots) {
    const int first = blockIdx.x * SPAN, width = C - first, last = min((int)(blockIdx.y + 1) * ROWS_PER_PARTIAL, N);
    const Own<V> bias = load_columns<V>(b + first, 0.f, width, slots + threadIdx.z * SLOT);
    for (int row = blockIdx.y * ROWS_PER_PARTIAL + threadIdx.z; row < last; row += blockDim.z) {
#pragma unroll
        for (int k = 0; k < Own<V>::PACKS; k++) {
            const int c = own_column<V>(k);
            if (c >= width) continue;
            T* at = y + (size_t)row * C + first + c;
            Pack<V> v = load_pack<V>(at);
#pragma unroll
            for (int j = 0; j < V; j++) v.v[j] += bias.pack[k].v[j];
            store_pack<V>(at, v);
        }
    }
}

template <int V, typename T>
__device__ void linear_column_sum(float* partials, const T* dy, int N, int C, float* slots) {
    const int first = blockIdx.x * SPAN, width = C - first, last = min((int)(blockIdx.y + 1) * ROWS_PER_PARTIAL, N);
    Own<V> sum = {};
    for (int row = blockIdx.y * ROWS_PER_PARTIAL + threadIdx.z; row < last; row += blockDim.z) {
#pragma unroll
        for (int k = 0; k < Own<V>::PACKS; k++) {
            const int c = own_column<V>(k);
            if (c >= width) continue;
            const Pack<V> d = load_pack<V>(dy + (size_t)row * C + first + c);
#pragma unroll
            for (int j = 0; j < V; j++) sum.pack[k].v[j] += d.v[j];
        }
    }
    store_columns<V>(partials + (size_t)blockIdx.y * C + first, sum, width, slots);
}

#define WRAPPERS(T, type)                                                                                       \
    extern "C" __global__ void linear_fwd_##type(T* y, const float* b, int N, int C) {                          \
        __shared__ float slots[4 * SLOT];                                                                       \
        C % VECTOR<T> == 0 ? linear_add_bias<VECTOR<T>>(y, b, N, C, slots)                                      \
                           : linear_add_bias<1>(y, b, N, C, slots);                                             \
    }                                                                                                           \
    extern "C" __global__ void linear_bwd_##type(float* partials, const T* dy, int N, int C) {                  \
        __shared__ float slots[4 * SLOT];                                                                       \
        C % VECTOR<T> == 0 ? linear_column_sum<VECTOR<T>>(partials, dy, N, C, slots)                            \
                           : linear_column_sum<1>(partials, dy, N, C, slots);                                   \
    }                                                                                                           \
    extern "C" __global__ void linear_bwd_reduce_##type(T* db, const float* partials, int P, int C, int accumulate) { \
        reduce_partials(db, partials, P, C, accumulate);                                                        \
    }
FOR_EACH_DTYPE(WRAPPERS)
