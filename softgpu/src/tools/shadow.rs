//! What racecheck keeps of memory: who wrote and who read each place last.
//!
//! Lanes mostly touch rows, so a line of 128 bytes has one record as long as whole lines are touched, and one per word
//! only once they are not. Of reads, the last two of different warps that nothing orders are in the record, and those
//! before them, if they are of the same block, in a list beside it: a write may be ordered after some of a block's readers alone.
//! The list of a place in shared memory has room for all warps of the block; that of one in global memory for six.

/// Bytes of a line, and words in it.
pub const LINE: u64 = 128;
const WORDS: usize = LINE as usize / 4;
/// Lines of a page; pages are made when they are touched.
const PAGE: usize = 64;

/// An access: by whom (a warp of the launch), at which count of its clock, and where in the code.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Stamp {
    pub actor: u32,
    /// 0: nobody.
    pub clock: u32,
    /// Bits 0–18 place, 19 several lanes have touched the same bytes, 20–24 lane, 25–28 log2 of the bytes per lane (lines) or bytes of the
    /// word (words), 29–30 strength, 31 several lanes.
    what: u32,
}

pub const PLAIN: u32 = 0;
pub const STRONG: u32 = 1;
pub const ATOMIC: u32 = 2;
/// A plain write, kept as a reader since an atomic of the same warp has come on top of it: others may know of neither.
pub const BENEATH: u32 = 3;

impl Stamp {
    pub fn new(actor: u32, clock: u32, place: u32, strength: u32) -> Stamp {
        Stamp { actor, clock, what: place & 0x7_ffff | strength << 29 }
    }

    /// The same, by that lane, with so many bytes (as log2) per lane or those bytes of a word.
    pub fn by(self, lane: u32, extent: u32, many: bool) -> Stamp {
        Stamp { what: self.what & 0x6007_ffff | (lane & 31) << 20 | extent << 25 | (many as u32) << 31, ..self }
    }

    pub fn place(self) -> u32 {
        self.what & 0x7_ffff
    }

    pub fn lane(self) -> u32 {
        self.what >> 20 & 31
    }

    pub fn extent(self) -> u32 {
        self.what >> 25 & 15
    }

    pub fn strength(self) -> u32 {
        self.what >> 29 & 3
    }

    pub fn is_plain(self) -> bool {
        matches!(self.strength(), PLAIN | BENEATH)
    }

    pub fn beneath(self) -> Stamp {
        Stamp { what: self.what | BENEATH << 29, ..self }
    }

    pub fn many(self) -> bool {
        self.what >> 31 != 0
    }

    /// The same, by several lanes that have touched the same bytes.
    pub fn shared(self) -> Stamp {
        Stamp { what: self.what | 1 << 19 | 1 << 31, ..self }
    }

    pub fn is_shared(self) -> bool {
        self.what >> 19 & 1 != 0
    }

    /// A line's stamp for one of its words.
    fn of_word(self, word: u32) -> Stamp {
        let log2 = self.extent();
        self.by(self.lane() + ((word * 4) >> log2), 15, log2 < 2)
    }
}

/// The last accesses to a line or word.
#[derive(Clone, Copy, Default)]
pub struct Cell {
    pub write: Stamp,
    pub reads: [Stamp; 2],
    /// The number of the earlier readers' list; 0: there are none.
    earlier: u32,
}

impl Cell {
    /// Whether there are readers before the last two.
    #[inline]
    pub fn has_earlier(&self) -> bool {
        self.earlier != 0
    }

    /// Nobody has read what is there now.
    pub fn forget_readers(&mut self) {
        *self = Cell { write: self.write, ..Cell::default() };
    }
}

/// The earlier readers of lines and words, one stamp for each warp. Most words have the same ones as their neighbours, so lists
/// share their ends, and are never changed.
pub struct Readers {
    nodes: Vec<Node>,
    /// Numbers of nodes that were made or asked for lately, by their content.
    recent: Vec<u32>,
    /// The longest list.
    most: u32,
}

/// The first of a list.
#[derive(Clone, Copy)]
struct Node {
    stamp: Stamp,
    /// The number of the rest; 0: there is none.
    next: u32,
    len: u32,
}

const RECENT: usize = 256;
/// Beside the number of a list that has its greatest length.
const FULL: u32 = 1 << 31;

/// Of global memory, which most kernels read with all their warps and never write.
impl Default for Readers {
    fn default() -> Readers {
        Readers { nodes: Vec::new(), recent: vec![0; RECENT], most: 6 }
    }
}

impl Readers {
    /// Of shared memory: a block has 32 warps, two of them in the record.
    pub fn of_block() -> Readers {
        Readers { most: 30, ..Readers::default() }
    }

