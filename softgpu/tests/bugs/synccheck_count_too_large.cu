// The barrier waits for more threads than will ever come.
// run: grid 1 block 64 args zeros:256
extern "C" __global__ void synccheck_count_too_large(int* out) {
    asm volatile("bar.sync 1, 96;" ::: "memory");
    out[threadIdx.x] = 1;
}

extern "C" __global__ void synccheck_count_too_large_fixed(int* out) {
    asm volatile("bar.sync 1, 64;" ::: "memory");
    out[threadIdx.x] = 1;
}
