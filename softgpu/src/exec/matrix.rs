//! Matrix products of a warp in floating point: `mma` and `wmma.mma`. PTX ISA 9.0, 9.7.14.
//!
//! Numerics. D = A·B + C is one chain of fused multiply-adds in f32 per element, from C upwards in k: each product is exact
//! and each of the K sums is rounded once, to nearest even. The ISA asks for products and sums of at least single
//! precision (half where both C and D are f16) and leaves order, rounding and subnormals open; tensor cores align a few
//! products at a time to the largest and cut off what lies below (Fasi et al. 2021, doi:10.7717/peerj-cs.330), which may lose
//! more per sum than a rounding does. A chain is what a plain loop computes, is the same on every machine here, and keeps
//! subnormals. With f16 accumulators the sums are still f32, and rounded once. NaN results are canonical (0x7fffffff).
//!
//! Without FMA instructions the product is a separate operation: exact for f16 in any case, and for bf16 and tf32 unless
//! exponents run out of f32's range, in which case the chain is computed in software.

use std::mem::MaybeUninit;

use super::tile::{Brain, Eight, Half, Narrow, Tf32, accumulator, put_accumulator, whole};
use super::{List, NEXT, Warp, Wide, WideFn};

/// Flags of the first constant: which accumulators are f16, whether results are kept finite, and the 8-bit formats.
pub const HALF_C: i64 = 1;
pub const HALF_D: i64 = 2;
pub const FINITE: i64 = 4;
pub const FORMAT_A: u32 = 3;
pub const FORMAT_B: u32 = 4;

/// Makes the copies of a wide body for the three levels; its last parameter says whether AVX2, FMA and F16C are there.
macro_rules! wide_levels {
    ($body:ident [$($generic:ty),*] [$($value:expr),*]) => {{
        use $crate::exec::{List, Warp, WideFn};
        unsafe fn baseline(w: &mut Warp, list: &List, r: *mut u8) -> u32 {
            // SAFETY: the decoder has given the operands registers of the kinds that the body reads.
            unsafe { $body::<$($generic,)* $({ $value },)* false>(w, list, r) }
        }
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx2,fma,f16c,bmi1,bmi2,lzcnt,popcnt")]
        unsafe fn avx2(w: &mut Warp, list: &List, r: *mut u8) -> u32 {
            // SAFETY: as above; `Level::detect` has found the features.
            unsafe { $body::<$($generic,)* $({ $value },)* true>(w, list, r) }
        }
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c,bmi1,bmi2,lzcnt,popcnt")]
        unsafe fn avx512(w: &mut Warp, list: &List, r: *mut u8) -> u32 {
            // SAFETY: as above.
            unsafe { $body::<$($generic,)* $({ $value },)* true>(w, list, r) }
        }
        #[cfg(target_arch = "x86_64")]
        { [baseline as WideFn, avx2 as WideFn, avx512 as WideFn] }
        #[cfg(not(target_arch = "x86_64"))]
        { [baseline as WideFn; 3] }
    }};
}
pub(crate) use wide_levels;

/// A matrix instruction: all lanes wait for each other.
pub const fn collective(name: &'static str, run: [WideFn; 3]) -> Wide {
    Wide { name, run, waits: true, strong: false }
}

/// Most rows of A, columns of B in eights, and rows of 8 accumulators.
const ROWS: usize = 32;
const EIGHTS: usize = 4;

