//! `--config FILE`: the flags as TOML, and what is wrong with it, by line and key.

use std::fs;
use std::path::Path;

use clap::{Args, Command};

use super::TrainFlags;
use crate::error::{Error, Result};

/// How like a known key must be to be offered for an unknown one, by Jaro's measure: as clap has it for flags.
const ALIKE: f64 = 0.7;

impl TrainFlags {
    /// Reads `--config`. Errors name the line and the key.
    pub fn load(path: &Path) -> Result<TrainFlags> {
        let text = fs::read_to_string(path).map_err(|error| Error::io(path, "read", error))?;
        toml::from_str(&text).map_err(|error| explain(path, &text, &error))
    }
}

fn explain(path: &Path, text: &str, error: &toml::de::Error) -> Error {
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    let number = before.matches('\n').count();
    let (place, said) = (format!("{} line {}", path.display(), number + 1), error.message());
    if let Some(key) = said.strip_prefix("unknown field `").and_then(|rest| rest.split('`').next()) {
        return Error::usage(format!("{place}: there is no key `{key}`")).hint(match closest(key) {
            _ if key == "save-dir" => "the run folder is typed: `--save-dir RUN`".to_owned(),
            Some(known) => format!("did you mean `{known}`?"),
            None => "the keys are the flags of `omega train --help`, without their dashes".to_owned(),
        });
    }
    let key = text.lines().nth(number).and_then(|line| line.split_once('='));
    let key = key.map_or_else(String::new, |(key, _)| format!(", `{}`", key.trim()));
    Error::usage(format!("{place}{key}: {}", said.replace('\n', ", ")))
}

/// The key that `unknown` may have been meant to be.
fn closest(unknown: &str) -> Option<String> {
    let flags = TrainFlags::augment_args(Command::default());
    let known = flags.get_arguments().filter_map(|arg| arg.get_long()).chain(["data"]);
    let alike = known.map(|known| (strsim::jaro(unknown, known), known)).filter(|(alike, _)| *alike > ALIKE);
    alike.max_by(|(a, _), (b, _)| a.total_cmp(b)).map(|(_, known)| known.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_line_and_key_and_what_may_have_been_meant() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("my.toml");
        let message = |text: &str| {
            fs::write(&path, text).unwrap();
            let error = TrainFlags::load(&path).unwrap_err();
            assert_eq!(error.exit_code(), 2);
            error.to_string().replace(&format!("{} ", path.display()), "")
        };
        let cases = [
            ("lr = 1\nmax-updat = 5\n", "line 2: there is no key `max-updat`\n\nhint: did you mean `max-update`?"),
            ("max_tokens = 5", "line 1: there is no key `max_tokens`\n\nhint: did you mean `max-tokens`?"),
            ("save-dir = 'x'", "line 1: there is no key `save-dir`\n\nhint: the run folder is typed"),
            ("zzz = 5", "line 1: there is no key `zzz`\n\nhint: the keys are the flags"),
            ("# ω\n\nmax-update = \"ten\"", "line 3, `max-update`: invalid type: string \"ten\", expected u64"),
            ("heads = -1", "line 1, `heads`: invalid value: integer `-1`, expected usize"),
            ("residual = 'admn'", "line 1, `residual`: unknown variant `admn`, expected one of `post-ln`, `pre-ln`"),
            ("lr = 1\nlr = 2", "line 2, `lr`: duplicate key"),
            ("lr = 1\nmax-update 5", "line 2: "),
        ];
        for (text, expected) in cases {
            let said = message(text);
            assert!(said.starts_with(expected), "{text}\n{said}");
            assert!(said.split("\n\n").next().unwrap().lines().count() == 1, "{said}");
        }
    }
}
