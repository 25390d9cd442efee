// Elementwise kernels: guarded and grid-stride loops, vector types (float4, double2, uchar4, short2), 8- and 16-bit
// data, structs by value of odd sizes, launch bounds, streaming loads and stores, template instances.
#include <cuda_runtime.h>
#include <stdint.h>

extern "C" __global__ void vector_add(const float* a, const float* b, float* c, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) c[i] = a[i] + b[i];
}

extern "C" __global__ void saxpy(int n, float a, const float* __restrict__ x, float* __restrict__ y) {
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += blockDim.x * gridDim.x) y[i] = a * x[i] + y[i];
}

// n4 vectors of four, then the tail by the first threads.
extern "C" __global__ void scale_float4(float* y, const float* x, float s, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x, n4 = n / 4;
    if (i < n4) {
        float4 v = reinterpret_cast<const float4*>(x)[i];
        v.x *= s; v.y *= s; v.z *= s; v.w *= s;
        reinterpret_cast<float4*>(y)[i] = v;
    }
    if (i < n % 4) y[4 * n4 + i] = x[4 * n4 + i] * s;
}

extern "C" __global__ void complex_multiply(double2* out, const double2* a, const double2* b, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    double2 x = a[i], y = b[i];
    out[i] = make_double2(x.x * y.x - x.y * y.y, x.x * y.y + x.y * y.x);
}

// Luma of RGBA, BT.601 in 8 bits; alpha is kept.
extern "C" __global__ void rgba_to_grey(uchar4* out, const uchar4* in, int width, int height) {
    int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;
    if (x >= width || y >= height) return;
    uchar4 p = in[y * width + x];
    unsigned char g = (unsigned char)((77 * p.x + 150 * p.y + 29 * p.z + 128) >> 8);
    out[y * width + x] = make_uchar4(g, g, g, p.w);
}

// Interleaved 16-bit stereo: swap the channels, halve, saturate the sum into the second.
extern "C" __global__ void stereo_mix(short2* s, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    short2 v = s[i];
    int sum = v.x + v.y;
    s[i] = make_short2(v.y / 2, (short)(sum > 32767 ? 32767 : sum < -32768 ? -32768 : sum));
}

extern "C" __global__ void bytes_histogram_step(const int8_t* a, const uint8_t* b, int16_t* out, uint16_t* mask,
                                                int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    out[i] = (int16_t)(a[i] * (int)b[i] >> 3);
    mask[i] = (uint16_t)((a[i] < 0) | (b[i] > 200) << 1 | (uint16_t)((uint8_t)a[i] ^ b[i]) << 8);
}

// Structs by value: 12 bytes aligned to 4, 7 bytes aligned to 1, 40 bytes aligned to 16, an array inside.
struct Affine { float scale, shift; int n; };
struct __attribute__((packed)) Flags { uint8_t invert; uint16_t mask; uint32_t seed; };
struct alignas(16) Table { float4 row; int offsets[6]; };
extern "C" __global__ void struct_params(float* out, const float* in, Affine f, Flags g, Table t, char last) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= f.n) return;
    float v = f.scale * in[i] + f.shift;
    if (g.invert) v = -v;
    v += (float)((g.seed >> (i & 7)) & g.mask);
    int j = t.offsets[i % 6];                 // dynamic index into a parameter: a local copy
    out[i] = v + (&t.row.x)[j & 3] + (float)last;
}

extern "C" __global__ void __launch_bounds__(128, 4) streaming_copy(float4* dst, const float4* src, float* last,
                                                                    const float* ro, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    float4 v = __ldcs(src + i);
    float w = __ldg(ro + i) + __ldca(ro + i) + __ldcg(ro + i) + __ldlu(ro + i) + __ldcv(ro + i);
    __stcs(dst + i, v);
    __stcg(last + i, w);
    if (i == 0) { __stwt(last + n, 1.0f); __stwb(last + n + 1, 2.0f); }
}

template <typename T, int UNROLL>
__device__ void clamp_body(T* x, T low, T high, int n) {
    int base = (blockIdx.x * blockDim.x + threadIdx.x) * UNROLL;
#pragma unroll
    for (int u = 0; u < UNROLL; ++u) {
        if (base + u < n) { T v = x[base + u]; x[base + u] = v < low ? low : (v > high ? high : v); }
    }
}
template <typename T> __global__ void clamp_kernel(T* x, T low, T high, int n) { clamp_body<T, 4>(x, low, high, n); }
template __global__ void clamp_kernel<float>(float*, float, float, int);
template __global__ void clamp_kernel<long long>(long long*, long long, long long, int);
template __global__ void clamp_kernel<unsigned char>(unsigned char*, unsigned char, unsigned char, int);

// Three-dimensional indices and grid: out[z][y][x] = linear thread id in the grid.
extern "C" __global__ void indices_3d(uint32_t* out) {
    uint32_t x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;
    uint32_t z = blockIdx.z * blockDim.z + threadIdx.z, w = gridDim.x * blockDim.x, h = gridDim.y * blockDim.y;
    uint32_t t = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
    out[(z * h + y) * w + x] = t | (blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z)) << 16;
}

// Mandelbrot iterations.
extern "C" __global__ void mandelbrot(uint16_t* out, int width, int height, double x0, double y0, double step,
                                      int limit) {
    int px = blockIdx.x * blockDim.x + threadIdx.x, py = blockIdx.y * blockDim.y + threadIdx.y;
    if (px >= width || py >= height) return;
    double cx = x0 + px * step, cy = y0 + py * step, x = 0, y = 0;
    int k = 0;
    while (k < limit && x * x + y * y <= 4.0) {
        double t = x * x - y * y + cx;
        y = 2 * x * y + cy;
        x = t;
        ++k;
    }
    out[py * width + px] = (uint16_t)k;
}

// Conway's game of life on a torus.
extern "C" __global__ void game_of_life(uint8_t* next, const uint8_t* now, int width, int height) {
    int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;
    if (x >= width || y >= height) return;
    int sum = 0;
    for (int dy = -1; dy <= 1; ++dy)
        for (int dx = -1; dx <= 1; ++dx)
            if (dx || dy) sum += now[(y + dy + height) % height * width + (x + dx + width) % width];
    next[y * width + x] = sum == 3 || (sum == 2 && now[y * width + x]);
}
