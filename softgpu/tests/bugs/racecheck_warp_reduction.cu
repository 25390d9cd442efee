// The last steps of a reduction in shared memory, without a barrier from 32 threads on.
// run: grid 1 block 32 args iota:128 zeros:4
extern "C" __global__ void racecheck_warp_reduction(const int* in, int* out) {
    __shared__ int s[64];
    s[threadIdx.x] = in[threadIdx.x], s[threadIdx.x + 32] = 0;
    for (int step = 16; step > 0; step /= 2) s[threadIdx.x] += s[threadIdx.x + step];
    if (threadIdx.x == 0) *out = s[0];
}

extern "C" __global__ void racecheck_warp_reduction_fixed(const int* in, int* out) {
    __shared__ int s[64];
    s[threadIdx.x] = in[threadIdx.x], s[threadIdx.x + 32] = 0;
    __syncwarp();
    for (int step = 16; step > 0; step /= 2) {
        const int other = s[threadIdx.x + step];
        __syncwarp();
        s[threadIdx.x] += other;
        __syncwarp();
    }
    if (threadIdx.x == 0) *out = s[0];
}
