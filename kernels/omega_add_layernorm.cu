// h = ω⊙x + α·d,  d = dropout(f + b)   ω: Admin, Liu et al. 2020, arXiv:2004.08249; α: ReZero, Bachlechner et al. 2020
// y = γ⊙n + β,    n = (h − μ)·r,  r = 1/√(var + ε),  var = Σ(h − μ)²/C              Ba et al. 2016, arXiv:1607.06450
// One kernel, four forms, by which pointers are null:
//   post-LN, Admin, rezero-post-LN  y = LN(ω⊙x + α·d)      ω or α may be null (1)
//   pre-LN                          h = x + d, y = LN(h)   h is written
//   ReZero                          h = x + α·d            γ β null: no norm
//   plain norm                      y = LN(x)              f null
// h is f32 from its operands to y and is never rounded to T on the way, nor are d and n: an ω of 200, as Admin gives
// deep models, makes h larger than f16 can hold, and y is as exact as ever. The forms that write h round it there, once.
// Forward saves μ, r and, with dropout, a bit per element that says "kept" (`keep`). Backward makes d again from f, b
// and those; g = ∂L/∂y, e = ∂L/∂h (pre-LN, ReZero; else null), a = γ⊙g:
//   dh = r·(a − mean(a) − n·mean(a⊙n)) + e;   dx (+)= ω⊙dh;   df (+)= α·dh·keep·scale
//   dω (+)= Σ_N dh⊙x   dγ (+)= Σ_N g⊙n   dβ (+)= Σ_N g   db (+)= Σ_N α·dh·keep·scale   dα (+)= ΣΣ dh⊙d
// Shapes: x f h y g e dx df [N,C] T; ω γ β b [C], α [1], μ r [N] f32; the gradients of vectors in T or f32; keep [N] rows
// of bits in the kernel's own order; partials [P,4,C], dalpha_rows [P] f32, P = ceil(N/per_block).
// Bytes at 2-byte T: fwd 6·N·C (h: 8);  bwd 10·N·C (e: 12; what is added to is read too); bits N·C/8 and μ, r 8·N in
// both; bwd 32·P·C of partial sums. Operands are read once (backward f twice for dα; f32 has x and g twice, from L1).
// Launch: block (32, W, G), rows in registers as in rows.cuh, `per_block` rows of a block (forward at most 32·G), `packs`
// being K; shared memory for the vectors: with L = 32·W·V·packs columns 16·L bytes forward, max(12, 8·G)·L backward.
// packs = 0 is any other width: a column a lane, rows read again, W = 1 forward and G = 1 backward, no shared memory.
// Then reduce: grid (ceil(C/32), 5), block (32, 8). No atomics.
#include "rows.cuh"

template <typename T> struct Forward {
    T *y, *h;
    float *mu, *r;
    uint32_t* keep;
    const T *x, *f;
    const float *b, *omega, *alpha, *gamma, *beta;
    int N, C;
    float eps;
    Dropout drop;
};

template <typename T> struct Backward {
    T *dx, *df;
    float *partials, *dalpha_rows;
    const T *g, *e, *x, *f;
    const uint32_t* keep;
    const float *mu, *r, *b, *omega, *alpha, *gamma;
    int N, C;
    float scale;
    int accumulate_x, accumulate_f;
};

// V elements as they came from memory, so that a 2-byte type waits in half the registers.
template <int V, typename T> struct Raw {
    uint4 bits;
    __device__ __forceinline__ explicit Raw(const T* p) : bits(*reinterpret_cast<const uint4*>(p)) {}
    __device__ __forceinline__ Raw() {}
    __device__ __forceinline__ Pack<V> wide() const {
        Pack<V> x;
        const uint32_t w[4] = {bits.x, bits.y, bits.z, bits.w};
#pragma unroll
        for (int i = 0; i < 4; i++) {
            if constexpr (V == 4) {
                x.v[i] = __uint_as_float(w[i]);
            } else {
                const float2 two = unpack2<T>(w[i]);
                x.v[2 * i] = two.x, x.v[2 * i + 1] = two.y;
            }
        }
        return x;
    }
};

