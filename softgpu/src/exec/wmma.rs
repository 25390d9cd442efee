//! Whole matrices between memory and fragments: `wmma.load` and `wmma.store`. PTX ISA 9.0, 9.7.14.4.
//!
//! The ISA leaves the fragments open. Ours are lists of the tiles of `mma`, in the order that `matrix::product` names, the
//! same for rows and columns in memory; for m16n16k16 that is what sm_80 does. Where A or B has more registers than tiles
//! (f16: always eight), the tiles are repeated, so that code that changes a fragment element by element may do so.

use super::alu::Source;
use super::mem::{GENERIC, GLOBAL, SHARED, resolve};
use super::stray::{split, stray, uneven};
use super::tile::whole;
use super::{LANES, List, NEXT, Warp, Wide, WideFn};
use crate::exec::matrix::collective;
use crate::tools::Touch;

/// Constants of a load or store.
#[derive(Clone, Copy)]
pub struct Layout {
    /// Memory lines and values in each: rows, or columns.
    pub lines: usize,
    pub length: usize,
    /// Of a value in memory.
    pub bits: usize,
    /// Which way the lines run: along k for A and B, along n for C. Otherwise across.
    pub along: bool,
    /// C or D; else the tiles of A (`high` tiles of 8 rows alternate) or of B (`high` is 1).
    pub accumulator: bool,
    pub high: usize,
    /// Rows of C, or tiles along k.
    pub span: usize,
    pub offset: i64,
    pub wide: bool,
    /// A stride operand follows the address; else lines lie end to end.
    pub stride: bool,
}

impl Layout {
    pub fn imms(self) -> Vec<i64> {
        let numbers = [self.lines, self.length, self.bits, self.high, self.span];
        let flags = [self.along, self.accumulator, self.wide, self.stride];
        let bits = flags.iter().rev().fold(0, |all, &flag| all << 1 | flag as i64);
        numbers.into_iter().map(|n| n as i64).chain([self.offset, bits]).collect()
    }

    fn of(imms: &[i64]) -> Layout {
        let number = |at: usize| imms[at] as usize;
        let flag = |bit: u32| imms[6] >> bit & 1 == 1;
        Layout {
            lines: number(0),
            length: number(1),
            bits: number(2),
            along: flag(0),
            accumulator: flag(1),
            high: number(3),
            span: number(4),
            offset: imms[5],
            wide: flag(2),
            stride: flag(3),
        }
    }

    /// The line, and the value in it, of value `e` of lane `lane` in register `at`.
    #[inline(always)]
    fn place(self, at: usize, lane: usize, e: usize) -> (usize, usize) {
        let (row, column) = if self.accumulator {
            // Blocks of 16 (or 8) rows by 8 columns; an f16 register holds two values of a row, others one.
            let packed = (self.bits == 16) as usize;
            let (pair, odd) = if packed == 1 { (at, e) } else { (at / 2, at % 2) };
            let (block, row) = (pair / self.high, 8 * (pair % self.high) + lane / 4);
            let across = self.span / (8 * self.high); // blocks that lie below each other
            let column = 2 * (lane % 4) + odd;
            (16 * (block % across) + row, 8 * (block / across) + column)
        } else {
            let per_word = if self.bits == 64 { 1 } else { 32 / self.bits };
            let at = at % self.tiles();
            let (block, chunk, row) = (at / (self.high * self.span), at / self.high % self.span, at % self.high);
            let height = 8 * self.high;
            (height * block + 8 * row + lane / 4, (4 * chunk + lane % 4) * per_word + e)
        };
        if self.along { (row, column) } else { (column, row) }
    }

    /// Tiles of A or B; registers beyond repeat them.
    #[inline(always)]
    fn tiles(self) -> usize {
        let bytes = self.lines * self.length * self.bits / 8;
        if self.bits == 64 { bytes / 256 } else { bytes / 128 }
    }
}

const UNIFORM: &str = "all threads of the warp must give the same address and stride";
const LINES: &str =
    "rows (or columns) must start at multiples of 16 bytes: check the pointer and the leading dimension";

/// The host pointers of the lines.
///
/// # Safety
/// `regs` are the address and, if there is one, the stride.
#[inline(always)]
unsafe fn lines<const SPACE: u8>(
    w: &mut Warp,
    layout: Layout,
    regs: &[u32],
    r: *mut u8,
    (place, touch): (u32, Touch),
) -> Result<[*mut u8; LANES], u32> {
    // SAFETY: the caller's.
    unsafe {
        let addresses =
            if layout.wide { Source::<u64>::all(r, regs[0]) } else { Source::<u32>::all(r, regs[0]).map(u64::from) };
        let strides = if layout.stride { Source::<u32>::all(r, regs[1]) } else { [layout.length as u32; LANES] };
        let other = |i: &usize| addresses[*i] != addresses[0] || strides[*i] != strides[0];
        if let Some(lane) = (0..LANES).find(other) {
            let what = format!(
                "wmma: lane 0 gives address {:#x} and stride {}, lane {lane} {:#x} and {}",
                addresses[0], strides[0], addresses[lane], strides[lane]
            );
            return Err(w.trap(what, UNIFORM, lane as u32));
        }
        let bytes = (layout.length * layout.bits / 8) as u64;
        let step = strides[0] as u64 * layout.bits as u64 / 8;
        let first = addresses[0].wrapping_add(layout.offset as u64);
        let mut out = [std::ptr::null_mut(); LANES];
        let mut pieces = Vec::new();
        for (line, out) in out.iter_mut().enumerate().take(layout.lines) {
            let address = first.wrapping_add(line as u64 * step);
            let address = if layout.wide { address } else { address as u32 as u64 };
            match resolve::<SPACE>(w, 0, address, bytes) {
                Some(_) if !address.is_multiple_of(bytes.min(16)) => {
                    let what = format!("misaligned access: line {line} of a matrix starts at");
                    return Err(uneven(w, split(SPACE, address), what, LINES, 0));
                }
                Some(p) => {
                    *out = p;
                    if !w.tools.is_null() {
                        pieces.extend((0..bytes).step_by(16).map(|at| address + at));
                    }
                }
                None => return Err(stray(w, SPACE, address, bytes, 0, false)),
            }
        }
        match w.show_rows(place, touch, SPACE, &pieces) {
            NEXT => Ok(out),
            event => Err(event),
        }
    }
}

