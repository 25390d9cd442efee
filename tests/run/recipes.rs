//! The published experiments in `recipes/`, and the page that maps fairseq's flags to ours.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::{Workplace, omega, succeed, text};

/// Every recipe is accepted, and a step of its model is counted (not computed) on a small data-bin.
#[test]
fn every_recipe_passes_a_dry_run() {
    let place = Workplace::prepared();
    let data = place.path("data").to_string_lossy().into_owned();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("recipes");
    let mut seen = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let recipe = entry.unwrap().path();
        let name = recipe.file_stem().unwrap().to_string_lossy().into_owned();
        let output = succeed(&mut omega(&["train", &data, "--config", &recipe.to_string_lossy(), "--dry-run"]));
        let said = text(&output.stdout);
        // A name ends in the depth, and in `-no-warmup` where that is so: `…-60-12`, `…-6`.
        let parts: Vec<&str> = name.trim_end_matches("-no-warmup").split('-').collect();
        let depths: Vec<&str> = parts.iter().rev().take_while(|part| part.parse::<usize>().is_ok()).copied().collect();
        let layers = format!(" {}+{} layers", depths.last().unwrap(), depths.first().unwrap());
        assert!(said.contains(&layers), "{name}: {layers} expected in\n{said}");
        seen += 1;
    }
    assert_eq!(seen, 25, "rows of the original's pages");
}

/// Flags in the last column of the tables of `docs/fairseq.md` are flags of the command that the column names.
#[test]
fn every_flag_on_the_page_about_fairseq_exists() {
    let page = include_str!("../../docs/fairseq.md");
    let (mut known, mut checked) = (BTreeSet::new(), 0);
    for line in page.lines().filter(|line| line.starts_with('|') && !line.starts_with("|--")) {
        let ours = line.trim_end_matches('|').split('|').nth(2).unwrap();
        if let Some(command) = ours.split("`omega ").nth(1).map(|rest| rest.split('`').next().unwrap()) {
            known = flags(&text(&succeed(&mut omega(&[command, "--help"])).stdout));
            continue;
        }
        for flag in flags(ours) {
            assert!(known.contains(&flag), "{flag} is not a flag: {line}");
            checked += 1;
        }
    }
    assert!(checked > 40, "only {checked} flags were found");
}

fn flags(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'));
    words.filter(|word| word.starts_with("--") && word.len() > 2).map(str::to_owned).collect()
}
