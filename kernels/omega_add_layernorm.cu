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
// Launch: block (32, 4), a warp per row; columns: grid (ceil(C/32), ceil(N/64)), block 32; no shared memory, no atomics.
#include "common.cuh"

template <typename T>
__device__ void omega_add_layernorm_fwd(T* y, T* h_out, float* mu, float* r, uint32_t* keep, const T* x, T* f,
                                        const float* b, const float* omega, const float* alpha, const float* gamma,
                                        const float* beta, int N, int C, float eps, Dropout drop) {
    const int row = blockIdx.x * blockDim.y + threadIdx.y, lane = threadIdx.x;
    if (row >= N) return;
    const size_t start = (size_t)row * C;
    const int words = (C + WARP - 1) / WARP;
    const float scale_f = alpha ? alpha[0] : 1.f;
    x += start;
    float s = 0.f;
    for (int k = 0; k < words; k++) {  // whole warps to the end, so that the ballot has every lane
        const int c = k * WARP + lane;
        float d = 0.f, factor = 0.f;
        if (c < C && f) {
            factor = drop.factor(start + c);
            d = to_f32(f[start + c]) + (b ? b[c] : 0.f);
            d = factor == 0.f ? 0.f : d * factor;
            f[start + c] = from_f32<T>(d);
        }
        if (keep) {
            const uint32_t bits = __ballot_sync(0xffffffffu, factor != 0.f);
            if (lane == 0) keep[(size_t)row * words + k] = bits;
        }
        if (c < C) {
            const float h = (omega ? omega[c] : 1.f) * to_f32(x[c]) + scale_f * d;
            if (h_out) h_out[start + c] = from_f32<T>(h);
            s += h;
        }
    }
    if (!gamma) return;
    auto h = [&](int c) {
        return (omega ? omega[c] : 1.f) * to_f32(x[c]) + (f ? scale_f * to_f32(f[start + c]) : 0.f);
    };
    const float m = warp_sum(s) / C;
    float v = 0.f;
    for (int c = lane; c < C; c += WARP) v += sq(h(c) - m);  // two passes: no cancellation
    const float rs = rsqrtf(warp_sum(v) / C + eps);
    for (int c = lane; c < C; c += WARP) y[start + c] = from_f32<T>(gamma[c] * (h(c) - m) * rs + beta[c]);
    if (lane == 0) mu[row] = m, r[row] = rs;
}

// Rows: dx, df, and what the columns need of each row.
template <typename T>
__device__ void omega_add_layernorm_bwd(T* dx, T* df, float* mean_a, float* mean_an, float* dalpha_rows, const T* g,
                                        const T* e, const T* x, const T* d, const uint32_t* keep, const float* mu,
                                        const float* r, const float* omega, const float* alpha, const float* gamma,
                                        int N, int C, float scale, int accumulate_x, int accumulate_f) {
    const int row = blockIdx.x * blockDim.y + threadIdx.y, lane = threadIdx.x;
    if (row >= N) return;
    const size_t start = (size_t)row * C;
    const int words = (C + WARP - 1) / WARP;
    const float scale_f = alpha ? alpha[0] : 1.f, m = gamma ? mu[row] : 0.f, rs = gamma ? r[row] : 0.f;
    auto n = [&](int c) {
        const float h = (omega ? omega[c] : 1.f) * to_f32(x[start + c]) + (d ? scale_f * to_f32(d[start + c]) : 0.f);
        return (h - m) * rs;
    };
    float a1 = 0.f, a2 = 0.f;
    if (gamma) {
        for (int c = lane; c < C; c += WARP) {
            const float a = gamma[c] * to_f32(g[start + c]);
            a1 += a, a2 += a * n(c);
        }
        a1 = warp_sum(a1) / C, a2 = warp_sum(a2) / C;
        if (lane == 0) mean_a[row] = a1, mean_an[row] = a2;
    }
    float dal = 0.f;
    for (int c = lane; c < C; c += WARP) {
        float dh = e ? to_f32(e[start + c]) : 0.f;
        if (gamma) dh += rs * (gamma[c] * to_f32(g[start + c]) - a1 - n(c) * a2);
        const float to_x = (omega ? omega[c] : 1.f) * dh;
        dx[start + c] = from_f32<T>(accumulate_x ? to_f32(dx[start + c]) + to_x : to_x);
        if (df) {
            const bool kept = !keep || (keep[(size_t)row * words + c / WARP] >> (c % WARP) & 1);
            const float to_f = kept ? scale_f * dh * scale : 0.f;
            df[start + c] = from_f32<T>(accumulate_f ? to_f32(df[start + c]) + to_f : to_f);
            if (dalpha_rows) dal += dh * to_f32(d[start + c]);
        }
    }
    if (dalpha_rows) {
        dal = warp_sum(dal);
        if (lane == 0) dalpha_rows[row] = dal;
    }
}

