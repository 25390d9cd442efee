// Each half of the block has a barrier of its own, and both are number 0: the halves meet by luck.
// The twin's first half meets at a barrier with a count, which the others need not come to.
// run: grid 1 block 64 args zeros:256
extern "C" __global__ void synccheck_two_barriers(int* out) {
    __shared__ int tile[64];
    tile[threadIdx.x] = threadIdx.x;
    if (threadIdx.x < 32) {
        __syncthreads();
        out[threadIdx.x] = tile[63 - threadIdx.x];
    } else {
        out[threadIdx.x] = 1;
        __syncthreads();
    }
}

extern "C" __global__ void synccheck_two_barriers_fixed(int* out) {
    __shared__ volatile int tile[64];
    tile[threadIdx.x] = threadIdx.x;
    int sum = 1;
    if (threadIdx.x < 32) {
        asm volatile("bar.sync 1, 32;" ::: "memory");
        sum = tile[31 - threadIdx.x];
    }
    out[threadIdx.x] = sum + tile[threadIdx.x];
}
