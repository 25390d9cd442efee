// No guard: the last block has more threads than there are elements.
// run: grid 2 block 64 args zeros:400 i32:100
extern "C" __global__ void memcheck_store_past_end(float* out, int n) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    out[i] = i;
}

extern "C" __global__ void memcheck_store_past_end_fixed(float* out, int n) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) out[i] = i;
}
