//! The macros that make rows.

/// `"name"… => type, (operands) expression;` makes a row with vector loops for three levels of vector instructions;
/// `slow "name"…` one without, for what is rare or cannot be a vector loop: it costs a sixth of the compile time;
/// `OP "name"…` one whose AVX copies are those of `exec::single`.
macro_rules! rows {
    ($( $($how:ident)? $($name:literal)+ => $d:ty, ($($x:ident: $t:ty),+) $body:expr; )*) => {
        pub static ROWS: &[crate::isa::Row] = &[ $( {
            const KINDS: &[crate::isa::Kind] = &[<$d as crate::isa::Lane>::KIND, $(<$t as crate::isa::Lane>::KIND),+];
            crate::isa::Row {
                names: &[$($name),+],
                kinds: KINDS,
                vector: row!(vector $($how)?, $d, ($($x: $t),+) $body),
                scalar: row!(scalar $($how)?, $d, ($($x: $t),+) $body),
            }
        } ),* ];
    };
}

/// Three copies of one body: baseline, AVX2 + FMA, AVX-512.
macro_rules! row {
    (vector $($how:ident)?, $d:ty, ($($x:ident: $t:ty),+) $body:expr) => {{
        #[inline(always)]
        unsafe fn lanes(w: &mut crate::exec::Warp, op: &crate::exec::Op, r: *mut u8) -> u32 {
            // SAFETY: the decoder has given every operand a register of its kind.
            unsafe { shape!(vector, ($($t),+), $d)(w, op, r, #[inline(always)] |$($x: $t),+| -> $d { $body }) };
            crate::exec::NEXT
        }
        levels!(vector $($how)?, lanes)
    }};
    (scalar $($how:ident)?, $d:ty, ($($x:ident: $t:ty),+) $body:expr) => {{
        #[inline(always)]
        unsafe fn once(_: &mut crate::exec::Warp, op: &crate::exec::Op, r: *mut u8) -> u32 {
            // SAFETY: as above; the plan has given every operand a cell.
            unsafe { shape!(scalar, ($($t),+), $d)(op, r, #[inline(always)] |$($x: $t),+| -> $d { $body }) };
            crate::exec::NEXT
        }
        levels!(scalar $($how)?, once)
    }};
}
macro_rules! levels {
    ($shape:ident slow, $body:ident) => {
        crate::exec::gang::Way::each(crate::exec::one_level!($body))
    };
    (vector $op:ident, $body:ident) => {{
        use crate::exec::gang::{GANG, Gangs, Way, file};
        use crate::exec::{Level, NEXT, Op, Warp, no_slow, single, three_levels};
        #[inline(always)]
        unsafe fn leveled<const WHOLE: bool>(w: &mut Warp, op: &Op, r: *mut u8, level: Level) -> u32 {
            // SAFETY: the decoder has given every operand a register of words.
            unsafe {
                match level {
                    Level::Baseline => $body(w, op, r),
                    _ => single::run::<{ single::$op }, false, WHOLE>(w, op, r, level),
                }
            }
        }
        #[inline(always)]
        unsafe fn gang(w: &mut Warp, op: &Op, r: *mut u8, level: Level) -> u32 {
            for k in 0..GANG {
                // SAFETY: as above, in every file of the gang.
                unsafe { leveled::<true>(w, op, file(w, r, k), level) };
            }
            NEXT
        }
        Way {
            alone: three_levels!(leveled slow [no_slow] leveled::<false>),
            gang: Gangs::Own(three_levels!(leveled slow [no_slow] gang)),
        }
    }};
    ($shape:ident $($op:ident)?, $body:ident) => {{
        use crate::exec::gang::{GANG, Gangs, Way, file};
        use crate::exec::{NEXT, Op, Warp, three_levels};
        #[inline(always)]
        unsafe fn gang(w: &mut Warp, op: &Op, r: *mut u8) -> u32 {
            for k in 0..GANG {
                // SAFETY: as above, in every file of the gang.
                unsafe { $body(w, op, file(w, r, k)) };
            }
            NEXT
        }
        Way { alone: three_levels!($body), gang: Gangs::Own(three_levels!(gang)) }
    }};
}
macro_rules! shape {
    (vector, ($a:ty), $d:ty) => {
        $crate::exec::alu::vector1::<$d, $a>
    };
    (vector, ($a:ty, $b:ty), $d:ty) => {
        $crate::exec::alu::vector2::<$d, $a, $b>
    };
    (vector, ($a:ty, $b:ty, $c:ty), $d:ty) => {
        $crate::exec::alu::vector3::<$d, $a, $b, $c>
    };
    (vector, ($a:ty, $b:ty, $c:ty, $e:ty), $d:ty) => {
        $crate::exec::alu::vector4::<$d, $a, $b, $c, $e>
    };
    (scalar, ($a:ty), $d:ty) => {
        $crate::exec::alu::scalar1::<$d, $a>
    };
    (scalar, ($a:ty, $b:ty), $d:ty) => {
        $crate::exec::alu::scalar2::<$d, $a, $b>
    };
    (scalar, ($a:ty, $b:ty, $c:ty), $d:ty) => {
        $crate::exec::alu::scalar3::<$d, $a, $b, $c>
    };
    (scalar, ($a:ty, $b:ty, $c:ty, $e:ty), $d:ty) => {
        $crate::exec::alu::scalar4::<$d, $a, $b, $c, $e>
    };
}
