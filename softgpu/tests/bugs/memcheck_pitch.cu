// Rows are addressed by the number of rows, not of columns.
// run: grid 2 block 8,4 args zeros:192 i32:6 i32:8
extern "C" __global__ void memcheck_pitch(int* matrix, int rows, int columns) {
    const int c = threadIdx.x, r = blockIdx.x * blockDim.y + threadIdx.y;
    if (r < rows && c < columns) matrix[c * columns + r] = 1;
}

extern "C" __global__ void memcheck_pitch_fixed(int* matrix, int rows, int columns) {
    const int c = threadIdx.x, r = blockIdx.x * blockDim.y + threadIdx.y;
    if (r < rows && c < columns) matrix[r * columns + c] = 1;
}
