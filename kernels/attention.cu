// O_i = Σ_j P_ij·drop_ij·V_j,  P = softmax(s·Q·Kᵀ),  s = head^−½      Vaswani et al. 2017, arXiv:1706.03762, 3.2
// for every sentence b and head of a packed batch: queries cu_q[b] … cu_q[b+1], keys cu_k[b] … cu_k[b+1]; `causal`: j ≤ i.
// Flash form, Dao et al. 2022, arXiv:2205.14135: P is never stored; saved are O and lse_i = ln Σ_j exp(s·Q_i·K_j).
// Backward, G = ∂L/∂O, delta_i = G_i·O_i:  dS_ij = P_ij·(drop_ij·(G_i·V_j) − delta_i)
//   dQ_i (+)= s·Σ_j dS_ij·K_j    dK_j (+)= s·Σ_i dS_ij·Q_i    dV_j (+)= Σ_i P_ij·drop_ij·G_i
// in two passes without atomics: dQ (which also writes delta) owns queries, dK/dV owns keys. Sums run in key (query) order.
// Shapes: Q O G dQ [Tq, ·], K V dK dV [Tk, ·] T, head h in columns h·D …, row strides in elements (packed qkv);
// lse delta [H, Tq] f32; D ≤ 128. A sentence without keys gives O = 0, lse = −∞.
// drop_ij: dropout's element (global query row · H + head)·max_k + j, so that it depends on nothing but the batch.
// Launch: grid (ceil(longest/32), H, B), block (32): a lane owns one query (key), a warp walks the other side; the
// walked rows are the same for every lane: one broadcast load each. Shared: the owned rows, transposed, D·32 floats each.
// Bytes: each warp reads K and V (Q, G, O) once: Tq/32 · (8·D·Tk) fwd.
#include "common.cuh"

struct Side {  // rows of one sentence and head
    int first, count;
};
__device__ __forceinline__ Side side(const int* cu, int b) { return {cu[b], cu[b + 1] - cu[b]}; }

// Row-major rows to lane-owned columns: tile[d·32 + lane] = row `lane`'s element d (0 past the end).
template <typename T>
__device__ __forceinline__ void load_tile(float* tile, const T* rows, int stride, int count, int D) {
    for (int r = 0; r < WARP; r++)
        for (int d = threadIdx.x; d < D; d += WARP)
            tile[d * WARP + r] = r < count ? to_f32(rows[(size_t)r * stride + d]) : 0.f;
    __syncwarp();
}

template <typename T>
__device__ __forceinline__ void store_tile(T* rows, const float* tile, int stride, int count, int D, int accumulate) {
    __syncwarp();
    for (int r = 0; r < count; r++)
        for (int d = threadIdx.x; d < D; d += WARP) {
            T* to = rows + (size_t)r * stride + d;
            const float v = tile[d * WARP + r];
            *to = from_f32<T>(accumulate ? to_f32(*to) + v : v);
        }
}

// Σ_d tile[d][lane]·row[d].
template <typename T> __device__ __forceinline__ float dot(const float* tile, const T* row, int D) {
    float s = 0.f;
    for (int d = 0; d < D; d++) s += tile[d * WARP + threadIdx.x] * to_f32(row[d]);
    return s;
}
template <typename T> __device__ __forceinline__ void add_scaled(float* tile, float w, const T* row, int D) {
    for (int d = 0; d < D; d++) tile[d * WARP + threadIdx.x] += w * to_f32(row[d]);
}
__device__ __forceinline__ void scale_tile(float* tile, float w, int D) {
    for (int d = 0; d < D; d++) tile[d * WARP + threadIdx.x] *= w;
}

