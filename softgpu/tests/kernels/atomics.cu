// Atomics and memory order: every operation and width in global and shared memory, scopes, cuda::atomic_ref in all
// orders, histograms, a hash table, breadth-first search, volatile flags, spaces, prefetch and cache hints.
#include <cuda/atomic>
#include <cuda/std/atomic>
#include <stdint.h>

extern "C" __global__ void atomics_u32(uint32_t* g, const uint32_t* in, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    uint32_t v = in[i];
    atomicAdd(g, v);
    atomicSub(g + 1, v);
    atomicMin(g + 2, v);
    atomicMax(g + 3, v);
    atomicAnd(g + 4, v | 0xff);
    atomicOr(g + 5, v & 0xff00);
    atomicXor(g + 6, v);
    atomicInc(g + 7, 12);
    atomicDec(g + 8, 12);
    atomicMin((int*)g + 9, (int)v);
    atomicMax((int*)g + 10, (int)v);
    uint32_t old = atomicAdd(g + 11, 1);
    g[16 + old] = v;                                       // each slot once, in any order
    atomicAdd_block(g + 12, 1); atomicMax_system(g + 13, v); atomicExch(g + 14, 5);
}
extern "C" __global__ void atomics_64(unsigned long long* g, const unsigned long long* in, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    unsigned long long v = in[i];
    atomicAdd(g, v);
    atomicMin(g + 1, v);
    atomicMax(g + 2, v);
    atomicAnd(g + 3, v | 0xffff);
    atomicOr(g + 4, v & 0xff00ff00ff00ull);
    atomicXor(g + 5, v);
    atomicMin((long long*)g + 6, (long long)v); atomicMax((long long*)g + 7, (long long)v);
    unsigned long long seen = g[8], assumed;
    do { assumed = seen; seen = atomicCAS(g + 8, assumed, assumed * 1 + (v & 0xff)); } while (seen != assumed);
    atomicExch(g + 9, 77ull);
}
extern "C" __global__ void atomics_float(float* f, double* d, const float* in, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    atomicAdd(f, in[i]);
    atomicAdd(d, (double)in[i]);
    float before = atomicAdd(f + 1, 1.0f);
    f[2 + (int)before] = in[i];
    // max of floats, the usual way: by the sign
    if (in[i] >= 0) atomicMax((int*)(d + 1), __float_as_int(in[i]));
    else atomicMin((unsigned*)(d + 2), __float_as_uint(in[i]));
    unsigned long long* p = (unsigned long long*)(d + 3);
    unsigned long long old = *p, assumed;
    do {
        assumed = old;
        old = atomicCAS(p, assumed, __double_as_longlong(__longlong_as_double(assumed) + in[i]));
    } while (assumed != old);
}
extern "C" __global__ void atomics_16(unsigned short* s, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    unsigned short* p = s + i % 7;
    unsigned short old = *(volatile unsigned short*)p, assumed;
    do { assumed = old; old = atomicCAS(p, assumed, (unsigned short)(assumed + i % 5)); } while (old != assumed);
}

extern "C" __global__ void histogram_shared(unsigned* bins, const unsigned char* data, int n) {
    __shared__ unsigned mine[256];
    for (int b = threadIdx.x; b < 256; b += blockDim.x) mine[b] = 0;
    __syncthreads();
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += blockDim.x * gridDim.x)
        atomicAdd(&mine[data[i]], 1);
    __syncthreads();
    for (int b = threadIdx.x; b < 256; b += blockDim.x) if (mine[b]) atomicAdd(&bins[b], mine[b]);
}
extern "C" __global__ void shared_atomics(int* out, long long* wide, float* f, const int* in) {
    __shared__ int s[6];
    __shared__ unsigned long long w[3];
    __shared__ float x;
    if (threadIdx.x < 6) s[threadIdx.x] = threadIdx.x == 2 ? 0x7fffffff : threadIdx.x == 4 ? -1 : 0;
    if (threadIdx.x < 3) w[threadIdx.x] = 0;
    if (threadIdx.x == 0) x = 0;
    __syncthreads();
    int v = in[threadIdx.x];
    atomicAdd(s, v);
    atomicMax(s + 1, v);
    atomicMin(s + 2, v);
    atomicXor(s + 3, v);
    atomicAnd(s + 4, v | 15);
    atomicExch(s + 5, 3);
    atomicAdd(w, (unsigned long long)(long long)v);
    atomicMax(w + 1, (unsigned long long)(unsigned)v);
    atomicCAS(w + 2, 0ull, 9ull);
    atomicAdd(&x, (float)(v % 8));
    __syncthreads();
    if (threadIdx.x < 6) out[threadIdx.x] = s[threadIdx.x];
    if (threadIdx.x < 3) wide[threadIdx.x] = (long long)w[threadIdx.x];
    if (threadIdx.x == 0) *f = x;
}

