// The lanes past the end have left, and are read from.
// run: grid 1 block 32 args iota:80 zeros:80 i32:20
extern "C" __global__ void synccheck_shuffle_from_exited(const int* in, int* out, int n) {
    if (threadIdx.x >= n) return;
    int x = in[threadIdx.x];
    x += __shfl_down_sync(0xffffffffu, x, 4);
    out[threadIdx.x] = x;
}

extern "C" __global__ void synccheck_shuffle_from_exited_fixed(const int* in, int* out, int n) {
    int x = threadIdx.x < n ? in[threadIdx.x] : 0;
    x += __shfl_down_sync(0xffffffffu, x, 4);
    if (threadIdx.x < n) out[threadIdx.x] = x;
}
