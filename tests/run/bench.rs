//! `omega bench`: what it prints, and what it says of an op or a shape that does not exist.

use serde_json::Value;

use crate::{omega, succeed, text};

#[test]
fn json_has_every_figure_of_every_kernel() {
    let run = succeed(&mut omega(&["bench", "linear", "--shape", "small", "--json", "--device", "soft"]));
    let value: Value = serde_json::from_slice(&run.stdout).unwrap();
    assert_eq!(value["time_is_a_gpus"], false);
    let kernels = value["kernels"].as_array().unwrap();
    for dtype in ["f32", "f16", "bf16"] {
        for family in ["linear_fwd", "linear_bwd", "linear_bwd_reduce"] {
            let name = format!("{family}_{dtype}");
            let rows: Vec<&Value> = kernels.iter().filter(|row| row["kernel"] == name.as_str()).collect();
            assert_eq!(rows.len(), 2, "{name}: a row for each odd shape");
            for row in rows {
                assert!(row["ms"].is_null() && row["cpu_ms_softgpu"].as_f64().unwrap() >= 0.0, "{row}");
                let counted = &row["counted"];
                let efficiency = counted["sector_efficiency"].as_f64().unwrap();
                assert!(0.0 < efficiency && efficiency <= 1.0, "{row}");
                assert!(counted["moved_over_compulsory"].as_f64().unwrap() > 0.5, "{row}");
                assert!(counted["instructions_per_element"].as_f64().unwrap() > 1.0, "{row}");
                assert_eq!(counted["bank_conflicts_per_access"], 0.0, "{row}");
                assert!(counted["roofline_estimate"].as_array().unwrap().len() > 3, "{row}");
                for arch in ["sm_80", "sm_90"] {
                    let arch = &row["archs"][arch];
                    // A debug build has no figures of ptxas.
                    assert!(cfg!(debug_assertions) || arch["registers"].as_u64().unwrap() > 0, "{row}");
                    assert!(cfg!(debug_assertions) || arch["occupancy"]["warps"].as_u64().unwrap() > 0, "{row}");
                }
            }
        }
    }
    assert!(
        text(&run.stderr).contains("linear f16: equals the f64 reference at 2 odd shapes"),
        "{}",
        text(&run.stderr)
    );
}

#[test]
fn a_table_says_that_softgpus_times_are_no_gpus() {
    let run = succeed(&mut omega(&["bench", "moments", "--shape", "7x65", "--dtype", "f32", "--device", "soft"]));
    let table = text(&run.stdout);
    assert!(table.contains("cpu ms (softgpu)") && table.contains("says nothing about a GPU"), "{table}");
    assert!(table.lines().any(|line| line.starts_with("moments_f32  N=7 C=65")), "{table}");
}

#[test]
fn markdown_is_the_same_each_time() {
    let page =
        || succeed(&mut omega(&["bench", "embed", "--shape", "9x10x33", "--markdown", "--device", "soft"])).stdout;
    let first = page();
    assert!(text(&first).contains("| `embed_bwd_bf16` | T=9 V=10 C=33 |"), "{}", text(&first));
    assert!(first == page(), "no times, and nothing else that changes from run to run");
}

/// All of it, in one run: counts, what `ptxas` says, and why a figure misses its limit.
#[test]
fn the_page_of_all_kernels_is_what_is_printed_now() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/kernels.md")).unwrap();
    let printed = text(&succeed(&mut omega(&["bench", "--markdown", "--device", "soft"])).stdout);
    // Registers, and what follows from them, are known to builds with fatbins only; else a row ends at its instructions.
    let is_row = |line: &str| line.starts_with("| `");
    let has_registers = printed.lines().find(|line| is_row(line)).is_some_and(|row| !row.contains("| – | – |"));
    let lines = |text: &str| -> Vec<String> {
        let counts = |line: &str| line.match_indices('|').nth(6).map_or(line.len(), |(end, _)| end);
        let end = |line: &str| if is_row(line) && !has_registers { counts(line) } else { line.len() };
        text.lines().map(|line| line[..end(line)].to_owned()).collect()
    };
    let (known, now) = (lines(&page), lines(&printed));
    assert!(now.iter().filter(|line| is_row(line)).count() > 150, "{printed}");
    let Some(at) = (0..known.len().max(now.len())).find(|at| known.get(*at) != now.get(*at)) else { return };
    let line = |lines: &[String]| lines.get(at).map_or("(nothing)", String::as_str).to_owned();
    panic!(
        "docs/kernels.md is due: `omega bench --markdown > docs/kernels.md`\nline {} is   {}\nand now is {}",
        at + 1,
        line(&known),
        line(&now)
    );
}

#[test]
fn what_does_not_exist_is_one_line_and_exit_code_2() {
    let cases: [(&[&str], &str); 8] = [
        (&["conv"], "error: `conv` is no op: attention, bias_relu_dropout, cross_entropy, embed, linear, "),
        (
            &["linear", "--shape", "big"],
            "error: --shape big: not one of small, model, or extents above 0 as in 4096x512",
        ),
        (
            &["linear", "--shape", "4x0x2"],
            "error: --shape 4x0x2: not one of small, model, or extents above 0 as in 4096x512",
        ),
        (&["linear", "--shape", "4x5"], "error: --shape 4x5: linear takes small, model, or N x in x out"),
        (
            &["attention", "--shape", "2x4x1x136"],
            "error: --shape 2x4x1x136: attention takes small, model, or B x T x H x D",
        ),
        (&["optimizer", "--shape", "9999999999999"], "error: --shape 9999999999999: a matrix of more than 1073741824"),
        (
            &["embed", "--shape", "4294967296x4294967296x4294967296"],
            "error: --shape 4294967296x4294967296x4294967296: a matrix of more than 1073741824 elements",
        ),
        (&["linear", "--dtype", "f64"], "error: --dtype f64: not one of f32, f16, bf16"),
    ];
    for (args, message) in cases {
        let run = omega(&[&["bench"], args].concat()).output().unwrap();
        let stderr = text(&run.stderr);
        assert_eq!(run.status.code(), Some(2), "{stderr}");
        assert!(stderr.starts_with(message) && stderr.lines().count() == 1 && run.stdout.is_empty(), "{stderr}");
    }
}

#[test]
fn help_fits_a_screen_and_has_an_example() {
    let help = text(&succeed(&mut omega(&["bench", "--help"])).stdout);
    assert!(help.lines().count() <= 50 && help.contains("Example: omega bench embed"), "{help}");
}
