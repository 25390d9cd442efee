// The loop that clears the bins stops at the number of threads, not of bins.
// run: grid 1 block 32 args new:192
extern "C" __global__ void initcheck_shared_tail(int* out) {
    __shared__ int bins[48];
    if (threadIdx.x < 48) bins[threadIdx.x] = 1;
    __syncthreads();
    for (int i = threadIdx.x; i < 48; i += blockDim.x) out[i] = bins[i];
}

extern "C" __global__ void initcheck_shared_tail_fixed(int* out) {
    __shared__ int bins[48];
    for (int i = threadIdx.x; i < 48; i += blockDim.x) bins[i] = 1;
    __syncthreads();
    for (int i = threadIdx.x; i < 48; i += blockDim.x) out[i] = bins[i];
}
