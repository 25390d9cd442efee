//! Translation and scoring of what was trained.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Output, Stdio};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use crate::skip::skipped;
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

#[test]
fn text_without_a_match_has_no_precision() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("reference");
    let reference = path.to_string_lossy().into_owned();
    // What sacreBLEU 2.6.0 prints: it smooths only where an n-gram of some length matches.
    for (text_of, hypothesis, score) in [
        (
            "u v w x y z\n",
            "b c d e f g\n",
            "BLEU = 0.00 0.0/0.0/0.0/0.0 (BP = 1.000 ratio = 1.000 hyp_len = 6 ref_len = 6)",
        ),
        ("b v w x y z\n", "b c d e f g\n", "BLEU = 8.12 16.7/10.0/6.2/4.2 "),
        ("u v w x y z\n", "b c\n", "BLEU = 0.00 0.0/0.0/0.0/0.0 (BP = 0.135 "),
        ("u v w x y z\n", "\n", "BLEU = 0.00 0.0/0.0/0.0/0.0 (BP = 0.000 "),
    ] {
        fs::write(&path, text_of).unwrap();
        let said = text(&feed(&mut omega(&["score", "--reference", &reference]), hypothesis.as_bytes()).stdout);
        assert!(said.starts_with(score), "{hypothesis}: {said}");
    }
}

/// A run that was trained a little, and its path.
fn trained(place: &Workplace) -> String {
    succeed(&mut place.train("run", &["--max-update", "30", "--lr", "0.01"]));
    place.path("run").to_string_lossy().into_owned()
}

#[test]
fn scores_alternatives_and_a_prompt() {
    let place = Workplace::prepared();
    let run = trained(&place);
    let translate = |flags: &[&str], input: &str| {
        let output =
            feed(omega(&["translate", &run, "--device", "soft", "--max-len-b", "12"]).args(flags), input.as_bytes());
        assert!(output.status.success(), "{}", text(&output.stderr));
        (text(&output.stdout), text(&output.stderr))
    };
    let input = "ein Hund bellt .\n\ndie große Straße .\n";
    let (plain, _) = translate(&["--nbest", "2"], input);
    let (scored, _) = translate(&["--nbest", "2", "--scores"], input);
    let rows: Vec<Vec<&str>> = scored.lines().map(|line| line.split(" ||| ").collect()).collect();
    assert_eq!(rows.iter().map(|row| row[0]).collect::<Vec<_>>(), ["0", "0", "1", "1", "2", "2"], "{scored}");
    assert_eq!(scored.lines().count(), plain.lines().count());
    let texts: Vec<&str> = rows.iter().map(|row| row[1]).filter(|text| !text.is_empty()).collect();
    assert_eq!(texts, plain.lines().filter(|line| !line.is_empty()).collect::<Vec<_>>());
    let score = |row: usize| rows[row][2].parse::<f64>().unwrap();
    assert!(score(0) >= score(1) && score(1) < 0.0 && score(4) >= score(5), "{scored}");
    assert!(rows[2..4].iter().all(|row| row[1].is_empty() && row[2] == "0.000000"), "{scored}");
    // A prompt says the same, also without a terminal; an empty line is nothing to translate.
    let (said, _) = translate(&["--interactive", "--nbest", "2"], input);
    let words: Vec<&str> = said.lines().map(|line| line[14..].trim()).collect();
    assert_eq!(words, texts, "{said}");
    // Quiet is quiet, and -v says which checkpoint it is.
    let (_, quiet) = translate(&["--quiet"], input);
    let (_, verbose) = translate(&["-v"], input);
    assert!(quiet.is_empty() && verbose.contains("checkpoint_best.safetensors: admin"), "{quiet:?} {verbose}");
}