    /// Those before the last two, the latest first.
    #[inline]
    pub fn of(&self, cell: &Cell) -> impl Iterator<Item = Stamp> {
        let node = |number: u32| self.nodes.get((number as usize).wrapping_sub(1));
        std::iter::successors(node(cell.earlier & !FULL), move |last| node(last.next)).map(|node| node.stamp)
    }

    /// Notes an earlier reader, in place of what the same warp has read before; of so many that there is no room, none.
    #[inline]
    pub fn keep(&mut self, cell: &mut Cell, stamp: Stamp) {
        if cell.earlier & FULL == 0 {
            self.insert(cell, stamp);
        }
    }

    #[cold]
    fn insert(&mut self, cell: &mut Cell, stamp: Stamp) {
        if self.of(cell).any(|known| known.actor == stamp.actor) {
            let mut others: Vec<Stamp> = self.of(cell).filter(|known| known.actor != stamp.actor).collect();
            cell.earlier = 0;
            while let Some(other) = others.pop() {
                cell.earlier = self.node(other, cell.earlier);
            }
        }
        cell.earlier = self.node(stamp, cell.earlier);
        if self.nodes[cell.earlier as usize - 1].len == self.most {
            cell.earlier |= FULL;
        }
    }

    /// The number of a list that begins so.
    fn node(&mut self, stamp: Stamp, next: u32) -> u32 {
        let mixed = [stamp.clock, stamp.what, next]
            .into_iter()
            .fold(stamp.actor, |mixed, part| (mixed.rotate_left(5) ^ part).wrapping_mul(0x9e37_79b9));
        let recent = &mut self.recent[mixed as usize >> 7 & (RECENT - 1)];
        if let Some(node) = self.nodes.get((*recent as usize).wrapping_sub(1))
            && (node.stamp, node.next) == (stamp, next)
        {
            return *recent;
        }
        let len = self.nodes.get((next as usize).wrapping_sub(1)).map_or(0, |node| node.len) + 1;
        self.nodes.push(Node { stamp, next, len });
        *recent = self.nodes.len() as u32;
        *recent
    }
}

#[derive(Clone, Copy, Default)]
pub struct Line {
    pub all: Cell,
    /// Index + 1 of the words' cells; 0: `all` holds for each of them.
    words: u32,
}

/// The shadow of a stretch of memory.
#[derive(Default)]
pub struct Shadow {
    pub lines: Lines,
    pub readers: Readers,
}

/// The records of a stretch of memory.
#[derive(Default)]
pub struct Lines {
    pages: Vec<Option<Box<[Line; PAGE]>>>,
    words: Vec<[Cell; WORDS]>,
    free: Vec<u32>,
}

impl Lines {
    /// The line at a byte offset.
    #[inline]
    pub fn line(&mut self, at: u64) -> &mut Line {
        let (page, line) = ((at / LINE) as usize / PAGE, (at / LINE) as usize % PAGE);
        if page >= self.pages.len() {
            self.pages.resize_with(page + 1, || None);
        }
        &mut self.pages[page].get_or_insert_with(|| Box::new([Line::default(); PAGE]))[line]
    }

    /// The line's record, if it has one for all of it.
    #[inline]
    pub fn whole(&mut self, at: u64) -> Option<&mut Cell> {
        let line = self.line(at);
        (line.words == 0).then_some(&mut line.all)
    }

    /// The records of its words.
    pub fn words(&mut self, at: u64, readers: &mut Readers) -> &mut [Cell; WORDS] {
        let line = *self.line(at);
        if line.words != 0 {
            return &mut self.words[line.words as usize - 1];
        }
        let mut cells = [Cell::default(); WORDS];
        for (word, cell) in cells.iter_mut().enumerate() {
            let of = |stamp: Stamp| if stamp.clock == 0 { stamp } else { stamp.of_word(word as u32) };
            *cell = Cell { write: of(line.all.write), reads: line.all.reads.map(of), earlier: 0 };
            let earlier: Vec<Stamp> = readers.of(&line.all).map(of).collect();
            earlier.into_iter().rev().for_each(|stamp| readers.keep(cell, stamp));
        }
        let index = match self.free.pop() {
            Some(index) => {
                self.words[index as usize] = cells;
                index
            }
            None => {
                self.words.push(cells);
                self.words.len() as u32 - 1
            }
        };
        self.line(at).words = index + 1;
        &mut self.words[index as usize]
    }

    /// Gives a line one record again: that of who wrote all of it, after which nobody has read.
    pub fn unite(&mut self, at: u64, write: Stamp) {
        let line = self.line(at);
        let words = std::mem::replace(line, Line { all: Cell { write, ..Cell::default() }, words: 0 }).words;
        if words != 0 {
            self.free.push(words - 1);
        }
    }
}
