// h = ω⊙x + α·d,  d = dropout(f + b)      Admin: ω, Liu et al. 2020, arXiv:2004.08249; ReZero: α, Bachlechner et al. 2020
// y = γ⊙n + β,    n = (h − μ)·r,  r = 1/√(var + ε),  var = Σ(h − μ)²/C              Ba et al. 2016, arXiv:1607.06450
// One kernel, four forms, by which pointers are null:
//   post-LN, Admin, rezero-post-LN  y = LN(ω⊙x + α·d)      ω or α may be null (1)
//   pre-LN                          h = x + d, y = LN(h)   h is written
//   ReZero                          h = x + α·d            γ β null: no norm
//   plain norm                      y = LN(x)              f null
// h is summed and normalised in f32 and never rounded to T: ω of 200 and x of 1000 are as good in f16 as anything.
// Saved: μ, r and one keep-bit per element (`keep`, null without dropout); d is computed again from f.
// Backward, g = ∂L/∂y, e = ∂L/∂h (pre-LN, ReZero; else null), a = γ⊙g, in one pass:
//   dh = r·(a − mean(a) − n·mean(a⊙n)) + e;   dx = ω⊙dh;   df = α·dh·keep·scale
//   dω (+)= Σ_N dh⊙x   dγ (+)= Σ_N g⊙n   dβ (+)= Σ_N g   db (+)= Σ_N df   dα (+)= ΣΣ dh⊙d
// Shapes: x f h y g e dx df [N,C] T; ω γ β b [C], α [1], μ r dalpha_rows [N] f32; gradients of vectors in T; keep
// [N, ceil(C/32)]; partials [4, P, C] f32 for dω dγ dβ db, P = ceil(N/rows). C ≤ 3072.
// Bytes at 2-byte T: fwd 6·N·C, bwd 10·N·C (twice that in f32); with bits 1/8·N·C each, partial sums 32·P·C.
// Launch: block (32, ceil(C/256), R), R groups of rows; fwd `rows` rows a group, bwd `rows` rows a block; a lane owns 8
// columns (columns.cuh). No atomics: results depend on the shapes alone.
#include "columns.cuh"

// d of V columns from f in `d`, and in `bits` which were kept.
template <int V>
__device__ __forceinline__ void drop_branch(Pack<V>& d, const Pack<V>& bias, const Pack<V>& factor, uint32_t& bits) {
#pragma unroll
    for (int j = 0; j < V; j++) {
        d.v[j] = factor.v[j] == 0.f ? 0.f : (d.v[j] + bias.v[j]) * factor.v[j];
        bits |= factor.v[j] != 0.f ? 1u << j : 0u;
    }
}

template <int V, typename T>
__device__ void omega_add_layernorm_fwd(T* y, T* h_out, float* mu, float* r, uint32_t* keep, const T* x, const T* f,
                                        const float* b, const float* omega, const float* alpha, const float* gamma,
                                        const float* beta, int N, int C, int rows, float eps, Dropout drop,
                                        float* slots, RowSums& sums) {
    float* slot = slots + (threadIdx.z * blockDim.y + threadIdx.y) * SLOT;
    const Own<V> om = load_columns<V>(omega, 1.f, C, slot), bias = load_columns<V>(b, 0.f, C, slot);
    const Own<V> ga = load_columns<V>(gamma, 1.f, C, slot), be = load_columns<V>(beta, 0.f, C, slot);
    const float scale_f = alpha ? alpha[0] : 1.f;
    const int words = (C + WARP - 1) / WARP;
    int turn = 0;
    for (int i = 0; i < rows; i++) {
        const int row = (blockIdx.x * rows + i) * blockDim.z + threadIdx.z;
        if (row >= N) return;
        const size_t start = (size_t)row * C;
        Own<V> h = {};
        float s[1] = {0.f};
#pragma unroll
        for (int k = 0; k < Own<V>::PACKS; k++) {
            const int c = own_column<V>(k);
            Pack<V>& hk = h.pack[k];
            uint32_t bits = 0;
            if (c < C) {
                Pack<V> d = {};
                hk = load_pack<V>(x + start + c);
                if (f) {
                    d = load_pack<V>(f + start + c);
                    drop_branch<V>(d, bias.pack[k], drop.factors<V>(start + c), bits);
                }
#pragma unroll
                for (int j = 0; j < V; j++) {
                    hk.v[j] = om.pack[k].v[j] * hk.v[j] + scale_f * d.v[j];
                    s[0] += hk.v[j];
                }
                if (h_out) store_pack<V>(h_out + start + c, hk);
            }
            // Whole warps while there is a column, so that the exchange of bits has every lane.
            if (keep && own_pack<V>(k) * WARP * V < C)
                store_keep<V>(keep + (size_t)row * words, bits, own_pack<V>(k), words);
        }
        if (!gamma) continue;
        row_sum(s, sums, turn);
        const float m = s[0] / C;
        float v[1] = {0.f};
#pragma unroll
        for (int k = 0; k < Own<V>::PACKS; k++)  // centred first: no cancellation
            if (own_column<V>(k) < C)
#pragma unroll
                for (int j = 0; j < V; j++) v[0] += sq(h.pack[k].v[j] - m);
        row_sum(v, sums, turn);
        const float rs = rsqrtf(v[0] / C + eps);
#pragma unroll
        for (int k = 0; k < Own<V>::PACKS; k++) {
            const int c = own_column<V>(k);
            if (c >= C) continue;
#pragma unroll
            for (int j = 0; j < V; j++)
                h.pack[k].v[j] = ga.pack[k].v[j] * ((h.pack[k].v[j] - m) * rs) + be.pack[k].v[j];
            store_pack<V>(y + start + c, h.pack[k]);
        }
        if (threadIdx.x == 0 && threadIdx.y == 0) mu[row] = m, r[row] = rs;
    }
}

