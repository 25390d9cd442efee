// Matrix products through mma.h: f16 (f32 and f16 accumulators), bf16, tf32, s8 and u8, all layouts and the three
// 16-bit tile shapes; one warp per tile of D = A·B + C.
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <mma.h>
#include <stdint.h>
using namespace nvcuda;

template <int M, int N, int K, typename T, typename Acc, typename LA, typename LB>
__device__ void product(Acc* d, const T* a, const T* b, const Acc* c, int m, int n, int k, wmma::layout_t cd) {
    constexpr bool ra = std::is_same<LA, wmma::row_major>::value, rb = std::is_same<LB, wmma::row_major>::value;
    int row = blockIdx.y * M, col = blockIdx.x * N;
    wmma::fragment<wmma::matrix_a, M, N, K, T, LA> fa;
    wmma::fragment<wmma::matrix_b, M, N, K, T, LB> fb;
    wmma::fragment<wmma::accumulator, M, N, K, Acc> acc;
    bool rows = cd == wmma::mem_row_major;
    size_t at = rows ? (size_t)row * n + col : (size_t)col * m + row;
    if (c) wmma::load_matrix_sync(acc, c + at, rows ? n : m, cd);
    else wmma::fill_fragment(acc, (Acc)0);
    for (int i = 0; i < k; i += K) {
        wmma::load_matrix_sync(fa, ra ? a + (size_t)row * k + i : a + (size_t)i * m + row, ra ? k : m);
        wmma::load_matrix_sync(fb, rb ? b + (size_t)i * n + col : b + (size_t)col * k + i, rb ? n : k);
        wmma::mma_sync(acc, fa, fb, acc);
    }
    wmma::store_matrix_sync(d + at, acc, rows ? n : m, cd);
}
#define ROW wmma::row_major
#define COL wmma::col_major

extern "C" __global__ void wmma_f16_f32(float* d, const half* a, const half* b, const float* c, int m, int n, int k) {
    product<16, 16, 16, half, float, ROW, COL>(d, a, b, c, m, n, k, wmma::mem_row_major);
}
extern "C" __global__ void wmma_f16_f16(half* d, const half* a, const half* b, const half* c, int m, int n, int k) {
    product<16, 16, 16, half, half, COL, ROW>(d, a, b, c, m, n, k, wmma::mem_col_major);
}
extern "C" __global__ void wmma_f16_32x8(float* d, const half* a, const half* b, const float* c, int m, int n, int k) {
    product<32, 8, 16, half, float, ROW, ROW>(d, a, b, c, m, n, k, wmma::mem_row_major);
}
extern "C" __global__ void wmma_f16_8x32(half* d, const half* a, const half* b, const half* c, int m, int n, int k) {
    product<8, 32, 16, half, half, COL, COL>(d, a, b, c, m, n, k, wmma::mem_row_major);
}
extern "C" __global__ void wmma_bf16(float* d, const __nv_bfloat16* a, const __nv_bfloat16* b, const float* c, int m,
                                     int n, int k) {
    product<16, 16, 16, __nv_bfloat16, float, ROW, COL>(d, a, b, c, m, n, k, wmma::mem_col_major);
}
extern "C" __global__ void wmma_s8(int* d, const int8_t* a, const int8_t* b, const int* c, int m, int n, int k) {
    product<16, 16, 16, signed char, int, ROW, COL>(d, (const signed char*)a, (const signed char*)b, c, m, n, k,
                                                    wmma::mem_row_major);
}
extern "C" __global__ void wmma_u8(int* d, const uint8_t* a, const uint8_t* b, const int* c, int m, int n, int k) {
    product<8, 32, 16, unsigned char, int, COL, ROW>(d, a, b, c, m, n, k, wmma::mem_row_major);
}
extern "C" __global__ void wmma_f64(double* d, const double* a, const double* b, const double* c, int m, int n, int k) {
    product<8, 8, 4, double, double, ROW, COL>(d, a, b, c, m, n, k, wmma::mem_row_major);
}

// tf32 with the inputs rounded in the fragment, and relu on the accumulator, element by element.
extern "C" __global__ void wmma_tf32_relu(float* d, const float* a, const float* b, int m, int n, int k) {
    int row = blockIdx.y * 16, col = blockIdx.x * 16;
    wmma::fragment<wmma::matrix_a, 16, 16, 8, wmma::precision::tf32, ROW> fa;
    wmma::fragment<wmma::matrix_b, 16, 16, 8, wmma::precision::tf32, ROW> fb;
    wmma::fragment<wmma::accumulator, 16, 16, 8, float> acc;
    wmma::fill_fragment(acc, 0.f);
    for (int i = 0; i < k; i += 8) {
        wmma::load_matrix_sync(fa, a + (size_t)row * k + i, k);
        wmma::load_matrix_sync(fb, b + (size_t)i * n + col, n);
        for (int e = 0; e < fa.num_elements; ++e) fa.x[e] = wmma::__float_to_tf32(fa.x[e]);
        for (int e = 0; e < fb.num_elements; ++e) fb.x[e] = wmma::__float_to_tf32(fb.x[e]);
        wmma::mma_sync(acc, fa, fb, acc);
    }
    for (int e = 0; e < acc.num_elements; ++e) acc.x[e] = fmaxf(acc.x[e], 0.f);
    wmma::store_matrix_sync(d + (size_t)row * n + col, acc, n, wmma::mem_row_major);
}

// Four warps share tiles that lie in shared memory with a padded stride.
extern "C" __global__ void wmma_shared(float* d, const half* a, const half* b, int n, int k) {
    __shared__ __align__(32) half as[32][24], bs[16][40];
    __shared__ __align__(32) float ds[32][36];
    int warp = threadIdx.x / 32, row = blockIdx.y * 32, col = blockIdx.x * 32;
    wmma::fragment<wmma::accumulator, 16, 16, 16, float> acc;
    wmma::fill_fragment(acc, 0.f);
    for (int i = 0; i < k; i += 16) {
        for (int t = threadIdx.x; t < 512; t += 128) {
            as[t / 16][t % 16] = a[(row + t / 16) * k + i + t % 16];
            bs[t / 32][t % 32] = b[(i + t / 32) * n + col + t % 32];
        }
        __syncthreads();
        wmma::fragment<wmma::matrix_a, 16, 16, 16, half, ROW> fa;
        wmma::fragment<wmma::matrix_b, 16, 16, 16, half, ROW> fb;
        wmma::load_matrix_sync(fa, &as[warp / 2 * 16][0], 24);
        wmma::load_matrix_sync(fb, &bs[0][warp % 2 * 16], 40);
        wmma::mma_sync(acc, fa, fb, acc);
        __syncthreads();
    }
    wmma::store_matrix_sync(&ds[warp / 2 * 16][warp % 2 * 16], acc, 36, wmma::mem_row_major);
    __syncthreads();
    for (int t = threadIdx.x; t < 1024; t += 128) d[(row + t / 32) * n + col + t % 32] = ds[t / 32][t % 32];
}
