//! Four values per lane in memory, four registers here.

use super::LANES;

/// # Safety
/// `from` must start 32 rows.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub unsafe fn load(from: *const [u32; 4]) -> [[u32; LANES]; 4] {
    use std::arch::x86_64::*;
    let mut parts = [[0; LANES]; 4];
    // SAFETY: SSE is in every x86-64; the caller's.
    unsafe {
        for i in (0..LANES).step_by(4) {
            let row = |k: usize| _mm_loadu_ps(from.add(i + k) as *const f32);
            let (mut a, mut b, mut c, mut d) = (row(0), row(1), row(2), row(3));
            _MM_TRANSPOSE4_PS(&mut a, &mut b, &mut c, &mut d);
            for (part, column) in parts.iter_mut().zip([a, b, c, d]) {
                _mm_storeu_ps(part.as_mut_ptr().add(i) as *mut f32, column);
            }
        }
    }
    parts
}

/// # Safety
/// `to` must start 32 rows, `parts` must be registers.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub unsafe fn store(to: *mut [u32; 4], parts: [*const [u32; LANES]; 4]) {
    use std::arch::x86_64::*;
    // SAFETY: as in `load`.
    unsafe {
        for i in (0..LANES).step_by(4) {
            let column = |k: usize| _mm_loadu_ps((parts[k] as *const f32).add(i));
            let (mut a, mut b, mut c, mut d) = (column(0), column(1), column(2), column(3));
            _MM_TRANSPOSE4_PS(&mut a, &mut b, &mut c, &mut d);
            for (k, row) in [a, b, c, d].into_iter().enumerate() {
                _mm_storeu_ps(to.add(i + k) as *mut f32, row);
            }
        }
    }
}

/// # Safety
/// `from` must start 32 rows.
#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
pub unsafe fn load(from: *const [u32; 4]) -> [[u32; LANES]; 4] {
    let mut parts = [[0; LANES]; 4];
    for i in 0..LANES {
        // SAFETY: the caller's.
        let row = unsafe { from.add(i).read_unaligned() };
        for v in 0..4 {
            parts[v][i] = row[v];
        }
    }
    parts
}

/// # Safety
/// `to` must start 32 rows, `parts` must be registers.
#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
pub unsafe fn store(to: *mut [u32; 4], parts: [*const [u32; LANES]; 4]) {
    for i in 0..LANES {
        // SAFETY: the caller's.
        unsafe { to.add(i).write_unaligned(parts.map(|part| (*part)[i])) };
    }
}