extern "C" __global__ void atomic_ref_orders(int* g, long long* w, float* f, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    cuda::atomic_ref<int, cuda::thread_scope_device> a(g[0]);
    cuda::atomic_ref<int, cuda::thread_scope_block> b(g[1 + blockIdx.x]);
    cuda::atomic_ref<long long, cuda::thread_scope_system> c(w[0]);
    cuda::atomic_ref<float, cuda::thread_scope_device> d(f[0]);
    a.fetch_add(1, cuda::memory_order_relaxed);
    b.fetch_add(2, cuda::memory_order_acq_rel);
    c.fetch_max(i * 3ll, cuda::memory_order_seq_cst);
    d.fetch_add(0.5f, cuda::memory_order_release);
    int seen = a.load(cuda::memory_order_acquire);
    while (!a.compare_exchange_weak(seen, seen + 1, cuda::memory_order_acq_rel, cuda::memory_order_relaxed)) {}
    cuda::atomic_ref<long long, cuda::thread_scope_device> e(w[1]);
    e.fetch_or(1ll << (i % 60), cuda::memory_order_acquire);
    cuda::atomic_thread_fence(cuda::memory_order_seq_cst, cuda::thread_scope_device);
    if (i == 0) {
        cuda::atomic_ref<int>(g[1 + gridDim.x]).store(7, cuda::memory_order_release);
        cuda::std::atomic_thread_fence(cuda::std::memory_order_acquire);
    }
}

// Message passing between two blocks: data, then a flag with release; acquire on the other side.
extern "C" __global__ void message(int* data, int* flag, int* out) {
    cuda::atomic_ref<int, cuda::thread_scope_device> f(*flag);
    if (blockIdx.x == 0) {
        data[threadIdx.x] = threadIdx.x * 3 + 1;
        __syncthreads();
        if (threadIdx.x == 0) f.store(1, cuda::memory_order_release);
    } else {
        if (threadIdx.x == 0) while (f.load(cuda::memory_order_acquire) == 0) {}
        __syncthreads();
        out[threadIdx.x] = data[(threadIdx.x + 1) % blockDim.x];
    }
}

// Open addressing with atomicCAS; returns nothing, counts per key.
extern "C" __global__ void hash_insert(uint32_t* keys, uint32_t* counts, const uint32_t* in, int n, uint32_t mask) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    uint32_t key = in[i], slot = key * 2654435761u & mask;
    while (true) {
        uint32_t old = atomicCAS(&keys[slot], 0u, key);
        if (old == 0 || old == key) { atomicAdd(&counts[slot], 1); return; }
        slot = (slot + 1) & mask;
    }
}

// One level of a breadth-first search over CSR, frontier queue in, frontier queue out.
extern "C" __global__ void bfs_level(int* distance, int* next, int* next_count, const int* frontier, int count,
                                     const int* offsets, const int* edges, int level) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= count) return;
    int v = frontier[i];
    for (int e = offsets[v]; e < offsets[v + 1]; ++e)
        if (atomicCAS(&distance[edges[e]], -1, level) == -1) next[atomicAdd(next_count, 1)] = edges[e];
}

// Which space does a generic pointer name? Loads through one pointer into all of them.
extern "C" __global__ void spaces(uint32_t* out, const int* in, const __grid_constant__ int parameter) {
    __shared__ int s[32];
    int local[4] = {1, 2, 3, (int)threadIdx.x};
    s[threadIdx.x] = in[threadIdx.x] * 2;
    __syncwarp();
    const int* p = threadIdx.x % 3 == 0   ? in + threadIdx.x
                   : threadIdx.x % 3 == 1 ? s + threadIdx.x
                                          : local + (threadIdx.x & 3);
    uint32_t bits = __isGlobal(p) | __isShared(p) << 1 | __isLocal(p) << 2 | __isConstant(p) << 3 |
                    __isGridConstant(&parameter) << 4;
    out[2 * threadIdx.x] = bits;
    out[2 * threadIdx.x + 1] = (uint32_t)*p;
}

extern "C" __global__ void hints(float* out, const float* in, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    float a, b, c;
    uint64_t policy;
    asm volatile("prefetch.global.L2 [%0];" ::"l"(in + i));
    asm volatile("prefetch.global.L1 [%0];" ::"l"(in + i));
    asm volatile("createpolicy.fractional.L2::evict_last.b64 %0, 1.0;" : "=l"(policy));
    asm volatile("ld.global.L1::no_allocate.L2::128B.f32 %0, [%1];" : "=f"(a) : "l"(in + i));
    asm volatile("ld.global.nc.L1::evict_last.L2::cache_hint.f32 %0, [%1], %2;" : "=f"(b) : "l"(in + i), "l"(policy));
    asm volatile("ld.volatile.global.f32 %0, [%1];" : "=f"(c) : "l"(in + i));
    asm volatile("st.global.L2::cache_hint.f32 [%0], %1, %2;" ::"l"(out + i), "f"(a + b + c), "l"(policy) : "memory");
}
