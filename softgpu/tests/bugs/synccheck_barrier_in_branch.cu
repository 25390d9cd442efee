// Only the even threads come to the barrier.
// run: grid 1 block 32 args zeros:128
extern "C" __global__ void synccheck_barrier_in_branch(int* out) {
    if (threadIdx.x % 2 == 0) {
        out[threadIdx.x] = 1;
        __syncthreads();
    }
    atomicAdd(&out[threadIdx.x], 2);
}

extern "C" __global__ void synccheck_barrier_in_branch_fixed(int* out) {
    if (threadIdx.x % 2 == 0) out[threadIdx.x] = 1;
    __syncthreads();
    atomicAdd(&out[threadIdx.x], 2);
}
