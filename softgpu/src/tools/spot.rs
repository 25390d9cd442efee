//! Where the lanes of an access point, in the form that checkers work on.

use super::findings::Scene;
use crate::exec::LANES;
use crate::exec::mem::{GENERIC, GLOBAL, LOCAL, SHARED};
use crate::memory::{self, LOCAL_WINDOW, OFFSET_BITS, SHARED_WINDOW};

/// The memory that an access goes to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Space {
    /// By the allocation's index.
    Global(usize),
    Shared,
    Local,
}

impl Space {
    /// "4 bytes at +12 of shared memory", in words.
    pub fn place(self, scene: &Scene, offset: u64, bytes: u64) -> String {
        let count = if bytes == 1 { "1 byte".into() } else { format!("{bytes} bytes") };
        match self {
            Space::Global(index) => format!("{count} at {}", scene.global(memory::address(index, offset))),
            Space::Shared => format!("{count} at +{offset} of shared memory"),
            Space::Local => format!("{count} at +{offset} of local memory"),
        }
    }
}

/// What the lanes in a mask point at.
pub struct Spot {
    pub space: Space,
    pub shape: Shape,
    pub mask: u32,
}

impl Spot {
    pub fn lanes(&self) -> impl Iterator<Item = usize> {
        let mask = self.mask;
        (0..LANES).filter(move |lane| mask >> lane & 1 == 1)
    }
}

/// How the lanes in the mask lie, as byte offsets in their space.
#[allow(clippy::large_enum_variant)] // lives on the stack for one access
pub enum Shape {
    /// So many lanes from `lane` on, one beside the other.
    Row {
        lane: u32,
        lanes: u32,
        from: u64,
    },
    /// All at one place.
    Same {
        lane: u32,
        from: u64,
    },
    Scattered([u64; LANES]),
}

impl Shape {
    pub fn offset(&self, lane: usize, bytes: u64) -> u64 {
        match self {
            Shape::Row { lane: first, from, .. } => from + (lane as u64 - *first as u64) * bytes,
            Shape::Same { from, .. } => *from,
            Shape::Scattered(offsets) => offsets[lane],
        }
    }
}

/// The space of an address, its offset there, and the size of the allocation; `None`: it is none that checkers know.
fn locate(space: u8, address: u64, scene: &Scene, sizes: [u64; 2]) -> Option<(Space, u64, u64)> {
    let window = address >> OFFSET_BITS << OFFSET_BITS;
    let offset = address & ((1 << OFFSET_BITS) - 1);
    match space {
        SHARED => Some((Space::Shared, address, sizes[0])),
        LOCAL => Some((Space::Local, address, sizes[1])),
        _ if space >= GENERIC && window == SHARED_WINDOW => Some((Space::Shared, offset, sizes[0])),
        _ if space >= GENERIC && window == LOCAL_WINDOW => Some((Space::Local, offset, sizes[1])),
        GLOBAL | GENERIC.. => {
            let (index, block) = memory::index(scene.blocks, address)?;
            (!block.base.is_null()).then_some((Space::Global(index), offset, block.bytes))
        }
    }
}

/// Whether no lane is missing between the first and the last of the mask.
fn side_by_side(mask: u32) -> bool {
    let run = mask >> mask.trailing_zeros();
    run & run.wrapping_add(1) == 0
}

/// A row, or one place for all, if it ends within the allocation.
fn even(row: bool, bytes: u64, mask: u32, from: u64, size: u64) -> Option<Shape> {
    let lane = mask.trailing_zeros();
    let lanes = if row { mask.count_ones() } else { 1 };
    let shape = if row { Shape::Row { lane, lanes, from } } else { Shape::Same { lane, from } };
    (from.checked_add(bytes * lanes as u64)? <= size).then_some(shape)
}

/// As [`find`], where the program is known to point all lanes at `first`, or at a row whose first lane in the mask does.
/// None also if lanes are missing from the row.
pub fn known(
    space: u8,
    bytes: u64,
    mask: u32,
    (row, first): (bool, u64),
    scene: &Scene,
    sizes: [u64; 2],
) -> Option<Spot> {
    if first & (bytes - 1) != 0 || row && !side_by_side(mask) {
        return None;
    }
    let (space, from, size) = locate(space, first, scene, sizes)?;
    even(row, bytes, mask, from, size).map(|shape| Spot { space, shape, mask })
}

/// Where the lanes in the mask point; `None` if one of them strays (the access itself stops the kernel then), or if
/// they go to different spaces or allocations. `sizes`: of shared and local memory.
pub fn find(
    space: u8,
    bytes: u64,
    mask: u32,
    addresses: &[u64; LANES],
    scene: &Scene,
    sizes: [u64; 2],
) -> Option<Spot> {
    let at = |space, shape| Spot { space, shape, mask };
    let lane = mask.trailing_zeros();
    let first = addresses[lane as usize];
    let start = first.wrapping_sub(lane as u64 * bytes);
    let (mut apart, mut different) = (0, 0);
    if mask == u32::MAX {
        for (i, &address) in addresses.iter().enumerate() {
            apart |= address ^ start.wrapping_add(i as u64 * bytes);
            different |= address ^ first;
        }
    } else {
        for (i, &address) in addresses.iter().enumerate() {
            let on = 0u64.wrapping_sub((mask >> i & 1) as u64);
            apart |= (address ^ start.wrapping_add(i as u64 * bytes)) & on;
            different |= (address ^ first) & on;
        }
    }
    let (found, from, size) = locate(space, first, scene, sizes)?;
    if first & (bytes - 1) != 0 {
        return None;
    }
    let row = apart == 0 && side_by_side(mask);
    if row || different == 0 {
        return even(row, bytes, mask, from, size).map(|shape| at(found, shape));
    }
    let mut offsets = [0; LANES];
    for i in (0..LANES).filter(|i| mask >> i & 1 == 1) {
        let (space, offset, size) = locate(space, addresses[i], scene, sizes)?;
        if space != found || offset.checked_add(bytes)? > size || offset & (bytes - 1) != 0 {
            return None;
        }
        offsets[i] = offset;
    }
    Some(at(found, Shape::Scattered(offsets)))
}
