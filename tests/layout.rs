//! The shape of the tree: who may import whom, the five places of every op, and the limits on files. Each test can be
//! read as a rule; a rule that is in the way is changed here, in the open, not worked around.

#![allow(clippy::unwrap_used)] // a panic in a test is its report

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The order of the modules of `src/`, lowest first. A module may import those of lower rows, and nothing of its own
/// row but itself. `config` and `cli` are low because they are data: what was typed, and the checked form of it; they
/// start nothing, and each command takes its own arguments. `text` knows no model, and no model reads text.
const LAYERS: &[(&[&str], &str)] = &[
    (&["error"], "the one error type"),
    (
        &["files", "numbers", "plot", "reference", "rng", "terminal"],
        "whole files; medians; pictures; ops in f64 loops; random numbers; what people are told",
    ),
    (&["device", "tensor"], "memory, launches, products; this row only is one box: a tensor holds device memory"),
    (&["tape"], "values and gradients"),
    (&["ops"], "check, launch, push"),
    (&["config"], "flags, typed and checked"),
    (&["cli"], "what can be typed"),
    (&["bench"], "what kernels cost"),
    (&["model", "text"], "layers, sizes, ω; lines, ids, batches, scores"),
    (&["optim"], "from gradients to the next update"),
    (&["checkpoint"], "a run on disk"),
    (&["selftest"], "kernels and a model against what they should give"),
    (&["export", "shell", "translate"], "models for other programs; completions and manual; search"),
    (&["train"], "the loop, which translates to validate"),
    (&["analyze"], "what initialisation and training do to the branches"),
    (&["lib", "main"], "declarations; parse, run, exit code"),
];

/// Names at the crate's root that are another module's: `crate::Error`, `crate::args!`.
const ROOT_NAMES: &[(&str, &str)] =
    &[("Error", "error"), ("Result", "error"), ("args", "device"), ("by_dtype", "tensor")];

/// Kernel files, and the four other places that each has under its own name.
const PLACES: [(&str, &str); 5] =
    [("kernels", "cu"), ("src/ops", "rs"), ("src/reference", "rs"), ("tests/gradcheck", "rs"), ("benches", "rs")];

