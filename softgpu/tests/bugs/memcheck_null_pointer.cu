// An optional operand is read without asking whether it is there.
// run: grid 1 block 32 args null new:128
extern "C" __global__ void memcheck_null_pointer(const float* bias, float* out) {
    out[threadIdx.x] = 1.f + bias[threadIdx.x];
}

extern "C" __global__ void memcheck_null_pointer_fixed(const float* bias, float* out) {
    out[threadIdx.x] = bias ? 1.f + bias[threadIdx.x] : 1.f;
}
