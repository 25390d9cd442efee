//! PTX text to tokens, each with its line. Words keep their dots: `ld.global.f32` is one token.

use crate::LoadError;

#[derive(Clone, Debug, PartialEq)]
pub enum Token<'a> {
    /// An opcode, register, label or directive: `add.f32`, `%r1`, `$L__BB0_2`, `.reg`.
    Word(&'a str),
    /// An integer, in two's complement.
    Integer(i64),
    /// `0fXXXXXXXX`: the bits of an f32.
    Float32(u32),
    /// `0dXXXXXXXXXXXXXXXX`: the bits of an f64.
    Float64(u64),
    Text(&'a str),
    Mark(char),
}

#[derive(Clone, Debug)]
pub struct Spanned<'a> {
    pub token: Token<'a>,
    pub line: u32,
}

fn is_word(c: u8) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, b'_' | b'$' | b'%' | b'.')
}

/// Splits PTX text into tokens. Errors: an unclosed comment or string, a malformed number, a stray character.
pub fn lex(text: &str) -> Result<Vec<Spanned<'_>>, LoadError> {
    let bytes = text.as_bytes();
    let (mut at, mut line, mut out) = (0, 1, Vec::with_capacity(bytes.len() / 4));
    while let Some(&c) = bytes.get(at) {
        let start = at;
        match c {
            b'\n' => {
                line += 1;
                at += 1;
            }
            _ if c.is_ascii_whitespace() => at += 1,
            b'/' if bytes.get(at + 1) == Some(&b'/') => {
                at += bytes[at..].iter().position(|&b| b == b'\n').unwrap_or(bytes.len() - at);
            }
            b'/' if bytes.get(at + 1) == Some(&b'*') => {
                let length = text[at..].find("*/").ok_or_else(|| LoadError::at(line, "a comment is not closed"))? + 2;
                line += text[at..at + length].matches('\n').count() as u32;
                at += length;
            }
            b'"' => {
                let length = text[at + 1..].find('"').ok_or_else(|| LoadError::at(line, "a string is not closed"))?;
                out.push(Spanned { token: Token::Text(&text[at + 1..at + 1 + length]), line });
                at += length + 2;
            }
            _ if is_word(c) => {
                while bytes.get(at).is_some_and(|&b| is_word(b)) {
                    at += 1;
                }
                let word = &text[start..at];
                // A digit first and a dot within: the number of a `.version`.
                let numeric = c.is_ascii_digit() && !word.contains('.');
                let token = if numeric { number(word, line)? } else { Token::Word(word) };
                out.push(Spanned { token, line });
            }
            b',' | b';' | b':' | b'{' | b'}' | b'[' | b']' | b'(' | b')' | b'<' | b'>' | b'+' | b'-' | b'@' | b'!'
            | b'=' | b'|' => {
                out.push(Spanned { token: Token::Mark(c as char), line });
                at += 1;
            }
            _ => {
                let c = text[at..].chars().next().unwrap_or('?');
                return Err(LoadError::at(line, format!("`{c}` does not belong in PTX")));
            }
        }
    }
    Ok(out)
}

fn number(word: &str, line: u32) -> Result<Token<'static>, LoadError> {
    let wrong = || LoadError::at(line, format!("`{word}` is not a number"));
    let hex = |digits: &str| u64::from_str_radix(digits, 16).map_err(|_| wrong());
    if let Some(digits) = word.strip_prefix("0f").or(word.strip_prefix("0F")) {
        return Ok(Token::Float32(u32::from_str_radix(digits, 16).map_err(|_| wrong())?));
    }
    if let Some(digits) = word.strip_prefix("0d").or(word.strip_prefix("0D")) {
        return Ok(Token::Float64(hex(digits)?));
    }
    let word = word.strip_suffix('U').unwrap_or(word);
    let value = match word.strip_prefix("0x").or(word.strip_prefix("0X")) {
        Some(digits) => hex(digits)?,
        None if word.len() > 1 && word.starts_with('0') => u64::from_str_radix(word, 8).map_err(|_| wrong())?,
        None => word.parse().map_err(|_| wrong())?,
    };
    Ok(Token::Integer(value as i64))
}
