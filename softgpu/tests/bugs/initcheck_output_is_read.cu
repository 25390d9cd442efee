// Adds to an output that nobody has set to zero.
// run: grid 1 block 32 args iota:128 new:128
extern "C" __global__ void initcheck_output_is_read(const float* in, float* sum) {
    sum[threadIdx.x] += in[threadIdx.x];
}

extern "C" __global__ void initcheck_output_is_read_fixed(const float* in, float* sum) {
    sum[threadIdx.x] = in[threadIdx.x];
}
