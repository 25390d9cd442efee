// Of each row of s⊙x: mean and Σ (s⊙x − mean)². The host joins the rows in f64 (Chan, Golub, LeVeque 1983, eq. 2.1),
// so nothing cancels. For Admin's profiling, which needs one variance per sublayer.
// Shapes: x [N,C] T; s [C] f32 or null (1); mean m2 [N] f32.   Bytes at 4-byte T: 8·N·C.
// Launch: block (32, 4), a warp per row.
#include "common.cuh"

template <typename T> __device__ void moments(float* mean, float* m2, const T* x, const float* s, int N, int C) {
    const int row = blockIdx.x * blockDim.y + threadIdx.y, lane = threadIdx.x;
    if (row >= N) return;
    x += (size_t)row * C;
    auto value = [&](int c) { return (s ? s[c] : 1.f) * to_f32(x[c]); };
    float a = 0.f, b = 0.f;
    for (int c = lane; c < C; c += WARP) a += value(c);
    a = warp_sum(a) / C;
    for (int c = lane; c < C; c += WARP) b += sq(value(c) - a);
    b = warp_sum(b);
    if (lane == 0) mean[row] = a, m2[row] = b;
}

extern "C" __global__ void moments_f32(float* mean, float* m2, const float* x, const float* s, int N, int C) {
    moments(mean, m2, x, s, N, C);
}
