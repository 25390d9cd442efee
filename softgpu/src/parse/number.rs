//! Constant expressions: the operators of C on 64-bit integers. PTX ISA 9.0, 4.5.

use super::{Parser, Result};
use crate::lex::{Integer, Token};

/// Binary operators by how tightly they bind, loosest first.
const LEVELS: [&[&str]; 10] = [
    &["||"],
    &["&&"],
    &["|"],
    &["^"],
    &["&"],
    &["==", "!="],
    &["<=", ">=", "<", ">"],
    &["<<", ">>"],
    &["+", "-"],
    &["*", "/", "%"],
];

fn signed(bits: i64) -> Integer {
    Integer { bits, unsigned: false }
}

impl<'a> Parser<'a> {
    /// An integer constant.
    pub fn constant(&mut self) -> Result<i64> {
        Ok(self.conditional()?.bits)
    }

    /// A constant that binds as tightly as a product: what may follow the sign in `name+4`.
    pub fn product(&mut self) -> Result<i64> {
        Ok(self.binary(LEVELS.len() - 1)?.bits)
    }

    fn conditional(&mut self) -> Result<Integer> {
        let condition = self.binary(0)?;
        if !self.take('?') {
            return Ok(condition);
        }
        self.nested(|p| {
            let yes = p.conditional()?;
            p.expect(':')?;
            let no = p.conditional()?;
            let chosen = if condition.bits != 0 { yes } else { no };
            Ok(Integer { unsigned: yes.unsigned || no.unsigned, ..chosen })
        })
    }

    fn binary(&mut self, level: usize) -> Result<Integer> {
        let Some(operators) = LEVELS.get(level) else { return self.unary() };
        let mut left = self.binary(level + 1)?;
        while let Some(&operator) = operators.iter().find(|o| self.operator() == Some(**o)) {
            self.at += operator.len();
            let right = self.binary(level + 1)?;
            let Some(result) = operate(operator, left, right) else {
                return self.error("a constant is divided by zero");
            };
            left = result;
        }
        Ok(left)
    }

    /// The operator that comes next, the longest that it can be.
    fn operator(&self) -> Option<&'static str> {
        let mark = |ahead| match self.peek_at(ahead) {
            Some(Token::Mark(c)) => c,
            _ => ' ',
        };
        let (first, second) = (mark(0), mark(1));
        let all = || LEVELS.iter().copied().flatten().copied();
        let two = all().find(|o| o.len() == 2 && o.starts_with(first) && o.ends_with(second));
        two.or_else(|| all().find(|o| o.len() == 1 && o.starts_with(first)))
    }

    fn unary(&mut self) -> Result<Integer> {
        let result = match self.peek() {
            Some(Token::Integer(value)) => value,
            Some(Token::Word("WARP_SZ")) => signed(32),
            Some(Token::Mark(operator @ ('-' | '+' | '~' | '!'))) => {
                self.at += 1;
                let Integer { bits, unsigned } = self.nested(Self::unary)?;
                return Ok(match operator {
                    '-' => Integer { bits: bits.wrapping_neg(), unsigned },
                    '~' => Integer { bits: !bits, unsigned },
                    '!' => signed((bits == 0) as i64),
                    _ => Integer { bits, unsigned },
                });
            }
            Some(Token::Mark('(')) => {
                self.at += 1;
                if let Some(cast @ (".s64" | ".u64")) = self.peek_word() {
                    self.at += 1;
                    self.expect(')')?;
                    let value = self.nested(Self::unary)?;
                    return Ok(Integer { unsigned: cast == ".u64", ..value });
                }
                let value = self.nested(Self::conditional)?;
                self.expect(')')?;
                return Ok(value);
            }
            _ => return self.expected("an integer"),
        };
        self.at += 1;
        Ok(result)
    }
}

/// `None`: division by zero.
fn operate(operator: &str, a: Integer, b: Integer) -> Option<Integer> {
    let unsigned = a.unsigned || b.unsigned;
    let (x, y, ux, uy) = (a.bits, b.bits, a.bits as u64, b.bits as u64);
    let truth = |signed: bool, other: bool| (if unsigned { other } else { signed }) as i64;
    let bits = match operator {
        "||" => return Some(signed((x != 0 || y != 0) as i64)),
        "&&" => return Some(signed((x != 0 && y != 0) as i64)),
        "==" => return Some(signed((x == y) as i64)),
        "!=" => return Some(signed((x != y) as i64)),
        "<" => return Some(signed(truth(x < y, ux < uy))),
        ">" => return Some(signed(truth(x > y, ux > uy))),
        "<=" => return Some(signed(truth(x <= y, ux <= uy))),
        ">=" => return Some(signed(truth(x >= y, ux >= uy))),
        "<<" => return Some(Integer { bits: if uy > 63 { 0 } else { x << uy }, ..a }),
        ">>" if a.unsigned => return Some(Integer { bits: if uy > 63 { 0 } else { (ux >> uy) as i64 }, ..a }),
        ">>" => return Some(Integer { bits: x >> uy.min(63), ..a }),
        "|" => x | y,
        "^" => x ^ y,
        "&" => x & y,
        "+" => x.wrapping_add(y),
        "-" => x.wrapping_sub(y),
        "*" => x.wrapping_mul(y),
        "/" if unsigned => ux.checked_div(uy)? as i64,
        "%" if unsigned => ux.checked_rem(uy)? as i64,
        "/" => (y != 0).then(|| x.wrapping_div(y))?,
        _ => (y != 0).then(|| x.wrapping_rem(y))?,
    };
    Some(Integer { bits, unsigned })
}
