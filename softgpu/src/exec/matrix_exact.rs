//! Matrix products of integers, bits and f64, and the four small f16 products of `mma.m8n8k4`. PTX ISA 9.0, 9.7.14.
//!
//! Integer sums are exact; the 32-bit result wraps, or is clamped once at the end with `.satfinite`. f64 is one chain of
//! fused multiply-adds per element, from C upwards in k, rounded to nearest even.

use half::f16;

use super::matrix::{HALF_C, HALF_D, collective, wide_levels};
use super::tile::{NAN, whole, widen};
use super::{LANES, List, NEXT, Warp, Wide};

pub const SATURATE: i64 = 1;
pub const UNSIGNED_A: i64 = 2;
pub const UNSIGNED_B: i64 = 4;
/// Bits: `and` instead of `xor`.
pub const AND: i64 = 1;
/// `mma.m8n8k4`, beside the flags of the accumulators: columns of A, columns of B.
pub const COLUMNS_A: i64 = 8;
pub const COLUMNS_B: i64 = 16;

/// Rows of A, or columns of B, at most.
const ROWS: usize = 32;

/// A register of words.
#[inline(always)]
unsafe fn words(list: &List, r: *mut u8, at: usize) -> *mut [u32; LANES] {
    // SAFETY: offsets are the plan's.
    unsafe { r.add(list.regs[at] as usize) as *mut [u32; LANES] }
}

/// Shape and flags: constants `flags, M, N`.
fn shape(list: &List) -> (i64, usize, usize) {
    (list.imms[0], list.imms[1] as usize, list.imms[2] as usize)
}

/// Register (from the first of C or D) and lane of an accumulator's element in words.
#[inline(always)]
fn element(m: usize, n: usize, rows: usize, columns: usize) -> (usize, usize) {
    let high = if rows == 8 { 1 } else { 2 };
    let block = m / 16 * (columns / 8) + n / 8;
    ((block * high + m / 8 % high) * 2 + n % 2, m % 8 * 4 + n % 8 / 2)
}

/// The row and the chunk along k that a tile of A holds: as in `matrix::product`.
#[inline(always)]
fn tile_of_a(tile: usize, rows: usize, tiles: usize) -> (usize, usize) {
    let high = if rows == 8 { 1 } else { 2 };
    (16 * (tile / (high * tiles)) + 8 * (tile % high), tile / high % tiles)
}

/// Widens a tile of 8- or 4-bit integers to rows of 16-bit ones.
#[inline(always)]
fn integers<const K: usize, const BITS: usize>(
    tile: &[u32; LANES],
    out: &mut [[i16; K]],
    row: usize,
    chunk: usize,
    unsigned: bool,
) {
    let bytes: &[[u8; 16]; 8] = bytemuck::cast_ref(tile);
    let length = 128 / BITS;
    let byte = |bytes: &[u8; 16], k: usize| if BITS == 8 { bytes[k] } else { bytes[k / 2] << (4 * (1 - k % 2)) };
    for (bytes, out) in bytes.iter().zip(&mut out[row..row + 8]) {
        let out = &mut out[chunk * length..(chunk + 1) * length];
        if unsigned {
            out.iter_mut().enumerate().for_each(|(k, out)| *out = (byte(bytes, k) >> (8 - BITS)) as i16);
        } else {
            out.iter_mut().enumerate().for_each(|(k, out)| *out = (byte(bytes, k) as i8 >> (8 - BITS)) as i16);
        }
    }
}