/// `wmma.load`: the fragment's registers, the address, the stride.
unsafe fn load<const SPACE: u8>(w: &mut Warp, list: &List, r: *mut u8) -> u32 {
    if let Some(event) = whole(w, "wmma.load") {
        return event;
    }
    let layout = Layout::of(&list.imms);
    let (fragment, rest) = list.regs.split_at(list.regs.len() - 1 - layout.stride as usize);
    // SAFETY: the decoder has given the operands these kinds; `place` stays inside the lines that `lines` has checked.
    unsafe {
        let lines = match lines::<SPACE>(w, layout, rest, r, (list.place, Touch::Read)) {
            Ok(lines) => lines,
            Err(trap) => return trap,
        };
        let tiles = if layout.accumulator { fragment.len() } else { layout.tiles() };
        for (at, &register) in fragment.iter().enumerate() {
            let to = r.add(register as usize);
            if at >= tiles {
                let from = r.add(fragment[at % tiles] as usize) as *const [u32; LANES];
                *(to as *mut [u32; LANES]) = *from;
                continue;
            }
            if layout.along && !layout.accumulator && layout.bits < 64 {
                for row in 0..8 {
                    let (line, value) = layout.place(at, 4 * row, 0);
                    let from = lines[line].add(value * layout.bits / 8) as *const [u32; 4];
                    *(to as *mut [u32; 4]).add(row) = from.read_unaligned();
                }
                continue;
            }
            let pointer = |lane: usize, e: usize| {
                let (line, value) = layout.place(at, lane, e);
                lines[line].add(value * layout.bits / 8)
            };
            for lane in 0..LANES {
                match layout.bits {
                    64 => *(to as *mut u64).add(lane) = (pointer(lane, 0) as *const u64).read_unaligned(),
                    32 => *(to as *mut u32).add(lane) = (pointer(lane, 0) as *const u32).read_unaligned(),
                    16 => {
                        let half = |e: usize| (pointer(lane, e) as *const u16).read_unaligned() as u32;
                        *(to as *mut u32).add(lane) = half(0) | half(1) << 16;
                    }
                    _ => {
                        let byte = |e: usize| *pointer(lane, e);
                        *(to as *mut u32).add(lane) = u32::from_le_bytes([byte(0), byte(1), byte(2), byte(3)]);
                    }
                }
            }
        }
    }
    NEXT
}

/// `wmma.store`: the address, the stride, the registers of D.
unsafe fn store<const SPACE: u8>(w: &mut Warp, list: &List, r: *mut u8) -> u32 {
    if let Some(event) = whole(w, "wmma.store") {
        return event;
    }
    let layout = Layout::of(&list.imms);
    let (head, fragment) = list.regs.split_at(1 + layout.stride as usize);
    // SAFETY: as in `load`.
    unsafe {
        let lines = match lines::<SPACE>(w, layout, head, r, (list.place, Touch::Write)) {
            Ok(lines) => lines,
            Err(trap) => return trap,
        };
        for (at, &register) in fragment.iter().enumerate() {
            let from = r.add(register as usize);
            let pointer = |lane: usize, e: usize| {
                let (line, value) = layout.place(at, lane, e);
                lines[line].add(value * layout.bits / 8)
            };
            for lane in 0..LANES {
                match layout.bits {
                    64 => (pointer(lane, 0) as *mut u64).write_unaligned(*(from as *const u64).add(lane)),
                    32 => (pointer(lane, 0) as *mut u32).write_unaligned(*(from as *const u32).add(lane)),
                    _ => {
                        let word = *(from as *const u32).add(lane);
                        (pointer(lane, 0) as *mut u16).write_unaligned(word as u16);
                        (pointer(lane, 1) as *mut u16).write_unaligned((word >> 16) as u16);
                    }
                }
            }
        }
    }
    NEXT
}

const fn of(name: &'static str, run: WideFn) -> Wide {
    collective(name, [run; 3])
}

/// `wmma.load`, or `wmma.store`, in a space.
pub fn matrices(is_load: bool, space: u8) -> &'static Wide {
    static LOADS: [Wide; 3] =
        [of("wmma.load", load::<GLOBAL>), of("wmma.load", load::<SHARED>), of("wmma.load", load::<GENERIC>)];
    static STORES: [Wide; 3] =
        [of("wmma.store", store::<GLOBAL>), of("wmma.store", store::<SHARED>), of("wmma.store", store::<GENERIC>)];
    let at = match space {
        GLOBAL => 0,
        SHARED => 1,
        _ => 2,
    };
    if is_load { &LOADS[at] } else { &STORES[at] }
}
