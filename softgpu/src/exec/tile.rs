//! Tiles: a register over a whole warp, seen as 8 rows of 16 bytes (lane = 4 · row + word). Every fragment of `mma` is a
//! list of them: PTX ISA 9.0, 9.7.14.5. A's tiles hold rows of A, B's hold columns of B, both along k, so that a product is
//! one of rows with rows.

use half::f16;

use super::Warp;

/// Columns of a row of C as they lie in vectors here: those of the even register, then those of the odd one.
pub const ORDER: [usize; 8] = [0, 2, 4, 6, 1, 3, 5, 7];

const ALL_LANES: &str = "all 32 threads of the warp must execute it together: is it inside a branch?";
const FULL: &str = "threads of the warp have exited, or the block is not a multiple of 32 threads";

/// An event unless all 32 lanes execute: instructions that are `.aligned` need them.
#[inline(always)]
pub fn whole(w: &mut Warp, name: &str) -> Option<u32> {
    if w.mask == u32::MAX { None } else { Some(part(w, name)) }
}

#[cold]
#[inline(never)]
fn part(w: &mut Warp, name: &str) -> u32 {
    let what = format!("{name}: only lanes {:#x} execute it", w.mask);
    if w.mask == w.live { w.trap(what, FULL, w.mask.trailing_zeros()) } else { w.wait(what, ALL_LANES) }
}

/// An element type of A and B whose products are computed in f32. With `FAST`, AVX2, FMA and F16C are there.
pub trait Narrow {
    const PER_WORD: usize;
    /// A product of two of them is an f32.
    const EXACT: bool;
    /// Widens the 8 rows of a tile; they start `stride` values apart.
    ///
    /// # Safety
    /// `tile` must be one, `out` must have room.
    unsafe fn rows<const FAST: bool>(tile: *const u32, out: *mut f32, stride: usize, format: i64);
    /// Widens a tile's columns: `out[k][j]` is value k of row `ORDER[j]`.
    ///
    /// # Safety
    /// As `rows`.
    unsafe fn columns<const FAST: bool>(tile: *const u32, out: *mut [f32; 8], format: i64);
}

pub struct Half;
pub struct Brain;
pub struct Tf32;
/// e4m3, or e5m2 where `format` is 1.
pub struct Eight;

/// An f16 as f32, without branches. Subnormals come right because the product is exact.
#[inline(always)]
pub fn widen(h: u16) -> f32 {
    let rest = (h as u32 & 0x7fff) << 13;
    let finite = f32::from_bits(rest) * f32::from_bits(0x7780_0000); // 2^112
    let special = 0u32.wrapping_sub((rest >= 0x0f80_0000) as u32) & 0x7f80_0000;
    f32::from_bits(finite.to_bits() | special | (h as u32 & 0x8000) << 16)
}

#[inline(always)]
fn brain(h: u16) -> f32 {
    f32::from_bits((h as u32) << 16)
}

#[inline(always)]
fn tf32(word: u32) -> f32 {
    f32::from_bits(word & 0xffff_e000)
}

/// e4m3: no infinities, NaN is all ones. e5m2: the upper half of an f16.
fn eight(byte: u8, format: i64) -> f32 {
    if format & 1 != 0 {
        return widen((byte as u16) << 8);
    }
    if byte & 0x7f == 0x7f {
        return f32::NAN;
    }
    // As an f16 its exponent is too small by 15 − 7.
    let as_f16 = ((byte as u16) & 0x7f) << 7 | ((byte as u16) & 0x80) << 8;
    widen(as_f16) * 256.0
}

