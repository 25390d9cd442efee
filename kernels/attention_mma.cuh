// Attention of 2-byte types on tensor cores. Equations, shapes and dropout's elements are those of attention.cu.
// A warp owns 16 queries (keys, in the pass of dK and dV); all warps of a block together walk the other side's rows,
// `stage` at a time and twice buffered by asynchronous copies: K and V (Q and G, with lse and delta). Products are
// m16n8k16 and sum in f32; softmax, its sums and lse are in f32. What lies wholly outside of a sentence or above the
// diagonal is skipped by 16 × 16; the tail of 16 is zeros.
// Rounded to T on the way, since the second product takes T: P·drop before ·V and ·G, dS before ·K and ·Q. Results are
// rounded once, after `accumulate` has been added. delta_i = Σ_j P_ij·drop_ij·(G_i·V_j), in f32: G_i·O_i would have the
// rounding of the O that was stored, of which dS is nothing but the rest where P is near 1. For it the pass of dQ walks
// the keys to their end and back, and does not read O.
// Launch: attention_{fwd,bwd_q,bwd_kv}_HEAD_T, HEAD the least of 32, 64, 96, 128 that is ≥ D; grid (blocks, H, B),
// block (32, warps ≤ 8), with blocks·warps·16 ≥ the longest sentence. Columns D … HEAD − 1 are zeros in shared memory.
// Rows in global memory start at multiples of 16 bytes. `stage` is a multiple of 16.
// Shared: rows of HEAD elements and 16 bytes more, so that any eight lie in different banks: own rows Q | Q G | K V,
// then K V (Q G, and 8 bytes of lse and delta a row) `stage` times, twice if the longest walked sentence is longer.
// Bytes, n = 2·H·D, where a block owns the whole sentence (≤ 128 rows): fwd n·(2·Tq + 2·Tk) + 4·H·Tq, dQ
// n·(3·Tq + 2·Tk) + 8·H·Tq, dK and dV n·(2·Tq + 4·Tk) + 8·H·Tq. Else the walked side counts once a block. In dQ it counts
// twice but for its last two stages, which hold 2·stage rows. Where 16 does not divide D, a head shares a sector with the
// one beside it, whose block asks for it too: n = H·(2·D + 16), if H is even.
#pragma once
#include "attention_common.cuh"
#include "mma.cuh"

constexpr int FRAGMENT = 16;   // rows of a warp, and walked rows of one step of the products
constexpr int MOST_WARPS = 8;  // of a block

// One head's rows in shared memory, and how lanes share the 16-byte pieces of some rows among them: a request's pieces
// lie side by side in global memory, and eight that follow each other in different banks.
template <int HEAD> struct Rows16 {
    static constexpr int PITCH = 2 * HEAD + 16;
    static constexpr int ACROSS = HEAD % 64 == 0 ? 8 : 4, DOWN = WARP / ACROSS, STEPS = HEAD / 8 / ACROSS;
    static __device__ __forceinline__ int row() {
        const int lane = threadIdx.x;
        return ACROSS == 8 ? lane / 8 : lane / 4 % 2 * 4 + lane / 8;
    }
    // The first of a lane's pieces, ACROSS apart. Where 16 does not divide D, every second head begins in the middle of a
    // sector: there lanes take the piece before, so that requests begin where sectors do. Piece −1 is none.
    static __device__ __forceinline__ int piece(int D) {
        return (int)(threadIdx.x % ACROSS) - (int)(blockIdx.y & D / 8 & 1);
    }
    static __device__ __forceinline__ bool is_there(int piece, int D) { return (uint32_t)piece < (uint32_t)D / 8; }

    // Rows first·DOWN, (first + step)·DOWN … and the DOWN − 1 after each, up to row `rows`; from `count` on as zeros.
    template <typename T>
    static __device__ __forceinline__ void fetch(uint32_t to, const T* from, int stride, int D, int first, int step,
                                                 int rows, int count) {
        const int r = first * DOWN + row(), p = piece(D);
        to += r * PITCH + 16 * p, from += (int64_t)r * stride + 8 * p;
        const uint32_t wrap = p < 0 ? 2 * HEAD : 0;  // instead of piece −1 the last one, of zeros
        int left[STEPS];  // rows from this lane's on that are there, for each of its pieces
#pragma unroll
        for (int c = 0; c < STEPS; c++) left[c] = is_there(p + c * ACROSS, D) ? count - row() : 0;
        for (int at = first * DOWN; at < rows; at += step * DOWN) {
#pragma unroll
            for (int c = 0; c < STEPS; c++)
                copy16(to + (c ? 16 * c * ACROSS : wrap), from + 8 * c * ACROSS, at < left[c]);
            to += step * DOWN * PITCH, from += step * DOWN * stride;
        }
    }

    // The address that this lane gives to load 16 rows by 16 columns: as A, or transposed as two B side by side; and as
    // the two B of rowsᵀ.
    static __device__ __forceinline__ uint32_t along(uint32_t rows) {
        return rows + threadIdx.x % 16 * PITCH + threadIdx.x / 16 * 16;
    }
    static __device__ __forceinline__ uint32_t across(uint32_t rows) {
        return rows + (threadIdx.x % 8 + threadIdx.x / 16 * 8) * PITCH + threadIdx.x / 8 % 2 * 16;
    }
};