// A lane's keep bits of one row: a byte, or two where it has 16 columns.
template <int COLUMNS> struct BitsOf {
    using type = uint8_t;
};
template <> struct BitsOf<16> {
    using type = uint16_t;
};
__device__ __forceinline__ size_t bits_at(int row) {
    return ((size_t)row * blockDim.y + threadIdx.y) * WARP + threadIdx.x;
}

// Keeps ptxas from having all four packs of an f32 row under way at once, which takes more registers than there are.
template <int V> __device__ __forceinline__ void two_at_a_time(int k) {
    if (V == 4 && k % 2 == 1) __syncwarp();
}

// d of V columns from f, the bias and, with dropout, four words at a time; sets the bits of what is kept.
template <int V>
__device__ __forceinline__ void drop_pack(Pack<V>& d, uint32_t& bits, int shift, const Dropout& drop, size_t element) {
    static_assert(V % 4 == 0);
#pragma unroll
    for (int j = 0; j < V; j += 4) {
        const uint4 words = drop.words((element + j) / 4);
        const uint32_t word[4] = {words.x, words.y, words.z, words.w};
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const bool kept = word[i] >= drop.threshold;
            d.v[j + i] = kept ? d.v[j + i] * drop.scale : 0.f;
            bits |= kept ? 1u << (shift + j + i) : 0u;
        }
    }
}

template <int V, int K, typename T>
__device__ __forceinline__ void forward_rows(const Forward<T>& a, int per_block) {
    extern __shared__ float4 shared[];
    __shared__ float slots[2][MOST_WARPS];
    enum { OM, B, GA, BE, COUNT };
    using Staged = Vectors<V, K, COUNT>;
    const int C = a.C, lane = threadIdx.x;
    Staged::stage(shared, OM, a.omega, 1.f, C), Staged::stage(shared, B, a.b, 0.f, C);
    Staged::stage(shared, GA, a.gamma, 1.f, C), Staged::stage(shared, BE, a.beta, 0.f, C);
    __syncthreads();
    const Staged vectors(shared);
    const Columns<V, K> columns(C);
    const float alpha = a.alpha ? a.alpha[0] : 1.f, inverse = 1.f / C;
    const Rows rows(per_block, a.N);
    float mean_of = 0.f, r_of = 0.f;  // lane i: of row i of the group, which has at most a warp of them
    for (int row = rows.first; row < rows.last; row++) {
        const size_t start = (size_t)row * C;
        Pack<V> h[K];
        uint32_t bits = 0;
        float s = 0.f;
#pragma unroll
        for (int k = 0; k < K; k++) {
            const size_t i = start + columns.at[k];
            h[k] = load_pack<V>(a.x + i);
            const Pack<V> om = vectors.get(OM, k);
#pragma unroll
            for (int j = 0; j < V; j++) h[k].v[j] *= om.v[j];
            if (a.f) {
                Pack<V> d = load_pack<V>(a.f + i);
                const Pack<V> b = vectors.get(B, k);
#pragma unroll
                for (int j = 0; j < V; j++) d.v[j] += b.v[j];
                if (a.keep) drop_pack<V>(d, bits, k * V, a.drop, i);
#pragma unroll
                for (int j = 0; j < V; j++) h[k].v[j] += alpha * d.v[j];
            }
            if (a.h && columns.has(k)) store_pack<V>(a.h + i, h[k]);
            s += columns.weight[k] * sum(h[k]);
            two_at_a_time<V>(k);
        }
        if (a.keep) {
            using Bits = typename BitsOf<V * K>::type;
            reinterpret_cast<Bits*>(a.keep)[bits_at(row)] = (Bits)bits;
        }
        if (!a.gamma) continue;
        const float mean = row_sum(s, slots[0]) * inverse;
        float v = 0.f;
#pragma unroll
        for (int k = 0; k < K; k++) {
            float squares = 0.f;
#pragma unroll
            for (int j = 0; j < V; j++) h[k].v[j] -= mean, squares += sq(h[k].v[j]);
            v += columns.weight[k] * squares;
        }
        const float r = rsqrtf(row_sum(v, slots[1]) * inverse + a.eps);
#pragma unroll
        for (int k = 0; k < K; k++) {
            const Pack<V> ga = vectors.get(GA, k), be = vectors.get(BE, k);
#pragma unroll
            for (int j = 0; j < V; j++) h[k].v[j] = ga.v[j] * (h[k].v[j] * r) + be.v[j];
            if (columns.has(k)) store_pack<V>(a.y + start + columns.at[k], h[k]);
        }
        if (lane == row - rows.first) mean_of = mean, r_of = r;
    }
    const int row = rows.first + lane;
    if (a.gamma && threadIdx.y == 0 && row < rows.last) a.mu[row] = mean_of, a.r[row] = r_of;
}

