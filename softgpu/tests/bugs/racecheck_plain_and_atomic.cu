// The counter is set with a plain store while other blocks add to it.
// run: grid 2 block 32 args zeros:4
extern "C" __global__ void racecheck_plain_and_atomic(unsigned* counter) {
    if (blockIdx.x == 0 && threadIdx.x == 0) *counter = 100;
    if (blockIdx.x == 1 && threadIdx.x == 0) atomicAdd(counter, 1);
}

extern "C" __global__ void racecheck_plain_and_atomic_fixed(unsigned* counter) {
    if (blockIdx.x == 0 && threadIdx.x == 0) atomicAdd(counter, 100);
    if (blockIdx.x == 1 && threadIdx.x == 0) atomicAdd(counter, 1);
}
