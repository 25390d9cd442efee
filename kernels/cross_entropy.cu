// Label-smoothed cross-entropy, Szegedy et al. 2016, arXiv:1512.00567, in fairseq's form: with p = softmax(x), t the
// target, e the smoothing and V the vocabulary,
//   nll = −ln p_t,  loss = (1 − e)·nll + (e/V)·Σ_v −ln p_v,   summed over rows
// Backward, in place of x:  dx_v = dloss·(p_v − (1 − e)·[v = t] − e/V)
//   fwd: the losses, in one read: of a row that fits into shared memory from there, in two looks; of a longer one by the
//        online softmax, Milakov and Gimelshein 2018, arXiv:1805.02867.   bwd: dx.
//   fused: both at once for a dloss that is known before, of rows that fit; the same bits.
// Shapes: x [N,V] T; target [N] i32; rows [2,N] f32 = loss, nll; stats [N,2] f32 = max_v x_v, 1/Σ_v exp(x_v − max);
// sums [2] f32 = loss, nll; dloss [1] f32. Saved: stats. A logit that is not finite makes loss and dx so.
// Bytes at 2-byte T: fwd 2·N·V;  bwd 4·N·V;  fused 4·N·V.   Launch: a block per row, `threads` of src/ops/cross_entropy.rs;
// V·size(T) + 32 bytes of dynamic shared memory for rows on chip; sum: one block of 256.
// A row is split into what comes before the first sector of 32 bytes, accesses of 16 bytes, and what is left: every V and
// every row takes the wide path.
#include "common.cuh"

constexpr float LOG2_E = 1.4426950408889634f;

// 2^x within 2 units in the last place; 0 where that is below 2^-126.
__device__ __forceinline__ float exp2_fast(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

// 16 bytes from global to shared memory, without a register in between; the thread sees them after the wait.
__device__ __forceinline__ void copy_async(void* to, const void* from) {
    const uint32_t at = static_cast<uint32_t>(__cvta_generic_to_shared(to));
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(at), "l"(from) : "memory");
}
__device__ __forceinline__ void copy_wait() { asm volatile("cp.async.wait_all;" ::: "memory"); }

// A row of V elements that starts at x: those before the first sector alone, `packs` accesses of W, the rest alone. Each
// thread of the block takes the same elements in each of its passes.
template <typename T> struct Split {
    static constexpr int W = VECTOR<T>, SECTOR = 32 / sizeof(T);
    int shift, before, packs, V;  // shift: elements between the start of a sector and x

    __device__ __forceinline__ Split(const T* x, int V) : V(V) {
        shift = (reinterpret_cast<uintptr_t>(x) & 31) / sizeof(T);
        before = min(V, (SECTOR - shift) % SECTOR);
        packs = (V - before) / W;
    }
    // one(v): element v; many(v): elements v … v + W − 1, aligned.
    template <typename One, typename Many> __device__ __forceinline__ void each(One one, Many many) const {
        const int after = before + packs * W;
        if ((int)threadIdx.x < before) one(threadIdx.x);
        if ((int)threadIdx.x < V - after) one(after + threadIdx.x);
        const int step = blockDim.x * W;
#pragma unroll 4
        for (int v = before + threadIdx.x * W; v < after; v += step) many(v);
    }
};

// What the warps of a block tell each other.
struct Board {
    float top[WARP], sum[WARP], shifted[WARP], dloss;
    int target;

    // The largest of the threads' values. What threads wrote before the call, all see after.
    __device__ __forceinline__ float largest(float mine) {
        const int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, warps = blockDim.x / WARP;
        mine = warp_max(mine);
        if (lane == 0) top[warp] = mine;
        __syncthreads();
        return warp_max(top[lane < warps ? lane : 0]);
    }
};

template <int W> __device__ __forceinline__ float largest_of(float top, const Pack<W>& x) {
#pragma unroll
    for (int j = 0; j < W; j++) top = fmaxf(top, x.v[j]);
    return top;
}

// Of the elements that were taken: the largest, Σ exp(x − top), and Σ (x − top).
struct Stats {
    float top = -INFINITY, sum = 0.f, shifted = 0.f;