// Any width: a warp per row, a column a lane; h is made three times, the last two from the bits.
template <typename T> __device__ __forceinline__ void forward_any(const Forward<T>& a, int per_block) {
    const int C = a.C, lane = threadIdx.x, words = (C + WARP - 1) / WARP;
    const float alpha = a.alpha ? a.alpha[0] : 1.f, inverse = 1.f / C;
    const Rows rows(per_block, a.N);
    for (int row = rows.first; row < rows.last; row++) {
        const size_t start = (size_t)row * C;
        uint32_t* keep = a.keep ? a.keep + (size_t)row * words : nullptr;
        auto value = [&](int c, bool kept) {
            const float shortcut = (a.omega ? a.omega[c] : 1.f) * to_f32(a.x[start + c]);
            if (!a.f || !kept) return shortcut;
            return shortcut + alpha * ((to_f32(a.f[start + c]) + (a.b ? a.b[c] : 0.f)) * a.drop.scale);
        };
        auto again = [&](int c) { return value(c, load_keep(keep, c) & 1); };
        float s = 0.f;
        for (int k = 0; k < words; k++) {  // whole warps to the end: every lane votes
            const int c = k * WARP + lane;
            const bool kept = c < C && a.drop.factor(start + c) != 0.f;
            if (keep) store_keep<1>(keep, kept, k, words);
            if (c >= C) continue;
            const float h = value(c, kept);
            if (a.h) a.h[start + c] = from_f32<T>(h);
            s += h;
        }
        if (!a.gamma) continue;
        const float mean = warp_sum(s) * inverse;
        __syncwarp();  // the bits
        float v = 0.f;
        for (int c = lane; c < C; c += WARP) v += sq(again(c) - mean);
        const float r = rsqrtf(warp_sum(v) * inverse + a.eps);
        for (int c = lane; c < C; c += WARP)
            a.y[start + c] = from_f32<T>(a.gamma[c] * ((again(c) - mean) * r) + a.beta[c]);
        if (lane == 0) a.mu[row] = mean, a.r[row] = r;
    }
}

// dω, dγ, dβ, db of K packs of columns.
enum Plane { OMEGA, GAMMA, BETA, BIAS, PLANES };
template <int V, int K> using Sums = Pack<V>[PLANES][K];

// Adds the sums of the G groups of a block, halving their number each time: those of group 0 become the block's.
template <int V, int K> __device__ __forceinline__ void add_groups(Sums<V, K>& sums, float4* shared) {
    const int threads = blockDim.y * WARP, thread = threadIdx.y * WARP + threadIdx.x, z = threadIdx.z;
    for (int half = blockDim.z / 2; half > 0; half /= 2) {
        __syncthreads();
        float4* to = shared + (z < half ? z : z - half) * (PLANES * K * V / 4 * threads) + thread;
        if (z >= half && z < 2 * half) {
#pragma unroll
            for (int i = 0; i < PLANES * K * V / 4; i++) {
                const float* v = sums[i / (K * V / 4)][i / (V / 4) % K].v + i % (V / 4) * 4;
                to[i * threads] = make_float4(v[0], v[1], v[2], v[3]);
            }
        }
        __syncthreads();
        if (z < half) {
#pragma unroll
            for (int i = 0; i < PLANES * K * V / 4; i++) {
                float* v = sums[i / (K * V / 4)][i / (V / 4) % K].v + i % (V / 4) * 4;
                const float4 q = to[i * threads];
                v[0] += q.x, v[1] += q.y, v[2] += q.z, v[3] += q.w;
            }
        }
    }
}