// The 16 rows that a warp owns, as A: held in registers, or read again whenever they are needed.
template <int HEAD, bool HELD> struct Own {
    uint32_t at, held[HELD ? HEAD / 16 : 1][4];
    __device__ __forceinline__ explicit Own(uint32_t rows) : at(Rows16<HEAD>::along(rows)) {
        if constexpr (HELD)
#pragma unroll
            for (int k = 0; k < HEAD / 16; k++) load_matrices(held[k], at + 32 * k);
    }
    __device__ __forceinline__ void fragment(uint32_t (&a)[4], int k) const {
        if constexpr (HELD) a[0] = held[k][0], a[1] = held[k][1], a[2] = held[k][2], a[3] = held[k][3];
        else load_matrices(a, at + 32 * k);
    }
};

// c = own·rowsᵀ for 16 rows.
template <int HEAD, bool HELD, typename T>
__device__ __forceinline__ void products(float (&c)[2][4], const Own<HEAD, HELD>& own, uint32_t rows) {
#pragma unroll
    for (int k = 0; k < HEAD / 16; k++) {
        uint32_t a[4], b[4];
        load_matrices(b, Rows16<HEAD>::across(rows) + 32 * k);
        own.fragment(a, k);
        mma<T>(c[0], a, b[0], b[1], k == 0);
        mma<T>(c[1], a, b[2], b[3], k == 0);
    }
}

// What products summed, rounded to T, as A: words 0 and 2 are of row g, 1 and 3 of row g + 8.
template <typename T> struct Weights {
    uint32_t a[4];
    __device__ __forceinline__ explicit Weights(const float (&w)[2][4])
        : a{pack2<T>(w[0][0], w[0][1]), pack2<T>(w[0][2], w[0][3]), pack2<T>(w[1][0], w[1][1]),
            pack2<T>(w[1][2], w[1][3])} {}
};

// sums += w·rows for 16 rows.
template <int HEAD, typename T>
__device__ __forceinline__ void add_rows(float (&sums)[HEAD / 8][4], const Weights<T>& w, uint32_t rows) {
    const uint32_t(&a)[4] = w.a;
#pragma unroll
    for (int n = 0; n < HEAD / 16; n++) {
        uint32_t b[4];
        load_transposed(b, Rows16<HEAD>::along(rows) + 32 * n);
        mma<T>(sums[2 * n], a, b[0], b[1]);
        mma<T>(sums[2 * n + 1], a, b[2], b[3]);
    }
}

template <int N> __device__ __forceinline__ void clear(float (&sums)[N][4]) {
#pragma unroll
    for (int n = 0; n < N; n++) sums[n][0] = sums[n][1] = sums[n][2] = sums[n][3] = 0.f;
}

