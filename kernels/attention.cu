// O_i = Σ_j P_ij·drop_ij·V_j,  P = softmax(s·Q·Kᵀ),  s = head^−½      Vaswani et al. 2017, arXiv:1706.03762, 3.2
// for every sentence b and head of a packed batch: queries cu_q[b] … cu_q[b+1], keys cu_k[b] … cu_k[b+1]; `causal`:
// j ≤ i. Flash form, Dao et al. 2022, arXiv:2205.14135: P is not stored; saved are O and lse_i = ln Σ_j exp(s·Q_i·K_j).
// Backward, G = ∂L/∂O, delta_i = G_i·O_i:  dS_ij = P_ij·(drop_ij·(G_i·V_j) − delta_i)
//   dQ_i (+)= s·Σ_j dS_ij·K_j    dK_j (+)= s·Σ_i dS_ij·Q_i    dV_j (+)= Σ_i P_ij·drop_ij·G_i
// in two passes without atomics: dQ (and delta) owns queries, dK/dV owns keys. Sums run in key (query) order; dQ of 2-byte
// T by stages, from the last to the first.
// Shapes: Q O G dQ [Tq, ·], K V dK dV [Tk, ·] T, head h in columns h·D …, row strides in elements (packed qkv);
// lse delta [H, Tq] f32; D ≤ 128, a multiple of 4, for 2-byte T of 8. A sentence without keys gives O = 0, lse = −∞.
// drop_ij: dropout's element 4·((global query row · H + head)·ceil(max_k/4)) + j: one draw serves four keys, and it
// depends on nothing but the batch.
// T = float: FMA, below. 2-byte T: tensor cores, attention_mma.cuh, with a Launch and Bytes of its own, one argument
// more, `stage`, and without O in the pass of dQ.
// Launch: grid (ceil(longest/32), H, B), block (32): a lane owns one query (key), a warp walks the other side, GROUP
// rows at once, the same for every lane: 16-byte broadcast loads. A lane reads and writes its own row, 16 bytes at a
// time; the lanes behind the last four that own one leave first. Shared: tiles of owned rows, float4 [D/4][32], 128·D
// bytes each: Q | Q G | K V dV, and unless D is 32 or 64, where they are in registers: O | dQ | dK.
// Bytes: each warp reads K and V (Q, G, O) once: Tq/32 · (8·D·Tk) fwd.
#include "attention_common.cuh"
#include "attention_mma.cuh"

__device__ __forceinline__ float4 load4(const float* from) { return *(const float4*)from; }
__device__ __forceinline__ void store4(float* to, float4 v) { *(float4*)to = v; }
__device__ __forceinline__ float dot4(float4 a, float4 b, float s) {
    return fmaf(a.w, b.w, fmaf(a.z, b.z, fmaf(a.y, b.y, fmaf(a.x, b.x, s))));
}
__device__ __forceinline__ float4 fma4(float w, float4 a, float4 s) {
    return {fmaf(w, a.x, s.x), fmaf(w, a.y, s.y), fmaf(w, a.z, s.z), fmaf(w, a.w, s.w)};
}

// A head's quads of elements: HEAD is its width where the compiler knows it, else 0. For HEAD > 0 two quads at a time,
// at fixed offsets from pointers that advance, and all of them unrolled; at 128 a few, as the compiler would hold 250
// registers of them.
template <int HEAD> __device__ __forceinline__ constexpr bool wide() { return HEAD == 0 || HEAD > 64; }
template <int HEAD> __device__ __forceinline__ constexpr int step() { return HEAD ? 2 : 1; }
template <int HEAD> __device__ __forceinline__ constexpr int unroll() {
    return HEAD == 0 ? 1 : wide<HEAD>() ? 4 : HEAD / 4 / step<HEAD>();
}
template <int HEAD> __device__ __forceinline__ int quads(int D) { return HEAD ? HEAD / 4 : D / 4; }

// The sums that a lane owns, by quad: in registers, or if they are too many a column of a tile.
template <int HEAD, bool WIDE = wide<HEAD>()> struct Sums {
    static constexpr int PITCH = 1;
    float4 quad[HEAD / 4];
    __device__ __forceinline__ explicit Sums(float4*) {}
    __device__ __forceinline__ float4* at(int c) { return quad + c; }
};
template <int HEAD> struct Sums<HEAD, true> {
    static constexpr int PITCH = WARP;
    float4* column;
    __device__ __forceinline__ explicit Sums(float4* column) : column(column) {}
    __device__ __forceinline__ float4* at(int c) { return column + c * WARP; }
};