// dα of a block: its warps in order.
__device__ __forceinline__ void store_dalpha(float* to, float dalpha, float* slots) {
    dalpha = warp_sum(dalpha);
    const int warps = blockDim.y * blockDim.z;
    if (threadIdx.x == 0) slots[threadIdx.z * blockDim.y + threadIdx.y] = dalpha;
    __syncthreads();
    if (threadIdx.x + threadIdx.y + threadIdx.z > 0) return;
    float s = 0.f;
    for (int i = 0; i < warps; i++) s += slots[i];
    *to = s;
}

// NORM: gamma is not null.
template <bool NORM, int V, int K, typename T>
__device__ __forceinline__ void backward_rows(const Backward<T>& a, int per_block) {
    extern __shared__ float4 shared[];
    __shared__ float slots[2][MOST_WARPS];
    constexpr bool AGAIN = V == 4;  // f32 reads x and g again rather than hold them: that takes too many registers
    using Bits = typename BitsOf<V * K>::type;
    enum { OM, B, GA, COUNT };
    using Staged = Vectors<V, K, COUNT>;
    const int C = a.C;
    Staged::stage(shared, OM, a.omega, 1.f, C), Staged::stage(shared, B, a.b, 0.f, C);
    Staged::stage(shared, GA, a.gamma, 0.f, C);
    __syncthreads();
    const Staged vectors(shared);
    const Columns<V, K> columns(C);
    const float alpha = a.alpha ? a.alpha[0] : 1.f, inverse = 1.f / C, to_branch = alpha * a.scale;
    Sums<V, K> sums = {};
    float dalpha = 0.f, mean_of = 0.f, r_of = 0.f;  // of 32 rows at a time, a lane each
    const Rows rows(per_block, a.N);
    for (int row = rows.first; row < rows.last; row++) {
        const size_t start = (size_t)row * C;
        const uint32_t bits = a.keep ? reinterpret_cast<const Bits*>(a.keep)[bits_at(row)] : ~0u;
        auto branch = [&](int k) {
            Pack<V> d = load_pack<V>(a.f + start + columns.at[k]);
            const Pack<V> b = vectors.get(B, k);
#pragma unroll
            for (int j = 0; j < V; j++) d.v[j] = bits >> (k * V + j) & 1 ? (d.v[j] + b.v[j]) * a.scale : 0.f;
            return d;
        };
        Raw<V, T> x[K];
        Pack<V> n[K], at[K];  // at: a, then dh, then what goes to f
        float r = 0.f, mean_a = 0.f, mean_an = 0.f;
        if constexpr (NORM) {
            float mean;
            if constexpr (V == 4) {
                mean = a.mu[row], r = a.r[row];
            } else {
                const int lane = (row - rows.first) % WARP, ahead = min(row + (int)threadIdx.x, rows.last - 1);
                if (lane == 0) mean_of = a.mu[ahead], r_of = a.r[ahead];
                mean = __shfl_sync(0xffffffffu, mean_of, lane), r = __shfl_sync(0xffffffffu, r_of, lane);
            }
            const float shift = -mean * r;
#pragma unroll
            for (int k = 0; k < K; k++) {
                x[k] = Raw<V, T>(a.x + start + columns.at[k]);
                const Pack<V> xs = x[k].wide(), om = vectors.get(OM, k);
#pragma unroll
                for (int j = 0; j < V; j++) n[k].v[j] = om.v[j] * xs.v[j];
                if (a.f) {
                    const Pack<V> d = branch(k);
#pragma unroll
                    for (int j = 0; j < V; j++) n[k].v[j] += alpha * d.v[j];
                }
                const Pack<V> g = load_pack<V>(a.g + start + columns.at[k]), ga = vectors.get(GA, k);
                float sum_an = 0.f;
#pragma unroll
                for (int j = 0; j < V; j++) {
                    n[k].v[j] = n[k].v[j] * r + shift;
                    at[k].v[j] = ga.v[j] * g.v[j];
                    sum_an += at[k].v[j] * n[k].v[j];
                    sums[GAMMA][k].v[j] += g.v[j] * n[k].v[j], sums[BETA][k].v[j] += g.v[j];
                }
                mean_a += columns.weight[k] * sum(at[k]), mean_an += columns.weight[k] * sum_an;
                two_at_a_time<V>(k);
            }
            mean_a = row_sum(mean_a, slots[0]) * inverse, mean_an = row_sum(mean_an, slots[1]) * inverse;
        }
        const float by_n = -r * mean_an, by_1 = -r * mean_a;
#pragma unroll
        for (int k = 0; k < K; k++) {
            const size_t i = start + columns.at[k];
            Pack<V>& dh = at[k];
            if constexpr (NORM) {
                if constexpr (AGAIN) {
                    const Pack<V> g = load_pack<V>(a.g + i), ga = vectors.get(GA, k);
#pragma unroll
                    for (int j = 0; j < V; j++) dh.v[j] = ga.v[j] * g.v[j];
                }
#pragma unroll
                for (int j = 0; j < V; j++) dh.v[j] = r * dh.v[j] + (by_n * n[k].v[j] + by_1);
            }
            if (!NORM || a.e) {
                const Pack<V> e = load_pack<V>(a.e + i);
#pragma unroll
                for (int j = 0; j < V; j++) dh.v[j] = NORM ? dh.v[j] + e.v[j] : e.v[j];
            }
            const Pack<V> om = vectors.get(OM, k);
            Pack<V> to_x;
#pragma unroll
            for (int j = 0; j < V; j++) to_x.v[j] = om.v[j] * dh.v[j];
            if (a.accumulate_x && columns.has(k)) {
                const Pack<V> before = load_pack<V>(a.dx + i);
#pragma unroll
                for (int j = 0; j < V; j++) to_x.v[j] += before.v[j];
            }
            if (columns.has(k)) store_pack<V>(a.dx + i, to_x);
            if constexpr (NORM) {  // ω comes with a norm
                const Pack<V> xs = AGAIN ? load_pack<V>(a.x + i) : x[k].wide();
#pragma unroll
                for (int j = 0; j < V; j++) sums[OMEGA][k].v[j] += dh.v[j] * xs.v[j];
            }
            if (a.dalpha_rows) {
                const Pack<V> d = branch(k);
                float by_d = 0.f;
#pragma unroll
                for (int j = 0; j < V; j++) by_d += dh.v[j] * d.v[j];
                dalpha += columns.weight[k] * by_d;
            }
            Pack<V>& to_f = dh;
#pragma unroll
            for (int j = 0; j < V; j++) {
                to_f.v[j] = bits >> (k * V + j) & 1 ? to_branch * dh.v[j] : 0.f;
                sums[BIAS][k].v[j] += to_f.v[j];
            }
            if (a.accumulate_f && columns.has(k)) {
                const Pack<V> before = load_pack<V>(a.df + i);
#pragma unroll
                for (int j = 0; j < V; j++) to_f.v[j] += before.v[j];
            }
            if (a.df && columns.has(k)) store_pack<V>(a.df + i, to_f);
            __syncwarp();  // keeps ptxas from holding both packs' results at once, for which there are no registers
        }
    }
    add_groups<V, K>(sums, shared);
    if (threadIdx.z == 0) {
        const bool wanted[PLANES] = {a.omega != nullptr, a.gamma != nullptr, a.gamma != nullptr, a.b != nullptr};
#pragma unroll
        for (int plane = 0; plane < PLANES; plane++) {
            float* to = a.partials + ((size_t)blockIdx.x * PLANES + plane) * C;
#pragma unroll
            for (int k = 0; k < K; k++)
                if (wanted[plane]) store_vector<V>(to, sums[plane][k], threadIdx.y * K + k, C);
        }
    }
    if (a.dalpha_rows) {
        __syncthreads();  // the slots
        store_dalpha(a.dalpha_rows + blockIdx.x, dalpha, slots[0]);
    }
}

