//! What `omega prepare` writes and drops.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::bad_input::fail;
use crate::translate::feed;
use crate::{Workplace, names, omega, succeed, text};

#[test]
fn the_folder_is_fairseqs_and_the_same_every_time() {
    let place = Workplace::prepared();
    #[rustfmt::skip]
    let expected = [
        "dict.de.txt", "dict.en.txt", "tokenizer.json", "train.de-en.de.bin", "train.de-en.de.idx", "train.de-en.en.bin",
        "train.de-en.en.idx", "valid.de-en.de.bin", "valid.de-en.de.idx", "valid.de-en.en.bin", "valid.de-en.en.idx",
    ];
    assert_eq!(names(&place.path("data")), expected);
    succeed(place.prepare("text/train", "text/valid", "again").env("RAYON_NUM_THREADS", "1"));
    for name in expected {
        assert_eq!(place.read(&format!("data/{name}")), place.read(&format!("again/{name}")), "{name}");
    }
}

#[test]
fn pairs_that_teach_nothing_are_dropped_and_counted() {
    let place = Workplace::with_text();
    let add = |name: &str, line: &str| {
        let path = place.path(name);
        fs::write(&path, fs::read_to_string(&path).unwrap() + line + "\n").unwrap();
    };
    let long = "ein Hund ".repeat(200);
    for (source, target) in [("ein Hund", ""), (long.as_str(), long.as_str()), ("ein", &long[..200])] {
        add("text/train.de", source);
        add("text/train.en", target);
    }
    let output = succeed(&mut place.prepare("text/train", "text/valid", "data"));
    let said = text(&output.stderr);
    assert!(said.contains("train: 120 pairs"), "{said}");
    assert!(said.contains("1 with an empty side, 1 too short or too long, 1 by their ratio"), "{said}");
}

/// What an earlier call left would be read with the new dictionary.
#[test]
fn data_of_an_earlier_call_is_not_mixed_with_new() {
    let place = Workplace::prepared();
    let test = place.path("text/valid").to_string_lossy().into_owned();
    let again = || place.prepare("text/train", "text/valid", "data");
    fs::write(place.path("data/notes.md"), "mine").unwrap();
    succeed(&mut again());
    succeed(again().args(["--test", &test])); // more than before is all of it
    let before = place.read("data/dict.de.txt");
    let stale =
        ["data holds data that this call does not write: test.de-en.de.bin, test.de-en.de.idx, test.de-en.en.bin"];
    fail(&mut place.prepare_with(&["--vocab-size", "50"], "text/train", "text/valid", "data"), 1, &stale);
    fail(
        &mut place.prepare_with(&["--segmented", "--test", &test], "text/train", "text/valid", "data"),
        1,
        &["does not write: tokenizer.json"],
    );
    assert_eq!(place.read("data/dict.de.txt"), before);
}

