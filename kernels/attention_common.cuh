// What the f32 and the 2-byte kernels of attention share; the contract stands in attention.cu.
#pragma once
#include "common.cuh"

constexpr int GROUP = 4;         // walked rows at once, and the elements of one draw
constexpr float HEADROOM = 8.f;  // exp(score − reference) may reach 2^HEADROOM before O gets a new reference
constexpr float LOG2E = 1.44269504f, LN2 = 0.693147181f;

struct Packed {  // what all passes know of the batch
    const int *cu_q, *cu_k;
    int Tq, D, stride_o, stride_q, stride_kv, max_k;
    float scale;
    int causal;

    // Dropout's draw for keys 0 … 3 of a query row; key j is in draw + j/4.
    __device__ __forceinline__ uint64_t draw(int row) const {
        return ((uint64_t)row * gridDim.y + blockIdx.y) * ((max_k + GROUP - 1) / GROUP);
    }
};

struct Side {  // rows of one sentence
    int first, count;
};
__device__ __forceinline__ Side side(const int* cu, int b) { return {cu[b], cu[b + 1] - cu[b]}; }

// Row `row`, this block's head.
template <typename T> __device__ __forceinline__ T* head_of(T* rows, int row, int stride, int D) {
    return rows + (size_t)row * stride + blockIdx.y * D;
}

__device__ __forceinline__ float exp2_fast(float x) {  // within 2 ulp; below 2^−126: 0
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}
__device__ __forceinline__ float log2_fast(float x) {  // within 2^−22, for normal x
    float y;
    asm("lg2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}
