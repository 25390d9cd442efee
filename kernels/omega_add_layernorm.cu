// h = ω⊙x + α·d,  d = dropout(f + b)      Admin: ω, Liu et al. 2020, arXiv:2004.08249; ReZero: α, Bachlechner et al. 2020
// y = γ⊙n + β,    n = (h − μ)·r,  r = 1/√(var + ε),  var = Σ(h − μ)²/C              Ba et al. 2016, arXiv:1607.06450
// One kernel, four forms, by which pointers are null:
//   post-LN, Admin, rezero-post-LN  y = LN(ω⊙x + α·d)      ω or α may be null (1)
//   pre-LN                          h = x + d, y = LN(h)   h is written
//   ReZero                          h = x + α·d            γ β null: no norm
//   plain norm                      y = LN(x)              f null
// Forward overwrites f by d, and saves μ, r and one keep-bit per element (`keep`, null without dropout).
// Backward, g = ∂L/∂y, e = ∂L/∂h (pre-LN, ReZero; else null), a = γ⊙g:
//   dh = r·(a − mean(a) − n·mean(a⊙n)) + e;   dx = ω⊙dh;   df = α·dh·keep·scale
//   dω (+)= Σ_N dh⊙x   dγ (+)= Σ_N g⊙n   dβ (+)= Σ_N g   db (+)= Σ_N df   dα (+)= ΣΣ dh⊙d
// Shapes: x f h y g e dx df [N,C] T; ω γ β b and gradients [C], α [1], μ r mean_a mean_an [N] f32; keep [N, ceil(C/32)].
// Bytes at 4-byte T: fwd 16·N·C (f is read and written);  bwd rows 20·N·C, columns 12·N·C; plus 1/32 of that for bits.
// Launch: block (32, 4), a warp per row; columns: grid (ceil(C/(32·V)), ceil(N/64)), block 32; no shared memory, no
// atomics. V = 4 columns a thread, in one access, where 4 divides C; else 1.
#include "common.cuh"

template <int V, typename T>
__device__ void omega_add_layernorm_fwd(T* y, T* h_out, float* mu, float* r, uint32_t* keep, const T* x, T* f,
                                        const float* b, const float* omega, const float* alpha, const float* gamma,
                                        const float* beta, int N, int C, float eps, Dropout drop) {
    const int row = blockIdx.x * blockDim.y + threadIdx.y, lane = threadIdx.x;
    if (row >= N) return;
    const size_t start = (size_t)row * C;
    const int words = (C + WARP - 1) / WARP;
    const float scale_f = alpha ? alpha[0] : 1.f;
    x += start;
    // h of V columns from c on; f holds d by then.
    auto h = [&](int c, const Pack<V>& d) {
        Pack<V> v = load_pack<V>(x + c);
        const Pack<V> om = load_pack<V>(omega ? omega + c : nullptr, 1.f);
#pragma unroll
        for (int j = 0; j < V; j++) v.v[j] = om.v[j] * v.v[j] + scale_f * d.v[j];
        return v;
    };
    auto h_again = [&](int c) { return h(c, load_pack<V>(f ? f + start + c : nullptr, 0.f)); };
    float s = 0.f;
    for (int k = 0; k * WARP * V < C; k++) {  // whole warps to the end, so that the shuffle of bits has every lane
        const int c = (k * WARP + lane) * V;
        Pack<V> d = {};
        uint32_t bits = 0;
        if (c < C && f) {
            const Pack<V> factor = drop.factors<V>(start + c), bias = load_pack<V>(b ? b + c : nullptr, 0.f);
            d = load_pack<V>(f + start + c);
#pragma unroll
            for (int j = 0; j < V; j++) {
                d.v[j] = factor.v[j] == 0.f ? 0.f : (d.v[j] + bias.v[j]) * factor.v[j];
                bits |= factor.v[j] != 0.f ? 1u << j : 0u;
            }
            store_pack<V>(f + start + c, d);
        }
        if (keep) store_keep<V>(keep + (size_t)row * words, bits, k, words);
        if (c < C) {
            const Pack<V> hc = h(c, d);
            if (h_out) store_pack<V>(h_out + start + c, hc);
#pragma unroll
            for (int j = 0; j < V; j++) s += hc.v[j];
        }
    }
    if (!gamma) return;
    const float m = warp_sum(s) / C;
    float v = 0.f;
    for (int c = lane * V; c < C; c += WARP * V) {  // two passes: no cancellation
        const Pack<V> hc = h_again(c);
#pragma unroll
        for (int j = 0; j < V; j++) v += sq(hc.v[j] - m);
    }
    const float rs = rsqrtf(warp_sum(v) / C + eps);
    for (int c = lane * V; c < C; c += WARP * V) {
        const Pack<V> ga = load_pack<V>(gamma + c), be = load_pack<V>(beta + c);
        Pack<V> out = h_again(c);
#pragma unroll
        for (int j = 0; j < V; j++) out.v[j] = ga.v[j] * (out.v[j] - m) * rs + be.v[j];
        store_pack<V>(y + start + c, out);
    }
    if (lane == 0) mu[row] = m, r[row] = rs;
}

