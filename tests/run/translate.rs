//! Translation and scoring of what was trained.

use std::fs;
use std::io::Write;
use std::process::{Command, Output, Stdio};

use crate::{Workplace, omega, succeed, text};

pub fn feed(command: &mut Command, input: &[u8]) -> Output {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    child.wait_with_output().unwrap()
}

#[test]
fn lines_keep_their_number_and_order() {
    let place = Workplace::prepared();
    succeed(&mut place.train("run", &["--max-update", "30", "--lr", "0.01"]));
    let run = place.path("run").to_string_lossy().into_owned();
    let translate = |flags: &[&str], input: &str| {
        let output = feed(
            &mut omega(&[&["translate", &run, "--device", "soft", "--max-len-b", "12"], flags].concat()),
            input.as_bytes(),
        );
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout)
    };
    let input = "ein Hund läuft .\n\n犬 \u{1f415} über\r\n \t \ndie große Straße und die große Straße bellt laut .";
    let together = translate(&[], input);
    assert_eq!(together.lines().count(), 5);
    let lines: Vec<&str> = together.lines().collect();
    assert!(lines[1].is_empty() && lines[3].is_empty(), "an empty line has an empty translation: {lines:?}");
    // A sentence's translation depends neither on its neighbours nor on the size of batches.
    let alone: String = input.lines().map(|line| translate(&[], &format!("{line}\n"))).collect();
    assert_eq!(together, alone);
    assert_eq!(together, translate(&["--max-tokens", "1"], input));
    let three = translate(&["--nbest", "3"], input);
    assert_eq!(three.lines().step_by(3).collect::<Vec<_>>(), lines);
    assert_eq!(translate(&["--beam", "1"], "").len(), 0);
    let checkpoint = place.path("run/checkpoint_last.safetensors").to_string_lossy().into_owned();
    let greedy = feed(&mut omega(&["translate", &checkpoint, "--beam", "1", "--device", "soft"]), b"ein Hund\n");
    assert!(greedy.status.success() && text(&greedy.stdout).lines().count() == 1);
}

#[test]
fn a_folder_from_fairseq_trains_and_translates_symbols() {
    let place = Workplace::prepared();
    fs::remove_file(place.path("data/tokenizer.json")).unwrap(); // fairseq knows none
    succeed(&mut place.train("run", &["--max-update", "4"]));
    let run = place.path("run").to_string_lossy().into_owned();
    let output =
        feed(&mut omega(&["translate", &run, "--device", "soft", "--max-len-b", "5"]), "▁ein ▁Hund\n".as_bytes());
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout).lines().count(), 1);
}

#[test]
fn a_perfect_translation_scores_a_hundred() {
    let place = Workplace::with_text();
    let reference = place.path("text/valid.en");
    let file = reference.to_string_lossy().into_owned();
    let output = feed(&mut omega(&["score", "--reference", &file]), &fs::read(&reference).unwrap());
    let said = text(&output.stdout);
    let lines: Vec<&str> = said.lines().collect();
    assert!(lines[0].starts_with("BLEU = 100.00 ") && lines[0].contains("tok:13a"), "{said}");
    assert!(lines[1].starts_with("chrF2 = 100.00 "), "{said}");
    let both = feed(&mut omega(&["score", "--reference", &file, "--reference", &file]), &fs::read(&reference).unwrap());
    assert!(text(&both.stdout).contains("nrefs:2"));
}

#[test]
fn tokenised_text_is_scored_as_it_stands() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("reference");
    fs::write(&path, "the cat &apos;s red @-@ hot mat .\nshe reads the book .\n").unwrap();
    let reference = path.to_string_lossy().into_owned();
    let hypotheses = "the cat &apos;s mat , red @-@ hot .\n  he reads a book . \n";
    // What sacreBLEU 2.6.0 prints for them.
    for (tokens, score) in [("13a", "BLEU = 54.61 84.2/58.8/46.7/38.5"), ("none", "BLEU = 25.29 78.6/41.7/20.0/6.2")] {
        let mut command = omega(&["score", "--reference", &reference, "--tokenize", tokens]);
        let said = text(&feed(&mut command, hypotheses.as_bytes()).stdout);
        assert!(said.starts_with(score) && said.contains(&format!("|tok:{tokens}|")), "{said}");
    }
}
