//! What the checkers know of an instruction from its opcode: how it orders memory, and whom it brings together.

use crate::decode::Place;

/// Flags of one instruction.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Mark(u16);

impl Mark {
    /// Volatile, relaxed or stronger: PTX ISA 9.0, 8.4.
    pub const STRONG: Mark = Mark(1);
    pub const ACQUIRE: Mark = Mark(2);
    pub const RELEASE: Mark = Mark(4);
    pub const FENCE: Mark = Mark(8);
    /// Orders memory within the block alone.
    pub const BLOCK: Mark = Mark(16);
    /// Lanes of a warp meet, and what they did to memory is ordered.
    pub const WARP_SYNC: Mark = Mark(32);
    /// A barrier that all lanes of a warp must reach together.
    pub const ALIGNED: Mark = Mark(64);
    /// Passes parameters or results on, padding and all: no use of what they hold.
    pub const PASSES: Mark = Mark(128);
    /// A plain load, but nothing comes of what it reads before an `atom.cas` has compared it: see [`Place::compared`].
    pub const COMPARED: Mark = Mark(256);

    pub fn has(self, other: Mark) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether executing it orders memory, with no access of its own.
    pub fn orders(self) -> bool {
        self.has(Mark::FENCE) || self.has(Mark::WARP_SYNC)
    }

    fn with(self, other: Mark, on: bool) -> Mark {
        if on { Mark(self.0 | other.0) } else { self }
    }

    /// By the opcode's parts.
    pub fn of(text: &str) -> Mark {
        // Behind a guard; a call has a name behind it.
        let opcode = text.split_whitespace().find(|word| !word.starts_with('@')).unwrap_or_default();
        let has = |part: &str| opcode.split('.').skip(1).any(|p| p == part);
        let block = has("cta") || has("cluster");
        match opcode.split('.').next().unwrap_or_default() {
            "call" | "ret" => Mark::PASSES,
            "membar" => Mark::FENCE.with(Mark::BLOCK, block),
            "fence" if has("proxy") || has("mbarrier_init") => Mark::default(),
            "fence" => Mark::FENCE.with(Mark::BLOCK, block),
            "bar" | "barrier" if has("warp") => Mark::WARP_SYNC,
            "bar" => Mark::default().with(Mark::ALIGNED, !has("arrive")),
            "barrier" => Mark::default().with(Mark::ALIGNED, has("aligned")),
            "mbarrier" if has("arrive") || has("arrive_drop") => Mark(Mark::STRONG.0 | Mark::RELEASE.0 | Mark::BLOCK.0),
            "mbarrier" if has("test_wait") || has("try_wait") => Mark(Mark::STRONG.0 | Mark::ACQUIRE.0 | Mark::BLOCK.0),
            "mbarrier" => Mark::default(),
            "cp" if has("mbarrier") => Mark(Mark::STRONG.0 | Mark::RELEASE.0 | Mark::BLOCK.0),
            word => {
                let order = Mark::default()
                    .with(Mark::ACQUIRE, has("acquire") || has("acq_rel"))
                    .with(Mark::RELEASE, has("release") || has("acq_rel"));
                let strong = order != Mark::default() || has("volatile") || has("relaxed") || has("mmio");
                order.with(Mark::STRONG, strong || word == "atom" || word == "red").with(Mark::BLOCK, block)
            }
        }
    }
}

/// The marks of a kernel's instructions, by place.
pub fn marks(places: &[Place]) -> Vec<Mark> {
    places.iter().map(|place| Mark::of(&place.text).with(Mark::COMPARED, place.compared)).collect()
}
