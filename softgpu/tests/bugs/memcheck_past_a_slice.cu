// The slice starts in the middle of an allocation, and the kernel is told the whole length.
// run: grid 1 block 64 args inside:256+128 i32:64
// fixed: args inside:256+128 i32:32
extern "C" __global__ void memcheck_past_a_slice(int* slice, int n) {
    if (threadIdx.x < n) slice[threadIdx.x] = 1;
}

extern "C" __global__ void memcheck_past_a_slice_fixed(int* slice, int n) {
    if (threadIdx.x < n) slice[threadIdx.x] = 1;
}
