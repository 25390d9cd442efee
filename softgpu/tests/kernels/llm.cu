// Layers of a language model in the usual style: GELU, softmax, LayerNorm, RMSNorm, AdamW, cross entropy, embedding
// with bf16x2 atomics, rotary positions, int8 quantisation, top-k, attention with an online softmax, packed 128-bit
// loads by a small struct.
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <stdint.h>
typedef __nv_bfloat16 bf16;

template <typename T> struct alignas(16) Packed128 {
    T payload[16 / sizeof(T)];
    __device__ T& operator[](int i) { return payload[i]; }
};
template <typename T> __device__ Packed128<T> load128(const T* p) {
    int4 bits = *reinterpret_cast<const int4*>(p);
    return *reinterpret_cast<Packed128<T>*>(&bits);
}
template <typename T> __device__ Packed128<T> load128cs(const T* p) {
    int4 bits = __ldcs(reinterpret_cast<const int4*>(p));
    return *reinterpret_cast<Packed128<T>*>(&bits);
}
template <typename T>
__device__ void store128(T* p, Packed128<T> v) {
    *reinterpret_cast<int4*>(p) = *reinterpret_cast<int4*>(&v);
}

#define GELU_SCALE 0.7978845608f
extern "C" __global__ void gelu_forward(bf16* out, const bf16* in) {
    int i = (blockIdx.x * blockDim.x + threadIdx.x) * 8;
    Packed128<bf16> x = load128cs(in + i), y;
    for (int k = 0; k < 8; ++k) {
        float v = (float)x[k], cube = 0.044715f * v * v * v;
        y[k] = (bf16)(0.5f * v * (1.0f + tanhf(GELU_SCALE * (v + cube))));
    }
    store128(out + i, y);
}
extern "C" __global__ void gelu_backward(float* dx, const float* x, const float* dy, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    float v = x[i], cube = 0.044715f * v * v * v, arg = GELU_SCALE * (v + cube), t = tanhf(arg), c = coshf(arg);
    dx[i] = dy[i] * (0.5f * (1.0f + t) + v * 0.5f / (c * c) * GELU_SCALE * (1.0f + 3.0f * 0.044715f * v * v));
}

// One block per row; row kept in registers by a stride loop over shared memory of the warps.
__device__ float block_max(float v, float* shared) {
    for (int d = 16; d; d >>= 1) v = fmaxf(v, __shfl_xor_sync(~0u, v, d));
    if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = v;
    __syncthreads();
    v = threadIdx.x % 32 < blockDim.x / 32 ? shared[threadIdx.x % 32] : -INFINITY;
    for (int d = 16; d; d >>= 1) v = fmaxf(v, __shfl_xor_sync(~0u, v, d));
    __syncthreads();
    return v;
}
__device__ float block_sum(float v, float* shared) {
    for (int d = 16; d; d >>= 1) v += __shfl_xor_sync(~0u, v, d);
    if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = v;
    __syncthreads();
    v = threadIdx.x % 32 < blockDim.x / 32 ? shared[threadIdx.x % 32] : 0.f;
    for (int d = 16; d; d >>= 1) v += __shfl_xor_sync(~0u, v, d);
    __syncthreads();
    return v;
}
extern "C" __global__ void softmax_forward(float* out, const float* in, int cols) {
    __shared__ float shared[32];
    const float* x = in + (size_t)blockIdx.x * cols;
    float top = -INFINITY, sum = 0;
    for (int c = threadIdx.x; c < cols; c += blockDim.x) top = fmaxf(top, x[c]);
    top = block_max(top, shared);
    for (int c = threadIdx.x; c < cols; c += blockDim.x) sum += expf(x[c] - top);
    sum = block_sum(sum, shared);
    for (int c = threadIdx.x; c < cols; c += blockDim.x)
        __stcs(out + (size_t)blockIdx.x * cols + c, expf(x[c] - top) / sum);
}

