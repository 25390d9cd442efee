// y[t] = dropout(scale·E[token[t]] + PE[position[t]])       scale = √d; Vaswani et al. 2017, arXiv:1706.03762, 3.4 and 3.5
// Backward: dE[id[u]] += scale·Σ_{t of segment u} dy[t]·keep·1/(1 − p), t in order: one warp per distinct token.
// Shapes: E dE [V,C] f32; PE [P,C] f32; y dy [T,C] T; token position order [T] i32; id [U], start [U+1] i32;
// keep [T, ceil(C/32)] bits, null without dropout. order: positions of the tokens, sorted by token, stable.
// Bytes at 4-byte T: fwd 12·T·C;  bwd 4·T·C + 8·U·C.   Launch: block (32, 4), a warp per row (fwd) or distinct token (bwd).
#include "common.cuh"

template <int V, typename T>
__device__ void embed_fwd(T* y, uint32_t* keep, const float* table, const float* positions, const int* token,
                          const int* position, int N, int C, float embed_scale, Dropout drop) {
    const int row = blockIdx.x * blockDim.y + threadIdx.y, lane = threadIdx.x;
    if (row >= N) return;
    const float* e = table + (size_t)token[row] * C;
    const float* p = positions + (size_t)position[row] * C;
    const size_t start = (size_t)row * C;
    const int words = (C + WARP - 1) / WARP;
    for (int k = 0; k * WARP * V < C; k++) {  // whole warps to the end, so that the shuffle of bits has every lane
        const int c = (k * WARP + lane) * V;
        uint32_t bits = 0;
        if (c < C) {
            const Pack<V> factor = drop.factors<V>(start + c), at = load_pack<V>(p + c);
            Pack<V> v = load_pack<V>(e + c);
#pragma unroll
            for (int j = 0; j < V; j++) {
                v.v[j] = (embed_scale * v.v[j] + at.v[j]) * factor.v[j];
                bits |= factor.v[j] != 0.f ? 1u << j : 0u;
            }
            store_pack<V>(y + start + c, v);
        }
        if (keep) store_keep<V>(keep + (size_t)row * words, bits, k, words);
    }
}

template <int V, typename T>
__device__ void embed_bwd(float* dtable, const T* dy, const uint32_t* keep, const int* order, const int* id,
                          const int* start, int U, int C, float embed_scale, float scale) {
    const int u = blockIdx.x * blockDim.y + threadIdx.y;
    if (u >= U) return;
    float* to = dtable + (size_t)id[u] * C;
    const int first = start[u], last = start[u + 1], words = (C + WARP - 1) / WARP;
    for (int c = threadIdx.x * V; c < C; c += WARP * V) {
        Pack<V> sum = {};
        for (int i = first; i < last; i++) {
            const int t = order[i];
            const uint32_t kept = load_keep(keep ? keep + (size_t)t * words : nullptr, c);
            const Pack<V> d = load_pack<V>(dy + (size_t)t * C + c);
#pragma unroll
            for (int j = 0; j < V; j++) sum.v[j] += kept >> j & 1 ? d.v[j] : 0.f;
        }
        Pack<V> out = load_pack<V>(to + c);
#pragma unroll
        for (int j = 0; j < V; j++) out.v[j] += embed_scale * scale * sum.v[j];
        store_pack<V>(to + c, out);
    }
}

extern "C" __global__ void embed_fwd_f32(float* y, uint32_t* keep, const float* table, const float* positions,
                                         const int* token, const int* position, int N, int C, float embed_scale,
                                         DROPOUT_PARAMS) {
    const Dropout drop = DROPOUT;
    C % 4 == 0 ? embed_fwd<4>(y, keep, table, positions, token, position, N, C, embed_scale, drop)
               : embed_fwd<1>(y, keep, table, positions, token, position, N, C, embed_scale, drop);
}
extern "C" __global__ void embed_bwd_f32(float* dtable, const float* dy, const uint32_t* keep, const int* order,
                                         const int* id, const int* start, int U, int C, float embed_scale,
                                         float scale) {
    C % 4 == 0 ? embed_bwd<4>(dtable, dy, keep, order, id, start, U, C, embed_scale, scale)
               : embed_bwd<1>(dtable, dy, keep, order, id, start, U, C, embed_scale, scale);
}