template <typename T>
__device__ void attention_fwd(T* o, float* lse, const T* q, const T* k, const T* v, const int* cu_q, const int* cu_k,
                              int Tq, int D, int stride_o, int stride_q, int stride_kv, int max_k, float scale,
                              int causal, Dropout drop) {
    extern __shared__ float shared[];
    float *qt = shared, *ot = shared + D * WARP;
    const int lane = threadIdx.x, head = blockIdx.y, H = gridDim.y, from = blockIdx.x * WARP;
    const Side Q = side(cu_q, blockIdx.z), K = side(cu_k, blockIdx.z);
    const int mine = min(Q.count - from, WARP), row = Q.first + from + lane, i = from + lane;
    if (mine <= 0) return;
    load_tile(qt, q + (size_t)(Q.first + from) * stride_q + head * D, stride_q, mine, D);
    for (int d = 0; d < D; d++) ot[d * WARP + lane] = 0.f;
    float top = -INFINITY, sum = 0.f;
    const int keys = causal ? min(K.count, from + mine) : K.count;
    for (int j = 0; j < keys; j++) {
        const size_t at = (size_t)(K.first + j) * stride_kv + head * D;
        float s = scale * dot(qt, k + at, D);
        if (causal && j > i) s = -INFINITY;
        const float next = fmaxf(top, s);
        const float old = expf(top - next), p = expf(s - next);  // top = −∞ first: exp(−∞) = 0
        if (__any_sync(0xffffffffu, old != 1.f)) scale_tile(ot, old, D);
        sum = sum * old + p;
        const float keep = lane < mine ? drop.factor(((uint64_t)row * H + head) * max_k + j) : 0.f;
        add_scaled(ot, p * keep, v + at, D);
        top = next;
    }
    if (keys > 0) scale_tile(ot, 1.f / sum, D);
    if (lane < mine) lse[(size_t)head * Tq + row] = top + logf(sum);
    store_tile(o + (size_t)(Q.first + from) * stride_o + head * D, ot, stride_o, mine, D, 0);
}

template <typename T>
__device__ void attention_bwd_q(T* dq, float* delta, const T* g, const T* o, const float* lse, const T* q, const T* k,
                                const T* v, const int* cu_q, const int* cu_k, int Tq, int D, int stride_o,
                                int stride_q, int stride_kv, int max_k, float scale, int causal, int accumulate,
                                Dropout drop) {
    extern __shared__ float shared[];
    float *qt = shared, *gt = shared + D * WARP, *dt = shared + 2 * D * WARP;
    const int lane = threadIdx.x, head = blockIdx.y, H = gridDim.y, from = blockIdx.x * WARP;
    const Side Q = side(cu_q, blockIdx.z), K = side(cu_k, blockIdx.z);
    const int mine = min(Q.count - from, WARP), row = Q.first + from + lane, i = from + lane;
    if (mine <= 0) return;
    const size_t start = (size_t)(Q.first + from);
    load_tile(qt, q + start * stride_q + head * D, stride_q, mine, D);
    load_tile(gt, g + start * stride_o + head * D, stride_o, mine, D);
    load_tile(dt, o + start * stride_o + head * D, stride_o, mine, D);
    float del = 0.f;
    for (int d = 0; d < D; d++) del += gt[d * WARP + lane] * dt[d * WARP + lane], dt[d * WARP + lane] = 0.f;
    const float l = lane < mine ? lse[(size_t)head * Tq + row] : 0.f;
    if (lane < mine) delta[(size_t)head * Tq + row] = del;
    const int keys = causal ? min(K.count, from + mine) : K.count;
    for (int j = 0; j < keys; j++) {
        const size_t at = (size_t)(K.first + j) * stride_kv + head * D;
        const float p = causal && j > i ? 0.f : expf(scale * dot(qt, k + at, D) - l);
        const float keep = lane < mine ? drop.factor(((uint64_t)row * H + head) * max_k + j) : 0.f;
        add_scaled(dt, scale * p * (keep * dot(gt, v + at, D) - del), k + at, D);
    }
    store_tile(dq + start * stride_q + head * D, dt, stride_q, mine, D, accumulate);
}

