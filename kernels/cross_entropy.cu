// Label-smoothed cross-entropy, Szegedy et al. 2016, arXiv:1512.00567, in fairseq's form: with p = softmax(x), t the
// target, e the smoothing and V the vocabulary,
//   nll = −ln p_t,  loss = (1 − e)·nll + (e/V)·Σ_v −ln p_v,   summed over rows
// Backward, in place of x:  dx_v = dloss·(p_v − (1 − e)·[v = t] − e/V)
// Shapes: x [N,V] T; target [N] i32; lse loss_rows nll_rows [N] f32; sums [2] f32 = loss, nll. Saved: lse.
// Bytes at 4-byte T: fwd 8·N·V;  bwd 8·N·V.   Launch: block (32, 4), a warp per row; sums: one warp, ordered.
#include "common.cuh"

template <typename T>
__device__ void cross_entropy_fwd(float* loss_rows, float* nll_rows, float* lse, const T* x, const int* target, int N,
                                  int V, float smoothing) {
    const int row = blockIdx.x * blockDim.y + threadIdx.y, lane = threadIdx.x;
    if (row >= N) return;
    x += (size_t)row * V;
    float top = -INFINITY;
    for (int v = lane; v < V; v += WARP) top = fmaxf(top, to_f32(x[v]));
    top = warp_max(top);
    float sum = 0.f, shifted = 0.f;  // Σ exp(x − top) and Σ (x − top): small numbers, little cancellation
    for (int v = lane; v < V; v += WARP) {
        const float d = to_f32(x[v]) - top;
        sum += expf(d), shifted += d;
    }
    sum = warp_sum(sum), shifted = warp_sum(shifted);
    if (lane == 0) {
        const float log_sum = logf(sum), nll = log_sum - (to_f32(x[target[row]]) - top);
        lse[row] = top + log_sum;
        nll_rows[row] = nll;
        loss_rows[row] = (1.f - smoothing) * nll + smoothing * (log_sum - shifted / V);
    }
}

template <typename T>
__device__ void cross_entropy_bwd(T* x, const float* lse, const int* target, const float* dloss, int N, int V,
                                  float smoothing) {
    const int row = blockIdx.x * blockDim.y + threadIdx.y;
    if (row >= N) return;
    x += (size_t)row * V;
    const float l = lse[row], d = dloss[0], uniform = smoothing / V;
    const int t = target[row];
    for (int v = threadIdx.x; v < V; v += WARP) {
        const float hit = v == t ? 1.f - smoothing : 0.f;
        x[v] = from_f32<T>(d * (expf(to_f32(x[v]) - l) - hit - uniform));
    }
}

extern "C" __global__ void cross_entropy_fwd_f32(float* loss_rows, float* nll_rows, float* lse, const float* x,
                                                 const int* target, int N, int V, float smoothing) {
    cross_entropy_fwd(loss_rows, nll_rows, lse, x, target, N, V, smoothing);
}
extern "C" __global__ void cross_entropy_bwd_f32(float* x, const float* lse, const int* target, const float* dloss,
                                                 int N, int V, float smoothing) {
    cross_entropy_bwd(x, lse, target, dloss, N, V, smoothing);
}
// loss = Σ loss_rows, nll = Σ nll_rows: each lane its rows in order, then the butterfly.
extern "C" __global__ void cross_entropy_sum(float* loss, float* nll, const float* loss_rows, const float* nll_rows,
                                             int N) {
    float a = 0.f, b = 0.f;
    for (int n = threadIdx.x; n < N; n += WARP) a += loss_rows[n], b += nll_rows[n];
    a = warp_sum(a), b = warp_sum(b);
    if (threadIdx.x == 0) loss[0] = a, nll[0] = b;
}
