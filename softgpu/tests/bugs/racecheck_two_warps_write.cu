// Every warp writes its maximum to the same word.
// run: grid 1 block 64 args iota:256 zeros:4
extern "C" __global__ void racecheck_two_warps_write(const int* in, int* out) {
    __shared__ int most;
    int x = in[threadIdx.x];
    for (int step = 16; step > 0; step /= 2) x = max(x, __shfl_xor_sync(0xffffffffu, x, step));
    if (threadIdx.x % 32 == 0) most = x;
    __syncthreads();
    if (threadIdx.x == 0) *out = most;
}

extern "C" __global__ void racecheck_two_warps_write_fixed(const int* in, int* out) {
    __shared__ int most;
    int x = in[threadIdx.x];
    for (int step = 16; step > 0; step /= 2) x = max(x, __shfl_xor_sync(0xffffffffu, x, step));
    if (threadIdx.x == 0) most = 0;
    __syncthreads();
    if (threadIdx.x % 32 == 0) atomicMax(&most, x);
    __syncthreads();
    if (threadIdx.x == 0) *out = most;
}
