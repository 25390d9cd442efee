// A barrier counts whole warps.
// run: grid 1 block 64 args zeros:256
extern "C" __global__ void synccheck_count_not_of_warps(int* out) {
    asm volatile("bar.sync 1, 48;" ::: "memory");
    out[threadIdx.x] = 1;
}

extern "C" __global__ void synccheck_count_not_of_warps_fixed(int* out) {
    asm volatile("bar.sync 1, 64;" ::: "memory");
    out[threadIdx.x] = 1;
}
