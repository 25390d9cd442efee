//! `omega analyze`: from arguments to a model and its batch, and from numbers to JSON and SVG.

use std::io::{IsTerminal, stdout};
use std::path::Path;

use serde_json::{Value, json};

use super::depth::{self, Scheme};
use super::stability::{Change, GRADIENT, RANDOM};
use super::{dependency, gradients, stability};
use crate::checkpoint::{Checkpoint, expect_no_part_of_a_run};
use crate::cli::analyze::{
    Analysis, AnalyzeArgs, DependencyArgs, DepthArgs, ModelArgs, OmegaArgs, OutputArgs, StabilityArgs,
};
use crate::config::{Residual, TrainFlags};
use crate::device::{Allocation, Device};
use crate::error::{Error, Result};
use crate::files::{expect_picture, expect_writable, print, write_whole};
use crate::model::admin::{Omegas, omega_name};
use crate::model::probe::Probe;
use crate::model::{Model, PackedBatch, Stack};
use crate::numbers::median;
use crate::plot::{self, Look, Series, Shades, Strips};
use crate::rng::RngState;
use crate::terminal::{Progress, say};
use crate::train::setup::{Prepared, resolve, settings_of};

const STACKS: [Stack; 2] = [Stack::Encoder, Stack::Decoder];

/// Runs the command.
pub fn analyze(args: &AnalyzeArgs) -> Result<()> {
    let output = args.what.output();
    if let Some(path) = output.json.as_deref().filter(|_| !output.json_to_stdout()) {
        expect_no_part_of_a_run("json", path)?;
        expect_writable(path)?;
    }
    output.svg.as_deref().map_or(Ok(()), |path| expect_picture("svg", path))?;
    match &args.what {
        Analysis::Dependency(args) => dependency(args),
        Analysis::Gradients(args) => gradients(args),
        Analysis::Stability(args) => stability(args),
        Analysis::Depth(args) => depth(args),
        Analysis::Omega(args) => omega(args),
    }
}

/// What is looked at: a model, and a batch of its training text.
struct Subject {
    model: Model,
    batch: PackedBatch,
    smoothing: f32,
    /// For titles.
    name: String,
}

impl Subject {
    fn open(args: &ModelArgs) -> Result<Subject> {
        let given = TrainFlags {
            arch: args.arch,
            encoder_layers: args.encoder_layers,
            decoder_layers: args.decoder_layers,
            d_model: args.d_model,
            ffn: args.ffn,
            heads: args.heads,
            residual: args.residual,
            omega: args.omega.clone(),
            max_tokens: args.max_tokens,
            seed: args.seed,
            device: args.device.clone(),
            ..TrainFlags::default()
        };
        let flags = TrainFlags {
            // Measured in f32, without what only training needs.
            fp16: Some(false),
            bf16: Some(false),
            recompute: Some(false),
            ..given.clone()
        };
        let folder = folder_of(&args.subject);
        let own = folder.join("config.toml");
        let is_run = own.exists();
        if !is_run && Checkpoint::find(&args.subject).is_ok_and(|path| path.is_file()) {
            let message =
                format!("{}: no {}, which says what text the model reads", args.subject.display(), own.display());
            return Err(Error::data(message).hint(
                "a checkpoint is analysed in the folder of its run, into which it can be copied; of an exported or imported \
                 model, analyse the run that it was made of",
            ));
        }
        if is_run && (args.config.is_some() || args.omega.is_some()) {
            let flag = if args.config.is_some() { "--config" } else { "--omega" };
            let message = format!("{flag}: {} is a run, with settings and ω of its own", folder.display());
            return Err(
                Error::usage(message).hint(format!("leave out {flag}; with a data-bin folder it has a meaning"))
            );
        }
        let config = if is_run {
            resolve(None, None, &flags, settings_of(folder, None)?)?
        } else {
            resolve(Some(&args.subject), args.config.as_deref(), &flags, None)?
        };
        let prepared = Prepared::open(config)?;
        let dev = Device::open(prepared.config.device)?;
        let (model, state) = if is_run {
            let path = Checkpoint::find(&args.subject)?;
            let checkpoint = Checkpoint::open(&path)?;
            checkpoint
                .expect_model(&prepared.model)
                .map_err(|error| error.hint(checkpoint.instead_of_shape(&prepared.model, &given)))?;
            checkpoint.expect_text(&prepared.data.path, &prepared.data.dictionary)?;
            let model = prepared.model(&dev)?;
            checkpoint.restore(&model, None)?;
            (model, format!("after {} updates", checkpoint.state.update))
        } else {
            (prepared.initialise(&dev)?.0, "at initialisation".to_owned())
        };
        let batch = prepared.pack(&dev, prepared.batches.order(1)[0])?;
        let [encoder, decoder] = [prepared.config.encoder_layers, prepared.config.decoder_layers];
        let name = format!("{}, {encoder}+{decoder} layers, {state}", prepared.config.residual.name());
        Ok(Subject { model, batch, smoothing: prepared.config.label_smoothing, name })
    }
}

