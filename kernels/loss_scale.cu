// What stands between the flat gradient and the optimiser, without leaving the device: norm, overflow, clip factor, the
// scale of the next loss, and which update this is.
//   unscale = 1/(target tokens · S);  norm = unscale·√Σ g²;  overflow: norm is no finite number
//   factor = unscale·min(1, clip/(norm + 1e-6)) if clip > 0, else unscale      fairseq, `clip_grad_norm_`
//   on overflow nothing is updated; else the update's row is taken from the table, and `done` grows by one.
// S changes as in fairseq's `DynamicLossScaler`, if window > 0, with since = it − rescaled, before it += 1:
//   overflow: overflowed = it, overflows += 1;  if overflows/since ≥ tolerance (f64): S /= 2, S = max(S, threshold) if
//             threshold > 0, rescaled = it, overflows = 0
//   else, if (it − overflowed) mod window = 0: S ×= 2, rescaled = it            (not beyond f32)
// Shapes: g [n] T; partials [ceil(n/8192)] f32; scale [1] f32 = S; counters [5] i32 = done, it, overflowed, rescaled,
// overflows; table [K, 4] f32: of update base + 1 + k the learning rate, step, decay, and whether to adapt;
// record [8] f32 = factor, step, decay, mode (0 skip, 1 decay only, 2 adapt), norm, S after, learning rate, S before.
// Bytes at 2-byte T: 2·n + n/1024.   Launch: norm block (32, 4), a warp per 8,192 gradients, 16 bytes a lane and access;
// step one block of 256. Sums of one warp in f32, those of warps in f64, all in order: the result depends on n alone.
#include "common.cuh"

constexpr int PER_WARP = 8192;

template <typename T> __device__ void loss_scale_norm(float* partials, const T* g, uint64_t n, int P) {
    constexpr int V = VECTOR<T>;
    const int p = blockIdx.x * blockDim.y + threadIdx.y;
    if (p >= P) return;
    g += (uint64_t)p * PER_WARP;
    const int mine = (int)min((uint64_t)PER_WARP, n - (uint64_t)p * PER_WARP), whole = mine / V * V;
    float sum[V] = {};  // of every V-th gradient: V chains, so that loads do not wait for additions
    for (int i = threadIdx.x * V; i < whole; i += WARP * V) {
        const Pack<V> x = load_pack<V>(g + i);
#pragma unroll
        for (int j = 0; j < V; j++) sum[j] += sq(x.v[j]);
    }
    for (int i = whole + threadIdx.x; i < mine; i += WARP) sum[0] += sq(to_f32(g[i]));
    float s = 0.f;
#pragma unroll
    for (int j = 0; j < V; j++) s += sum[j];
    s = warp_sum(s);
    if (threadIdx.x == 0) partials[p] = s;
}

#define WRAPPERS(T, type)                                                                                        \
    extern "C" __global__ void loss_scale_norm_##type(float* partials, const T* g, uint64_t n, int P) {          \
        loss_scale_norm(partials, g, n, P);                                                                      \
    }
FOR_EACH_DTYPE(WRAPPERS)

constexpr int STEP_WARPS = 8;

__device__ double ordered_sum(const float* partials, int P) {
    __shared__ double of_warp[STEP_WARPS];
    double s = 0.0;
    for (int p = threadIdx.x; p < P; p += STEP_WARPS * WARP) s += partials[p];
#pragma unroll
    for (int step = WARP / 2; step > 0; step /= 2) s += __shfl_xor_sync(0xffffffffu, s, step);
    if (threadIdx.x % WARP == 0) of_warp[threadIdx.x / WARP] = s;
    __syncthreads();
    s = 0.0;
    for (int w = 0; w < STEP_WARPS; w++) s += of_warp[w];
    return s;
}

struct Counters {
    int done, it, overflowed, rescaled, overflows;
};

__device__ float next_scale(float S, Counters& c, bool overflow, int window, double tolerance, float threshold) {
    if (overflow) {
        c.overflowed = c.it, c.overflows += 1;
        if ((double)c.overflows / (c.it - c.rescaled) >= tolerance) {
            S = fmaxf(S / 2.f, threshold);
            c.rescaled = c.it, c.overflows = 0;
        }
    } else if ((c.it - c.overflowed) % window == 0) {
        if (S * 2.f < INFINITY) S *= 2.f;
        c.rescaled = c.it;
    }
    c.it += 1;
    return S;
}

extern "C" __global__ void __launch_bounds__(STEP_WARPS* WARP)
    loss_scale_step(float4* record, float* scale, Counters* counters, const float4* table, int base, int K,
                    const float* partials, int P, float per_token, float clip, int window, double tolerance,
                    float threshold) {
    const double sum = ordered_sum(partials, P);
    if (threadIdx.x != 0) return;
    Counters c = *counters;
    const float S = *scale, unscale = per_token / S, norm = (float)(sqrt(sum) * unscale), ratio = clip / (norm + 1e-6f);
    const bool overflow = !(norm < INFINITY);  // true for NaN too
    const float4 row = table[min(max(c.done - base, 0), K - 1)];
    const float next = window > 0 ? next_scale(S, c, overflow, window, tolerance, threshold) : S;
    const float mode = overflow ? 0.f : row.w != 0.f ? 2.f : 1.f;
    record[0] = make_float4(clip > 0.f && ratio < 1.f ? unscale * ratio : unscale, row.y, row.z, mode);
    record[1] = make_float4(norm, next, row.x, S);
    c.done += !overflow;
    *scale = next, *counters = c;
}