template <int V, int K, typename T> __device__ __forceinline__ void backward(const Backward<T>& a, int per_block) {
    a.gamma ? backward_rows<true, V, K>(a, per_block) : backward_rows<false, V, K>(a, per_block);
}

// Any width: the warps of a block share each row, a column a lane; each thread adds to its own columns of the partials.
template <typename T> __device__ __forceinline__ void backward_any(const Backward<T>& a, int per_block) {
    __shared__ float slots[2][MOST_WARPS];
    const int C = a.C, words = (C + WARP - 1) / WARP, step = blockDim.y * WARP;
    const int lane0 = threadIdx.y * WARP + threadIdx.x;
    const int first = blockIdx.x * per_block, last = min(first + per_block, a.N);
    const float alpha = a.alpha ? a.alpha[0] : 1.f, inverse = 1.f / C;
    float* sums = a.partials + (size_t)blockIdx.x * PLANES * C;
    float dalpha = 0.f;
    for (int row = first; row < last; row++) {
        const size_t start = (size_t)row * C;
        const uint32_t* keep = a.keep ? a.keep + (size_t)row * words : nullptr;
        const float m = a.gamma ? a.mu[row] : 0.f, r = a.gamma ? a.r[row] : 0.f;
        auto add = [&](Plane plane, int c, float x) {
            float* to = sums + (size_t)plane * C + c;
            *to = row == first ? x : *to + x;
        };
        auto branch = [&](int c) {
            const bool kept = a.f && (load_keep(keep, c) & 1);
            return kept ? (to_f32(a.f[start + c]) + (a.b ? a.b[c] : 0.f)) * a.scale : 0.f;
        };
        auto shortcut = [&](int c) { return a.omega ? a.omega[c] : 1.f; };
        auto normalised = [&](int c) { return (shortcut(c) * to_f32(a.x[start + c]) + alpha * branch(c) - m) * r; };
        auto weighted = [&](int c) { return a.gamma[c] * to_f32(a.g[start + c]); };
        float mean_a = 0.f, mean_an = 0.f;
        if (a.gamma) {
            for (int c = lane0; c < C; c += step) {
                const float at = weighted(c), n = normalised(c), g = to_f32(a.g[start + c]);
                mean_a += at, mean_an += at * n;
                add(GAMMA, c, g * n), add(BETA, c, g);
            }
            mean_a = row_sum(mean_a, slots[0]) * inverse, mean_an = row_sum(mean_an, slots[1]) * inverse;
        }
        for (int c = lane0; c < C; c += step) {
            const size_t i = start + c;
            float dh = a.e ? to_f32(a.e[i]) : 0.f;
            if (a.gamma) dh += r * (weighted(c) - mean_a - normalised(c) * mean_an);
            const float to_x = shortcut(c) * dh;
            if (a.omega) add(OMEGA, c, dh * to_f32(a.x[i]));
            if (a.df) {
                const float to_f = load_keep(keep, c) & 1 ? alpha * a.scale * dh : 0.f;
                dalpha += dh * branch(c);
                if (a.b) add(BIAS, c, to_f);
                a.df[i] = from_f32<T>(a.accumulate_f ? to_f32(a.df[i]) + to_f : to_f);
            }
            a.dx[i] = from_f32<T>(a.accumulate_x ? to_f32(a.dx[i]) + to_x : to_x);
        }
    }
    if (a.dalpha_rows) {
        __syncthreads();
        store_dalpha(a.dalpha_rows + blockIdx.x, dalpha, slots[0]);
    }
}

