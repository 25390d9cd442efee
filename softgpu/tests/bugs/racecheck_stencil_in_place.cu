// The new value is written where the neighbouring block still reads the old one.
// run: grid 4 block 32 args iota:512 zeros:512
extern "C" __global__ void racecheck_stencil_in_place(int* data, int* out) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    const int right = i < 127 ? data[i + 1] : 0;
    __syncthreads();
    data[i] = data[i] + right;
}

extern "C" __global__ void racecheck_stencil_in_place_fixed(int* data, int* out) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    const int right = i < 127 ? data[i + 1] : 0;
    out[i] = data[i] + right;
}
