// One update of all parameters in one pass: unscale, clip, moments, update, and the copy in a 2-byte type. g' = factor·g.
//   Adam, Kingma and Ba 2015, arXiv:1412.6980, and RAdam, Liu et al. 2020, arXiv:1908.03265, as fairseq writes them:
//     m = β1·m + (1 − β1)·g';  v = β2·v + (1 − β2)·g'²;  p −= decay·p;  p −= step·m/(√v + ε) if mode = 2
//   NovoGrad, Ginsburg et al. 2019, arXiv:1905.11286, with one v per parameter tensor:
//     v = β2·v + (1 − β2)·‖g'‖²;  m = β1·m + g'/(√v + ε) + λ·p;  p −= rate·m
// factor, step, decay, mode are the first of the record that `loss_scale` wrote; step = learning rate · bias corrections,
// decay = λ · learning rate (host, f64). mode 0: the gradient was not finite, and nothing is touched. mode 1: RAdam's
// first updates, which only decay.
// Shapes: p m v [n] f32; g [n] T; copy [n] T or null; record [8] f32. NovoGrad: v rest [tensors] f32, rest = 1/(√v + ε);
// chunks [C, 4] u32: offset, length, tensor, 0; spans [tensors, 2] u32: first chunk, chunks; partials [C] f32.
// Bytes at 2-byte T: Adam 28·n;  NovoGrad 22·n (2·n of them for ‖g‖).
// Launch: Adam block 256, four neighbours a thread, so that a warp asks for whole sectors of every buffer in one access;
// eight would make 16 bytes of a 2-byte g, and halves of the sectors of p, m and v. NovoGrad: a warp of (32, 4) per chunk
// for its norm, then a warp per tensor, in order; a block of 256 per chunk for the update.
#include "common.cuh"

constexpr int QUAD = 4;

// Calls `quad(i)` for this thread's four elements from i on, or `one(i)` for each of a tail.
template <typename Quad, typename One>
__device__ __forceinline__ void for_quad(uint64_t i, uint64_t n, Quad quad, One one) {
    if (i + QUAD <= n) {
        quad(i);
    } else {
        for (; i < n; i++) one(i);
    }
}

struct Step {
    float factor, step, decay, mode;
    __device__ explicit Step(const float4* record) {
        const float4 r = *record;
        factor = r.x, step = r.y, decay = r.z, mode = r.w;
    }
};

