//! Oracle of integer arithmetic, logic and bits, in 128-bit integers and bit by bit: PTX ISA 9.0, 9.7.1, 9.7.2, 9.7.8.

use crate::case::{Case, Ty, Want};

/// (width, signed) of an integer type.
pub fn integer(name: &str) -> Option<(u32, bool)> {
    let width = name.get(1..)?.parse().ok()?;
    matches!(name.as_bytes()[0], b'u' | b's' | b'b').then_some((width, name.starts_with('s')))
}

/// The integer that the low bits stand for.
pub fn value(bits: u64, width: u32, signed: bool) -> i128 {
    let low = bits as i128 & ((1 << width) - 1);
    if signed && low >> (width - 1) & 1 != 0 { low - (1 << width) } else { low }
}

/// The low bits; in a register of 32 bits for those of 8, extended as the type is.
pub fn wrap(v: i128, width: u32, signed: bool) -> u64 {
    if width == 8 {
        return value(v as u64, 8, signed) as u32 as u64;
    }
    (v & ((1 << width) - 1)) as u64
}

fn clamp(v: i128, width: u32, signed: bool) -> i128 {
    let top = 1i128 << (width - signed as u32);
    v.clamp(if signed { -top } else { 0 }, top - 1)
}

fn bit(x: u64, at: u32) -> u64 {
    x >> at & 1
}

pub fn case(opcode: &str) -> Option<Case> {
    let parts: Vec<&'static str> = crate::case::words(opcode);
    let last = parts[parts.len() - 1];
    if let Some(case) =
        lanes_of_words(opcode, &parts).or_else(|| carries(opcode, &parts)).or_else(|| logic(opcode, &parts))
    {
        return Some(case);
    }
    if let Some(case) = bits(opcode, &parts) {
        return Some(case);
    }
    let (w, s) = integer(last)?;
    let ty = Ty::I(w);
    let (has, head) = (|word: &str| parts.contains(&word), parts[0]);
    let (sat, relu, hi, wide) = (has("sat"), has("relu"), has("hi"), has("wide"));
    let count = match head {
        "add" | "sub" | "mul" | "div" | "rem" | "min" | "max" | "mul24" => 2,
        "mad" | "mad24" | "sad" => 3,
        "abs" | "neg" => 1,
        _ => return None,
    };
    let out = if wide { Ty::I(2 * w) } else { ty };
    let mut inputs = vec![ty; count];
    if head == "mad" {
        inputs[2] = out;
    }
    let case = Case::bits(opcode, out, inputs, move |x| {
        let width = if wide { 2 * w } else { w };
        let v = |at: usize| value(x[at], if at == 2 { width } else { w }, s);
        let low24 = |at: usize| value(x[at], 24, s);
        let part = |product: i128, shift: u32| if hi { product >> shift } else { product };
        // Of a sum with the saturation, the product's part is a number of its own.
        let taken = |part: i128| value(part as u64, width, s);
        let r = match head {
            "add" => v(0) + v(1),
            "sub" => v(0) - v(1),
            "mul" => part(v(0) * v(1), w),
            "mad" if hi => taken(part(v(0) * v(1), w)) + v(2),
            "mad" => v(0).wrapping_mul(v(1)).wrapping_add(v(2)),
            "mul24" => part(low24(0) * low24(1), 16),
            "mad24" => taken(part(low24(0) * low24(1), 16)) + v(2),
            "sad" => (v(0) - v(1)).abs() + v(2),
            "div" if v(1) == 0 => -1,
            "rem" if v(1) == 0 => -1,
            "div" => v(0) / v(1),
            "rem" => v(0) % v(1),
            "min" => v(0).min(v(1)),
            "max" => v(0).max(v(1)),
            "abs" => v(0).abs(),
            _ => -v(0),
        };
        let r = if relu { r.max(0) } else { r };
        wrap(if sat { clamp(r, w, s) } else { r }, width, s)
    });
    Some(case)
}

