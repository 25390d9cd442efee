//! Matrices of raw elements, what they mean, and what their product is.

use half::{bf16, f16};
use softgpu::{Launch, Level, Memory, Module, launch};

pub const LEVELS: [Level; 3] = [Level::Baseline, Level::Avx2, Level::Avx512];
pub const HEAD: &str = ".version 8.8\n.target sm_90\n.address_size 64\n";

/// Runs one warp of kernel `k`, which takes a pointer; the memory after it.
pub fn run(text: &str, level: Level, data: &[u8]) -> Result<Vec<u8>, String> {
    let module = Module::load_for(text, level).map_err(|e| format!("{e}\n{text}"))?;
    let memory = Memory::new();
    let address = memory.alloc(data.len()).unwrap();
    // SAFETY: freed with `memory`, after the last use; no launch runs while the slice is used.
    let held = unsafe { std::slice::from_raw_parts_mut(memory.host_slice(address, data.len()).unwrap(), data.len()) };
    held.copy_from_slice(data);
    let args = address.to_le_bytes();
    let shape = Launch { grid: [1; 3], block: [32, 1, 1], shared_bytes: 0, args: &[&args], cooperative: false };
    launch(&module, "k", &memory, &shape).map_err(|e| e.to_string())?;
    Ok(held.to_vec())
}

/// Marsaglia's xorshift.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 >> 11
    }
    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
}

pub fn bits(ty: &str) -> usize {
    match ty {
        "f64" => 64,
        "f32" | "s32" | "tf32" => 32,
        "f16" | "bf16" => 16,
        "s4" | "u4" => 4,
        "b1" => 1,
        _ => 8,
    }
}

/// The value of an element's bits. f64 holds all of them exactly.
pub fn decode(ty: &str, raw: u64) -> f64 {
    match ty {
        "f64" => f64::from_bits(raw),
        "f32" => f32::from_bits(raw as u32) as f64,
        "tf32" => f32::from_bits(raw as u32 & !0x1fff) as f64, // 9.7.14.5: 19 bits of 32 count
        "f16" => f16::from_bits(raw as u16).to_f64(),
        "bf16" => bf16::from_bits(raw as u16).to_f64(),
        "s32" => raw as u32 as i32 as f64,
        "s8" => raw as u8 as i8 as f64,
        "s4" => (((raw as i64) << 60) >> 60) as f64,
        // 5.2.3: sign, exponent, mantissa; e4m3 has no infinity.
        "e4m3" | "e5m2" => {
            let (mantissa_bits, bias) = if ty == "e4m3" { (3, 7) } else { (2, 15) };
            let mantissa = raw & ((1 << mantissa_bits) - 1);
            let exponent = (raw & 0x7f) >> mantissa_bits;
            let sign = if raw & 0x80 != 0 { -1.0 } else { 1.0 };
            let top = (0x7f >> mantissa_bits) as u64;
            let fraction = mantissa as f64 / (1 << mantissa_bits) as f64;
            match (exponent, mantissa) {
                (e, m) if ty == "e4m3" && e == top && m == 7 => f64::NAN,
                (e, 0) if ty == "e5m2" && e == top => sign * f64::INFINITY,
                (e, _) if ty == "e5m2" && e == top => f64::NAN,
                (0, _) => sign * fraction * 2f64.powi(1 - bias),
                (e, _) => sign * (1.0 + fraction) * 2f64.powi(e as i32 - bias),
            }
        }
        _ => raw as f64,
    }
}

pub fn encode(ty: &str, value: f64) -> u64 {
    match ty {
        "f64" => value.to_bits(),
        "f32" | "tf32" => (value as f32).to_bits() as u64,
        "f16" => f16::from_f64(value).to_bits() as u64,
        "bf16" => bf16::from_f64(value).to_bits() as u64,
        "e4m3" | "e5m2" => (0..256).find(|&raw| decode(ty, raw) == value).unwrap(),
        _ => value as i64 as u64 & ((1u64 << bits(ty)) - 1),
    }
}

#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Values {
    /// Small integers: every sum is exact, so that a misplaced element shows to the bit.
    Small,
    /// Of like size, any sign.
    Plain,
    /// Any bits at all.
    Bits,
    /// Zeros, infinities, NaN, subnormals, extremes and a few plain ones.
    Special,
}

pub fn element(ty: &str, values: Values, random: &mut Random) -> u64 {
    let any = random.next() & if bits(ty) == 64 { u64::MAX } else { (1 << bits(ty)) - 1 };
    let is_float = !matches!(ty.as_bytes()[0], b's' | b'u') && ty != "b1";
    match values {
        _ if !is_float && values != Values::Small => any,
        Values::Small if ty == "b1" => any,
        Values::Small => {
            let signed = !ty.starts_with('u');
            encode(ty, random.below(8) as f64 - if signed { 4.0 } else { 0.0 })
        }
        Values::Plain if bits(ty) == 8 => any & !0x40,
        Values::Plain => {
            let value = (random.next() % (1 << 40)) as f64 / (1u64 << 39) as f64 - 1.0;
            // The low bits of a tf32 do not count.
            encode(ty, value) | if ty == "tf32" { any & 0x1fff } else { 0 }
        }
        Values::Bits => any,
        Values::Special => {
            let bits16 = [0, 0x8000, 0x7c00, 0xfc00, 0x7e00, 0x7c01, 1, 0x8001, 0x03ff, 0x7bff, 0xfbff, 0x3c00, 0xc000];
            let wide = [
                0.0,
                -0.0,
                f64::INFINITY,
                -f64::INFINITY,
                f64::NAN,
                1e-45,
                -1e-40,
                1.1754944e-38,
                3.4e38,
                -3.4e38,
                1.0,
                -2.0,
                1.5,
            ];
            match ty {
                "f16" => bits16[random.below(13) as usize],
                "e4m3" | "e5m2" => any,
                // Mostly plain, so that not all sums are NaN.
                _ if random.below(3) > 0 => encode(ty, random.below(9) as f64 - 4.0),
                "f64" => wide[random.below(13) as usize].to_bits(),
                "bf16" => (wide[random.below(13) as usize] as f32).to_bits() as u64 >> 16,
                _ => (wide[random.below(13) as usize] as f32).to_bits() as u64,
            }
        }
    }
}

