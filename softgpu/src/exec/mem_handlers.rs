//! Which handler runs a load or store: by its type, number of values, space, and how its addresses are given.

use super::form::{Form, INDEX, ROW, SAME, SUM, Sum, UNIFORM, VECTOR};
use super::gang::{Gangs, Way};
use super::gang_mem::{load as gang_load, load_at, store as gang_store, store_at};
use super::mem::{GENERIC, GLOBAL, LOCAL, SHARED, WRITE, load, load_scattered, store, store_scattered};
use super::three_levels;
use crate::ir::Access;
use crate::isa::{Kind, Lane};

/// What `ld.s16` reads: extended to the whole register, which may be wider than the value (PTX ISA 9.0, 9.4.1).
#[derive(Clone, Copy, Default)]
#[repr(transparent)]
struct Short(i16);

impl Lane for Short {
    const KIND: Kind = Kind::W;
    type Raw = u32;
    #[inline(always)]
    fn from_raw(raw: u32) -> Short {
        Short(raw as i16)
    }
    #[inline(always)]
    fn to_raw(self) -> u32 {
        self.0 as i32 as u32
    }
    #[inline(always)]
    fn from_bit(bit: u32) -> Short {
        Short(bit as i16)
    }
    #[inline(always)]
    fn bit(self) -> u32 {
        self.0 as u32
    }
    #[inline(always)]
    fn blend(bit: u32, new: u32, old: u32) -> u32 {
        u32::blend(bit, new, old)
    }
}

/// By type, number of values and space. No more than 16 bytes are accessed at once, see [`known`](super::mem::known).
macro_rules! table {
    ($op:ident, $slow:ident, $generic:ident, $access:expr; $($t:ty, $name:pat, $bytes:literal;)*) => {
        match ($access.ty, $access.v) { $(
            ($name, 1) => table!(@space $op, $slow, $generic, $access, $t, 1, $bytes),
            ($name, 4) if $bytes <= 4 => table!(@space $op, $slow, $generic, $access, $t, 4, { 4 * $bytes }),
            ($name, _) => table!(@space $op, $slow, $generic, $access, $t, 2, { 2 * $bytes }),
        )* }
    };
    (@space $op:ident, $slow:ident, $generic:ident, $access:expr, $t:ty, $v:literal, $bytes:expr) => {
        match ($access.space, $access.wide) {
            (GLOBAL, _) => three_levels!(leveled slow [$slow::<$t, $v, GLOBAL, true, $bytes, VECTOR>] $op::<$t, $v, GLOBAL, true, $bytes, VECTOR>),
            (SHARED, true) => three_levels!(leveled slow [$slow::<$t, $v, SHARED, true, $bytes, VECTOR>] $op::<$t, $v, SHARED, true, $bytes, VECTOR>),
            (SHARED, false) => three_levels!(leveled slow [$slow::<$t, $v, SHARED, false, $bytes, VECTOR>] $op::<$t, $v, SHARED, false, $bytes, VECTOR>),
            (LOCAL, _) => three_levels!(leveled slow [$slow::<$t, $v, LOCAL, true, $bytes, VECTOR>] $op::<$t, $v, LOCAL, true, $bytes, VECTOR>),
            _ => three_levels!(leveled slow [$slow::<$t, $v, $generic, true, $bytes, VECTOR>] $op::<$t, $v, $generic, true, $bytes, VECTOR>),
        }
    };
}

/// [`table`] for a warp alone, and for a gang.
macro_rules! both {
    ($op:ident, $gang:ident, $slow:ident, $generic:ident, $access:expr; $($rows:tt)*) => {
        [table!($op, $slow, $generic, $access; $($rows)*), table!($gang, $slow, $generic, $access; $($rows)*)]
    };
}

/// [`plain`] for a warp alone, and for a gang.
macro_rules! way {
    ($op:ident, $gang:ident, $slow:ident, $access:expr, $sum:expr, $form:expr) => {
        Way {
            alone: plain!($op, $slow, $access, $sum, $form),
            gang: Gangs::Own(plain!($gang, $slow, $access, $sum, $form)),
        }
    };
}

