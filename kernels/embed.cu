// y[t] = dropout(scale·E[token[t]] + PE[position[t]])       scale = √d; Vaswani et al. 2017, arXiv:1706.03762, 3.4 and 3.5
// Backward: dE[id[u]] += scale·Σ_{t of segment u} dy[t]·keep·1/(1 − p), in f32, in a fixed order, rounded once.
// Shapes: E dE [V,C], PE [P,C], y dy [T,C] T; keep [T, ceil(C/32)] bits, null without dropout; the others i32:
//   fwd: row token position [T], all tokens in the order of their positions, so that a warp reads each row of PE once;
//   bwd: id [U], start [U+1], the distinct tokens, the first L of them with more than 32 rows; order [T], their rows.
// Bytes at 2-byte T: fwd 4·T·C + T·C/8 + 12·T;  bwd 2·T·C + T·C/8 + 4·U·C + 4·T + 8·U.   The T·C/8 are the keep bits.
// Launch: fwd block (32, 4), a warp for R ≤ 32 rows, grid y over the columns; bwd block (32, 16), a block for each of the
// first L tokens, then one for every 16 others, grid y over the columns. A thread has VECTOR<T> columns, or 1.
#include "common.cuh"

constexpr int PIECES = 16;  // warps of a backward block: the pieces of a long segment, or as many short ones
constexpr int SHORT = 32;   // most rows of a short segment

// Rows whose loads are under way together: 16 registers.
template <int V> constexpr int AT_ONCE = V == 8 ? 2 : 4;

template <int V, typename T>
__device__ void embed_fwd(T* y, uint32_t* keep, const T* table, const T* positions, const int* row, const int* token,
                          const int* position, int N, int C, int R, float embed_scale, const Dropout& drop) {
    const int lane = threadIdx.x, first = (blockIdx.x * blockDim.y + threadIdx.y) * R;
    if (first >= N) return;
    const int c = (blockIdx.y * WARP + lane) * V, words = (C + WARP - 1) / WARP, count = min(R, N - first);
    const int mine = first + min(lane, count - 1), my_row = row[mine], my_token = token[mine], my_at = position[mine];
    Pack<V> sinusoid = {};
    int loaded = -1;
    for (int i = 0; i < count; i += AT_ONCE<V>) {
        Pack<V> e[AT_ONCE<V>];
#pragma unroll
        for (int k = 0; k < AT_ONCE<V>; k++) {
            const int of = __shfl_sync(0xffffffffu, my_token, min(i + k, count - 1));
            if (c < C && i + k < count) e[k] = load_pack<V>(table + (size_t)of * C + c);
        }
#pragma unroll
        for (int k = 0; k < AT_ONCE<V>; k++) {
            if (i + k >= count) break;  // the whole warp
            const int t = __shfl_sync(0xffffffffu, my_row, i + k), at = __shfl_sync(0xffffffffu, my_at, i + k);
            uint32_t bits = 0;
            if (c < C) {
                if (at != loaded) sinusoid = load_pack<V>(positions + (size_t)at * C + c), loaded = at;
                const size_t element = (size_t)t * C + c;
                const Pack<V> factor = drop.factors<V>(element);
                Pack<V> v;
#pragma unroll
                for (int j = 0; j < V; j++) {
                    v.v[j] = (embed_scale * e[k].v[j] + sinusoid.v[j]) * factor.v[j];
                    bits |= factor.v[j] != 0.f ? 1u << j : 0u;
                }
                store_pack(y + element, v);
            }
            if (keep) store_keep<V>(keep + (size_t)t * words, bits, blockIdx.y, words);
        }
    }
}

// Adds `count` rows of dy, the number of each in the lane of its turn, columns c … c + V − 1, in order.
template <int V, typename T>
__device__ __forceinline__ void add_rows(Pack<V>& sum, const T* dy, const uint32_t* keep, int my_row, int count, int c,
                                         int C) {
    const int words = (C + WARP - 1) / WARP;
    for (int i = 0; i < count; i += AT_ONCE<V>) {
        Pack<V> d[AT_ONCE<V>];
        uint32_t kept[AT_ONCE<V>];
#pragma unroll
        for (int k = 0; k < AT_ONCE<V>; k++) {
            const int t = __shfl_sync(0xffffffffu, my_row, min(i + k, count - 1));
            if (c < C && i + k < count) {
                d[k] = load_pack<V>(dy + (size_t)t * C + c);
                kept[k] = load_keep(keep ? keep + (size_t)t * words : nullptr, c);
            }
        }
#pragma unroll
        for (int k = 0; k < AT_ONCE<V>; k++) {
            if (c >= C || i + k >= count) break;
#pragma unroll
            for (int j = 0; j < V; j++) sum.v[j] += kept[k] >> j & 1 ? d[k].v[j] : 0.f;
        }
    }
}

