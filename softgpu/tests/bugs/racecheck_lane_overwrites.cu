// All lanes compare what they hold in shared memory; the first one then takes the largest away, which another has just read.
// run: grid 1 block 32 args iota:128 zeros:16 i32:4
extern "C" __global__ void racecheck_lane_overwrites(const int* in, int* out, int rounds) {
    __shared__ int held[32];
    int lane = threadIdx.x;
    held[lane] = in[lane];
    __syncwarp();
    for (int round = 0; round < rounds; round++) {
        int top = held[lane] * 32 + lane;
        for (int d = 16; d > 0; d /= 2) top = max(top, __shfl_xor_sync(~0u, top, d));
        if (lane == 0) {
            out[round] = held[top & 31];
            held[top & 31] = -1;
        }
        __syncwarp();
    }
}

extern "C" __global__ void racecheck_lane_overwrites_fixed(const int* in, int* out, int rounds) {
    __shared__ int held[32];
    int lane = threadIdx.x;
    held[lane] = in[lane];
    __syncwarp();
    for (int round = 0; round < rounds; round++) {
        int top = held[lane] * 32 + lane;
        for (int d = 16; d > 0; d /= 2) top = max(top, __shfl_xor_sync(~0u, top, d));
        __syncwarp();
        if (lane == 0) {
            out[round] = held[top & 31];
            held[top & 31] = -1;
        }
        __syncwarp();
    }
}
