// The last block sums what the others wrote, with nothing that makes their writes arrive before the ticket.
// run: grid 4 block 32 args iota:512 zeros:16 zeros:4 zeros:4
extern "C" __global__ void racecheck_last_block_without_fence(const int* in, int* partial, unsigned* ticket, int* out) {
    __shared__ bool last;
    int x = in[blockIdx.x * blockDim.x + threadIdx.x];
    for (int step = 16; step > 0; step /= 2) x += __shfl_xor_sync(0xffffffffu, x, step);
    if (threadIdx.x == 0) {
        partial[blockIdx.x] = x;
        last = atomicAdd(ticket, 1) == gridDim.x - 1;
    }
    __syncthreads();
    if (last && threadIdx.x == 0) {
        int sum = 0;
        for (int b = 0; b < gridDim.x; b++) sum += partial[b];
        *out = sum;
    }
}

extern "C" __global__ void racecheck_last_block_without_fence_fixed(const int* in, int* partial, unsigned* ticket, int* out) {
    __shared__ bool last;
    int x = in[blockIdx.x * blockDim.x + threadIdx.x];
    for (int step = 16; step > 0; step /= 2) x += __shfl_xor_sync(0xffffffffu, x, step);
    if (threadIdx.x == 0) {
        partial[blockIdx.x] = x;
        __threadfence();
        last = atomicAdd(ticket, 1) == gridDim.x - 1;
    }
    __syncthreads();
    if (last && threadIdx.x == 0) {
        int sum = 0;
        for (int b = 0; b < gridDim.x; b++) sum += partial[b];
        *out = sum;
    }
}