// Rows: dx, df, and what the columns need of each row.
template <int V, typename T>
__device__ void omega_add_layernorm_bwd(T* dx, T* df, float* mean_a, float* mean_an, float* dalpha_rows, const T* g,
                                        const T* e, const T* x, const T* d, const uint32_t* keep, const float* mu,
                                        const float* r, const float* omega, const float* alpha, const float* gamma,
                                        int N, int C, float scale, int accumulate_x, int accumulate_f) {
    const int row = blockIdx.x * blockDim.y + threadIdx.y, lane = threadIdx.x;
    if (row >= N) return;
    const size_t start = (size_t)row * C;
    const uint32_t* bits = keep ? keep + (size_t)row * ((C + WARP - 1) / WARP) : nullptr;
    const float scale_f = alpha ? alpha[0] : 1.f, m = gamma ? mu[row] : 0.f, rs = gamma ? r[row] : 0.f;
    auto branch = [&](int c) { return load_pack<V>(d ? d + start + c : nullptr, 0.f); };
    auto shortcut = [&](int c) { return load_pack<V>(omega ? omega + c : nullptr, 1.f); };
    // n of V columns from c on, and a = γ⊙g.
    auto normalised = [&](int c) {
        Pack<V> n = load_pack<V>(x + start + c);
        const Pack<V> om = shortcut(c), dc = branch(c);
#pragma unroll
        for (int j = 0; j < V; j++) n.v[j] = (om.v[j] * n.v[j] + scale_f * dc.v[j] - m) * rs;
        return n;
    };
    auto weighted = [&](int c) {
        Pack<V> a = load_pack<V>(g + start + c);
        const Pack<V> ga = load_pack<V>(gamma + c);
#pragma unroll
        for (int j = 0; j < V; j++) a.v[j] *= ga.v[j];
        return a;
    };
    float a1 = 0.f, a2 = 0.f;
    if (gamma) {
        for (int c = lane * V; c < C; c += WARP * V) {
            const Pack<V> a = weighted(c), n = normalised(c);
#pragma unroll
            for (int j = 0; j < V; j++) a1 += a.v[j], a2 += a.v[j] * n.v[j];
        }
        a1 = warp_sum(a1) / C, a2 = warp_sum(a2) / C;
        if (lane == 0) mean_a[row] = a1, mean_an[row] = a2;
    }
    float dal = 0.f;
    for (int c = lane * V; c < C; c += WARP * V) {
        Pack<V> dh = load_pack<V>(e ? e + start + c : nullptr, 0.f);
        if (gamma) {
            const Pack<V> a = weighted(c), n = normalised(c);
#pragma unroll
            for (int j = 0; j < V; j++) dh.v[j] += rs * (a.v[j] - a1 - n.v[j] * a2);
        }
        Pack<V> to_x = load_pack<V>(accumulate_x ? dx + start + c : nullptr, 0.f);
        const Pack<V> om = shortcut(c);
#pragma unroll
        for (int j = 0; j < V; j++) to_x.v[j] += om.v[j] * dh.v[j];
        store_pack<V>(dx + start + c, to_x);
        if (df) {
            const uint32_t kept = load_keep(bits, c);
            Pack<V> to_f = load_pack<V>(accumulate_f ? df + start + c : nullptr, 0.f);
#pragma unroll
            for (int j = 0; j < V; j++) to_f.v[j] += kept >> j & 1 ? scale_f * dh.v[j] * scale : 0.f;
            store_pack<V>(df + start + c, to_f);
            if (dalpha_rows) {
                const Pack<V> dc = branch(c);
#pragma unroll
                for (int j = 0; j < V; j++) dal += dh.v[j] * dc.v[j];
            }
        }
    }
    if (dalpha_rows) {
        dal = warp_sum(dal);
        if (lane == 0) dalpha_rows[row] = dal;
    }
}