// Row g (+ 8) times by[0] (by[1]) to the first `mine` rows of `to`, or added to them, rounded once; by way of the
// warp's own rows `own` in shared memory.
template <int HEAD, typename T>
__device__ __forceinline__ void store_rows(T* to, int stride, char* own, const float (&sums)[HEAD / 8][4],
                                           const float (&by)[2], int mine, int D, int accumulate) {
    using R = Rows16<HEAD>;
    const int p = R::piece(D);
    uint4* const shared = (uint4*)(own + R::row() * R::PITCH + 16 * p);
    T* const global = to + (int64_t)R::row() * stride + 8 * p;
    __syncwarp();  // the warp has read its rows
    int there[R::STEPS];  // rows from this lane's on, for each of its pieces
#pragma unroll
    for (int c = 0; c < R::STEPS; c++) there[c] = R::is_there(p + c * R::ACROSS, D) ? mine - R::row() : 0;
    for (int r = 0; accumulate && r < FRAGMENT; r += R::DOWN)
#pragma unroll
        for (int c = 0; c < R::STEPS; c++)
            if (r < there[c])
                shared[r * R::PITCH / 16 + c * R::ACROSS] = *(uint4*)(global + (int64_t)r * stride + 8 * c * R::ACROSS);
    if (accumulate) __syncwarp();
#pragma unroll
    for (int n = 0; n < HEAD / 8; n++)
#pragma unroll
        for (int half = 0; half < 2; half++) {
            const int row = threadIdx.x / 4 + 8 * half;
            uint32_t* const at = (uint32_t*)(own + row * R::PITCH + 16 * n) + threadIdx.x % 4;
            float2 was = {0.f, 0.f};
            if (accumulate && row < mine && 8 * n < D) was = unpack2<T>(*at);
            *at = pack2<T>(fmaf(sums[n][2 * half], by[half], was.x), fmaf(sums[n][2 * half + 1], by[half], was.y));
        }
    __syncwarp();
#pragma unroll
    for (int r = 0; r < FRAGMENT; r += R::DOWN)
#pragma unroll
        for (int c = 0; c < R::STEPS; c++)
            if (r < there[c])
                *(uint4*)(global + (int64_t)r * stride + 8 * c * R::ACROSS) = shared[r * R::PITCH / 16 + c * R::ACROSS];
}

// Both sides of this block's sentence, by one request of its first warp.
__device__ __forceinline__ void sides(Side& Q, Side& K, const Packed& s) {
    __shared__ int bounds[4];
    const int lane = threadIdx.x;
    if (threadIdx.y == 0 && lane < 4) bounds[lane] = (lane < 2 ? s.cu_q : s.cu_k)[blockIdx.z + lane % 2];
    __syncthreads();
    Q = {bounds[0], bounds[1] - bounds[0]}, K = {bounds[2], bounds[3] - bounds[2]};
}

// Value `row` % 16 of the 16 that lanes 0 … 15 hold, for row g and g + 8; and back.
__device__ __forceinline__ float2 of_rows(float of_lane) {
    const int g = threadIdx.x / 4;
    return {__shfl_sync(0xffffffffu, of_lane, g), __shfl_sync(0xffffffffu, of_lane, g + 8)};
}
__device__ __forceinline__ float of_lane(float low, float high) {
    const int from = threadIdx.x % 8 * 4;
    low = __shfl_sync(0xffffffffu, low, from), high = __shfl_sync(0xffffffffu, high, from);
    return threadIdx.x < 8 ? low : high;
}
__device__ __forceinline__ float quad_sum(float x) {
    x += __shfl_xor_sync(0xffffffffu, x, 1);
    return x + __shfl_xor_sync(0xffffffffu, x, 2);
}
__device__ __forceinline__ float quad_max(float x) {
    x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, 1));
    return fmaxf(x, __shfl_xor_sync(0xffffffffu, x, 2));
}

__device__ __forceinline__ uint32_t keep_bits(uint4 w, uint32_t threshold) {
    return (uint32_t)(w.x >= threshold) | (uint32_t)(w.y >= threshold) << 1 | (uint32_t)(w.z >= threshold) << 2 |
           (uint32_t)(w.w >= threshold) << 3;
}
// Which of this lane's eight elements of 16 queries (rows) × 16 keys dropout keeps: bit 4·n + e of the word for row g,
// the same of the word for row g + 8. A draw has the keys of two lanes: each draws for one row, and they exchange.
// `draw`: that of keys 0 … 3 for the row that `drawn` names.
__device__ __forceinline__ int drawn() { return threadIdx.x / 4 + threadIdx.x % 2 * 8; }
__device__ __forceinline__ void kept_keys(uint32_t (&kept)[2], uint64_t draw, int key, const Dropout& drop) {
    const int t = threadIdx.x % 4;
    const uint64_t from = draw + key / GROUP + t / 2;
    const uint32_t near = keep_bits(drop.words(from), drop.threshold);
    const uint32_t own = near | keep_bits(drop.words(from + 2), drop.threshold) << 4;
    const uint32_t other = __shfl_xor_sync(0xffffffffu, own, 1);
    kept[0] = (t % 2 ? other : own) >> t % 2 * 2, kept[1] = (t % 2 ? own : other) >> t % 2 * 2;
}
// The same for 16 keys (rows) × 16 queries: bit 8·(2n + e) for key g, bit 8·(2n + e) + 4 for key g + 8. The four lanes
// of a draw's keys draw for one query each.
__device__ __forceinline__ uint32_t kept_queries16(int query, int key, const Packed& s, const Dropout& drop) {
    const int t = threadIdx.x % 4, g = threadIdx.x / 4, mine = g % 4;
    const uint64_t from = s.draw(query + mine / 2 * 8 + 2 * t + mine % 2) + key / GROUP + g / 4;
    uint32_t bits = keep_bits(drop.words(from), drop.threshold) | keep_bits(drop.words(from + 2), drop.threshold) << 4;
    bits <<= 8 * mine;
    bits |= __shfl_xor_sync(0xffffffffu, bits, 4);
    bits |= __shfl_xor_sync(0xffffffffu, bits, 8);
    return bits >> mine;
}