/// `subword-nmt`'s symbols become the dictionary as `fairseq-preprocess --joined-dictionary` makes it; such a run is fed
/// with symbols and answers with words.
#[test]
fn segmented_text_keeps_its_symbols() {
    let place = Workplace::with_text();
    let write = |name: &str, text: &str| fs::write(place.path(name), text).unwrap();
    write("seg.de", "b@@ a b@@ a\nc </s> a\nz z z z\n");
    write("seg.en", "a\nc c\n\n");
    let prefix = place.path("seg").to_string_lossy().into_owned();
    let out = place.path("data").to_string_lossy().into_owned();
    #[rustfmt::skip]
    let flags =
        ["prepare", "--source", "de", "--target", "en", "--train", &prefix, "--valid", &prefix, "--out", &out, "--segmented"];
    let said = text(&succeed(&mut omega(&flags)).stderr);
    assert!(said.contains("train: 2 pairs") && said.contains("1 with an empty side"), "{said}");
    // 4 times a, 3 times c, twice b@@; z only in the pair that is dropped; one more symbol makes eight.
    assert_eq!(String::from_utf8(place.read("data/dict.de.txt")).unwrap(), "a 4\nc 3\nb@@ 2\nmadeupword0000 0\n");
    assert_eq!(place.read("data/dict.de.txt"), place.read("data/dict.en.txt"));
    assert!(!place.path("data/tokenizer.json").exists());
    let train = place.read("data/train.de-en.de.bin");
    let ids: Vec<u16> = train.chunks(2).map(|id| u16::from_le_bytes([id[0], id[1]])).collect();
    assert_eq!(ids, [6, 4, 6, 4, 2, 5, 3, 4, 2], "a literal end symbol is unknown text");
    succeed(&mut place.train("run", &["--max-update", "2"]));
    let run = place.path("run").to_string_lossy().into_owned();
    let answer = text(&feed(&mut omega(&["translate", &run, "--device", "soft"]), b"b@@ a c\n").stdout);
    assert!(answer.lines().count() == 1 && !answer.contains("@@"), "{answer}");
    fail(omega(&flags).args(["--vocab-size", "60"]), 2, &["--segmented", "--vocab-size"]);
}

/// More text for a model that exists: fairseq's `--srcdict` and `--tgtdict`.
#[test]
fn segmented_text_takes_the_dictionary_of_a_run() {
    let place = Workplace::with_text();
    let write = |name: &str, text: &str| fs::write(place.path(name), text).unwrap();
    write("seg.de", "c b@@ new a\n");
    write("seg.en", "z\n");
    let dictionary = "a 4\nc 3\nb@@ 2\nmadeupword0000 0\n";
    write("dict.txt", dictionary);
    let [prefix, out, dict] = ["seg", "data", "dict.txt"].map(|name| place.path(name).to_string_lossy().into_owned());
    #[rustfmt::skip]
    let flags =
        ["prepare", "--source", "de", "--target", "en", "--train", &prefix, "--valid", &prefix, "--out", &out, "--dict", &dict];
    let said = text(&succeed(omega(&flags).arg("--segmented")).stderr);
    assert!(said.contains("train: 1 pairs, 7 tokens, 28.57 % unknown (de 20.00 %, en 50.00 %)"), "{said}");
    assert!(said.contains("seg.en: 50.00 % of 2 tokens are unknown"), "{said}");
    assert_eq!(String::from_utf8(place.read("data/dict.en.txt")).unwrap(), dictionary);
    let ids = place.read("data/train.de-en.de.bin");
    assert_eq!(ids.chunks(2).map(|id| id[0]).collect::<Vec<_>>(), [5, 6, 3, 4, 2]);
    fail(&mut omega(&flags), 2, &["--dict", "--segmented"]);
    write("dict.txt", "a\n");
    fail(omega(&flags).arg("--segmented"), 1, &["dict.txt line 1", "symbol count"]);
}

#[test]
fn no_text_that_is_left_is_an_error() {
    let place = Workplace::with_text();
    fs::write(place.path("none.de"), "a\n").unwrap();
    fs::write(place.path("none.en"), "\n").unwrap();
    fail(place.prepare("none", "text/valid", "data").args(["--max-len", "9"]), 1, &["none.de", "no pair is left"]);
    assert!(!place.path("data").exists());
}

/// A file that is never given anything: who reads it waits.
fn nothing_comes(path: &Path) {
    let _ = fs::remove_file(path);
    succeed(Command::new("mkfifo").arg(path));
}

