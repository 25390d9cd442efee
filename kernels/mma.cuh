// Tensor cores and asynchronous copies as sm_80 has them: PTX ISA 9.0, 9.7.9.25 (cp.async), 9.7.14.5 (mma, ldmatrix).
// Fragments of a warp's product of 16 × 16 by 16 × 8, lane = 4·g + t, two 2-byte elements a register, 2t and 2t + 1:
//   A: rows g | g + 8 of columns 0 … 7, then the same of columns 8 … 15     B: column g of rows 0 … 7 | 8 … 15
//   C: float, row g columns 2t, 2t + 1 | row g + 8 the same
// so that two C side by side, rounded and packed in their order, are an A.
#pragma once
#include "common.cuh"

__device__ __forceinline__ uint32_t shared_address(const void* p) { return (uint32_t)__cvta_generic_to_shared(p); }

// 16 bytes from global to shared memory, both aligned to that; unless `there`, zeros, and nothing is read.
__device__ __forceinline__ void copy16(uint32_t to, const void* from, bool there) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(there ? 16 : 0) : "memory");
}
__device__ __forceinline__ void copy4(uint32_t to, const void* from, bool there) {
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(to), "l"(from), "r"(there ? 4 : 0) : "memory");
}
// The copies since the last commit are a group; this thread's groups but the last PENDING have arrived after the wait.
__device__ __forceinline__ void commit_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int PENDING> __device__ __forceinline__ void await_copies() {
    asm volatile("cp.async.wait_group %0;" ::"n"(PENDING) : "memory");
}

// Four 8 × 8 matrices whose rows' addresses lanes 0 … 7, 8 … 15, … give; `transposed` each of them.
__device__ __forceinline__ void load_matrices(uint32_t (&m)[4], uint32_t row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(m[0]), "=r"(m[1]), "=r"(m[2]), "=r"(m[3])
                 : "r"(row)
                 : "memory");
}
__device__ __forceinline__ void load_transposed(uint32_t (&m)[4], uint32_t row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(m[0]), "=r"(m[1]), "=r"(m[2]), "=r"(m[3])
                 : "r"(row)
                 : "memory");
}

// C += A·B; `fresh`: C = A·B.
template <typename T>
__device__ __forceinline__ void mma(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1,
                                    bool fresh = false);
#define MMA(T, type)                                                                                                   \
    template <>                                                                                                        \
    __device__ __forceinline__ void mma<T>(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1,            \
                                           bool fresh) {                                                               \
        asm("mma.sync.aligned.m16n8k16.row.col.f32." type "." type ".f32 "                                             \
            "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%10, %11, %12, %13};"                                      \
            : "=f"(c[0]), "=f"(c[1]), "=f"(c[2]), "=f"(c[3])                                                           \
            : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1), "f"(fresh ? 0.f : c[0]),                   \
              "f"(fresh ? 0.f : c[1]), "f"(fresh ? 0.f : c[2]), "f"(fresh ? 0.f : c[3]));                              \
    }
MMA(__half, "f16")
MMA(__nv_bfloat16, "bf16")
#undef MMA
