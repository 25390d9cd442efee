// Warp and block synchronisation: shuffles of every kind and width, votes, matches, active masks, named barriers,
// mbarriers by inline PTX, warp-level scans, bitonic sort, spin locks, clocks.
#include <stdint.h>

extern "C" __global__ void shuffles(int* out, const int* in) {
    int t = threadIdx.x, v = in[t], *o = out + 10 * t;
    o[0] = __shfl_sync(~0u, v, 5);
    o[1] = __shfl_sync(~0u, v, t * 7);
    o[2] = __shfl_up_sync(~0u, v, 3);
    o[3] = __shfl_down_sync(~0u, v, 9);
    o[4] = __shfl_xor_sync(~0u, v, 21);
    o[5] = __shfl_sync(~0u, v, t + 1, 8);
    o[6] = __shfl_up_sync(~0u, v, 1, 16);
    o[7] = __shfl_down_sync(~0u, v, 2, 4);
    o[8] = __shfl_xor_sync(~0u, v, 5, 8);
    uint32_t r, p;
    asm volatile("{.reg .pred q; shfl.sync.down.b32 %0|q, %2, 4, 31, 0xffffffff; selp.u32 %1, 1, 0, q;}"
                 : "=r"(r), "=r"(p)
                 : "r"(v));
    o[9] = (int)(r * 2 + p);
}
extern "C" __global__ void shuffles_64(double* out, long long* ints, const double* in) {
    int t = threadIdx.x;
    out[t] = __shfl_xor_sync(~0u, in[t], 1) + __shfl_sync(~0u, in[t], 0);
    ints[t] = __shfl_up_sync(~0u, (long long)t << 33, 2) + (long long)__shfl_down_sync(~0u, (unsigned short)t, 1);
}

extern "C" __global__ void votes(uint32_t* out, const int* in) {
    int t = threadIdx.x, v = in[t];
    uint32_t* o = out + 8 * t;
    o[0] = __ballot_sync(~0u, v > 0);
    o[1] = __all_sync(~0u, v > -50);
    o[2] = __any_sync(~0u, v == 7);
    o[3] = __match_any_sync(~0u, v / 4);
    int all;
    o[4] = __match_all_sync(~0u, v >> 20, &all);
    o[5] = all;
    o[6] = __match_any_sync(~0u, (unsigned long long)v * 0x100000001ull);
    int uniform;
    asm volatile("{.reg .pred p,q; setp.gt.s32 p, %1, 0; vote.sync.uni.pred q, p, 0xffffffff; selp.s32 %0, 1, 0, q;}"
                 : "=r"(uniform)
                 : "r"(v));
    o[7] = uniform;
}

// Divergent parts of a warp talk among themselves; leader by ffs.
extern "C" __global__ void aggregated_append(int* out, int* count, const int* in, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n || in[i] % 3 != 0) return;
    unsigned mask = __activemask(), lane = threadIdx.x % 32, below;
    asm("mov.u32 %0, %%lanemask_lt;" : "=r"(below));
    int leader = __ffs(mask) - 1, base = 0;
    if ((int)lane == leader) base = atomicAdd(count, __popc(mask));
    base = __shfl_sync(mask, base, leader);
    out[base + __popc(mask & below)] = in[i];
}

extern "C" __global__ void lane_masks(uint32_t* out) {
    uint32_t r[9], *o = out + 9 * threadIdx.x;
    asm volatile("mov.u32 %0, %%laneid;" : "=r"(r[0]));
    asm volatile("mov.u32 %0, %%warpid;" : "=r"(r[1]));
    asm volatile("mov.u32 %0, %%nwarpid;" : "=r"(r[2]));
    asm volatile("mov.u32 %0, %%lanemask_eq;" : "=r"(r[3]));
    asm volatile("mov.u32 %0, %%lanemask_le;" : "=r"(r[4]));
    asm volatile("mov.u32 %0, %%lanemask_gt;" : "=r"(r[5]));
    asm volatile("mov.u32 %0, %%lanemask_ge;" : "=r"(r[6]));
    asm volatile("mov.u32 %0, %%dynamic_smem_size;" : "=r"(r[7]));
    asm volatile("mov.u32 %0, %%smid;" : "=r"(r[8]));
    for (int j = 0; j < 8; ++j) o[j] = r[j];
    o[8] = r[8] < 1024;
}