// The keys that a warp's queries from … from + mine − 1 see, all of them and each lane's two.
struct Seen {
    int keys, all, own[2];
    __device__ __forceinline__ Seen(int from, int mine, int count, int causal) {
        const int g = threadIdx.x / 4;
        keys = mine <= 0 ? 0 : causal ? min(count, from + mine) : count;
        all = causal ? min(count, from + 1) : count;
        own[0] = causal ? min(count, from + g + 1) : count, own[1] = causal ? min(count, from + g + 9) : count;
    }
    __device__ __forceinline__ void mask(float (&w)[2][4], int key) const {
        if (key + FRAGMENT <= all) return;
        key += threadIdx.x % 4 * 2;
#pragma unroll
        for (int n = 0; n < 2; n++)
#pragma unroll
            for (int e = 0; e < 4; e++) w[n][e] = key + 8 * n + e % 2 < own[e / 2] ? w[n][e] : -INFINITY;
    }
};

// UNITS: 16 keys at a time whose scores are in registers together.
template <int HEAD, int UNITS, bool HELD, typename T>
__device__ __forceinline__ void attention_fwd16(T* o, float* lse, const T* q, const T* k, const T* v, const Packed& s,
                                                int stage, const Dropout& drop) {
    extern __shared__ float4 shared[];
    using R = Rows16<HEAD>;
    const int lane = threadIdx.x, warp = threadIdx.y, warps = blockDim.y, first = blockIdx.x * warps * FRAGMENT;
    Side Q, K;
    sides(Q, K, s);
    if (first >= Q.count) return;
    const int from = first + warp * FRAGMENT, mine = min(Q.count - from, FRAGMENT), row = Q.first + from;
    const int end = s.causal ? min(K.count, first + warps * FRAGMENT) : K.count;  // for the block
    const Seen seen(from, mine, K.count, s.causal);
    char* const own = (char*)shared + warp * FRAGMENT * R::PITCH;
    const uint32_t tiles = shared_address(shared) + warps * FRAGMENT * R::PITCH, tile = stage * R::PITCH;
    k = head_of(k, K.first, s.stride_kv, s.D), v = head_of(v, K.first, s.stride_kv, s.D);
    const auto fetch = [&](int j, int buffer) {
        if (j < end) {
            const int count = min(end - j, stage), rows = (count + FRAGMENT - 1) / FRAGMENT * FRAGMENT;
            const uint32_t to = tiles + 2 * buffer * tile;
            R::fetch(to, k + (int64_t)j * s.stride_kv, s.stride_kv, s.D, warp, warps, rows, count);
            R::fetch(to + tile, v + (int64_t)j * s.stride_kv, s.stride_kv, s.D, warp, warps, rows, count);
        }
        commit_copies();
    };
    R::fetch(shared_address(own), head_of(q, row, s.stride_q, s.D), s.stride_q, s.D, 0, 1, FRAGMENT, mine);
    commit_copies();
    fetch(0, 0);
    await_copies<1>();
    __syncwarp();
    const Own<HEAD, HELD> queries(shared_address(own));
    float sums[HEAD / 8][4], top[2] = {-INFINITY, -INFINITY}, sum[2] = {0.f, 0.f};
    clear(sums);
    const float scale = s.scale * LOG2E;  // scores are logarithms to base 2 from here on
    const uint64_t draw = drop.threshold ? s.draw(row + drawn()) : 0;
    for (int tile_from = 0, buffer = 0; tile_from < end; tile_from += stage, buffer ^= 1) {
        fetch(tile_from + stage, buffer ^ 1);
        await_copies<1>();
        __syncthreads();
        const int tile_end = min(seen.keys, tile_from + stage);
        uint32_t kt = tiles + 2 * buffer * tile;
        for (int j = tile_from; j < tile_end; j += UNITS * FRAGMENT, kt += UNITS * FRAGMENT * R::PITCH) {
            float w[UNITS][2][4], most[2] = {-INFINITY, -INFINITY};
#pragma unroll
            for (int u = 0; u < UNITS; u++) {
                if (j + u * FRAGMENT >= tile_end) break;
                products<HEAD, HELD, T>(w[u], queries, kt + u * FRAGMENT * R::PITCH);
                seen.mask(w[u], j + u * FRAGMENT);
#pragma unroll
                for (int h = 0; h < 2; h++)
                    most[h] = fmaxf(most[h], fmaxf(fmaxf(w[u][0][2 * h], w[u][0][2 * h + 1]),
                                                   fmaxf(w[u][1][2 * h], w[u][1][2 * h + 1])));
            }
            // In the first step key 0 counts for every row: yes.
            const bool grown = fmaxf(fmaf(most[0], scale, -top[0]), fmaf(most[1], scale, -top[1])) > HEADROOM;
            if (__any_sync(0xffffffffu, grown)) {
#pragma unroll
                for (int h = 0; h < 2; h++) {
                    const float next = fmaxf(top[h], scale * quad_max(most[h])), old = exp2_fast(top[h] - next);
                    top[h] = next;
                    if (j == 0) continue;
                    sum[h] *= old;
#pragma unroll
                    for (int n = 0; n < HEAD / 8; n++) sums[n][2 * h] *= old, sums[n][2 * h + 1] *= old;
                }
            }
#pragma unroll
            for (int u = 0; u < UNITS; u++) {
                if (j + u * FRAGMENT >= tile_end) break;
#pragma unroll
                for (int n = 0; n < 2; n++)
#pragma unroll
                    for (int e = 0; e < 4; e++)
                        w[u][n][e] = exp2_fast(fmaf(w[u][n][e], scale, -top[e / 2])), sum[e / 2] += w[u][n][e];
                Weights<T> p(w[u]);
                if (drop.threshold) {
                    uint32_t kept[2];
                    kept_keys(kept, draw, j + u * FRAGMENT, drop);
#pragma unroll
                    for (int i = 0; i < 4; i++) {
                        const uint32_t bits = kept[i % 2] >> i / 2 * 4;
                        p.a[i] &= (bits & 1 ? 0xffffu : 0) | (bits & 2 ? 0xffff0000u : 0);
                    }
                }
                add_rows<HEAD>(sums, p, kt + tile + u * FRAGMENT * R::PITCH);
            }
        }
        if (tile_from + stage < end) __syncthreads();  // before the other buffer is filled again
    }
    if (mine <= 0) return;
    sum[0] = quad_sum(sum[0]), sum[1] = quad_sum(sum[1]);
    const bool any = seen.keys > 0;
    const float all = of_lane(LN2 * (top[0] + log2_fast(sum[0])), LN2 * (top[1] + log2_fast(sum[1])));
    if (lane < mine) lse[(size_t)blockIdx.y * s.Tq + row + lane] = any ? all : -INFINITY;
    const float by[2] = {any ? __fdividef(drop.scale, sum[0]) : 0.f, any ? __fdividef(drop.scale, sum[1]) : 0.f};
    store_rows<HEAD, T>(head_of(o, row, s.stride_o, s.D), s.stride_o, own, sums, by, mine, s.D, 0);
}