/// The folder that `subject` is, or of the checkpoint that it is.
fn folder_of(subject: &Path) -> &Path {
    match subject.parent() {
        Some(parent) if subject.is_file() => parent,
        _ => subject,
    }
}

fn dependency(args: &DependencyArgs) -> Result<()> {
    let subject = Subject::open(&args.model)?;
    let (model, mut probe) = (&subject.model, Probe::shown("forward", &subject.model.config));
    model.probe(&mut model.tape(RngState::default(), false), &subject.batch, &mut probe)?;
    let of = |stack| match args.original {
        true => dependency::original(model, &probe, stack),
        false => dependency::shares(model, &probe, stack),
    };
    let [encoder, decoder] = [of(Stack::Encoder)?, of(Stack::Decoder)?];
    let statistic =
        if args.original { "standard deviation of component j" } else { "β², component j's share of the variance" };
    let value = json!({ "model": subject.name, "statistic": statistic, "encoder": encoder, "decoder": decoder });
    let own = |stack: Stack, rows: &[Vec<f64>]| -> Series {
        let own: Vec<f64> = rows.iter().skip(1).filter_map(|row| row.last().copied()).collect();
        Series::numbered(&format!("{}, own branch", stack.name()), look(stack), &own)
    };
    let summary = [own(Stack::Encoder, &encoder), own(Stack::Decoder, &decoder)];
    let (short, shades) = match args.original {
        true => ("standard deviation", Shades::Linear),
        false => (dependency::SHARE, Shades::Root),
    };
    put(&args.model.output, &value, [&subject.name, short], &summary, || {
        Ok(plot::triangles(&subject.name, short, shades, &[("encoder", &encoder), ("decoder", &decoder)]))
    })
}

fn gradients(args: &ModelArgs) -> Result<()> {
    let subject = Subject::open(args)?;
    let (loss, norms) = gradients::norms(&subject.model, &subject.batch, subject.smoothing)?;
    let rows: Vec<Value> = norms
        .iter()
        .map(|n| json!({ "stack": n.stack.name(), "layer": n.layer, "part": n.part.name(), "norm": n.norm }))
        .collect();
    let value = json!({ "model": subject.name, "summed_loss": loss, "sublayers": rows });
    let series = STACKS.map(|stack| {
        let of: Vec<f64> = norms.iter().filter(|n| n.stack == stack).map(|n| n.norm).collect();
        Series::numbered(stack.name(), look(stack), &of)
    });
    let means = "gradient norm (summed loss)";
    put(&args.output, &value, [&subject.name, means], &series, || {
        plot::lines(&subject.name, ["sublayer", means], &series, true)
    })
}

