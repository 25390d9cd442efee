// The vote is over the lower half, and all lanes cast one.
// run: grid 1 block 32 args iota:128 zeros:128
extern "C" __global__ void synccheck_mask_lacks_a_lane(const int* in, int* out) {
    out[threadIdx.x] = __ballot_sync(0x0000ffffu, in[threadIdx.x] % 2);
}

extern "C" __global__ void synccheck_mask_lacks_a_lane_fixed(const int* in, int* out) {
    out[threadIdx.x] = __ballot_sync(0xffffffffu, in[threadIdx.x] % 2);
}
