//! fairseq's binarised sentences (`MMIDIDX`): `PREFIX.bin` holds the ids, `PREFIX.idx` where each sentence lies.
//!
//! `.idx`, little-endian: the 9 bytes `MMIDIDX\0\0`, u64 version 1, u8 element type, u64 n, n × i32 lengths in elements,
//! n × i64 byte offsets into `.bin`. Both files are mapped, never read whole.

use std::fs::File;
use std::path::{Path, PathBuf};

use memmap2::Mmap;

use crate::error::{Error, Result};
use crate::files::{Complete, Pending};
use crate::terminal::reads;

const MAGIC: &[u8; 9] = b"MMIDIDX\0\0";
const HEADER: usize = 9 + 8 + 1 + 8;
/// First bytes of fairseq's older layout, which is not memory-mapped.
const OLD_MAGIC: &[u8] = b"TNTIDX\0\0";

/// Element type of the ids in `.bin`, by fairseq's codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Id {
    U8 = 1,
    I8 = 2,
    I16 = 3,
    I32 = 4,
    I64 = 5,
    U16 = 8,
}

impl Id {
    fn of_code(code: u8) -> Option<Id> {
        [Id::U8, Id::I8, Id::I16, Id::I32, Id::I64, Id::U16].into_iter().find(|id| *id as u8 == code)
    }

    /// What fairseq takes for a dictionary of `vocab` entries.
    fn for_vocab(vocab: usize) -> Id {
        if vocab < 65_500 { Id::U16 } else { Id::I32 }
    }

    fn size(self) -> usize {
        match self {
            Id::U8 | Id::I8 => 1,
            Id::I16 | Id::U16 => 2,
            Id::I32 => 4,
            Id::I64 => 8,
        }
    }

    /// The id in `bytes`, of this type's size; `None` if it is negative or needs more than 32 bits.
    fn decode(self, bytes: &[u8]) -> Option<u32> {
        match self {
            Id::U8 => Some(u32::from(bytes[0])),
            Id::I8 => u32::try_from(bytes[0] as i8).ok(),
            Id::I16 => u32::try_from(i16::from_le_bytes(bytes.try_into().ok()?)).ok(),
            Id::U16 => Some(u32::from(u16::from_le_bytes(bytes.try_into().ok()?))),
            Id::I32 => u32::try_from(i32::from_le_bytes(bytes.try_into().ok()?)).ok(),
            Id::I64 => u32::try_from(i64::from_le_bytes(bytes.try_into().ok()?)).ok(),
        }
    }
}

/// Sentences of ids, memory-mapped. Everything was checked when it was opened.
pub struct Corpus {
    index: Mmap,
    /// None for an empty file, which cannot be mapped.
    data: Option<Mmap>,
    id: Id,
    sentences: usize,
    tokens: u64,
}

