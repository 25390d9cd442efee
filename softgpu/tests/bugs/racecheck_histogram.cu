// Bins are counted without atomics.
// run: grid 1 block 32 args iota:128 zeros:32
extern "C" __global__ void racecheck_histogram(const int* in, int* bins) {
    bins[in[threadIdx.x] % 7]++;
}

extern "C" __global__ void racecheck_histogram_fixed(const int* in, int* bins) {
    atomicAdd(&bins[in[threadIdx.x] % 7], 1);
}
