//! What people see before anything runs: help that fits a screen, completions, manual pages, colours.

use std::fs::{self, OpenOptions};
use std::path::Path;
use std::process::Command;

use clap::CommandFactory;
use omega::cli::Cli;

use crate::bad_input::fail;
use crate::skip::skipped;
use crate::{Workplace, names, omega, succeed, text};

/// Lines of a screen, and its width: `-h` of every command fits.
const SCREEN: (usize, usize) = (55, 100);
/// Lines that `--help` may have, but for `train`, which has a flag for everything.
const LONG: usize = 60;

/// Every command with the words that call it.
fn commands() -> Vec<Vec<String>> {
    fn walk(command: &clap::Command, words: &[String], all: &mut Vec<Vec<String>>) {
        all.push(words.to_vec());
        for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
            walk(sub, &[words, &[sub.get_name().to_owned()]].concat(), all);
        }
    }
    let mut all = Vec::new();
    walk(&Cli::command(), &[], &mut all);
    all
}

#[test]
fn every_help_fits_a_screen_and_has_an_example() {
    let all = commands();
    assert!(all.len() >= 19, "{all:?}");
    for words in all {
        let help = |flag: &str| text(&succeed(omega(&words).arg(flag)).stdout);
        let (short, long) = (help("-h"), help("--help"));
        assert!(short.contains("Example: omega ") && long.contains("Example: omega "), "{words:?} has no example");
        for (help, most) in [(&short, SCREEN.0), (&long, LONG)] {
            let widest = help.lines().map(|line| line.chars().count()).max().unwrap_or(0);
            assert!(widest <= SCREEN.1, "{words:?}: {widest} columns\n{help}");
            let everything = words.first().is_some_and(|word| word == "train");
            let lines = help.lines().count();
            assert!(lines <= most || everything && most == LONG, "{words:?}: {lines} lines\n{help}");
        }
    }
}

/// What `omega train --help` says of `--config`: all flags but those under Options are its keys.
#[test]
fn all_flags_but_the_options_are_keys() {
    let (folder, cli) = (tempfile::tempdir().unwrap(), Cli::command());
    let train = cli.get_subcommands().find(|command| command.get_name() == "train").unwrap();
    let help = text(&succeed(&mut omega(&["train", "--help"])).stdout);
    assert!(help.contains("all but the Options are keys of --config too."), "{help}");
    let options = help.split("\nOptions:\n").nth(1).unwrap().split("\n\nNumbers:\n").next().unwrap();
    let (mut keys, mut typed) = (0, 0);
    for flag in train.get_arguments().chain(cli.get_arguments()).filter_map(|arg| arg.get_long()) {
        let file = folder.path().join("my.toml");
        fs::write(&file, format!("{flag} = {{}}")).unwrap(); // no flag takes a table
        let said = omega::config::TrainFlags::load(&file).unwrap_err().to_string();
        if options.contains(&format!("--{flag}")) {
            assert!(said.ends_with(&format!("it is no setting of a run, and is typed: `--{flag}`")), "{said}");
            typed += 1;
        } else {
            assert!(said.contains(&format!("line 1: {flag} = {{}}: ")) && said.ends_with(" is needed"), "{said}");
            keys += 1;
        }
    }
    assert!(keys > 50 && typed == 6, "{keys} keys, {typed} typed");
}