/// By the type's size, number of values and space.
macro_rules! plain {
    ($op:ident, $slow:ident, $access:expr, $sum:expr, $form:expr) => {
        match ($access.ty, $access.v) {
            ("u16" | "b16", 1) => plain!(@sum $op, $slow, $access, $sum, u16, 1, 2, $form),
            ("u16" | "b16", 2) => plain!(@sum $op, $slow, $access, $sum, u16, 2, 4, $form),
            ("u16" | "b16", _) => plain!(@sum $op, $slow, $access, $sum, u16, 4, 8, $form),
            (_, 1) => plain!(@sum $op, $slow, $access, $sum, u32, 1, 4, $form),
            (_, 2) => plain!(@sum $op, $slow, $access, $sum, u32, 2, 8, $form),
            (_, _) => plain!(@sum $op, $slow, $access, $sum, u32, 4, 16, $form),
        }
    };
    (@sum $op:ident, $slow:ident, $access:expr, $sum:expr, $t:ty, $v:literal, $bytes:literal, $form:expr) => {
        match $sum {
            Sum::None => plain!(@space $op, $slow, $access, $t, $v, $bytes, $form),
            Sum::Offset => plain!(@levels $op, $slow, $t, $v, GLOBAL, true, $bytes, $form | SUM),
            Sum::Index => plain!(@levels $op, $slow, $t, $v, GLOBAL, true, $bytes, $form | INDEX),
        }
    };
    (@space $op:ident, $slow:ident, $access:expr, $t:ty, $v:literal, $bytes:literal, $form:expr) => {
        match ($access.space, $access.wide) {
            (GLOBAL, _) => plain!(@levels $op, $slow, $t, $v, GLOBAL, true, $bytes, $form),
            (_, true) => plain!(@levels $op, $slow, $t, $v, SHARED, true, $bytes, $form),
            (_, false) => plain!(@levels $op, $slow, $t, $v, SHARED, false, $bytes, $form),
        }
    };
    (@levels $op:ident, $slow:ident, $t:ty, $v:literal, $space:expr, $wide:literal, $bytes:literal, $form:expr) => {
        three_levels!(
            leveled slow [$slow::<$t, $v, { $space }, $wide, $bytes, { $form }>]
            $op::<$t, $v, { $space }, $wide, $bytes, { $form }>
        )
    };
}

/// What runs `ld` for an access that is [`known`](super::mem::known). A gang must split before a load of vectors into the
/// register of their own address. Forms other than `Vector` are for plain accesses.
pub fn load_way(access: Access, form: Form, sum: Sum) -> Way {
    match form {
        Form::Uniform => way!(load, gang_load, load_scattered, access, sum, UNIFORM),
        Form::Same => way!(load, gang_load, load_scattered, access, sum, SAME),
        Form::Row => way!(load, gang_load, load_scattered, access, sum, ROW),
        Form::Vector => {
            let [alone, gang] = both!(load, load_at, load_scattered, GENERIC, access; u8, "u8" | "b8", 1;
                i8, "s8", 1; u16, "u16" | "b16", 2; Short, "s16", 2; u32, "u32" | "b32" | "s32" | "f32", 4; u64, _, 8;);
            Way { alone, gang: Gangs::Own(gang) }
        }
    }
}

/// What runs `st`, as [`load_way`].
pub fn store_way(access: Access, form: Form, sum: Sum) -> Way {
    match form {
        Form::Uniform | Form::Same => way!(store, gang_store, store_scattered, access, sum, SAME),
        Form::Row => way!(store, gang_store, store_scattered, access, sum, ROW),
        Form::Vector => {
            let [alone, gang] = both!(store, store_at, store_scattered, WRITE, access; u8, "u8" | "b8" | "s8", 1;
                u16, "u16" | "b16" | "s16", 2; u32, "u32" | "b32" | "s32" | "f32", 4; u64, _, 8;);
            Way { alone, gang: Gangs::Own(gang) }
        }
    }
}