/// `dp4a`, `dp2a`, and pairs of 16-bit integers.
fn lanes_of_words(opcode: &str, parts: &[&'static str]) -> Option<Case> {
    let words = |n: usize| vec![Ty::I(32); n];
    let signed = |ty: &str| ty.starts_with('s');
    match parts {
        ["dp4a", a, b] => {
            let (sa, sb) = (signed(a), signed(b));
            Some(Case::bits(opcode, Ty::I(32), words(3), move |x| {
                let byte = |x: u64, i: u32, s: bool| value(x >> (8 * i), 8, s);
                let dot: i128 = (0..4).map(|i| byte(x[0], i, sa) * byte(x[1], i, sb)).sum();
                wrap(dot + x[2] as i128, 32, false)
            }))
        }
        ["dp2a", half, a, b] => {
            let (sa, sb, from) = (signed(a), signed(b), if *half == "hi" { 2 } else { 0 });
            Some(Case::bits(opcode, Ty::I(32), words(3), move |x| {
                let term = |i: u32| value(x[0] >> (16 * i), 16, sa) * value(x[1] >> (8 * (from + i)), 8, sb);
                wrap(term(0) + term(1) + x[2] as i128, 32, false)
            }))
        }
        [head, .., ty @ ("u16x2" | "s16x2")] => {
            let inner = case(&format!("{head}{}.{}", if parts.contains(&"relu") { ".relu" } else { "" }, &ty[..3]))?;
            Some(Case::bits(opcode, Ty::I(32), words(2), move |x| {
                let half = |at: u32| match (inner.expect)(&[x[0] >> at & 0xffff, x[1] >> at & 0xffff])[0] {
                    Want::Bits(bits) => bits << at,
                    _ => 0,
                };
                half(0) | half(16)
            }))
        }
        _ => None,
    }
}

/// The carry flag is set by an addition before, and read by one after.
fn carries(opcode: &str, parts: &[&'static str]) -> Option<Case> {
    let head = parts[0];
    let (takes, gives) = (matches!(head, "addc" | "subc" | "madc"), parts.contains(&"cc"));
    if !takes && !gives {
        return None;
    }
    let (w, s) = integer(parts[parts.len() - 1])?;
    let ty = Ty::I(w);
    let mad = head.starts_with("mad");
    let n = if mad { 3 } else { 2 };
    let sources: String = (0..n).map(|k| format!(", a{k}")).collect();
    // `w` is the word that the predicate was loaded as: 0 or 1.
    let text = format!("add.cc.u32 d2, w{n}, 0xffffffff; {opcode} d0{sources}; addc.u32 d1, 0, 0;");
    let mut inputs = vec![ty; n];
    inputs.push(Ty::P);
    let (hi, minus) = (parts.contains(&"hi"), head.starts_with("sub"));
    let expect = move |x: &[u64]| {
        let flag = x[n] as i128;
        // A borrow is a carry that is not there.
        let carry = if takes { flag ^ minus as i128 } else { 0 };
        let unsigned = |v: i128| v & ((1 << w) - 1);
        let (a, b) = if mad {
            let (a, b) = (value(x[0], w, s), value(x[1], w, s));
            // 64-bit unsigned products need all 128 bits.
            let high = if s { (a * b) >> w } else { ((a as u128 * b as u128) >> w) as i128 };
            (unsigned(if hi { high } else { a.wrapping_mul(b) }), x[2] as i128)
        } else {
            (x[0] as i128, x[1] as i128)
        };
        let r = if minus { a - b - carry } else { a + b + carry };
        let out = (r < 0 || r >= 1 << w) as u64 ^ minus as u64;
        vec![
            Want::Bits(unsigned(r) as u64),
            Want::Bits(if gives { out } else { flag as u64 }),
            Want::Bits((flag as u64).wrapping_sub(1) & 0xffff_ffff),
        ]
    };
    Some(Case { text, inputs, outputs: vec![ty, Ty::I(32), Ty::I(32)], expect: Box::new(expect) })
}

/// and or xor not cnot, shifts, lop3, prmt, mov, selp, slct.
fn logic(opcode: &str, parts: &[&'static str]) -> Option<Case> {
    let (head, last) = (parts[0], parts[parts.len() - 1]);
    if last == "pred" {
        let n = if matches!(head, "not" | "mov") { 1 } else { 2 };
        return matches!(head, "and" | "or" | "xor" | "not" | "mov").then(|| {
            Case::bits(opcode, Ty::P, vec![Ty::P; n], move |x| match head {
                "and" => x[0] & x[1],
                "or" => x[0] | x[1],
                "xor" => x[0] ^ x[1],
                "not" => 1 - x[0],
                _ => x[0],
            })
        });
    }
    if let ["lop3", "b32"] = parts {
        let tables = [0x00u64, 0x96, 0xe8, 0xca, 0x80, 0xfe, 0x3c, 0x0f];
        let text: String =
            tables.iter().enumerate().map(|(k, t)| format!("lop3.b32 d{k}, a0, a1, a2, {t}; ")).collect();
        let expect = move |x: &[u64]| tables.iter().map(|t| Want::Bits(table_of_three(*t, x))).collect();
        return Some(Case { text, inputs: vec![Ty::I(32); 3], outputs: vec![Ty::I(32); 8], expect: Box::new(expect) });
    }
    if let ["lop3", combine @ ("or" | "and"), "b32"] = parts {
        let or = *combine == "or";
        let text = format!("{opcode} d0|d1, a0, a1, a2, 0x80, a3; {opcode} _|d2, a0, a1, a2, 0xe8, !a3;");
        let expect = move |x: &[u64]| {
            let with = |table: u64, q: u64| {
                let any = (table_of_three(table, x) != 0) as u64;
                Want::Bits(if or { any | q } else { any & q })
            };
            vec![Want::Bits(table_of_three(0x80, x)), with(0x80, x[3]), with(0xe8, 1 - x[3])]
        };
        let inputs = vec![Ty::I(32), Ty::I(32), Ty::I(32), Ty::P];
        return Some(Case { text, inputs, outputs: vec![Ty::I(32), Ty::P, Ty::P], expect: Box::new(expect) });
    }
    if let ["prmt", "b32", mode @ ..] = parts {
        let mode = mode.first().copied();
        return Some(Case::bits(opcode, Ty::I(32), vec![Ty::I(32); 3], move |x| permuted(mode, x)));
    }
    if head == "shf" {
        let (left, wraps) = (parts.contains(&"l"), parts.contains(&"wrap"));
        return Some(Case::bits(opcode, Ty::I(32), vec![Ty::I(32); 3], move |x| {
            let n = if wraps { x[2] % 32 } else { x[2].min(32) } as u32;
            let all = (x[1] as u128) << 32 | x[0] as u128;
            let out = if left { (all << n) >> 32 } else { all >> n };
            out as u32 as u64
        }));
    }
    if opcode == "mov.b128" {
        let text = ".reg .b128 x, y; mov.b128 x, {a0, a1}; mov.b128 y, x; mov.b128 {d1, d0}, y;".to_string();
        let expect = |x: &[u64]| vec![Want::Bits(x[1]), Want::Bits(x[0])];
        return Some(Case { text, inputs: vec![Ty::I(64); 2], outputs: vec![Ty::I(64); 2], expect: Box::new(expect) });
    }
    if matches!(head, "selp" | "slct" | "mov") {
        let ty = match (head, parts) {
            ("slct", [.., ty, _]) | (_, [.., ty]) => *ty,
            _ => return None,
        };
        let w: u32 =
            if ty.ends_with("x2") { 32 } else { ty.trim_start_matches(|c: char| !c.is_ascii_digit()).parse().ok()? };
        let ty = Ty::I(w);
        let float = last == "f32";
        let by = if float { Ty::F(crate::exact::F32) } else { Ty::I(32) };
        let ftz = parts.contains(&"ftz");
        let case = match head {
            "mov" => Case::bits(opcode, ty, vec![ty], |x| x[0]),
            "selp" => Case::bits(opcode, ty, vec![ty, ty, Ty::P], |x| if x[2] != 0 { x[0] } else { x[1] }),
            _ => Case::bits(opcode, ty, vec![ty, ty, by], move |x| {
                let c = x[2] as u32;
                let yes = if float { f32::from_bits(c) >= 0.0 } else { c as i32 >= 0 };
                if yes { x[0] } else { x[1] }
            }),
        };
        return Some(if ftz { flushed_selection(case) } else { case });
    }
    let (w, s) = integer(last)?;
    let (ty, count) = (Ty::I(w), Ty::I(32));
    match head {
        "and" | "or" | "xor" => Some(Case::bits(opcode, ty, vec![ty; 2], move |x| match head {
            "and" => x[0] & x[1],
            "or" => x[0] | x[1],
            _ => x[0] ^ x[1],
        })),
        "not" => Some(Case::bits(opcode, ty, vec![ty], move |x| wrap(-1 - x[0] as i128, w, false))),
        "cnot" => Some(Case::bits(opcode, ty, vec![ty], |x| if x[0] == 0 { 1 } else { 0 })),
        // A shift by the width or more, of a number that is extended without end.
        "shl" => Some(Case::bits(opcode, ty, vec![ty, count], move |x| {
            if x[1] > 63 { 0 } else { wrap((x[0] as i128) << x[1], w, false) }
        })),
        "shr" => {
            Some(Case::bits(opcode, ty, vec![ty, count], move |x| wrap(value(x[0], w, s) >> x[1].min(100), w, false)))
        }
        _ => None,
    }
}

/// A negative subnormal counts as zero.
fn flushed_selection(case: Case) -> Case {
    let expect = case.expect;
    let flushing = move |x: &[u64]| {
        let c = if crate::exact::F32.is_subnormal(x[2]) { 0 } else { x[2] };
        expect(&[x[0], x[1], c])
    };
    Case { expect: Box::new(flushing), ..case }
}

fn table_of_three(table: u64, x: &[u64]) -> u64 {
    (0..32).map(|i| bit(table, (4 * bit(x[0], i) + 2 * bit(x[1], i) + bit(x[2], i)) as u32) << i).sum()
}

fn permuted(mode: Option<&str>, x: &[u64]) -> u64 {
    let bytes: Vec<u64> = (0..8).map(|i| x[i / 4] >> (8 * (i % 4)) & 255).collect();
    let c = (x[2] & 3) as usize;
    let picks: [usize; 4] = match mode {
        None => {
            return (0..4)
                .map(|i| {
                    let digit = x[2] >> (4 * i) & 15;
                    let byte = bytes[(digit & 7) as usize];
                    (if digit < 8 {
                        byte
                    } else if byte > 127 {
                        255
                    } else {
                        0
                    }) << (8 * i)
                })
                .sum();
        }
        Some("f4e") => [[0, 1, 2, 3], [1, 2, 3, 4], [2, 3, 4, 5], [3, 4, 5, 6]][c],
        Some("b4e") => [[0, 7, 6, 5], [1, 0, 7, 6], [2, 1, 0, 7], [3, 2, 1, 0]][c],
        Some("rc8") => [[0; 4], [1; 4], [2; 4], [3; 4]][c],
        Some("ecl") => [[0, 1, 2, 3], [1, 1, 2, 3], [2, 2, 2, 3], [3, 3, 3, 3]][c],
        Some("ecr") => [[0, 0, 0, 0], [0, 1, 1, 1], [0, 1, 2, 2], [0, 1, 2, 3]][c],
        _ => [[0, 1, 0, 1], [2, 3, 2, 3], [0, 1, 0, 1], [2, 3, 2, 3]][c],
    };
    picks.iter().enumerate().map(|(i, &pick)| bytes[pick] << (8 * i)).sum()
}

/// Bits counted, found, cut out and put in, as the ISA's own loops do.
fn bits(opcode: &str, parts: &[&'static str]) -> Option<Case> {
    let (w, s) = integer(parts[parts.len() - 1])?;
    let (ty, word) = (Ty::I(w), Ty::I(32));
    let has = |word: &str| parts.contains(&word);
    let top = w - 1;
    Some(match parts[0] {
        "popc" => Case::bits(opcode, word, vec![ty], move |x| (0..w).map(|i| bit(x[0], i)).sum()),
        "clz" => {
            Case::bits(opcode, word, vec![ty], move |x| (0..w).take_while(|i| bit(x[0], top - i) == 0).count() as u64)
        }
        "brev" => Case::bits(opcode, ty, vec![ty], move |x| (0..w).map(|i| bit(x[0], i) << (top - i)).sum()),
        "bfind" => {
            let amount = has("shiftamt");
            Case::bits(opcode, word, vec![ty], move |x| {
                let sign = if s { bit(x[0], top) } else { 0 };
                match (0..w).rev().find(|&i| bit(x[0], i) != sign) {
                    Some(at) => {
                        if amount {
                            (top - at) as u64
                        } else {
                            at as u64
                        }
                    }
                    None => 0xffff_ffff,
                }
            })
        }
        "fns" => Case::bits(opcode, word, vec![word; 3], |x| {
            // A base beyond 31 is undefined by the ISA; softgpu takes its low bits.
            let (base, offset) = ((x[1] & 31) as i64, x[2] as u32 as i32 as i64);
            if offset == 0 {
                return if bit(x[0], base as u32) == 1 { base as u64 } else { 0xffff_ffff };
            }
            let (mut at, mut count, step) = (base, offset.abs() - 1, offset.signum());
            while (0..32).contains(&at) {
                if bit(x[0], at as u32) == 1 {
                    if count == 0 {
                        return at as u64;
                    }
                    count -= 1;
                }
                at += step;
            }
            0xffff_ffff
        }),
        "bfe" => Case::bits(opcode, ty, vec![ty, word, word], move |x| {
            let (at, len) = ((x[1] & 255) as u32, (x[2] & 255) as u32);
            let sign = if !s || len == 0 { 0 } else { bit(x[0], (at + len - 1).min(top)) };
            (0..w).map(|i| if i < len && at + i <= top { bit(x[0], at + i) } else { sign } << i).sum()
        }),
        "bfi" => Case::bits(opcode, ty, vec![ty, ty, word, word], move |x| {
            let (at, len) = ((x[2] & 255) as u32, (x[3] & 255) as u32);
            (0..w).map(|i| if i >= at && i - at < len { bit(x[0], i - at) } else { bit(x[1], i) } << i).sum()
        }),
        "bmsk" => {
            let clamps = has("clamp");
            Case::bits(opcode, word, vec![word; 2], move |x| {
                let (at, len) = if clamps { (x[0], x[1]) } else { (x[0] & 31, x[1] & 31) };
                (0..32u64).map(|i| ((i >= at && i - at < len) as u64) << i).sum()
            })
        }
        "szext" => {
            let clamps = has("clamp");
            Case::bits(opcode, word, vec![word; 2], move |x| {
                let n = if clamps { x[1].min(32) } else { x[1] & 31 } as u32;
                if n == 0 { 0 } else { wrap(value(x[0], n, s), 32, s) }
            })
        }
        _ => return None,
    })
}
