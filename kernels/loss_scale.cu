// Global gradient norm and the factor that the optimiser multiplies by, without leaving the device:
//   norm = unscale·√Σ g²;   factor = unscale·min(1, clip/(norm + 1e-6)) if clip > 0, else unscale;   finite = norm is a number
// unscale = 1/(target tokens · loss scale).   fairseq, `clip_grad_norm_`.
// Shapes: g [n] f32; partials [ceil(n/4096)] f32; state [3] f32 = norm, factor, finite (1 or 0).
// Bytes: 4·n.   Launch: a warp per 4,096 gradients; then one warp. Ordered: the result depends on n alone.
#include "common.cuh"

constexpr int PER_WARP = 4096;

extern "C" __global__ void loss_scale_norm_f32(float* partials, const float* g, uint64_t n, int P) {
    const int p = blockIdx.x * blockDim.y + threadIdx.y;
    if (p >= P) return;
    const uint64_t first = (uint64_t)p * PER_WARP, last = min((uint64_t)(first + PER_WARP), n);
    float s = 0.f;
    for (uint64_t i = first + threadIdx.x; i < last; i += WARP) s += sq(g[i]);
    s = warp_sum(s);
    if (threadIdx.x == 0) partials[p] = s;
}

extern "C" __global__ void loss_scale_factor(float* state, const float* partials, int P, float unscale, float clip) {
    float s = 0.f;
    for (int p = threadIdx.x; p < P; p += WARP) s += partials[p];
    s = warp_sum(s);
    if (threadIdx.x == 0) {
        const float norm = sqrtf(s) * unscale, ratio = clip / (norm + 1e-6f);
        state[0] = norm;
        state[1] = clip > 0.f && ratio < 1.f ? unscale * ratio : unscale;
        state[2] = norm < INFINITY ? 1.f : 0.f;  // false for NaN too
    }
}
