//! `printf` as it is on the device: CUDA C++ Programming Guide 13.0, 10.33. Conversions are those of C; `l` and `ll`
//! both mean 64 bits, and the result is the number of arguments.

/// What a conversion asks for.
#[derive(Default)]
struct Spec {
    left: bool,
    plus: bool,
    space: bool,
    alternate: bool,
    zero: bool,
    width: usize,
    precision: Option<usize>,
    /// Bytes of an integer.
    bytes: u32,
}

/// Nobody prints wider.
const WIDEST: usize = 1 << 16;

/// The text, and how many arguments went into it. `next` gives the next argument of 4 or 8 bytes, `string` what a `%s`
/// points at. `Err`: an address that is no memory.
pub fn format(
    format: &[u8],
    next: &mut dyn FnMut(u64) -> Result<u64, u64>,
    string: &dyn Fn(u64) -> Result<Vec<u8>, u64>,
) -> Result<(Vec<u8>, u32), u64> {
    let (mut out, mut at, mut count) = (Vec::new(), 0, 0);
    while let Some(&c) = format.get(at) {
        at += 1;
        if c != b'%' {
            out.push(c);
            continue;
        }
        if format.get(at) == Some(&b'%') {
            out.push(b'%');
            at += 1;
            continue;
        }
        let start = at;
        let mut argument = |bytes| {
            count += 1;
            next(bytes)
        };
        let spec = spec(format, &mut at, &mut argument)?;
        let conversion = format.get(at).copied().unwrap_or(0);
        at += 1;
        let text = match conversion {
            b'd' | b'i' => integer(&spec, argument(spec.bytes.max(4) as u64)?, true, b'd'),
            b'u' | b'o' | b'x' | b'X' => integer(&spec, argument(spec.bytes.max(4) as u64)?, false, conversion),
            b'p' => integer(&Spec { alternate: true, bytes: 8, ..spec }, argument(8)?, false, b'x'),
            b'e' | b'E' | b'f' | b'F' | b'g' | b'G' | b'a' | b'A' => {
                float(&spec, f64::from_bits(argument(8)?), conversion)
            }
            b'c' => pad(&spec, "", vec![argument(4)? as u8], false),
            b's' => {
                let address = argument(8)?;
                let mut text = if address == 0 { b"(null)".to_vec() } else { string(address)? };
                text.truncate(spec.precision.unwrap_or(usize::MAX));
                pad(&spec, "", text, false)
            }
            // What is no conversion is text.
            _ => format[start - 1..at.min(format.len())].to_vec(),
        };
        out.extend(text);
    }
    Ok((out, count))
}

/// Flags, width, precision and size at `at`.
fn spec(format: &[u8], at: &mut usize, argument: &mut dyn FnMut(u64) -> Result<u64, u64>) -> Result<Spec, u64> {
    let mut spec = Spec { bytes: 4, ..Spec::default() };
    let peek = |at: usize| format.get(at).copied().unwrap_or(0);
    loop {
        match peek(*at) {
            b'-' => spec.left = true,
            b'+' => spec.plus = true,
            b' ' => spec.space = true,
            b'#' => spec.alternate = true,
            b'0' => spec.zero = true,
            _ => break,
        }
        *at += 1;
    }
    let mut number = |at: &mut usize| -> Result<i64, u64> {
        if peek(*at) == b'*' {
            *at += 1;
            return Ok(argument(4)? as i32 as i64);
        }
        let mut value = 0i64;
        while peek(*at).is_ascii_digit() {
            value = (10 * value + (peek(*at) - b'0') as i64).min(WIDEST as i64);
            *at += 1;
        }
        Ok(value)
    };
    let width = number(at)?;
    spec.left |= width < 0;
    spec.width = (width.unsigned_abs() as usize).min(WIDEST);
    if peek(*at) == b'.' {
        *at += 1;
        let precision = number(at)?;
        spec.precision = usize::try_from(precision).ok().map(|p| p.min(WIDEST));
    }
    let sizes: [(&[u8], u32); 7] = [(b"hh", 1), (b"h", 2), (b"ll", 8), (b"l", 8), (b"j", 8), (b"z", 8), (b"t", 8)];
    if let Some((name, bytes)) = sizes.into_iter().find(|(name, _)| format[*at..].starts_with(name)) {
        *at += name.len();
        spec.bytes = bytes;
    }
    Ok(spec)
}

/// `text` after its sign or prefix, as wide as asked for; with zeros between the two if they are asked for and possible.
fn pad(spec: &Spec, prefix: &str, text: Vec<u8>, zeros: bool) -> Vec<u8> {
    let missing = spec.width.saturating_sub(prefix.len() + text.len());
    let zeros = zeros && spec.zero && !spec.left;
    let mut out = vec![b' '; if spec.left || zeros { 0 } else { missing }];
    out.extend(prefix.bytes());
    out.extend(std::iter::repeat_n(b'0', if zeros { missing } else { 0 }));
    out.extend(text);
    out.extend(std::iter::repeat_n(b' ', if spec.left { missing } else { 0 }));
    out
}

