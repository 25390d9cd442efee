//! omega's kernels under memcheck, initcheck, racecheck and synccheck, over several orders of blocks and warps: every
//! op at the shapes of tests/gradcheck, training and translation to the same bits as without, and races planted in
//! copies of the attention kernel, which must be found and named by line.
#![allow(clippy::unwrap_used)] // a panic in a test is its report

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Instant;

use omega::device::kernels::{MODULES, module_of};
use softgpu::{Error, Launch, Memory, Module, Tools, launch_with};

/// Orders of blocks and warps.
const SEEDS: [u64; 3] = [0, 1, 7];

// The ops' own tests, on devices that are watched.
#[path = "gradcheck/attention.rs"]
mod attention;
#[path = "gradcheck/bias_relu_dropout.rs"]
mod bias_relu_dropout;
#[path = "gradcheck/cross_entropy.rs"]
mod cross_entropy;
#[path = "gradcheck/embed.rs"]
mod embed;
#[path = "gradcheck/linear.rs"]
mod linear;
#[path = "gradcheck/loss_scale.rs"]
mod loss_scale;
#[path = "gradcheck/moments.rs"]
mod moments;
#[path = "gradcheck/omega_add_layernorm.rs"]
mod omega_add_layernorm;
#[path = "gradcheck/optimizer.rs"]
mod optimizer;

/// What those tests share, with other devices.
mod common {
    #[path = "mod.rs"]
    #[allow(dead_code)]
    mod shared;
    pub use shared::{
        HALVES, check_close, check_differences, check_half, check_half_within, error_of_maximum, random, rounded, tape,
        to_f32,
    };

    pub fn devices() -> Vec<omega::device::Device> {
        super::SEEDS.map(|seed| omega::device::Device::soft_watched(super::tools(seed))).into()
    }
}

fn tools(seed: u64) -> Tools {
    Tools { seed, ..Tools::checks() }
}

fn omega(threads: &str, args: &[&str], input: Option<&Path>) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_omega"));
    command.env("RAYON_NUM_THREADS", threads);
    let stdin = input.map_or(Stdio::null(), |path| fs::File::open(path).unwrap().into());
    let output = command.args(args).stdin(stdin).output().unwrap();
    assert!(output.status.success(), "{args:?}\n{}", String::from_utf8_lossy(&output.stderr));
    output
}

/// Three updates with every kind of dropout, in every type, validation, and a translation: the same bytes on a watched device,
/// and on one thread.
#[test]
fn training_and_translation_are_clean_and_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let words = ["ein", "Hund", "läuft", "über", "die", "Straße", "und", "bellt", "laut"];
    let line = |k: usize| (0..2 + k % 5).map(|w| words[(k + w) % words.len()]).collect::<Vec<_>>().join(" ") + " .\n";
    for (file, pairs) in [("train.de", 40), ("train.en", 40), ("valid.de", 5), ("valid.en", 5)] {
        fs::write(path(file), (0..pairs).map(line).collect::<String>()).unwrap();
    }
    let (train, valid, data) = (path("train"), path("valid"), path("data"));
    #[rustfmt::skip]
    omega("2", &["prepare", "--source", "de", "--target", "en", "--train", &train, "--valid", &valid, "--vocab-size", "60",
        "--out", &data], None);
    let run = |device: &str, dtype: &[&str], threads: &str| {
        let save = path(&format!("{}{}{threads}", device.replace(':', "-"), dtype.concat()));
        #[rustfmt::skip]
        let flags = ["train", &data, "--save-dir", &save, "--device", device, "--encoder-layers", "1", "--decoder-layers", "1",
            "--d-model", "16", "--heads", "2", "--ffn", "32", "--max-tokens", "64", "--bleu-sentences", "2", "--samples",
            "1", "--max-update", "3", "--dropout", "0.1", "--attention-dropout", "0.1", "--relu-dropout", "0.1",
            "--clip-norm", "1", "--update-freq", "2"];
        omega(threads, &[&flags[..], dtype].concat(), None);
        let valid = path("valid.de");
        let words = [&["translate", &save, "--device", device], dtype].concat();
        let hypotheses = omega(threads, &words, Some(Path::new(&valid)));
        (fs::read(Path::new(&save).join("checkpoint_last.safetensors")).unwrap(), hypotheses.stdout)
    };
    for dtype in [&[][..], &["--fp16"], &["--bf16"]] {
        let plain = run("soft", dtype, "2");
        assert!(!plain.1.is_empty());
        assert!(run("soft", dtype, "1") == plain, "{dtype:?}: other bits on one thread");
        for seed in SEEDS {
            assert!(run(&format!("soft:checked:{seed}"), dtype, "2") == plain, "{dtype:?}, seed {seed}: other bits");
        }
    }
}