template <int HEAD, bool HELD, typename T>
__device__ __forceinline__ void attention_bwd_q16(T* dq, float* delta, const T* g, const float* lse, const T* q,
                                                  const T* k, const T* v, const Packed& s, int accumulate, int stage,
                                                  const Dropout& drop) {
    extern __shared__ float4 shared[];
    using R = Rows16<HEAD>;
    const int lane = threadIdx.x, warp = threadIdx.y, warps = blockDim.y, first = blockIdx.x * warps * FRAGMENT;
    Side Q, K;
    sides(Q, K, s);
    if (first >= Q.count) return;
    const int from = first + warp * FRAGMENT, mine = min(Q.count - from, FRAGMENT), row = Q.first + from;
    const int end = s.causal ? min(K.count, first + warps * FRAGMENT) : K.count;
    const Seen seen(from, mine, K.count, s.causal);
    char *const own = (char*)shared + warp * FRAGMENT * R::PITCH, *const own_g = own + warps * FRAGMENT * R::PITCH;
    const uint32_t tiles = shared_address(shared) + 2 * warps * FRAGMENT * R::PITCH, tile = stage * R::PITCH;
    k = head_of(k, K.first, s.stride_kv, s.D), v = head_of(v, K.first, s.stride_kv, s.D);
    // The keys are walked to their end for delta, and back for dQ: the last two tiles are there still, and only the ones
    // before them are fetched again.
    const int walk = (end + stage - 1) / stage;
    const auto tile_at = [&](int step) { return step < walk ? step : 2 * walk - 1 - step; };
    const auto is_fetched = [&](int step) { return step < walk || (step < 2 * walk && tile_at(step) < walk - 2); };
    const auto fetch = [&](int step) {
        if (is_fetched(step)) {
            const int t = tile_at(step), j = t * stage;
            const int count = min(end - j, stage), rows = (count + FRAGMENT - 1) / FRAGMENT * FRAGMENT;
            const uint32_t to = tiles + t % 2 * 2 * tile;
            R::fetch(to, k + (int64_t)j * s.stride_kv, s.stride_kv, s.D, warp, warps, rows, count);
            R::fetch(to + tile, v + (int64_t)j * s.stride_kv, s.stride_kv, s.D, warp, warps, rows, count);
        }
        commit_copies();
    };
    R::fetch(shared_address(own), head_of(q, row, s.stride_q, s.D), s.stride_q, s.D, 0, 1, FRAGMENT, mine);
    R::fetch(shared_address(own_g), head_of(g, row, s.stride_o, s.D), s.stride_o, s.D, 0, 1, FRAGMENT, mine);
    commit_copies();
    fetch(0);
    await_copies<1>();
    __syncwarp();
    const size_t at = (size_t)blockIdx.y * s.Tq + row;
    const float2 norm = of_rows(lane < mine ? -LOG2E * lse[at + lane] : 0.f);
    const Own<HEAD, HELD> queries(shared_address(own)), gs(shared_address(own_g));
    float sums[HEAD / 8][4], del[2] = {0.f, 0.f};
    clear(sums);
    const float scale = s.scale * LOG2E;
    const uint64_t draw = drop.threshold ? s.draw(row + drawn()) : 0;
    for (int step = 0; step < 2 * walk; step++) {
        fetch(step + 1);
        await_copies<1>();
        __syncthreads();
        const int t = tile_at(step), tile_from = t * stage, tile_end = min(seen.keys, tile_from + stage);
        uint32_t kt = tiles + t % 2 * 2 * tile;
        for (int j = tile_from; j < tile_end; j += FRAGMENT, kt += FRAGMENT * R::PITCH) {
            float w[2][4], dp[2][4];
            products<HEAD, HELD, T>(w, queries, kt);
            seen.mask(w, j);
            products<HEAD, HELD, T>(dp, gs, kt + tile);
            if (drop.threshold) {
                uint32_t kept[2];
                kept_keys(kept, draw, j, drop);
#pragma unroll
                for (int n = 0; n < 2; n++)
#pragma unroll
                    for (int e = 0; e < 4; e++)
                        dp[n][e] = kept[e / 2] >> (4 * n + e % 2) & 1 ? dp[n][e] * drop.scale : 0.f;
            }
#pragma unroll
            for (int n = 0; n < 2; n++)
#pragma unroll
                for (int e = 0; e < 4; e++) w[n][e] = exp2_fast(fmaf(w[n][e], scale, e < 2 ? norm.x : norm.y));
            if (step < walk) {
#pragma unroll
                for (int n = 0; n < 2; n++)
#pragma unroll
                    for (int e = 0; e < 4; e++) del[e / 2] = fmaf(w[n][e], dp[n][e], del[e / 2]);
                continue;
            }
#pragma unroll
            for (int n = 0; n < 2; n++)
#pragma unroll
                for (int e = 0; e < 4; e++) w[n][e] *= dp[n][e] - del[e / 2];
            add_rows<HEAD>(sums, Weights<T>(w), kt);
        }
        if (step == walk - 1) del[0] = quad_sum(del[0]), del[1] = quad_sum(del[1]);
        if (is_fetched(step + 2)) __syncthreads();  // before its buffer is filled again
    }
    const float delta_of_lane = of_lane(del[0], del[1]);
    if (lane < mine) delta[at + lane] = delta_of_lane;
    if (mine <= 0) return;
    const float by[2] = {s.scale, s.scale};
    store_rows<HEAD, T>(head_of(dq, row, s.stride_q, s.D), s.stride_q, own, sums, by, mine, s.D, accumulate);
}

