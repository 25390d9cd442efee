//! A data folder, from `omega prepare` or fairseq's `preprocess`: dictionaries, and the sentence pairs of each split.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::coder::Coder;
use super::corpus::Corpus;
use super::dictionary::Dictionary;
use super::fingerprint::Fingerprint;
use crate::error::{Error, Result};

/// Languages and dictionary of a data folder.
#[derive(Clone, Debug)]
pub struct DataFolder {
    pub path: PathBuf,
    pub source: String,
    pub target: String,
    pub dictionary: Dictionary,
}

impl DataFolder {
    /// Finds the language pair of the folder from its file names and reads the dictionaries, which must be the same.
    pub fn open(path: &Path) -> Result<DataFolder> {
        let (source, target) = languages(path)?;
        let dictionary_path = |language: &str| path.join(format!("dict.{language}.txt"));
        let dictionary = Dictionary::load(&dictionary_path(&source))?;
        if Dictionary::load(&dictionary_path(&target))?.symbols() != dictionary.symbols() {
            let message = format!("{}: dict.{source}.txt and dict.{target}.txt differ", path.display());
            return Err(Error::data(message)
                .hint("source and target share one table here: use `fairseq-preprocess --joined-dictionary`"));
        }
        Ok(DataFolder { path: path.to_owned(), source, target, dictionary })
    }

    /// The pairs of `split` ("train", "valid", "test").
    pub fn pairs(&self, split: &str) -> Result<Pairs> {
        let side = |language: &str| {
            let prefix = self.path.join(format!("{split}.{}-{}.{language}", self.source, self.target));
            Corpus::open(&prefix, self.dictionary.len()).map(|corpus| (prefix, corpus))
        };
        let ((source_path, source), (target_path, target)) = (side(&self.source)?, side(&self.target)?);
        if source.len() != target.len() {
            let (a, b) = (source_path.display(), target_path.display());
            return Err(Error::data(format!("{a} has {} sentences, {b} has {}", source.len(), target.len())));
        }
        if source.is_empty() {
            return Err(Error::data(format!("{}: the {split} corpus is empty", self.path.display())));
        }
        Ok(Pairs { source, target })
    }

    /// Whether the folder has `split`.
    pub fn has(&self, split: &str) -> bool {
        self.path.join(format!("{split}.{0}-{1}.{0}.idx", self.source, self.target)).exists()
    }

    /// What ids mean here.
    pub fn fingerprint(&self) -> Result<Fingerprint> {
        Fingerprint::of_folder(&self.path, &self.dictionary)
    }

    /// Text and ids of this folder.
    pub fn coder(&self) -> Result<Coder> {
        Coder::of_folder(&self.path, self.dictionary.clone())
    }
}

/// Source and target from a name like `train.de-en.de.idx`.
fn languages(path: &Path) -> Result<(String, String)> {
    let entries = fs::read_dir(path).map_err(|error| {
        Error::io(path, "read", error).hint(
            "`omega prepare` makes a data folder, and so do the scripts in data/, for the recipes; where a run's has moved, \
             change `data` in its config.toml",
        )
    })?;
    let mut found = BTreeSet::new();
    for entry in entries {
        let name = entry.map_err(|error| Error::io(path, "read", error))?.file_name();
        let parts: Vec<String> = name.to_string_lossy().split('.').map(str::to_owned).collect();
        if let [split, pair, language, ending] = &parts[..]
            && split == "train"
            && ending == "idx"
            && let Some((source, target)) = pair.split_once('-')
            && (language == source || language == target)
        {
            found.insert((source.to_owned(), target.to_owned()));
        }
    }
    let mut found = found.into_iter();
    match (found.next(), found.next()) {
        (Some(pair), None) => Ok(pair),
        (None, _) => Err(Error::data(format!("{}: no file train.SOURCE-TARGET.LANG.idx", path.display()))
            .hint("make the folder with `omega prepare`, or with fairseq's preprocess")),
        (Some(a), Some(b)) => {
            Err(Error::data(format!("{}: two language pairs, {}-{} and {}-{}", path.display(), a.0, a.1, b.0, b.1))
                .hint("keep each pair in a folder of its own"))
        }
    }
}

/// Sentence pairs of one split.
pub struct Pairs {
    pub source: Corpus,
    pub target: Corpus,
}

impl Pairs {
    pub fn len(&self) -> usize {
        self.source.len()
    }

    pub fn is_empty(&self) -> bool {
        self.source.is_empty()
    }

    /// (source, target) tokens of each pair, end symbols included.
    pub fn lengths(&self) -> Vec<(usize, usize)> {
        (0..self.len()).map(|number| (self.source.length(number), self.target.length(number))).collect()
    }

    /// The pairs in `numbers`, as ids.
    pub fn take(&self, numbers: &[u32]) -> Vec<(Vec<u32>, Vec<u32>)> {
        let pair = |number: &u32| (self.source.sentence(*number as usize), self.target.sentence(*number as usize));
        numbers.iter().map(pair).collect()
    }
}
