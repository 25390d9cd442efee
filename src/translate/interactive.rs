//! `omega translate --interactive`: a line typed, its translation, and what else it might have been.

use std::io::ErrorKind;

use rustyline::DefaultEditor;
use rustyline::error::ReadlineError;

use super::Translator;
use crate::cli::TranslateArgs;
use crate::error::{Error, Result};
use crate::files::print;
use crate::terminal::{say, warn};

/// Alternatives that are shown where `--nbest` does not say.
const SHOWN: usize = 3;

/// Reads lines with a history that the arrow keys walk, until Ctrl-D, or Ctrl-C, which is an error to a script.
pub fn converse(translator: &Translator, args: &TranslateArgs) -> Result<()> {
    let failed = |error: ReadlineError| match error {
        ReadlineError::Io(error) => Error::io("stdin".as_ref(), "read", error),
        other => Error::data(format!("stdin: {other}")),
    };
    let mut editor = DefaultEditor::new().map_err(failed)?;
    let shown = args.nbest.unwrap_or(SHOWN.min(args.beam));
    say("a line and Enter translates; arrow keys walk through earlier ones; Ctrl-D ends");
    for number in 1.. {
        let line = match editor.readline("> ") {
            Ok(line) => line,
            Err(ReadlineError::Eof) => break,
            Err(ReadlineError::Interrupted) => return Err(Error::interrupted()),
            // The line was read, and the next one may come.
            Err(ReadlineError::Io(error)) if error.kind() == ErrorKind::InvalidData => {
                warn(format!("line {number}: not UTF-8, so not translated"));
                continue;
            }
            Err(error) => return Err(failed(error)),
        };
        if line.trim().is_empty() {
            continue;
        }
        // A history that is full or not wanted is no reason to stop.
        let _ = editor.add_history_entry(&line);
        match translator.translate(std::slice::from_ref(&line), number, &mut |_| {}) {
            Ok(all) => {
                let translations = all.into_iter().next().unwrap_or_default();
                super::draw(translator, args, None, &line, &translations)?;
                let rows = translations.iter().take(shown).enumerate();
                let text: String =
                    rows.map(|(rank, t)| format!("{:>3}  {:>7.3}  {}\n", rank + 1, t.score, t.text)).collect();
                if !print(&text)? {
                    return Ok(());
                }
            }
            // A line that is too long is said, and the next one may come.
            Err(error) => crate::terminal::error(&error),
        }
    }
    Ok(())
}
