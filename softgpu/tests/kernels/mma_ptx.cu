// Tensor instructions by inline PTX: ldmatrix (x1, x2, x4, transposed), mma.sync for f16, bf16, tf32, s8, u8 and f64,
// one warp, one tile, fragments laid out by hand as in the PTX ISA's figures.
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <stdint.h>

__device__ uint32_t shared_address(const void* p) { return (uint32_t)__cvta_generic_to_shared(p); }

// D[16,8] = A[16,16]·B[16,8] + C; A row-major, B row-major (fetched transposed), all through shared memory.
template <bool BF> __device__ void ldmatrix_product(float* d, const uint16_t* a, const uint16_t* b, const float* c) {
    __shared__ alignas(16) uint16_t as[16][24], bs[16][8];
    int lane = threadIdx.x, g = lane / 4, q = lane % 4;
    for (int i = lane; i < 256; i += 32) as[i / 16][i % 16] = a[i];
    for (int i = lane; i < 128; i += 32) bs[i / 8][i % 8] = b[i];
    __syncwarp();
    uint32_t fa[4], fb[2];
    float acc[4] = {c[g * 8 + 2 * q], c[g * 8 + 2 * q + 1], c[(g + 8) * 8 + 2 * q], c[(g + 8) * 8 + 2 * q + 1]};
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(fa[0]), "=r"(fa[1]), "=r"(fa[2]), "=r"(fa[3])
                 : "r"(shared_address(&as[lane % 16][lane / 16 * 8])));
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0,%1}, [%2];"
                 : "=r"(fb[0]), "=r"(fb[1]) : "r"(shared_address(&bs[lane % 16][0])));
    if (BF)
        asm volatile(
            "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
            : "+f"(acc[0]), "+f"(acc[1]), "+f"(acc[2]), "+f"(acc[3])
            : "r"(fa[0]), "r"(fa[1]), "r"(fa[2]), "r"(fa[3]), "r"(fb[0]), "r"(fb[1]));
    else
        asm volatile(
            "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
            : "+f"(acc[0]), "+f"(acc[1]), "+f"(acc[2]), "+f"(acc[3])
            : "r"(fa[0]), "r"(fa[1]), "r"(fa[2]), "r"(fa[3]), "r"(fb[0]), "r"(fb[1]));
    d[g * 8 + 2 * q] = acc[0]; d[g * 8 + 2 * q + 1] = acc[1];
    d[(g + 8) * 8 + 2 * q] = acc[2]; d[(g + 8) * 8 + 2 * q + 1] = acc[3];
}
extern "C" __global__ void mma_m16n8k16_f16(float* d, const uint16_t* a, const uint16_t* b, const float* c) {
    ldmatrix_product<false>(d, a, b, c);
}
extern "C" __global__ void mma_m16n8k16_bf16(float* d, const uint16_t* a, const uint16_t* b, const float* c) {
    ldmatrix_product<true>(d, a, b, c);
}

// Fragments straight from global memory. B is column-major ([n][k]).
extern "C" __global__ void mma_m16n8k16_f16_acc16(uint16_t* d, const uint16_t* a, const uint16_t* b,
                                                  const uint16_t* c) {
    int g = threadIdx.x / 4, q = threadIdx.x % 4;
    auto pair = [](const uint16_t* p) { return *reinterpret_cast<const uint32_t*>(p); };
    uint32_t a0 = pair(a + g * 16 + 2 * q), a1 = pair(a + (g + 8) * 16 + 2 * q), a2 = pair(a + g * 16 + 2 * q + 8),
             a3 = pair(a + (g + 8) * 16 + 2 * q + 8);
    uint32_t b0 = pair(b + g * 16 + 2 * q), b1 = pair(b + g * 16 + 2 * q + 8), c0 = pair(c + g * 8 + 2 * q),
             c1 = pair(c + (g + 8) * 8 + 2 * q), d0, d1;
    asm("mma.sync.aligned.m16n8k16.row.col.f16.f16.f16.f16 {%0,%1}, {%2,%3,%4,%5}, {%6,%7}, {%8,%9};"
        : "=r"(d0), "=r"(d1) : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1), "r"(c0), "r"(c1));
    *reinterpret_cast<uint32_t*>(d + g * 8 + 2 * q) = d0;
    *reinterpret_cast<uint32_t*>(d + (g + 8) * 8 + 2 * q) = d1;
}

