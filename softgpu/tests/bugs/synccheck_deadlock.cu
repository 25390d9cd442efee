// Two halves of the block wait at different barriers for all of it.
// run: grid 1 block 64 args zeros:256
extern "C" __global__ void synccheck_deadlock(int* out) {
    if (threadIdx.x < 32) asm volatile("bar.sync 1;" ::: "memory");
    else asm volatile("bar.sync 2;" ::: "memory");
    out[threadIdx.x] = 1;
}

extern "C" __global__ void synccheck_deadlock_fixed(int* out) {
    if (threadIdx.x < 32) asm volatile("bar.sync 1, 32;" ::: "memory");
    else asm volatile("bar.sync 2, 32;" ::: "memory");
    out[threadIdx.x] = 1;
}