/// A launch of attention's forward pass on the software GPU.
struct Attention {
    tokens: usize,
    head: usize,
}

impl Attention {
    fn run(&self, module: &Module, tools: &Tools, memory: &Memory) -> Result<Vec<String>, Error> {
        let Attention { tokens: t, head: d } = *self;
        let floats = |n: usize, seed: u64| -> Vec<u8> {
            (0..n as u64)
                .flat_map(|i| ((((i + seed) * 2_654_435_761) % 1000) as f32 / 500.0 - 1.0).to_le_bytes())
                .collect()
        };
        let alloc = |data: Vec<u8>| {
            let at = memory.alloc(data.len()).unwrap();
            memory.write(at, &data).unwrap();
            at
        };
        let new = |floats: usize| memory.alloc(4 * floats).unwrap();
        let cu = || alloc([0, t as i32].iter().flat_map(|v| v.to_le_bytes()).collect());
        let pointers =
            [new(t * d), new(t), alloc(floats(t * d, 1)), alloc(floats(t * d, 2)), alloc(floats(t * d, 3)), cu(), cu()];
        let (t, d) = (t as i32, d as i32);
        let ints = [t, d, d, d, d, t].map(i32::to_le_bytes);
        let (scale, causal, threshold, keep) = (0.125f32.to_le_bytes(), 1i32.to_le_bytes(), [0; 4], 1f32.to_le_bytes());
        let (seed, site, step) = ([0; 8], [0; 4], [0; 4]);
        let pointers = pointers.map(u64::to_le_bytes);
        let mut args: Vec<&[u8]> = pointers.iter().map(|p| p.as_slice()).collect();
        args.extend(ints.iter().map(|i| i.as_slice()));
        args.extend([&scale, &causal, &threshold, &keep].map(|v| v.as_slice()));
        args.extend([seed.as_slice(), &site, &step]);
        let grid = [(t as u32).div_ceil(32), 1, 1];
        let launch =
            Launch { grid, block: [32, 1, 1], shared_bytes: 128 * d as u32 * 2, args: &args, cooperative: false };
        let report = launch_with(module, "attention_fwd_f32", memory, &launch, tools)?;
        Ok(report.findings.iter().map(ToString::to_string).collect())
    }
}

fn nvcc() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join(".cuda/bin/nvcc");
    std::env::var_os("NVCC").map_or(if own.is_file() { own } else { "nvcc".into() }, PathBuf::from)
}

/// What racecheck says of a copy of kernels/attention.cu in which texts are replaced; and the lines of `marked`.
fn attention_with(edits: &[(&str, &str)], marked: &str) -> (Vec<String>, Vec<usize>) {
    let kernels = Path::new(env!("CARGO_MANIFEST_DIR")).join("kernels");
    // Without the 2-byte kernels, which take nvcc longer than the rest; an empty line keeps the numbers of the others.
    let source = fs::read_to_string(kernels.join("attention.cu")).unwrap();
    let mut source = source.replace("#include \"attention_mma.cuh\"", "");
    for (from, to) in edits {
        assert!(source.contains(from), "attention.cu has no `{from}` any more: choose another place to plant the race");
        source = source.replacen(from, to, 1);
    }
    let folder = tempfile::tempdir().unwrap();
    let (cu, ptx) = (folder.path().join("kernels/attention.cu"), folder.path().join("attention.ptx"));
    fs::create_dir(folder.path().join("kernels")).unwrap();
    fs::write(&cu, &source).unwrap();
    let flags = ["-O3", "-lineinfo", "--std=c++17", "-gencode", "arch=compute_80,code=compute_80", "-ptx", "-I"];
    let made = Command::new(nvcc()).args(flags).arg(kernels).arg("-o").arg(&ptx).arg(&cu).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let module = Module::load(&fs::read_to_string(ptx).unwrap()).unwrap();
    // Where nvcc does not unroll a loop, it may forget what that was inlined into: not at heads of 32.
    let found = Attention { tokens: 70, head: 32 }.run(&module, &tools(0), &Memory::watched()).unwrap();
    (found, (1..).zip(source.lines()).filter(|(_, line)| line.contains(marked)).map(|(n, _)| n).collect())
}

