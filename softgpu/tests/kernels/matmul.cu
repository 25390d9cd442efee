// Matrix kernels in f32: transpose through padded shared memory, tiled product, double buffering by cp.async
// (__pipeline_memcpy_async, zero fill), cuda::pipeline and cuda::barrier producers and consumers.
#include <cuda/barrier>
#include <cuda/pipeline>
#include <cuda_pipeline.h>
#include <cooperative_groups.h>
#include <cooperative_groups/memcpy_async.h>
namespace cg = cooperative_groups;

extern "C" __global__ void transpose(float* out, const float* in, int rows, int cols) {
    __shared__ float tile[32][33];
    int x = blockIdx.x * 32 + threadIdx.x, y = blockIdx.y * 32 + threadIdx.y;
#pragma unroll
    for (int j = 0; j < 32; j += 8)
        if (x < cols && y + j < rows) tile[threadIdx.y + j][threadIdx.x] = in[(size_t)(y + j) * cols + x];
    __syncthreads();
    x = blockIdx.y * 32 + threadIdx.x;
    y = blockIdx.x * 32 + threadIdx.y;
#pragma unroll
    for (int j = 0; j < 32; j += 8)
        if (x < rows && y + j < cols) out[(size_t)(y + j) * rows + x] = tile[threadIdx.x][threadIdx.y + j];
}

template <int T> __device__ void tiled(float* c, const float* a, const float* b, int m, int n, int k) {
    __shared__ float as[T][T], bs[T][T];
    int row = blockIdx.y * T + threadIdx.y, col = blockIdx.x * T + threadIdx.x;
    float sum = 0;
    for (int t = 0; t < (k + T - 1) / T; ++t) {
        int kc = t * T + threadIdx.x, kr = t * T + threadIdx.y;
        as[threadIdx.y][threadIdx.x] = row < m && kc < k ? a[row * k + kc] : 0.f;
        bs[threadIdx.y][threadIdx.x] = kr < k && col < n ? b[kr * n + col] : 0.f;
        __syncthreads();
#pragma unroll
        for (int i = 0; i < T; ++i) sum += as[threadIdx.y][i] * bs[i][threadIdx.x];
        __syncthreads();
    }
    if (row < m && col < n) c[row * n + col] = sum;
}
extern "C" __global__ void matmul_tiled(float* c, const float* a, const float* b, int m, int n, int k) {
    tiled<16>(c, a, b, m, n, k);
}

// 64×64 outputs by 256 threads, 4×4 each, two stages of cp.async of 16 bytes; sizes are multiples of 4, rows guarded
// by the zero-fill count.
extern "C" __global__ void __launch_bounds__(256)
    matmul_pipelined(float* c, const float* a, const float* b, int m, int n, int k) {
    __shared__ alignas(16) float as[2][64][16], bs[2][16][64];
    int t = threadIdx.x, row0 = blockIdx.y * 64, col0 = blockIdx.x * 64, tx = t % 16, ty = t / 16;
    auto fetch = [&](int stage, int k0) {
        int r = t / 4, kk = t % 4 * 4;
        bool inside = row0 + r < m && k0 + kk < k;
        __pipeline_memcpy_async(&as[stage][r][kk], inside ? a + (size_t)(row0 + r) * k + k0 + kk : a, 16,
                                inside ? 0 : 16);
        int kr = t / 16, cc = t % 16 * 4;
        inside = k0 + kr < k && col0 + cc < n;
        __pipeline_memcpy_async(&bs[stage][kr][cc], inside ? b + (size_t)(k0 + kr) * n + col0 + cc : b, 16,
                                inside ? 0 : 16);
        __pipeline_commit();
    };
    float acc[4][4] = {};
    int steps = (k + 15) / 16;
    fetch(0, 0);
    for (int s = 0; s < steps; ++s) {
        if (s + 1 < steps) { fetch((s + 1) & 1, (s + 1) * 16); __pipeline_wait_prior(1); }
        else __pipeline_wait_prior(0);
        __syncthreads();
#pragma unroll
        for (int i = 0; i < 16; ++i) {
            float4 y = *reinterpret_cast<float4*>(&bs[s & 1][i][tx * 4]);
#pragma unroll
            for (int r = 0; r < 4; ++r) {
                float x = as[s & 1][ty * 4 + r][i];
                acc[r][0] += x * y.x; acc[r][1] += x * y.y; acc[r][2] += x * y.z; acc[r][3] += x * y.w;
            }
        }
        __syncthreads();
    }
    for (int r = 0; r < 4; ++r) {
        int row = row0 + ty * 4 + r, col = col0 + tx * 4;
        if (row < m && col < n)
            *reinterpret_cast<float4*>(c + (size_t)row * n + col) =
                make_float4(acc[r][0], acc[r][1], acc[r][2], acc[r][3]);
    }
}

