//! What README and the pages tell people to type, run in a folder that has what they name, at sizes that take seconds.
//! `tests/guide.rs` types the steps of the guide.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::{Workplace, succeed, text};

#[rustfmt::skip]
const PAGES: &[&str] = &[
    "README.md", "data/README.md", "docs/admin.md", "docs/architecture.md", "docs/fairseq.md", "docs/guide.md",
    "docs/paper/README.md", "docs/performance.md",
];

/// First words of a command.
const PROGRAMS: &[&str] = &["omega", "make", "cargo", "git", "sh", "python3"];

/// Commands that no test can run, and why.
const NOT_RUN: &[(&str, &str)] = &[
    ("make demo", "downloads the corpus and trains for minutes; test_demo_corpus.py has its own small corpus"),
    ("OMEGA_DEMO=multi30k make demo", "as `make demo`"),
    ("make test", "runs this test"),
    ("make lint", "compiles everything once more"),
    ("cargo test --release --test kernel_resources", "is a test itself"),
    ("make toolchain", "downloads nvcc"),
    ("make paper TEXT=DIR", "trains for half an hour and more"),
    ("cargo run --release --example paper -- PART… --text DIR", "as `make paper`"),
    ("cargo bench -p softgpu --bench speed", "compiles and takes minutes"),
    ("OMP_NUM_THREADS=2 python3 benches/pytorch_step.py DATA de-en", "needs PyTorch"),
    ("python3 data/demo_corpus.py --help", "test_demo_corpus.py runs that script"),
    ("sh data/iwslt14_de_en.sh", "downloads the corpus; test_translation_corpora.py has its own small archives"),
];

/// Names of commands in running text, and the commands that they are run as.
const NAMED: &[(&str, &str)] = &[
    ("omega train", "omega train data-bin/de-en --save-dir runs/named TINY"),
    ("omega train --config", "omega train data-bin/de-en --save-dir runs/recipe --config recipe.toml TINY"),
    ("omega train --dry-run", "omega train data-bin/de-en --dry-run"),
    ("omega train --kernel-times", "omega train data-bin/de-en --save-dir runs/times --kernel-times TINY"),
    ("omega train --save-dir RUN", "omega train --save-dir runs/deep --max-update 12"),
    ("omega translate", "omega translate runs/deep"),
    ("omega average", "omega average runs/deep --last 2 --out mean.safetensors"),
    ("omega export", "omega export runs/deep --to plain --out plain"),
    // What fairseq saved is imported in tests/export/fairseq.rs.
    ("omega import from-fairseq --out runs/imported", "omega import de-en-fairseq --out runs/imported"),
    ("omega profile", "omega profile data-bin/de-en"),
    (
        "omega prepare",
        "omega prepare --source de --target en --train text/train --valid text/valid --vocab-size 60 --out data-bin/named",
    ),
    (
        "omega prepare --segmented",
        "omega prepare --segmented --source de --target en --train text/train --valid text/valid --out data-bin/segmented",
    ),
    ("omega score --tokenize none", "omega score --tokenize none --reference test.en"),
    (
        "omega score --tokenize none --reference data/NAME/tokens/test.TARGET",
        "omega score --tokenize none --reference test.en",
    ),
    ("omega bench", "omega bench moments embed --shape small"),
];

/// What makes training take seconds, put behind the flags of the page: of two, the last one holds.
const TINY: &str = "--max-update 10 --d-model 16 --heads 2 --ffn 32 --max-tokens 2000 --bleu-sentences 2 --samples 1";

/// Words on the pages that stand for names.
const PLACES: &[(&str, &str)] = &[("DATA", "data-bin/de-en"), ("RUN", "runs/times-again")];

