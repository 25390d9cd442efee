// Three warps write their sum, four are read.
// run: grid 1 block 96 args iota:384 new:4
extern "C" __global__ void initcheck_partial_sums(const int* in, int* out) {
    __shared__ int sums[4];
    int sum = in[threadIdx.x];
    for (int step = 16; step > 0; step /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, step);
    if (threadIdx.x % 32 == 0) sums[threadIdx.x / 32] = sum;
    __syncthreads();
    if (threadIdx.x == 0) *out = sums[0] + sums[1] + sums[2] + sums[3];
}

extern "C" __global__ void initcheck_partial_sums_fixed(const int* in, int* out) {
    __shared__ int sums[4];
    int sum = in[threadIdx.x];
    for (int step = 16; step > 0; step /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, step);
    if (threadIdx.x % 32 == 0) sums[threadIdx.x / 32] = sum;
    if (threadIdx.x == 0) sums[3] = 0;
    __syncthreads();
    if (threadIdx.x == 0) *out = sums[0] + sums[1] + sums[2] + sums[3];
}