extern "C" __global__ void mma_m16n8k8_f16(float* d, const uint16_t* a, const uint16_t* b) {
    int g = threadIdx.x / 4, q = threadIdx.x % 4;
    auto pair = [](const uint16_t* p) { return *reinterpret_cast<const uint32_t*>(p); };
    uint32_t a0 = pair(a + g * 8 + 2 * q), a1 = pair(a + (g + 8) * 8 + 2 * q), b0 = pair(b + g * 8 + 2 * q);
    float r[4], z = 0.f;
    asm("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5}, {%6}, {%7,%7,%7,%7};"
        : "=f"(r[0]), "=f"(r[1]), "=f"(r[2]), "=f"(r[3]) : "r"(a0), "r"(a1), "r"(b0), "f"(z));
    for (int i = 0; i < 4; ++i) d[(g + i / 2 * 8) * 8 + 2 * q + i % 2] = r[i];
}
extern "C" __global__ void mma_m16n8k8_bf16(float* d, const uint16_t* a, const uint16_t* b) {
    int g = threadIdx.x / 4, q = threadIdx.x % 4;
    auto pair = [](const uint16_t* p) { return *reinterpret_cast<const uint32_t*>(p); };
    uint32_t a0 = pair(a + g * 8 + 2 * q), a1 = pair(a + (g + 8) * 8 + 2 * q), b0 = pair(b + g * 8 + 2 * q);
    float r[4], z = 0.f;
    asm("mma.sync.aligned.m16n8k8.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5}, {%6}, {%7,%7,%7,%7};"
        : "=f"(r[0]), "=f"(r[1]), "=f"(r[2]), "=f"(r[3]) : "r"(a0), "r"(a1), "r"(b0), "f"(z));
    for (int i = 0; i < 4; ++i) d[(g + i / 2 * 8) * 8 + 2 * q + i % 2] = r[i];
}

__device__ uint32_t to_tf32(float x) { uint32_t r; asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(r) : "f"(x)); return r; }
extern "C" __global__ void mma_m16n8k8_tf32(float* d, const float* a, const float* b) {
    int g = threadIdx.x / 4, q = threadIdx.x % 4;
    uint32_t a0 = to_tf32(a[g * 8 + q]), a1 = to_tf32(a[(g + 8) * 8 + q]), a2 = to_tf32(a[g * 8 + q + 4]),
             a3 = to_tf32(a[(g + 8) * 8 + q + 4]);
    uint32_t b0 = to_tf32(b[g * 8 + q]), b1 = to_tf32(b[g * 8 + q + 4]);
    float r[4] = {};
    asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(r[0]), "+f"(r[1]), "+f"(r[2]), "+f"(r[3]) : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
    for (int i = 0; i < 4; ++i) d[(g + i / 2 * 8) * 8 + 2 * q + i % 2] = r[i];
}
extern "C" __global__ void mma_m16n8k4_tf32(float* d, const float* a, const float* b) {
    int g = threadIdx.x / 4, q = threadIdx.x % 4;
    uint32_t a0 = to_tf32(a[g * 4 + q]), a1 = to_tf32(a[(g + 8) * 4 + q]), b0 = to_tf32(b[g * 4 + q]);
    float r[4] = {};
    asm("mma.sync.aligned.m16n8k4.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5}, {%6}, {%0,%1,%2,%3};"
        : "+f"(r[0]), "+f"(r[1]), "+f"(r[2]), "+f"(r[3]) : "r"(a0), "r"(a1), "r"(b0));
    for (int i = 0; i < 4; ++i) d[(g + i / 2 * 8) * 8 + 2 * q + i % 2] = r[i];
}

