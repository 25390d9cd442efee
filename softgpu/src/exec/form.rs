//! How a load or store is given the lanes' addresses: chosen when a kernel is planned, and a constant in each handler.

use super::Op;

/// A vector of addresses, or one scalar.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    Vector,
    /// One address for all lanes; a load leaves a scalar.
    Uniform,
    /// As `Uniform`, but a load fills vectors.
    Same,
    /// Lane i's address is the scalar + i · the size of the access.
    Row,
}

/// What is added to the scalar: the access does what `add` and `mul.wide` would do for it alone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sum {
    /// The constant `imm`.
    None,
    /// The doubles' cell `imm`.
    Offset,
    /// The words' cell `imm`, signed, times the size of the access.
    Index,
}

pub const VECTOR: u8 = Form::Vector as u8;
pub const UNIFORM: u8 = Form::Uniform as u8;
pub const SAME: u8 = Form::Same as u8;
pub const ROW: u8 = Form::Row as u8;
pub const SUM: u8 = (Sum::Offset as u8) << 2;
pub const INDEX: u8 = (Sum::Index as u8) << 2;

/// The form, whatever is added.
pub const fn kind(form: u8) -> u8 {
    form & 3
}

/// The address that lane `i` computes.
///
/// # Safety
/// WIDE and FORM must fit the register of the address, and what FORM says of `imm`.
#[inline(always)]
pub unsafe fn address<const WIDE: bool, const BYTES: usize, const FORM: u8>(op: &Op, r: *mut u8, i: usize) -> u64 {
    // SAFETY: the caller's.
    let (a, more) = unsafe {
        let (at, more) = (r.add(op.a as usize), r.wrapping_add(op.imm as usize));
        let i = if FORM == VECTOR { i } else { 0 };
        let a = if WIDE { *(at as *const u64).add(i) } else { *(at as *const u32).add(i) as u64 };
        let more = match FORM & !3 {
            SUM => *(more as *const u64),
            INDEX => (*(more as *const i32) as i64).wrapping_mul(BYTES as i64) as u64,
            _ => op.imm as i32 as i64 as u64,
        };
        (a, more)
    };
    let a = if kind(FORM) == ROW { a.wrapping_add((i * BYTES) as u64) } else { a };
    (if WIDE { a } else { a as u32 as u64 }).wrapping_add(more)
}