// Two producer warps fill, two consumer warps read: named barriers with counts.
extern "C" __global__ void named_barriers(int* out, const int* in, int rounds) {
    __shared__ int slot[64];
    int t = threadIdx.x;
    if (t < 64) {
        for (int r = 0; r < rounds; ++r) {
            asm volatile("barrier.sync 1, 128;" ::: "memory");          // empty
            slot[t] = in[r * 64 + t];
            __threadfence_block();
            asm volatile("bar.arrive 2, 128;" ::: "memory");            // full
        }
    } else {
        int sum = 0;
        for (int r = 0; r < rounds; ++r) {
            asm volatile("barrier.sync 1, 128;" ::: "memory");
            asm volatile("bar.sync 2, 128;" ::: "memory");
            sum = sum * 2 + slot[127 - t];
        }
        out[t - 64] = sum;
    }
}

extern "C" __global__ void barrier_reductions(uint32_t* out, const int* in) {
    uint32_t n, a, o;
    int v = in[threadIdx.x];
    asm volatile(
        "{.reg .pred p,q; setp.gt.s32 p, %3, 0; bar.red.popc.u32 %0, 3, p; bar.red.and.pred q, 4, p; selp.u32 %1, 1, "
        "0, q; bar.red.or.pred q, 5, !p; selp.u32 %2, 1, 0, q;}"
        : "=r"(n), "=r"(a), "=r"(o)
        : "r"(v)
        : "memory");
    out[threadIdx.x] = n | a << 16 | o << 17;
}

// mbarrier: init, arrive, test_wait in a loop, two phases, inval.
extern "C" __global__ void mbarriers(int* out, const int* in) {
    __shared__ uint64_t bar;
    __shared__ int slot[128];
    uint32_t p = (uint32_t)__cvta_generic_to_shared(&bar);
    if (threadIdx.x == 0) asm volatile("mbarrier.init.shared.b64 [%0], %1;" ::"r"(p), "r"(blockDim.x) : "memory");
    __syncthreads();
    int v = in[threadIdx.x];
    for (int phase = 0; phase < 3; ++phase) {
        slot[threadIdx.x] = v;
        uint64_t state;
        asm volatile("mbarrier.arrive.shared.b64 %0, [%1];" : "=l"(state) : "r"(p) : "memory");
        uint32_t done = 0;
        while (!done)
            asm volatile("{.reg .pred q; mbarrier.test_wait.shared.b64 q, [%1], %2; selp.u32 %0, 1, 0, q;}"
                         : "=r"(done)
                         : "r"(p), "l"(state)
                         : "memory");
        v += slot[(threadIdx.x + 17) % blockDim.x];
        __syncthreads();
    }
    out[threadIdx.x] = v;
    if (threadIdx.x == 0) asm volatile("mbarrier.inval.shared.b64 [%0];" ::"r"(p) : "memory");
}

// cp.async whose completion is an arrival on an mbarrier.
extern "C" __global__ void async_arrive(int* out, const int* in) {
    __shared__ uint64_t bar;
    __shared__ alignas(16) int slot[4 * 64];
    uint32_t p = (uint32_t)__cvta_generic_to_shared(&bar),
             s = (uint32_t)__cvta_generic_to_shared(slot + 4 * threadIdx.x);
    if (threadIdx.x == 0) asm volatile("mbarrier.init.shared.b64 [%0], 64;" ::"r"(p) : "memory");
    __syncthreads();
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(s), "l"(in + 4 * threadIdx.x) : "memory");
    asm volatile("cp.async.mbarrier.arrive.noinc.shared.b64 [%0];" ::"r"(p) : "memory");
    uint32_t done = 0;
    while (!done)
        asm volatile("{.reg .pred q; mbarrier.test_wait.parity.shared.b64 q, [%1], 0; selp.u32 %0, 1, 0, q;}"
                     : "=r"(done)
                     : "r"(p)
                     : "memory");
    out[threadIdx.x] = slot[255 - threadIdx.x] + slot[threadIdx.x];
}

