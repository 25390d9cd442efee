//! What holds at initialisation, by `omega analyze`: output change against depth (E1), dependency on the branches (E3a),
//! gradient norms (E3b). Numbers and pictures go to the output folder; criteria are those of the miniature's definition.

use std::fmt::Write;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use omega::analyze::dependency::SHARE;
use omega::plot::{self, Shades};

use crate::corpus::Corpus;
use crate::{Args, Result, report};

pub const NAMES: [&str; 3] = ["e1", "e3a", "e3b"];
const SCHEMES: [&str; 3] = ["post-ln", "pre-ln", "admin"];

/// A criterion and what was found.
struct Check {
    what: String,
    holds: bool,
}

/// Runs part `name`; its page, and whether every criterion holds.
pub fn run(args: &Args, name: &str) -> Result<(String, bool)> {
    let (title, text, checks) = if name == "e1" {
        let title = "Output change against depth, 1 to 200 sublayers, 30 seeds";
        (title, "8 sentences of 32 random words".to_owned(), output_change(args)?)
    } else {
        let corpus = Corpus::prepare(args, 100)?;
        let (title, checks) = match name {
            "e3a" => ("Dependency on the branches, 18-layer encoder, 5 seeds", dependency(args, &corpus)?),
            _ => ("Gradient norms, 18+18 layers, 3 seeds", gradients(args, &corpus)?),
        };
        (title, format!("a batch of {}", corpus.name()), checks)
    };
    let mut page = format!("## {}: {title}\n\nAt initialisation, on {text}.\n\n", name.to_uppercase());
    for picture in pictures(&args.out(), name)? {
        writeln!(page, "![{title}]({picture})")?;
    }
    writeln!(page, "\n| criterion and measured value | verdict |\n|---|---|")?;
    for check in &checks {
        writeln!(page, "| {} | {} |", check.what, if check.holds { "pass" } else { "**fail**" })?;
    }
    writeln!(page)?;
    Ok((page, checks.iter().all(|check| check.holds)))
}

fn pictures(folder: &Path, name: &str) -> Result<Vec<String>> {
    let names = std::fs::read_dir(folder)?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut found: Vec<String> = names.filter(|file| file.starts_with(name) && file.ends_with(".svg")).collect();
    found.sort();
    Ok(found)
}

/// `omega analyze …`, its JSON kept in the runs folder: what is there is not computed again.
fn analyze(args: &Args, key: &str, picture: Option<&str>, words: &[&str]) -> Result<Value> {
    let json = args.runs.join(format!("{key}.json"));
    let svg = picture.map(|name| args.out().join(name));
    if !json.exists() || svg.as_ref().is_some_and(|svg| !svg.exists()) {
        std::fs::create_dir_all(&args.runs)?;
        let mut omega = Command::new(&args.omega);
        omega.arg("analyze").args(words).arg("--json").arg(&json);
        if let Some(svg) = &svg {
            omega.arg("--svg").arg(svg);
        }
        if !omega.status()?.success() {
            return Err(format!("omega analyze {} failed", words.join(" ")).into());
        }
    }
    Ok(serde_json::from_slice(&std::fs::read(json)?)?)
}

fn output_change(args: &Args) -> Result<Vec<Check>> {
    let value = analyze(args, "e1", Some("e1.svg"), &["depth", "--seeds", "30"])?;
    let at = |scheme: &str, n: u64| {
        let points = value["schemes"][scheme]["points"].as_array();
        points.and_then(|points| points.iter().find(|point| point[0] == n)?[1].as_f64()).unwrap_or(f64::NAN)
    };
    let r2 = |scheme: &str, fit: &str| value["schemes"][scheme][fit]["r2"].as_f64().unwrap_or(f64::NAN);
    let mut checks = Vec::new();
    let schemes = || SCHEMES.into_iter().chain(["admin-analytic"]);
    if let Some(lacking) = schemes().find(|scheme| value["schemes"][scheme].is_null()) {
        let file = args.runs.join("e1.json");
        return Err(format!("{} has no `{lacking}`: another version wrote it; remove it", file.display()).into());
    }
    for scheme in schemes() {
        let (growth, linear, log) = (at(scheme, 200) / at(scheme, 20), r2(scheme, "linear"), r2(scheme, "logarithmic"));
        let post = scheme == "post-ln";
        checks.push(Check {
            what: format!("{scheme}: value(200)/value(20) = {growth:.2}, {}", if post { "> 6" } else { "< 3.5" }),
            holds: if post { growth > 6.0 } else { growth < 3.5 },
        });
        checks.push(Check {
            what: format!(
                "{scheme}: R² of N {linear:.3}, of ln N {log:.3}; {}",
                if post { "N fits better" } else { "ln N fits better, > 0.9" }
            ),
            holds: if post { linear > log } else { log > linear && log > 0.9 },
        });
    }
    let (over, pre) = (at("post-ln", 200) / at("admin", 200), at("admin", 200) / at("pre-ln", 200));
    checks.push(Check { what: format!("Post-LN/Admin at 200 = {over:.1}, > 5"), holds: over > 5.0 });
    checks
        .push(Check { what: format!("Admin/Pre-LN at 200 = {pre:.2}, 0.7 to 1.4"), holds: (0.7..1.4).contains(&pre) });
    Ok(checks)
}

