//! What people see on a terminal: lines that fit it, summaries instead of numbers, and a prompt.

use std::path::Path;
use std::process::Command;

use super::{TINY, Workplace, text, translate::feed};

/// The lines that `omega args` shows on a terminal of so many columns, without colours; `typed` is typed at the `> ` of a
/// prompt. It has to succeed.
fn shown(columns: usize, args: &[&str], typed: &str) -> Vec<String> {
    let mut command = Command::new("python3");
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/run/terminal.py"));
    command.args([&columns.to_string(), "> ", env!("CARGO_BIN_EXE_omega")]).args(args).env("TERM", "xterm");
    let output = feed(&mut command, typed.as_bytes());
    let all = text(&output.stdout);
    assert!(output.status.success(), "{args:?}: {all} {}", text(&output.stderr));
    // A bar moves over its own line, and what comes after it begins there.
    all.split(['\n', '\r']).map(without_escapes).filter(|line| !line.is_empty()).collect()
}

/// Without `ESC [ … letter`.
fn without_escapes(line: &str) -> String {
    let mut parts = line.split('\x1b');
    let first = parts.next().unwrap_or_default().to_owned();
    first
        + &parts
            .map(|part| part.split_once(|c: char| c.is_ascii_alphabetic()).map_or("", |(_, rest)| rest))
            .collect::<String>()
}

#[test]
fn lines_fit_the_terminal() {
    let place = Workplace::prepared();
    let data = place.path("data").to_string_lossy().into_owned();
    for (columns, expected) in [(60, ["ppl ", ""]), (80, ["tokens/s", "lr "]), (200, ["epoch ", " tgt"])] {
        let run = place.path(&format!("run-{columns}")).to_string_lossy().into_owned();
        let flags = ["--save-dir", &run, "--max-update", "20", "--log-interval", "10"];
        let lines = shown(columns, &[&["train", &data][..], TINY, &flags].concat(), "");
        let updates: Vec<&String> = lines.iter().filter(|line| line.starts_with("update ")).collect();
        assert_eq!(updates.len(), 2, "{lines:?}");
        for line in updates {
            assert!(line.chars().count() <= columns, "{line}");
            assert!(expected.iter().all(|word| line.contains(word)), "{columns}: {line}");
        }
    }
    let bench = ["bench", "moments", "--shape", "7x65", "--dtype", "f32", "--device", "soft"];
    let table = |columns| shown(columns, &bench, "").into_iter().skip_while(|line| !line.starts_with("kernel "));
    let narrow: Vec<String> = table(60).take_while(|line| !line.starts_with("not shown")).collect();
    assert!(narrow.len() > 1 && narrow.iter().all(|line| line.chars().count() <= 60), "{narrow:?}");
    assert!(table(60).any(|line| line.starts_with("not shown") && line.contains("conflicts")));
    assert!(!table(250).any(|line| line.starts_with("not shown")));
}

#[test]
fn a_picture_comes_with_a_summary_and_a_prompt_keeps_what_is_typed_ahead() {
    let place = Workplace::prepared();
    super::succeed(&mut place.train("run", &["--max-update", "20", "--lr", "0.01"]));
    let (run, svg) = (place.path("run"), place.path("omega.svg"));
    let (run, svg) = (run.to_string_lossy(), svg.to_string_lossy());
    let lines = shown(80, &["analyze", "omega", &run, "--svg", &svg], "");
    assert!(lines.iter().any(|line| line.starts_with("encoder, learnt ")), "{lines:?}");
    assert!(lines.iter().any(|line| line.contains("picture in")) && lines.len() < 10, "{lines:?}");
    let lines = shown(80, &["analyze", "omega", &run], "");
    assert!(lines[0] == "{" && lines.len() > 50, "without a picture the numbers are the answer: {lines:?}");

    let prompt = ["translate", &run, "-i", "--device", "soft", "--max-len-b", "9", "--beam", "2"];
    let lines = shown(80, &prompt, "ein Hund .\ndie Straße .\n\x04");
    let first = lines.iter().filter(|line| line.starts_with("  1  ")).count();
    assert_eq!(first, 2, "both lines are translated, and Ctrl-D ends it: {lines:?}");
}

/// Also where many updates fit between two looks at the device. Every line is followed by the bar as it is then.
#[test]
fn the_bar_of_a_training_moves_with_every_update_and_is_gone_at_the_end() {
    let place = Workplace::prepared();
    let (data, run) = (place.path("data"), place.path("run"));
    let (data, run) = (data.to_string_lossy(), run.to_string_lossy());
    let flags = ["--save-dir", &run, "--max-update", "40", "--log-interval", "10"];
    let lines = shown(100, &[&["train", &data][..], TINY, &flags].concat(), "");
    let is_bar = |line: &&String| line.starts_with("train ") && line.contains(" % ");
    for (update, percent) in [(10, " 25 %"), (20, " 50 %"), (40, "100 %")] {
        let mut rest = lines.iter().skip_while(|line| !line.starts_with(&format!("update {update} ")));
        let bar = rest.find(is_bar).unwrap_or_else(|| panic!("no bar after update {update}: {lines:?}"));
        assert!(bar.contains(percent) && bar.contains(&format!("update {update}, ")), "{update}: {bar}");
    }
    let end = lines.iter().position(|line| line.contains("done: 40 updates")).unwrap();
    assert!(!lines[end..].iter().any(|line| is_bar(&line)), "{:?}", &lines[end..]);
}

/// With what is done of what, its rate and the time that remains; nothing of it with `--quiet`.
#[test]
fn analyses_and_profiling_show_progress() {
    let place = Workplace::prepared();
    let (data, json) = (place.path("data"), place.path("numbers.json"));
    let (data, json) = (data.to_string_lossy(), json.to_string_lossy());
    // Each phase takes several tenths of a second, also on a quick machine.
    let layers =
        ["--encoder-layers", "60", "--decoder-layers", "20", "--d-model", "128", "--heads", "4", "--ffn", "512"];
    let flags = [&layers[..], &["--max-tokens", "3000", "--device", "soft"]].concat();
    let cases: [(&[&str], &[&str]); 4] = [
        (&["profile", &data], &["profile"]),
        (&["analyze", "dependency", &data, "--json", &json], &["profile", "forward", "encoder"]),
        (&["analyze", "gradients", &data, "--json", &json, "--residual", "post-ln"], &["forward", "backward"]),
        (&["analyze", "stability", &data, "--json", &json, "--residual", "post-ln"], &["before", "after"]),
    ];
    for (args, phases) in cases {
        let lines = shown(100, &[args, &flags].concat(), "");
        for phase in phases {
            let is_bar = |line: &&String| line.starts_with(&format!("{phase} ")) && line.contains(" % ");
            let bars: Vec<&String> = lines.iter().filter(is_bar).collect();
            let says = |words: &[&str]| bars.iter().any(|line| words.iter().all(|word| line.contains(word)));
            let unit = if *phase == "backward" { " ops, " } else { " sublayers, " };
            assert!(says(&[unit, " a second", " left"]), "{args:?}, {phase}: {bars:?} of {lines:?}");
        }
    }
    let quiet = shown(100, &[&["-q"], cases[0].0, &flags].concat(), "");
    assert!(quiet.iter().all(|line| !line.contains('%')), "{quiet:?}");
}
