// A pointer to host memory is passed to the kernel.
// run: grid 1 block 32 args host new:128
// fixed: args iota:128 new:128
extern "C" __global__ void memcheck_host_pointer(const float* in, float* out) {
    out[threadIdx.x] = in[threadIdx.x];
}

extern "C" __global__ void memcheck_host_pointer_fixed(const float* in, float* out) {
    out[threadIdx.x] = in[threadIdx.x];
}
