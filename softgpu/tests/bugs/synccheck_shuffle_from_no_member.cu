// The mask names the lower half, and the lanes read from the upper one.
// run: grid 1 block 32 args iota:128 zeros:128
extern "C" __global__ void synccheck_shuffle_from_no_member(const int* in, int* out) {
    int x = in[threadIdx.x];
    if (threadIdx.x < 16) x = __shfl_xor_sync(0x0000ffffu, x, 16);
    out[threadIdx.x] = x;
}

extern "C" __global__ void synccheck_shuffle_from_no_member_fixed(const int* in, int* out) {
    int x = in[threadIdx.x];
    x = __shfl_xor_sync(0xffffffffu, x, 16);
    out[threadIdx.x] = x;
}