/// Ctrl-C, and what schedulers and closed terminals send: what was made goes, what was there stays.
#[cfg(unix)]
#[test]
fn an_interrupted_call_leaves_nothing() {
    let place = Workplace::with_text();
    let interrupted = |signal: &str, out: &str, sign: &str| {
        let mut child = place.prepare("text/train", "text/valid", out).stderr(Stdio::piped()).spawn().unwrap();
        let began = Instant::now();
        while !place.path(sign).exists() {
            assert!(began.elapsed() < Duration::from_secs(60) && child.try_wait().unwrap().is_none(), "no {sign}");
            sleep(Duration::from_millis(5));
        }
        sleep(Duration::from_millis(200)); // it waits for text by now
        succeed(Command::new("kill").args([signal, &child.id().to_string()]));
        let output = child.wait_with_output().unwrap();
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(130), "{signal}: {said}");
        assert!(said.contains("interrupted; what was begun is removed"), "{said}");
    };
    // While it binarises: five files are complete, two begun.
    nothing_comes(&place.path("text/valid.de"));
    fs::create_dir_all(place.path("mine/old")).unwrap();
    fs::write(place.path("mine/old/notes.md"), "kept").unwrap();
    for (signal, out) in [("-INT", "mine/new/data"), ("-TERM", "mine/old")] {
        interrupted(signal, out, &format!("{out}/valid.de-en.en.bin.tmp"));
        assert_eq!(
            (names(&place.path("mine")), names(&place.path("mine/old"))),
            (vec!["old".into()], vec!["notes.md".into()])
        );
    }
    // While it reads what the BPE is learnt from.
    nothing_comes(&place.path("text/train.de"));
    interrupted("-INT", "new", "new");
    assert!(!place.path("new").exists());
}

/// It would have taken a time that grows with the square of its length, and filled the vocabulary.
#[test]
fn a_word_without_end_teaches_nothing() {
    let place = Workplace::prepared();
    let lines = fs::read_to_string(place.path("text/train.de")).unwrap().lines().count();
    let letters = "einHudläftßgrobtV".chars().collect::<Vec<_>>();
    let word: String = (0..50_000usize).map(|at| letters[at * at / 7 % letters.len()]).collect();
    for (name, line) in [("train.de", word.as_str()), ("train.en", ".")] {
        let path = place.path(&format!("text/{name}"));
        fs::write(&path, fs::read_to_string(&path).unwrap() + line + "\n").unwrap();
    }
    let said = text(&succeed(&mut place.prepare("text/train", "text/valid", "new")).stderr);
    let warned =
        format!("train.de line {} has a word of {} bytes", lines + 1, omega::terminal::grouped(word.len() as u64));
    assert!(said.contains(&warned) && said.contains("above 4,192 bytes, 1 in all; split such words"), "{said}");
    assert!(said.contains("1 too short or too long"), "{said}");
    for name in ["tokenizer.json", "dict.de.txt"] {
        assert!(place.read(&format!("new/{name}")) == place.read(&format!("data/{name}")), "{name} differs");
    }
}

#[test]
fn a_vocabulary_that_the_text_does_not_fill_is_said() {
    let place = Workplace::with_text();
    let said = |size: &str| {
        let mut command = place.prepare_with(&["--quiet", "--vocab-size", size], "text/train", "text/valid", "data");
        text(&succeed(&mut command).stderr)
    };
    let warning = said("5000");
    let got = text(&place.read("data/dict.de.txt")).lines().count() + 4;
    assert!(warning.contains(&format!("warning: --vocab-size 5000: this text gives {got} symbols")), "{warning}");
    assert_eq!([said(&got.to_string()), said("60")], ["", ""]);
}

#[test]
fn text_that_is_mostly_unknown_is_said() {
    let place = Workplace::with_text();
    fs::write(place.path("text/valid.de"), "犬 が 走る\n".repeat(9)).unwrap();
    let said = text(&succeed(&mut place.prepare("text/train", "text/valid", "data")).stderr);
    // Of each line: three words of a start and what is unknown, and the end.
    assert!(said.contains("valid.de: 42.86 % of 63 tokens are unknown: is it of the same language"), "{said}");
    assert!(
        said.contains("unknown (de 42.86 %, en 0.00 %)") && said.contains("unknown (de 0.00 %, en 0.00 %)"),
        "{said}"
    );
    assert_eq!(said.matches("warning: ").count(), 1, "{said}");
}