/// Of a model that has only nonsense to say, size 1 is the one that a hypothesis could not end under.
#[test]
fn a_hypothesis_can_end_and_a_model_of_no_numbers_is_an_error() {
    let place = Workplace::prepared();
    let run = trained(&place);
    let translate = |flags: &[&str]| {
        let mut command = omega(&[&["translate", &run, "--device", "soft", "--scores"], flags].concat());
        feed(&mut command, b"ein Hund .\n\nHund bellt .\n")
    };
    let output = translate(&["--no-repeat-ngram-size", "1"]);
    let said = text(&output.stdout);
    for line in said.lines().step_by(2) {
        let fields: Vec<&str> = line.split(" ||| ").collect();
        assert!(!fields[1].is_empty() && fields[2].parse::<f64>().unwrap() < 0.0, "{said}");
    }
    assert!(output.status.success() && said.lines().count() == 3, "{said}");
    let output = translate(&["--no-repeat-ngram-size", "1", "--min-len", "100"]);
    let said = text(&output.stderr);
    assert!(output.status.code() == Some(1) && said.contains("ruled out before it could end (stdin line 1)"), "{said}");

    let path = place.path("run/checkpoint_best.safetensors");
    let checkpoint = omega::checkpoint::Checkpoint::open(&path).unwrap();
    let mut tensors = checkpoint.parameters().unwrap();
    tensors[0].data.fill(f32::MAX);
    omega::checkpoint::write(&path, &tensors, &checkpoint.state).unwrap();
    let output = translate(&[]);
    let said = text(&output.stderr);
    assert!(output.status.code() == Some(1) && output.stdout.is_empty(), "{said}");
    assert!(said.contains("scores are not numbers: ") && said.contains("(stdin line 1)"), "{said}");
}

#[test]
fn a_prompt_goes_on_after_what_is_not_text_and_ctrl_c_is_an_error() {
    let place = Workplace::prepared();
    let run = trained(&place);
    let output = feed(
        &mut omega(&["translate", &run, "--device", "soft", "-i", "--nbest", "1", "--beam", "1"]),
        b"ein Hund .\nschl\xe4cht\nHund bellt .\n",
    );
    let said = text(&output.stderr);
    assert!(output.status.success() && said.contains("warning: line 2: not UTF-8"), "{said}");
    assert_eq!(text(&output.stdout).lines().count(), 2, "{said}");
    let command = format!("{} translate {run} --device soft -i", env!("CARGO_BIN_EXE_omega"));
    let mut script = Command::new("script");
    script.args(["-qec", &command, "/dev/null"]).env("TERM", "xterm").stdin(Stdio::piped()).stdout(Stdio::piped());
    let Ok(mut child) = script.spawn() else {
        skipped("there is no `script` to make a terminal with");
        return;
    };
    let (mut stdin, mut stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let mut shown = Vec::new();
    while !text(&shown).contains("> ") {
        let mut some = [0; 100];
        let n = stdout.read(&mut some).unwrap();
        assert!(n > 0, "no prompt in {}", text(&shown));
        shown.extend(&some[..n]);
    }
    stdin.write_all(b"\x03").unwrap();
    stdout.read_to_end(&mut shown).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130), "{}", text(&shown));
}

/// Who waits for an answer before writing on gets it; a file gives the same, whatever is translated together.
#[test]
fn a_pipe_is_answered_while_it_is_open() {
    let place = Workplace::prepared();
    let run = trained(&place);
    let translate = ["translate", &run, "--device", "soft", "--max-len-b", "12"];
    let mut child = omega(&translate).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut stdin, stdout) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
    let (sender, answers) = channel();
    thread::spawn(move || stdout.lines().try_for_each(|line| sender.send(line.unwrap())));
    let mut answered = String::new();
    for line in ["ein Hund läuft .", "", "die große Straße ."] {
        writeln!(stdin, "{line}").unwrap();
        let answer = answers.recv_timeout(Duration::from_secs(120));
        answered += &(answer.expect("no answer while the pipe is open") + "\n");
    }
    drop(stdin);
    assert!(child.wait().unwrap().success());
    fs::write(place.path("lines"), "ein Hund läuft .\n\ndie große Straße .\n").unwrap();
    for size in ["1", "2", "1000"] {
        let file = File::open(place.path("lines")).unwrap();
        let output = succeed(omega(&translate).args(["--buffer-size", size]).stdin(file));
        assert_eq!(text(&output.stdout), answered, "--buffer-size {size}");
    }
}