macro_rules! sixteen_bits {
    ($t:ty, $exact:literal, $widen:ident, $fast:ident) => {
        impl Narrow for $t {
            const PER_WORD: usize = 2;
            const EXACT: bool = $exact;
            #[inline(always)]
            unsafe fn rows<const FAST: bool>(tile: *const u32, out: *mut f32, stride: usize, _: i64) {
                // SAFETY: the caller's.
                unsafe {
                    #[cfg(target_arch = "x86_64")]
                    if FAST {
                        return x86::rows(tile, out, stride, x86::$fast);
                    }
                    for row in 0..8 {
                        for k in 0..8 {
                            *out.add(row * stride + k) = $widen(*(tile as *const u16).add(8 * row + k));
                        }
                    }
                }
            }
            #[inline(always)]
            unsafe fn columns<const FAST: bool>(tile: *const u32, out: *mut [f32; 8], _: i64) {
                // SAFETY: the caller's.
                unsafe {
                    #[cfg(target_arch = "x86_64")]
                    if FAST {
                        return x86::columns(tile, out, x86::$fast);
                    }
                    for k in 0..8 {
                        for (j, row) in ORDER.into_iter().enumerate() {
                            (*out.add(k))[j] = $widen(*(tile as *const u16).add(8 * row + k));
                        }
                    }
                }
            }
        }
    };
}
sixteen_bits!(Half, true, widen, half8);
sixteen_bits!(Brain, false, brain, brain8);

impl Narrow for Tf32 {
    const PER_WORD: usize = 1;
    const EXACT: bool = false;
    #[inline(always)]
    unsafe fn rows<const FAST: bool>(tile: *const u32, out: *mut f32, stride: usize, _: i64) {
        for row in 0..8 {
            for k in 0..4 {
                // SAFETY: the caller's.
                unsafe { *out.add(row * stride + k) = tf32(*tile.add(4 * row + k)) };
            }
        }
    }
    #[inline(always)]
    unsafe fn columns<const FAST: bool>(tile: *const u32, out: *mut [f32; 8], _: i64) {
        for k in 0..4 {
            for (j, row) in ORDER.into_iter().enumerate() {
                // SAFETY: the caller's.
                unsafe { (*out.add(k))[j] = tf32(*tile.add(4 * row + k)) };
            }
        }
    }
}

impl Narrow for Eight {
    const PER_WORD: usize = 4;
    const EXACT: bool = true;
    unsafe fn rows<const FAST: bool>(tile: *const u32, out: *mut f32, stride: usize, format: i64) {
        for row in 0..8 {
            for k in 0..16 {
                // SAFETY: the caller's.
                unsafe { *out.add(row * stride + k) = eight(*(tile as *const u8).add(16 * row + k), format) };
            }
        }
    }
    unsafe fn columns<const FAST: bool>(tile: *const u32, out: *mut [f32; 8], format: i64) {
        for k in 0..16 {
            for (j, row) in ORDER.into_iter().enumerate() {
                // SAFETY: the caller's.
                unsafe { (*out.add(k))[j] = eight(*(tile as *const u8).add(16 * row + k), format) };
            }
        }
    }
}

/// The canonical NaNs of the ISA, which products leave whatever NaN went in.
pub const NAN: f32 = f32::from_bits(0x7fff_ffff);
const HALF_NAN: u16 = 0x7fff;

/// Row `row` of an accumulator tile, in [`ORDER`]: f32 from its two registers, f16 from its one.
///
/// # Safety
/// The pointers must be registers.
#[inline(always)]
pub unsafe fn accumulator<const FAST: bool>(even: *const u32, odd: *const u32, row: usize, half: bool) -> [f32; 8] {
    // SAFETY: the caller's.
    unsafe {
        if half {
            let words = *(even.add(4 * row) as *const [u32; 4]);
            #[cfg(target_arch = "x86_64")]
            if FAST {
                return x86::from_halves(words);
            }
            let mut out = [0.0; 8];
            for (t, word) in words.into_iter().enumerate() {
                (out[t], out[t + 4]) = (widen(word as u16), widen((word >> 16) as u16));
            }
            return out;
        }
        #[cfg(target_arch = "x86_64")]
        if FAST {
            return x86::from_singles(even.add(4 * row), odd.add(4 * row));
        }
        let (even, odd) = (*(even.add(4 * row) as *const [f32; 4]), *(odd.add(4 * row) as *const [f32; 4]));
        [even[0], even[1], even[2], even[3], odd[0], odd[1], odd[2], odd[3]]
    }
}

