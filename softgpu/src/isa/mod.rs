//! The instruction set: every instruction that softgpu runs stands in one table, by the spellings that PTX has for it.
//!
//! Arithmetic is a [`Row`]: what is computed per lane, from which the handlers come. Everything else is a [`Form`]: the
//! function that decodes it. Decoder, printer and the coverage page all come from these tables. Semantics: PTX ISA 9.0,
//! chapter 9.7.

#[macro_use]
mod rows;

mod bits;
mod compare;
mod convert;
mod float;
mod forms;
mod half;
mod integer;
pub mod lane;
mod logic;
pub mod math;
pub mod soft;
mod spell;
pub mod video;

use std::collections::HashMap;
use std::sync::LazyLock;

pub use forms::Form;
pub use lane::{Bits, Kind, Lane};

use crate::exec::gang::Way;

/// An arithmetic instruction.
pub struct Row {
    /// Spellings, as patterns (see [`spell`]); the first one is plain, and the row's own name.
    pub names: &'static [&'static str],
    /// Destination first.
    pub kinds: &'static [Kind],
    /// For vectors, and for scalars: see `exec`.
    pub vector: Way,
    pub scalar: Way,
}

impl PartialEq for Row {
    fn eq(&self, other: &Row) -> bool {
        std::ptr::eq(self, other)
    }
}
impl Eq for Row {}

impl std::fmt::Debug for Row {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.names[0])
    }
}

/// All rows.
const ROWS: &[&[Row]] =
    &[integer::ROWS, bits::ROWS, logic::ROWS, float::ROWS, half::ROWS, compare::ROWS, convert::ROWS];

/// What an opcode means.
#[derive(Clone, Copy)]
pub enum Entry {
    Row(&'static Row),
    Form(&'static Form),
}

/// The patterns by the opcode's first word.
static INDEX: LazyLock<HashMap<&'static str, Vec<(&'static str, Entry)>>> = LazyLock::new(|| {
    let mut index = HashMap::<_, Vec<_>>::new();
    for (pattern, entry) in all() {
        index.entry(spell::head(pattern)).or_default().push((pattern, entry));
    }
    index
});

/// Every pattern of the table.
fn all() -> impl Iterator<Item = (&'static str, Entry)> {
    let rows = ROWS.iter().copied().flatten().map(|row| (row.names, Entry::Row(row)));
    let forms = forms::all().map(|form| (form.names, Entry::Form(form)));
    rows.chain(forms).flat_map(|(names, entry)| names.iter().map(move |&name| (name, entry)))
}

/// The table's entry for an opcode as PTX spells it. A row is the fast way of what a form does too, and goes first.
pub fn find(opcode: &str) -> Option<Entry> {
    let candidates = INDEX.get(spell::head(opcode))?;
    candidates.iter().find(|(pattern, _)| spell::matches(pattern, opcode)).map(|(_, entry)| *entry)
}

/// The row that has that spelling.
pub fn row(name: &str) -> Option<&'static Row> {
    match find(name) {
        Some(Entry::Row(row)) => Some(row),
        _ => None,
    }
}

/// Every instruction that softgpu runs, as patterns. Rows whose name starts with `~`, which no opcode does, are parts
/// that forms are put together from.
pub fn coverage() -> impl Iterator<Item = &'static str> {
    all().map(|(pattern, _)| pattern).filter(|pattern| !pattern.starts_with('~'))
}

/// The instructions that a pattern stands for: `shf(.l|.r).b32` for two, `add[.rn].f32` for two.
pub fn spellings(pattern: &str) -> Vec<String> {
    spell::out(pattern)
}

/// Every instruction as a page in Markdown, by first word.
pub fn coverage_page() -> String {
    let mut by_word = std::collections::BTreeMap::<_, Vec<_>>::new();
    for pattern in coverage() {
        by_word.entry(spell::head(pattern)).or_default().push(pattern);
    }
    let mut page = String::from(
        "# Instructions that softgpu runs\n\n\
         Made by `softgpu coverage` from the instruction table. `(a|b)` is one of the alternatives, `[a|b]` one of them \
         or none.\nSemantics: PTX ISA 9.0, chapter 9.7. A kernel with anything else is refused when it is launched.\n",
    );
    for (word, patterns) in by_word {
        page += &format!("\n## {word}\n\n");
        patterns.iter().for_each(|pattern| page += &format!("* `{pattern}`\n"));
    }
    page
}

/// The arithmetic instructions, row by row: the patterns of a row are one instruction under different types.
pub fn rows() -> impl Iterator<Item = &'static [&'static str]> {
    ROWS.iter().copied().flatten().map(|row| row.names)
}

#[cfg(test)]
mod tests {
    use super::{Entry, all, find, spell};

    /// One spelling, one row, and one form.
    #[test]
    fn no_spelling_is_in_the_table_twice() {
        for forms in [false, true] {
            let of_kind = all().filter(|(_, entry)| matches!(entry, Entry::Form(_)) == forms);
            let mut spellings: Vec<String> = of_kind.flat_map(|(pattern, _)| spell::out(pattern)).collect();
            assert!(spellings.iter().all(|spelling| find(spelling).is_some()));
            spellings.sort_unstable();
            let twice = spellings.windows(2).find(|pair| pair[0] == pair[1]);
            assert_eq!(twice, None);
        }
    }
}
