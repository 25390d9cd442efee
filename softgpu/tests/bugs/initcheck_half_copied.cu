// The host has copied half of the input.
// run: grid 2 block 32 args half:256 new:256
// fixed: args iota:256 new:256
extern "C" __global__ void initcheck_half_copied(const int* in, int* out) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    out[i] = in[i];
}

extern "C" __global__ void initcheck_half_copied_fixed(const int* in, int* out) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    out[i] = in[i];
}