/// What the help of `-v` promises: which files are read, how long things take.
#[test]
fn verbose_says_more_of_every_command() {
    let place = Workplace::prepared();
    let at = |name: &str| place.path(name).to_string_lossy().into_owned();
    let (data, run, text_of) = (at("data"), at("run"), at("text/valid"));
    succeed(&mut place.train("run", &["--max-update", "2"]));
    let reference = at("text/valid.en");
    let train = ["train", "--save-dir", &run, "--config", &at("my.toml"), "--max-update", "3"];
    fs::write(at("my.toml"), "lr = 0.01").unwrap();
    #[rustfmt::skip]
    let prepare = [
        "prepare", "--source", "de", "--target", "en", "--train", &text_of, "--valid", &text_of, "--vocab-size", "60",
        "--out", &at("again"),
    ];
    let best = "run/checkpoint_best.safetensors";
    let cases: &[(&[&str], &[&str])] = &[
        (&train, &["my.toml", "run/config.toml", "data/dict.de.txt", "data/train.de-en.en.idx", "run/checkpoint_last"]),
        (&prepare, &["text/valid.de", "text/valid.en"]),
        (&["translate", &run], &[best, "run/dict.en.txt", "run/tokenizer.json"]),
        (&["inspect", &run], &[best]),
        (&["average", &run, "--best", "1"], &["run/checkpoint_last"]),
        (&["export", &run, "--to", "hf", "--out", &at("hf")], &[best, "run/tokenizer.json"]),
        (&["analyze", "gradients", &run], &["run/config.toml", best]),
        (&[&["profile", &data], crate::TINY].concat(), &["data/train.de-en.de.bin"]),
        (&["score", "--reference", &reference], &["text/valid.en"]),
        (&["devices"], &[]),
    ];
    for (args, files) in cases {
        let said = text(&omega(&[&["-v"], *args].concat()).output().unwrap().stderr);
        for file in *files {
            let read = |line: &str| line.starts_with("reads ") && line.contains(file);
            assert!(said.lines().any(read), "{args:?}: no `{file}` in\n{said}");
        }
        let seconds = |line: &str| line.ends_with(" s") && line.contains(": ");
        assert!(said.lines().any(|line| line.starts_with("all: ") && seconds(line)), "{args:?}\n{said}");
        let expected: &[&str] = match args[0] {
            "train" => &["model and optimiser: ", "validation: ", "checkpoint_last.safetensors: "],
            "prepare" => &["BPE: ", "train: ", "valid: "],
            _ => &[],
        };
        for part in expected {
            assert!(said.lines().any(|line| line.contains(part) && seconds(line)), "{args:?}: no `{part}` in\n{said}");
        }
    }
    let said = text(&succeed(&mut omega(&["inspect", &run])).stderr);
    assert!(said.is_empty(), "{said}");
}

/// Nothing is cut off or broken within a word by a terminal of 60 columns, or of 40.
#[test]
fn help_fits_a_narrow_terminal() {
    for words in commands() {
        for flag in ["-h", "--help"] {
            let help =
                |columns: usize| text(&succeed(omega(&words).arg(flag).env("COLUMNS", columns.to_string())).stdout);
            let usage = |columns| -> Vec<String> {
                let help = help(columns);
                let from = help.split("Usage: ").nth(1).unwrap();
                from.split("\n\n").next().unwrap().split_whitespace().map(str::to_owned).collect()
            };
            for columns in [40, 60] {
                // A path that an example names is wider than 40.
                let breaks = |line: &str| columns == 60 || line.trim().contains(' ');
                let help = help(columns);
                let wide: Vec<&str> =
                    help.lines().filter(|line| line.chars().count() > columns && breaks(line)).collect();
                assert!(wide.is_empty(), "{words:?} {flag} {columns}: {wide:#?}");
                assert_eq!(usage(columns), usage(100), "{words:?}");
            }
        }
    }
}

/// clap alone exits with 0.
#[test]
fn a_help_that_cannot_be_written_is_an_error() {
    for args in [&["--help"][..], &["-h"], &["--version"], &["train", "--help"], &["devices"], &["man"]] {
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let output = omega(args).stdout(full).output().unwrap();
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{args:?}: {said}");
        assert!(said.starts_with("error: cannot write `stdout`") && said.lines().count() == 1, "{args:?}: {said}");
    }
}

/// The commands that examples show are commands, with flags that exist.
#[test]
fn examples_can_be_typed() {
    for words in commands() {
        let help = text(&succeed(omega(&words).arg("--help")).stdout);
        let from = help.find("Example: ").unwrap() + "Example: ".len();
        for line in help[from..].lines().filter(|line| line.starts_with("omega ") && !line.contains("COMMAND")) {
            parses(line);
        }
    }
}

/// `line`, up to what a shell takes for itself, is a command of omega.
fn parses(line: &str) {
    let line = line.split(['<', '>', '|', '#', '`', ';']).next().unwrap().replace('\\', " ");
    let parsed = Cli::command().try_get_matches_from(line.split_whitespace());
    assert!(parsed.is_ok(), "{line}: {}", parsed.unwrap_err());
}

