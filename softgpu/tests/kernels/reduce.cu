// Reductions as they are usually taught: shared memory trees, warp shuffles, atomics at the end, the last block that
// finishes (threadfence), cooperative groups (thread block, tiled partition, reduce), barriers that reduce.
#include <cooperative_groups.h>
#include <cooperative_groups/reduce.h>
#include <stdint.h>
namespace cg = cooperative_groups;

extern "C" __global__ void sum_shared(float* out, const float* in, int n) {
    extern __shared__ float tree[];
    unsigned t = threadIdx.x, i = blockIdx.x * blockDim.x * 2 + t;
    tree[t] = (i < n ? in[i] : 0.f) + (i + blockDim.x < n ? in[i + blockDim.x] : 0.f);
    __syncthreads();
    for (unsigned s = blockDim.x / 2; s > 0; s >>= 1) {
        if (t < s) tree[t] += tree[t + s];
        __syncthreads();
    }
    if (t == 0) out[blockIdx.x] = tree[0];
}

__device__ __forceinline__ int warp_sum(int v) {
    for (int d = 16; d > 0; d >>= 1) v += __shfl_down_sync(0xffffffff, v, d);
    return v;
}

extern "C" __global__ void sum_shuffle_atomic(int* out, const int* in, int n) {
    int sum = 0;
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += blockDim.x * gridDim.x) sum += in[i];
    __shared__ int warps[32];
    sum = warp_sum(sum);
    if (threadIdx.x % 32 == 0) warps[threadIdx.x / 32] = sum;
    __syncthreads();
    if (threadIdx.x < 32) {
        sum = threadIdx.x < (blockDim.x + 31) / 32 ? warps[threadIdx.x] : 0;
        sum = warp_sum(sum);
        if (threadIdx.x == 0) atomicAdd(out, sum);
    }
}

__device__ unsigned int blocks_done = 0;
// One pass: the block that finishes last adds the partial sums up.
extern "C" __global__ void sum_last_block(double* out, volatile double* partial, const double* in, int n) {
    __shared__ double tree[128];
    __shared__ bool last;
    double sum = 0;
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += blockDim.x * gridDim.x) sum += in[i];
    tree[threadIdx.x] = sum;
    __syncthreads();
    for (int s = 64; s > 0; s >>= 1) {
        if (threadIdx.x < s) tree[threadIdx.x] += tree[threadIdx.x + s];
        __syncthreads();
    }
    if (threadIdx.x == 0) {
        partial[blockIdx.x] = tree[0];
        __threadfence();
        unsigned ticket = atomicInc(&blocks_done, gridDim.x);
        last = ticket == gridDim.x - 1;
    }
    __syncthreads();
    if (last && threadIdx.x == 0) {
        double total = 0;
        for (int b = 0; b < gridDim.x; ++b) total += partial[b];
        *out = total;
        blocks_done = 0;
    }
}

extern "C" __global__ void minmax_cg(int* out, const int* in, int n) {
    cg::thread_block block = cg::this_thread_block();
    cg::thread_block_tile<32> tile = cg::tiled_partition<32>(block);
    __shared__ int low[32], high[32];
    int i = block.group_index().x * block.size() + block.thread_rank();
    int v = i < n ? in[i] : in[n - 1];
    int l = cg::reduce(tile, v, cg::less<int>()), h = cg::reduce(tile, v, cg::greater<int>());
    if (tile.thread_rank() == 0) { low[tile.meta_group_rank()] = l; high[tile.meta_group_rank()] = h; }
    cg::sync(block);
    if (tile.meta_group_rank() == 0) {
        int w = min((int)tile.thread_rank(), (int)tile.meta_group_size() - 1);
        l = cg::reduce(tile, low[w], cg::less<int>());
        h = cg::reduce(tile, high[w], cg::greater<int>());
        if (tile.thread_rank() == 0) { atomicMin(out, l); atomicMax(out + 1, h); }
    }
}