/// D = A·B + C over integers of 8 or 4 bits; registers D, A, B, C.
#[inline(always)]
unsafe fn integer<const K: usize, const BITS: usize, const FAST: bool>(w: &mut Warp, list: &List, r: *mut u8) -> u32 {
    if let Some(event) = whole(w, "mma") {
        return event;
    }
    let (flags, rows, columns) = shape(list);
    let tiles = K * BITS / 128;
    let (of_d, of_a, of_b) = (rows * columns / LANES, rows / 8 * tiles, columns / 8 * tiles);
    let (mut a, mut b, mut sums) = ([[0i16; K]; ROWS], [[0i16; K]; ROWS], [[0u32; LANES]; 8]);
    // SAFETY: the decoder has given that many registers, all of words.
    unsafe {
        for tile in 0..of_a {
            let (row, chunk) = tile_of_a(tile, rows, tiles);
            integers::<K, BITS>(&*words(list, r, of_d + tile), &mut a, row, chunk, flags & UNSIGNED_A != 0);
        }
        for tile in 0..of_b {
            let from = &*words(list, r, of_d + of_a + tile);
            integers::<K, BITS>(from, &mut b, 8 * (tile / tiles), tile % tiles, flags & UNSIGNED_B != 0);
        }
        let high = if rows == 8 { 1 } else { 2 };
        for (register, sums) in sums.iter_mut().enumerate().take(of_d) {
            // As `element` has it, the other way round.
            let (block, low) = (register / (2 * high), register / 2 % high);
            let (first, column) = (16 * (block / (columns / 8)) + 8 * low, 8 * (block % (columns / 8)) + register % 2);
            let c = &*words(list, r, of_d + of_a + of_b + register);
            for (lane, sum) in sums.iter_mut().enumerate() {
                let (a, b) = (&a[first + lane / 4], &b[column + lane % 4 * 2]);
                let mut dot = 0;
                for k in 0..K {
                    dot += a[k] as i32 * b[k] as i32;
                }
                let c = c[lane] as i32;
                *sum = if flags & SATURATE != 0 { c.saturating_add(dot) } else { c.wrapping_add(dot) } as u32;
            }
        }
        (0..of_d).for_each(|at| *words(list, r, at) = sums[at]);
    }
    NEXT
}

/// D = popc(A op B) + C over bits, 128 to a tile's row.
#[inline(always)]
unsafe fn bits<const FAST: bool>(w: &mut Warp, list: &List, r: *mut u8) -> u32 {
    if let Some(event) = whole(w, "mma") {
        return event;
    }
    let (flags, rows, columns) = shape(list);
    let tiles = list.imms[3] as usize / 128;
    let (of_d, of_a, of_b) = (rows * columns / LANES, rows / 8 * tiles, columns / 8 * tiles);
    let mut sums = [[0u32; LANES]; 8];
    // SAFETY: as above.
    unsafe {
        for m in 0..rows {
            for n in 0..columns {
                let (register, lane) = element(m, n, rows, columns);
                let mut sum = (*words(list, r, of_d + of_a + of_b + register))[lane];
                for tile in 0..tiles {
                    let high = rows / 8;
                    let a = &*words(list, r, of_d + tile * high + m / 8);
                    let b = &*words(list, r, of_d + of_a + n / 8 * tiles + tile);
                    for word in 0..4 {
                        let (a, b) = (a[m % 8 * 4 + word], b[n % 8 * 4 + word]);
                        let both = if flags & AND != 0 { a & b } else { a ^ b };
                        sum = sum.wrapping_add(both.count_ones());
                    }
                }
                sums[register][lane] = sum;
            }
        }
        (0..of_d).for_each(|at| *words(list, r, at) = sums[at]);
    }
    NEXT
}

/// D = A·B + C in f64: M = 8 or 16, N = 8, 4 values of k to a tile.
#[inline(always)]
unsafe fn double<const FAST: bool>(w: &mut Warp, list: &List, r: *mut u8) -> u32 {
    if let Some(event) = whole(w, "mma") {
        return event;
    }
    let (_, rows, columns) = shape(list);
    let tiles = list.imms[3] as usize / 4;
    let (of_d, of_a, of_b) = (rows * columns / LANES, rows / 8 * tiles, tiles);
    let mut sums = [[0f64; LANES]; 4];
    // SAFETY: the decoder has given that many registers, all of doubles.
    unsafe {
        let register = |at: usize| r.add(list.regs[at] as usize) as *mut [f64; LANES];
        for m in 0..rows {
            for n in 0..columns {
                let (c, lane) = element(m, n, rows, columns);
                let mut sum = (*register(of_d + of_a + of_b + c))[lane];
                for k in 0..4 * tiles {
                    let a = (*register(of_d + k / 4 * (rows / 8) + m / 8))[m % 8 * 4 + k % 4];
                    let b = (*register(of_d + of_a + k / 4))[n * 4 + k % 4];
                    sum = a.mul_add(b, sum);
                }
                sums[c][lane] = if sum.is_nan() { f64::NAN } else { sum };
            }
        }
        (0..of_d).for_each(|at| *register(at) = sums[at]);
    }
    NEXT
}