/// `what` for each scheme at width 64 with `layers`, one JSON per seed; of the first a curve is drawn.
fn per_seed(
    args: &Args,
    corpus: &Corpus,
    name: &str,
    what: &str,
    layers: [&str; 2],
    seeds: u64,
    scheme: &str,
) -> Result<Vec<Value>> {
    (1..=seeds)
        .map(|seed| {
            let (bin, shown) = (corpus.bin.to_string_lossy(), seed.to_string());
            #[rustfmt::skip]
            let words = [
                what, &bin, "--residual", scheme, "--seed", &shown, "--max-tokens", "600", "--d-model", "64", "--ffn",
                "256", "--heads", "4", "--encoder-layers", layers[0], "--decoder-layers", layers[1],
            ];
            let picture = (seed == 1 && what == "gradients").then(|| format!("{name}-{scheme}.svg"));
            analyze(args, &format!("{name}-{scheme}-{seed}"), picture.as_deref(), &words)
        })
        .collect()
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Pictures are of the encoder, in the first seed: beside a decoder of one layer it would be too small to read on a page.
fn dependency(args: &Args, corpus: &Corpus) -> Result<Vec<Check>> {
    let mut checks = Vec::new();
    for scheme in SCHEMES {
        let (mut sums, mut thirds) = (Vec::new(), Vec::new());
        for (at, value) in per_seed(args, corpus, "e3a", "dependency", ["18", "1"], 5, scheme)?.iter().enumerate() {
            let rows: Vec<Vec<f64>> = serde_json::from_value(value["encoder"].clone())?;
            if at == 0 {
                let title = format!("{scheme}, 18 layers");
                let svg = plot::triangles(&title, SHARE, Shades::Root, &[("encoder", &rows)]);
                report::write(&args.out().join(format!("e3a-{scheme}.svg")), &svg)?;
            }
            let own: Vec<f64> = rows.iter().skip(1).filter_map(|row| row.last().copied()).collect();
            sums.push(own.iter().sum());
            thirds.push(mean(&own[own.len() * 2 / 3..]));
        }
        let (third, sum, post) = (mean(&thirds), mean(&sums), scheme == "post-ln");
        checks.push(Check {
            what: format!(
                "{scheme}: mean β²ₖₖ of the last third {third:.3}, {}",
                if post { "> 0.20" } else { "< 0.06" }
            ),
            holds: if post { third > 0.20 } else { third < 0.06 },
        });
        checks.push(Check {
            what: format!("{scheme}: Σ β²ₖₖ = {sum:.2}, {}", if post { "> 6" } else { "< 3" }),
            holds: if post { sum > 6.0 } else { sum < 3.0 },
        });
    }
    Ok(checks)
}

fn gradients(args: &Args, corpus: &Corpus) -> Result<Vec<Check>> {
    let mut checks = Vec::new();
    for scheme in SCHEMES {
        let (mut decoder, mut encoder) = (Vec::new(), Vec::new());
        for value in per_seed(args, corpus, "e3b", "gradients", ["18", "18"], 3, scheme)? {
            let rows = value["sublayers"].as_array().ok_or("no rows")?;
            let of = |stack: &str| -> Vec<f64> {
                rows.iter().filter(|row| row["stack"] == stack).filter_map(|row| row["norm"].as_f64()).collect()
            };
            let (e, d) = (of("encoder"), of("decoder"));
            // The decoder's first feed-forward sublayer is its third.
            decoder.push(d.get(2).zip(d.last()).map_or(f64::NAN, |(first, last)| first / last));
            encoder.push(e.first().zip(e.last()).map_or(f64::NAN, |(first, last)| first / last));
        }
        let (rule, holds): (&str, fn(f64) -> bool) = match scheme {
            "post-ln" => ("< 0.12", |r| r < 0.12),
            "pre-ln" => ("> 1", |r| r > 1.0),
            _ => ("> 0.35", |r| r > 0.35),
        };
        let list = |values: &[f64]| values.iter().map(|v| format!("{v:.3}")).collect::<Vec<_>>().join(", ");
        checks.push(Check {
            what: format!("{scheme}: decoder, layer 1 over last: {}; {rule}", list(&decoder)),
            holds: decoder.iter().all(|r| holds(*r)),
        });
        checks.push(Check {
            what: format!("{scheme}: encoder, first over last: {}; > 0.7", list(&encoder)),
            holds: encoder.iter().all(|r| *r > 0.7),
        });
    }
    Ok(checks)
}