// Tiles of 4 and 16: sums by shuffle, and float reduce on a small tile; coalesced group for one atomic per warp.
extern "C" __global__ void tiles_cg(float* sums4, float* max16, unsigned* count, const float* in, int n) {
    auto block = cg::this_thread_block();
    auto t4 = cg::tiled_partition<4>(block);
    auto t16 = cg::tiled_partition<16>(block);
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    float v = i < n ? in[i] : 0.f, s = v;
    for (int d = t4.size() / 2; d > 0; d /= 2) s += t4.shfl_xor(s, d);
    if (t4.thread_rank() == 0) sums4[i / 4] = s;
    float m = cg::reduce(t16, v, cg::greater<float>());
    if (t16.thread_rank() == 0) max16[i / 16] = m;
    if (v > 0.5f) {
        auto active = cg::coalesced_threads();
        if (active.thread_rank() == 0) atomicAdd(count, active.size());
    }
}

extern "C" __global__ void barrier_votes(int* out, const int* in) {
    int v = in[blockIdx.x * blockDim.x + threadIdx.x];
    int count = __syncthreads_count(v > 0), all = __syncthreads_and(v > -100), any = __syncthreads_or(v > 100);
    if (threadIdx.x == 0) { out[3 * blockIdx.x] = count; out[3 * blockIdx.x + 1] = all; out[3 * blockIdx.x + 2] = any; }
}

// Dot product in double from float inputs, unrolled by hand, float2 loads.
extern "C" __global__ void dot_float2(double* out, const float2* a, const float2* b, int n) {
    double s = 0;
    for (int i = threadIdx.x; i < n; i += blockDim.x) {
        float2 x = a[i], y = b[i];
        s = fma((double)x.x, (double)y.x, s);
        s = fma((double)x.y, (double)y.y, s);
    }
    for (int d = 16; d > 0; d >>= 1) s += __shfl_xor_sync(0xffffffff, s, d);
    __shared__ double warps[32];
    if (threadIdx.x % 32 == 0) warps[threadIdx.x / 32] = s;
    __syncthreads();
    if (threadIdx.x == 0) {
        double total = 0;
        for (int w = 0; w < blockDim.x / 32; ++w) total += warps[w];
        *out = total;
    }
}

// redux.sync and friends.
extern "C" __global__ void redux(unsigned* out, const unsigned* in) {
    unsigned v = in[threadIdx.x], *o = out + 8 * threadIdx.x;
    o[0] = __reduce_add_sync(0xffffffff, v);
    o[1] = __reduce_min_sync(0xffffffff, v);
    o[2] = __reduce_max_sync(0xffffffff, v);
    o[3] = (unsigned)__reduce_min_sync(0xffffffff, (int)v);
    o[4] = (unsigned)__reduce_max_sync(0xffffffff, (int)v);
    o[5] = __reduce_and_sync(0xffffffff, v);
    o[6] = __reduce_or_sync(0xffffffff, v);
    if (threadIdx.x % 3 == 0) o[7] = __reduce_xor_sync(0x49249249, v);   // lanes 0, 3, 6, …
    else o[7] = 0;
}

// Welford's mean and variance over a row, merged across a warp.
extern "C" __global__ void welford(float* mean, float* variance, const float* x, int rows, int cols) {
    int row = blockIdx.x * blockDim.y + threadIdx.y;
    if (row >= rows) return;
    float m = 0, m2 = 0, n = 0;
    for (int c = threadIdx.x; c < cols; c += 32) {
        float v = x[(size_t)row * cols + c], d = v - m;
        n += 1;
        m += d / n;
        m2 += d * (v - m);
    }
    for (int o = 16; o > 0; o >>= 1) {
        float mb = __shfl_down_sync(~0u, m, o), m2b = __shfl_down_sync(~0u, m2, o), nb = __shfl_down_sync(~0u, n, o);
        float d = mb - m, total = n + nb, f = total > 0 ? nb / total : 0.f;
        m += d * f;
        m2 += m2b + d * d * n * f;
        n = total;
    }
    if (threadIdx.x == 0) { mean[row] = m; variance[row] = m2 / n; }
}
