// y = dropout(relu(x + b)), in place of x; NaN stays NaN.   Backward from y alone: y = 0 where relu or dropout cut, so
//   dx = dy·scale where y > 0, else 0 (in place of dy);  db (+)= Σ_N dx
// Shapes: x y dx dy [N,F] T; b [F] f32, db [F] T; partials [ceil(N/128), F] f32. Saved: y.
// Bytes at 2-byte T: fwd 4·N·F;  bwd 6·N·F + 8·F·N/128.
// Launch: grid (ceil(F/256), ceil(N/128)), block (32, 1, 4): a warp goes through a quarter of 128 rows, a lane owns 8 columns
// (columns.cuh); then reduce.
#include "columns.cuh"

// fmaxf would turn NaN into 0 and hide an overflow from the loss and its scale. One instruction since sm_80.
__device__ __forceinline__ float relu(float x) {
    float y;
    asm("max.NaN.f32 %0, %1, 0f00000000;" : "=f"(y) : "f"(x));
    return y;
}

template <int V, typename T>
__device__ void bias_relu_dropout_fwd(T* x, const float* b, int N, int F, Dropout drop, float* slots) {
    const int first = blockIdx.x * SPAN, width = F - first, last = min((int)(blockIdx.y + 1) * ROWS_PER_PARTIAL, N);
    const Own<V> bias = load_columns<V>(b + first, 0.f, width, slots + threadIdx.z * SLOT);
    for (int row = blockIdx.y * ROWS_PER_PARTIAL + threadIdx.z; row < last; row += blockDim.z) {
#pragma unroll
        for (int k = 0; k < Own<V>::PACKS; k++) {
            const int c = own_column<V>(k);
            if (c >= width) continue;
            const size_t i = (size_t)row * F + first + c;
            Pack<V> v = load_pack<V>(x + i);
            const Pack<V> factor = drop.factors<V>(i);
#pragma unroll
            for (int j = 0; j < V; j++) v.v[j] = relu(v.v[j] + bias.pack[k].v[j]) * factor.v[j];
            store_pack<V>(x + i, v);
        }
    }
}

template <int V, typename T>
__device__ void bias_relu_dropout_bwd(T* dy, float* partials, const T* y, int N, int F, float scale, float* slots) {
    const int first = blockIdx.x * SPAN, width = F - first, last = min((int)(blockIdx.y + 1) * ROWS_PER_PARTIAL, N);
    Own<V> sum = {};
    for (int row = blockIdx.y * ROWS_PER_PARTIAL + threadIdx.z; row < last; row += blockDim.z) {
#pragma unroll
        for (int k = 0; k < Own<V>::PACKS; k++) {
            const int c = own_column<V>(k);
            if (c >= width) continue;
            const size_t i = (size_t)row * F + first + c;
            const Pack<V> out = load_pack<V>(y + i);
            Pack<V> d = load_pack<V>(dy + i);
#pragma unroll
            for (int j = 0; j < V; j++) {
                d.v[j] = out.v[j] > 0.f ? d.v[j] * scale : 0.f;
                sum.pack[k].v[j] += d.v[j];
            }
            store_pack<V>(dy + i, d);
        }
    }
    store_columns<V>(partials + (size_t)blockIdx.y * F + first, sum, width, slots);
}

#define WRAPPERS(T, type)                                                                                       \
    extern "C" __global__ void bias_relu_dropout_fwd_##type(T* x, const float* b, int N, int F, DROPOUT_PARAMS) { \
        __shared__ float slots[4 * SLOT];                                                                       \
        F % VECTOR<T> == 0 ? bias_relu_dropout_fwd<VECTOR<T>>(x, b, N, F, DROPOUT, slots)                       \
                           : bias_relu_dropout_fwd<1>(x, b, N, F, DROPOUT, slots);                              \
    }                                                                                                           \
    extern "C" __global__ void bias_relu_dropout_bwd_##type(T* dy, float* partials, const T* y, int N, int F,   \
                                                            float scale) {                                      \
        __shared__ float slots[4 * SLOT];                                                                       \
        F % VECTOR<T> == 0 ? bias_relu_dropout_bwd<VECTOR<T>>(dy, partials, y, N, F, scale, slots)              \
                           : bias_relu_dropout_bwd<1>(dy, partials, y, N, F, scale, slots);                     \
    }                                                                                                           \
    extern "C" __global__ void bias_relu_dropout_bwd_reduce_##type(T* db, const float* partials, int P, int F,  \
                                                                   int accumulate) {                            \
        reduce_partials(db, partials, P, F, accumulate);                                                        \
    }
FOR_EACH_DTYPE(WRAPPERS)