// Columns: partial sums of dω, dγ, dβ, db over 64 rows, in four planes of [P, C]; a null gradient's plane stays unwritten.
template <int V, typename T>
__device__ void omega_add_layernorm_bwd_columns(float* domega, float* dgamma, float* dbeta, float* dbias, const T* g,
                                                const T* e, const T* x, const T* d, const uint32_t* keep,
                                                const float* mu, const float* r, const float* mean_a,
                                                const float* mean_an, const float* omega, const float* alpha,
                                                const float* gamma, int N, int C, float scale) {
    const int c = (blockIdx.x * WARP + threadIdx.x) * V, first = blockIdx.y * ROWS_PER_PARTIAL;
    if (c >= C) return;
    const int last = min(first + ROWS_PER_PARTIAL, N), words = (C + WARP - 1) / WARP;
    const float scale_f = alpha ? alpha[0] : 1.f;
    const Pack<V> om = load_pack<V>(omega ? omega + c : nullptr, 1.f);
    const Pack<V> ga = load_pack<V>(gamma ? gamma + c : nullptr, 0.f);
    Pack<V> so = {}, sg = {}, sb = {}, sd = {};
    for (int row = first; row < last; row++) {
        const size_t i = (size_t)row * C + c;
        const Pack<V> xi = load_pack<V>(x + i);
        Pack<V> dh = load_pack<V>(e ? e + i : nullptr, 0.f);
        if (gamma) {
            const Pack<V> gi = load_pack<V>(g + i), di = load_pack<V>(d ? d + i : nullptr, 0.f);
            const float m = mu[row], rs = r[row], a1 = mean_a[row], a2 = mean_an[row];
#pragma unroll
            for (int j = 0; j < V; j++) {
                const float n = (om.v[j] * xi.v[j] + scale_f * di.v[j] - m) * rs;
                dh.v[j] += rs * (ga.v[j] * gi.v[j] - a1 - n * a2);
                sg.v[j] += gi.v[j] * n, sb.v[j] += gi.v[j];
            }
        }
        const uint32_t kept = load_keep(keep ? keep + (size_t)row * words : nullptr, c);
#pragma unroll
        for (int j = 0; j < V; j++) {
            so.v[j] += dh.v[j] * xi.v[j];
            sd.v[j] += kept >> j & 1 ? scale_f * dh.v[j] * scale : 0.f;
        }
    }
    const size_t o = (size_t)blockIdx.y * C + c;
    if (domega) store_pack<V>(domega + o, so);
    if (dgamma) store_pack<V>(dgamma + o, sg), store_pack<V>(dbeta + o, sb);
    if (dbias) store_pack<V>(dbias + o, sd);
}

extern "C" __global__ void omega_add_layernorm_fwd_f32(float* y, float* h_out, float* mu, float* r, uint32_t* keep,
                                                       const float* x, float* f, const float* b, const float* omega,
                                                       const float* alpha, const float* gamma, const float* beta,
                                                       int N, int C, float eps, DROPOUT_PARAMS) {
    const Dropout drop = DROPOUT;
    C % 4 == 0 ? omega_add_layernorm_fwd<4>(y, h_out, mu, r, keep, x, f, b, omega, alpha, gamma, beta, N, C, eps, drop)
               : omega_add_layernorm_fwd<1>(y, h_out, mu, r, keep, x, f, b, omega, alpha, gamma, beta, N, C, eps, drop);
}
extern "C" __global__ void omega_add_layernorm_bwd_f32(float* dx, float* df, float* mean_a, float* mean_an,
                                                       float* dalpha_rows, const float* g, const float* e,
                                                       const float* x, const float* d, const uint32_t* keep,
                                                       const float* mu, const float* r, const float* omega,
                                                       const float* alpha, const float* gamma, int N, int C,
                                                       float scale, int accumulate_x, int accumulate_f) {
    if (C % 4 == 0)
        omega_add_layernorm_bwd<4>(dx, df, mean_a, mean_an, dalpha_rows, g, e, x, d, keep, mu, r, omega, alpha, gamma,
                                   N, C, scale, accumulate_x, accumulate_f);
    else
        omega_add_layernorm_bwd<1>(dx, df, mean_a, mean_an, dalpha_rows, g, e, x, d, keep, mu, r, omega, alpha, gamma,
                                   N, C, scale, accumulate_x, accumulate_f);
}
extern "C" __global__ void omega_add_layernorm_bwd_columns_f32(
    float* domega, float* dgamma, float* dbeta, float* dbias, const float* g, const float* e, const float* x,
    const float* d, const uint32_t* keep, const float* mu, const float* r, const float* mean_a, const float* mean_an,
    const float* omega, const float* alpha, const float* gamma, int N, int C, float scale) {
    if (C % 4 == 0)
        omega_add_layernorm_bwd_columns<4>(domega, dgamma, dbeta, dbias, g, e, x, d, keep, mu, r, mean_a, mean_an,
                                           omega, alpha, gamma, N, C, scale);
    else
        omega_add_layernorm_bwd_columns<1>(domega, dgamma, dbeta, dbias, g, e, x, d, keep, mu, r, mean_a, mean_an,
                                           omega, alpha, gamma, N, C, scale);
}
extern "C" __global__ void omega_add_layernorm_bwd_reduce(float* out, const float* partials, int P, int C,
                                                          int accumulate) {
    reduce_partials(out, partials, P, C, accumulate);
}
// dα (+)= Σ_n rows[n]: one warp, each lane its rows in order, then the butterfly.
extern "C" __global__ void omega_add_layernorm_bwd_alpha(float* dalpha, const float* rows, int N, int accumulate) {
    float s = 0.f;
    for (int n = threadIdx.x; n < N; n += WARP) s += rows[n];
    s = warp_sum(s);
    if (threadIdx.x == 0) dalpha[0] = accumulate ? dalpha[0] + s : s;
}