/// Writes such a row back: f16 rounded once, NaN canonical.
///
/// # Safety
/// As [`accumulator`].
#[inline(always)]
pub unsafe fn put_accumulator<const FAST: bool>(
    even: *mut u32,
    odd: *mut u32,
    row: usize,
    half: bool,
    mut value: [f32; 8],
) {
    // SAFETY: the caller's.
    unsafe {
        if half {
            #[cfg(target_arch = "x86_64")]
            if FAST {
                *(even.add(4 * row) as *mut [u32; 4]) = x86::to_halves(value);
                return;
            }
            let narrow = |x: f32| if x.is_nan() { HALF_NAN } else { f16::from_f32(x).to_bits() } as u32;
            for t in 0..4 {
                *even.add(4 * row + t) = narrow(value[t]) | narrow(value[t + 4]) << 16;
            }
            return;
        }
        #[cfg(target_arch = "x86_64")]
        if FAST {
            return x86::to_singles(even.add(4 * row), odd.add(4 * row), value);
        }
        for x in &mut value {
            *x = if x.is_nan() { NAN } else { *x };
        }
        *(even.add(4 * row) as *mut [f32; 4]) = [value[0], value[1], value[2], value[3]];
        *(odd.add(4 * row) as *mut [f32; 4]) = [value[4], value[5], value[6], value[7]];
    }
}

