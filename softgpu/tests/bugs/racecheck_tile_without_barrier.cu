// Each thread reads what its mirror image has written, perhaps in another warp.
// run: grid 1 block 64 args iota:256
extern "C" __global__ void racecheck_tile_without_barrier(int* data) {
    __shared__ int tile[64];
    const int i = threadIdx.x;
    tile[i] = data[i];
    data[i] = tile[63 - i];
}

extern "C" __global__ void racecheck_tile_without_barrier_fixed(int* data) {
    __shared__ int tile[64];
    const int i = threadIdx.x;
    tile[i] = data[i];
    __syncthreads();
    data[i] = tile[63 - i];
}
