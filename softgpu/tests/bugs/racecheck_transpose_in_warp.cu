// A tile is transposed in place, each lane its row.
// run: grid 1 block 32 args iota:4096
extern "C" __global__ void racecheck_transpose_in_warp(int* data) {
    __shared__ int tile[32][33];
    for (int r = 0; r < 32; r++) tile[r][threadIdx.x] = data[32 * r + threadIdx.x];
    __syncwarp();
    for (int c = 0; c < threadIdx.x; c++) {
        const int x = tile[threadIdx.x][c];
        tile[threadIdx.x][c] = tile[c][threadIdx.x];
        tile[c][threadIdx.x] = x;
    }
    for (int r = 0; r < 32; r++) data[32 * r + threadIdx.x] = tile[r][threadIdx.x];
}

extern "C" __global__ void racecheck_transpose_in_warp_fixed(int* data) {
    __shared__ int tile[32][33];
    for (int r = 0; r < 32; r++) tile[r][threadIdx.x] = data[32 * r + threadIdx.x];
    __syncwarp();
    for (int c = 0; c < threadIdx.x; c++) {
        const int x = tile[threadIdx.x][c];
        tile[threadIdx.x][c] = tile[c][threadIdx.x];
        tile[c][threadIdx.x] = x;
    }
    __syncwarp();
    for (int r = 0; r < 32; r++) data[32 * r + threadIdx.x] = tile[r][threadIdx.x];
}
