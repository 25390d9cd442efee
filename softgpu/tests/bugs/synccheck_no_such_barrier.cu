// Barriers have the numbers 0 to 15.
// run: grid 1 block 64 args zeros:256 i32:16
// fixed: args zeros:256 i32:15
extern "C" __global__ void synccheck_no_such_barrier(int* out, int barrier) {
    asm volatile("bar.sync %0;" ::"r"(barrier) : "memory");
    out[threadIdx.x] = 1;
}

extern "C" __global__ void synccheck_no_such_barrier_fixed(int* out, int barrier) {
    asm volatile("bar.sync %0;" ::"r"(barrier) : "memory");
    out[threadIdx.x] = 1;
}