/// Lanes load each other's queries, so that one __syncwarp() is needed; without it the warp races.
#[test]
fn a_barrier_dropped_from_attention_is_missed() {
    const OWN: &str = "    load_own<HEAD>(qt, head_of(q, row, s.stride_q, D), D);\n";
    const SHARED: &str = "    load_own<HEAD>(shared + (lane ^ 1), head_of(q, Q.first + from + min(lane ^ 1, mine - 1), s.stride_q, D), D);
    __syncwarp();  // planted\n";
    let (found, _) = attention_with(&[(OWN, SHARED)], "planted");
    assert!(found.is_empty(), "{}", found.join("\n"));
    let dropped = [(OWN, SHARED), ("__syncwarp();  // planted", "")];
    let (found, lines) = attention_with(&dropped, "min(lane ^ 1, mine - 1)");
    println!("{}", found.join("\n\n"));
    assert!(!found.is_empty());
    for report in found {
        assert!(report.starts_with("racecheck: race between two lanes of a warp (RAW)"), "{report}");
        assert!(report.contains(&format!("kernels/attention.cu:{}\n", lines[0])), "line {}: {report}", lines[0]);
        assert!(report.contains("in `attention_fwd_f32`"), "{report}");
    }
}

/// Two lanes share a column of the tile of queries: what one loads, the other overwrites.
#[test]
fn lanes_that_share_a_column_of_attention_are_found() {
    let (found, _) = attention_with(&[("float4* qt = shared + lane;", "float4* qt = shared + lane / 2;")], "qt");
    println!("{}", found.join("\n\n"));
    assert!(found.iter().any(|report| report.starts_with("racecheck: two lanes write different values")), "{found:?}");
}

/// Time with all checkers over time without, one thread each. Measured beside other work: attention 8.6 to 11.3, LayerNorm
/// 3.1 to 5.1.
#[test]
fn checkers_cost_little() {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    let attention = |tools: &Tools, memory: &Memory| {
        let module = Module::load(MODULES[module_of("attention_fwd_f32").unwrap()].ptx).unwrap();
        let run = || Attention { tokens: 512, head: 64 }.run(&module, tools, memory).unwrap();
        assert!(run().is_empty());
        let start = Instant::now();
        run();
        start.elapsed().as_secs_f64()
    };
    let norm = |tools: &Tools, memory: &Memory| layer_norm(512, 512, tools, memory);
    pool.install(|| {
        for (name, f) in [("attention", &attention as &dyn Fn(&Tools, &Memory) -> f64), ("LayerNorm", &norm)] {
            // The other tests run beside this one: both least times need a quiet moment, so they are taken by turns.
            let (mut off, mut on) = (f64::MAX, f64::MAX);
            for round in 0..12 {
                off = off.min(f(&Tools::default(), &Memory::new()));
                on = on.min(f(&tools(0), &Memory::watched()));
                if round >= 2 && on < 12.0 * off {
                    break;
                }
            }
            println!("{name}: {:.1} ms, with all checkers {:.1} ms, {:.1} times", off * 1e3, on * 1e3, on / off);
            assert!(on < 12.0 * off, "{name}: checkers cost {:.1} times", on / off);
        }
    });
}

/// Seconds of the second of two forward passes of rows x columns.
fn layer_norm(rows: usize, columns: usize, tools: &Tools, memory: &Memory) -> f64 {
    let module = Module::load(MODULES[module_of("omega_add_layernorm_fwd_f32").unwrap()].ptx).unwrap();
    let new = |floats: usize| memory.alloc(4 * floats).unwrap();
    let filled = |floats: usize| {
        let at = new(floats);
        let data: Vec<u8> = (0..floats).flat_map(|i| ((i % 97) as f32 / 97.0).to_le_bytes()).collect();
        memory.write(at, &data).unwrap();
        at
    };
    let (n, c) = (rows, columns);
    // y h mu r keep x f b omega alpha gamma beta
    let pointers =
        [new(n * c), 0, new(n), new(n), 0, filled(n * c), filled(n * c), filled(c), filled(c), 0, filled(c), filled(c)];
    let pointers = pointers.map(u64::to_le_bytes);
    let (packs, per_block) = (4, 16); // a warp has 512 columns in four accesses, a block 16 of them
    let sizes = [n as i32, c as i32, packs, per_block].map(i32::to_le_bytes);
    let (eps, keep) = (1e-5f32.to_le_bytes(), 1f32.to_le_bytes());
    let mut args: Vec<&[u8]> = pointers.iter().map(|p| p.as_slice()).collect();
    args.extend(sizes.iter().map(|s| s.as_slice()));
    args.extend([eps.as_slice(), &[0; 4], &keep, &[0; 8], &[0; 4], &[0; 4]]);
    let grid = [n.div_ceil(per_block as usize) as u32, 1, 1];
    let launch =
        Launch { grid, block: [32, 1, per_block as u32], shared_bytes: 16 * 512, args: &args, cooperative: false };
    let mut seconds = 0.0;
    for _ in 0..2 {
        let start = Instant::now();
        let report = launch_with(&module, "omega_add_layernorm_fwd_f32", memory, &launch, tools).unwrap();
        seconds = start.elapsed().as_secs_f64();
        assert!(report.findings.is_empty(), "{}", report.findings[0]);
    }
    seconds
}