template <int HEAD, typename S> __device__ __forceinline__ void clear(S& sums, int D) {
#pragma unroll step<HEAD>() * unroll<HEAD>()
    for (int c = 0; c < quads<HEAD>(D); c++) *sums.at(c) = {0.f, 0.f, 0.f, 0.f};
}
template <int HEAD, typename S> __device__ __forceinline__ void scale_sums(S& sums, float w, int D) {
#pragma unroll step<HEAD>() * unroll<HEAD>()
    for (int c = 0; c < quads<HEAD>(D); c++) {
        const float4 a = *sums.at(c);
        *sums.at(c) = {a.x * w, a.y * w, a.z * w, a.w * w};
    }
}
template <int HEAD, typename S, typename T>
__device__ __forceinline__ void store(T* to, S& sums, float scale, int D, int accumulate) {
#pragma unroll step<HEAD>() * unroll<HEAD>()
    for (int c = 0; c < quads<HEAD>(D); c++, to += 4) {
        const float4 zero = {0.f, 0.f, 0.f, 0.f};
        store4(to, fma4(scale, *sums.at(c), accumulate ? load4(to) : zero));
    }
}

// Lanes that stay where `mine` of a warp's own a row: in fours, which draw dropout's numbers for each other. Those past
// the end own the last row again and store nothing.
__device__ __forceinline__ int staying(int mine) { return (mine + GROUP - 1) / GROUP * GROUP; }

// The row that a lane owns, into its column of a tile.
template <int HEAD, typename T> __device__ __forceinline__ void load_own(float4* column, const T* row, int D) {
#pragma unroll step<HEAD>() * unroll<HEAD>()
    for (int c = 0; c < quads<HEAD>(D); c++, row += 4) column[c * WARP] = load4(row);
}

// GROUP rows of the walked side, from row j on; past `last` the last one again, which the caller gives no weight.
template <typename T> struct Rows {
    const T* at[GROUP];
    __device__ __forceinline__ Rows(const T* first, int stride, int j, int last) {
#pragma unroll
        for (int t = 0; t < GROUP; t++) at[t] = first + (int64_t)min(j + t, last) * stride;
    }
    __device__ __forceinline__ void advance(int quads) {
#pragma unroll
        for (int t = 0; t < GROUP; t++) at[t] += 4 * quads;
    }
};

// s[t] = own·rows[t].
template <int HEAD, typename T>
__device__ __forceinline__ void dots(float (&s)[GROUP], const float4* own, Rows<T> rows, int D) {
#pragma unroll
    for (int t = 0; t < GROUP; t++) s[t] = 0.f;
#pragma unroll unroll<HEAD>()
    for (int c = 0; c < quads<HEAD>(D); c += step<HEAD>(), own += step<HEAD>() * WARP, rows.advance(step<HEAD>()))
#pragma unroll
        for (int u = 0; u < step<HEAD>(); u++) {
            const float4 a = own[u * WARP];
#pragma unroll
            for (int t = 0; t < GROUP; t++) s[t] = dot4(a, load4(rows.at[t] + 4 * u), s[t]);
        }
}
// sums += Σ_t w[t]·rows[t].
template <int HEAD, typename S, typename T>
__device__ __forceinline__ void add(S& sums, const float (&w)[GROUP], Rows<T> rows, int D) {
#pragma unroll unroll<HEAD>()
    for (int c = 0; c < quads<HEAD>(D); c += step<HEAD>(), rows.advance(step<HEAD>()))
#pragma unroll
        for (int u = 0; u < step<HEAD>(); u++) {
            float4 a = sums.at(c)[u * S::PITCH];
#pragma unroll
            for (int t = 0; t < GROUP; t++) a = fma4(w[t], load4(rows.at[t] + 4 * u), a);
            sums.at(c)[u * S::PITCH] = a;
        }
}

// The walked rows are read for dots and read again for add. Without a barrier in between the compiler would keep them,
// and a group of them is more than there are registers.
__device__ __forceinline__ void forget_rows() { __syncwarp(); }

// Dropout's factors of four keys of one query.
__device__ __forceinline__ void keep_keys(float (&keep)[GROUP], uint64_t draw, const Dropout& drop) {
    const uint4 w = drop.words(draw);
    keep[0] = drop.of(w.x), keep[1] = drop.of(w.y), keep[2] = drop.of(w.z), keep[3] = drop.of(w.w);
}