/// Transposes the 8 by 8 tile of 16-bit values whose rows the pointers name.
///
/// # Safety
/// Each pointer must start 16 bytes, `to` a register.
#[inline(always)]
pub unsafe fn transpose(rows: [*const u8; 8], to: *mut u32) {
    // SAFETY: the caller's.
    unsafe {
        #[cfg(target_arch = "x86_64")]
        {
            let columns = x86::transpose(rows.map(|row| std::arch::x86_64::_mm_loadu_si128(row as *const _)));
            for (k, column) in columns.into_iter().enumerate() {
                std::arch::x86_64::_mm_storeu_si128((to as *mut std::arch::x86_64::__m128i).add(k), column);
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        for (j, row) in rows.into_iter().enumerate() {
            for k in 0..8 {
                *(to as *mut u16).add(8 * k + j) = (row as *const u16).add(k).read_unaligned();
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::{HALF_NAN, NAN, ORDER};

    #[target_feature(enable = "avx2,fma,f16c")]
    #[inline]
    pub fn half8(x: __m128i) -> __m256 {
        _mm256_cvtph_ps(x)
    }

    #[target_feature(enable = "avx2,fma,f16c")]
    #[inline]
    pub fn brain8(x: __m128i) -> __m256 {
        _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(x), 16))
    }

    type Widen = unsafe fn(__m128i) -> __m256;

    #[target_feature(enable = "avx2,fma,f16c")]
    #[inline]
    pub unsafe fn rows(tile: *const u32, out: *mut f32, stride: usize, widen: Widen) {
        for row in 0..8 {
            // SAFETY: the caller's.
            unsafe {
                let x = _mm_loadu_si128((tile as *const __m128i).add(row));
                _mm256_storeu_ps(out.add(row * stride), widen(x));
            }
        }
    }

    #[target_feature(enable = "avx2,fma,f16c")]
    #[inline]
    pub unsafe fn columns(tile: *const u32, out: *mut [f32; 8], widen: Widen) {
        // SAFETY: the caller's.
        unsafe {
            let row = |j: usize| _mm_loadu_si128((tile as *const __m128i).add(ORDER[j]));
            let columns = transpose([row(0), row(1), row(2), row(3), row(4), row(5), row(6), row(7)]);
            for (k, column) in columns.into_iter().enumerate() {
                _mm256_storeu_ps(out.add(k) as *mut f32, widen(column));
            }
        }
    }

    /// 8 by 8 values of 16 bits. SSE2, which every x86-64 has.
    #[inline(always)]
    pub fn transpose(r: [__m128i; 8]) -> [__m128i; 8] {
        // SAFETY: SSE2 alone.
        unsafe {
            let low = |k: usize| _mm_unpacklo_epi16(r[k], r[k + 1]);
            let high = |k: usize| _mm_unpackhi_epi16(r[k], r[k + 1]);
            let pairs = [low(0), high(0), low(2), high(2), low(4), high(4), low(6), high(6)];
            let low = |k: usize| _mm_unpacklo_epi32(pairs[k], pairs[k + 2]);
            let high = |k: usize| _mm_unpackhi_epi32(pairs[k], pairs[k + 2]);
            let top = [low(0), high(0), low(1), high(1)];
            let bottom = [low(4), high(4), low(5), high(5)];
            let low = |k: usize| _mm_unpacklo_epi64(top[k], bottom[k]);
            let high = |k: usize| _mm_unpackhi_epi64(top[k], bottom[k]);
            [low(0), high(0), low(1), high(1), low(2), high(2), low(3), high(3)]
        }
    }

    /// Whole vectors, so that what is stored is loaded again at the same width.
    #[target_feature(enable = "avx2,fma,f16c")]
    #[inline]
    pub unsafe fn from_singles(even: *const u32, odd: *const u32) -> [f32; 8] {
        // SAFETY: the caller's; a plain copy of equal size.
        unsafe {
            let (even, odd) = (_mm_loadu_ps(even as *const f32), _mm_loadu_ps(odd as *const f32));
            std::mem::transmute(_mm256_set_m128(odd, even))
        }
    }

    #[target_feature(enable = "avx2,fma,f16c")]
    #[inline]
    pub unsafe fn to_singles(even: *mut u32, odd: *mut u32, values: [f32; 8]) {
        // SAFETY: as above.
        unsafe {
            let values: __m256 = std::mem::transmute(values);
            let nan = _mm256_cmp_ps(values, values, _CMP_UNORD_Q);
            let values = _mm256_blendv_ps(values, _mm256_set1_ps(NAN), nan);
            _mm_storeu_ps(even as *mut f32, _mm256_castps256_ps128(values));
            _mm_storeu_ps(odd as *mut f32, _mm256_extractf128_ps(values, 1));
        }
    }

    /// Four pairs of f16: the low ones, then the high ones.
    #[target_feature(enable = "avx2,fma,f16c")]
    #[inline]
    pub fn from_halves(words: [u32; 4]) -> [f32; 8] {
        // SAFETY: plain copies of equal size.
        unsafe {
            let words: __m128i = std::mem::transmute(words);
            let apart = _mm_shuffle_epi8(words, _mm_setr_epi8(0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15));
            std::mem::transmute(_mm256_cvtph_ps(apart))
        }
    }

    #[target_feature(enable = "avx2,fma,f16c")]
    #[inline]
    pub fn to_halves(values: [f32; 8]) -> [u32; 4] {
        // SAFETY: plain copies of equal size.
        unsafe {
            let values: __m256 = std::mem::transmute(values);
            let narrow = _mm256_cvtps_ph(values, _MM_FROUND_TO_NEAREST_INT);
            let nan = _mm_cmpgt_epi16(_mm_and_si128(narrow, _mm_set1_epi16(0x7fff)), _mm_set1_epi16(0x7c00));
            let narrow = _mm_blendv_epi8(narrow, _mm_set1_epi16(HALF_NAN as i16), nan);
            std::mem::transmute(_mm_unpacklo_epi16(narrow, _mm_srli_si128(narrow, 8)))
        }
    }
}
