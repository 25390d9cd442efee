// Of each row of s⊙x: mean and Σ (s⊙x − mean)². The host joins the rows in f64 (Chan, Golub, LeVeque 1983, eq. 2.1),
// so nothing cancels. For Admin's profiling, which needs one variance per sublayer and runs in f32.
// Shapes: x [N,C] f32, C ≤ 3072; s [C] f32 or null (1); mean m2 [N] f32.   Bytes: 4·N·C.
// Launch: block (32, ceil(C/256), R): R rows; a lane owns 8 columns and keeps them (columns.cuh).
#include "columns.cuh"

template <int V>
__device__ void moments(float* mean, float* m2, const float* x, const float* s, int N, int C, RowSums& sums) {
    const int row = blockIdx.x * blockDim.z + threadIdx.z;
    if (row >= N) return;
    Own<V> own = {};
    float total[1] = {0.f};
    int turn = 0;
#pragma unroll
    for (int k = 0; k < Own<V>::PACKS; k++) {
        const int c = own_column<V>(k);
        if (c >= C) continue;
        const Pack<V> scale = load_pack<V>(s ? s + c : nullptr, 1.f);
        own.pack[k] = load_pack<V>(x + (size_t)row * C + c);
#pragma unroll
        for (int j = 0; j < V; j++) {
            own.pack[k].v[j] *= scale.v[j];
            total[0] += own.pack[k].v[j];
        }
    }
    row_sum(total, sums, turn);
    const float m = total[0] / C;
    float squares[1] = {0.f};
#pragma unroll
    for (int k = 0; k < Own<V>::PACKS; k++)
        if (own_column<V>(k) < C)
#pragma unroll
            for (int j = 0; j < V; j++) squares[0] += sq(own.pack[k].v[j] - m);
    row_sum(squares, sums, turn);
    if (threadIdx.x == 0 && threadIdx.y == 0) mean[row] = m, m2[row] = squares[0];
}

extern "C" __global__ void __launch_bounds__(384) moments_f32(float* mean, float* m2, const float* x, const float* s, int N,
                                                              int C) {
    __shared__ RowSums sums;
    C % 4 == 0 ? moments<4>(mean, m2, x, s, N, C, sums) : moments<1>(mean, m2, x, s, N, C, sums);
}
