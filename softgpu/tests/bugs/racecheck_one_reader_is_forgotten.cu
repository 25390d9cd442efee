// Twenty warps read a row, nineteen of them tell the last warp, which changes a word of it.
// run: grid 1 block 672 args new:2688
__device__ void arrive(int threads) {
    asm volatile("barrier.cta.arrive 1, %0;" ::"r"(threads) : "memory");
}

__device__ void wait(int threads) {
    asm volatile("barrier.cta.sync 1, %0;" ::"r"(threads) : "memory");
}

__device__ void change(int* out, int silent) {
    __shared__ __align__(128) int row[32];
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, threads = silent < 20 ? 640 : 672;
    if (warp == 0) row[lane] = lane;
    __syncthreads();
    if (warp < 20) {
        out[threadIdx.x] = row[lane];
        if (warp != silent) arrive(threads);
    } else {
        wait(threads);
        if (lane == 5) row[lane] = 0;
    }
}

extern "C" __global__ void racecheck_one_reader_is_forgotten(int* out) {
    change(out, 15);
}

extern "C" __global__ void racecheck_one_reader_is_forgotten_fixed(int* out) {
    change(out, 20);
}