// Root and quotient to 2 units in the last place: the exact ones keep 8 more registers for cases that do not occur here
// (a denominator above 2^126), and a block of 256 then has 32 a thread on every architecture.
__device__ __forceinline__ float root(float x) {
    float y;
    asm("sqrt.approx.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

struct AdamRule {
    float beta1, beta2, rest1, rest2, eps;
};

template <int V, typename T>
__device__ __forceinline__ void adam(float* p, T* copy, const T* g, float* m, float* v, const Step& s, const AdamRule& a) {
    const Pack<V> gi = load_pack<V>(g);
    Pack<V> pi = load_pack<V>(p), mi = load_pack<V>(m), vi = load_pack<V>(v);
#pragma unroll
    for (int j = 0; j < V; j++) {
        const float x = gi.v[j] * s.factor;
        mi.v[j] = a.beta1 * mi.v[j] + a.rest1 * x;
        vi.v[j] = a.beta2 * vi.v[j] + a.rest2 * x * x;
        pi.v[j] -= s.decay * pi.v[j];
        if (s.mode == 2.f) pi.v[j] -= __fdividef(s.step * mi.v[j], root(vi.v[j]) + a.eps);
    }
    store_pack<V>(m, mi), store_pack<V>(v, vi), store_pack<V>(p, pi);
    if (copy) store_pack<V>(copy, pi);
}

template <typename T>
__device__ void adam_update(float* p, T* copy, const T* g, float* m, float* v, const float4* record, uint64_t n,
                            const AdamRule& rule) {
    const Step s(record);
    if (s.mode == 0.f) return;
    const uint64_t i = ((uint64_t)blockIdx.x * blockDim.x + threadIdx.x) * QUAD;
    for_quad(
        i, n, [&](uint64_t i) { adam<QUAD>(p + i, copy ? copy + i : copy, g + i, m + i, v + i, s, rule); },
        [&](uint64_t i) { adam<1>(p + i, copy ? copy + i : copy, g + i, m + i, v + i, s, rule); });
}

// A piece of one tensor.
struct Chunk {
    uint32_t offset, length, tensor, unused;
};

template <typename T>
__device__ void novograd_norm(float* partials, const T* g, const float4* record, const Chunk* chunks, int C) {
    constexpr int V = VECTOR<T>;
    const int c = blockIdx.x * blockDim.y + threadIdx.y;
    if (c >= C) return;
    const Step s(record);
    if (s.mode == 0.f) return;
    const Chunk chunk = chunks[c];
    g += chunk.offset;
    const uint32_t whole = chunk.length / V * V;
    float sum = 0.f;
    for (uint32_t i = threadIdx.x * V; i < whole; i += WARP * V) {
        const Pack<V> x = load_pack<V>(g + i);
#pragma unroll
        for (int j = 0; j < V; j++) sum += sq(x.v[j] * s.factor);
    }
    for (uint32_t i = whole + threadIdx.x; i < chunk.length; i += WARP) sum += sq(to_f32(g[i]) * s.factor);
    sum = warp_sum(sum);
    if (threadIdx.x == 0) partials[c] = sum;
}

extern "C" __global__ void optimizer_novograd_moment(float* v, float* rest, const float* partials, const float4* record,
                                                     const uint2* spans, int tensors, float beta2, float rest2, float eps) {
    const int t = blockIdx.x * blockDim.y + threadIdx.y;
    if (t >= tensors || Step(record).mode == 0.f) return;
    const uint2 span = spans[t];
    float sum = 0.f;
    for (uint32_t c = threadIdx.x; c < span.y; c += WARP) sum += partials[span.x + c];
    sum = warp_sum(sum);
    if (threadIdx.x == 0) {
        const float moment = beta2 * v[t] + rest2 * sum;
        v[t] = moment, rest[t] = 1.f / (sqrtf(moment) + eps);
    }
}

template <int V, typename T>
__device__ __forceinline__ void novograd(float* p, T* copy, const T* g, float* m, float scale, float beta1, float lambda,
                                         float rate) {
    const Pack<V> gi = load_pack<V>(g);
    Pack<V> pi = load_pack<V>(p), mi = load_pack<V>(m);
#pragma unroll
    for (int j = 0; j < V; j++) {
        mi.v[j] = beta1 * mi.v[j] + gi.v[j] * scale + lambda * pi.v[j];
        pi.v[j] -= rate * mi.v[j];
    }
    store_pack<V>(m, mi), store_pack<V>(p, pi);
    if (copy) store_pack<V>(copy, pi);
}

template <typename T>
__device__ void novograd_update(float* p, T* copy, const T* g, float* m, const float* rest, const float4* record,
                                const Chunk* chunks, float beta1, float lambda) {
    const Step s(record);
    if (s.mode == 0.f) return;
    const Chunk chunk = chunks[blockIdx.x];
    const float scale = s.factor * rest[chunk.tensor];
    p += chunk.offset, g += chunk.offset, m += chunk.offset;
    if (copy) copy += chunk.offset;
    for (uint32_t i = threadIdx.x * QUAD; i < chunk.length; i += blockDim.x * QUAD)
        for_quad(
            i, chunk.length,
            [&](uint64_t i) { novograd<QUAD>(p + i, copy ? copy + i : copy, g + i, m + i, scale, beta1, lambda, s.step); },
            [&](uint64_t i) { novograd<1>(p + i, copy ? copy + i : copy, g + i, m + i, scale, beta1, lambda, s.step); });
}

// The copy of the parameters in a 2-byte type, from their f32 values: after they were initialised or loaded.
template <typename T> __device__ void round_copy(T* copy, const float* p, uint64_t n) {
    const uint64_t i = ((uint64_t)blockIdx.x * blockDim.x + threadIdx.x) * QUAD;
    for_quad(
        i, n, [&](uint64_t i) { store_pack<QUAD>(copy + i, load_pack<QUAD>(p + i)); },
        [&](uint64_t i) { copy[i] = from_f32<T>(p[i]); });
}

#define WRAPPERS(T, type)                                                                                             \
    extern "C" __global__ void __launch_bounds__(256) optimizer_adam_##type(                                          \
        float* p, T* copy, const T* g, float* m, float* v, const float4* record, uint64_t n, float beta1, float beta2, \
        float rest1, float rest2, float eps) {                                                                        \
        adam_update(p, copy, g, m, v, record, n, AdamRule{beta1, beta2, rest1, rest2, eps});                          \
    }                                                                                                                 \
    extern "C" __global__ void optimizer_novograd_norm_##type(float* partials, const T* g, const float4* record,      \
                                                              const Chunk* chunks, int C) {                           \
        novograd_norm(partials, g, record, chunks, C);                                                                \
    }                                                                                                                 \
    extern "C" __global__ void __launch_bounds__(256) optimizer_novograd_##type(                                      \
        float* p, T* copy, const T* g, float* m, const float* rest, const float4* record, const Chunk* chunks,        \
        float beta1, float lambda) {                                                                                  \
        novograd_update(p, copy, g, m, rest, record, chunks, beta1, lambda);                                          \
    }
FOR_EACH_DTYPE(WRAPPERS)

#define ROUND(T, type)                                                                               \
    extern "C" __global__ void optimizer_round_##type(T* copy, const float* p, uint64_t n) {         \
        round_copy(copy, p, n);                                                                      \
    }
FOR_EACH_HALF(ROUND)
