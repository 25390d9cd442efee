// The lock is given back before the sum is sure to have arrived.
// run: grid 3 block 32 args zeros:4 zeros:4
extern "C" __global__ void racecheck_lock_without_fence(int* lock, int* total) {
    if (threadIdx.x == 0) {
        while (atomicCAS(lock, 0, 1) != 0) {}
        *total += blockIdx.x;
        atomicExch(lock, 0);
    }
}

extern "C" __global__ void racecheck_lock_without_fence_fixed(int* lock, int* total) {
    if (threadIdx.x == 0) {
        while (atomicCAS(lock, 0, 1) != 0) {}
        __threadfence();
        *total += blockIdx.x;
        __threadfence();
        atomicExch(lock, 0);
    }
}