template <int V, typename T> __device__ __forceinline__ void add_to(T* to, const Pack<V>& sum, float scale) {
    Pack<V> out = load_pack<V>(to);
#pragma unroll
    for (int j = 0; j < V; j++) out.v[j] += scale * sum.v[j];
    store_pack(to, out);
}

// Segment u by the warps of a block, each a piece of it; then the first warp adds the pieces.
template <int V, typename T>
__device__ void long_segment(T* dtable, const T* dy, const uint32_t* keep, const int* order, const int* id,
                             const int* start, int u, int c, int C, float scale) {
    __shared__ float pieces[PIECES][V][WARP];
    const int lane = threadIdx.x, warp = threadIdx.y, first = start[u], rows = start[u + 1] - first;
    const int piece = (rows + PIECES - 1) / PIECES, end = min((warp + 1) * piece, rows);
    Pack<V> sum = {};
    for (int from = warp * piece; from < end; from += WARP) {
        const int count = min(WARP, end - from);
        add_rows(sum, dy, keep, order[first + from + min(lane, count - 1)], count, c, C);
    }
#pragma unroll
    for (int j = 0; j < V; j++) pieces[warp][j][lane] = sum.v[j];
    __syncthreads();
    if (warp > 0 || c >= C) return;
    for (int p = 1; p < PIECES; p++) {
#pragma unroll
        for (int j = 0; j < V; j++) sum.v[j] += pieces[p][j][lane];
    }
    add_to(dtable + (size_t)id[u] * C + c, sum, scale);
}

// Segments u … u + PIECES − 1, fewer at the end, a warp each.
template <int V, typename T>
__device__ void short_segments(T* dtable, const T* dy, const uint32_t* keep, const int* order, const int* id,
                               const int* start, int u, int U, int c, int C, float scale) {
    __shared__ int starts[PIECES + 1], ids[PIECES], rows[PIECES * SHORT];
    const int lane = threadIdx.x, warp = threadIdx.y, thread = warp * WARP + lane, segments = min(PIECES, U - u);
    if (thread <= segments) starts[thread] = start[u + thread];
    if (thread < segments) ids[thread] = id[u + thread];
    __syncthreads();
    const int first = starts[0];
    if (thread < starts[segments] - first) rows[thread] = order[first + thread];
    __syncthreads();
    if (warp >= segments) return;
    const int from = starts[warp] - first, count = starts[warp + 1] - starts[warp];
    Pack<V> sum = {};
    add_rows(sum, dy, keep, rows[from + min(lane, count - 1)], count, c, C);
    if (c < C) add_to(dtable + (size_t)ids[warp] * C + c, sum, scale);
}

template <int V, typename T>
__device__ void embed_bwd(T* dtable, const T* dy, const uint32_t* keep, const int* order, const int* id,
                          const int* start, int U, int L, int C, float scale) {
    const int block = blockIdx.x, c = (blockIdx.y * WARP + threadIdx.x) * V;
    block < L ? long_segment<V>(dtable, dy, keep, order, id, start, block, c, C, scale)
              : short_segments<V>(dtable, dy, keep, order, id, start, L + (block - L) * PIECES, U, c, C, scale);
}

#define WRAPPERS(T, type)                                                                                             \
    extern "C" __global__ void __launch_bounds__(128, 8) embed_fwd_##type(                                               \
        T* y, uint32_t* keep, const T* table, const T* positions, const int* row, const int* token,                   \
        const int* position, int N, int C, int R, float embed_scale, DROPOUT_PARAMS) {                                \
        const Dropout drop = DROPOUT;                                                                                 \
        C % VECTOR<T> == 0                                                                                            \
            ? embed_fwd<VECTOR<T>>(y, keep, table, positions, row, token, position, N, C, R, embed_scale, drop)       \
            : embed_fwd<1>(y, keep, table, positions, row, token, position, N, C, R, embed_scale, drop);              \
    }                                                                                                                 \
    extern "C" __global__ void __launch_bounds__(512, 2) embed_bwd_##type(                                               \
        T* dtable, const T* dy, const uint32_t* keep, const int* order, const int* id, const int* start, int U,       \
        int L, int C, float scale) {                                                                                  \
        C % VECTOR<T> == 0 ? embed_bwd<VECTOR<T>>(dtable, dy, keep, order, id, start, U, L, C, scale)                 \
                           : embed_bwd<1>(dtable, dy, keep, order, id, start, U, L, C, scale);                        \
    }
FOR_EACH_DTYPE(WRAPPERS)
