// A scan in shared memory that reads and writes in the same step.
// run: grid 1 block 64 args iota:256
extern "C" __global__ void racecheck_scan(int* data) {
    __shared__ int s[64];
    const int i = threadIdx.x;
    s[i] = data[i];
    __syncthreads();
    for (int step = 1; step < 64; step *= 2) {
        if (i >= step) s[i] += s[i - step];
        __syncthreads();
    }
    data[i] = s[i];
}

extern "C" __global__ void racecheck_scan_fixed(int* data) {
    __shared__ int s[64];
    const int i = threadIdx.x;
    s[i] = data[i];
    __syncthreads();
    for (int step = 1; step < 64; step *= 2) {
        const int left = i >= step ? s[i - step] : 0;
        __syncthreads();
        s[i] += left;
        __syncthreads();
    }
    data[i] = s[i];
}