fn sign(spec: &Spec, negative: bool) -> &'static str {
    match negative {
        true => "-",
        false if spec.plus => "+",
        false if spec.space => " ",
        false => "",
    }
}

fn integer(spec: &Spec, raw: u64, signed: bool, conversion: u8) -> Vec<u8> {
    let shift = 64 - 8 * spec.bytes;
    let (negative, value) = match signed {
        true => {
            let value = (raw << shift) as i64 >> shift;
            (value < 0, value.unsigned_abs())
        }
        false => (false, raw << shift >> shift),
    };
    let mut digits = match conversion {
        b'x' => format!("{value:x}"),
        b'X' => format!("{value:X}"),
        b'o' => format!("{value:o}"),
        _ => value.to_string(),
    };
    if spec.precision == Some(0) && value == 0 {
        digits.clear();
    }
    if let Some(missing) = spec.precision.and_then(|p| p.checked_sub(digits.len())) {
        digits.insert_str(0, &"0".repeat(missing));
    }
    let prefix = match conversion {
        b'x' if spec.alternate && value != 0 => "0x",
        b'X' if spec.alternate && value != 0 => "0X",
        b'o' if spec.alternate && !digits.starts_with('0') => "0",
        _ if signed => sign(spec, negative),
        _ => "",
    };
    pad(spec, prefix, digits.into_bytes(), spec.precision.is_none())
}

fn float(spec: &Spec, value: f64, conversion: u8) -> Vec<u8> {
    let prefix = sign(spec, value.is_sign_negative());
    let (value, upper) = (value.abs(), conversion.is_ascii_uppercase());
    let text = if value.is_nan() {
        "nan".into()
    } else if value.is_infinite() {
        "inf".into()
    } else {
        let precision = spec.precision.unwrap_or(6);
        match conversion.to_ascii_lowercase() {
            b'f' => fixed(value, precision, spec.alternate),
            b'e' => exponential(value, precision, spec.alternate),
            b'a' => hexadecimal(value, spec.precision, spec.alternate),
            _ => general(value, precision.max(1), spec.alternate),
        }
    };
    let text = if upper { text.to_ascii_uppercase() } else { text };
    pad(spec, prefix, text.into_bytes(), value.is_finite())
}

fn fixed(value: f64, precision: usize, dot: bool) -> String {
    let text = format!("{value:.precision$}");
    if dot && precision == 0 { text + "." } else { text }
}

fn exponential(value: f64, precision: usize, dot: bool) -> String {
    let text = format!("{value:.precision$e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |exponent| ('-', exponent));
    let dot = if dot && precision == 0 { "." } else { "" };
    format!("{digits}{dot}e{sign}{exponent:0>2}")
}

/// `%g`: the shorter of `%e` and `%f`, without zeros at the end: C17, 7.21.6.1.
fn general(value: f64, precision: usize, keep: bool) -> String {
    let short = format!("{value:.*e}", precision - 1);
    let exponent: i64 = short.split_once('e').and_then(|(_, e)| e.parse().ok()).unwrap_or(0);
    let trim = |text: &str| match text.contains('.') && !keep {
        true => text.trim_end_matches('0').trim_end_matches('.').to_string(),
        false => text.to_string(),
    };
    if exponent < -4 || exponent >= precision as i64 {
        let text = exponential(value, precision - 1, keep);
        let (digits, exponent) = text.split_once('e').unwrap_or((&text, "+00"));
        return format!("{}e{exponent}", trim(digits));
    }
    trim(&fixed(value, (precision as i64 - 1 - exponent) as usize, keep))
}

/// `%a`: hexadecimal digits of the significand, and a power of two.
fn hexadecimal(value: f64, precision: Option<usize>, dot: bool) -> String {
    let (bits, raw) = (value.to_bits() & ((1 << 52) - 1), value.to_bits() >> 52);
    let (mut lead, exponent) = match raw {
        0 if bits == 0 => (0, 0),
        0 => (0, -1022),
        _ => (1u64, raw as i64 - 1023),
    };
    let mut digits = format!("{bits:013x}");
    match precision {
        None => digits.truncate(digits.trim_end_matches('0').len()),
        Some(precision) if precision < 13 => {
            // Half goes to even.
            let drop = 4 * (13 - precision as u32);
            let whole = lead << 52 | bits;
            let (kept, rest) = (whole >> drop, whole & ((1 << drop) - 1));
            let half = 1u64 << (drop - 1);
            let kept = kept + (rest > half || rest == half && kept & 1 == 1) as u64;
            lead = kept >> (52 - drop);
            digits = match precision {
                0 => String::new(),
                _ => format!("{:0precision$x}", kept & ((1u64 << (52 - drop)) - 1)),
            };
        }
        Some(precision) => digits.push_str(&"0".repeat(precision - 13)),
    }
    let dot = if dot || !digits.is_empty() { "." } else { "" };
    format!("0x{lead}{dot}{digits}p{exponent:+}")
}
