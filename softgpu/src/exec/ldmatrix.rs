//! Tiles between shared memory and registers: `ldmatrix stmatrix movmatrix`. PTX ISA 9.0, 9.7.14.5.15 to 17.
//!
//! A tile is 8 rows of 16 bytes anywhere in shared memory; lane 8·t + row gives the address of a row of tile t.

use super::alu::Source;
use super::matrix::{collective, wide_levels};
use super::mem::{GENERIC, SHARED, resolve};
use super::stray::stray;
use super::tile::{transpose, whole};
use super::{LANES, List, NEXT, Warp, Wide, WideFn};
use crate::memory::{OFFSET_BITS, SHARED_WINDOW};
use crate::tools::Touch;

const ROW_BYTES: u64 = 16;
const NOT_SHARED: &str = "ldmatrix and stmatrix read and write shared memory alone";

/// The host pointers of the rows of `count` tiles; constants: transposed, offset, whether addresses have 64 bits.
///
/// # Safety
/// `at` must be the register of the addresses.
#[inline(always)]
unsafe fn rows<const SPACE: u8>(
    w: &mut Warp,
    list: &List,
    r: *mut u8,
    at: u32,
    (count, touch): (usize, Touch),
) -> Result<[*mut u8; LANES], u32> {
    let mut out = [std::ptr::null_mut(); LANES];
    let mut addresses = [0; LANES];
    let (offset, wide) = (list.imms[1] as u64, list.imms[2] != 0);
    for (lane, out) in out.iter_mut().enumerate().take(8 * count) {
        // SAFETY: the caller's.
        let base = unsafe {
            if wide { Source::<u64>::new(r, at).lane(lane) } else { Source::<u32>::new(r, at).lane(lane) as u64 }
        };
        let address = base.wrapping_add(offset);
        let address = if wide { address } else { address as u32 as u64 };
        if SPACE == GENERIC && address >> OFFSET_BITS != SHARED_WINDOW >> OFFSET_BITS {
            let what = format!("address {address:#x} of a tile's row is not in shared memory");
            return Err(w.trap(what, NOT_SHARED, lane as u32));
        }
        match resolve::<SPACE>(w, lane, address, ROW_BYTES) {
            Some(p) if address % ROW_BYTES == 0 => (*out, addresses[lane]) = (p, address),
            found => return Err(stray(w, SPACE, address, ROW_BYTES, lane, found.is_some())),
        }
    }
    match w.show_rows(list.place, touch, SPACE, &addresses[..8 * count]) {
        NEXT => Ok(out),
        event => Err(event),
    }
}

/// `ldmatrix.xN`: N registers, then the address.
#[inline(always)]
unsafe fn load<const SPACE: u8, const FAST: bool>(w: &mut Warp, list: &List, r: *mut u8) -> u32 {
    if let Some(event) = whole(w, "ldmatrix") {
        return event;
    }
    let count = list.regs.len() - 1;
    let at = list.regs[count];
    // SAFETY: the decoder has given words, and an address; each row has its 16 bytes.
    unsafe {
        if SPACE == SHARED && list.imms[2] == 0 && w.tools.is_null() {
            // Words are tested all at once, and the rows go straight from there.
            let (mut addresses, offset) = (*(r.add(at as usize) as *const [u32; LANES]), list.imms[1] as u32);
            let (mut low, mut high) = (0, 0);
            for tile in addresses.chunks_exact_mut(8).take(count) {
                for address in tile {
                    *address = address.wrapping_add(offset);
                    low |= *address;
                    high = high.max(*address);
                }
            }
            if low.is_multiple_of(ROW_BYTES as u32) && high as u64 + ROW_BYTES <= w.shared_bytes {
                for tile in 0..count {
                    fill(list, r, tile, |k| w.shared.add(addresses[(8 * tile + k) & 31] as usize));
                }
                return NEXT;
            }
        }
        let rows = match rows::<SPACE>(w, list, r, at, (count, Touch::Read)) {
            Ok(rows) => rows,
            Err(trap) => return trap,
        };
        for tile in 0..count {
            fill(list, r, tile, |k| rows[8 * tile + k]);
        }
    }
    NEXT
}

/// Fills a register with the tile whose rows are there.
///
/// # Safety
/// As in `load`.
#[inline(always)]
unsafe fn fill(list: &List, r: *mut u8, tile: usize, row: impl Fn(usize) -> *mut u8) {
    // SAFETY: the caller's.
    unsafe {
        let to = r.add(list.regs[tile] as usize) as *mut [u32; 4];
        if list.imms[0] != 0 {
            let rows = [row(0), row(1), row(2), row(3), row(4), row(5), row(6), row(7)];
            transpose(rows.map(|row| row as *const u8), to as *mut u32);
        } else {
            (0..8).for_each(|k| *to.add(k) = (row(k) as *const [u32; 4]).read_unaligned());
        }
    }
}

/// `stmatrix.xN`: the address, then N registers. Rows at the same place are written in order.
unsafe fn store<const SPACE: u8>(w: &mut Warp, list: &List, r: *mut u8) -> u32 {
    if let Some(event) = whole(w, "stmatrix") {
        return event;
    }
    let count = list.regs.len() - 1;
    // SAFETY: as in `load`.
    unsafe {
        let rows = match rows::<SPACE>(w, list, r, list.regs[0], (count, Touch::Write)) {
            Ok(rows) => rows,
            Err(trap) => return trap,
        };
        for tile in 0..count {
            let mut words = *(r.add(list.regs[1 + tile] as usize) as *const [u32; LANES]);
            if list.imms[0] != 0 {
                let from = words;
                transpose(std::array::from_fn(|k| from.as_ptr().add(4 * k) as *const u8), words.as_mut_ptr());
            }
            for k in 0..8 {
                let row = [words[4 * k], words[4 * k + 1], words[4 * k + 2], words[4 * k + 3]];
                (rows[8 * tile + k] as *mut [u32; 4]).write_unaligned(row);
            }
        }
    }
    NEXT
}

/// `movmatrix.trans d, a`.
unsafe fn moved(w: &mut Warp, list: &List, r: *mut u8) -> u32 {
    if let Some(event) = whole(w, "movmatrix") {
        return event;
    }
    // SAFETY: two registers of words.
    unsafe {
        let from = *(r.add(list.regs[1] as usize) as *const [u32; LANES]);
        let to = r.add(list.regs[0] as usize) as *mut u32;
        transpose(std::array::from_fn(|k| from.as_ptr().add(4 * k) as *const u8), to);
    }
    NEXT
}

const fn of(name: &'static str, run: WideFn) -> Wide {
    collective(name, [run; 3])
}
pub static MOVE: Wide = of("movmatrix", moved);

/// `ldmatrix`, or `stmatrix`, with addresses in shared memory or generic ones.
pub fn matrices(is_load: bool, space: u8) -> &'static Wide {
    static LOADS: [Wide; 2] = [
        collective("ldmatrix", wide_levels!(load [] [SHARED])),
        collective("ldmatrix", wide_levels!(load [] [GENERIC])),
    ];
    static STORES: [Wide; 2] = [of("stmatrix", store::<SHARED>), of("stmatrix", store::<GENERIC>)];
    let generic = (space == GENERIC) as usize;
    if is_load { &LOADS[generic] } else { &STORES[generic] }
}
