// Three warps read a value, two of them tell the fourth, which replaces it: the first one may still be reading.
// run: grid 1 block 128 args new:512
__device__ void arrive(int threads) {
    asm volatile("barrier.cta.arrive 1, %0;" ::"r"(threads) : "memory");
}

__device__ void wait(int threads) {
    asm volatile("barrier.cta.sync 1, %0;" ::"r"(threads) : "memory");
}

__device__ void replace(int* out, int silent) {
    __shared__ int value;
    const int warp = threadIdx.x / 32;
    if (threadIdx.x == 0) value = 1;
    __syncthreads();
    if (warp < 3) {
        out[threadIdx.x] = value;
        if (warp != silent) arrive(silent == 0 ? 96 : 128);
    } else {
        wait(silent == 0 ? 96 : 128);
        value = 2;
    }
}

extern "C" __global__ void racecheck_some_readers_wait(int* out) {
    replace(out, 0);
}

extern "C" __global__ void racecheck_some_readers_wait_fixed(int* out) {
    replace(out, 3);
}
