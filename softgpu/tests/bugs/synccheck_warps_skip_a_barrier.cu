// The warps that have nothing to load skip the barrier, and then read what the others load.
// run: grid 1 block 128 args iota:256 zeros:512
extern "C" __global__ void synccheck_warps_skip_a_barrier(const int* in, int* out) {
    __shared__ volatile int tile[64];
    if (threadIdx.x < 64) {
        tile[threadIdx.x] = in[threadIdx.x];
        __syncthreads();
    }
    out[threadIdx.x] = tile[threadIdx.x % 64];
}

extern "C" __global__ void synccheck_warps_skip_a_barrier_fixed(const int* in, int* out) {
    __shared__ volatile int tile[64];
    if (threadIdx.x < 64) tile[threadIdx.x] = in[threadIdx.x];
    __syncthreads();
    out[threadIdx.x] = tile[threadIdx.x % 64];
}
