//! What a model's ids mean, as a checkpoint keeps it: with another dictionary or tokenizer they mean something else.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::dictionary::Dictionary;
use crate::error::{Error, Result};

/// SHA-256, in hexadecimal, of what turns text into ids.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint {
    /// Of the dictionary's symbols in the order of their ids, a line each; counts do not matter.
    pub dictionary: String,
    /// Of the `tokenizer.json`; none where text comes split into symbols.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokenizer: Option<String>,
}

impl Fingerprint {
    /// That of `dictionary` and of the `tokenizer.json` that `folder` may hold.
    pub fn of_folder(folder: &Path, dictionary: &Dictionary) -> Result<Fingerprint> {
        let path = folder.join("tokenizer.json");
        let tokenizer = match fs::read(&path) {
            Ok(bytes) => Some(hash(&bytes)),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(Error::io(&path, "read", error)),
        };
        Ok(Fingerprint { dictionary: hash(dictionary.symbols().join("\n").as_bytes()), tokenizer })
    }

    /// Whether a model trained with this may read text that is split as `other` says: by the same tokenizer, or by any if its
    /// own text came split.
    pub fn splits_as(&self, other: &Fingerprint) -> bool {
        self.tokenizer.is_none() || self.tokenizer == other.tokenizer
    }
}

fn hash(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