template <typename T>
__device__ void attention_bwd_kv(T* dk, T* dv, const T* g, const float* delta, const float* lse, const T* q,
                                 const T* k, const T* v, const int* cu_q, const int* cu_k, int Tq, int D, int stride_o,
                                 int stride_q, int stride_kv, int max_k, float scale, int causal, int accumulate,
                                 Dropout drop) {
    extern __shared__ float shared[];
    float *kt = shared, *vt = kt + D * WARP, *dkt = vt + D * WARP, *dvt = dkt + D * WARP;
    const int lane = threadIdx.x, head = blockIdx.y, H = gridDim.y, from = blockIdx.x * WARP;
    const Side Q = side(cu_q, blockIdx.z), K = side(cu_k, blockIdx.z);
    const int mine = min(K.count - from, WARP), j = from + lane;
    if (mine <= 0) return;
    const size_t start = (size_t)(K.first + from) * stride_kv + head * D;
    load_tile(kt, k + start, stride_kv, mine, D);
    load_tile(vt, v + start, stride_kv, mine, D);
    for (int d = 0; d < D; d++) dkt[d * WARP + lane] = dvt[d * WARP + lane] = 0.f;
    for (int i = causal ? from : 0; i < Q.count; i++) {
        const int row = Q.first + i;
        const T* gi = g + (size_t)row * stride_o + head * D;
        const T* qi = q + (size_t)row * stride_q + head * D;
        const float s = scale * dot(kt, qi, D) - lse[(size_t)head * Tq + row];
        const float p = (causal && j > i) || lane >= mine ? 0.f : expf(s);
        const float keep = lane < mine ? drop.factor(((uint64_t)row * H + head) * max_k + j) : 0.f;
        add_scaled(dvt, p * keep, gi, D);
        add_scaled(dkt, scale * p * (keep * dot(vt, gi, D) - delta[(size_t)head * Tq + row]), qi, D);
    }
    store_tile(dk + start, dkt, stride_kv, mine, D, accumulate);
    store_tile(dv + start, dvt, stride_kv, mine, D, accumulate);
}

extern "C" __global__ void attention_fwd_f32(float* o, float* lse, const float* q, const float* k, const float* v,
                                             const int* cu_q, const int* cu_k, int Tq, int D, int stride_o,
                                             int stride_q, int stride_kv, int max_k, float scale_qk, int causal,
                                             DROPOUT_PARAMS) {
    attention_fwd(o, lse, q, k, v, cu_q, cu_k, Tq, D, stride_o, stride_q, stride_kv, max_k, scale_qk, causal, DROPOUT);
}
extern "C" __global__ void attention_bwd_q_f32(float* dq, float* delta, const float* g, const float* o,
                                               const float* lse, const float* q, const float* k, const float* v,
                                               const int* cu_q, const int* cu_k, int Tq, int D, int stride_o,
                                               int stride_q, int stride_kv, int max_k, float scale_qk, int causal,
                                               int accumulate, DROPOUT_PARAMS) {
    attention_bwd_q(dq, delta, g, o, lse, q, k, v, cu_q, cu_k, Tq, D, stride_o, stride_q, stride_kv, max_k, scale_qk,
                    causal, accumulate, DROPOUT);
}
extern "C" __global__ void attention_bwd_kv_f32(float* dk, float* dv, const float* g, const float* delta,
                                                const float* lse, const float* q, const float* k, const float* v,
                                                const int* cu_q, const int* cu_k, int Tq, int D, int stride_o,
                                                int stride_q, int stride_kv, int max_k, float scale_qk, int causal,
                                                int accumulate, DROPOUT_PARAMS) {
    attention_bwd_kv(dk, dv, g, delta, lse, q, k, v, cu_q, cu_k, Tq, D, stride_o, stride_q, stride_kv, max_k, scale_qk,
                     causal, accumulate, DROPOUT);
}
