//! PTX text to tokens, each with its line. Words keep their dots: `ld.global.L1::no_allocate.f32` is one token.

use std::fmt;

use crate::LoadError;

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Token<'a> {
    /// An opcode, register, label or directive: `add.f32`, `%r1`, `$L__BB0_2`, `.reg`.
    Word(&'a str),
    Integer(Integer),
    /// `0fXXXXXXXX`: the bits of an f32.
    Float32(u32),
    /// `0dXXXXXXXXXXXXXXXX`, or a decimal fraction: the bits of an f64.
    Float64(u64),
    /// A decimal fraction, with its bits as an f64: also the number of a `.version`.
    Decimal(&'a str, u64),
    Text(&'a str),
    Mark(char),
}

/// A 64-bit integer, in two's complement; unsigned if it says so (`U`) or does not fit otherwise: PTX ISA 9.0, 4.5.1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Integer {
    pub bits: i64,
    pub unsigned: bool,
}

#[derive(Clone, Debug)]
pub struct Spanned<'a> {
    pub token: Token<'a>,
    pub line: u32,
}

impl fmt::Display for Token<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Token::Word(text) | Token::Decimal(text, _) => write!(f, "`{text}`"),
            Token::Integer(Integer { bits, unsigned: false }) => write!(f, "`{bits}`"),
            Token::Integer(Integer { bits, .. }) => write!(f, "`{}`", *bits as u64),
            Token::Float32(bits) => write!(f, "`0f{bits:08X}`"),
            Token::Float64(bits) => write!(f, "`0d{bits:016X}`"),
            Token::Text(_) => f.write_str("a string"),
            Token::Mark(c) => write!(f, "`{c}`"),
        }
    }
}

fn is_word(c: u8) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, b'_' | b'$' | b'%' | b'.')
}

/// Splits PTX text into tokens. Errors: an unclosed comment or string, a malformed number, a stray character.
pub fn lex(text: &str) -> Result<Vec<Spanned<'_>>, LoadError> {
    // What the driver is given ends with a null byte.
    let text = text.trim_end_matches('\0');
    let bytes = text.as_bytes();
    let (mut at, mut line, mut out) = (0, 1, Vec::with_capacity(bytes.len() / 4));
    while let Some(&c) = bytes.get(at) {
        let start = at;
        let after = bytes.get(at + 1).copied().unwrap_or(0);
        match c {
            b'\n' => {
                line += 1;
                at += 1;
            }
            _ if c.is_ascii_whitespace() || c == 0x0b => at += 1,
            b'/' if after == b'/' => {
                at += bytes[at..].iter().position(|&b| b == b'\n').unwrap_or(bytes.len() - at);
            }
            b'/' if after == b'*' => {
                let end = text[at + 2..].find("*/").ok_or_else(|| LoadError::at(line, "a comment is not closed"))?;
                line += text[at..at + 2 + end].matches('\n').count() as u32;
                at += end + 4;
            }
            b'"' => {
                let length =
                    string_length(&bytes[at + 1..]).ok_or_else(|| LoadError::at(line, "a string is not closed"))?;
                let string = &text[at + 1..at + 1 + length];
                out.push(Spanned { token: Token::Text(string), line });
                line += string.matches('\n').count() as u32;
                at += length + 2;
            }
            _ if is_word(c) && (c != b'%' || is_word(after)) => {
                at += word_length(&bytes[at..]);
                let word = &text[start..at];
                let token = if c.is_ascii_digit() { number(word, line)? } else { Token::Word(word) };
                out.push(Spanned { token, line });
            }
            b',' | b';' | b':' | b'{' | b'}' | b'[' | b']' | b'(' | b')' | b'<' | b'>' | b'+' | b'-' | b'@' | b'!'
            | b'=' | b'|' | b'&' | b'^' | b'~' | b'*' | b'/' | b'%' | b'?' => {
                out.push(Spanned { token: Token::Mark(c as char), line });
                at += 1;
            }
            _ => {
                let c = text[at..].chars().next().unwrap_or('?');
                return Err(LoadError::at(line, format!("`{}` does not belong in PTX", c.escape_debug())));
            }
        }
    }
    Ok(out)
}

/// Bytes before the closing quote, which a backslash may escape.
fn string_length(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    while *bytes.get(at)? != b'"' {
        at += if bytes[at] == b'\\' && bytes.get(at + 1) == Some(&b'"') { 2 } else { 1 };
    }
    Some(at)
}

/// Bytes of the word at the start: `::` joins two, and a decimal fraction may have a signed exponent. Directives that
/// stand without a space between them, as in `.reg.f32`, are words of their own.
fn word_length(bytes: &[u8]) -> usize {
    if bytes[0] == b'.' {
        return 1 + bytes[1..].iter().take_while(|&&c| is_word(c) && c != b'.').count();
    }
    let digits = bytes[0].is_ascii_digit();
    let (mut at, mut dot) = (0, false);
    loop {
        let c = |k: usize| bytes.get(k).copied().unwrap_or(0);
        if is_word(c(at)) {
            dot |= c(at) == b'.';
            at += 1;
        } else if c(at) == b':' && c(at + 1) == b':' && is_word(c(at + 2)) && !digits {
            at += 2;
        } else if digits && dot && matches!(c(at), b'+' | b'-') && matches!(c(at - 1), b'e' | b'E') {
            at += 1;
        } else {
            return at;
        }
    }
}

fn number(word: &str, line: u32) -> Result<Token<'_>, LoadError> {
    let wrong = || LoadError::at(line, format!("`{word}` is not a number"));
    let hex = |digits: &str| u64::from_str_radix(digits, 16).map_err(|_| wrong());
    let prefixed = |a: &str, b: &str| word.strip_prefix(a).or(word.strip_prefix(b));
    if let Some(digits) = prefixed("0f", "0F") {
        return Ok(Token::Float32(u32::from_str_radix(digits, 16).map_err(|_| wrong())?));
    }
    if let Some(digits) = prefixed("0d", "0D") {
        return Ok(Token::Float64(hex(digits)?));
    }
    if word.contains('.') {
        let value: f64 = word.parse().map_err(|_| wrong())?;
        return Ok(Token::Decimal(word, value.to_bits()));
    }
    let plain = word.strip_suffix(['U', 'u']).unwrap_or(word);
    let radix = |digits: &str, radix| u64::from_str_radix(digits, radix).map_err(|_| wrong());
    let value = match plain.get(..2) {
        Some("0x" | "0X") => radix(&plain[2..], 16)?,
        Some("0b" | "0B") => radix(&plain[2..], 2)?,
        Some(_) if plain.starts_with('0') => radix(&plain[1..], 8)?,
        _ => radix(plain, 10)?,
    };
    let unsigned = plain != word || value > i64::MAX as u64;
    Ok(Token::Integer(Integer { bits: value as i64, unsigned }))
}
