// One warp knows that the mbarrier is initialised, the other only if it is late.
// run: grid 1 block 64 args zeros:256
__device__ void meet(unsigned long long* object) {
    unsigned address = (unsigned)__cvta_generic_to_shared(object);
    asm volatile("{ .reg .b64 state; .reg .pred done; mbarrier.arrive.shared.b64 state, [%0];\n"
                 "wait: mbarrier.test_wait.shared.b64 done, [%0], state; @!done bra wait; }" ::"r"(address) : "memory");
}

__device__ void init(unsigned long long* object, unsigned count) {
    unsigned address = (unsigned)__cvta_generic_to_shared(object);
    asm volatile("mbarrier.init.shared.b64 [%0], %1;" ::"r"(address), "r"(count) : "memory");
}

extern "C" __global__ void racecheck_mbarrier_init(int* out) {
    __shared__ unsigned long long object;
    __shared__ int tile[64];
    if (threadIdx.x == 0) init(&object, 64);
    __syncwarp();
    tile[threadIdx.x] = threadIdx.x;
    meet(&object);
    out[threadIdx.x] = tile[63 - threadIdx.x];
}

extern "C" __global__ void racecheck_mbarrier_init_fixed(int* out) {
    __shared__ unsigned long long object;
    __shared__ int tile[64];
    if (threadIdx.x == 0) init(&object, 64);
    __syncthreads();
    tile[threadIdx.x] = threadIdx.x;
    meet(&object);
    out[threadIdx.x] = tile[63 - threadIdx.x];
}
