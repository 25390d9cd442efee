// A table that the module brings along is shorter than the block. What has no initial value is zero, and may be read.
// run: grid 1 block 32 args zeros:128
__device__ int table[24];

extern "C" __global__ void memcheck_past_variable(int* out) { out[threadIdx.x] = table[threadIdx.x]; }

extern "C" __global__ void memcheck_past_variable_fixed(int* out) {
    out[threadIdx.x] = threadIdx.x < 24 ? table[threadIdx.x] : 0;
}
