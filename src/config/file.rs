//! `--config FILE`: the flags as TOML, and what is wrong with it, by line and key.

use std::any::TypeId;
use std::fs;
use std::path::Path;

use clap::{Args, Command};

use super::TrainFlags;
use crate::error::{Error, Result};
use crate::terminal::reads;

/// How like a known key must be to be offered for an unknown one, by Jaro's measure: as clap has it for flags.
const ALIKE: f64 = 0.7;

/// Flags of `omega train` that are no keys: what is done with a run and where, and how much is said of it.
const TYPED: [&str; 6] = ["save-dir", "config", "dry-run", "kernel-times", "quiet", "verbose"];

impl TrainFlags {
    /// Reads `--config`. Errors name the line and the key.
    pub fn load(path: &Path) -> Result<TrainFlags> {
        reads(path);
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
            _ if TYPED.contains(&key) => format!("it is no setting of a run, and is typed: `--{key}`"),
            Some(known) => format!("did you mean `{known}`?"),
            None => {
                "the keys are the flags of `omega train --help` but for those under Options, without dashes".to_owned()
            }
        });
    }
    let key = text.lines().nth(number).and_then(|line| line.split_once('=')).map(|(key, _)| key.trim());
    // Where the text is TOML, a value is wrong, and serde would say what Rust wants.
    if let (Some(key), Some(wanted), true) = (key, key.and_then(wanted), text.parse::<toml::Table>().is_ok()) {
        let value = error.span().and_then(|span| text.get(span)).and_then(|value| value.lines().next());
        return Error::usage(format!("{place}: {key} = {}: {wanted} is needed", value.unwrap_or_default().trim()));
    }
    let key = key.map_or_else(String::new, |key| format!(", `{key}`"));
    Error::usage(format!("{place}{key}: {}", said.replace('\n', ", ")))
}

/// What `key` takes, in words; none if there is no such key.
fn wanted(key: &str) -> Option<String> {
    if key == "data" {
        return Some("a path in quotes".to_owned());
    }
    let flags = TrainFlags::augment_args(Command::default());
    let flag = flags.get_arguments().find(|arg| arg.get_long() == Some(key))?;
    let (parser, values) = (flag.get_value_parser(), flag.get_value_parser().possible_values());
    let is = |types: &[TypeId]| types.iter().any(|kind| parser.type_id() == *kind);
    Some(if is(&[TypeId::of::<bool>()]) {
        "true or false".to_owned()
    } else if let Some(values) = values {
        let names: Vec<String> = values.map(|value| format!("\"{}\"", value.get_name())).collect();
        format!("one of {}", names.join(", "))
    } else if is(&[TypeId::of::<usize>(), TypeId::of::<u64>()]) {
        "a whole number, 0 or more,".to_owned()
    } else if is(&[TypeId::of::<u32>()]) {
        format!("a whole number from 0 to {}", u32::MAX)
    } else if flag.get_value_delimiter().is_some() {
        "a list of numbers, as [0.9, 0.98],".to_owned()
    } else if is(&[TypeId::of::<f32>(), TypeId::of::<f64>()]) {
        "a number".to_owned()
    } else {
        "text in quotes".to_owned()
    })
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
            (
                "save-dir = 'x'",
                "line 1: there is no key `save-dir`\n\nhint: it is no setting of a run, and is typed: `--s",
            ),
            ("zzz = 5", "line 1: there is no key `zzz`\n\nhint: the keys are the flags"),
            ("# ω\n\nmax-update = \"ten\"", "line 3: max-update = \"ten\": a whole number, 0 or more, is needed"),
            ("heads = -1", "line 1: heads = -1: a whole number, 0 or more, is needed"),
            ("heads = 1.5", "line 1: heads = 1.5: a whole number, 0 or more, is needed"),
            (
                "fp16-scale-window = 5000000000",
                "line 1: fp16-scale-window = 5000000000: a whole number from 0 to 4294967295",
            ),
            ("lr = 'x' # high", "line 1: lr = 'x': a number is needed"),
            ("dropout = true", "line 1: dropout = true: a number is needed"),
            ("fp16 = 'yes'", "line 1: fp16 = 'yes': true or false is needed"),
            ("adam-betas = 0.9", "line 1: adam-betas = 0.9: a list of numbers, as [0.9, 0.98], is needed"),
            ("adam-betas = [0.9, 'x']", "line 1: adam-betas = 'x': a list of numbers, as [0.9, 0.98], is needed"),
            ("omega = 1", "line 1: omega = 1: text in quotes is needed"),
            ("data = 1", "line 1: data = 1: a path in quotes is needed"),
            ("finetune-from-model = [\n'a']", "line 1: finetune-from-model = [: text in quotes is needed"),
            (
                "residual = 'admn'",
                "line 1: residual = 'admn': one of \"post-ln\", \"pre-ln\", \"admin\", \"rezero\", \"rezero-post-ln\" is",
            ),
            ("residual = 1", "line 1: residual = 1: one of \"post-ln\""),
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