template <int V, typename T>
__device__ void omega_add_layernorm_bwd(T* dx, T* df, float* partials, float* dalpha_rows, const T* g, const T* e,
                                        const T* x, const T* f, const uint32_t* keep, const float* mu, const float* r,
                                        const float* b, const float* omega, const float* alpha, const float* gamma,
                                        int N, int C, int rows, float scale, int accumulate_x, int accumulate_f,
                                        int planes, float* slots, RowSums& sums) {
    constexpr int K = Own<V>::PACKS;
    float* slot = slots + (threadIdx.z * blockDim.y + threadIdx.y) * SLOT;
    const Own<V> om = load_columns<V>(omega, 1.f, C, slot), bias = load_columns<V>(b, 0.f, C, slot);
    const Own<V> ga = load_columns<V>(gamma, 0.f, C, slot);
    const float scale_f = alpha ? alpha[0] : 1.f;
    const int words = (C + WARP - 1) / WARP, first = blockIdx.x * rows, last = min(first + rows, N);
    Own<V> so = {}, sg = {}, sb = {}, sd = {};
    int turn = 0;
    for (int row = first + threadIdx.z; row < last; row += blockDim.z) {
        const size_t start = (size_t)row * C;
        const float m = gamma ? mu[row] : 0.f, rs = gamma ? r[row] : 0.f;
        Own<V> xs = {}, gs = {}, ns = {};
        uint32_t kept = 0;  // bit k·V + j
        float means[2] = {0.f, 0.f};
#pragma unroll
        for (int k = 0; k < K; k++) {
            const int c = own_column<V>(k);
            if (c >= C) continue;
            const uint32_t bits = load_keep(keep ? keep + (size_t)row * words : nullptr, c) & ((1u << V) - 1);
            kept |= bits << k * V;
            xs.pack[k] = load_pack<V>(x + start + c);
            if (g) gs.pack[k] = load_pack<V>(g + start + c);
            Pack<V> d = load_pack<V>(f ? f + start + c : nullptr, 0.f);
#pragma unroll
            for (int j = 0; j < V; j++) {
                d.v[j] = f && bits >> j & 1 ? (d.v[j] + bias.pack[k].v[j]) * scale : 0.f;
                const float a = ga.pack[k].v[j] * gs.pack[k].v[j];
                const float n = (om.pack[k].v[j] * xs.pack[k].v[j] + scale_f * d.v[j] - m) * rs;
                ns.pack[k].v[j] = n;
                means[0] += a, means[1] += a * n;
            }
        }
        if (gamma) row_sum(means, sums, turn);
        const float a1 = means[0] / C, a2 = means[1] / C;
        float dal[1] = {0.f};
#pragma unroll
        for (int k = 0; k < K; k++) {
            const int c = own_column<V>(k);
            if (c >= C) continue;
            Pack<V> dh = load_pack<V>(e ? e + start + c : nullptr, 0.f);
            Pack<V> to_x = load_pack<V>(accumulate_x ? dx + start + c : nullptr, 0.f);
            Pack<V> to_f = load_pack<V>(accumulate_f ? df + start + c : nullptr, 0.f);
#pragma unroll
            for (int j = 0; j < V; j++) {
                const float gj = gs.pack[k].v[j], n = ns.pack[k].v[j], xj = xs.pack[k].v[j];
                dh.v[j] += rs * (ga.pack[k].v[j] * gj - a1 - n * a2);
                const float dfj = kept >> (k * V + j) & 1 ? scale_f * dh.v[j] * scale : 0.f;
                to_x.v[j] += om.pack[k].v[j] * dh.v[j];
                to_f.v[j] += dfj;
                so.pack[k].v[j] += dh.v[j] * xj;
                sg.pack[k].v[j] += gj * n;
                sb.pack[k].v[j] += gj;
                sd.pack[k].v[j] += dfj;
            }
            if (dalpha_rows) {  // ReZero only: d once more
                const Pack<V> d = load_pack<V>(f + start + c);
#pragma unroll
                for (int j = 0; j < V; j++)
                    dal[0] += kept >> (k * V + j) & 1 ? dh.v[j] * (d.v[j] + bias.pack[k].v[j]) * scale : 0.f;
            }
            store_pack<V>(dx + start + c, to_x);
            if (df) store_pack<V>(df + start + c, to_f);
        }
        if (dalpha_rows) {
            row_sum(dal, sums, turn);
            if (threadIdx.x == 0 && threadIdx.y == 0) dalpha_rows[row] = dal[0];
        }
    }
    const size_t plane = (size_t)gridDim.x * C;
    partials += (size_t)blockIdx.x * C;
    if (planes & 1) store_columns<V>(partials, so, C, slots);
    if (planes & 2) store_columns<V>(partials + plane, sg, C, slots);
    if (planes & 4) store_columns<V>(partials + 2 * plane, sb, C, slots);
    if (planes & 8) store_columns<V>(partials + 3 * plane, sd, C, slots);
}

