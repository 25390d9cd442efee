//! What people mistype: said in their terms, with what to do, before any work, and with nothing left behind.

use std::process::Command;

use crate::{omega, text};

/// Runs `command`, which must fail with `code` and say all of `parts`, hints and tips among them.
fn refuse(command: &mut Command, code: i32, parts: &[&str]) {
    let output = command.output().unwrap();
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{command:?}\n{said}");
    for part in parts {
        assert!(said.contains(part), "no `{part}` in\n{said}");
    }
}

#[test]
fn a_negative_number_reaches_the_check_of_its_flag() {
    let train = |flags: &[&str]| omega(&[&["train", "data", "--save-dir", "run"], flags].concat());
    refuse(&mut train(&["--lr", "-1"]), 2, &["--lr -1: a number that is not negative is needed"]);
    refuse(&mut train(&["--dropout", "-0.5"]), 2, &["--dropout -0.5: a share from 0 up to 1"]);
    refuse(&mut train(&["--adam-betas", "-1,0.9"]), 2, &["--adam-betas [-1.0, 0.9]: two numbers"]);
    let whole = "a whole number is needed, 0 or more";
    refuse(&mut train(&["--max-update", "-1"]), 2, &["'-1' for '--max-update <N>'", whole]);
    refuse(&mut train(&["--heads", "1.5"]), 2, &["'1.5' for '--heads <N>'", whole]);
    refuse(&mut omega(&["translate", "run", "--beam", "-1"]), 2, &["'-1' for '--beam <N>'", whole]);
    refuse(&mut omega(&["analyze", "depth", "--seeds", "-1"]), 2, &["'-1' for '--seeds <N>'", whole]);
    refuse(&mut train(&["-1"]), 2, &["unexpected argument '-1'"]);
}

#[test]
fn a_file_where_stdin_is_read_is_told_from_other_arguments() {
    refuse(&mut omega(&["translate", "run", "test.de"]), 2, &["text comes from standard input: `< test.de`"]);
    refuse(&mut omega(&["score", "x.hyp", "--reference", "x.en"]), 2, &["standard input: `< x.hyp`"]);
    let other = text(&omega(&["train", "data", "more"]).output().unwrap().stderr);
    assert!(other.contains("unexpected argument 'more'") && !other.contains("standard input"), "{other}");
}
