// Two buffers, but the barrier stands only at every second step.
// run: grid 1 block 64 args iota:1024 zeros:256
extern "C" __global__ void racecheck_double_buffer(const int* in, int* out) {
    __shared__ int buffer[2][64];
    int sum = 0;
    for (int t = 0; t < 4; t++) {
        buffer[t % 2][threadIdx.x] = in[64 * t + threadIdx.x];
        if (t % 2 == 0) __syncthreads();
        sum += buffer[t % 2][63 - threadIdx.x];
    }
    out[threadIdx.x] = sum;
}

extern "C" __global__ void racecheck_double_buffer_fixed(const int* in, int* out) {
    __shared__ int buffer[2][64];
    int sum = 0;
    for (int t = 0; t < 4; t++) {
        buffer[t % 2][threadIdx.x] = in[64 * t + threadIdx.x];
        __syncthreads();
        sum += buffer[t % 2][63 - threadIdx.x];
    }
    out[threadIdx.x] = sum;
}