/// `PREFIX.idx` or `PREFIX.bin`; the prefix may hold points.
fn with_ending(prefix: &Path, ending: &str) -> PathBuf {
    let mut name = prefix.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

impl Corpus {
    /// Maps `PREFIX.idx` and `PREFIX.bin` and checks them: sizes, that every sentence lies within the file and holds at
    /// least one token, and that every id is below `vocab`.
    pub fn open(prefix: &Path, vocab: usize) -> Result<Corpus> {
        let (index_path, data_path) = (with_ending(prefix, ".idx"), with_ending(prefix, ".bin"));
        let index = map(&index_path)?.ok_or_else(|| Error::data(format!("{}: empty file", index_path.display())))?;
        let (id, sentences) = header(&index).map_err(|error| error.context(index_path.display()))?;
        let mut corpus = Corpus { index, data: map(&data_path)?, id, sentences, tokens: 0 };
        corpus.tokens = corpus.check(vocab).map_err(|error| error.context(data_path.display()))?;
        Ok(corpus)
    }

    fn check(&self, vocab: usize) -> Result<u64> {
        let bytes = self.data.as_ref().map_or(0, |data| data.len() as u64);
        let mut tokens = 0;
        for number in 0..self.sentences {
            let (length, offset) = (self.raw_length(number), self.raw_offset(number));
            let (Ok(length), Ok(offset)) = (u64::try_from(length), u64::try_from(offset)) else {
                return Err(Error::data(format!("sentence {} has length {length} at byte {offset}", number + 1)));
            };
            if length == 0 {
                return Err(Error::data(format!("sentence {} has no token, not even the end symbol", number + 1)));
            }
            let end = offset.saturating_add(length * self.id.size() as u64);
            if end > bytes {
                let message = format!("the file ends at byte {bytes}, sentence {} at byte {end}", number + 1);
                return Err(Error::data(message).hint("it was cut off, or belongs to another .idx; prepare it again"));
            }
            if let Some(token) = self.tokens_of(number).find(|token| token.is_none_or(|id| id as usize >= vocab)) {
                let id = token.map_or("a negative or huge id".to_owned(), |id| format!("id {id}"));
                return Err(Error::data(format!(
                    "sentence {} holds {id}, the dictionary ends at {}",
                    number + 1,
                    vocab - 1
                ))
                .hint("this corpus was made with another dictionary"));
            }
            tokens += length;
        }
        Ok(tokens)
    }

    fn raw_length(&self, number: usize) -> i32 {
        let at = HEADER + 4 * number;
        i32::from_le_bytes(self.index[at..at + 4].try_into().expect("four bytes"))
    }

    fn raw_offset(&self, number: usize) -> i64 {
        let at = HEADER + 4 * self.sentences + 8 * number;
        i64::from_le_bytes(self.index[at..at + 8].try_into().expect("eight bytes"))
    }

    fn tokens_of(&self, number: usize) -> impl Iterator<Item = Option<u32>> {
        let (id, start) = (self.id, self.raw_offset(number) as usize);
        let bytes = self.length(number) * id.size();
        let data = self.data.as_ref().map_or(&[][..], |data| &data[start..start + bytes]);
        data.chunks_exact(id.size()).map(move |token| id.decode(token))
    }

    /// Number of sentences.
    pub fn len(&self) -> usize {
        self.sentences
    }

    pub fn is_empty(&self) -> bool {
        self.sentences == 0
    }

    /// Tokens in all sentences, end symbols included.
    pub fn tokens(&self) -> u64 {
        self.tokens
    }

    /// Tokens of sentence `number`, end symbol included.
    pub fn length(&self, number: usize) -> usize {
        self.raw_length(number) as usize
    }

    /// The ids of sentence `number`.
    pub fn sentence(&self, number: usize) -> Vec<u32> {
        self.tokens_of(number).map(|id| id.unwrap_or(super::UNK)).collect()
    }
}

fn map(path: &Path) -> Result<Option<Mmap>> {
    reads(path);
    let file = File::open(path).map_err(|error| Error::io(path, "read", error))?;
    let bytes = file.metadata().map_err(|error| Error::io(path, "read", error))?.len();
    if bytes == 0 {
        return Ok(None);
    }
    // SAFETY: the mapping is only read. Should another process cut the file off meanwhile, reading ends in SIGBUS; as in
    // every program that maps its corpus, that is left to the user.
    let map = unsafe { Mmap::map(&file) }.map_err(|error| Error::io(path, "map", error))?;
    Ok(Some(map))
}

/// Element type and number of sentences.
fn header(index: &[u8]) -> Result<(Id, usize)> {
    if index.starts_with(OLD_MAGIC) {
        return Err(Error::data("fairseq's old layout (TNTIDX)")
            .hint("binarise again with `fairseq-preprocess --dataset-impl mmap`, or with `omega prepare`"));
    }
    if !index.starts_with(MAGIC) {
        return Err(Error::data("does not start with MMIDIDX: not an index of binarised sentences"));
    }
    if index.len() < HEADER {
        return Err(Error::data(format!("cut off: {} of {HEADER} header bytes", index.len())));
    }
    let word = |at: usize| u64::from_le_bytes(index[at..at + 8].try_into().expect("eight bytes"));
    let (version, code, sentences) = (word(9), index[17], word(18));
    if version != 1 {
        return Err(Error::data(format!("version {version}, expected 1")));
    }
    let id = Id::of_code(code).ok_or_else(|| Error::data(format!("element type {code} is not one of ids")))?;
    let expected = sentences.checked_mul(12).and_then(|n| n.checked_add(HEADER as u64));
    if expected != Some(index.len() as u64) {
        let message = format!("{} bytes for {sentences} sentences, expected {expected:?}", index.len());
        return Err(
            Error::data(message.replace("Some(", "").replace(')', "")).hint("the file was cut off; prepare it again")
        );
    }
    Ok((id, sentences as usize))
}

/// Writes `PREFIX.bin` as sentences come, and `PREFIX.idx` at the end.
pub struct CorpusWriter {
    data: Pending,
    prefix: PathBuf,
    id: Id,
    lengths: Vec<i32>,
}

impl CorpusWriter {
    /// Starts a corpus over a dictionary of `vocab` entries.
    pub fn create(prefix: &Path, vocab: usize) -> Result<CorpusWriter> {
        let data = Pending::create(&with_ending(prefix, ".bin"))?;
        Ok(CorpusWriter { data, prefix: prefix.to_owned(), id: Id::for_vocab(vocab), lengths: Vec::new() })
    }

    /// Appends a sentence, which ends with the end symbol.
    pub fn push(&mut self, sentence: &[u32]) -> Result<()> {
        let bytes: Vec<u8> = match self.id {
            Id::U16 => sentence.iter().flat_map(|id| (*id as u16).to_le_bytes()).collect(),
            _ => sentence.iter().flat_map(|id| id.to_le_bytes()).collect(),
        };
        self.lengths.push(sentence.len() as i32);
        self.data.write(&bytes)
    }

    /// Both files, on the disk and still to be named.
    pub fn complete(self) -> Result<[Complete; 2]> {
        let mut index = Pending::create(&with_ending(&self.prefix, ".idx"))?;
        index.write(MAGIC)?;
        index.write(&1u64.to_le_bytes())?;
        index.write(&[self.id as u8])?;
        index.write(&(self.lengths.len() as u64).to_le_bytes())?;
        for length in &self.lengths {
            index.write(&length.to_le_bytes())?;
        }
        let mut offset = 0i64;
        for length in &self.lengths {
            index.write(&offset.to_le_bytes())?;
            offset += i64::from(*length) * self.id.size() as i64;
        }
        Ok([self.data.complete()?, index.complete()?])
    }
}
