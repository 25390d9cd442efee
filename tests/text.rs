//! Scores against sacreBLEU's own numbers, and the binary layout against bytes written out by hand.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;

use omega::text::bleu::{BleuTokens, corpus_bleu, tokenize_13a};
use omega::text::chrf::corpus_chrf;
use omega::text::corpus::{Corpus, CorpusWriter};
use serde_json::Value;

fn fixture(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/bleu").join(name);
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

fn strings(value: &Value) -> Vec<String> {
    value.as_array().unwrap().iter().map(|line| line.as_str().unwrap().to_owned()).collect()
}

fn numbers(value: &Value) -> Vec<u64> {
    value.as_array().unwrap().iter().map(|n| n.as_u64().unwrap()).collect()
}

/// Python prints a double with 17 digits; agreement to 1e-11 leaves room for a differently rounded `exp`.
fn close(a: f64, b: &Value) -> bool {
    (a - b.as_f64().unwrap()).abs() < 1e-11
}

#[test]
fn bleu_and_chrf_are_sacrebleu_s() {
    let all = fixture("bleu_vectors.json");
    let vectors = all["vectors"].as_array().unwrap();
    assert!(vectors.len() >= 5);
    for vector in vectors {
        let name = &vector["name"];
        let hypotheses = strings(&vector["hyps"]);
        let references: Vec<Vec<String>> = vector["refs"].as_array().unwrap().iter().map(strings).collect();
        let (bleu, expected) = (corpus_bleu(&hypotheses, &references, BleuTokens::default()), &vector["bleu"]);
        assert_eq!(bleu.counts.correct.to_vec(), numbers(&expected["counts"]), "{name}");
        assert_eq!(bleu.counts.total.to_vec(), numbers(&expected["totals"]), "{name}");
        assert!(close(bleu.score, &expected["score"]), "{name}: {} for {}", bleu.score, expected["score"]);
        assert!(close(bleu.brevity_penalty, &expected["bp"]), "{name}");
        assert_eq!(bleu.line(), expected["format"].as_str().unwrap(), "{name}");
        let chrf = corpus_chrf(&hypotheses, &references);
        assert!(close(chrf, &vector["chrf2"]), "{name}: chrF2 {chrf} for {}", vector["chrf2"]);
        for (number, expected) in vector["sentence_bleu_first5"].as_array().into_iter().flatten().enumerate() {
            // sacreBLEU's sentence score uses the effective order, ours not: they agree where all orders match.
            let one: Vec<Vec<String>> = references.iter().map(|set| vec![set[number].clone()]).collect();
            let score = corpus_bleu(&hypotheses[number..=number], &one, BleuTokens::default());
            if score.counts.correct.iter().all(|n| *n > 0) {
                assert!(close(score.score, expected), "{name}, sentence {number}");
            }
        }
    }
}

#[test]
fn tokens_are_13a() {
    let all = fixture("tok13a_vectors.json");
    let vectors: Vec<Vec<String>> = all.as_array().unwrap().iter().map(strings).collect();
    assert!(vectors.len() >= 10);
    for vector in vectors {
        assert_eq!(tokenize_13a(&vector[0]).join(" "), vector[1], "{:?}", vector[0]);
    }
}

/// What fairseq's `MMapIndexedDatasetBuilder` writes for [[4, 2], [5, 6, 2]] in 16 bits, by its documented layout.
const INDEX: &[u8] = b"MMIDIDX\0\0\x01\0\0\0\0\0\0\0\x08\x02\0\0\0\0\0\0\0\
    \x02\0\0\0\x03\0\0\0\0\0\0\0\0\0\0\0\x04\0\0\0\0\0\0\0";
const DATA: &[u8] = b"\x04\0\x02\0\x05\0\x06\0\x02\0";

#[test]
fn the_binary_layout_is_fairseq_s() {
    let folder = tempfile::tempdir().unwrap();
    let prefix = folder.path().join("train.de-en.de");
    let mut writer = CorpusWriter::create(&prefix, 8).unwrap();
    writer.push(&[4, 2]).unwrap();
    writer.push(&[5, 6, 2]).unwrap();
    writer.complete().unwrap().into_iter().for_each(|file| file.publish().unwrap());
    assert_eq!(fs::read(folder.path().join("train.de-en.de.idx")).unwrap(), INDEX);
    assert_eq!(fs::read(folder.path().join("train.de-en.de.bin")).unwrap(), DATA);
    let corpus = Corpus::open(&prefix, 8).unwrap();
    assert_eq!((corpus.len(), corpus.tokens(), corpus.length(1)), (2, 5, 3));
    assert_eq!((corpus.sentence(0), corpus.sentence(1)), (vec![4, 2], vec![5, 6, 2]));
}

#[test]
fn a_large_dictionary_takes_32_bits() {
    let folder = tempfile::tempdir().unwrap();
    let prefix = folder.path().join("c");
    let mut writer = CorpusWriter::create(&prefix, 70_000).unwrap();
    writer.push(&[69_999, 2]).unwrap();
    writer.complete().unwrap().into_iter().for_each(|file| file.publish().unwrap());
    assert_eq!(Corpus::open(&prefix, 70_000).unwrap().sentence(0), [69_999, 2]);
}

#[test]
fn broken_files_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let prefix = folder.path().join("c");
    let message = |index: &[u8], data: &[u8], vocab: usize| {
        fs::write(folder.path().join("c.idx"), index).unwrap();
        fs::write(folder.path().join("c.bin"), data).unwrap();
        Corpus::open(&prefix, vocab).err().unwrap().to_string()
    };
    let changed = |at: usize, to: u8| {
        let mut index = INDEX.to_vec();
        index[at] = to;
        index
    };
    let cases = [
        (message(b"", DATA, 8), "empty file"),
        (message(b"hello", DATA, 8), "does not start with MMIDIDX"),
        (message(b"TNTIDX\0\0rest", DATA, 8), "old layout"),
        (message(&INDEX[..20], DATA, 8), "cut off: 20 of 26"),
        (message(&INDEX[..INDEX.len() - 1], DATA, 8), "49 bytes for 2 sentences, expected 50"),
        (message(INDEX, &DATA[..9], 8), "the file ends at byte 9, sentence 2 at byte 10"),
        (message(INDEX, b"", 8), "the file ends at byte 0"),
        (message(INDEX, DATA, 6), "sentence 2 holds id 6, the dictionary ends at 5"),
        (message(&changed(9, 2), DATA, 8), "version 2"),
        (message(&changed(17, 6), DATA, 8), "element type 6"),
        (message(&changed(26, 0), DATA, 8), "sentence 1 has no token"),
        (message(&changed(29, 0xff), DATA, 8), "sentence 1 has length -"),
        (message(&changed(49, 0x7f), DATA, 8), "the file ends at byte 10"),
    ];
    for (got, expected) in cases {
        assert!(got.contains(expected) && got.contains("c."), "{got}\nexpected: {expected}");
    }
}