template <int HEAD, bool HELD, typename T>
__device__ __forceinline__ void attention_bwd_kv16(T* dk, T* dv, const T* g, const float* delta, const float* lse,
                                                   const T* q, const T* k, const T* v, const Packed& s, int accumulate,
                                                   int stage, const Dropout& drop) {
    extern __shared__ float4 shared[];
    using R = Rows16<HEAD>;
    const int lane = threadIdx.x, warp = threadIdx.y, warps = blockDim.y, first = blockIdx.x * warps * FRAGMENT;
    Side Q, K;
    sides(Q, K, s);
    if (first >= K.count) return;
    const int from = first + warp * FRAGMENT, mine = min(K.count - from, FRAGMENT), row = K.first + from;
    const int begin = s.causal ? first : 0, end = Q.count;  // for the block
    char *const own = (char*)shared + warp * FRAGMENT * R::PITCH, *const own_v = own + warps * FRAGMENT * R::PITCH;
    const uint32_t tiles = shared_address(shared) + 2 * warps * FRAGMENT * R::PITCH, tile = stage * R::PITCH;
    const uint32_t both = 2 * tile + 8 * stage;  // a buffer: Q, G, and lse and delta of their rows
    const float* const rows = (const float*)((char*)shared + 2 * warps * FRAGMENT * R::PITCH + 2 * tile);
    q = head_of(q, Q.first, s.stride_q, s.D), g = head_of(g, Q.first, s.stride_o, s.D);
    lse += (size_t)blockIdx.y * s.Tq + Q.first, delta += (size_t)blockIdx.y * s.Tq + Q.first;
    const auto fetch = [&](int i, int buffer) {
        if (i < end) {
            const int count = min(end - i, stage), padded = (count + FRAGMENT - 1) / FRAGMENT * FRAGMENT;
            const uint32_t to = tiles + buffer * both, rows_to = to + 2 * tile;
            R::fetch(to, q + (int64_t)i * s.stride_q, s.stride_q, s.D, warp, warps, padded, count);
            R::fetch(to + tile, g + (int64_t)i * s.stride_o, s.stride_o, s.D, warp, warps, padded, count);
            for (int r = warp * WARP + lane; r < padded; r += warps * WARP) {
                copy4(rows_to + 4 * r, lse + i + r, r < count);
                copy4(rows_to + 4 * (stage + r), delta + i + r, r < count);
            }
        }
        commit_copies();
    };
    R::fetch(shared_address(own), head_of(k, row, s.stride_kv, s.D), s.stride_kv, s.D, 0, 1, FRAGMENT, mine);
    R::fetch(shared_address(own_v), head_of(v, row, s.stride_kv, s.D), s.stride_kv, s.D, 0, 1, FRAGMENT, mine);
    commit_copies();
    fetch(begin, 0);
    await_copies<1>();
    __syncwarp();
    const Own<HEAD, HELD> keys(shared_address(own)), values(shared_address(own_v));
    float dks[HEAD / 8][4], dvs[HEAD / 8][4];
    clear(dks), clear(dvs);
    const float scale = s.scale * LOG2E;
    for (int tile_from = begin, buffer = 0; tile_from < end; tile_from += stage, buffer ^= 1) {
        fetch(tile_from + stage, buffer ^ 1);
        await_copies<1>();
        __syncthreads();
        const int tile_end = mine > 0 ? min(end, tile_from + stage) : 0;
        for (int i = s.causal ? max(tile_from, from) : tile_from; i < tile_end; i += FRAGMENT) {
            const uint32_t qt = tiles + buffer * both + (i - tile_from) * R::PITCH;
            const float* const of = rows + buffer * both / 4 + (i - tile_from) + lane % 4 * 2;
            float p[2][4], w[2][4];
            products<HEAD, HELD, T>(p, keys, qt);
            products<HEAD, HELD, T>(w, values, qt + tile);
            if (s.causal && i < from + FRAGMENT) {
                const int query = i - from + threadIdx.x % 4 * 2, key = lane / 4;
#pragma unroll
                for (int n = 0; n < 2; n++)
#pragma unroll
                    for (int e = 0; e < 4; e++)
                        p[n][e] = query + 8 * n + e % 2 >= key + e / 2 * 8 ? p[n][e] : -INFINITY;
            }
            const uint32_t kept = drop.threshold ? kept_queries16(Q.first + i, from, s, drop) : ~0u;
            const auto keeps = [&](int n, int e) { return kept >> (8 * (2 * n + e % 2) + e / 2 * 4) & 1; };
#pragma unroll
            for (int n = 0; n < 2; n++) {
                if (drop.threshold)
#pragma unroll
                    for (int e = 0; e < 4; e++) w[n][e] = keeps(n, e) ? w[n][e] * drop.scale : 0.f;
                const float2 l = *(const float2*)(of + 8 * n), d = *(const float2*)(of + stage + 8 * n);
#pragma unroll
                for (int e = 0; e < 4; e++) {
                    p[n][e] = exp2_fast(fmaf(p[n][e], scale, -LOG2E * (e % 2 ? l.y : l.x)));
                    w[n][e] = p[n][e] * (w[n][e] - (e % 2 ? d.y : d.x));
                }
                if (drop.threshold)
#pragma unroll
                    for (int e = 0; e < 4; e++) p[n][e] = keeps(n, e) ? p[n][e] : 0.f;  // times drop.scale in the end
            }
            add_rows<HEAD>(dvs, Weights<T>(p), qt + tile);
            add_rows<HEAD>(dks, Weights<T>(w), qt);
        }
        if (tile_from + stage < end) __syncthreads();
    }
    if (mine <= 0) return;
    const float by_k[2] = {s.scale, s.scale}, by_v[2] = {drop.scale, drop.scale};
    store_rows<HEAD, T>(head_of(dk, row, s.stride_kv, s.D), s.stride_kv, own, dks, by_k, mine, s.D, accumulate);
    store_rows<HEAD, T>(head_of(dv, row, s.stride_kv, s.D), s.stride_kv, own_v, dvs, by_v, mine, s.D, accumulate);
}

