// The tail of the tile is read by lanes whose result is thrown away.
// run: grid 1 block 32 args iota:80 zeros:80 i32:20
extern "C" __global__ void initcheck_padding_lanes(const int* in, int* out, int n) {
    __shared__ int tile[32];
    if (threadIdx.x < n) tile[threadIdx.x] = in[threadIdx.x];
    __syncthreads();
    int sum = ((volatile int*)tile)[threadIdx.x ^ 1];
    if (threadIdx.x < n) out[threadIdx.x] = sum;
}

extern "C" __global__ void initcheck_padding_lanes_fixed(const int* in, int* out, int n) {
    __shared__ int tile[32];
    tile[threadIdx.x] = threadIdx.x < n ? in[threadIdx.x] : 0;
    __syncthreads();
    int sum = ((volatile int*)tile)[threadIdx.x ^ 1];
    if (threadIdx.x < n) out[threadIdx.x] = sum;
}
