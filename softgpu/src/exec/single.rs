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

/// What the levels share: the arithmetic, and what it is made of, for [`runs`](super::runs) too. Registers and cells are places
/// in the register file `r`; a part is as many lanes as a vector has. A level has `plain`, `mask_store` and `Odd` of its own.
#[cfg(target_arch = "x86_64")]
macro_rules! vectors {
    ($features:literal, $lanes:literal, $vector:ty, $load:ident $store:ident $set:ident $fma:ident, $add:ident $sub:ident $mul:ident $div:ident) => {
        use super::{ADD, FMA, MUL, Op, SUB, Warp};
        use crate::exec::LANES;

        pub type Vector = $vector;
        pub const PARTS: usize = LANES / $lanes;

        #[target_feature(enable = $features)]
        #[inline]
        pub unsafe fn load(r: *const u8, register: u32, part: usize) -> $vector {
            // SAFETY: the register is one of words.
            unsafe { $load(r.add(register as usize).cast::<f32>().add($lanes * part)) }
        }

        #[target_feature(enable = $features)]
        #[inline]
        pub unsafe fn store(r: *mut u8, register: u32, part: usize, value: $vector) {
            // SAFETY: as above.
            unsafe { $store(r.add(register as usize).cast::<f32>().add($lanes * part), value) }
        }

        /// A cell for all lanes.
        #[target_feature(enable = $features)]
        #[inline]
        pub unsafe fn once(r: *const u8, cell: u32) -> $vector {
            // SAFETY: the caller's.
            unsafe { $set(*r.add(cell as usize).cast::<f32>()) }
        }

        #[target_feature(enable = $features)]
        #[inline]
        pub fn fma(a: $vector, b: $vector, c: $vector) -> $vector {
            $fma(a, b, c)
        }

        /// Stores what lanes that execute have computed.
        #[target_feature(enable = $features)]
        #[inline]
        pub unsafe fn put(w: &Warp, r: *mut u8, register: u32, values: [$vector; PARTS], whole: bool) {
            // SAFETY: the register is one of words.
            unsafe {
                for (part, value) in values.into_iter().enumerate() {
                    if whole {
                        store(r, register, part, value);
                    } else {
                        let to = r.add(register as usize).cast::<f32>().add($lanes * part);
                        mask_store(to, w.mask >> ($lanes * part), value);
                    }
                }
            }
        }

        /// # Safety
        /// As [`super::run`].
        #[target_feature(enable = $features)]
        #[inline]
        pub unsafe fn run<const OP: u8, const CELL: bool, const WHOLE: bool>(w: &Warp, op: &Op, r: *mut u8) {
            // SAFETY: the caller's.
            unsafe {
                let mut out: [$vector; PARTS] = std::array::from_fn(|part| load(r, op.a, part));
                for (part, out) in out.iter_mut().enumerate() {
                    let (a, b) = (*out, if CELL { once(r, op.b) } else { load(r, op.b, part) });
                    *out = match OP {
                        ADD => $add(a, b),
                        SUB => $sub(a, b),
                        MUL => $mul(a, b),
                        FMA => fma(a, b, load(r, op.c, part)),
                        _ => $div(a, b),
                    };
                }
                plain(&mut out);
                put(w, r, op.d, out, WHOLE || w.is_whole());
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
pub mod avx512 {
    use std::arch::x86_64::*;

    use crate::isa::math::NAN;

    #[rustfmt::skip]
    vectors!(
        "avx512f", 16, __m512, _mm512_loadu_ps _mm512_storeu_ps _mm512_set1_ps _mm512_fmadd_ps,
        _mm512_add_ps _mm512_sub_ps _mm512_mul_ps _mm512_div_ps
    );

    /// In which lanes one of the values seen is NaN.
    pub struct Odd(__mmask16);

    impl Odd {
        #[target_feature(enable = "avx512f")]
        #[inline]
        pub fn none() -> Odd {
            Odd(0)
        }

        #[target_feature(enable = "avx512f")]
        #[inline]
        pub fn see(&mut self, a: __m512, b: __m512) {
            self.0 |= _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(a, b);
        }

        #[target_feature(enable = "avx512f")]
        #[inline]
        pub fn lanes(self) -> u32 {
            self.0 as u32
        }
    }

    /// Every NaN becomes the GPU's.
    #[target_feature(enable = "avx512f")]
    #[inline]
    pub fn plain(values: &mut [__m512; PARTS]) {
        if _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(values[0], values[1]) != 0 {
            values.iter_mut().for_each(|value| *value = plain_one(*value));
        }
    }

    #[target_feature(enable = "avx512f")]
    #[inline]
    pub fn plain_one(value: __m512) -> __m512 {
        let nan = _mm512_castsi512_ps(_mm512_set1_epi32(NAN as i32));
        _mm512_mask_mov_ps(value, _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(value, value), nan)
    }

    #[target_feature(enable = "avx512f")]
    #[inline]
    unsafe fn mask_store(to: *mut f32, lanes: u32, value: __m512) {
        // SAFETY: the caller's.
        unsafe { _mm512_mask_storeu_ps(to, lanes as u16, value) }
    }
}

#[cfg(target_arch = "x86_64")]
pub mod avx2 {
    use std::arch::x86_64::*;

    use crate::isa::math::NAN;

    #[rustfmt::skip]
    vectors!(
        "avx2,fma", 8, __m256, _mm256_loadu_ps _mm256_storeu_ps _mm256_set1_ps _mm256_fmadd_ps,
        _mm256_add_ps _mm256_sub_ps _mm256_mul_ps _mm256_div_ps
    );

    /// In which lanes one of the values seen is NaN.
    pub struct Odd(__m256);

    impl Odd {
        #[target_feature(enable = "avx2,fma")]
        #[inline]
        pub fn none() -> Odd {
            Odd(_mm256_setzero_ps())
        }

        #[target_feature(enable = "avx2,fma")]
        #[inline]
        pub fn see(&mut self, a: __m256, b: __m256) {
            self.0 = _mm256_or_ps(self.0, _mm256_cmp_ps::<_CMP_UNORD_Q>(a, b));
        }

        #[target_feature(enable = "avx2,fma")]
        #[inline]
        pub fn lanes(self) -> u32 {
            _mm256_movemask_ps(self.0) as u32
        }
    }

    /// Every NaN becomes the GPU's.
    #[target_feature(enable = "avx2,fma")]
    #[inline]
    pub fn plain(values: &mut [__m256; PARTS]) {
        let odd = |a, b| _mm256_cmp_ps::<_CMP_UNORD_Q>(a, b);
        if _mm256_movemask_ps(_mm256_or_ps(odd(values[0], values[1]), odd(values[2], values[3]))) != 0 {
            values.iter_mut().for_each(|value| *value = plain_one(*value));
        }
    }

    #[target_feature(enable = "avx2,fma")]
    #[inline]
    pub fn plain_one(value: __m256) -> __m256 {
        let nan = _mm256_castsi256_ps(_mm256_set1_epi32(NAN as i32));
        _mm256_blendv_ps(value, nan, _mm256_cmp_ps::<_CMP_UNORD_Q>(value, value))
    }

    #[target_feature(enable = "avx2,fma")]
    #[inline]
    unsafe fn mask_store(to: *mut f32, lanes: u32, value: __m256) {
        let bits = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
        let on = _mm256_cmpeq_epi32(_mm256_and_si256(_mm256_set1_epi32(lanes as i32), bits), bits);
        // SAFETY: the caller's.
        unsafe { _mm256_maskstore_ps(to, on, value) }
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