extern "C" __global__ void layernorm_forward(float* out, float* mean, float* rstd, const float* in, const float* weight,
                                             const float* bias, int rows, int cols) {
    int row = blockIdx.x * blockDim.y + threadIdx.y;
    if (row >= rows) return;
    const float* x = in + (size_t)row * cols;
    float s = 0, v = 0;
    for (int c = threadIdx.x; c < cols; c += 32) s += x[c];
    for (int d = 16; d; d >>= 1) s += __shfl_xor_sync(~0u, s, d);
    float m = s / cols;
    for (int c = threadIdx.x; c < cols; c += 32) v += (x[c] - m) * (x[c] - m);
    for (int d = 16; d; d >>= 1) v += __shfl_xor_sync(~0u, v, d);
    float r = rsqrtf(v / cols + 1e-5f);
    for (int c = threadIdx.x; c < cols; c += 32) out[(size_t)row * cols + c] = (x[c] - m) * r * weight[c] + bias[c];
    if (threadIdx.x == 0) { mean[row] = m; rstd[row] = r; }
}
extern "C" __global__ void layernorm_backward(float* dx, float* dweight, float* dbias, const float* dy, const float* in,
                                              const float* weight, const float* mean, const float* rstd, int rows,
                                              int cols) {
    extern __shared__ float columns[];
    for (int c = threadIdx.x; c < 2 * cols; c += blockDim.x) columns[c] = 0;
    __syncthreads();
    int warp = threadIdx.x / 32, lane = threadIdx.x % 32, warps = blockDim.x / 32;
    for (int row = blockIdx.x * warps + warp; row < rows; row += gridDim.x * warps) {
        const float *g = dy + (size_t)row * cols, *x = in + (size_t)row * cols;
        float m = mean[row], r = rstd[row], s = 0, sn = 0;
        for (int c = lane; c < cols; c += 32) { float a = weight[c] * g[c]; s += a; sn += a * (x[c] - m) * r; }
        for (int d = 16; d; d >>= 1) { s += __shfl_xor_sync(~0u, s, d); sn += __shfl_xor_sync(~0u, sn, d); }
        s /= cols; sn /= cols;
        for (int c = lane; c < cols; c += 32) {
            float n = (x[c] - m) * r;
            atomicAdd(&columns[c], g[c] * n);
            atomicAdd(&columns[cols + c], g[c]);
            dx[(size_t)row * cols + c] += r * (weight[c] * g[c] - s - n * sn);
        }
    }
    __syncthreads();
    for (int c = threadIdx.x; c < cols; c += blockDim.x) {
        atomicAdd(dweight + c, columns[c]);
        atomicAdd(dbias + c, columns[cols + c]);
    }
}
// RMSNorm in f16 with half2 loads and f32 sums.
extern "C" __global__ void rmsnorm_half(half2* out, const half2* in, const half2* weight, int cols2, float epsilon) {
    __shared__ float shared[32];
    const half2* x = in + (size_t)blockIdx.x * cols2;
    float s = 0;
    for (int c = threadIdx.x; c < cols2; c += blockDim.x) {
        float2 v = __half22float2(x[c]);
        s += v.x * v.x + v.y * v.y;
    }
    float r = rsqrtf(block_sum(s, shared) / (2 * cols2) + epsilon);
    for (int c = threadIdx.x; c < cols2; c += blockDim.x) {
        float2 v = __half22float2(x[c]);
        out[(size_t)blockIdx.x * cols2 + c] = __hmul2(__floats2half2_rn(v.x * r, v.y * r), weight[c]);
    }
}

__device__ uint32_t squirrel_noise(uint32_t at, uint32_t seed) {
    uint32_t m = at * 0xB5297A4Du + seed;
    m ^= m >> 8; m += 0x68E31DA4u; m ^= m << 8; m *= 0x1B56C4E9u; m ^= m >> 8;
    return m;
}
// AdamW with master weights in f32 and stochastic rounding into bf16.
extern "C" __global__ void adamw(bf16* weights, float* master, const bf16* gradient, float* m, float* v, size_t n,
                                 float rate, float beta1, float beta2, float correction1, float correction2,
                                 float epsilon, float decay, float scale, uint32_t seed) {
    size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    float g = scale * (float)gradient[i], mi = fmaf(beta1, m[i], (1 - beta1) * g),
          vi = fmaf(beta2, v[i], (1 - beta2) * g * g);
    m[i] = mi; v[i] = vi;
    mi /= correction1; vi /= correction2;
    float w = master[i];
    w -= rate * (mi / (sqrtf(vi) + epsilon) + decay * w);
    master[i] = w;
    uint32_t bits = __float_as_uint(w), dither = squirrel_noise((uint32_t)i, seed) & 0xffff;
    weights[i] =
        __float2bfloat16_rn(__uint_as_float((bits & 0xffff) > dither ? (bits | 0xffff) & ~0u : bits & ~0xffffu));
}

// Loss and dlogits in place; vocabulary padded to P columns.
extern "C" __global__ void cross_entropy(float* logits, float* losses, const int* targets, int V, int P) {
    __shared__ float shared[32];
    float* x = logits + (size_t)blockIdx.x * P;
    float top = -INFINITY, sum = 0;
    for (int c = threadIdx.x; c < V; c += blockDim.x) {
        float v = x[c];
        if (v > top) { sum *= expf(top - v); top = v; }
        sum += expf(v - top);
    }
    float all = block_max(top, shared);
    sum = block_sum(sum * expf(top - all), shared);
    int target = targets[blockIdx.x];
    if (threadIdx.x == 0) losses[blockIdx.x] = logf(sum) + all - x[target];
    __syncthreads();
    for (int c = threadIdx.x; c < P; c += blockDim.x)
        x[c] = c < V ? __expf(x[c] - all) / sum - (c == target ? 1.f : 0.f) : 0.f;
}

