// A block of 33 warps.
// run: grid 1 block 1056 args zeros:4224
// fixed: grid 2 block 528
extern "C" __global__ void synccheck_too_many_threads(int* out) {
    out[threadIdx.x] = 1;
}

extern "C" __global__ void synccheck_too_many_threads_fixed(int* out) {
    out[blockIdx.x * blockDim.x + threadIdx.x] = 1;
}