// A kernel for every HEAD: registers, and so the warps that a multiprocessor holds, are a kernel's own. From HEAD = 96
// on (128, forward) own rows are read from shared memory again and again, which leaves registers for sums.
#define BATCH                                                                                                         \
    const int *cu_q, const int *cu_k, int Tq, int D, int stride_o, int stride_q, int stride_kv, int max_k,            \
        float scale_qk, int causal
#define PACKED Packed{cu_q, cu_k, Tq, D, stride_o, stride_q, stride_kv, max_k, scale_qk, causal}
#define KERNEL extern "C" __global__ void __launch_bounds__(MOST_WARPS * WARP, 1)
#define WRAPPERS(HEAD, T, type)                                                                                       \
    KERNEL attention_fwd_##HEAD##_##type(T* o, float* lse, const T* q, const T* k, const T* v, BATCH, DROPOUT_PARAMS, \
                                         int stage) {                                                                 \
        attention_fwd16<HEAD, HEAD < 64 ? 2 : 1, (HEAD < 128)>(o, lse, q, k, v, PACKED, stage, DROPOUT);              \
    }                                                                                                                 \
    KERNEL attention_bwd_q_##HEAD##_##type(T* dq, float* delta, const T* g, const float* lse, const T* q, const T* k, \
                                           const T* v, BATCH, int accumulate, DROPOUT_PARAMS, int stage) {            \
        attention_bwd_q16<HEAD, (HEAD < 96)>(dq, delta, g, lse, q, k, v, PACKED, accumulate, stage, DROPOUT);         \
    }                                                                                                                 \
    KERNEL attention_bwd_kv_##HEAD##_##type(T* dk, T* dv, const T* g, const float* delta, const float* lse,           \
                                            const T* q, const T* k, const T* v, BATCH, int accumulate,                \
                                            DROPOUT_PARAMS, int stage) {                                              \
        attention_bwd_kv16<HEAD, (HEAD < 96)>(dk, dv, g, delta, lse, q, k, v, PACKED, accumulate, stage, DROPOUT);    \
    }
#define FOR_EACH_HEAD(T, type) WRAPPERS(32, T, type) WRAPPERS(64, T, type) WRAPPERS(96, T, type) WRAPPERS(128, T, type)
FOR_EACH_HEAD(__half, f16)
FOR_EACH_HEAD(__nv_bfloat16, bf16)
#undef FOR_EACH_HEAD
#undef WRAPPERS
#undef KERNEL
#undef PACKED
#undef BATCH
