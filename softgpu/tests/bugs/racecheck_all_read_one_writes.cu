// All threads read a counter, and one goes on to raise it.
// run: grid 1 block 64 args new:256
extern "C" __global__ void racecheck_all_read_one_writes(int* out) {
    __shared__ int counter;
    if (threadIdx.x == 0) counter = 3;
    __syncthreads();
    const int mine = counter;
    if (threadIdx.x == 0) counter = mine + 1;
    out[threadIdx.x] = mine;
}

extern "C" __global__ void racecheck_all_read_one_writes_fixed(int* out) {
    __shared__ int counter;
    if (threadIdx.x == 0) counter = 3;
    __syncthreads();
    const int mine = counter;
    __syncthreads();
    if (threadIdx.x == 0) counter = mine + 1;
    out[threadIdx.x] = mine;
}
