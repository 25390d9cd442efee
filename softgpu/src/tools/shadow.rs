//! What racecheck keeps of memory: who wrote and who read each place last.
//!
//! Lanes mostly touch rows, so a line of 128 bytes has one record as long as whole lines are touched, and one per word
//! only once they are not. Of reads, the last two of different warps that nothing orders are in the record, and those
//! before them in a list beside it: a write may be ordered after some of the readers alone.

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
    /// Index + 1 of the earlier readers' list; 0: there are none.
    earlier: u32,
}

/// Lists of readers, one per warp: the earlier ones of a line or word.
#[derive(Default)]
pub struct Readers {
    lists: Vec<Vec<Stamp>>,
    free: Vec<u32>,
}

/// So many are kept. A block has 32 warps, two of them in the record.
const MOST_READERS: usize = 30;

impl Readers {
    /// Those before the last two.
    #[inline]
    pub fn of(&self, cell: &Cell) -> &[Stamp] {
        if cell.earlier == 0 { &[] } else { &self.lists[cell.earlier as usize - 1] }
    }

    /// Notes an earlier reader, in place of what the same warp has read before.
    pub fn keep(&mut self, cell: &mut Cell, stamp: Stamp) {
        if cell.earlier == 0 {
            cell.earlier = self.list(Vec::new());
        }
        let list = &mut self.lists[cell.earlier as usize - 1];
        if let Some(known) = list.iter_mut().find(|known| known.actor == stamp.actor) {
            *known = stamp;
        } else if list.len() < MOST_READERS {
            list.push(stamp);
        }
    }

    /// Forgets all readers of the record.
    #[inline]
    pub fn clear(&mut self, cell: &mut Cell) {
        cell.reads = [Stamp::default(); 2];
        if cell.earlier != 0 {
            self.lists[cell.earlier as usize - 1].clear();
            self.free.push(cell.earlier);
            cell.earlier = 0;
        }
    }

    /// The number of a list that holds `stamps`.
    fn list(&mut self, stamps: Vec<Stamp>) -> u32 {
        match self.free.pop() {
            Some(number) => {
                self.lists[number as usize - 1].extend(stamps);
                number
            }
            None => {
                self.lists.push(stamps);
                self.lists.len() as u32
            }
        }
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
            let earlier = match readers.of(&line.all) {
                [] => 0,
                stamps => {
                    let stamps = stamps.iter().copied().map(of).collect();
                    readers.list(stamps)
                }
            };
            *cell = Cell { write: of(line.all.write), reads: line.all.reads.map(of), earlier };
        }
        readers.clear(&mut self.line(at).all);
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
    pub fn unite(&mut self, at: u64, write: Stamp, readers: &mut Readers) {
        let line = self.line(at);
        readers.clear(&mut line.all);
        line.all.write = write;
        let words = std::mem::take(&mut line.words);
        if words != 0 {
            self.words[words as usize - 1].iter_mut().for_each(|cell| readers.clear(cell));
            self.free.push(words - 1);
        }
    }
}
