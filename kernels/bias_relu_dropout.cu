// y = dropout(relu(x + b)), in place of x.   Backward from y alone: y = 0 where relu or dropout cut, so
//   dx = dy·scale where y > 0, else 0 (in place of dy);  db (+)= Σ_N dx
// Shapes: x y dx dy [N,F] T; b db [F] f32; partials [ceil(N/64), F] f32. Saved: y.
// Bytes at 4-byte T: fwd 8·N·F;  bwd 12·N·F + 8·F·N/64.
// Launch: fwd block (32, 4), a warp per row; bwd grid (ceil(F/32), ceil(N/64)), block 32, then reduce.
#include "common.cuh"

template <typename T> __device__ void bias_relu_dropout_fwd(T* x, const float* b, int N, int F, Dropout drop) {
    const int row = blockIdx.x * blockDim.y + threadIdx.y;
    if (row >= N) return;
    const size_t start = (size_t)row * F;
    for (int c = threadIdx.x; c < F; c += WARP) {
        const float v = fmaxf(to_f32(x[start + c]) + b[c], 0.f);
        x[start + c] = from_f32<T>(v * drop.factor(start + c));
    }
}

template <typename T>
__device__ void bias_relu_dropout_bwd(T* dy, float* partials, const T* y, int N, int F, float scale) {
    const int c = blockIdx.x * WARP + threadIdx.x, first = blockIdx.y * ROWS_PER_PARTIAL;
    if (c >= F) return;
    const int last = min(first + ROWS_PER_PARTIAL, N);
    float s = 0.f;
    for (int n = first; n < last; n++) {
        const size_t i = (size_t)n * F + c;
        const float d = to_f32(y[i]) > 0.f ? to_f32(dy[i]) * scale : 0.f;
        dy[i] = from_f32<T>(d);
        s += d;
    }
    partials[(size_t)blockIdx.y * F + c] = s;
}

extern "C" __global__ void bias_relu_dropout_fwd_f32(float* x, const float* b, int N, int F, DROPOUT_PARAMS) {
    bias_relu_dropout_fwd(x, b, N, F, DROPOUT);
}
extern "C" __global__ void bias_relu_dropout_bwd_f32(float* dy, float* partials, const float* y, int N, int F,
                                                     float scale) {
    bias_relu_dropout_bwd(dy, partials, y, N, F, scale);
}
extern "C" __global__ void bias_relu_dropout_bwd_reduce(float* db, const float* partials, int P, int F,
                                                        int accumulate) {
    reduce_partials(db, partials, P, F, accumulate);
}
