// Warps whose rows are used up leave a loop that has a barrier, and write what they have.
// run: grid 1 block 64 args iota:1152 zeros:256 i32:288
// The twin's return when there is no more, and a barrier does not wait for them: that is allowed.
extern "C" __global__ void synccheck_fewer_rounds(const int* in, int* out, int n) {
    __shared__ int row[288];
    int sum = 0;
    for (int i = threadIdx.x; i < n; i += 64) {
        row[i] = in[i];
        __syncthreads();
        sum += row[i ^ 1];
    }
    out[threadIdx.x] = sum + in[threadIdx.x];
}

extern "C" __global__ void synccheck_fewer_rounds_fixed(const int* in, int* out, int n) {
    __shared__ int row[288];
    for (int i = threadIdx.x;; i += 64) {
        if (i >= n) return;
        row[i] = in[i];
        __syncthreads();
        out[threadIdx.x] += row[i ^ 1];
    }
}