/// D = A·B + C for M by N by K; registers D, A, B, C. Tiles of A: two of 8 rows (one if M is 8), then along k, then the
/// next 16 rows; of B: along k, then the next 8 columns; of C: likewise, 16 rows by 8 columns at a time.
#[inline(always)]
unsafe fn product<T: Narrow, const M: usize, const N: usize, const K: usize, const FAST: bool>(
    w: &mut Warp,
    list: &List,
    r: *mut u8,
) -> u32 {
    if let Some(event) = whole(w, "mma") {
        return event;
    }
    let flags = list.imms[0];
    let (half_c, half_d) = (flags & HALF_C != 0, flags & HALF_D != 0);
    let tiles = K / (4 * T::PER_WORD); // along k
    let high = if M == 8 { 1 } else { 2 }; // tiles of 8 rows in a block of accumulators
    let count = |half: bool| M * N / if half { 64 } else { 32 };
    let (of_d, of_a, of_b) = (count(half_d), M / 8 * tiles, N / 8 * tiles);
    let regs = list.regs.as_ptr();
    let mut a = MaybeUninit::<[[f32; K]; ROWS]>::uninit();
    let mut b = MaybeUninit::<[[[f32; 8]; K]; EIGHTS]>::uninit();
    let mut sums = MaybeUninit::<[[f32; 8]; ROWS]>::uninit();
    let (a, b, sums) =
        (a.as_mut_ptr() as *mut f32, b.as_mut_ptr() as *mut [f32; 8], sums.as_mut_ptr() as *mut [f32; 8]);
    // SAFETY: the decoder has given as many registers as the loops count, and they stay inside the three arrays
    // (M · N ≤ 256); everything read has been written before.
    unsafe {
        let register = |at: usize| r.add(*regs.add(at) as usize) as *mut u32;
        for tile in 0..of_a {
            let (block, k, row) = (tile / (high * tiles), tile / high % tiles, tile % high);
            let out = a.add((16 * block + 8 * row) * K + k * 4 * T::PER_WORD);
            T::rows::<FAST>(register(of_d + tile), out, K, flags >> FORMAT_A);
        }
        for tile in 0..of_b {
            T::columns::<FAST>(register(of_d + of_a + tile), b.add(tile * 4 * T::PER_WORD), flags >> FORMAT_B);
        }
        // Tile by tile of 8 rows and 8 columns.
        let eights = (0..N / 8).flat_map(|n| (0..M / 8).map(move |m| (m, n)));
        let place = |m: usize, n: usize, half: bool, from: usize| {
            let block = m / 2 * (N / 8) + n;
            let at = from + (block * high + m % high) * if half { 1 } else { 2 };
            (register(at), register(if half { at } else { at + 1 }))
        };
        for (m, n) in eights.clone() {
            let (even, odd) = place(m, n, half_c, of_d + of_a + of_b);
            let to = sums.add(n * M + 8 * m);
            if half_c {
                (0..8).for_each(|row| *to.add(row) = accumulator::<FAST>(even, odd, row, true));
            } else {
                (0..8).for_each(|row| *to.add(row) = accumulator::<FAST>(even, odd, row, false));
            }
        }
        // Left to itself, the compiler keeps A in vectors and takes values out by shuffles, which cost more than loads.
        let a = std::hint::black_box(a);
        for n in 0..N / 8 {
            multiply::<T, M, K, FAST>(a, b.add(n * K), sums.add(n * M));
        }
        if flags & FINITE != 0 {
            (0..M * N / 8).for_each(|row| *sums.add(row) = (*sums.add(row)).map(|x| finite(x, half_d)));
        }
        for (m, n) in eights {
            let (even, odd) = place(m, n, half_d, 0);
            let from = sums.add(n * M + 8 * m);
            if half_d {
                (0..8).for_each(|row| put_accumulator::<FAST>(even, odd, row, true, *from.add(row)));
            } else {
                (0..8).for_each(|row| put_accumulator::<FAST>(even, odd, row, false, *from.add(row)));
            }
        }
    }
    NEXT
}

/// `.satfinite`: infinities become the largest number, NaN +0.
#[cold]
fn finite(x: f32, half: bool) -> f32 {
    let largest = if half { 65504.0 } else { f32::MAX };
    if x.is_nan() { 0.0 } else { x.clamp(-largest, largest) }
}