extern "C" __global__ void embed(float4* out, const int* tokens, const float4* wte, const float4* wpe, int T, int C4) {
    int i = blockIdx.x * blockDim.x + threadIdx.x, token = i / C4, c = i % C4;
    if (token >= 3 * T) return;
    float4 a = wte[tokens[token] * C4 + c], b = wpe[token % T * C4 + c];
    out[i] = make_float4(a.x + b.x, a.y + b.y, a.z + b.z, a.w + b.w);
}
extern "C" __global__ void embed_backward(__nv_bfloat162* dwte, const int* tokens, const __nv_bfloat162* dout, int n,
                                          int C2) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n * C2) return;
    atomicAdd(dwte + tokens[i / C2] * C2 + i % C2, dout[i]);
}
extern "C" __global__ void rope(float2* q, const int* positions, int heads, int half_size, float base) {
    int h = threadIdx.x / half_size, j = threadIdx.x % half_size;
    if (h >= heads) return;
    float angle = positions[blockIdx.x] * powf(base, -(float)j / half_size), s, c;
    sincosf(angle, &s, &c);
    float2* p = q + ((size_t)blockIdx.x * heads + h) * half_size + j;
    float2 v = *p;
    *p = make_float2(v.x * c - v.y * s, v.x * s + v.y * c);
}

// Row-wise symmetric int8, packed four to a word; then the product's scales are applied.
extern "C" __global__ void quantise_rows(char4* out, float* scale, const float4* in, int cols4) {
    __shared__ float shared[32];
    const float4* x = in + (size_t)blockIdx.x * cols4;
    float top = 0;
    for (int c = threadIdx.x; c < cols4; c += blockDim.x) {
        float4 v = x[c];
        top = fmaxf(top, fmaxf(fmaxf(fabsf(v.x), fabsf(v.y)), fmaxf(fabsf(v.z), fabsf(v.w))));
    }
    top = block_max(top, shared);
    float s = top / 127.f, r = top > 0 ? 127.f / top : 0.f;
    if (threadIdx.x == 0) scale[blockIdx.x] = s;
    for (int c = threadIdx.x; c < cols4; c += blockDim.x) {
        float4 v = x[c];
        out[(size_t)blockIdx.x * cols4 + c] =
            make_char4((signed char)__float2int_rn(v.x * r), (signed char)__float2int_rn(v.y * r),
                       (signed char)__float2int_rn(v.z * r), (signed char)max(-128, min(127, __float2int_rn(v.w * r))));
    }
}
extern "C" __global__ void matvec_int8(float* y, const int* w, const int* x, const float* wscale, float xscale,
                                       int cols4) {
    int sum = 0;
    for (int c = threadIdx.x; c < cols4; c += 32) sum = __dp4a(w[(size_t)blockIdx.x * cols4 + c], x[c], sum);
    sum = __reduce_add_sync(~0u, sum);
    if (threadIdx.x == 0) y[blockIdx.x] = sum * wscale[blockIdx.x] * xscale;
}

// The k largest of a row by one warp: k rounds of argmax over 64-bit keys (value, then low index first).
extern "C" __global__ void top_k(float* values, int* indices, const float* in, int cols, int k) {
    extern __shared__ float row[];
    for (int c = threadIdx.x; c < cols; c += 32) row[c] = in[(size_t)blockIdx.x * cols + c];
    __syncwarp();
    for (int j = 0; j < k; ++j) {
        unsigned long long best = 0;
        for (int c = threadIdx.x; c < cols; c += 32) {
            unsigned bits = __float_as_uint(row[c]);
            bits = bits & 0x80000000u ? ~bits : bits | 0x80000000u;
            unsigned long long key = (unsigned long long)bits << 32 | (unsigned)~c;
            best = max(best, key);
        }
        for (int d = 16; d; d >>= 1) best = max(best, __shfl_xor_sync(~0u, best, d));
        int at = (int)~(unsigned)best;
        __syncwarp();
        if (threadIdx.x == 0) {
            values[blockIdx.x * k + j] = row[at];
            indices[blockIdx.x * k + j] = at;
            row[at] = -INFINITY;
        }
        __syncwarp();
    }
}

// Causal attention, one warp per query, online softmax, head size 32.
extern "C" __global__ void attention(float* out, const float* q, const float* k, const float* v, int T, float scale) {
    int t = blockIdx.x * blockDim.y + threadIdx.y, lane = threadIdx.x;
    if (t >= T) return;
    float qi = q[t * 32 + lane] * scale, top = -INFINITY, sum = 0, acc = 0;
    for (int u = 0; u <= t; ++u) {
        float s = qi * k[u * 32 + lane];
        for (int d = 16; d; d >>= 1) s += __shfl_xor_sync(~0u, s, d);
        float next = fmaxf(top, s), keep = __expf(top - next), p = __expf(s - next);
        sum = sum * keep + p;
        acc = acc * keep + p * v[u * 32 + lane];
        top = next;
    }
    out[t * 32 + lane] = acc / sum;
}