template <int HEAD, typename T>
__device__ void attention_fwd(T* o, float* lse, const T* q, const T* k, const T* v, const Packed& s,
                              const Dropout& drop) {
    extern __shared__ float4 shared[];
    const int lane = threadIdx.x, from = blockIdx.x * WARP, D = HEAD ? HEAD : s.D;
    const Side Q = side(s.cu_q, blockIdx.z), K = side(s.cu_k, blockIdx.z);
    const int mine = min(Q.count - from, WARP);
    if (lane >= staying(mine)) return;
    const int i = from + min(lane, mine - 1), row = Q.first + i;
    const int keys = s.causal ? min(K.count, from + mine) : K.count;  // for the warp
    const int all = s.causal ? min(keys, from + 1) : keys;  // for every lane
    const int own = s.causal ? min(keys, i + 1) : keys;     // for this lane
    float4* qt = shared + lane;
    Sums<HEAD> sums(qt + D / 4 * WARP);
    load_own<HEAD>(qt, head_of(q, row, s.stride_q, D), D);
    clear<HEAD>(sums, D);
    k = head_of(k, K.first, s.stride_kv, D), v = head_of(v, K.first, s.stride_kv, D);
    const float scale = s.scale * LOG2E;  // scores are logarithms to base 2 from here on
    const uint64_t draw = s.draw(row);
    float top = -INFINITY, sum = 0.f;
    for (int j = 0; j < keys; j += GROUP) {
        float w[GROUP], keep[GROUP];
        const Rows<T> kj(k, s.stride_kv, j, keys - 1), vj(v, s.stride_kv, j, keys - 1);
        dots<HEAD>(w, qt, kj, D);
        if (j + GROUP > all) {
#pragma unroll
            for (int t = 0; t < GROUP; t++) w[t] = j + t < own ? w[t] : -INFINITY;
        }
        const float most = scale * fmaxf(fmaxf(w[0], w[1]), fmaxf(w[2], w[3]));
        const bool grown = most > top + HEADROOM;  // in the first group, where key 0 counts for every lane: yes
        if (__any_sync(0xffffffffu, grown)) {
            const float next = grown ? most : top, old = exp2_fast(top - next);
            if (j > 0) scale_sums<HEAD>(sums, old, D), sum *= old;
            top = next;
        }
#pragma unroll
        for (int t = 0; t < GROUP; t++) w[t] = exp2_fast(fmaf(w[t], scale, -top)), sum += w[t];
        if (drop.threshold) {
            keep_keys(keep, draw + j / GROUP, drop);
#pragma unroll
            for (int t = 0; t < GROUP; t++) w[t] *= keep[t];
        }
        add<HEAD>(sums, w, vj, D);
    }
    if (lane >= mine) return;
    lse[(size_t)blockIdx.y * s.Tq + row] = keys ? LN2 * (top + log2f(sum)) : -INFINITY;
    store<HEAD>(head_of(o, row, s.stride_o, D), sums, keys ? 1.f / sum : 0.f, D, 0);
}

