// Kernels whose blocks wait for each other: cooperative launches.

#include <cooperative_groups.h>

namespace cg = cooperative_groups;

// Rounds of a three-point stencil over a ring; a and b take turns, and all blocks see the whole of a round before the next.
extern "C" __global__ void grid_stencil(float* a, float* b, int n, int rounds) {
    cg::grid_group grid = cg::this_grid();
    for (int round = 0; round < rounds; round++) {
        for (int i = grid.thread_rank(); i < n; i += grid.size()) {
            b[i] = 0.25f * a[(i + n - 1) % n] + 0.5f * a[i] + 0.25f * a[(i + 1) % n];
        }
        grid.sync();
        float* t = a;
        a = b, b = t;
    }
}

// out[i] = in[i] − mean(in), in one launch: sums of blocks, the sum of those by everybody, then the difference.
extern "C" __global__ void grid_center(float* out, const float* in, float* sums, int n) {
    cg::grid_group grid = cg::this_grid();
    cg::thread_block block = cg::this_thread_block();
    __shared__ float warps[32];
    float sum = 0;
    for (int i = grid.thread_rank(); i < n; i += grid.size()) sum += in[i];
    for (int d = 16; d > 0; d /= 2) sum += __shfl_down_sync(~0u, sum, d);
    if (threadIdx.x % 32 == 0) warps[threadIdx.x / 32] = sum;
    block.sync();
    if (threadIdx.x == 0) {
        for (int w = 1; w < blockDim.x / 32; w++) sum += warps[w];
        sums[blockIdx.x] = sum;
    }
    // Arrives, does what needs nobody, and waits.
    auto token = grid.barrier_arrive();
    float mine = grid.thread_rank() < n ? in[grid.thread_rank()] : 0.0f;
    grid.barrier_wait(std::move(token));
    float total = 0;
    for (int k = 0; k < gridDim.x; k++) total += sums[k];
    if (grid.thread_rank() < n) out[grid.thread_rank()] = mine - total / n;
}
