//! Four values per lane in memory, four registers here: as few shuffles as each level has instructions for.

use super::{LANES, Level};

/// Fills the first `lanes` of the registers, and some that follow.
///
/// # Safety
/// `from` must start 32 rows, `parts` must be registers, and the machine must have what the level needs.
#[inline(always)]
pub unsafe fn load(level: Level, from: *const [u32; 4], parts: [*mut [u32; LANES]; 4], lanes: usize) {
    // SAFETY: the caller's.
    unsafe {
        match level {
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => avx512::load(from, parts, lanes),
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => avx2::load(from, parts, lanes),
            _ => baseline::load(from, parts, lanes),
        }
    }
}

/// Writes the rows of the first `lanes`, and no others.
///
/// # Safety
/// `to` must start so many rows, `parts` must be registers, and the machine must have what the level needs.
#[inline(always)]
pub unsafe fn store(level: Level, to: *mut [u32; 4], parts: [*const [u32; LANES]; 4], lanes: usize) {
    // SAFETY: the caller's.
    unsafe {
        let done = match level {
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => avx512::store(to, parts, lanes),
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => avx2::store(to, parts, lanes),
            _ => 0,
        };
        for i in baseline::store(to, parts, done, lanes)..lanes {
            to.add(i).write_unaligned(parts.map(|part| (*part)[i]));
        }
    }
}

/// Sixteen rows at a time: two shuffles of two vectors bring each value to its register.
#[cfg(target_arch = "x86_64")]
mod avx512 {
    use std::arch::x86_64::*;

    use super::LANES;

    /// Where the first two values, and the last two, of eight rows lie in two vectors of four rows.
    const FIRST: [i32; 16] = [0, 4, 8, 12, 16, 20, 24, 28, 1, 5, 9, 13, 17, 21, 25, 29];
    const LAST: [i32; 16] = [2, 6, 10, 14, 18, 22, 26, 30, 3, 7, 11, 15, 19, 23, 27, 31];
    /// The way back: where rows 0 to 3 and rows 4 to 7 lie in what those two left.
    const NEAR: [i32; 16] = [0, 8, 16, 24, 1, 9, 17, 25, 2, 10, 18, 26, 3, 11, 19, 27];
    const FAR: [i32; 16] = [4, 12, 20, 28, 5, 13, 21, 29, 6, 14, 22, 30, 7, 15, 23, 31];

    /// # Safety
    /// As [`super::load`].
    #[target_feature(enable = "avx512f")]
    #[inline]
    pub unsafe fn load(from: *const [u32; 4], parts: [*mut [u32; LANES]; 4], lanes: usize) {
        // SAFETY: the caller's.
        unsafe {
            let (first, last) = (index(&FIRST), index(&LAST));
            for i in (0..lanes).step_by(16) {
                let rows = |k: usize| _mm512_loadu_si512(from.add(i + 4 * k) as *const __m512i);
                let (a, b, c, d) = (rows(0), rows(1), rows(2), rows(3));
                let halves = [first, last]
                    .map(|which| [_mm512_permutex2var_epi32(a, which, b), _mm512_permutex2var_epi32(c, which, d)]);
                for (v, [low, high]) in halves.into_iter().enumerate() {
                    let out = |part: *mut [u32; LANES], x| _mm512_storeu_si512(part.cast::<u32>().add(i).cast(), x);
                    out(parts[2 * v], _mm512_shuffle_i64x2::<0b01_00_01_00>(low, high));
                    out(parts[2 * v + 1], _mm512_shuffle_i64x2::<0b11_10_11_10>(low, high));
                }
            }
        }
    }

    /// # Safety
    /// As [`super::store`].
    #[target_feature(enable = "avx512f")]
    #[inline]
    pub unsafe fn store(to: *mut [u32; 4], parts: [*const [u32; LANES]; 4], lanes: usize) -> usize {
        let whole = lanes & !15;
        // SAFETY: the caller's.
        unsafe {
            let (near, far) = (index(&NEAR), index(&FAR));
            for i in (0..whole).step_by(16) {
                let part = |v: usize| _mm512_loadu_si512((parts[v] as *const u32).add(i) as *const __m512i);
                let (a, b, c, d) = (part(0), part(1), part(2), part(3));
                for half in 0..2 {
                    let pair = |x, y| match half {
                        0 => _mm512_shuffle_i64x2::<0b01_00_01_00>(x, y),
                        _ => _mm512_shuffle_i64x2::<0b11_10_11_10>(x, y),
                    };
                    let (ab, cd) = (pair(a, b), pair(c, d));
                    let out = |k: usize, x| _mm512_storeu_si512(to.add(i + 8 * half + 4 * k).cast(), x);
                    out(0, _mm512_permutex2var_epi32(ab, near, cd));
                    out(1, _mm512_permutex2var_epi32(ab, far, cd));
                }
            }
        }
        whole
    }

    #[target_feature(enable = "avx512f")]
    #[inline]
    fn index(which: &[i32; 16]) -> __m512i {
        // SAFETY: an array of 64 bytes.
        unsafe { _mm512_loadu_si512(which.as_ptr().cast()) }
    }
}

