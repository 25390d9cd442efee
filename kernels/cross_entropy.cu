// Label-smoothed cross-entropy, Szegedy et al. 2016, arXiv:1512.00567, in fairseq's form: with p = softmax(x), t the
// target, e the smoothing and V the vocabulary,
//   nll = −ln p_t,  loss = (1 − e)·nll + (e/V)·Σ_v −ln p_v,   summed over rows
// Backward, in place of x:  dx_v = dloss·(p_v − (1 − e)·[v = t] − e/V)
// Shapes: x [N,V] T; target [N] i32; lse loss_rows nll_rows [N] f32; sums [2] f32 = loss, nll. Saved: lse.
// Bytes at 4-byte T: fwd 8·N·V;  bwd 8·N·V.   Launch: block (32, 4), a warp per row; sums: one warp, ordered.
// W = 4 logits a thread, in one access, where 4 divides V; else 1.
#include "common.cuh"

template <int W, typename T>
__device__ void cross_entropy_fwd(float* loss_rows, float* nll_rows, float* lse, const T* x, const int* target, int N,
                                  int V, float smoothing) {
    const int row = blockIdx.x * blockDim.y + threadIdx.y, lane = threadIdx.x;
    if (row >= N) return;
    x += (size_t)row * V;
    float top = -INFINITY;
    for (int v = lane * W; v < V; v += WARP * W) {
        const Pack<W> p = load_pack<W>(x + v);
#pragma unroll
        for (int j = 0; j < W; j++) top = fmaxf(top, p.v[j]);
    }
    top = warp_max(top);
    float sum = 0.f, shifted = 0.f;  // Σ exp(x − top) and Σ (x − top): small numbers, little cancellation
    for (int v = lane * W; v < V; v += WARP * W) {
        const Pack<W> p = load_pack<W>(x + v);
#pragma unroll
        for (int j = 0; j < W; j++) sum += expf(p.v[j] - top), shifted += p.v[j] - top;
    }
    sum = warp_sum(sum), shifted = warp_sum(shifted);
    if (lane == 0) {
        const float log_sum = logf(sum), nll = log_sum - (to_f32(x[target[row]]) - top);
        lse[row] = top + log_sum;
        nll_rows[row] = nll;
        loss_rows[row] = (1.f - smoothing) * nll + smoothing * (log_sum - shifted / V);
    }
}

template <int W, typename T>
__device__ void cross_entropy_bwd(T* x, const float* lse, const int* target, const float* dloss, int N, int V,
                                  float smoothing) {
    const int row = blockIdx.x * blockDim.y + threadIdx.y;
    if (row >= N) return;
    x += (size_t)row * V;
    const float l = lse[row], d = dloss[0], uniform = smoothing / V;
    const int t = target[row];
    for (int v = threadIdx.x * W; v < V; v += WARP * W) {
        Pack<W> p = load_pack<W>(x + v);
#pragma unroll
        for (int j = 0; j < W; j++) {
            const float hit = v + j == t ? 1.f - smoothing : 0.f;
            p.v[j] = d * (expf(p.v[j] - l) - hit - uniform);
        }
        store_pack<W>(x + v, p);
    }
}

extern "C" __global__ void cross_entropy_fwd_f32(float* loss_rows, float* nll_rows, float* lse, const float* x,
                                                 const int* target, int N, int V, float smoothing) {
    V % 4 == 0 ? cross_entropy_fwd<4>(loss_rows, nll_rows, lse, x, target, N, V, smoothing)
               : cross_entropy_fwd<1>(loss_rows, nll_rows, lse, x, target, N, V, smoothing);
}
extern "C" __global__ void cross_entropy_bwd_f32(float* x, const float* lse, const int* target, const float* dloss,
                                                 int N, int V, float smoothing) {
    V % 4 == 0 ? cross_entropy_bwd<4>(x, lse, target, dloss, N, V, smoothing)
               : cross_entropy_bwd<1>(x, lse, target, dloss, N, V, smoothing);
}
// loss = Σ loss_rows, nll = Σ nll_rows: each lane its rows in order, then the butterfly.
extern "C" __global__ void cross_entropy_sum(float* loss, float* nll, const float* loss_rows, const float* nll_rows,
                                             int N) {
    float a = 0.f, b = 0.f;
    for (int n = threadIdx.x; n < N; n += WARP) a += loss_rows[n], b += nll_rows[n];
    a = warp_sum(a), b = warp_sum(b);
    if (threadIdx.x == 0) loss[0] = a, nll[0] = b;
}
