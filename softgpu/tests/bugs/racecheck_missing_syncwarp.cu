// Lanes exchange through shared memory as if they ran in step.
// run: grid 1 block 32 args iota:128
extern "C" __global__ void racecheck_missing_syncwarp(int* data) {
    __shared__ int tile[32];
    tile[threadIdx.x] = data[threadIdx.x];
    data[threadIdx.x] = tile[threadIdx.x ^ 1];
}

extern "C" __global__ void racecheck_missing_syncwarp_fixed(int* data) {
    __shared__ int tile[32];
    tile[threadIdx.x] = data[threadIdx.x];
    __syncwarp();
    data[threadIdx.x] = tile[threadIdx.x ^ 1];
}
