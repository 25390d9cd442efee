// A warp that has nothing to do leaves before a barrier that counts it.
// run: grid 1 block 64 args zeros:256 i32:32
extern "C" __global__ void synccheck_exited_thread_is_counted(int* out, int n) {
    if (threadIdx.x >= n) return;
    asm volatile("bar.sync 1, 64;" ::: "memory");
    out[threadIdx.x] = 1;
}

extern "C" __global__ void synccheck_exited_thread_is_counted_fixed(int* out, int n) {
    asm volatile("bar.sync 1, 64;" ::: "memory");
    if (threadIdx.x >= n) return;
    out[threadIdx.x] = 1;
}
