// y = dropout(relu(x + b)), in place of x.   Backward from y alone: y = 0 where relu or dropout cut, so
//   dx = dy·scale where y > 0, else 0 (in place of dy);  db (+)= Σ_N dx
// Shapes: x y dx dy [N,F] T; b [F] f32, db [F] T; partials [ceil(N/64), F] f32. Saved: y.
// Bytes at 4-byte T: fwd 8·N·F;  bwd 12·N·F + 8·F·N/64.
// Launch: fwd block (32, 4), a warp per row; bwd grid (ceil(F/(32·V)), ceil(N/64)), block 32, then reduce. V = 4 columns
// a thread, in one access, where 4 divides F; else 1.
#include "common.cuh"

template <int V, typename T>
__device__ void bias_relu_dropout_fwd(T* x, const float* b, int N, int F, Dropout drop) {
    const int row = blockIdx.x * blockDim.y + threadIdx.y;
    if (row >= N) return;
    const size_t start = (size_t)row * F;
    for (int c = threadIdx.x * V; c < F; c += WARP * V) {
        Pack<V> v = load_pack<V>(x + start + c);
        const Pack<V> bias = load_pack<V>(b + c), factor = drop.factors<V>(start + c);
#pragma unroll
        for (int j = 0; j < V; j++) v.v[j] = fmaxf(v.v[j] + bias.v[j], 0.f) * factor.v[j];
        store_pack<V>(x + start + c, v);
    }
}

template <int V, typename T>
__device__ void bias_relu_dropout_bwd(T* dy, float* partials, const T* y, int N, int F, float scale) {
    const int c = (blockIdx.x * WARP + threadIdx.x) * V, first = blockIdx.y * ROWS_PER_PARTIAL;
    if (c >= F) return;
    const int last = min(first + ROWS_PER_PARTIAL, N);
    Pack<V> sum = {};
    for (int n = first; n < last; n++) {
        const size_t i = (size_t)n * F + c;
        const Pack<V> out = load_pack<V>(y + i);
        Pack<V> d = load_pack<V>(dy + i);
#pragma unroll
        for (int j = 0; j < V; j++) d.v[j] = out.v[j] > 0.f ? d.v[j] * scale : 0.f, sum.v[j] += d.v[j];
        store_pack<V>(dy + i, d);
    }
    store_pack<V>(partials + (size_t)blockIdx.y * F + c, sum);
}

#define WRAPPERS(T, type)                                                                                       \
    extern "C" __global__ void bias_relu_dropout_fwd_##type(T* x, const float* b, int N, int F, DROPOUT_PARAMS) { \
        F % VECTOR<T> == 0 ? bias_relu_dropout_fwd<VECTOR<T>>(x, b, N, F, DROPOUT)                              \
                           : bias_relu_dropout_fwd<1>(x, b, N, F, DROPOUT);                                     \
    }                                                                                                           \
    extern "C" __global__ void bias_relu_dropout_bwd_##type(T* dy, float* partials, const T* y, int N, int F,   \
                                                            float scale) {                                      \
        F % VECTOR<T> == 0 ? bias_relu_dropout_bwd<VECTOR<T>>(dy, partials, y, N, F, scale)                     \
                           : bias_relu_dropout_bwd<1>(dy, partials, y, N, F, scale);                            \
    }                                                                                                           \
    extern "C" __global__ void bias_relu_dropout_bwd_reduce_##type(T* db, const float* partials, int P, int F,  \
                                                                   int accumulate) {                            \
        reduce_partials(db, partials, P, F, accumulate);                                                        \
    }
FOR_EACH_DTYPE(WRAPPERS)
