// Integer intrinsics and wide arithmetic: bit counts, byte permutes, funnel shifts, 24-bit and high products, dot
// products, sums of absolute differences, video SIMD, 64-bit division, 128-bit carries, saturation.
#include <stdint.h>

extern "C" __global__ void bits_32(uint32_t* out, const uint32_t* a, const uint32_t* b, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    uint32_t x = a[i], y = b[i], *o = out + 32 * i;
    o[0] = __popc(x); o[1] = __clz(x); o[2] = __brev(x); o[3] = __ffs(x);
    o[4] = __funnelshift_l(x, y, y);
    o[5] = __funnelshift_r(x, y, y);
    o[6] = __funnelshift_lc(x, y, y);
    o[7] = __funnelshift_rc(x, y, y);
    o[8] = __byte_perm(x, y, 0x3175); o[9] = __byte_perm(x, y, y); o[10] = __mul24(x, y); o[11] = __umul24(x, y);
    o[12] = __umulhi(x, y); o[13] = __mulhi((int)x, (int)y); o[14] = __sad((int)x, (int)y, 7); o[15] = __usad(x, y, 9);
    o[16] = __hadd((int)x, (int)y); o[17] = __rhadd((int)x, (int)y); o[18] = __uhadd(x, y); o[19] = __urhadd(x, y);
    o[20] = x << (y & 31) | x >> (32 - (y & 31) & 31); o[21] = y ? x / y : 0; o[22] = y ? x % y : 1;
    o[23] = (int)y > 0 ? (uint32_t)((int)x / (int)y) : 2; o[24] = (int)y > 0 ? (uint32_t)((int)x % (int)y) : 3;
    o[25] = x / 7; o[26] = (uint32_t)((int)x / -10); o[27] = (x >> 5) & 0x3ff; o[28] = (uint32_t)((int)(x << 12) >> 20);
    o[29] = (uint32_t)abs((int)x); o[30] = min(x, y) - max((int)x, (int)y); o[31] = ~x & y | (x ^ y) & 0xff;
}

extern "C" __global__ void bits_64(uint64_t* out, const uint64_t* a, const uint64_t* b, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    uint64_t x = a[i], y = b[i], *o = out + 16 * i;
    o[0] = __popcll(x); o[1] = __clzll(x); o[2] = __brevll(x); o[3] = __ffsll(x);
    o[4] = __umul64hi(x, y); o[5] = (uint64_t)__mul64hi((long long)x, (long long)y);
    o[6] = y ? x / y : 0; o[7] = y ? x % y : 0;
    o[8] = y ? (uint64_t)((int64_t)x / ((int64_t)y | 1)) : 0; o[9] = y ? (uint64_t)((int64_t)x % ((int64_t)y | 1)) : 0;
    o[10] = x << (y & 63) | x >> (64 - (y & 63) & 63); o[11] = (uint64_t)((int64_t)x >> (y & 63));
    o[12] = x / 1000003; o[13] = min(x, y) ^ (uint64_t)max((int64_t)x, (int64_t)y); o[14] = (uint64_t)llabs((int64_t)x);
    o[15] = (uint32_t)x * (uint64_t)(uint32_t)y + (uint64_t)((int64_t)(int32_t)x * (int32_t)y);
}

// 128 bits: sum, difference, product, quotient by a 64-bit divisor, shifts, comparison.
extern "C" __global__ void bits_128(unsigned __int128* out, const unsigned __int128* a, const unsigned __int128* b,
                                    int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    unsigned __int128 x = a[i], y = b[i], *o = out + 8 * i;
    o[0] = x + y; o[1] = x - y; o[2] = x * y; o[3] = x / (y | 1); o[4] = x % (y | 1);
    o[5] = x << (int)(y & 127);
    o[6] = (unsigned __int128)((__int128)x >> (int)(y & 127));
    o[7] = x < y ? (__int128)x < (__int128)y : 2 + (x == y);
}

// Big integers of 8 words by inline carry chains: sum, difference, product row.
extern "C" __global__ void carry_chains(uint32_t* out, const uint32_t* a, const uint32_t* b, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    const uint32_t *x = a + 4 * i, *y = b + 4 * i;
    uint32_t r[5], *o = out + 15 * i;
    asm("add.cc.u32 %0,%5,%9; addc.cc.u32 %1,%6,%10; addc.cc.u32 %2,%7,%11; addc.cc.u32 %3,%8,%12; addc.u32 %4,0,0;"
        : "=&r"(r[0]), "=&r"(r[1]), "=&r"(r[2]), "=&r"(r[3]), "=&r"(r[4])
        : "r"(x[0]), "r"(x[1]), "r"(x[2]), "r"(x[3]), "r"(y[0]), "r"(y[1]), "r"(y[2]), "r"(y[3]));
    for (int j = 0; j < 5; ++j) o[j] = r[j];
    asm("sub.cc.u32 %0,%5,%9; subc.cc.u32 %1,%6,%10; subc.cc.u32 %2,%7,%11; subc.cc.u32 %3,%8,%12; subc.u32 %4,0,0;"
        : "=&r"(r[0]), "=&r"(r[1]), "=&r"(r[2]), "=&r"(r[3]), "=&r"(r[4])
        : "r"(x[0]), "r"(x[1]), "r"(x[2]), "r"(x[3]), "r"(y[0]), "r"(y[1]), "r"(y[2]), "r"(y[3]));
    for (int j = 0; j < 5; ++j) o[5 + j] = r[j];
    uint32_t m = y[0];
    asm("mul.lo.u32 %0,%5,%9; mul.lo.u32 %1,%6,%9; mad.hi.cc.u32 %1,%5,%9,%1; mul.lo.u32 %2,%7,%9; madc.hi.cc.u32 "
        "%2,%6,%9,%2;"
        "mul.lo.u32 %3,%8,%9; madc.hi.cc.u32 %3,%7,%9,%3; madc.hi.u32 %4,%8,%9,0;"
        : "=&r"(r[0]), "=&r"(r[1]), "=&r"(r[2]), "=&r"(r[3]), "=&r"(r[4])
        : "r"(x[0]), "r"(x[1]), "r"(x[2]), "r"(x[3]), "r"(m));
    for (int j = 0; j < 5; ++j) o[10 + j] = r[j];
}

