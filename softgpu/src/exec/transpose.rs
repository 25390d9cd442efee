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
            Level::Avx2 | Level::Avx512 => avx2::load(from, parts, lanes),
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
            Level::Avx2 | Level::Avx512 => avx2::store(to, parts, lanes),
            _ => 0,
        };
        for i in baseline::store(to, parts, done, lanes)..lanes {
            to.add(i).write_unaligned(parts.map(|part| (*part)[i]));
        }
    }
}

/// Eight rows at a time: each half of a vector holds rows of its own, so that shuffles inside of halves are enough. Sixteen, with
/// AVX-512's shuffles of two vectors, took longer in nine pairs of twelve.
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