/// Eight rows at a time: each half of a vector holds rows of its own, so that shuffles inside of halves are enough.
#[cfg(target_arch = "x86_64")]
mod avx2 {
    use std::arch::x86_64::*;

    use super::LANES;

    #[target_feature(enable = "avx2")]
    #[inline]
    fn four_by_four([a, b, c, d]: [__m256; 4]) -> [__m256; 4] {
        let (ab, cd) = (_mm256_unpacklo_ps(a, b), _mm256_unpacklo_ps(c, d));
        let (ef, gh) = (_mm256_unpackhi_ps(a, b), _mm256_unpackhi_ps(c, d));
        [
            _mm256_shuffle_ps::<0b01_00_01_00>(ab, cd),
            _mm256_shuffle_ps::<0b11_10_11_10>(ab, cd),
            _mm256_shuffle_ps::<0b01_00_01_00>(ef, gh),
            _mm256_shuffle_ps::<0b11_10_11_10>(ef, gh),
        ]
    }

    /// # Safety
    /// As [`super::load`].
    #[target_feature(enable = "avx2")]
    #[inline]
    pub unsafe fn load(from: *const [u32; 4], parts: [*mut [u32; LANES]; 4], lanes: usize) {
        // SAFETY: the caller's.
        unsafe {
            for i in (0..lanes).step_by(8) {
                let row = |k: usize| from.add(i + k) as *const f32;
                let rows = [0, 1, 2, 3].map(|k| _mm256_loadu2_m128(row(k + 4), row(k)));
                for (part, column) in parts.into_iter().zip(four_by_four(rows)) {
                    _mm256_storeu_ps(part.cast::<f32>().add(i), column);
                }
            }
        }
    }

    /// # Safety
    /// As [`super::store`].
    #[target_feature(enable = "avx2")]
    #[inline]
    pub unsafe fn store(to: *mut [u32; 4], parts: [*const [u32; LANES]; 4], lanes: usize) -> usize {
        let whole = lanes & !7;
        // SAFETY: the caller's.
        unsafe {
            for i in (0..whole).step_by(8) {
                let columns = parts.map(|part| _mm256_loadu_ps((part as *const f32).add(i)));
                for (k, rows) in four_by_four(columns).into_iter().enumerate() {
                    let row = |k: usize| to.add(i + k) as *mut f32;
                    _mm256_storeu2_m128(row(k + 4), row(k), rows);
                }
            }
        }
        whole
    }
}

mod baseline {
    use super::LANES;

    /// # Safety
    /// As [`super::load`].
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    pub unsafe fn load(from: *const [u32; 4], parts: [*mut [u32; LANES]; 4], lanes: usize) {
        use std::arch::x86_64::*;
        // SAFETY: SSE is in every x86-64; the caller's.
        unsafe {
            for i in (0..lanes).step_by(4) {
                let row = |k: usize| _mm_loadu_ps(from.add(i + k) as *const f32);
                let (mut a, mut b, mut c, mut d) = (row(0), row(1), row(2), row(3));
                _MM_TRANSPOSE4_PS(&mut a, &mut b, &mut c, &mut d);
                for (part, column) in parts.into_iter().zip([a, b, c, d]) {
                    _mm_storeu_ps(part.cast::<f32>().add(i), column);
                }
            }
        }
    }

    /// From row `done` on.
    ///
    /// # Safety
    /// As [`super::store`].
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    pub unsafe fn store(to: *mut [u32; 4], parts: [*const [u32; LANES]; 4], done: usize, lanes: usize) -> usize {
        use std::arch::x86_64::*;
        let whole = lanes & !3;
        // SAFETY: as in `load`.
        unsafe {
            for i in (done..whole).step_by(4) {
                let column = |k: usize| _mm_loadu_ps((parts[k] as *const f32).add(i));
                let (mut a, mut b, mut c, mut d) = (column(0), column(1), column(2), column(3));
                _MM_TRANSPOSE4_PS(&mut a, &mut b, &mut c, &mut d);
                for (k, row) in [a, b, c, d].into_iter().enumerate() {
                    _mm_storeu_ps(to.add(i + k) as *mut f32, row);
                }
            }
        }
        whole
    }

    /// # Safety
    /// As [`super::load`].
    #[cfg(not(target_arch = "x86_64"))]
    #[inline(always)]
    pub unsafe fn load(from: *const [u32; 4], parts: [*mut [u32; LANES]; 4], lanes: usize) {
        for i in 0..lanes {
            // SAFETY: the caller's.
            unsafe {
                let row = from.add(i).read_unaligned();
                (0..4).for_each(|v| (*parts[v])[i] = row[v]);
            }
        }
    }

    /// # Safety
    /// As [`super::store`].
    #[cfg(not(target_arch = "x86_64"))]
    #[inline(always)]
    pub unsafe fn store(_: *mut [u32; 4], _: [*const [u32; LANES]; 4], done: usize, _: usize) -> usize {
        done
    }
}
