//! `omega analyze`: numbers as JSON, pictures as SVG, of a model at initialisation and of a run.

use std::fs;

use serde_json::Value;

use super::{Workplace, omega, succeed, text};

const SMALL: [&str; 8] = ["--device", "soft", "--d-model", "16", "--heads", "2", "--ffn", "32"];

fn analyze(args: &[&str]) -> Value {
    let output = succeed(&mut omega(&[&["analyze"], args].concat()));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn a_model_at_initialisation_and_a_run_are_analysed() {
    let place = Workplace::prepared();
    let shown = |name: &str| place.path(name).to_string_lossy().into_owned();
    let (data, run, svg) = (shown("data"), shown("run"), shown("picture.svg"));
    succeed(&mut place.train("run", &["--max-update", "3", "--samples", "0"]));
    let at = |what: &str, subject: &str, more: &[&str]| {
        let flags: &[&str] = if subject == data { &SMALL } else { &SMALL[..2] };
        let value = analyze(&[&[what, subject, "--svg", &svg], flags, more].concat());
        let picture = fs::read_to_string(&svg).unwrap();
        assert!(picture.starts_with("<svg") && picture.trim_end().ends_with("</svg>"), "{what}: {picture}");
        fs::remove_file(&svg).unwrap();
        value
    };
    for subject in [&data, &run] {
        // What a subject is and how it is looked at do not depend on each other.
        for original in if *subject == data { vec![&[][..], &["--original"]] } else { vec![&[][..]] } {
            let rows = at("dependency", subject, original)["encoder"].as_array().unwrap().clone();
            assert!(rows.iter().enumerate().all(|(k, row)| row.as_array().unwrap().len() == k + 1), "a triangle");
            for signs in [&[][..], &["--gradient-as-delta"]] {
                let change = at("stability", subject, &[original, signs].concat());
                assert!(change["decoder"]["output"].as_f64().unwrap() > 0.0, "{change}");
                let delta = if signs.is_empty() { "0.0001" } else { "1e-6" };
                assert_eq!(change["delta"].to_string(), delta, "as it is documented");
            }
        }
        let gradients = at("gradients", subject, &["--residual", "admin"]);
        assert!(gradients["summed_loss"].as_f64().unwrap() > 0.0, "of which a loss is said: {gradients}");
        assert!(gradients["sublayers"].as_array().unwrap().iter().all(|s| s["norm"].as_f64().unwrap() > 0.0));
    }
    let value = analyze(&["omega", &run, "--svg", &svg]);
    let first = &value["sublayers"][0];
    assert_eq!((first["initial"].as_f64(), first["channels"].as_array().unwrap().len()), (Some(1.0), 16), "{first}");
    let picture = fs::read_to_string(&svg).unwrap();
    assert!(picture.contains("change of ω") && picture.contains(">each channel</text>"), "{picture}");
    assert_eq!(picture.matches("<title>sublayer ").count(), 2 * (2 + 3), "as it is and as it changed: {picture}");
    let picture = place.path("a/missing/folder.svg").to_string_lossy().into_owned();
    let output = omega(&["analyze", "depth", "--device", "soft", "--svg", &picture]).output().unwrap();
    assert!(!output.status.success() && text(&output.stderr).contains("folder.svg"), "before minutes of work");
    // To a file, nothing on stdout; the same command gives the same bytes.
    let json = [shown("a.json"), shown("b.json")];
    for file in &json {
        let args = ["analyze", "depth", "--max-sublayers", "4", "--seeds", "2", "--device", "soft", "--json", file];
        assert!(succeed(&mut omega(&args)).stdout.is_empty());
    }
    assert_eq!(fs::read(&json[0]).unwrap(), fs::read(&json[1]).unwrap());
}

/// What `omega average` writes is a file among others of its run.
#[test]
fn a_file_of_a_run_is_analysed_as_the_run_is() {
    let place = Workplace::prepared();
    let shown = |name: &str| place.path(name).to_string_lossy().into_owned();
    succeed(&mut place.train("run", &["--max-update", "2", "--samples", "0"]));
    let (run, best) = (shown("run"), shown("run/checkpoint_best.safetensors"));
    for what in ["dependency", "omega"] {
        let device: &[&str] = if what == "omega" { &[] } else { &SMALL[..2] };
        let of = |subject: &str, more: &[&str]| analyze(&[&[what, subject], device, more].concat());
        assert_eq!(of(&run, &[]), of(&best, &["--json", "-"]), "{what}");
    }
    assert!(!std::path::Path::new("-").exists(), "`-` is stdout");
    let plain = shown("plain");
    succeed(&mut omega(&["export", &run, "--to", "plain", "--out", &plain]));
    for subject in [&plain, &shown("plain/checkpoint_best.safetensors")] {
        let output = omega(&["analyze", "gradients", subject, "--device", "soft"]).output().unwrap();
        let said = text(&output.stderr);
        assert!(
            said.contains("plain/config.toml, which says what text")
                && said.contains("analyse the run that it was made of"),
            "{said}"
        );
    }
}

#[test]
fn medians_of_even_counts_lie_in_the_middle() {
    let place = Workplace::prepared();
    let run = place.path("run").to_string_lossy().into_owned();
    succeed(&mut place.train("run", &["--max-update", "3", "--samples", "0", "--lr", "0.01"]));
    let value = analyze(&["omega", &run]);
    for sublayer in value["sublayers"].as_array().unwrap() {
        let channels = sublayer["channels"].as_array().unwrap().iter().map(|w| w.as_f64().unwrap());
        let mut channels: Vec<f64> = channels.map(|w| f64::from(w as f32)).collect();
        channels.sort_by(f64::total_cmp);
        let middle = (channels[7] + channels[8]) / 2.0;
        assert!((sublayer["median"].as_f64().unwrap() - middle).abs() < 1e-9, "{sublayer}");
    }
}

#[test]
fn what_cannot_be_analysed_is_said_in_a_line() {
    let place = Workplace::prepared();
    let shown = |name: &str| place.path(name).to_string_lossy().into_owned();
    succeed(&mut place.train("plain", &["--max-update", "1", "--residual", "post-ln", "--samples", "0"]));
    let cases: [(&[&str], &str); 4] = [
        (&["omega", &shown("plain")], "a model without ω (post-ln)"),
        (&["omega", &shown("nowhere")], "nowhere"),
        (&["dependency", &shown("nowhere"), "--device", "soft"], "nowhere"),
        (&["depth", "--schemes", "mid-ln", "--device", "soft"], "no scheme `mid-ln`"),
    ];
    for (args, expected) in cases {
        let output = omega(&[&["analyze"], args].concat()).output().unwrap();
        let said = text(&output.stderr);
        assert!(!output.status.success() && said.contains(expected) && output.stdout.is_empty(), "{args:?}: {said}");
    }
}
