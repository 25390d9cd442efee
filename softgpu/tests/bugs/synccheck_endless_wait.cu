// Waits for a flag that nobody sets.
// run: grid 1 block 32 budget 100000 args zeros:4 zeros:4
extern "C" __global__ void synccheck_endless_wait(volatile int* flag, int* out) {
    while (*flag == 0) {}
    *out = 1;
}

extern "C" __global__ void synccheck_endless_wait_fixed(volatile int* flag, int* out) {
    if (threadIdx.x == 0) *flag = 1;
    __syncwarp();
    while (*flag == 0) {}
    *out = 1;
}