// y[b] += sum of chunk b of x, chunks copied ahead by a block-wide pipeline of two stages.
extern "C" __global__ void pipeline_sum(float* out, const float* in, int chunks) {
    constexpr int SIZE = 128;
    __shared__ alignas(16) float buffer[2][SIZE];
    __shared__ cuda::pipeline_shared_state<cuda::thread_scope_block, 2> state;
    auto block = cg::this_thread_block();
    auto pipe = cuda::make_pipeline(block, &state);
    float sum = 0;
    for (int fetch = 0, use = 0; use < chunks; ++use) {
        for (; fetch < chunks && fetch < use + 2; ++fetch) {
            pipe.producer_acquire();
            cuda::memcpy_async(block, buffer[fetch % 2], in + (size_t)fetch * SIZE,
                               cuda::aligned_size_t<16>(sizeof(float) * SIZE), pipe);
            pipe.producer_commit();
        }
        pipe.consumer_wait();
        sum += buffer[use % 2][(threadIdx.x + use) % SIZE] * (float)(use + 1);
        pipe.consumer_release();
    }
    out[threadIdx.x] = sum;
}

// Thread-scope pipeline: each thread copies 4, 8 and 16 bytes for itself.
extern "C" __global__ void pipeline_thread(float* out, const float* in) {
    __shared__ alignas(16) float slots[64][8];
    auto pipe = cuda::make_pipeline();
    int t = threadIdx.x;
    const float* from = in + 8 * t;
    pipe.producer_acquire();
    cuda::memcpy_async(&slots[t][0], from, cuda::aligned_size_t<16>(16), pipe);
    pipe.producer_commit();
    pipe.producer_acquire();
    cuda::memcpy_async(&slots[t][4], from + 4, cuda::aligned_size_t<8>(8), pipe);
    cuda::memcpy_async(&slots[t][6], from + 6, cuda::aligned_size_t<4>(4), pipe);
    cuda::memcpy_async(&slots[t][7], from + 7, cuda::aligned_size_t<4>(4), pipe);
    pipe.producer_commit();
    cuda::pipeline_consumer_wait_prior<1>(pipe);
    float sum = slots[t][0] + slots[t][1] + slots[t][2] + slots[t][3];
    cuda::pipeline_consumer_wait_prior<0>(pipe);
    out[t] = sum - slots[t][4] - slots[t][5] - slots[t][6] - slots[t][7];
    pipe.consumer_release();
    pipe.consumer_release();
}

// cuda::barrier as an arrive/wait rendezvous, with a copy that completes on it.
extern "C" __global__ void barrier_copy(int* out, const int* in, int rounds) {
    __shared__ alignas(16) int stage[256];
    __shared__ cuda::barrier<cuda::thread_scope_block> bar;
    auto block = cg::this_thread_block();
    if (block.thread_rank() == 0) init(&bar, block.size());
    block.sync();
    int sum = 0;
    for (int r = 0; r < rounds; ++r) {
        cuda::memcpy_async(block, stage, in + r * 256, sizeof(int) * 256, bar);
        bar.arrive_and_wait();
        sum = sum * 3 + stage[255 - threadIdx.x];
        auto token = bar.arrive();
        bar.wait(std::move(token));
    }
    out[threadIdx.x] = sum;
}

extern "C" __global__ void cg_memcpy_async(float* out, const float* in, int n) {
    extern __shared__ float dynamic[];
    auto block = cg::this_thread_block();
    cg::memcpy_async(block, dynamic, in + blockIdx.x * n, sizeof(float) * n);
    cg::wait(block);
    for (int i = block.thread_rank(); i < n; i += block.size()) out[blockIdx.x * n + i] = dynamic[n - 1 - i];
}
