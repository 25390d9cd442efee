// Rows of five floats are read in fours.
// run: grid 1 block 4 args iota:80 new:64
extern "C" __global__ void memcheck_misaligned_float4(const float* in, float4* out) {
    out[threadIdx.x] = *reinterpret_cast<const float4*>(in + 5 * threadIdx.x);
}

extern "C" __global__ void memcheck_misaligned_float4_fixed(const float* in, float4* out) {
    const float* row = in + 5 * threadIdx.x;
    out[threadIdx.x] = make_float4(row[0], row[1], row[2], row[3]);
}
