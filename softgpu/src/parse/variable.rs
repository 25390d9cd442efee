//! Variables and their initial values: PTX ISA 9.0, 5.4.

use super::{Parser, Result, type_bytes};
use crate::ast::{Address, Line, Variable};
use crate::isa::soft::{self, Mode, Type, What};
use crate::lex::Token;

/// No device has more.
const LARGEST: usize = 1 << 40;

/// Only a text made to do harm has more.
const LONGEST_INITIAL: usize = 1 << 26;

/// The bits of an f64, as those of `ty`, rounded to nearest even.
fn narrow(bits: u64, ty: Type) -> u64 {
    soft::run(Mode { from: Type::F64, ..Mode::new(What::Convert, ty) }.word(), bits, 0, 0)
}

/// What stands before a variable's name.
struct Kind<'a> {
    ty: &'a str,
    size: usize,
    lanes: usize,
    align: usize,
    managed: bool,
}

/// One element of an initial value.
struct Element<'a> {
    bits: u64,
    /// (name, addend, generic).
    address: Option<(&'a str, i64, bool)>,
    shift: u32,
    /// A masked element is one byte.
    masked: bool,
}

impl<'a> Parser<'a> {
    /// `.align 4 .b8 name[64] = {…}, other;`, the space already read.
    pub fn variables(&mut self, space: &'a str, linkage: &'a str) -> Result<Vec<Variable<'a>>> {
        let kind = self.kind()?;
        let variables = self.list(|p| p.variable(space, linkage, &kind))?;
        self.expect(';')?;
        Ok(variables)
    }

    fn kind(&mut self) -> Result<Kind<'a>> {
        let (mut align, mut lanes, mut managed) = (0, 1, false);
        loop {
            let word = self.word("a type such as `.b32`")?;
            match word {
                ".align" => align = self.alignment()?,
                ".attribute" => managed |= self.attribute()?,
                ".v2" => lanes = 2,
                ".v4" => lanes = 4,
                ".texref" | ".samplerref" | ".surfref" => {
                    self.at -= 1;
                    return self.error("softgpu has no textures: read the data through a pointer");
                }
                ty => {
                    let Some(size) = type_bytes(ty).or((ty == ".b128").then_some(16)) else {
                        self.at -= 1;
                        return self.expected("a type such as `.b32`");
                    };
                    return Ok(Kind { ty, size, lanes, align: align.max(size * lanes), managed });
                }
            }
        }
    }

    /// The number after `.align`.
    pub fn alignment(&mut self) -> Result<usize> {
        let align = self.number("an alignment")? as usize;
        if !align.is_power_of_two() {
            self.at -= 1;
            return self.expected("an alignment, a power of two");
        }
        Ok(align)
    }

    fn variable(&mut self, space: &'a str, linkage: &'a str, kind: &Kind<'a>) -> Result<Variable<'a>> {
        let name = self.name("a variable's name")?;
        // Sizes of the dimensions; the first may be left open.
        let (mut sizes, mut open, mut array) = (Vec::new(), false, false);
        while self.take('[') {
            if !array && self.take(']') {
                (open, array) = (true, true);
                sizes.push(0);
                continue;
            }
            array = true;
            sizes.push(self.count("a size")?);
            self.expect(']')?;
        }
        let size = kind.size * kind.lanes;
        let product = |sizes: &[usize]| sizes.iter().try_fold(size, |a, &b| a.checked_mul(b));
        let Some(mut bytes) = product(&sizes).filter(|&bytes| bytes <= LARGEST) else {
            return self.error(format!("`{name}` is larger than any memory"));
        };
        let mut variable = Variable {
            name,
            space,
            linkage,
            ty: kind.ty,
            lanes: kind.lanes,
            array,
            bytes,
            align: kind.align,
            external: linkage == ".extern",
            managed: kind.managed,
            init: Vec::new(),
            addresses: Vec::new(),
            line: Line(self.line()),
        };
        if self.take('=') {
            if !matches!(space, ".global" | ".const") {
                return self.error(format!("a `{space}` variable has no initial value"));
            }
            if open {
                sizes[0] = usize::MAX;
            }
            let end = self.initial(&mut variable, kind, &sizes, 0)?;
            if open {
                let row = product(&sizes[1..]).unwrap_or(size).max(1);
                bytes = end.next_multiple_of(row);
            }
        } else if open {
            variable.external |= space == ".shared";
        }
        variable.bytes = bytes;
        Ok(variable)
    }

    /// The initial value of what starts at byte `at` and has these dimensions; where it ends.
    fn initial(&mut self, v: &mut Variable<'a>, kind: &Kind<'a>, sizes: &[usize], at: usize) -> Result<usize> {
        if !self.take('{') {
            let element = self.element(kind)?;
            return self.place(v, kind, element, at);
        }
        // A vector's lanes may stand in braces of their own.
        let (count, inner) = match sizes {
            [count, inner @ ..] => (*count, inner),
            [] => (kind.lanes, sizes),
        };
        let step = match sizes {
            [] => kind.size,
            _ => inner.iter().fold(kind.size * kind.lanes, |a, &b| a.saturating_mul(b)),
        };
        let (start, mut at) = (at, at);
        let limit = start.saturating_add(count.saturating_mul(step));
        while !self.take('}') {
            if at >= limit {
                return self.error(format!("`{}` has more initial values than room", v.name));
            }
            let nested = self.peek() == Some(Token::Mark('{'));
            let next = self.nested(|p| p.initial(v, kind, inner, at))?;
            // Braces may be left out: then values follow one another.
            at = if nested { at + step } else { next };
            if !self.take(',') {
                self.expect('}')?;
                break;
            }
        }
        Ok(at)
    }

    fn place(&mut self, v: &mut Variable<'a>, kind: &Kind<'a>, element: Element<'a>, at: usize) -> Result<usize> {
        let end = at + kind.size;
        if v.bytes > 0 && end > v.bytes {
            return self.error(format!("`{}` has more initial values than room", v.name));
        }
        if end > LONGEST_INITIAL {
            return self.error(format!("the initial value of `{}` is beyond {LONGEST_INITIAL} bytes", v.name));
        }
        if v.init.len() < end {
            v.init.resize(end, 0);
        }
        let bits = (element.bits as u128).to_le_bytes();
        v.init[at..end].copy_from_slice(&bits[..kind.size]);
        if let Some((name, addend, generic)) = element.address {
            let bytes = if element.masked { 1 } else { kind.size };
            v.addresses.push(Address { at, bytes, name, addend, generic, shift: element.shift });
        }
        Ok(end)
    }

    /// A number, a float, `name+4`, `generic(name)+4`, or `0xff00(…)`: one byte of an address or number.
    fn element(&mut self, kind: &Kind<'a>) -> Result<Element<'a>> {
        if let (Some(Token::Integer(mask)), Some(Token::Mark('('))) = (self.peek(), self.peek_at(1)) {
            let shift = mask.bits.trailing_zeros() & 63;
            if mask.bits as u64 >> shift != 0xff || shift % 8 != 0 {
                return self.expected("a mask of one byte such as `0xff00`");
            }
            self.at += 2;
            let inner = self.nested(|p| p.element(kind))?;
            self.expect(')')?;
            let bits = inner.bits >> shift & 0xff;
            return Ok(Element { bits, shift, masked: true, ..inner });
        }
        let plain = |bits| Element { bits, address: None, shift: 0, masked: false };
        let negative = matches!(self.peek(), Some(Token::Mark('-')));
        if let Some(bits) = self.float(kind, negative as usize) {
            self.at += 1 + negative as usize;
            return Ok(plain(bits ^ if negative { 1 << (8 * kind.size.min(8) - 1) } else { 0 }));
        }
        if self.peek_word().is_none_or(|word| word == "WARP_SZ") {
            return Ok(plain(self.constant()? as u64));
        }
        let mut name = self.name("an initial value")?;
        let generic = name == "generic" && self.take('(');
        if generic {
            name = self.name("a variable's name")?;
        }
        let mut addend = self.addend()?;
        if generic {
            self.expect(')')?;
            addend = addend.wrapping_add(self.addend()?);
        }
        Ok(Element { bits: 0, address: Some((name, addend, generic)), shift: 0, masked: false })
    }

    /// The float `ahead` of here as an element's bits.
    fn float(&self, kind: &Kind<'a>, ahead: usize) -> Option<u64> {
        let wide = matches!(kind.ty, ".f64" | ".b64");
        Some(match self.peek_at(ahead)? {
            Token::Float32(bits) if wide => (f32::from_bits(bits) as f64).to_bits(),
            Token::Float32(bits) => bits as u64,
            Token::Float64(bits) | Token::Decimal(_, bits) if wide => bits,
            Token::Float64(bits) | Token::Decimal(_, bits) => match kind.ty {
                ".f16" => narrow(bits, Type::F16),
                ".bf16" => narrow(bits, Type::Bf16),
                _ => (f64::from_bits(bits) as f32).to_bits() as u64,
            },
            _ => return None,
        })
    }

    /// `+4`, `-4`, `+-4` or nothing, after a name.
    pub fn addend(&mut self) -> Result<i64> {
        let mut sum = 0i64;
        while let Some(Token::Mark(sign @ ('+' | '-'))) = self.peek() {
            self.at += 1;
            let value = self.product()?;
            sum = if sign == '-' { sum.wrapping_sub(value) } else { sum.wrapping_add(value) };
        }
        Ok(sum)
    }
}
