//! Specifications of arguments and buffers: text to typed values, with one line about what is wrong.

use std::path::PathBuf;

use softgpu::{ParameterInfo, Tools};

/// A buffer: where its bytes come from, and where they go.
#[derive(Clone, Debug, PartialEq)]
pub struct Buffer {
    pub input: Option<PathBuf>,
    /// Size, where no file says it.
    pub bytes: usize,
    pub output: Option<PathBuf>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Arg {
    /// A number, a struct by value or a null pointer.
    Value(Vec<u8>),
    Buffer(Buffer),
}

/// The checkers of `--check`; a name that is missing is none.
pub fn checkers(list: &str) -> Result<Tools, String> {
    if list.split(',').any(|name| name.trim().is_empty()) {
        return Err("a checker's name is missing: memcheck, initcheck, racecheck, synccheck or all".into());
    }
    Tools::default().check(list)
}

/// The file of `--counters`.
pub fn counters(name: &str) -> Result<PathBuf, String> {
    match name {
        "" | "-" => Err("the JSON needs a file of its own, as the table goes to stdout".into()),
        name => Ok(name.into()),
    }
}

/// `X[,Y,Z]`.
pub fn dimensions(text: &str) -> Result<[u32; 3], String> {
    let parts: Vec<u32> = text
        .split(',')
        .map(|part| part.trim().parse().map_err(|_| format!("`{part}` is no number of blocks or threads")))
        .collect::<Result<_, _>>()?;
    match *parts.as_slice() {
        [x] => Ok([x, 1, 1]),
        [x, y] => Ok([x, y, 1]),
        [x, y, z] => Ok([x, y, z]),
        _ => Err("one to three numbers, as in 16 or 16,8,1".into()),
    }
}

/// One argument of the kernel.
pub fn arg(text: &str) -> Result<Arg, String> {
    if text == "null" {
        return Ok(Arg::Value(vec![0; 8]));
    }
    let Some((kind, value)) = text.split_once(':') else {
        return Err(format!(
            "argument `{text}`: expected KIND:VALUE, such as u32:7 or in:x.bin (see `softgpu run --help`)"
        ));
    };
    let wrong = || format!("argument `{text}`: `{value}` is no {kind}");
    // `inf` is meant; digits that are too large for the type are not.
    let finite = |real: f64| real.is_finite() || !value.contains(|c: char| c.is_ascii_digit());
    let bytes = match kind {
        "i8" | "u8" => integer(kind, value, 8).ok_or_else(wrong)?[..1].to_vec(),
        "i16" | "u16" => integer(kind, value, 16).ok_or_else(wrong)?[..2].to_vec(),
        "i32" | "u32" => integer(kind, value, 32).ok_or_else(wrong)?[..4].to_vec(),
        "i64" | "u64" => integer(kind, value, 64).ok_or_else(wrong)?.to_vec(),
        "f32" => match bits(value) {
            Some(bits) => u32::try_from(bits).map_err(|_| wrong())?.to_le_bytes().to_vec(),
            None => value.parse().ok().filter(|&x: &f32| finite(x.into())).ok_or_else(wrong)?.to_le_bytes().to_vec(),
        },
        "f64" => match bits(value) {
            Some(bits) => bits.to_le_bytes().to_vec(),
            None => value.parse().ok().filter(|&x: &f64| finite(x)).ok_or_else(wrong)?.to_le_bytes().to_vec(),
        },
        "bytes" => hex(value).ok_or_else(|| format!("argument `{text}`: bytes are pairs of hex digits"))?,
        _ => return buffer(text).map(Arg::Buffer),
    };
    Ok(Arg::Value(bytes))
}

/// An error unless the kernel's parameters take `given`, each with its text: so many, of their sizes, and of their kind, real
/// or integer. What has no kind (`.b32`, a struct, `bytes:`) goes by its size.
pub fn check(entry: &str, given: &[(&str, Arg)], takes: &[ParameterInfo]) -> Result<(), String> {
    if given.len() != takes.len() {
        let all: Vec<String> = takes.iter().map(|p| format!("{} {}", p.ty, p.name)).collect();
        let list = if all.is_empty() { String::new() } else { format!(": {}", all.join(", ")) };
        return Err(format!("{} arguments given, `{entry}` takes {}{list}", given.len(), takes.len()));
    }
    for (number, ((text, arg), takes)) in given.iter().zip(takes).enumerate() {
        let bytes = match arg {
            Arg::Value(bytes) => bytes.len(),
            Arg::Buffer(_) => 8,
        };
        let kind = text.split(':').next().unwrap_or_default();
        let real = matches!(kind, "f32" | "f64");
        let other = match takes.ty.as_str() {
            ".f32" | ".f64" => !real && kind != "bytes",
            ty => real && (ty.starts_with(".u") || ty.starts_with(".s")),
        };
        if bytes != takes.bytes || other {
            let ParameterInfo { name, ty, bytes: wanted, .. } = takes;
            return Err(format!(
                "argument {number} of `{entry}`: `{text}` ({bytes} bytes) for `{name}`, which is {ty} ({wanted} bytes)"
            ));
        }
    }
    Ok(())
}

/// `in:FILE`, `out:FILE:BYTES`, `inout:FILE:OUTFILE` or `scratch:BYTES`.
pub fn buffer(text: &str) -> Result<Buffer, String> {
    let (kind, rest) = text.split_once(':').unwrap_or((text, ""));
    let count =
        |digits: &str| digits.parse::<usize>().map_err(|_| format!("`{text}`: `{digits}` is no number of bytes"));
    let path = |name: &str| match name {
        "" => Err(format!("`{text}`: a file name is missing")),
        name => Ok(Some(PathBuf::from(name))),
    };
    // File names may hold colons; the last one counts.
    let two = || {
        rest.rsplit_once(':').ok_or_else(|| {
            format!("`{text}`: expected {kind}:FILE:{}", if kind == "out" { "BYTES" } else { "OUTFILE" })
        })
    };
    match kind {
        "in" => Ok(Buffer { input: path(rest)?, bytes: 0, output: None }),
        "out" => {
            let (file, bytes) = two()?;
            Ok(Buffer { input: None, bytes: count(bytes)?, output: path(file)? })
        }
        "inout" => {
            let (file, out) = two()?;
            Ok(Buffer { input: path(file)?, bytes: 0, output: path(out)? })
        }
        "scratch" => Ok(Buffer { input: None, bytes: count(rest)?, output: None }),
        other => Err(format!("`{text}`: `{other}` is no kind of argument (see `softgpu run --help`)")),
    }
}

/// `NAME=…`, the name not empty.
pub fn named<'a>(text: &'a str, form: &str) -> Result<(&'a str, &'a str), String> {
    text.split_once('=').filter(|(name, _)| !name.is_empty()).ok_or_else(|| format!("`{text}`: expected {form}"))
}