/// `mma.m8n8k4` of f16: four products, each of eight lanes: 4q to 4q + 3, and those 16 further on. Numerics as in `matrix`.
unsafe fn quads(w: &mut Warp, list: &List, r: *mut u8) -> u32 {
    if let Some(event) = whole(w, "mma.m8n8k4") {
        return event;
    }
    let flags = list.imms[0];
    let (half_c, half_d) = (flags & HALF_C != 0, flags & HALF_D != 0);
    let of_d = if half_d { 4 } else { 8 };
    // Row and column of value i of lane l, in A, B, and C.
    let group = |l: usize| l % 4 + if l < 16 { 0 } else { 4 };
    let of_a = |l: usize, i: usize| if flags & COLUMNS_A == 0 { (group(l), i) } else { (group(l) - l % 4 + i, l % 4) };
    let of_b = |l: usize, i: usize| if flags & COLUMNS_B == 0 { (l % 4, group(l) - l % 4 + i) } else { (i, group(l)) };
    let of_c = |l: usize, i: usize, half: bool| {
        if half { (group(l), i) } else { ((l & 1) + (i & 2) + if l < 16 { 0 } else { 4 }, (i & 4) + (l & 2) + (i & 1)) }
    };
    // SAFETY: 4 or 8 registers of D, 2 of A, 2 of B, 4 or 8 of C, all of words.
    unsafe {
        let half = |at: usize, l: usize, i: usize| widen(((*words(list, r, at + i / 2))[l] >> (16 * (i % 2))) as u16);
        let mut results = [[0u32; LANES]; 8];
        for q in 0..4 {
            let (mut a, mut b, mut c) = ([[0f32; 4]; 8], [[0f32; 8]; 4], [[0f32; 8]; 8]);
            let lanes = (4 * q..4 * q + 4).chain(4 * q + 16..4 * q + 20);
            for l in lanes.clone() {
                for i in 0..4 {
                    let ((m, k), (row, n)) = (of_a(l, i), of_b(l, i));
                    a[m][k] = half(of_d, l, i);
                    b[row][n] = half(of_d + 2, l, i);
                }
                for i in 0..8 {
                    let (m, n) = of_c(l, i, half_c);
                    let word = |at: usize| f32::from_bits((*words(list, r, at))[l]);
                    c[m][n] = if half_c { half(of_d + 4, l, i) } else { word(of_d + 4 + i) };
                }
            }
            for (m, row) in c.iter_mut().enumerate() {
                for (n, sum) in row.iter_mut().enumerate() {
                    for k in 0..4 {
                        *sum += a[m][k] * b[k][n];
                    }
                }
            }
            for l in lanes {
                for i in 0..8 {
                    let (m, n) = of_c(l, i, half_d);
                    if half_d {
                        let bits = if c[m][n].is_nan() { 0x7fff } else { f16::from_f32(c[m][n]).to_bits() };
                        results[i / 2][l] |= (bits as u32) << (16 * (i % 2));
                    } else {
                        results[i][l] = if c[m][n].is_nan() { NAN } else { c[m][n] }.to_bits();
                    }
                }
            }
        }
        (0..of_d).for_each(|at| *words(list, r, at) = results[at]);
    }
    NEXT
}

pub static BITS: Wide = collective("mma", wide_levels!(bits [] []));
pub static DOUBLE: Wide = collective("mma", wide_levels!(double [] []));
pub static QUADS: Wide = collective("mma", [quads; 3]);

/// Products of integers of `bits` bits with K values along k.
pub fn integers_of(bits: usize, k: usize) -> Option<&'static Wide> {
    static BYTES_16: Wide = collective("mma", wide_levels!(integer [] [16, 8]));
    static BYTES_32: Wide = collective("mma", wide_levels!(integer [] [32, 8]));
    static NIBBLES_32: Wide = collective("mma", wide_levels!(integer [] [32, 4]));
    static NIBBLES_64: Wide = collective("mma", wide_levels!(integer [] [64, 4]));
    match (bits, k) {
        (8, 16) => Some(&BYTES_16),
        (8, 32) => Some(&BYTES_32),
        (4, 32) => Some(&NIBBLES_32),
        (4, 64) => Some(&NIBBLES_64),
        _ => None,
    }
}
