// The next tile is loaded while slower warps still read the last one.
// run: grid 1 block 64 args iota:1024 zeros:256
extern "C" __global__ void racecheck_tile_overwritten(const int* in, int* out) {
    __shared__ int tile[64];
    int sum = 0;
    for (int t = 0; t < 4; t++) {
        tile[threadIdx.x] = in[64 * t + threadIdx.x];
        __syncthreads();
        sum += tile[63 - threadIdx.x];
    }
    out[threadIdx.x] = sum;
}

extern "C" __global__ void racecheck_tile_overwritten_fixed(const int* in, int* out) {
    __shared__ int tile[64];
    int sum = 0;
    for (int t = 0; t < 4; t++) {
        tile[threadIdx.x] = in[64 * t + threadIdx.x];
        __syncthreads();
        sum += tile[63 - threadIdx.x];
        __syncthreads();
    }
    out[threadIdx.x] = sum;
}