template <int HEAD, typename T>
__device__ void attention_bwd_q(T* dq, float* delta, const T* g, const T* o, const float* lse, const T* q, const T* k,
                                const T* v, const Packed& s, int accumulate, const Dropout& drop) {
    extern __shared__ float4 shared[];
    const int lane = threadIdx.x, from = blockIdx.x * WARP, D = HEAD ? HEAD : s.D;
    const Side Q = side(s.cu_q, blockIdx.z), K = side(s.cu_k, blockIdx.z);
    const int mine = min(Q.count - from, WARP);
    if (lane >= staying(mine)) return;
    const int i = from + min(lane, mine - 1), row = Q.first + i;
    const int keys = s.causal ? min(K.count, from + mine) : K.count;
    const int all = s.causal ? min(keys, from + 1) : keys, own = s.causal ? min(keys, i + 1) : keys;
    float4 *qt = shared + lane, *gt = qt + D / 4 * WARP;
    Sums<HEAD> sums(gt + D / 4 * WARP);
    load_own<HEAD>(qt, head_of(q, row, s.stride_q, D), D);
    load_own<HEAD>(gt, head_of(g, row, s.stride_o, D), D);
    clear<HEAD>(sums, D);
    o = head_of(o, row, s.stride_o, D);
    float del = 0.f;
#pragma unroll step<HEAD>() * unroll<HEAD>()
    for (int c = 0; c < quads<HEAD>(D); c++) del = dot4(gt[c * WARP], load4(o + 4 * c), del);
    k = head_of(k, K.first, s.stride_kv, D), v = head_of(v, K.first, s.stride_kv, D);
    const float scale = s.scale * LOG2E, norm = -LOG2E * lse[(size_t)blockIdx.y * s.Tq + row];
    const uint64_t draw = s.draw(row);
    for (int j = 0; j < keys; j += GROUP) {
        float w[GROUP], dp[GROUP], keep[GROUP];
        const Rows<T> kj(k, s.stride_kv, j, keys - 1), vj(v, s.stride_kv, j, keys - 1);
        dots<HEAD>(w, qt, kj, D);
        if (j + GROUP > all) {
#pragma unroll
            for (int t = 0; t < GROUP; t++) w[t] = j + t < own ? w[t] : -INFINITY;
        }
        dots<HEAD>(dp, gt, vj, D);
        if (drop.threshold) {
            keep_keys(keep, draw + j / GROUP, drop);
#pragma unroll
            for (int t = 0; t < GROUP; t++) dp[t] *= keep[t];
        }
#pragma unroll
        for (int t = 0; t < GROUP; t++) w[t] = exp2_fast(fmaf(w[t], scale, norm)) * (dp[t] - del);
        forget_rows();
        add<HEAD>(sums, w, kj, D);
    }
    if (lane >= mine) return;
    delta[(size_t)blockIdx.y * s.Tq + row] = del;
    store<HEAD>(head_of(dq, row, s.stride_q, D), sums, s.scale, D, accumulate);
}

// Bit t: dropout keeps this lane's key j for query `row` + t. The four lanes that share a draw's keys draw for one
// query each; the warp then exchanges single bits.
__device__ __forceinline__ uint32_t kept_queries(int row, int j, const Packed& s, const Dropout& drop) {
    const int lane = threadIdx.x;
    const uint4 w = drop.words(s.draw(row + lane % GROUP) + j / GROUP);
    uint4 bits;  // bit l: lane l's word for key 0 … 3 of its four says keep
    bits.x = __ballot_sync(0xffffffffu, w.x >= drop.threshold);
    bits.y = __ballot_sync(0xffffffffu, w.y >= drop.threshold);
    bits.z = __ballot_sync(0xffffffffu, w.z >= drop.threshold);
    bits.w = __ballot_sync(0xffffffffu, w.w >= drop.threshold);
    return pick(bits, lane % GROUP) >> lane / GROUP * GROUP;
}

template <int HEAD, typename T>
__device__ void attention_bwd_kv(T* dk, T* dv, const T* g, const float* delta, const float* lse, const T* q,
                                 const T* k, const T* v, const Packed& s, int accumulate, const Dropout& drop) {
    extern __shared__ float4 shared[];
    const int lane = threadIdx.x, from = blockIdx.x * WARP, D = HEAD ? HEAD : s.D;
    const Side Q = side(s.cu_q, blockIdx.z), K = side(s.cu_k, blockIdx.z);
    const int mine = min(K.count - from, WARP);
    if (lane >= staying(mine)) return;
    const int j = from + min(lane, mine - 1), row = K.first + j;
    const int all = s.causal ? from + WARP - 1 : 0, own = s.causal ? j : 0;  // first query that sees all keys, key j
    float4 *kt = shared + lane, *vt = kt + D / 4 * WARP;
    Sums<0> dvs(vt + D / 4 * WARP);
    Sums<HEAD> dks(vt + D / 2 * WARP);
    load_own<HEAD>(kt, head_of(k, row, s.stride_kv, D), D);
    load_own<HEAD>(vt, head_of(v, row, s.stride_kv, D), D);
    clear<HEAD>(dks, D), clear<HEAD>(dvs, D);
    q = head_of(q, Q.first, s.stride_q, D), g = head_of(g, Q.first, s.stride_o, D);
    lse += (size_t)blockIdx.y * s.Tq + Q.first, delta += (size_t)blockIdx.y * s.Tq + Q.first;
    const float scale = s.scale * LOG2E;
    for (int i = s.causal ? from : 0; i < Q.count; i += GROUP) {
        const uint32_t kept = drop.threshold ? kept_queries(Q.first + i, from + lane, s, drop) : 15;
        float p[GROUP], w[GROUP];
        const int last = Q.count - 1;
        const Rows<T> qi(q, s.stride_q, i, last), gi(g, s.stride_o, i, last);
        const Rows<float> li(lse, 1, i, last), di(delta, 1, i, last);
        dots<HEAD>(p, kt, qi, D);
        forget_rows();
        dots<HEAD>(w, vt, gi, D);
        if (i < all || i + GROUP > Q.count) {
#pragma unroll
            for (int t = 0; t < GROUP; t++) p[t] = i + t >= own && i + t <= last ? p[t] : -INFINITY;
        }
#pragma unroll
        for (int t = 0; t < GROUP; t++) {
            const float keep = kept >> t & 1 ? drop.scale : 0.f;
            p[t] = exp2_fast(fmaf(p[t], scale, -LOG2E * *li.at[t]));
            w[t] = p[t] * fmaf(keep, w[t], -*di.at[t]);
            p[t] *= keep;
        }
        forget_rows();
        add<HEAD>(dvs, p, gi, D);
        forget_rows();
        add<HEAD>(dks, w, qi, D);
    }
    if (lane >= mine) return;
    store<HEAD>(head_of(dk, row, s.stride_kv, D), dks, s.scale, D, accumulate);
    store<HEAD>(head_of(dv, row, s.stride_kv, D), dvs, 1.f, D, accumulate);
}