/// Adds to M rows of 8 sums the products of M rows of A with 8 columns of B.
///
/// # Safety
/// A is M by K, B K by 8, there are M rows of sums.
#[inline(always)]
unsafe fn multiply<T: Narrow, const M: usize, const K: usize, const FAST: bool>(
    a: *const f32,
    b: *const [f32; 8],
    sums: *mut [f32; 8],
) {
    // SAFETY: the caller's.
    unsafe {
        #[cfg(target_arch = "x86_64")]
        if FAST {
            return multiply_fma::<M, K>(a, b, sums);
        }
        let exact = T::EXACT || {
            let (low_a, high_a) = exponents(std::slice::from_raw_parts(a, M * K));
            let (low_b, high_b) = exponents(std::slice::from_raw_parts(b as *const f32, 8 * K));
            // A product of 22 bits and 2^−100 at least keeps them all, even if one factor is subnormal (and so up to 23
            // exponents lower than it says); one below 2^127 is not infinite.
            low_a + low_b >= 254 - 100 && high_a + high_b < 254 + 126
        };
        for m in 0..M {
            let mut row = *sums.add(m);
            for k in 0..K {
                let (x, b) = (*a.add(m * K + k), *b.add(k));
                if exact {
                    for (sum, y) in row.iter_mut().zip(b) {
                        *sum += x * y;
                    }
                } else {
                    for (sum, y) in row.iter_mut().zip(b) {
                        *sum = x.mul_add(y, *sum);
                    }
                }
            }
            *sums.add(m) = row;
        }
    }
}

/// The least and greatest biased exponent, zeros aside; 0 stands for subnormals, 510 for infinities and NaN.
fn exponents(values: &[f32]) -> (u32, u32) {
    let all = values.iter().map(|x| x.to_bits() & 0x7fff_ffff).filter(|&bits| bits != 0).map(|bits| bits >> 23);
    let (low, high) = all.fold((255, 0), |(low, high): (u32, u32), e| (low.min(e), high.max(e)));
    (low, if high == 255 { 510 } else { high })
}

/// Eight rows at a time, their sums in registers: 8 · K fused multiply-adds of 8 lanes.
///
/// # Safety
/// As [`multiply`].
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
unsafe fn multiply_fma<const M: usize, const K: usize>(a: *const f32, b: *const [f32; 8], sums: *mut [f32; 8]) {
    use std::arch::x86_64::*;
    for m in (0..M).step_by(8) {
        // SAFETY: the caller's; M is a multiple of 8.
        unsafe {
            let mut rows = [_mm256_setzero_ps(); 8];
            for (i, row) in rows.iter_mut().enumerate() {
                *row = _mm256_loadu_ps(sums.add(m + i) as *const f32);
            }
            for k in 0..K {
                let column = _mm256_loadu_ps(b.add(k) as *const f32);
                for (i, row) in rows.iter_mut().enumerate() {
                    *row = _mm256_fmadd_ps(_mm256_broadcast_ss(&*a.add((m + i) * K + k)), column, *row);
                }
            }
            for (i, row) in rows.into_iter().enumerate() {
                _mm256_storeu_ps(sums.add(m + i) as *mut f32, row);
            }
        }
    }
}

/// `mma` and `wmma.mma` in f32, by the type of A and the shape.
pub fn floating(ty: &str, shape: (usize, usize, usize)) -> Option<&'static Wide> {
    macro_rules! table {
        ($($ty:literal $name:ident $m:literal $n:literal $k:literal;)*) => {
            match (ty, shape) {
                $(($ty, ($m, $n, $k)) => {
                    static WIDE: Wide = collective("mma", wide_levels!(product [$name] [$m, $n, $k]));
                    Some(&WIDE)
                })*
                _ => None,
            }
        };
    }
    table! {
        "f16" Half 16 8 8;
        "f16" Half 16 8 16;
        "f16" Half 16 16 16;
        "f16" Half 8 32 16;
        "f16" Half 32 8 16;
        "bf16" Brain 16 8 8;
        "bf16" Brain 16 8 16;
        "bf16" Brain 16 16 16;
        "bf16" Brain 8 32 16;
        "bf16" Brain 32 8 16;
        "tf32" Tf32 16 8 4;
        "tf32" Tf32 16 8 8;
        "tf32" Tf32 16 16 8;
        "f8" Eight 16 8 16;
        "f8" Eight 16 8 32;
    }
}