    // x becomes exp(x − top).
    template <int W> __device__ __forceinline__ void add(Pack<W>& x) {
#pragma unroll
        for (int j = 0; j < W; j++) {
            const float below = x.v[j] - top;
            x.v[j] = exp2_fast(LOG2_E * below);
            sum += x.v[j], shifted += below;
        }
    }
    // The row's from those of its threads, which have one top, in a fixed order.
    __device__ __forceinline__ void join(Board& board) {
        const int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, warps = blockDim.x / WARP;
        sum = warp_sum(sum), shifted = warp_sum(shifted);
        if (lane == 0) board.sum[warp] = sum, board.shifted[warp] = shifted;
        __syncthreads();
        sum = warp_sum(lane < warps ? board.sum[lane] : 0.f);
        shifted = warp_sum(lane < warps ? board.shifted[lane] : 0.f);
    }
};

// Online: top grows as elements come.
struct Growing : Stats {
    float count = 0.f;

    __device__ __forceinline__ void raise(float up) {
        const float by = count > 0.f ? top - up : 0.f;
        sum *= exp2_fast(LOG2_E * by), shifted += count * by, top = up;
    }
    template <int W> __device__ __forceinline__ void take(Pack<W> x) {
        raise(largest_of(top, x));
        add(x), count += W;
    }
};

template <typename T> __device__ __forceinline__ Stats of_row(const T* x, const Split<T>& split, Board& board) {
    Growing s;
    split.each([&](int v) { s.take(load_pack<1>(x + v)); }, [&](int v) { s.take(load_pack<Split<T>::W>(x + v)); });
    s.raise(board.largest(s.top));
    s.join(board);
    return s;
}

// The row in shared memory, aligned as x is; the threads see what they copied themselves, and all of it after a barrier.
template <typename T> __device__ __forceinline__ T* on_chip(const T* x, const Split<T>& split) {
    extern __shared__ __align__(32) unsigned char chip[];
    T* const kept = reinterpret_cast<T*>(chip) + split.shift;
    split.each([&](int v) { kept[v] = x[v]; }, [&](int v) { copy_async(kept + v, x + v); });
    copy_wait();
    return kept;
}

__device__ __forceinline__ void store_on_chip(float* to, const Pack<1>& x) { *to = x.v[0]; }
// By name: nvcc 13 makes three stores of a float4 here.
__device__ __forceinline__ void store_on_chip(float* to, const Pack<4>& x) {
    const uint32_t at = static_cast<uint32_t>(__cvta_generic_to_shared(to));
    asm volatile("st.shared.v4.f32 [%0], {%1, %2, %3, %4};" ::"r"(at), "f"(x.v[0]), "f"(x.v[1]), "f"(x.v[2]),
                 "f"(x.v[3])
                 : "memory");
}

// KEEP: f32 leaves exp(x − top) in place of x; a 2-byte type would round it.
template <bool KEEP, typename T>
__device__ __forceinline__ Stats of_chip(T* kept, const Split<T>& split, Board& board) {
    constexpr int W = Split<T>::W;
    Stats s;
    split.each([&](int v) { s.top = largest_of(s.top, load_pack<1>(kept + v)); },
               [&](int v) { s.top = largest_of(s.top, load_pack<W>(kept + v)); });
    s.top = board.largest(s.top);
    auto add = [&](auto x, int v) {
        s.add(x);
        if constexpr (KEEP && sizeof(T) == 4) store_on_chip(kept + v, x);
    };
    split.each([&](int v) { add(load_pack<1>(kept + v), v); }, [&](int v) { add(load_pack<W>(kept + v), v); });
    s.join(board);
    return s;
}

__device__ __forceinline__ void put_losses(float* rows, const Stats& s, float hit, int V, float smoothing) {
    const float log_sum = logf(s.sum), nll = log_sum - (hit - s.top);
    rows[blockIdx.x] = (1.f - smoothing) * nll + smoothing * (log_sum - s.shifted / V);
    rows[gridDim.x + blockIdx.x] = nll;
}

template <typename T>
__device__ void cross_entropy_fwd(float* rows, float2* stats, const T* x, const int* target, int V, float smoothing,
                                  int fits) {
    __shared__ Board board;
    x += (size_t)blockIdx.x * V;
    const Split<T> split(x, V);
    const Stats s = fits ? of_chip<false>(on_chip(x, split), split, board) : of_row(x, split, board);
    if (threadIdx.x == 0) {
        put_losses(rows, s, to_f32(x[target[blockIdx.x]]), V, smoothing);
        stats[blockIdx.x] = make_float2(s.top, 1.f / s.sum);
    }
}

// dx of a row. EXP: its elements are exp(x − top) already.
struct Gradient {
    float top, scale, uniform, hit;  // scale: dloss/Σ exp(x − top)
    int target;

