// The loop runs to the length of a row, and one further.
// run: grid 1 block 8 args iota:256 zeros:32 i32:8
extern "C" __global__ void memcheck_one_too_many(const int* rows, int* sums, int width) {
    int sum = 0;
    for (int c = 0; c <= width; c++) sum += rows[threadIdx.x * width + c];
    sums[threadIdx.x] = sum;
}

extern "C" __global__ void memcheck_one_too_many_fixed(const int* rows, int* sums, int width) {
    int sum = 0;
    for (int c = 0; c < width; c++) sum += rows[threadIdx.x * width + c];
    sums[threadIdx.x] = sum;
}