/// The commands on `page`: indented lines, joined where one ends in `\`, and code in running text. An indented line of
/// plain ASCII is a command; pictures and equations are not.
fn commands(page: &str) -> Vec<String> {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(page)).unwrap().replace("\\\n", " ");
    let without_steps: String =
        page.split("```").enumerate().filter(|(number, _)| number % 2 == 0).map(|(_, text)| text).collect();
    let (typed, prose): (Vec<&str>, Vec<&str>) = without_steps.lines().partition(|line| line.starts_with("    "));
    let typed = typed.iter().map(|line| line.split(" #").next().unwrap()).filter(|line| line.is_ascii());
    let prose = prose.join("\n");
    let spans = prose.split('`').skip(1).step_by(2).filter(|span| is_command(span));
    typed.chain(spans).map(|command| command.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

/// Whether code in running text is a command: a program, after what is set for it, and at least one word more.
fn is_command(span: &str) -> bool {
    let mut words = span.split_whitespace().skip_while(|word| word.contains('='));
    words.next().is_some_and(|program| PROGRAMS.contains(&program)) && words.next().is_some()
}

/// `command`, as it stands on a page, as it is run.
fn small(command: &str) -> String {
    if let Some((_, whole)) = NAMED.iter().find(|(name, _)| *name == command) {
        return whole.replace("TINY", TINY);
    }
    let place = |word| PLACES.iter().find(|(name, _)| *name == word).map_or(word, |(_, place)| *place);
    let words: Vec<&str> = command.split(' ').map(place).collect();
    let more: &[&str] = if words[1] == "train" { &[TINY] } else { &[] };
    [&words[..], more].concat().join(" ")
}

/// The files that a command is asked to write.
fn written(command: &str) -> Vec<&str> {
    let words: Vec<&str> = command.split(' ').collect();
    let writes = |flag| ["--out", "--svg", "--save-dir", ">"].contains(&flag);
    words.windows(2).filter(|pair| writes(pair[0])).map(|pair| pair[1]).collect()
}

/// What the commands find: text in three splits, the demo's data folder, a recipe.
fn place() -> Workplace {
    let place = Workplace::with_text();
    fs::create_dir_all(place.path("my")).unwrap();
    for language in ["de", "en"] {
        let copy = |from: &str, to: &str| fs::write(place.path(&format!("{to}.{language}")), place.read(from)).unwrap();
        for (from, to) in [("train", "my/train"), ("valid", "my/valid"), ("valid", "my/test"), ("valid", "test")] {
            copy(&format!("text/{from}.{language}"), to);
        }
    }
    succeed(&mut place.prepare("text/train", "text/valid", "data-bin/demo"));
    let recipe = Path::new(env!("CARGO_MANIFEST_DIR")).join("recipes/iwslt14-de-en-admin-6.toml");
    fs::copy(recipe, place.path("recipe.toml")).unwrap();
    place
}

#[test]
fn commands_on_the_pages_run() {
    let place = place();
    let omega = Path::new(env!("CARGO_BIN_EXE_omega"));
    let path = format!("{}:{}", omega.parent().unwrap().display(), std::env::var("PATH").unwrap());
    let (mut done, mut listed) = (BTreeSet::new(), BTreeSet::new());
    for page in PAGES {
        for command in commands(page) {
            if NOT_RUN.iter().any(|(other, _)| *other == command) {
                listed.insert(command);
                continue;
            }
            if !done.insert(command.clone()) {
                continue;
            }
            assert!(command.starts_with("omega "), "{page}: `{command}` is neither run nor in NOT_RUN");
            let run = small(&command);
            let mut shell = Command::new("sh");
            shell.args(["-euc", &run]).current_dir(place.path("")).env("PATH", &path);
            shell.env("RAYON_NUM_THREADS", "1"); // models this small gain nothing from more, and lose on a busy machine
            let mut child = shell.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
            // Most commands read nothing, and may have ended before they are given these lines.
            let _ = child.stdin.take().unwrap().write_all(&place.read("test.de"));
            let output = child.wait_with_output().unwrap();
            let said = text(&output.stdout) + &text(&output.stderr);
            assert!(output.status.success(), "{page}: {command}\nrun as: {run}\n{said}");
            for file in written(&run) {
                assert!(place.path(file).exists(), "{page}: {command}\nrun as: {run}\nno `{file}`\n{said}");
            }
        }
    }
    let named = NAMED.iter().map(|(name, _)| *name).filter(|name| !done.contains(*name));
    let unlisted = NOT_RUN.iter().map(|(name, _)| *name).filter(|name| !listed.contains(*name));
    let gone: Vec<&str> = named.chain(unlisted).collect();
    assert!(gone.is_empty(), "on no page any more: {gone:?}");
    assert!(done.len() >= 30, "only {} commands were found", done.len());
}