    __device__ __forceinline__ Gradient(float top, float inverse_sum, float dloss, int target, int V, float smoothing)
        : top(top), scale(dloss * inverse_sum), uniform(dloss * smoothing / V), hit(dloss * (1.f - smoothing)),
          target(target) {}
    template <bool EXP, int W> __device__ __forceinline__ Pack<W> of(Pack<W> x, int v) const {
#pragma unroll
        for (int j = 0; j < W; j++) x.v[j] = scale * (EXP ? x.v[j] : exp2_fast(LOG2_E * (x.v[j] - top))) - uniform;
        if ((unsigned)(target - v) < W) {  // one thread of the block
#pragma unroll
            for (int j = 0; j < W; j++) x.v[j] -= v + j == target ? hit : 0.f;
        }
        return x;
    }
    // from and dx may be one.
    template <bool EXP, typename T>
    __device__ __forceinline__ void write(T* dx, const T* from, const Split<T>& split) const {
        constexpr int W = Split<T>::W;
        split.each([&](int v) { store_pack(dx + v, of<EXP>(load_pack<1>(from + v), v)); },
                   [&](int v) { store_pack(dx + v, of<EXP>(load_pack<W>(from + v), v)); });
    }
};

template <typename T>
__device__ void cross_entropy_bwd(T* x, const float2* stats, const int* target, const float* dloss, int V,
                                  float smoothing) {
    __shared__ Board board;
    x += (size_t)blockIdx.x * V;
    if (threadIdx.x == 0) {
        const float2 s = stats[blockIdx.x];
        board.top[0] = s.x, board.sum[0] = s.y, board.dloss = dloss[0], board.target = target[blockIdx.x];
    }
    __syncthreads();
    const Gradient gradient(board.top[0], board.sum[0], board.dloss, board.target, V, smoothing);
    gradient.write<false>(x, x, Split<T>(x, V));
}

template <typename T>
__device__ void cross_entropy_fused(float* rows, T* x, const int* target, const float* dloss, int V, float smoothing) {
    __shared__ Board board;
    x += (size_t)blockIdx.x * V;
    const Split<T> split(x, V);
    float hit = 0.f;
    if (threadIdx.x == 0) {
        board.dloss = dloss[0], board.target = target[blockIdx.x];
        hit = to_f32(x[board.target]);  // others write to its place, on chip and off
    }
    T* const kept = on_chip(x, split);
    const Stats s = of_chip<true>(kept, split, board);
    if (threadIdx.x == 0) put_losses(rows, s, hit, V, smoothing);
    const Gradient gradient(s.top, 1.f / s.sum, board.dloss, board.target, V, smoothing);
    gradient.write<sizeof(T) == 4>(x, kept, split);
}

#define WRAPPERS(T, type)                                                                                             \
    extern "C" __global__ void __launch_bounds__(1024) cross_entropy_fwd_##type(                                      \
        float* rows, float2* stats, const T* x, const int* target, int V, float smoothing, int fits) {                \
        cross_entropy_fwd(rows, stats, x, target, V, smoothing, fits);                                                \
    }                                                                                                                 \
    extern "C" __global__ void __launch_bounds__(1024) cross_entropy_bwd_##type(                                      \
        T* x, const float2* stats, const int* target, const float* dloss, int V, float smoothing) {                   \
        cross_entropy_bwd(x, stats, target, dloss, V, smoothing);                                                     \
    }                                                                                                                 \
    extern "C" __global__ void __launch_bounds__(1024) cross_entropy_fused_##type(                                    \
        float* rows, T* x, const int* target, const float* dloss, int V, float smoothing) {                           \
        cross_entropy_fused(rows, x, target, dloss, V, smoothing);                                                    \
    }
FOR_EACH_DTYPE(WRAPPERS)

// sums[k] = Σ_n rows[k, n]: each thread its n in order, then the warps' sums in order.
extern "C" __global__ void cross_entropy_sum(float* sums, const float* rows, int N) {
    __shared__ float of_warps[2][WARP];
    const int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    for (int k = 0; k < 2; k++) {
        float s = 0.f;
        for (int n = threadIdx.x; n < N; n += blockDim.x) s += rows[(size_t)k * N + n];
        s = warp_sum(s);
        if (lane == 0) of_warps[k][warp] = s;
    }
    __syncthreads();
    if (warp == 0) {
        for (int k = 0; k < 2; k++) {
            const float s = warp_sum(lane < (int)blockDim.x / WARP ? of_warps[k][lane] : 0.f);
            if (lane == 0) sums[k] = s;
        }
    }
}