fn stability(args: &StabilityArgs) -> Result<()> {
    let subject = Subject::open(&args.model)?;
    let (model, batch, original) = (&subject.model, &subject.batch, args.original);
    let Change { rows, last } = if args.gradient_as_delta {
        stability::along_gradient(model, batch, subject.smoothing, original)?
    } else {
        stability::change(model, batch, RANDOM, &stability::random(args.model.seed.unwrap_or(1)), original)?
    };
    let of = |from: &[(Stack, f64)], stack| -> Vec<f64> {
        from.iter().filter(|(of, _)| *of == stack).map(|(_, change)| *change).collect()
    };
    let delta = if args.gradient_as_delta { GRADIENT } else { RANDOM };
    let by_stack = |stack: Stack| json!({ "sublayers": of(&rows, stack), "output": of(&last, stack).first() });
    let statistic = if original { "norm of the change" } else { "mean of |Δx|²/d over tokens" };
    let value = json!({
        "model": subject.name, "delta": delta, "signs": if args.gradient_as_delta { "gradient" } else { "random" },
        "statistic": statistic, "encoder": by_stack(Stack::Encoder), "decoder": by_stack(Stack::Decoder),
    });
    let series = STACKS.map(|stack| Series::numbered(stack.name(), look(stack), &of(&rows, stack)));
    put(&args.model.output, &value, [&subject.name, statistic], &series, || {
        plot::lines(&subject.name, ["sublayer", statistic], &series, true)
    })
}

fn depth(args: &DepthArgs) -> Result<()> {
    let named = |name: &String| {
        let found = Scheme::ALL.into_iter().find(|scheme| scheme.name() == name);
        found.ok_or_else(|| {
            Error::usage(format!("--schemes: no scheme `{name}`")).hint("post-ln, pre-ln, admin or admin-analytic")
        })
    };
    let schemes = args.schemes.iter().map(named).collect::<Result<Vec<_>>>()?;
    // Two sublayers are a layer.
    let max = args.max_sublayers.next_multiple_of(2) as usize;
    let dev = Device::open(args.device)?;
    let total = schemes.len() as u64 * args.seeds;
    let (mut progress, mut done) = (Progress::new("depth", Some(total)), 0);
    let mut measured = Vec::new();
    for scheme in schemes {
        let mut all = Vec::new();
        for seed in 1..=args.seeds {
            all.push(depth::values(&dev, scheme, max, seed)?);
            done += 1;
            progress.show(done, &format!("{done} of {total} stacks"));
        }
        measured.push((scheme, depth::geometric_mean(&all)));
    }
    drop(progress);
    let entry = |(scheme, points): &(Scheme, Vec<(usize, f64)>)| {
        let [linear, logarithmic] =
            depth::fits(points).map(|fit| json!({ "slope": fit.slope, "intercept": fit.intercept, "r2": fit.r2 }));
        (scheme.name().to_owned(), json!({ "points": points, "linear": linear, "logarithmic": logarithmic }))
    };
    let table: serde_json::Map<_, _> = measured.iter().map(entry).collect();
    let value = json!({ "seeds": args.seeds, "mean": "geometric", "statistic": "|ΔF|²/d", "schemes": table });
    let (title, means) = ("Output change of an encoder stack", "|F(x, W) − F(x, W + δ)|² / d");
    let curves = depth::curves(&measured);
    // The fits say nothing new in a summary.
    put(&args.output, &value, [title, means], &curves[..measured.len()], || {
        plot::lines(title, ["sublayers N", means], &curves, true)
    })
}

