// The upper lanes go past the shuffle, and have exited when the lower ones read from them.
// run: grid 1 block 32 args iota:128 zeros:128
extern "C" __global__ void synccheck_shuffle_skipped(const int* in, int* out) {
    int x = in[threadIdx.x];
    if (threadIdx.x < 16) x = __shfl_sync(0xffffffffu, x, 20);
    out[threadIdx.x] = x;
}

extern "C" __global__ void synccheck_shuffle_skipped_fixed(const int* in, int* out) {
    int x = in[threadIdx.x];
    const int from = __shfl_sync(0xffffffffu, x, 20);
    if (threadIdx.x < 16) x = from;
    out[threadIdx.x] = x;
}
