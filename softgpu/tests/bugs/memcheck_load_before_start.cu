// A stencil without a left border.
// run: grid 1 block 32 args iota:128 new:128
extern "C" __global__ void memcheck_load_before_start(const int* in, int* out) {
    const int i = threadIdx.x;
    out[i] = in[i - 1] + in[i];
}

extern "C" __global__ void memcheck_load_before_start_fixed(const int* in, int* out) {
    const int i = threadIdx.x;
    out[i] = (i > 0 ? in[i - 1] : 0) + in[i];
}