// Second stage. y < 4: column x·32 + lane of plane y, the rows of the partials by turns to 8 warps, whose sums are added
// in order; y = 4: dα, one warp, each lane its blocks in order, then the butterfly.
template <typename T>
__device__ __forceinline__ void reduce(T* domega, T* dgamma, T* dbeta, T* dbias, T* dalpha, const float* partials,
                                       const float* dalpha_rows, int P, int C, uint32_t accumulate) {
    __shared__ float strips[8][WARP];
    const int plane = blockIdx.y, c = blockIdx.x * WARP + threadIdx.x, add = accumulate >> plane & 1;
    if (plane == PLANES) {
        if (!dalpha || blockIdx.x + threadIdx.y > 0) return;
        float s = 0.f;
        for (int p = threadIdx.x; p < P; p += WARP) s += dalpha_rows[p];
        s = warp_sum(s);
        if (threadIdx.x == 0) dalpha[0] = from_f32<T>(add ? to_f32(dalpha[0]) + s : s);
        return;
    }
    T *even = plane & 2 ? dbeta : domega, *odd = plane & 2 ? dbias : dgamma;  // not by index: parameters stay registers
    T* out = plane & 1 ? odd : even;
    if (!out) return;
    float s = 0.f;
    if (c < C)
        for (int p = threadIdx.y; p < P; p += 8) s += partials[((size_t)p * PLANES + plane) * C + c];
    strips[threadIdx.y][threadIdx.x] = s;
    __syncthreads();
    if (threadIdx.y > 0 || c >= C) return;
    s = 0.f;
    for (int y = 0; y < 8; y++) s += strips[y][threadIdx.x];
    out[c] = from_f32<T>(add ? to_f32(out[c]) + s : s);
}