extern "C" __global__ void dot_products(int* out, const int* a, const int* b, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    int x = a[i], y = b[i], *o = out + 6 * i;
    o[0] = __dp4a(x, y, 100); o[1] = (int)__dp4a((unsigned)x, (unsigned)y, 100u);
    o[2] = __dp2a_lo(x, y, -5); o[3] = __dp2a_hi(x, y, -5);
    o[4] = (int)__dp2a_lo((unsigned)x, (unsigned)y, 5u); o[5] = (int)__dp2a_hi((unsigned)x, (unsigned)y, 5u);
}

// The SIMD-in-a-word intrinsics of image code.
extern "C" __global__ void video_simd(uint32_t* out, const uint32_t* a, const uint32_t* b, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    uint32_t x = a[i], y = b[i], *o = out + 14 * i;
    o[0] = __vadd4(x, y);
    o[1] = __vsub2(x, y);
    o[2] = __vaddus4(x, y);
    o[3] = __vabsdiffu4(x, y);
    o[4] = __vsadu4(x, y);
    o[5] = __vmaxs2(x, y);
    o[6] = __vminu4(x, y);
    o[7] = __vcmpgtu4(x, y);
    o[8] = __vavgu4(x, y);
    o[9] = __vabs2(x);
    o[10] = __vsetltu4(x, y);
    o[11] = __vaddss2(x, y);
    o[12] = __vsadu2(x, y);
    o[13] = __vsads2(x, y);
}

// Inline PTX that the compiler never emits by itself, but people write.
extern "C" __global__ void inline_ptx(uint32_t* out, const uint32_t* a, const uint32_t* b, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    uint32_t x = a[i], y = b[i], *o = out + 16 * i;
    asm("bfe.u32 %0, %1, %2, %3;" : "=r"(o[0]) : "r"(x), "r"(y & 255), "r"(y >> 8 & 255));
    asm("bfe.s32 %0, %1, %2, %3;" : "=r"(o[1]) : "r"(x), "r"(y & 255), "r"(y >> 8 & 255));
    asm("bfi.b32 %0, %1, %2, %3, %4;" : "=r"(o[2]) : "r"(x), "r"(y), "r"(x >> 3 & 63), "r"(y & 63));
    asm("bfind.u32 %0, %1;" : "=r"(o[3]) : "r"(x));
    asm("bfind.s32 %0, %1;" : "=r"(o[4]) : "r"(x));
    asm("bfind.shiftamt.u32 %0, %1;" : "=r"(o[5]) : "r"(x));
    asm("lop3.b32 %0, %1, %2, %3, 0xca;" : "=r"(o[6]) : "r"(x), "r"(y), "r"(x + y));
    asm("cnot.b32 %0, %1;" : "=r"(o[7]) : "r"(x & 1));
    asm("prmt.b32.f4e %0, %1, %2, %3;" : "=r"(o[8]) : "r"(x), "r"(y), "r"(y));
    asm("prmt.b32.rc16 %0, %1, %2, %3;" : "=r"(o[9]) : "r"(x), "r"(y), "r"(y));
    asm("set.lt.u32.s32 %0, %1, %2;" : "=r"(o[10]) : "r"(x), "r"(y));
    asm("slct.u32.s32 %0, %1, %2, %3;" : "=r"(o[11]) : "r"(x), "r"(y), "r"(x ^ y));
    asm("add.sat.s32 %0, %1, %2;" : "=r"(o[12]) : "r"(x), "r"(y));
    asm("sub.sat.s32 %0, %1, %2;" : "=r"(o[13]) : "r"(x), "r"(y));
    asm("mad.hi.s32 %0, %1, %2, %3;" : "=r"(o[14]) : "r"(x), "r"(y), "r"(x));
    uint32_t which = 3;
    asm("{.reg .pred p,q,s; setp.ne.u32 s, %2, 7; setp.gt.and.u32 p|q, %1, %2, s; @p mov.u32 %0, 1; @q mov.u32 %0, 2;}"
        : "+r"(which)
        : "r"(x), "r"(y));
    o[15] = which;
}

// Saturating narrowing, as image and quantisation code writes it.
extern "C" __global__ void saturate_narrow(int8_t* s8, uint8_t* u8, int16_t* s16, uint16_t* u16, const int* in, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    int v = in[i];
    int r;
    asm("cvt.sat.s8.s32 %0, %1;" : "=r"(r) : "r"(v));
    s8[i] = (int8_t)r;
    asm("cvt.sat.u8.s32 %0, %1;" : "=r"(r) : "r"(v));
    u8[i] = (uint8_t)r;
    asm("{.reg .s16 t; cvt.sat.s16.s32 t, %1; cvt.s32.s16 %0, t;}" : "=r"(r) : "r"(v));
    s16[i] = (int16_t)r;
    asm("{.reg .u16 t; cvt.sat.u16.s32 t, %1; cvt.u32.u16 %0, t;}" : "=r"(r) : "r"(v));
    u16[i] = (uint16_t)r;
}
