// The launch gives shared memory for half of the threads.
// run: grid 1 block 64 smem 128 args zeros:256
// fixed: smem 256
extern "C" __global__ void memcheck_dynamic_shared_too_small(float* data) {
    extern __shared__ float row[];
    row[threadIdx.x] = data[threadIdx.x];
    __syncthreads();
    data[threadIdx.x] = row[63 - threadIdx.x];
}

extern "C" __global__ void memcheck_dynamic_shared_too_small_fixed(float* data) {
    extern __shared__ float row[];
    row[threadIdx.x] = data[threadIdx.x];
    __syncthreads();
    data[threadIdx.x] = row[63 - threadIdx.x];
}