#define INT_MMA(NAME, TYPES, SAT)                                                               \
    extern "C" __global__ void NAME(int* d, const uint8_t* a, const uint8_t* b, const int* c) { \
        int g = threadIdx.x / 4, q = threadIdx.x % 4;                                           \
        auto quad = [](const uint8_t* p) { return *reinterpret_cast<const uint32_t*>(p); };     \
        uint32_t a0 = quad(a + g * 32 + 4 * q), a1 = quad(a + (g + 8) * 32 + 4 * q);            \
        uint32_t a2 = quad(a + g * 32 + 16 + 4 * q), a3 = quad(a + (g + 8) * 32 + 16 + 4 * q);  \
        uint32_t b0 = quad(b + g * 32 + 4 * q), b1 = quad(b + g * 32 + 16 + 4 * q);             \
        int r[4];                                                                               \
        for (int i = 0; i < 4; ++i) r[i] = c[(g + i / 2 * 8) * 8 + 2 * q + i % 2];              \
        asm("mma.sync.aligned.m16n8k32.row.col" SAT ".s32." TYPES                               \
            ".s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"                        \
            : "+r"(r[0]), "+r"(r[1]), "+r"(r[2]), "+r"(r[3])                                    \
            : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));                            \
        for (int i = 0; i < 4; ++i) d[(g + i / 2 * 8) * 8 + 2 * q + i % 2] = r[i];              \
    }
INT_MMA(mma_m16n8k32_s8, "s8.s8", "")
INT_MMA(mma_m16n8k32_u8s8, "u8.s8", "")
INT_MMA(mma_m16n8k32_s8_sat, "s8.s8", ".satfinite")

extern "C" __global__ void mma_m16n8k16_s8(int* d, const uint8_t* a, const uint8_t* b) {
    int g = threadIdx.x / 4, q = threadIdx.x % 4, r[4] = {};
    uint32_t a0 = *(const uint32_t*)(a + g * 16 + 4 * q), a1 = *(const uint32_t*)(a + (g + 8) * 16 + 4 * q),
             b0 = *(const uint32_t*)(b + g * 16 + 4 * q);
    asm("mma.sync.aligned.m16n8k16.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5}, {%6}, {%0,%1,%2,%3};"
        : "+r"(r[0]), "+r"(r[1]), "+r"(r[2]), "+r"(r[3]) : "r"(a0), "r"(a1), "r"(b0));
    for (int i = 0; i < 4; ++i) d[(g + i / 2 * 8) * 8 + 2 * q + i % 2] = r[i];
}

extern "C" __global__ void mma_m8n8k4_f64(double* d, const double* a, const double* b) {
    int g = threadIdx.x / 4, q = threadIdx.x % 4;
    double r0 = 0, r1 = 0;
    asm("mma.sync.aligned.m8n8k4.row.col.f64.f64.f64.f64 {%0,%1}, {%2}, {%3}, {%0,%1};"
        : "+d"(r0), "+d"(r1)
        : "d"(a[g * 4 + q]), "d"(b[g * 4 + q]));
    d[g * 8 + 2 * q] = r0;
    d[g * 8 + 2 * q + 1] = r1;
}

// All six ldmatrix forms over a 32×8 pattern; out[form][register][lane].
extern "C" __global__ void ldmatrix_forms(uint32_t* out, const uint16_t* in) {
    __shared__ alignas(128) uint16_t rows[32][8];
    int l = threadIdx.x;
    for (int j = 0; j < 8; ++j) rows[l][j] = in[l * 8 + j];
    __syncwarp();
    uint32_t p = shared_address(&rows[(l * 5 + 3) % 32][0]), r[4];
    asm volatile("ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%0}, [%1];" : "=r"(r[0]) : "r"(p));
    out[l] = r[0];
    asm volatile("ldmatrix.sync.aligned.m8n8.x1.trans.shared.b16 {%0}, [%1];" : "=r"(r[0]) : "r"(p));
    out[32 + l] = r[0];
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0,%1}, [%2];" : "=r"(r[0]), "=r"(r[1]) : "r"(p));
    for (int j = 0; j < 2; ++j) out[64 + 32 * j + l] = r[j];
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0,%1}, [%2];" : "=r"(r[0]), "=r"(r[1]) : "r"(p));
    for (int j = 0; j < 2; ++j) out[128 + 32 * j + l] = r[j];
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(p));
    for (int j = 0; j < 4; ++j) out[192 + 32 * j + l] = r[j];
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(p));
    for (int j = 0; j < 4; ++j) out[320 + 32 * j + l] = r[j];
    asm volatile("{.reg .b32 t; mov.b32 t, %1; movmatrix.sync.aligned.m8n8.trans.b16 %0, t;}" : "=r"(r[0]) : "r"(r[0]));
    out[448 + l] = r[0];
}
