// The mask names lanes that take the other branch.
// run: grid 1 block 32 args iota:128 zeros:128
extern "C" __global__ void synccheck_shuffle_in_branch(const int* in, int* out) {
    int x = in[threadIdx.x];
    if (x < 7) x = __shfl_xor_sync(0xffffffffu, x, 1);
    else x = __any_sync(0xffffffffu, x == 9);
    out[threadIdx.x] = x;
}

extern "C" __global__ void synccheck_shuffle_in_branch_fixed(const int* in, int* out) {
    int x = in[threadIdx.x];
    const int other = __shfl_xor_sync(0xffffffffu, x, 1), any = __any_sync(0xffffffffu, x == 9);
    out[threadIdx.x] = x < 7 ? other : any;
}
