use std::path::Path;

use omega::config::LrScheduler;
use omega::optim::schedule::Schedule;
use serde_json::Value;

fn schedule(scheduler: &str, args: &Value) -> Schedule {
    let number = |name: &str, default: f64| args[name].as_f64().unwrap_or(default);
    let kind = match scheduler {
        "InverseSquareRootSchedule" => LrScheduler::InverseSqrt,
        "LinearSchedule" => LrScheduler::Linear,
        "PolySchedule" => LrScheduler::Poly,
        other => panic!("unknown schedule {other}"),
    };
    Schedule {
        kind,
        lr: args["lr"][0].as_f64().unwrap(),
        warmup_updates: number("warmup_updates", 0.0) as u64,
        warmup_init_lr: number("warmup_init_lr", -1.0),
        min_lr: number("min_lr", 0.0),
        power: number("poly_pow", 1.0),
        max_update: number("max_update", 0.0) as u64,
    }
}

fn check(path: &Path) -> usize {
    let all: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let mut rows = 0;
    for case in all.as_array().unwrap() {
        let schedule = schedule(case["scheduler"].as_str().unwrap(), &case["args"]);
        for row in case["rows"].as_array().unwrap() {
            let (u, want) = (row[0].as_u64().unwrap(), row[1].as_f64().unwrap());
            let got = schedule.rate(u);
            assert!(
                (got - want).abs() <= 1e-12 * want.abs(),
                "{} at {u}: got {got:e}, expected {want:e}",
                case["name"]
            );
            rows += 1;
        }
    }
    rows
}

#[test]
fn learning_rates_are_the_originals() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    for root in std::env::var_os("OMEGA_FIXTURES").map(Into::into).into_iter().chain([here]) {
        let path = root.join("lr/lr_schedules.json");
        if path.is_file() {
            assert!(check(&path) > 100, "{}: hardly any rows", path.display());
        }
    }
}
