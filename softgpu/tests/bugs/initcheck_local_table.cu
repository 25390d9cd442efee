// Odd entries of the table are never set.
// run: grid 1 block 32 args iota:128 zeros:128
extern "C" __global__ void initcheck_local_table(const int* in, int* out) {
    volatile int table[8];
    for (int i = 0; i < 8; i += 2) table[i] = i;
    out[threadIdx.x] = table[in[threadIdx.x] & 7];
}

extern "C" __global__ void initcheck_local_table_fixed(const int* in, int* out) {
    volatile int table[8];
    for (int i = 0; i < 8; i++) table[i] = i;
    out[threadIdx.x] = table[in[threadIdx.x] & 7];
}