#define WRAPPERS(T, type)                                                                                              \
    extern "C" __global__ void __maxnreg__(94) omega_add_layernorm_fwd_##type(                                         \
        T* y, T* h, float* mu, float* r, uint32_t* keep, const T* x, const T* f, const float* b, const float* omega,   \
        const float* alpha, const float* gamma, const float* beta, int N, int C, int packs, int per_block, float eps,  \
        DROPOUT_PARAMS) {                                                                                              \
        constexpr int V = VECTOR<T>;                                                                                   \
        const Forward<T> a = {y, h, mu, r, keep, x, f, b, omega, alpha, gamma, beta, N, C, eps, DROPOUT};              \
        if (packs == 0) forward_any(a, per_block);                                                                     \
        if (packs == 1) forward_rows<V, 1>(a, per_block);                                                              \
        if (packs == 2) forward_rows<V, 2>(a, per_block);                                                              \
        if constexpr (V == 4)                                                                                          \
            if (packs == 4) forward_rows<V, 4>(a, per_block);                                                          \
    }                                                                                                                  \
    extern "C" __global__ void __maxnreg__(sizeof(T) == 4 ? 168 : 160)                                                 \
        omega_add_layernorm_bwd_##type(                                                                                \
        T* dx, T* df, float* partials, float* dalpha_rows, const T* g, const T* e, const T* x, const T* f,             \
        const uint32_t* keep, const float* mu, const float* r, const float* b, const float* omega, const float* alpha, \
        const float* gamma, int N, int C, int packs, int per_block, float scale, int accumulate_x, int accumulate_f) { \
        constexpr int V = VECTOR<T>;                                                                                   \
        const Backward<T> a = {dx, df, partials, dalpha_rows, g, e, x, f, keep, mu, r, b, omega, alpha, gamma, N, C,   \
                               scale, accumulate_x, accumulate_f};                                                     \
        if (packs == 0) backward_any(a, per_block);                                                                    \
        if (packs == 1) backward<V, 1>(a, per_block);                                                                  \
        if (packs == 2) backward<V, 2>(a, per_block);                                                                  \
        if constexpr (V == 4)                                                                                          \
            if (packs == 4) backward<V, 4>(a, per_block);                                                              \
    }                                                                                                                  \
    extern "C" __global__ void omega_add_layernorm_bwd_reduce_##type(                                                  \
        T* domega, T* dgamma, T* dbeta, T* dbias, T* dalpha, const float* partials, const float* dalpha_rows, int P,   \
        int C, uint32_t accumulate) {                                                                                  \
        reduce(domega, dgamma, dbeta, dbias, dalpha, partials, dalpha_rows, P, C, accumulate);                         \
    }
FOR_EACH_DTYPE(WRAPPERS)
