// Adam, Kingma and Ba 2015, arXiv:1412.6980, and RAdam, Liu et al. 2020, arXiv:1908.03265, as fairseq writes them:
//   g' = factor·g;  m = β1·m + (1 − β1)·g';  v = β2·v + (1 − β2)·g'²;  p −= decay·p;  p −= step·m/(√v + ε) if `adapt`
// decay = weight decay · lr, step = lr · the bias corrections (host, f64). adapt = 0: RAdam's first updates, which only
// decay. Nothing is touched when the gradient is not finite.
// Shapes: p g m v [n] f32; state [3] f32 from loss_scale (norm, factor, finite).   Bytes: 28·n.
// Launch: block 256, a thread per parameter.
#include "common.cuh"

extern "C" __global__ void optimizer_adam_f32(float* p, const float* g, float* m, float* v, const float* state,
                                              uint64_t n, float beta1, float beta2, float rest1, float rest2, float eps,
                                              float step, float decay, int adapt) {
    const uint64_t i = (uint64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n || state[2] == 0.f) return;
    const float gi = g[i] * state[1];
    const float mi = beta1 * m[i] + rest1 * gi, vi = beta2 * v[i] + rest2 * gi * gi;
    float pi = p[i];
    pi -= decay * pi;
    if (adapt) pi -= step * mi / (sqrtf(vi) + eps);
    m[i] = mi, v[i] = vi, p[i] = pi;
}

// The copy of the parameters in a 2-byte type, from their f32 values: after they were initialised or loaded.
// A thread takes four neighbours: a warp then asks for whole sectors of either buffer in one access.
constexpr int QUAD = 4;
template <typename T> __device__ void round_copy(T* copy, const float* p, uint64_t n) {
    const uint64_t i = ((uint64_t)blockIdx.x * blockDim.x + threadIdx.x) * QUAD;
    if (i + QUAD <= n) {
        store_pack<QUAD>(copy + i, load_pack<QUAD>(p + i));
    } else {
        for (uint64_t j = i; j < n; j++) copy[j] = from_f32<T>(p[j]);
    }
}

#define WRAPPERS(T, type)                                                                                    \
    extern "C" __global__ void optimizer_round_##type(T* copy, const float* p, uint64_t n) {                 \
        round_copy(copy, p, n);                                                                              \
    }
FOR_EACH_HALF(WRAPPERS)
