// The tile is read before the asynchronous copy into it is waited for.
// run: grid 1 block 32 args iota:128 new:128
__device__ void copy(int* to, const int* from) {
    const unsigned shared = __cvta_generic_to_shared(to);
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4;" ::"r"(shared), "l"(__cvta_generic_to_global(from)) : "memory");
    asm volatile("cp.async.commit_group;" ::: "memory");
}

extern "C" __global__ void synccheck_copy_not_awaited(const int* in, int* out) {
    __shared__ int tile[32];
    copy(&tile[threadIdx.x], in + threadIdx.x);
    out[threadIdx.x] = tile[threadIdx.x];
}

extern "C" __global__ void synccheck_copy_not_awaited_fixed(const int* in, int* out) {
    __shared__ int tile[32];
    copy(&tile[threadIdx.x], in + threadIdx.x);
    asm volatile("cp.async.wait_group 0;" ::: "memory");
    out[threadIdx.x] = tile[threadIdx.x];
}