/// What the recipes, whose corpora are large, tell people to type is understood. `pages.rs` runs what stands on the pages.
#[test]
fn commands_in_the_recipes_can_be_typed() {
    let mut seen = 0;
    for recipe in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("recipes")).unwrap() {
        let text = fs::read_to_string(recipe.unwrap().path()).unwrap().replace("\\\n#  ", "");
        let commands = text.lines().filter_map(|line| line.strip_prefix("#   "));
        for line in commands.filter(|line| line.starts_with("omega ")) {
            parses(line);
            seen += 1;
        }
    }
    assert!(seen >= 3 * 25, "only {seen} commands were found");
}

#[test]
fn completions_and_manual_pages_know_every_command() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let said = text(&succeed(&mut omega(&["completions", shell])).stdout);
        assert!(said.contains("translate") && said.contains("keep-last-epochs"), "{shell}");
    }
    fail(&mut omega(&["completions", "csh"]), 2, &["csh"]);
    let page = text(&succeed(&mut omega(&["man"])).stdout);
    assert!(page.contains(".TH omega 1") && page.contains("omega\\-train"), "{page}");
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("man1").to_string_lossy().into_owned();
    succeed(&mut omega(&["man", "--out", &out]));
    let pages = names(&folder.path().join("man1"));
    assert_eq!(pages.len(), commands().len(), "{pages:?}");
    assert!(pages.contains(&"omega-analyze-depth.1".to_owned()), "{pages:?}");
    assert!(fs::read_to_string(format!("{out}/omega-train.1")).unwrap().contains("warmup"));
    for page in &pages {
        let text = fs::read_to_string(format!("{out}/{page}")).unwrap().replace("\\-", "-");
        let named = text.lines().filter_map(|line| line.strip_suffix("(1)"));
        let missing: Vec<&str> = named.filter(|name| !pages.contains(&format!("{name}.1"))).collect();
        assert!(missing.is_empty(), "{page} names pages that do not exist: {missing:?}");
    }
    fail(&mut omega(&["man", "--out", "/proc/none"]), 1, &["/proc/none"]);
}

/// In the page's source: .nf and .fi keep lines as they are.
#[test]
fn manual_pages_keep_the_lines_of_examples_and_notes() {
    let folder = tempfile::tempdir().unwrap();
    succeed(omega(&["man", "--out"]).arg(folder.path()));
    let version = env!("CARGO_PKG_VERSION");
    for name in names(folder.path()) {
        let page = fs::read_to_string(folder.path().join(&name)).unwrap();
        let head = page.lines().find(|line| line.starts_with(".TH ")).unwrap();
        assert!(head.contains(&format!("\"omega {version}\"")), "{name}: {head}");
        assert!(!page.contains("EXTRA") && page.contains(".SH EXAMPLES\n.nf\nomega "), "{name}: {page}");
    }
    let page = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap().replace("\\-", "-");
    let translate = page("omega-translate.1");
    assert!(translate.contains("\nomega translate runs/de-en -i\n.fi\n"), "{translate}");
    let import = page("omega-import.1");
    let notes = import.split(".SH NOTES\n.nf\n").nth(1).unwrap();
    assert!(notes.contains(":\n  c = torch.load(") && notes.ends_with(")\n.fi\n"), "{notes}");
}

/// On a pipe there is no colour; on a terminal there is, unless NO_COLOR says no. `script` makes the terminal.
#[test]
fn colours_are_for_terminals() {
    let plain = text(&omega(&["score", "--reference", "none"]).output().unwrap().stderr);
    assert!(plain.starts_with("error: ") && !plain.contains('\x1b'), "{plain:?}");
    let forced = omega(&["score", "--reference", "none"]).env("CLICOLOR_FORCE", "1").output().unwrap();
    assert!(text(&forced.stderr).contains("\x1b[1;31merror:"), "{:?}", text(&forced.stderr));
    let command = format!("{} score --reference none", env!("CARGO_BIN_EXE_omega"));
    let terminal = |no_color: &str| {
        let mut script = Command::new("script");
        script.args(["-qec", &command, "/dev/null"]).env("TERM", "xterm").env_remove("NO_COLOR");
        if !no_color.is_empty() {
            script.env("NO_COLOR", no_color);
        }
        script.output().ok().map(|output| text(&output.stdout))
    };
    let Some(shown) = terminal("") else {
        skipped("there is no `script` to make a terminal with");
        return;
    };
    assert!(shown.contains("\x1b[1;31merror:"), "{shown:?}");
    let shown = terminal("1").unwrap();
    assert!(shown.contains("error: ") && !shown.contains("\x1b[1;31m"), "{shown:?}");
}