// Columns: partial sums of dω, dγ, dβ, db over 64 rows, in four planes of [P, C]; a null gradient's plane stays unwritten.
template <typename T>
__device__ void omega_add_layernorm_bwd_columns(float* domega, float* dgamma, float* dbeta, float* dbias, const T* g,
                                                const T* e, const T* x, const T* d, const uint32_t* keep,
                                                const float* mu, const float* r, const float* mean_a,
                                                const float* mean_an, const float* omega, const float* alpha,
                                                const float* gamma, int N, int C, float scale) {
    const int c = blockIdx.x * WARP + threadIdx.x, first = blockIdx.y * ROWS_PER_PARTIAL;
    if (c >= C) return;
    const int last = min(first + ROWS_PER_PARTIAL, N), words = (C + WARP - 1) / WARP;
    const float scale_f = alpha ? alpha[0] : 1.f, om = omega ? omega[c] : 1.f, ga = gamma ? gamma[c] : 0.f;
    float so = 0.f, sg = 0.f, sb = 0.f, sd = 0.f;
    for (int row = first; row < last; row++) {
        const size_t i = (size_t)row * C + c;
        const float xi = to_f32(x[i]);
        float dh = e ? to_f32(e[i]) : 0.f;
        if (gamma) {
            const float gi = to_f32(g[i]), h = om * xi + (d ? scale_f * to_f32(d[i]) : 0.f);
            const float n = (h - mu[row]) * r[row];
            dh += r[row] * (ga * gi - mean_a[row] - n * mean_an[row]);
            sg += gi * n, sb += gi;
        }
        so += dh * xi;
        const bool kept = !keep || (keep[(size_t)row * words + blockIdx.x] >> threadIdx.x & 1);
        sd += kept ? scale_f * dh * scale : 0.f;
    }
    const size_t o = (size_t)blockIdx.y * C + c;
    if (domega) domega[o] = so;
    if (dgamma) dgamma[o] = sg, dbeta[o] = sb;
    if (dbias) dbias[o] = sd;
}

extern "C" __global__ void omega_add_layernorm_fwd_f32(float* y, float* h_out, float* mu, float* r, uint32_t* keep,
                                                       const float* x, float* f, const float* b, const float* omega,
                                                       const float* alpha, const float* gamma, const float* beta,
                                                       int N, int C, float eps, DROPOUT_PARAMS) {
    omega_add_layernorm_fwd(y, h_out, mu, r, keep, x, f, b, omega, alpha, gamma, beta, N, C, eps, DROPOUT);
}
extern "C" __global__ void omega_add_layernorm_bwd_f32(float* dx, float* df, float* mean_a, float* mean_an,
                                                       float* dalpha_rows, const float* g, const float* e,
                                                       const float* x, const float* d, const uint32_t* keep,
                                                       const float* mu, const float* r, const float* omega,
                                                       const float* alpha, const float* gamma, int N, int C,
                                                       float scale, int accumulate_x, int accumulate_f) {
    omega_add_layernorm_bwd(dx, df, mean_a, mean_an, dalpha_rows, g, e, x, d, keep, mu, r, omega, alpha, gamma, N, C,
                            scale, accumulate_x, accumulate_f);
}
extern "C" __global__ void omega_add_layernorm_bwd_columns_f32(
    float* domega, float* dgamma, float* dbeta, float* dbias, const float* g, const float* e, const float* x,
    const float* d, const uint32_t* keep, const float* mu, const float* r, const float* mean_a, const float* mean_an,
    const float* omega, const float* alpha, const float* gamma, int N, int C, float scale) {
    omega_add_layernorm_bwd_columns(domega, dgamma, dbeta, dbias, g, e, x, d, keep, mu, r, mean_a, mean_an, omega,
                                    alpha, gamma, N, C, scale);
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
