// More shared memory than any device has.
// run: grid 1 block 32 smem 170000 args zeros:128
// fixed: smem 128
extern "C" __global__ void synccheck_too_much_shared(int* out) {
    extern __shared__ int s[];
    s[threadIdx.x] = 1;
    out[threadIdx.x] = s[threadIdx.x];
}

extern "C" __global__ void synccheck_too_much_shared_fixed(int* out) {
    extern __shared__ int s[];
    s[threadIdx.x] = 1;
    out[threadIdx.x] = s[threadIdx.x];
}
