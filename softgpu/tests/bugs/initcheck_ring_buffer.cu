// The first look into the ring comes before the first turn has filled it.
// run: grid 1 block 32 args iota:512 zeros:128
extern "C" __global__ void initcheck_ring_buffer(const int* in, int* out) {
    __shared__ int ring[2][32];
    int sum = 0;
    for (int t = 0; t < 4; t++) {
        ring[t % 2][threadIdx.x] = in[32 * t + threadIdx.x];
        sum += ring[(t + 1) % 2][threadIdx.x];
    }
    out[threadIdx.x] = sum;
}

extern "C" __global__ void initcheck_ring_buffer_fixed(const int* in, int* out) {
    __shared__ int ring[2][32];
    int sum = 0;
    for (int t = 0; t < 4; t++) {
        ring[t % 2][threadIdx.x] = in[32 * t + threadIdx.x];
        if (t > 0) sum += ring[(t + 1) % 2][threadIdx.x];
    }
    out[threadIdx.x] = sum;
}
