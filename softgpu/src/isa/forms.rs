//! The instructions that are more than arithmetic: memory, control, and what lanes and warps do together.

use crate::LoadError;
use crate::ast::Instruction;
use crate::decode::{
    Decoder, address, arith, async_copy, atomic, compare, control, convert, matrix, memory, pack, quad, video, warp,
};

/// An instruction with a decoder of its own.
pub struct Form {
    /// Spellings, as patterns (see [`spell`](super::spell)).
    pub names: &'static [&'static str],
    pub decode: DecodeFn,
}

/// Gets the instruction and its opcode's words.
pub type DecodeFn =
    for<'m, 'a, 'i> fn(&mut Decoder<'m, 'a>, &'i Instruction<'a>, &'i [&'a str]) -> Result<(), LoadError>;

pub fn all() -> impl Iterator<Item = &'static Form> {
    let memory = [address::FORMS, async_copy::FORMS, atomic::FORMS, memory::FORMS];
    let arithmetic = [arith::FORMS, compare::FORMS, convert::FORMS, pack::FORMS, quad::FORMS, video::FORMS];
    memory.into_iter().chain(arithmetic).chain([control::FORMS, matrix::FORMS, warp::FORMS]).flatten()
}
