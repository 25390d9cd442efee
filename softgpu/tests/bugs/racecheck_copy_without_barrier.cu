// Each thread waits for its own asynchronous copy, and reads what another one's has brought.
// run: grid 1 block 64 args iota:256 new:256
__device__ void copy(int* to, const int* from) {
    const unsigned shared = __cvta_generic_to_shared(to);
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4;" ::"r"(shared), "l"(__cvta_generic_to_global(from)) : "memory");
    asm volatile("cp.async.wait_all;" ::: "memory");
}

extern "C" __global__ void racecheck_copy_without_barrier(const int* in, int* out) {
    __shared__ int tile[64];
    copy(&tile[threadIdx.x], in + threadIdx.x);
    out[threadIdx.x] = ((volatile int*)tile)[threadIdx.x ^ 1];
}

extern "C" __global__ void racecheck_copy_without_barrier_fixed(const int* in, int* out) {
    __shared__ int tile[64];
    copy(&tile[threadIdx.x], in + threadIdx.x);
    __syncthreads();
    out[threadIdx.x] = ((volatile int*)tile)[threadIdx.x ^ 1];
}
