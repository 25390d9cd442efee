// Each block also writes the first element of the next one.
// run: grid 4 block 32 args zeros:516
extern "C" __global__ void racecheck_blocks_share_a_halo(int* out) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    out[i] = i;
    if (threadIdx.x == 31) out[i + 1] = -i;
}

extern "C" __global__ void racecheck_blocks_share_a_halo_fixed(int* out) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    out[i] = i;
    if (i == 127) out[i + 1] = -i;
}