extern "C" __global__ void attention_fwd_f32(float* o, float* lse, const float* q, const float* k, const float* v,
                                             const int* cu_q, const int* cu_k, int Tq, int D, int stride_o,
                                             int stride_q, int stride_kv, int max_k, float scale_qk, int causal,
                                             DROPOUT_PARAMS) {
    const Packed s{cu_q, cu_k, Tq, D, stride_o, stride_q, stride_kv, max_k, scale_qk, causal};
    if (D == 128) attention_fwd<128>(o, lse, q, k, v, s, DROPOUT);
    else if (D == 64) attention_fwd<64>(o, lse, q, k, v, s, DROPOUT);
    else if (D == 32) attention_fwd<32>(o, lse, q, k, v, s, DROPOUT);
    else attention_fwd<0>(o, lse, q, k, v, s, DROPOUT);
}
extern "C" __global__ void attention_bwd_q_f32(float* dq, float* delta, const float* g, const float* o,
                                               const float* lse, const float* q, const float* k, const float* v,
                                               const int* cu_q, const int* cu_k, int Tq, int D, int stride_o,
                                               int stride_q, int stride_kv, int max_k, float scale_qk, int causal,
                                               int accumulate, DROPOUT_PARAMS) {
    const Packed s{cu_q, cu_k, Tq, D, stride_o, stride_q, stride_kv, max_k, scale_qk, causal};
    if (D == 128) attention_bwd_q<128>(dq, delta, g, o, lse, q, k, v, s, accumulate, DROPOUT);
    else if (D == 64) attention_bwd_q<64>(dq, delta, g, o, lse, q, k, v, s, accumulate, DROPOUT);
    else if (D == 32) attention_bwd_q<32>(dq, delta, g, o, lse, q, k, v, s, accumulate, DROPOUT);
    else attention_bwd_q<0>(dq, delta, g, o, lse, q, k, v, s, accumulate, DROPOUT);
}
extern "C" __global__ void attention_bwd_kv_f32(float* dk, float* dv, const float* g, const float* delta,
                                                const float* lse, const float* q, const float* k, const float* v,
                                                const int* cu_q, const int* cu_k, int Tq, int D, int stride_o,
                                                int stride_q, int stride_kv, int max_k, float scale_qk, int causal,
                                                int accumulate, DROPOUT_PARAMS) {
    const Packed s{cu_q, cu_k, Tq, D, stride_o, stride_q, stride_kv, max_k, scale_qk, causal};
    if (D == 128) attention_bwd_kv<128>(dk, dv, g, delta, lse, q, k, v, s, accumulate, DROPOUT);
    else if (D == 64) attention_bwd_kv<64>(dk, dv, g, delta, lse, q, k, v, s, accumulate, DROPOUT);
    else if (D == 32) attention_bwd_kv<32>(dk, dv, g, delta, lse, q, k, v, s, accumulate, DROPOUT);
    else attention_bwd_kv<0>(dk, dv, g, delta, lse, q, k, v, s, accumulate, DROPOUT);
}
