// An unsigned difference goes below zero.
// run: grid 1 block 32 args iota:128 new:128 i32:3
extern "C" __global__ void memcheck_wrapped_index(const int* in, int* out, unsigned lag) {
    out[threadIdx.x] = in[threadIdx.x - lag];
}

extern "C" __global__ void memcheck_wrapped_index_fixed(const int* in, int* out, unsigned lag) {
    out[threadIdx.x] = threadIdx.x >= lag ? in[threadIdx.x - lag] : 0;
}
