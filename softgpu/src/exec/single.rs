//! The f32 arithmetic that most kernels consist of, in each level's own instructions: what the compiler makes of the rows'
//! loops replaces NaN between the result and its store, where the next instruction waits for it. Here all lanes are asked
//! at once whether one is NaN, beside the way of the result. The baseline has the rows' loops.

use super::alu::product;
use super::gang::{GANG, Gangs, Way, file};
use super::{Level, NEXT, Op, SLOW, Warp, no_slow, three_levels};

/// The operations, as the table of rows names them.
pub const ADD: u8 = 0;
pub const SUB: u8 = 1;
pub const MUL: u8 = 2;
pub const DIV: u8 = 3;
/// a·b + c.
pub const FMA: u8 = 4;

/// d = a ∘ b, at a level above the baseline. CELL: b is the same for all lanes, and read from its cell. WHOLE: all
/// lanes execute.
///
/// # Safety
/// The operands must be registers of words, or the cell; the machine must have what the level needs.
#[inline(always)]
pub unsafe fn run<const OP: u8, const CELL: bool, const WHOLE: bool>(
    w: &mut Warp,
    op: &Op,
    r: *mut u8,
    level: Level,
) -> u32 {
    // SAFETY: the caller's.
    unsafe {
        match level {
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => avx512::run::<OP, CELL, WHOLE>(w, op, r),
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => avx2::run::<OP, CELL, WHOLE>(w, op, r),
            _ => return SLOW, // never: the baseline has loops
        }
    }
    NEXT
}

/// A product by a cell: see [`product`].
#[inline(always)]
unsafe fn by_cell<const OP: u8, const WHOLE: bool>(w: &mut Warp, op: &Op, r: *mut u8, level: Level) -> u32 {
    // SAFETY: the plan has given `b` a cell; `Level::detect` has found the features.
    unsafe {
        match (level, OP) {
            (Level::Baseline, MUL) => product::<false>(w, op, r),
            (Level::Baseline, _) => product::<true>(w, op, r),
            _ => run::<OP, true, WHOLE>(w, op, r, level),
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod avx512 {
    use std::arch::x86_64::*;

    use super::{ADD, FMA, MUL, Op, SUB, Warp};
    use crate::isa::math::NAN;

    /// # Safety
    /// As [`super::run`].
    #[target_feature(enable = "avx512f")]
    #[inline]
    pub unsafe fn run<const OP: u8, const CELL: bool, const WHOLE: bool>(w: &Warp, op: &Op, r: *mut u8) {
        // SAFETY: the caller's.
        unsafe {
            let at =
                |register: u32, half: usize| _mm512_loadu_ps(r.add(register as usize).cast::<f32>().add(16 * half));
            let once = if CELL { _mm512_set1_ps(*r.add(op.b as usize).cast::<f32>()) } else { _mm512_setzero_ps() };
            let mut out = [_mm512_setzero_ps(); 2];
            for (half, out) in out.iter_mut().enumerate() {
                let a = at(op.a, half);
                let b = if CELL { once } else { at(op.b, half) };
                *out = match OP {
                    ADD => _mm512_add_ps(a, b),
                    SUB => _mm512_sub_ps(a, b),
                    MUL => _mm512_mul_ps(a, b),
                    FMA => _mm512_fmadd_ps(a, b, at(op.c, half)),
                    _ => _mm512_div_ps(a, b),
                };
            }
            if _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(out[0], out[1]) != 0 {
                let nan = _mm512_castsi512_ps(_mm512_set1_epi32(NAN as i32));
                for out in &mut out {
                    *out = _mm512_mask_mov_ps(*out, _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(*out, *out), nan);
                }
            }
            let to = r.add(op.d as usize).cast::<f32>();
            if WHOLE || w.is_whole() {
                _mm512_storeu_ps(to, out[0]);
                _mm512_storeu_ps(to.add(16), out[1]);
            } else {
                _mm512_mask_storeu_ps(to, w.mask as u16, out[0]);
                _mm512_mask_storeu_ps(to.add(16), (w.mask >> 16) as u16, out[1]);
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use std::arch::x86_64::*;

    use super::{ADD, FMA, MUL, Op, SUB, Warp};
    use crate::isa::math::NAN;

    /// # Safety
    /// As [`super::run`].
    #[target_feature(enable = "avx2,fma")]
    #[inline]
    pub unsafe fn run<const OP: u8, const CELL: bool, const WHOLE: bool>(w: &Warp, op: &Op, r: *mut u8) {
        // SAFETY: the caller's.
        unsafe {
            let at = |register: u32, part: usize| _mm256_loadu_ps(r.add(register as usize).cast::<f32>().add(8 * part));
            let once = if CELL { _mm256_set1_ps(*r.add(op.b as usize).cast::<f32>()) } else { _mm256_setzero_ps() };
            let mut out = [_mm256_setzero_ps(); 4];
            for (part, out) in out.iter_mut().enumerate() {
                let a = at(op.a, part);
                let b = if CELL { once } else { at(op.b, part) };
                *out = match OP {
                    ADD => _mm256_add_ps(a, b),
                    SUB => _mm256_sub_ps(a, b),
                    MUL => _mm256_mul_ps(a, b),
                    FMA => _mm256_fmadd_ps(a, b, at(op.c, part)),
                    _ => _mm256_div_ps(a, b),
                };
            }
            let odd = |a, b| _mm256_cmp_ps::<_CMP_UNORD_Q>(a, b);
            if _mm256_movemask_ps(_mm256_or_ps(odd(out[0], out[1]), odd(out[2], out[3]))) != 0 {
                let nan = _mm256_castsi256_ps(_mm256_set1_epi32(NAN as i32));
                for out in &mut out {
                    *out = _mm256_blendv_ps(*out, nan, odd(*out, *out));
                }
            }
            let to = r.add(op.d as usize).cast::<f32>();
            let whole = WHOLE || w.is_whole();
            for (part, out) in out.into_iter().enumerate() {
                let to = to.add(8 * part);
                if whole {
                    _mm256_storeu_ps(to, out);
                } else {
                    let bits = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
                    let mask = _mm256_set1_epi32((w.mask >> (8 * part)) as i32);
                    _mm256_maskstore_ps(to, _mm256_cmpeq_epi32(_mm256_and_si256(mask, bits), bits), out);
                }
            }
        }
    }
}

/// As [`by_cell`].
#[inline(always)]
unsafe fn by_cell_gang<const OP: u8>(w: &mut Warp, op: &Op, r: *mut u8, level: Level) -> u32 {
    for k in 0..GANG {
        // SAFETY: as there.
        unsafe { by_cell::<OP, true>(w, op, file(w, r, k), level) };
    }
    NEXT
}

/// What runs a row that multiplies, by its name in the table, with `b` in a cell.
pub fn product_way(name: &str) -> Option<Way> {
    macro_rules! way {
        ($op:ident) => {
            Way {
                alone: three_levels!(leveled slow [no_slow] by_cell::<$op, false>),
                gang: Gangs::Own(three_levels!(leveled slow [no_slow] by_cell_gang::<$op>)),
            }
        };
    }
    Some(match name {
        "mul.f32" => way!(MUL),
        "fma.rn.f32" => way!(FMA),
        _ => return None,
    })
}
