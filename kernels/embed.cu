// y[t] = dropout(scale·E[token[t]] + PE[position[t]])       scale = √d; Vaswani et al. 2017, arXiv:1706.03762, 3.4 and 3.5
// Backward: dE[id[u]] += scale·Σ_{t of segment u} dy[t]·keep·1/(1 − p), t in order: one warp per distinct token.
// Shapes: E dE [V,C] f32; PE [P,C] f32; y dy [T,C] T; token position order [T] i32; id [U], start [U+1] i32;
// keep [T, ceil(C/32)] bits, null without dropout. order: positions of the tokens, sorted by token, stable.
// Bytes at 4-byte T: fwd 12·T·C;  bwd 4·T·C + 8·U·C.   Launch: block (32, 4), a warp per row (fwd) or distinct token (bwd).
#include "common.cuh"

template <typename T>
__device__ void embed_fwd(T* y, uint32_t* keep, const float* table, const float* positions, const int* token,
                          const int* position, int N, int C, float embed_scale, Dropout drop) {
    const int row = blockIdx.x * blockDim.y + threadIdx.y, lane = threadIdx.x;
    if (row >= N) return;
    const float* e = table + (size_t)token[row] * C;
    const float* p = positions + (size_t)position[row] * C;
    const size_t start = (size_t)row * C;
    const int words = (C + WARP - 1) / WARP;
    for (int k = 0; k < words; k++) {  // whole warps to the end, so that the ballot has every lane
        const int c = k * WARP + lane;
        float factor = 0.f;
        if (c < C) {
            factor = drop.factor(start + c);
            y[start + c] = from_f32<T>((embed_scale * e[c] + p[c]) * factor);
        }
        if (keep) {
            const uint32_t bits = __ballot_sync(0xffffffffu, factor != 0.f);
            if (lane == 0) keep[(size_t)row * words + k] = bits;
        }
    }
}

template <typename T>
__device__ void embed_bwd(float* dtable, const T* dy, const uint32_t* keep, const int* order, const int* id,
                          const int* start, int U, int C, float embed_scale, float scale) {
    const int u = blockIdx.x * blockDim.y + threadIdx.y;
    if (u >= U) return;
    float* to = dtable + (size_t)id[u] * C;
    const int first = start[u], last = start[u + 1], words = (C + WARP - 1) / WARP;
    for (int c = threadIdx.x; c < C; c += WARP) {
        float s = 0.f;
        for (int i = first; i < last; i++) {
            const int t = order[i];
            const bool kept = !keep || (keep[(size_t)t * words + c / WARP] >> (c % WARP) & 1);
            s += kept ? to_f32(dy[(size_t)t * C + c]) : 0.f;
        }
        to[c] += embed_scale * scale * s;
    }
}

extern "C" __global__ void embed_fwd_f32(float* y, uint32_t* keep, const float* table, const float* positions,
                                         const int* token, const int* position, int N, int C, float embed_scale,
                                         DROPOUT_PARAMS) {
    embed_fwd(y, keep, table, positions, token, position, N, C, embed_scale, DROPOUT);
}
extern "C" __global__ void embed_bwd_f32(float* dtable, const float* dy, const uint32_t* keep, const int* order,
                                         const int* id, const int* start, int U, int C, float embed_scale,
                                         float scale) {
    embed_bwd(dtable, dy, keep, order, id, start, U, C, embed_scale, scale);
}
