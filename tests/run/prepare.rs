//! What `omega prepare` writes and drops.

use std::fs;

use crate::{Workplace, names, succeed, text};

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
