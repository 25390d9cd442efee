// A table of eight on the stack is indexed by what the data says.
// run: grid 1 block 32 args iota:128 zeros:128
extern "C" __global__ void memcheck_local_array_overrun(const int* in, int* out) {
    volatile int table[8];
    for (int i = 0; i < 8; i++) table[i] = i * i;
    out[threadIdx.x] = table[in[threadIdx.x]];
}

extern "C" __global__ void memcheck_local_array_overrun_fixed(const int* in, int* out) {
    volatile int table[8];
    for (int i = 0; i < 8; i++) table[i] = i * i;
    out[threadIdx.x] = table[in[threadIdx.x] & 7];
}