fn omega(args: &OmegaArgs) -> Result<()> {
    let checkpoint = Checkpoint::open(&Checkpoint::find(&args.run)?)?;
    let config = checkpoint.state.model.clone();
    if config.residual != Residual::Admin {
        return Err(Error::usage(format!("{}: a model without ω ({})", args.run.display(), config.residual.name())));
    }
    let model = Model::new(&Device::soft(Allocation::Arena), config)?;
    checkpoint.restore(&model, None)?;
    let file = folder_of(&args.run).join("profile.ratio.init");
    let initial = if file.exists() { Some(Omegas::load(&file, &model.config)?) } else { None };
    let (mut rows, mut series, mut strips) = (Vec::new(), Vec::new(), Vec::new());
    for stack in STACKS {
        let (mut start, mut middle, mut all) = (Vec::new(), Vec::new(), Vec::new());
        for (index, part) in (0..model.config.sublayers(stack)).zip(stack.sublayers().iter().cycle()) {
            let channels = model.params.read(&omega_name(stack, index))?;
            let mut sorted: Vec<f64> = channels.iter().map(|w| f64::from(*w)).collect();
            sorted.sort_by(f64::total_cmp);
            middle.push(median(&sorted));
            start.extend(initial.as_ref().map(|omegas| f64::from(omegas.stack(stack)[index])));
            rows.push(json!({
                "stack": stack.name(), "layer": index / stack.sublayers().len(), "part": part.name(), "initial": start.last(),
                "min": sorted.first(), "median": middle.last(), "max": sorted.last(), "channels": channels,
            }));
            all.push(sorted);
        }
        let named = |when| format!("{}, {when}", stack.name());
        series.push(Series::numbered(&named("initial"), look(stack), &start));
        series.push(Series::numbered(&named("learnt"), look(stack), &middle));
        strips.push(Strips { name: stack.name(), look: look(stack), initial: start, channels: all, medians: middle });
    }
    let title = format!("ω after {} updates", checkpoint.state.update);
    let value = json!({ "update": checkpoint.state.update, "sublayers": rows });
    put(&args.output, &value, [&title, "median over the channels"], &series, || Ok(plot::strips(&title, "ω", &strips)))
}

/// By which the stacks are told apart.
fn look(stack: Stack) -> Look {
    Look::nth(if stack == Stack::Encoder { 2 } else { 0 })
}

/// Numbers to `--json` or stdout, then the picture to `--svg`. Who looks at a terminal and wants a picture is not shown every
/// number, but a summary.
fn put(
    output: &OutputArgs,
    value: &Value,
    [title, means]: [&str; 2],
    series: &[Series],
    draw: impl FnOnce() -> Result<String>,
) -> Result<()> {
    let text = format!("{value:#}\n");
    match (&output.json, &output.svg) {
        (Some(_), _) if output.json_to_stdout() => print(&text).map(drop)?,
        (Some(path), _) => write_whole(path, text.as_bytes())?,
        (None, Some(_)) if stdout().is_terminal() => print(&summary(title, means, series)).map(drop)?,
        (None, _) => print(&text).map(drop)?,
    }
    let Some(path) = &output.svg else { return Ok(()) };
    write_whole(path, draw()?.as_bytes())?;
    if output.json.is_none() && stdout().is_terminal() {
        say(format!("picture in {}; --json FILE keeps every number", path.display()));
    }
    Ok(())
}

/// Both ends and the extremes of every curve.
fn summary(title: &str, means: &str, series: &[Series]) -> String {
    let row = |name: &str, cells: [String; 4]| {
        let cells: String = cells.iter().map(|cell| format!("{cell:>13}")).collect();
        format!("{name:<20}{cells}\n")
    };
    let mut text = format!("{title}\n{means}\n");
    text += &row("", ["first", "last", "least", "greatest"].map(str::to_owned));
    for one in series {
        let values: Vec<f64> = one.curves.iter().flatten().map(|(_, y)| *y).collect();
        let (Some(first), Some(last)) = (values.first(), values.last()) else { continue };
        let (least, greatest) = values.iter().fold((*first, *first), |(low, high), v| (low.min(*v), high.max(*v)));
        text += &row(&one.name, [*first, *last, least, greatest].map(plot::number));
    }
    text
}