pub type Place<'p> = dyn Fn(usize, usize) -> (usize, usize) + 'p;

/// A matrix of raw elements.
#[derive(Clone)]
pub struct Matrix {
    pub ty: &'static str,
    pub columns: usize,
    pub raw: Vec<u64>,
}

impl Matrix {
    pub fn draw(ty: &'static str, rows: usize, columns: usize, values: Values, random: &mut Random) -> Matrix {
        Matrix { ty, columns, raw: (0..rows * columns).map(|_| element(ty, values, random)).collect() }
    }
    pub fn at(&self, row: usize, column: usize) -> f64 {
        decode(self.ty, self.raw[row * self.columns + column])
    }
    pub fn per_lane(&self) -> usize {
        self.raw.len() / 32
    }
    /// Bytes of a register.
    pub fn bytes(&self) -> usize {
        if self.ty == "f64" { 8 } else { 4 }
    }
    pub fn registers(&self) -> usize {
        (self.per_lane() * bits(self.ty)).div_ceil(8 * self.bytes())
    }
    /// As registers: register by register, lane by lane.
    pub fn fragment(&self, place: &Place<'_>) -> Vec<u8> {
        let mut out = vec![0u8; self.registers() * 32 * self.bytes()];
        for lane in 0..32 {
            for i in 0..self.per_lane() {
                let (row, column) = place(lane, i);
                let (bit, width) = (i * bits(self.ty), 8 * self.bytes());
                let at = (bit / width * 32 + lane) * self.bytes();
                let word = self.raw[row * self.columns + column] << (bit % width);
                for (k, byte) in word.to_le_bytes().into_iter().enumerate().take(self.bytes()) {
                    out[at + k] |= byte;
                }
            }
        }
        out
    }
    pub fn of_fragment(&self, place: &Place<'_>, fragment: &[u8]) -> Matrix {
        let mut out = self.clone();
        for lane in 0..32 {
            for i in 0..self.per_lane() {
                let (row, column) = place(lane, i);
                let (bit, width) = (i * bits(self.ty), 8 * self.bytes());
                let at = (bit / width * 32 + lane) * self.bytes();
                let mut word = [0; 8];
                word[..self.bytes()].copy_from_slice(&fragment[at..at + self.bytes()]);
                let raw = u64::from_le_bytes(word) >> (bit % width);
                out.raw[row * self.columns + column] =
                    if bits(self.ty) == 64 { raw } else { raw & ((1 << bits(self.ty)) - 1) };
            }
        }
        out
    }
}

/// D's elements, as raw bits: the chain of fused multiply-adds that `exec/matrix.rs` promises, and exact integers.
pub fn oracle(a: &Matrix, b: &Matrix, c: &Matrix, d_ty: &str, op: &str) -> Vec<u64> {
    let (k, n) = (a.columns, b.columns);
    let m = a.raw.len() / k;
    let one = |row: usize, column: usize| {
        let terms = (0..k).map(|i| (a.at(row, i), b.at(i, column)));
        let c = c.at(row, column);
        match a.ty {
            "f64" => {
                let sum = terms.fold(c, |sum, (x, y)| x.mul_add(y, sum));
                if sum.is_nan() { f64::NAN.to_bits() } else { sum.to_bits() }
            }
            "b1" => {
                let and = op.contains("and");
                let count = terms.filter(|&(x, y)| if and { x * y == 1.0 } else { x != y }).count();
                (c as i32).wrapping_add(count as i32) as u32 as u64
            }
            "s8" | "u8" | "s4" | "u4" => {
                let sum = c as i64 + terms.map(|(x, y)| (x * y) as i64).sum::<i64>();
                let clamped = sum.clamp(i32::MIN as i64, i32::MAX as i64);
                (if op.contains("satfinite") { clamped } else { sum }) as u32 as u64
            }
            _ => {
                let sum = terms.fold(c as f32, |sum, (x, y)| (x as f32).mul_add(y as f32, sum));
                match d_ty {
                    "f16" if sum.is_nan() => 0x7fff,
                    "f16" => f16::from_f32(sum).to_bits() as u64,
                    _ if sum.is_nan() => 0x7fff_ffff,
                    _ => sum.to_bits() as u64,
                }
            }
        }
    };
    (0..m * n).map(|at| one(at / n, at % n)).collect()
}