/// `ARG+OFFSET`.
pub fn place(text: &str) -> Result<(&str, usize), String> {
    let (target, offset) = text.rsplit_once('+').unwrap_or((text, "0"));
    let wrong = |_| format!("`{text}`: `{offset}` is no offset in bytes");
    let digits = offset.strip_prefix("0x");
    let offset = digits.map_or_else(|| offset.parse(), |digits| usize::from_str_radix(digits, 16)).map_err(wrong)?;
    Ok((target, offset))
}

fn bits(value: &str) -> Option<u64> {
    u64::from_str_radix(value.strip_prefix("0x").or(value.strip_prefix("0X"))?, 16).ok()
}

/// An integer that fits: signed kinds from their smallest to their largest, hex digits as the bits.
fn integer(kind: &str, value: &str, width: u32) -> Option<[u8; 8]> {
    if let Some(bits) = bits(value) {
        return (width == 64 || bits >> width == 0).then(|| bits.to_le_bytes());
    }
    let number: i128 = value.parse().ok()?;
    let range = if kind.starts_with('u') { 0..1i128 << width } else { -(1i128 << (width - 1))..1i128 << (width - 1) };
    range.contains(&number).then(|| (number as u64).to_le_bytes())
}

fn hex(digits: &str) -> Option<Vec<u8>> {
    let digits = digits.strip_prefix("0x").unwrap_or(digits).as_bytes();
    let pairs = digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok());
    if digits.len().is_multiple_of(2) { pairs.collect() } else { None }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // a panic in a test is its report
mod tests {
    use super::*;

    #[test]
    fn numbers_fit_or_are_refused() {
        assert_eq!(arg("i32:-1"), Ok(Arg::Value(vec![255; 4])));
        assert_eq!(arg("u8:0xff"), Ok(Arg::Value(vec![255])));
        assert_eq!(arg("f32:0x7fc00000"), Ok(Arg::Value(vec![0, 0, 0xc0, 0x7f])));
        assert_eq!(arg("f64:-0.5"), Ok(Arg::Value((-0.5f64).to_le_bytes().to_vec())));
        assert_eq!(arg("bytes:0100fe"), Ok(Arg::Value(vec![1, 0, 254])));
        assert_eq!(arg("f32:-inf"), Ok(Arg::Value(f32::NEG_INFINITY.to_le_bytes().to_vec())));
        #[rustfmt::skip]
        let wrong = [
            "u32:-1", "i32:2147483648", "u8:256", "f32:x", "f32:1e400", "f32:1e39", "f64:-1e400", "bytes:123", "bytes:zz",
            "i64:", "in:", "what:3", "7",
        ];
        for bad in wrong {
            assert!(arg(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn buffers_and_places() {
        let both = Buffer { input: Some("a:b".into()), bytes: 0, output: Some("c".into()) };
        assert_eq!(buffer("inout:a:b:c"), Ok(both));
        assert_eq!(buffer("out:x:12").unwrap().bytes, 12);
        assert!(buffer("out:x").is_err() && buffer("scratch:x").is_err() && buffer("out:x:-1").is_err());
        assert_eq!(place("2+16"), Ok(("2", 16)));
        assert_eq!(place("table+0x10"), Ok(("table", 16)));
        assert_eq!(dimensions("4, 2"), Ok([4, 2, 1]));
        assert!(dimensions("1,2,3,4").is_err() && dimensions("-1").is_err());
    }
}