#[test]
fn a_line_that_is_too_long_loses_no_other() {
    let place = Workplace::prepared();
    fs::remove_file(place.path("data/tokenizer.json")).unwrap(); // so that a word is a token
    let run = trained(&place);
    let input = |tokens: usize| format!("▁Hund .\n{}\n▁laut .\n", ["▁ein"].repeat(tokens).join(" "));
    let translate = |flags: &[&str], input: &str, piped: bool| {
        let mut command = omega(&[&["translate", &run, "--device", "soft", "--max-len-b", "3"], flags].concat());
        let output = if piped {
            feed(&mut command, input.as_bytes())
        } else {
            fs::write(place.path("lines"), input).unwrap();
            command.stdin(File::open(place.path("lines")).unwrap()).output().unwrap()
        };
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let (_, longest, said) = translate(&[], &input(1023), false);
    assert!(longest.lines().count() == 3 && !said.contains("tokens"), "{said}");
    let lines: Vec<&str> = longest.lines().collect();
    let (none, first) = (String::new(), format!("{}\n", lines[0]));
    // A file is looked through before anything is translated; of a pipe, what came before the line is.
    for (piped, buffer, before) in [(false, "1", &none), (true, "1", &first), (true, "9", &first)] {
        let (code, out, said) = translate(&["--buffer-size", buffer], &input(1100), piped);
        assert_eq!((code, &out), (Some(1), before), "{buffer}");
        assert!(said.contains("error: stdin line 2 has 1100 tokens, the model takes 1023"), "{said}");
        assert!(said.contains("hint: ") && said.contains("--too-long skip"), "{said}");
    }
    let (code, out, said) = translate(&["--too-long", "skip"], &input(1100), true);
    assert!(code == Some(0) && out == format!("{}\n\n{}\n", lines[0], lines[2]), "{out}");
    assert!(said.contains("warning: stdin line 2 has 1100 tokens, the model takes 1023: skipped"), "{said}");
    let (code, out, said) = translate(&["--too-long", "crop"], &input(1100), true);
    assert!(code == Some(0) && out == longest && said.contains("1023: cropped"), "{out}{said}");
}

#[test]
fn a_file_is_translated_to_a_file() {
    let place = Workplace::prepared();
    let run = trained(&place);
    let at = |name: &str| place.path(name).to_string_lossy().into_owned();
    let lines = "ein Hund läuft .\n\ndie große Straße .\n";
    fs::write(place.path("in.de"), lines).unwrap();
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(lines.as_bytes()).unwrap();
    fs::write(place.path("in.de.gz"), packed.finish().unwrap()).unwrap();
    fs::write(place.path("out.en"), "old").unwrap();
    let translate =
        |flags: &[&str]| omega(&[&["translate", &run, "--device", "soft", "--max-len-b", "9"], flags].concat());
    let expected = text(&feed(&mut translate(&[]), lines.as_bytes()).stdout);
    assert_eq!(expected.lines().count(), 3);
    for name in ["in.de", "in.de.gz"] {
        assert_eq!(text(&succeed(&mut translate(&["--input", &at(name)])).stdout), expected, "{name}");
    }
    let pipe = feed(&mut translate(&["--input", "/dev/stdin"]), lines.as_bytes());
    assert_eq!(text(&pipe.stdout), expected, "a pipe is read once: {}", text(&pipe.stderr));
    let output = succeed(&mut translate(&["--input", &at("in.de"), "--output", &at("out.en"), "--buffer-size", "1"]));
    assert_eq!((text(&output.stdout), text(&place.read("out.en"))), (String::new(), expected.clone()));

    // What cannot be read or written is named, and nothing half-written takes the place of what was there.
    fs::write(place.path("latin.de"), b"ein Hund .\nschl\xe4cht\n").unwrap();
    fs::write(place.path("long.de"), "ein Hund .\n".to_owned() + &"Hund ".repeat(1100) + "\n").unwrap();
    let refuse = |input: &str, output: &str, flags: &[&str], code: i32, what: &[&str]| {
        let mut command = translate(&["--input", &at(input), "--output", &at(output)]);
        crate::bad_input::fail(command.args(flags), code, what);
        assert_eq!(text(&place.read("out.en")), expected, "{what:?}");
        assert!(!place.path("out.en.tmp").exists(), "{what:?}");
    };
    refuse("none.de", "out.en", &[], 1, &["cannot read `", "none.de"]);
    refuse("text", "out.en", &[], 1, &["cannot read `", "text`: is a directory"]);
    for flags in [&[][..], &["--too-long", "skip", "--buffer-size", "1"]] {
        refuse("latin.de", "out.en", flags, 1, &["latin.de line 2: not UTF-8"]);
    }
    refuse("long.de", "out.en", &[], 1, &["long.de line 2 has ", "tokens, the model takes 1023"]);
    refuse("in.de", "none/out.en", &[], 1, &["cannot create", "none/out.en"]);
    refuse("in.de", "text", &[], 1, &["cannot write", "/text"]);
    refuse("in.de", "in.de", &[], 2, &["--output ", "in.de is the file of --input"]);
    refuse("in.de", "out.en", &["-i"], 2, &["--input", "--interactive"]);
    #[cfg(unix)]
    crate::bad_input::fail(
        &mut translate(&["--input", &at("in.de"), "--output", "/dev/null"]),
        1,
        &["/dev/null", "is no file"],
    );
    assert_eq!(text(&place.read("in.de")), lines);
}

#[test]
fn translations_in_a_file_are_scored() {
    let place = Workplace::with_text();
    let at = |name: &str| place.path(name).to_string_lossy().into_owned();
    let (reference, hypotheses) = (at("text/valid.en"), at("text/valid.de"));
    let score = |flags: &[&str]| omega(&[&["score", "--reference", &reference], flags].concat());
    let expected = feed(&mut score(&[]), &place.read("text/valid.de"));
    let output = succeed(&mut score(&["--input", &hypotheses]));
    assert!(text(&output.stdout).starts_with("BLEU = ") && output.stdout == expected.stdout, "{output:?}");
    crate::bad_input::fail(&mut score(&["--input", &at("none.en")]), 1, &["cannot read", "none.en"]);
    let longer = at("text/train.en");
    crate::bad_input::fail(&mut score(&["--input", &longer]), 1, &["train.en has 120 lines", "valid.en has 9"]);
}

#[test]
fn attention_is_drawn_line_by_line() {
    let place = Workplace::prepared();
    let run = trained(&place);
    let file = place.path("look.svg").to_string_lossy().into_owned();
    let mut command = omega(&["translate", &run, "--device", "soft", "--max-len-b", "9", "--attention", &file]);
    assert!(feed(&mut command, "ein Hund .\n\n<&> Straße .\n".as_bytes()).status.success());
    let names: Vec<String> = crate::names(&place.path("")).into_iter().filter(|name| name.contains("look")).collect();
    assert_eq!(names, ["look-3.svg", "look.svg"], "the second line is empty");
    let picture = text(&place.read("look.svg"));
    assert!(
        picture.contains("▁Hund") && picture.contains(">attention of decoder layer 1, mean of its heads<"),
        "{picture}"
    );
    // FILE is the first line's that has anything to draw.
    let late = place.path("late.svg").to_string_lossy().into_owned();
    let mut command = omega(&["translate", &run, "--device", "soft", "--max-len-b", "9", "--attention", &late]);
    let output = feed(&mut command, b"\n \n");
    assert!(output.status.success() && text(&output.stderr).contains("late.svg was not written"), "{output:?}");
    assert!(feed(&mut command, "\nein Hund .\ndie Straße .\n".as_bytes()).status.success());
    let names: Vec<String> = crate::names(&place.path("")).into_iter().filter(|name| name.contains("late")).collect();
    assert_eq!(names, ["late-3.svg", "late.svg"]);
    assert!(text(&place.read("late.svg")).contains("▁Hund"));
    let flags = ["translate", &run, "--device", "soft", "--attention", &file, "--attention-layer"];
    let output = feed(omega(&flags).arg("2"), b"ein Hund .\n");
    assert!(output.status.code() == Some(2) && text(&output.stderr).contains("layers 1 to 1"), "{output:?}");
    let nowhere = place.path("none/look.svg").to_string_lossy().into_owned();
    let output = feed(&mut omega(&["translate", &run, "--device", "soft", "--attention", &nowhere]), b"ein\n");
    assert!(output.status.code() == Some(1) && text(&output.stderr).contains("none/look.svg"), "{output:?}");
}

/// The probabilities that are drawn give, with the values and the output matrix, the branch that the kernel computed.
#[test]
fn attention_is_the_kernels() {
    use omega::device::{Allocation, Device};
    use omega::model::probe::Probe;
    use omega::model::{Model, PackedBatch, Part, Stack};
    use omega::reference::linear;
    use omega::rng::RngState;

    let place = Workplace::prepared();
    trained(&place);
    let dev = Device::soft(Allocation::Arena);
    let checkpoint = omega::checkpoint::Checkpoint::open(&place.path("run/checkpoint_last.safetensors")).unwrap();
    // One head, so that the mean over heads is the head.
    let config = omega::model::ModelConfig { heads: 1, ..checkpoint.state.model.clone() };
    let (model, d) = (Model::new(&dev, config.clone()).unwrap(), config.d_model);
    checkpoint.restore(&model, None).unwrap();
    let (source, target): (&[u32], &[u32]) = (&[5, 9, 30, 12, 7, 2], &[8, 14, 21, 2]);
    let p = omega::translate::attention::cross_attention(&dev, &model, source, target, 0).unwrap();
    for row in p.chunks(source.len()) {
        assert!((row.iter().sum::<f64>() - 1.0).abs() < 1e-12);
    }
    let batch = PackedBatch::new(&dev, &[(source, target)], config.max_positions).unwrap();
    let (mut tape, mut probe) = (model.tape(RngState::default(), false), Probe::default());
    let output = model.probe(&mut tape, &batch, &mut probe).unwrap();
    let wide = |values: Vec<f32>| values.into_iter().map(f64::from).collect::<Vec<f64>>();
    let memory = wide(dev.read(tape.value(output.encoder)).unwrap());
    let param = |name: &str| wide(model.params.read(&format!("decoder.layers.0.encoder_attn.{name}")).unwrap());
    let (w, b) = (param("in_proj_weight"), param("in_proj_bias"));
    let v = linear::forward(&memory, &w[2 * d * d..], &b[2 * d..], d);
    let heads: Vec<f64> = p
        .chunks(source.len())
        .flat_map(|row| {
            (0..d).map(|c| row.iter().enumerate().map(|(j, p)| p * v[j * d + c]).sum::<f64>()).collect::<Vec<_>>()
        })
        .collect();
    let branch = linear::forward(&heads, &param("out_proj.weight"), &vec![0.0; d], d);
    let seen = probe.of(Stack::Decoder).find(|seen| seen.part == Part::CrossAttention).unwrap();
    let most = branch.iter().fold(0.0, |most: f64, x| most.max(x.abs()));
    for (got, want) in dev.read::<f32>(&seen.branch).unwrap().into_iter().zip(&branch) {
        // Measured 2.4e-7 of the largest.
        assert!((f64::from(got) - want).abs() < 1e-6 * most, "{got} for {want}");
    }
}
