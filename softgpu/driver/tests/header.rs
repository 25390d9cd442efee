//! The exported functions against the prototypes in `cuda.h`, where a CUDA toolkit is found: as many parameters, and
//! each as wide. A wrong one would read a neighbour's register, which no other test need notice.
#![allow(clippy::unwrap_used)] // a panic in a test is its report

#[path = "../../../tests/common/skip.rs"]
mod skip;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use skip::skipped;

fn header() -> Option<PathBuf> {
    let folders = ["CUDA_HOME", "CUDA_PATH"].into_iter().filter_map(std::env::var_os).map(PathBuf::from);
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.cuda");
    folders.chain([here, "/usr/local/cuda".into()]).map(|f| f.join("include/cuda.h")).find(|file| file.is_file())
}

/// "64", "32", "8", … bits of a parameter's C type, "f32", or "double".
fn c_class(parameter: &str) -> &'static str {
    let words: Vec<&str> = parameter
        .split(|c: char| !c.is_alphanumeric() && c != '_')
        .filter(|w| !w.is_empty() && *w != "const")
        .collect();
    if parameter.contains('*') || parameter.contains('[') {
        return "64";
    }
    match words[..] {
        ["unsigned", "char", ..] => "8",
        ["unsigned", "short", ..] => "16",
        ["unsigned", "long", "long", ..] | ["long", "long", ..] => "64",
        ["unsigned", "int", ..] | ["int", ..] | ["CUdevice", ..] | ["CUdevice_v1", ..] | ["cuuint32_t", ..] => "32",
        ["float", ..] => "f32",
        ["size_t", ..] | ["cuuint64_t", ..] => "64",
        [name, ..] => match HANDLES.contains(&name) {
            true => "64",
            false => "32", // an enum
        },
        [] => "",
    }
}

const HANDLES: [&str; 21] = [
    "CUdeviceptr",
    "CUcontext",
    "CUmodule",
    "CUfunction",
    "CUlibrary",
    "CUkernel",
    "CUstream",
    "CUevent",
    "CUgraph",
    "CUgraphNode",
    "CUgraphExec",
    "CUlinkState",
    "CUmemoryPool",
    "CUhostFn",
    "CUstreamCallback",
    "CUoccupancyB2DSize",
    "CUgreenCtx",
    "CUarray",
    "CUmipmappedArray",
    "CUuserObject",
    "CUdeviceptr_v2",
];

fn rust_class(ty: &str) -> &'static str {
    match ty.trim() {
        "c_uchar" => "8",
        "c_ushort" => "16",
        "c_int" | "c_uint" => "32",
        "f32" => "f32",
        "u64" | "usize" | "Handle" | "c_ulonglong" => "64",
        ty if ty.starts_with('*') || ty.starts_with("Option<") => "64",
        other => panic!("what is `{other}`?"),
    }
}

/// Parameter types of `cuX(…)` prototypes by name, newest form under its own name.
fn prototypes(header: &str) -> BTreeMap<String, Vec<String>> {
    let mut text = String::new();
    let mut rest = header;
    while let Some((before, after)) = rest.split_once("/*") {
        text += before;
        rest = after.split_once("*/").map_or("", |(_, rest)| rest);
    }
    text += rest;
    let newest: BTreeMap<&str, &str> = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("#define ")?.trim().split_once(' '))
        .map(|(name, form)| {
            (name, form.trim().trim_start_matches("__CUDA_API_PTDS(").trim_start_matches("__CUDA_API_PTSZ("))
        })
        .map(|(name, form)| (name, form.trim_end_matches(')')))
        .filter(|(name, form)| name.starts_with("cu") && form.starts_with(name) && form.len() > name.len())
        .collect();
    let mut found = BTreeMap::new();
    for prototype in text.split("CUDAAPI ").skip(1) {
        let Some((name, rest)) = prototype.split_once('(') else { continue };
        let Some((parameters, _)) = rest.split_once(");") else { continue };
        let name = name.trim();
        if !name.starts_with("cu") || name.contains(' ') {
            continue;
        }
        let parameters = parameters.split(',').map(|p| p.trim().to_owned()).filter(|p| !p.is_empty() && p != "void");
        // The first prototype of a plain name is the newest form; older ones follow under their own conditions.
        let form = newest.get(name).copied().unwrap_or(name).to_owned();
        found.entry(form).or_insert(parameters.collect());
    }
    found
}

#[test]
fn parameters_are_those_of_the_header() {
    let Some(header) = header() else {
        skipped("no cuda.h in $CUDA_HOME, $CUDA_PATH, .cuda or /usr/local/cuda");
        return;
    };
    let prototypes = prototypes(&fs::read_to_string(header).unwrap());
    let (mut checked, mut wrong) = (0, Vec::new());
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).unwrap() {
        let source = fs::read_to_string(entry.unwrap().path()).unwrap();
        for function in source.split("\n    fn cu").skip(1).filter(|f| !f.starts_with("blas")) {
            let (name, rest) = function.split_once('(').unwrap();
            let name = format!("cu{}", name.split([' ', '|']).next().unwrap());
            let parameters = rest.split_once(") {").unwrap().0.replace('\n', " ");
            let ours = parameters.split(", ").map(str::trim).filter(|p| !p.is_empty());
            let ours: Vec<&str> =
                ours.map(|p| rust_class(p.split_once(": ").unwrap().1.trim_end_matches(','))).collect();
            let Some(theirs) = prototypes.get(&name) else { continue };
            let theirs: Vec<&str> = theirs.iter().map(|p| c_class(p)).collect();
            checked += 1;
            if ours != theirs {
                wrong.push(format!("{name}: {ours:?}, the header says {theirs:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(checked > 200, "only {checked} functions were found in the header");
}
