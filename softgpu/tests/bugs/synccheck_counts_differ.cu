// One half of the block takes the barrier to be of 64, the other of 128 threads.
// run: grid 1 block 128 args zeros:512
extern "C" __global__ void synccheck_counts_differ(int* out) {
    const int count = threadIdx.x < 64 ? 64 : 128;
    if (threadIdx.x >= 32) asm volatile("bar.sync 1, %0;" ::"r"(count) : "memory");
    out[threadIdx.x] = 1;
}

extern "C" __global__ void synccheck_counts_differ_fixed(int* out) {
    if (threadIdx.x >= 32) asm volatile("bar.sync 1, 96;" ::: "memory");
    out[threadIdx.x] = 1;
}