// Inclusive scan: Kogge–Stone in a warp, warps joined through shared memory (__syncwarp where one warp writes).
extern "C" __global__ void block_scan(int* out, const int* in) {
    __shared__ int ends[32];
    int t = threadIdx.x, lane = t % 32, warp = t / 32, v = in[blockIdx.x * blockDim.x + t];
    for (int d = 1; d < 32; d <<= 1) { int u = __shfl_up_sync(~0u, v, d); if (lane >= d) v += u; }
    if (lane == 31) ends[warp] = v;
    __syncthreads();
    if (warp == 0) {
        int e = lane < blockDim.x / 32 ? ends[lane] : 0;
        for (int d = 1; d < 32; d <<= 1) { int u = __shfl_up_sync(~0u, e, d); if (lane >= d) e += u; }
        __syncwarp();
        ends[lane] = e;
    }
    __syncthreads();
    out[blockIdx.x * blockDim.x + t] = v + (warp ? ends[warp - 1] : 0);
}

// Blelloch's work-efficient exclusive scan in shared memory.
extern "C" __global__ void blelloch_scan(float* out, const float* in, int n) {
    extern __shared__ float tree[];
    int t = threadIdx.x, offset = 1;
    tree[2 * t] = in[2 * t];
    tree[2 * t + 1] = in[2 * t + 1];
    for (int d = n >> 1; d > 0; d >>= 1) {
        __syncthreads();
        if (t < d) tree[offset * (2 * t + 2) - 1] += tree[offset * (2 * t + 1) - 1];
        offset *= 2;
    }
    if (t == 0) tree[n - 1] = 0;
    for (int d = 1; d < n; d *= 2) {
        offset >>= 1;
        __syncthreads();
        if (t < d) {
            int a = offset * (2 * t + 1) - 1, b = offset * (2 * t + 2) - 1;
            float u = tree[a];
            tree[a] = tree[b];
            tree[b] += u;
        }
    }
    __syncthreads();
    out[2 * t] = tree[2 * t];
    out[2 * t + 1] = tree[2 * t + 1];
}

extern "C" __global__ void bitonic_sort(uint32_t* keys) {
    __shared__ uint32_t s[512];
    int t = threadIdx.x;
    s[t] = keys[t];
    for (int k = 2; k <= 512; k <<= 1)
        for (int j = k >> 1; j > 0; j >>= 1) {
            __syncthreads();
            int p = t ^ j;
            if (p > t) {
                bool up = (t & k) == 0;
                uint32_t a = s[t], b = s[p];
                if ((a > b) == up) { s[t] = b; s[p] = a; }
            }
        }
    __syncthreads();
    keys[t] = s[t];
}

// A lock per bin, taken by one thread per block and, in the second kernel, by every thread of a warp.
extern "C" __global__ void block_lock(int* lock, volatile int* value) {
    if (threadIdx.x == 0) {
        while (atomicCAS(lock, 0, 1) != 0) __nanosleep(100);
        __threadfence();
        *value = *value * 1 + (int)blockIdx.x + 1;
        __threadfence();
        atomicExch(lock, 0);
    }
}
extern "C" __global__ void thread_lock(int* lock, int* value) {
    bool done = false;
    while (!done) {
        if (atomicCAS(lock, 0, 1) == 0) {
            *(volatile int*)value += threadIdx.x + 1;
            __threadfence();
            atomicExch(lock, 0);
            done = true;
        }
    }
}

// Clocks go forward; nanosleep takes a count.
extern "C" __global__ void clocks(uint32_t* out) {
    long long a = clock64();
    unsigned c = clock();
    unsigned long long g, h;
    asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(g));
    __nanosleep(20);
    asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(h));
    out[threadIdx.x] = (clock64() >= a) | (h >= g) << 1 | (c != 0xffffffffu) << 2;
}
