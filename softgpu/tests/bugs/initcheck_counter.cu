// Counts with an atomic from whatever was there.
// run: grid 2 block 32 args new:4
// fixed: args zeros:4
extern "C" __global__ void initcheck_counter(unsigned* counter) {
    if (threadIdx.x == 0) atomicAdd(counter, 1);
}

extern "C" __global__ void initcheck_counter_fixed(unsigned* counter) {
    if (threadIdx.x == 0) atomicAdd(counter, 1);
}