const LONGEST_FILE: usize = 600;
/// What the header of a longer file says before its reason.
const LONGER: &str = "Longer than 600 lines";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Files below `folder` with one of these endings, relative to the root, sorted; none that git ignores, as downloads.
fn files(folder: &str, endings: &[&str]) -> Vec<PathBuf> {
    let ignored: Vec<PathBuf> =
        read(".gitignore").lines().filter_map(|line| line.strip_prefix('/')).map(|line| root().join(line)).collect();
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.extend((!ignored.contains(&path)).then_some(path));
            } else if path.extension().is_some_and(|e| endings.iter().any(|ending| e == *ending)) {
                found.push(path.strip_prefix(root()).unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}

/// Source text without comments and without what stands in plain string literals, line by line.
fn code_lines(source: &str) -> Vec<String> {
    let line = |line: &str| {
        let (mut code, mut in_string, mut chars) = (String::new(), false, line.chars().peekable());
        while let Some(c) = chars.next() {
            match c {
                '\\' if in_string => drop(chars.next()),
                '\'' if !in_string && chars.peek() == Some(&'"') => drop(chars.next()), // the character '"'
                '"' => in_string = !in_string,
                '/' if !in_string && chars.peek() == Some(&'/') => break,
                _ if in_string => {}
                c => code.push(c),
            }
        }
        code
    };
    source.lines().map(line).collect()
}

/// First segments of all `crate::` paths, those of `crate::{a::b, c}` too; in files at the root also of `super::`.
fn imports(code: &str, at_root: bool) -> BTreeSet<String> {
    let starts: &[&str] = if at_root { &["crate::", "super::"] } else { &["crate::"] };
    let mut found = BTreeSet::new();
    for rest in starts.iter().flat_map(|start| code.split(start).skip(1)) {
        let list = match rest.strip_prefix('{') {
            Some(group) => top_level(group),
            None => vec![rest],
        };
        let name = |item: &str| item.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        found.extend(list.into_iter().map(name).filter(|name: &String| !name.is_empty()));
    }
    found
}

/// The comma-separated items of a `{…}` group whose opening brace has been read.
fn top_level(group: &str) -> Vec<&str> {
    let (mut items, mut depth, mut from) = (Vec::new(), 0, 0);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => {
                items.push(&group[from..at]);
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                items.push(&group[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    items
}

fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|(row, _)| row.contains(&module))
}

/// What is wrong with the imports of one file of `src/`.
fn wrong_imports(path: &Path, source: &str) -> Vec<String> {
    let inside = path.strip_prefix("src").unwrap();
    let module = inside.iter().next().unwrap().to_str().unwrap().trim_end_matches(".rs");
    let Some(own) = layer(module) else {
        return vec![format!("{}: `{module}` has no row in LAYERS of tests/layout.rs", path.display())];
    };
    let at_root = inside.iter().count() == 1 || inside.ends_with("mod.rs") && inside.iter().count() == 2;
    let code = code_lines(source).join("\n");
    let mut wrong = Vec::new();
    if code.contains("super::super::") {
        wrong.push(format!("{}: `super::super::` hides an import; write `crate::`", path.display()));
    }
    for name in imports(&code, at_root) {
        let target = ROOT_NAMES.iter().find(|(root, _)| *root == name).map_or(name.as_str(), |(_, module)| *module);
        let one_box = ["device", "tensor"];
        match layer(target) {
            Some(_) if target == module || one_box.contains(&target) && one_box.contains(&module) => {}
            Some(to) if to < own => {}
            Some(to) if to == own => {
                wrong.push(format!("{}: `{module}` imports its neighbour `{target}`", path.display()))
            }
            Some(_) => wrong.push(format!("{}: `{module}` imports `{target}`, which is above it", path.display())),
            // At the root, `super::` also starts paths within the file's own test module.
            None if at_root => {}
            None => wrong.push(format!("{}: `crate::{name}` is not in LAYERS of tests/layout.rs", path.display())),
        }
    }
    wrong
}

fn none(wrong: Vec<String>) {
    assert!(wrong.is_empty(), "{} found:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn imports_go_down() {
    let sources = files("src", &["rs"]);
    assert!(sources.len() > 30, "the sources are in src/");
    none(sources.iter().flat_map(|path| wrong_imports(path, &read(path))).collect());
}

/// The rule above on text that breaks it.
#[test]
fn an_upward_import_is_found() {
    let wrong = |path: &str, source: &str| wrong_imports(Path::new(path), source).len();
    assert_eq!(wrong("src/ops/embed.rs", "use crate::tape::Tape;\nuse crate::{error::{Error, Result}, rng};"), 0);
    assert_eq!(wrong("src/ops/embed.rs", "use crate::model::Model;"), 1);
    assert_eq!(wrong("src/ops/embed.rs", "use crate::{error::{Error, Result}, train, model::{Model}};"), 2);
    assert_eq!(wrong("src/text/lines.rs", "let most = crate::model::config::MAX;"), 1, "a neighbour");
    assert_eq!(wrong("src/reference/embed.rs", "use crate::device::Device;"), 1);
    assert_eq!(wrong("src/tape.rs", "use super::train;"), 1);
    assert_eq!(wrong("src/ops/embed.rs", "use super::super::train;"), 1);
    assert_eq!(wrong("src/tensor.rs", "use crate::device::Buffer; // not crate::train\nlet s = \"crate::train\";"), 0);
    assert_eq!(wrong("src/helpers.rs", ""), 1, "a module without a row");
}

/// Stems of the files directly in `folder`, without `mod` and `main`.
fn stems(folder: &str, ending: &str) -> BTreeSet<String> {
    let direct = files(folder, &[ending]).into_iter().filter(|path| path.parent() == Some(Path::new(folder)));
    let stems = direct.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned());
    stems.filter(|stem| stem != "mod" && stem != "main").collect()
}

#[test]
fn every_op_has_its_five_places() {
    let ops = stems("kernels", "cu");
    assert!(ops.len() >= 9, "the kernels are in kernels/");
    let mut wrong = Vec::new();
    for (folder, ending) in PLACES {
        let here = stems(folder, ending);
        wrong.extend(ops.difference(&here).map(|op| format!("{folder}/{op}.{ending} is missing")));
        wrong.extend(here.difference(&ops).map(|extra| format!("{folder}/{extra}.{ending}: there is no such op")));
    }
    none(wrong);
}

/// A file that nothing declares is never compiled, and its tests never run.
#[test]
fn every_op_is_declared() {
    let (ops, manifest) = (stems("kernels", "cu"), read("Cargo.toml"));
    let declarations =
        ["src/ops/mod.rs", "src/reference/mod.rs", "tests/gradcheck/main.rs"].map(|path| (path, read(path)));
    let mut wrong = Vec::new();
    for op in &ops {
        for (path, text) in &declarations {
            let declared = text.lines().any(|line| line.trim_start_matches("pub ") == format!("mod {op};"));
            wrong.extend((!declared).then(|| format!("{path} does not declare `{op}`")));
        }
        let row = format!("[[bench]]\nname = \"{op}\"\nharness = false\n");
        wrong.extend((!manifest.contains(&row)).then(|| format!("Cargo.toml lacks the lines\n{row}")));
    }
    none(wrong);
}

/// The comment that a kernel file starts with.
fn header(source: &str) -> String {
    source.lines().take_while(|line| line.starts_with("//")).collect::<Vec<_>>().join("\n")
}

#[test]
fn kernel_headers_state_shapes_launch_and_bytes() {
    let mut wrong = Vec::new();
    for path in files("kernels", &["cu"]) {
        let header = header(&read(&path));
        for word in ["Shapes:", "Launch:", "Bytes"] {
            let stated = header.contains(word);
            wrong.extend((!stated).then(|| format!("{}: the header does not state {word}", path.display())));
        }
    }
    none(wrong);
}

#[test]
fn files_stay_short() {
    let mut sources = vec![PathBuf::from("build.rs")];
    for folder in ["src", "tests", "benches", "softgpu", "kernels", "data", "docs"] {
        sources.extend(files(folder, &["rs", "cu", "cuh", "sh", "md", "ptx", "py"]));
    }
    let mut wrong = Vec::new();
    // What a program writes: a compiler's PTX, and the page that the instruction table makes.
    let made = |path: &Path| {
        let ptx = path.extension().is_some_and(|extension| extension == "ptx");
        ptx && !path.starts_with("softgpu/tests/run") || path == Path::new("softgpu/COVERAGE.md")
    };
    for path in sources.iter().filter(|path| !path.starts_with("softgpu/target") && !made(path)) {
        let text = read(path);
        let (lines, reason) = (text.lines().count(), header(&text).contains(LONGER));
        if lines > LONGEST_FILE && !reason {
            wrong.push(format!("{}: {lines} lines; split it, or say why in its header: `{LONGER}: …`", path.display()));
        } else if lines <= LONGEST_FILE && reason {
            wrong.push(format!("{}: the header excuses a length that it no longer has", path.display()));
        }
    }
    none(wrong);
}

/// libtest keeps to itself what a passing test prints, and a skipped one passes: `skipped` writes past it.
#[test]
fn skipped_tests_say_so() {
    let wrong = ["tests", "softgpu"].iter().flat_map(|folder| files(folder, &["rs"]));
    let wrong = wrong.filter(|path| read(path).contains("println!(\"skipped"));
    none(wrong.map(|path| format!("{}: say it as tests/common/skip.rs does", path.display())).collect());
}

/// Where `unsafe` may stand: the device boundary anywhere, an op at its launch, and the two files that map a file.
fn unsafe_is_allowed(path: &Path, line: &str, before: &str) -> bool {
    let reasoned = || before.contains("// SAFETY:");
    if path.starts_with("src/device") || path.starts_with("softgpu") {
        return true; // clippy asks for the SAFETY comment
    }
    if path.starts_with("src/ops") {
        return line.contains(".launch(") && reasoned();
    }
    let maps = ["src/text/corpus.rs", "src/checkpoint.rs"].iter().any(|file| path == Path::new(file));
    maps && line.contains("Mmap::map(") && reasoned()
}

#[test]
fn unsafe_stands_at_the_device_boundary_only() {
    let sources = ["src", "softgpu", "tests", "benches"].iter().flat_map(|folder| files(folder, &["rs"]));
    let mut wrong = Vec::new();
    for path in sources.chain([PathBuf::from("build.rs")]) {
        let text = read(&path);
        let lines: Vec<&str> = text.lines().collect();
        for (number, code) in code_lines(&text).iter().enumerate() {
            let uses = code.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == "unsafe");
            let before = lines[number.saturating_sub(3)..number].join("\n");
            if uses && !unsafe_is_allowed(&path, lines[number], &before) {
                wrong.push(format!("{}:{}: {}", path.display(), number + 1, lines[number].trim()));
            }
        }
    }
    none(wrong);
}

/// What a patch takes away and leaves around it, hunk by hunk, with the file's path.
fn hunks(patch: &str) -> Vec<(&str, Vec<&str>)> {
    let (mut path, mut found) = ("", Vec::new());
    for line in patch.lines().skip(1) {
        if let Some(of) = line.strip_prefix("--- a/") {
            path = of;
        } else if line.starts_with("@@") {
            found.push((path, Vec::new()));
        } else if let (Some((_, lines)), false) = (found.last_mut(), line.starts_with('+')) {
            lines.push(line.get(1..).unwrap_or(""));
        }
    }
    found
}

/// `git apply` puts a patch where its lines are, wherever that is: one that is out of date may break another kernel, whose
/// test fails, and count as killed.
#[test]
fn every_mutant_has_one_place() {
    let patches = files("tests/mutants", &["patch"]);
    assert!(patches.len() > 250, "{} patches", patches.len());
    let mut wrong = Vec::new();
    for patch in patches {
        for (path, before) in hunks(&read(&patch)) {
            let source = read(root().join(path));
            let lines: Vec<&str> = source.lines().collect();
            let places = lines.windows(before.len()).filter(|window| *window == before).count();
            if places != 1 {
                wrong.push(format!("{}: {places} places in {path}", patch.display()));
            }
        }
    }
    none(wrong);
}
