//! Bits counted, found, cut out and put in: PTX ISA 9.0, 9.7.1 and 9.7.8.

#[rustfmt::skip]
rows! {
    "popc.b32" => u32, (a: u32) a.count_ones();
    slow "popc.b64" => u32, (a: u64) a.count_ones();
    "clz.b32" => u32, (a: u32) a.leading_zeros();
    slow "clz.b64" => u32, (a: u64) a.leading_zeros();
    "brev.b32" => u32, (a: u32) a.reverse_bits();
    slow "brev.b64" => u64, (a: u64) a.reverse_bits();
    slow "cnot.b32" => u32, (a: u32) (a == 0) as u32;
    slow "cnot.b16" => u16, (a: u16) (a == 0) as u16;
    slow "cnot.b64" => u64, (a: u64) (a == 0) as u64;
    slow "bfind.u32" => u32, (a: u32) 31u32.wrapping_sub(a.leading_zeros());
    slow "bfind.s32" => u32, (a: i32) 31u32.wrapping_sub((a ^ a >> 31).leading_zeros());
    slow "bfind.u64" => u32, (a: u64) 63u32.wrapping_sub(a.leading_zeros());
    slow "bfind.s64" => u32, (a: i64) 63u32.wrapping_sub((a ^ a >> 63).leading_zeros());
    slow "bfind.shiftamt.u32" => u32, (a: u32) if a == 0 { u32::MAX } else { a.leading_zeros() };
    slow "bfind.shiftamt.s32" => u32, (a: i32) if a ^ a >> 31 == 0 { u32::MAX } else { (a ^ a >> 31).leading_zeros() };
    slow "bfind.shiftamt.u64" => u32, (a: u64) if a == 0 { u32::MAX } else { a.leading_zeros() };
    slow "bfind.shiftamt.s64" => u32, (a: i64) if a ^ a >> 63 == 0 { u32::MAX } else { (a ^ a >> 63).leading_zeros() };
    slow "fns.b32" => u32, (mask: u32, base: u32, offset: i32) nth_set(mask, base, offset);
    "bfe.u32" => u32, (a: u32, b: u32, c: u32) ((a as u64) >> (b & 255).min(63) & ((1u64 << (c & 255).min(32)) - 1)) as u32;
    "bfe.s32" => u32, (a: i32, b: u32, c: u32) signed_field(a, b, c);
    slow "bfe.u64" => u64, (a: u64, b: u32, c: u32) if b & 255 > 63 { 0 } else { a >> (b & 255) & ones(c) };
    slow "bfe.s64" => u64, (a: i64, b: u32, c: u32) {
        let (start, length) = ((b & 255).min(64), (c & 255).min(64));
        let last = (start + length).saturating_sub(1).min(63);
        let sign = if length > 0 { a >> last & 1 } else { 0 };
        let field = if start > 63 { 0 } else { a as u64 >> start };
        let kept = ones((last + 1).saturating_sub(start).min(length));
        field & kept | if sign != 0 { !kept } else { 0 }
    };
    "bfi.b32" => u32, (a: u32, b: u32, c: u32, d: u32) {
        let mask = (((1u64 << (d & 255).min(32)) - 1) << (c & 255).min(32)) as u32;
        ((a as u64) << (c & 255).min(32)) as u32 & mask | b & !mask
    };
    slow "bfi.b64" => u64, (a: u64, b: u64, c: u32, d: u32) {
        let start = c & 255;
        if start > 63 { b } else { a << start & ones(d) << start | b & !(ones(d) << start) }
    };
    slow "bmsk.clamp.b32" => u32, (a: u32, b: u32) if a > 31 { 0 } else { (((1u64 << b.min(32)) - 1) << a) as u32 };
    slow "bmsk.wrap.b32" => u32, (a: u32, b: u32) (((1u64 << (b & 31)) - 1) << (a & 31)) as u32;
    slow "szext.clamp.u32" => u32, (a: u32, b: u32) if b > 31 { a } else { a & ((1u64 << b) - 1) as u32 };
    slow "szext.wrap.u32" => u32, (a: u32, b: u32) a & ((1u64 << (b & 31)) - 1) as u32;
    slow "szext.clamp.s32" => i32, (a: i32, b: u32) extend(a, b.min(32));
    slow "szext.wrap.s32" => i32, (a: i32, b: u32) extend(a, b & 31);
    slow "~prmt.selector" => u32, (c: u32, mode: u32) selector(c & 3, mode);
}

/// As many ones, of 255 at most that are asked for.
fn ones(count: u32) -> u64 {
    ((1u128 << (count & 255).min(64)) - 1) as u64
}

/// Sign-extended from the low `bits`; 0 of none.
fn extend(a: i32, bits: u32) -> i32 {
    if bits == 0 { 0 } else { a << (32 - bits) >> (32 - bits) }
}

/// `bfe.s32`: a field that begins or ends beyond the word is filled with the word's sign, an empty one is zero.
#[inline(always)]
fn signed_field(a: i32, b: u32, c: u32) -> u32 {
    let (start, length) = ((b & 255).min(32), (c & 255).min(32));
    // At most 64 bits from the start on: those above the word are its sign.
    let left = 64 - length;
    let field = (a as i64 >> start << (left & 63) >> (left & 63)) as u32;
    if length == 0 { 0 } else { field }
}

/// The selector of `prmt` that a mode stands for: 0 f4e, 1 b4e, 2 rc8, 3 ecl, 4 ecr, 5 rc16.
fn selector(c: u32, mode: u32) -> u32 {
    let byte = |i: u32| match mode {
        0 => i + c,
        1 => c.wrapping_sub(i) & 7,
        2 => c,
        3 => i.max(c),
        4 => i.min(c),
        _ => 2 * (c & 1) + (i & 1),
    };
    (0..4).fold(0, |word, i| word | byte(i) << (4 * i))
}

/// Where the n-th set bit lies, counting from `base` up (n > 0) or down (n < 0), `base` itself being the first; all ones
/// if there is none.
fn nth_set(mask: u32, base: u32, n: i32) -> u32 {
    let found = |at: &u32| mask >> at & 1 != 0;
    let base = base & 31;
    let skip = (n.unsigned_abs().max(1) - 1) as usize;
    let position = match n {
        0 => Some(base).filter(found),
        1.. => (base..32).filter(found).nth(skip),
        _ => (0..=base).rev().filter(found).nth(skip),
    };
    position.unwrap_or(u32::MAX)
}
