// What `benches/speed.rs` times: kernels as one finds them in CUDA code, nothing tuned for softgpu.
// The bench reads kernels.ptx, made from this file in the folder above with
//     nvcc -O3 -gencode arch=compute_80,code=compute_80 -ptx -o benches/kernels.ptx benches/kernels.cu

__device__ float warp_sum(float v) {
    for (int step = 16; step > 0; step /= 2) v += __shfl_xor_sync(0xffffffffu, v, step);
    return v;
}

// y = γ·(x − μ)/√(σ² + ε) + β for each row of x [rows, C]; one warp per row, 4 divides C.
extern "C" __global__ void layernorm_fwd(float* __restrict__ y, float* __restrict__ mean, float* __restrict__ rstd,
                                         const float* __restrict__ x, const float* __restrict__ gamma,
                                         const float* __restrict__ beta, int rows, int C, float eps) {
    int row = blockIdx.x * blockDim.y + threadIdx.y, lane = threadIdx.x;
    if (row >= rows) return;
    const float4* in = reinterpret_cast<const float4*>(x + (size_t)row * C);
    float sum = 0.0f;
    for (int c = lane; c < C / 4; c += 32) {
        float4 v = in[c];
        sum += (v.x + v.y) + (v.z + v.w);
    }
    float m = warp_sum(sum) / C, squares = 0.0f;
    for (int c = lane; c < C / 4; c += 32) {
        float4 v = in[c];
        v.x -= m, v.y -= m, v.z -= m, v.w -= m;
        squares += (v.x * v.x + v.y * v.y) + (v.z * v.z + v.w * v.w);
    }
    float r = rsqrtf(warp_sum(squares) / C + eps);
    float4* out = reinterpret_cast<float4*>(y + (size_t)row * C);
    for (int c = lane; c < C / 4; c += 32) {
        float4 v = in[c], g = reinterpret_cast<const float4*>(gamma)[c], b = reinterpret_cast<const float4*>(beta)[c];
        v.x = (v.x - m) * r * g.x + b.x, v.y = (v.y - m) * r * g.y + b.y;
        v.z = (v.z - m) * r * g.z + b.z, v.w = (v.w - m) * r * g.w + b.w;
        out[c] = v;
    }
    if (lane == 0) mean[row] = m, rstd[row] = r;
}

__device__ float adamw(float& m, float& v, float p, float g, float lr, float beta1, float beta2, float eps, float decay,
                       float correction1, float correction2) {
    m = beta1 * m + (1.0f - beta1) * g;
    v = beta2 * v + (1.0f - beta2) * g * g;
    return p - lr * (m * correction1 / (sqrtf(v * correction2) + eps) + decay * p);
}

// AdamW (Loshchilov and Hutter 2019, arXiv:1711.05101) over n parameters, four per thread; 4 divides n.
// correction = 1/(1 − βᵗ).
extern "C" __global__ void adamw_fused(float* p, const float* __restrict__ grad, float* m, float* v, int n, float lr,
                                       float beta1, float beta2, float eps, float decay, float correction1,
                                       float correction2) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n / 4) return;
    float4 p4 = reinterpret_cast<float4*>(p)[i], m4 = reinterpret_cast<float4*>(m)[i];
    float4 v4 = reinterpret_cast<float4*>(v)[i], g4 = reinterpret_cast<const float4*>(grad)[i];
    p4.x = adamw(m4.x, v4.x, p4.x, g4.x, lr, beta1, beta2, eps, decay, correction1, correction2);
    p4.y = adamw(m4.y, v4.y, p4.y, g4.y, lr, beta1, beta2, eps, decay, correction1, correction2);
    p4.z = adamw(m4.z, v4.z, p4.z, g4.z, lr, beta1, beta2, eps, decay, correction1, correction2);
    p4.w = adamw(m4.w, v4.w, p4.w, g4.w, lr, beta1, beta2, eps, decay, correction1, correction2);
    reinterpret_cast<float4*>(p)[i] = p4;
    reinterpret_cast<float4*>(m)[i] = m4;
    reinterpret_cast<float4*>(v)[i] = v4;
}

// out = a·x + y, one element per thread.
extern "C" __global__ void axpy(float* __restrict__ out, const float* __restrict__ x, const float* __restrict__ y,
                                float a, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) out[i] = a * x[i] + y[i];
}

// The same, four elements per thread; 4 divides n.
extern "C" __global__ void axpy4(float4* __restrict__ out, const float4* __restrict__ x, const float4* __restrict__ y,
                                 float a, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n / 4) return;
    float4 u = x[i], v = y[i];
    out[i] = make_float4(a * u.x + v.x, a * u.y + v.y, a * u.z + v.z, a * u.w + v.w);
}