#define WRAPPERS(T, type)                                                                                             \
    extern "C" __global__ void __launch_bounds__(512) omega_add_layernorm_fwd_##type(                                 \
        T* y, T* h, float* mu, float* r, uint32_t* keep, const T* x, const T* f, const float* b, const float* omega,  \
        const float* alpha, const float* gamma, const float* beta, int N, int C, int rows, float eps,                 \
        DROPOUT_PARAMS) {                                                                                             \
        __shared__ float slots[MOST_WARPS * SLOT];                                                                    \
        __shared__ RowSums sums;                                                                                      \
        const Dropout drop = DROPOUT;                                                                                 \
        if (C % VECTOR<T> == 0)                                                                                       \
            omega_add_layernorm_fwd<VECTOR<T>>(y, h, mu, r, keep, x, f, b, omega, alpha, gamma, beta, N, C, rows,     \
                                               eps, drop, slots, sums);                                               \
        else                                                                                                          \
            omega_add_layernorm_fwd<1>(y, h, mu, r, keep, x, f, b, omega, alpha, gamma, beta, N, C, rows, eps, drop,  \
                                       slots, sums);                                                                  \
    }                                                                                                                 \
    extern "C" __global__ void __launch_bounds__(384) omega_add_layernorm_bwd_##type(                                 \
        T* dx, T* df, float* partials, float* dalpha_rows, const T* g, const T* e, const T* x, const T* f,            \
        const uint32_t* keep, const float* mu, const float* r, const float* b, const float* omega,                    \
        const float* alpha, const float* gamma, int N, int C, int rows, float scale, int accumulate_x,                \
        int accumulate_f, int planes) {                                                                               \
        __shared__ float slots[MOST_WARPS * SLOT];                                                                    \
        __shared__ RowSums sums;                                                                                      \
        if (C % VECTOR<T> == 0)                                                                                       \
            omega_add_layernorm_bwd<VECTOR<T>>(dx, df, partials, dalpha_rows, g, e, x, f, keep, mu, r, b, omega,      \
                                               alpha, gamma, N, C, rows, scale, accumulate_x, accumulate_f, planes,   \
                                               slots, sums);                                                          \
        else                                                                                                          \
            omega_add_layernorm_bwd<1>(dx, df, partials, dalpha_rows, g, e, x, f, keep, mu, r, b, omega, alpha,       \
                                       gamma, N, C, rows, scale, accumulate_x, accumulate_f, planes, slots, sums);    \
    }                                                                                                                 \
    /* Plane blockIdx.y of the partial sums into its gradient, if it is wanted; bit y of `accumulate` adds. */        \
    extern "C" __global__ void omega_add_layernorm_bwd_reduce_##type(                                                 \
        T* domega, T* dgamma, T* dbeta, T* dbias, const float* partials, int P, int C, int accumulate) {              \
        T* const out[4] = {domega, dgamma, dbeta, dbias};                                                             \
        const int p = blockIdx.y;                                                                                     \
        T* to = p < 2 ? (p == 0 ? out[0] : out[1]) : (p == 2 ? out[2] : out[3]);                                      \
        if (to) reduce_partials(to, partials + (size_t)p * P * C, P, C, accumulate >> p & 1);                         \
    }                                                                                                                 \
    /* dα (+)= Σ_n rows[n]: one warp, each lane its rows in order, then the butterfly. */                             \
    extern "C" __global__ void omega_add_layernorm_bwd_alpha_##type(T* dalpha, const float* rows, int N,              \
                                                                    int accumulate) {                                 \
        float s = 0.f;                                                                                                \
        for (int n = threadIdx.x; n < N; n += WARP) s += rows[n];                                                     \
        s = warp_sum(s);                                                                                              \
        if (threadIdx.x == 0) dalpha[0] = from_f32<T>(accumulate ? to_f32(dalpha[0]) + s : s);                        \
    }
FOR_EACH_DTYPE(WRAPPERS)
