//! 128-bit registers: two doubles each, the lower one first. PTX ISA 9.0, 9.7.9.3 and 9.7.9.8.

use super::{Decoder, Result, unsupported};
use crate::ast::{Class, Instruction, Operand, Register};
use crate::ir::Reg;
use crate::isa::{Form, Kind};

pub static FORMS: &[Form] = &[Form { names: &["mov.b128"], decode: |d, i, _| d.move_quad(i) }];

impl<'a> Decoder<'_, 'a> {
    /// The two doubles that hold a 128-bit register; the upper one's number comes after the lower one's.
    fn quad(&mut self, register: Register) -> [Reg; 2] {
        let low = match self.slot_of.get(&register) {
            Some(low) => *low,
            None => {
                let low = self.new_slot(Kind::D);
                self.new_slot(Kind::D);
                self.slot_of.insert(register, low);
                low
            }
        };
        [low, low + 1]
    }

    /// The halves of a 128-bit operand: a register, or, if it is not `written`, a literal (no negative one: the ISA
    /// does not say that its sign is extended).
    pub fn halves(&mut self, i: &Instruction<'a>, operand: &Operand, written: bool) -> Result<[Reg; 2]> {
        match operand {
            Operand::Register(r) if self.class(*r) == Class::Quad => Ok(self.quad(*r)),
            Operand::Integer(value @ 0..) if !written => {
                Ok([self.literal(*value as u64, Kind::D), self.literal(0, Kind::D)])
            }
            _ => unsupported(i, "an operand that is no 128-bit register here"),
        }
    }

    /// `mov.b128 d, a`, and from or to two or four parts.
    fn move_quad(&mut self, i: &Instruction<'a>) -> Result<()> {
        match i.operands.as_slice() {
            [d, Operand::Vector(parts)] => {
                let parts = match parts.as_slice() {
                    [a, b] => [self.slot(i, a, Kind::D)?, self.slot(i, b, Kind::D)?],
                    [a, b, c, d] => [self.doubled(i, a, b)?, self.doubled(i, c, d)?],
                    _ => return unsupported(i, "this number of parts"),
                };
                let d = self.halves(i, d, true)?;
                self.copy(i, d, parts)
            }
            [Operand::Vector(parts), a] => {
                let [low, high] = self.halves(i, a, true)?;
                match parts.as_slice() {
                    [a, b] => {
                        let parts = [self.destination(i, a, Kind::D)?, self.destination(i, b, Kind::D)?];
                        self.copy(i, parts, [low, high])
                    }
                    parts @ [_, _, _, _] => {
                        for (part, (from, half)) in
                            parts.iter().zip([(low, "low"), (low, "high"), (high, "low"), (high, "high")])
                        {
                            let part = self.destination(i, part, Kind::W)?;
                            self.emit_row(i, &format!("~unpack.{half}.b64"), &[part, from])?;
                        }
                        Ok(())
                    }
                    _ => unsupported(i, "this number of parts"),
                }
            }
            [d, a] => {
                let (d, a) = (self.halves(i, d, true)?, self.halves(i, a, false)?);
                self.copy(i, d, a)
            }
            _ => unsupported(i, "these operands"),
        }
    }

    fn copy(&mut self, i: &Instruction<'a>, to: [Reg; 2], from: [Reg; 2]) -> Result<()> {
        self.emit_row(i, "mov.b64", &[to[0], from[0]])?;
        self.emit_row(i, "mov.b64", &[to[1], from[1]])
    }

    /// Two words as a double.
    fn doubled(&mut self, i: &Instruction<'a>, low: &Operand, high: &Operand) -> Result<Reg> {
        let parts = [self.slot(i, low, Kind::W)?, self.slot(i, high, Kind::W)?];
        self.derive(i, "~pack.b64", &parts)
    }
}
