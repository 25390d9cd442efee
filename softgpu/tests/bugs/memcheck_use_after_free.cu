// The host has freed the weights.
// run: grid 1 block 32 args freed:128 new:128
// fixed: args iota:128 new:128
extern "C" __global__ void memcheck_use_after_free(const float* weights, float* out) {
    out[threadIdx.x] = 2.f * weights[threadIdx.x];
}

extern "C" __global__ void memcheck_use_after_free_fixed(const float* weights, float* out) {
    out[threadIdx.x] = 2.f * weights[threadIdx.x];
}
