//! One experiment as a page: table, verdict on each criterion, and the curves as SVG.

use std::fmt::Write;
use std::path::Path;

use plotters::prelude::*;

use crate::Result;
use crate::corpus::Corpus;
use crate::training::{Experiment, Outcome, Side};

pub struct Page {
    pub markdown: String,
    pub svg: String,
    pub passed: bool,
}

/// The whole file or none of it.
pub fn write(path: &Path, text: &str) -> Result<()> {
    Ok(omega::files::write_whole(path, text.as_bytes())?)
}

pub fn page(e: &Experiment, corpus: &Corpus, outcomes: &[Outcome]) -> Result<Page> {
    let text = if corpus.multi30k { "Multi30k German–English" } else { "the demo corpus" };
    let mut out = format!(
        "## {}: {}\n\n{text}, vocabulary 4,000; width 64, ffn 256, 4 heads; {}, learning rate {}, {} updates of at most {} \
         tokens.\nLabel-smoothed loss of {} validation pairs, nats per token. The best constant predictor has {:.3}.\n\n\
         ![{}]({}.svg)\n\n",
        e.name.to_uppercase(),
        e.title,
        e.optimizer,
        e.lr,
        e.updates,
        e.max_tokens,
        e.valid_pairs,
        corpus.constant,
        e.title,
        e.name,
    );
    writeln!(out, "| scheme | loss, seeds {} | criterion | verdict |\n|---|---|---|---|", list(e.seeds.iter()))?;
    let mut passed = true;
    for rule in e.rules {
        let losses: Vec<f64> = outcomes.iter().filter(|o| o.scheme == rule.scheme).map(Outcome::last).collect();
        let bound = rule.bound(corpus);
        // NaN fails either way.
        let holds = losses.iter().all(|loss| if rule.side == Side::Above { *loss > bound } else { *loss < bound });
        passed &= holds;
        let (side, verdict) =
            (if rule.side == Side::Above { '>' } else { '<' }, if holds { "pass" } else { "**fail**" });
        let losses = list(losses.iter().map(|loss| format!("{loss:.3}")));
        writeln!(out, "| {} | {losses} | all {side} {bound:.3} | {verdict} |", rule.scheme)?;
    }
    writeln!(out)?;
    Ok(Page { markdown: out, svg: curves(e, corpus, outcomes)?, passed })
}

fn list<T: ToString>(items: impl Iterator<Item = T>) -> String {
    items.map(|item| item.to_string()).collect::<Vec<_>>().join(", ")
}

/// Colours that stay apart for colour-blind readers (Okabe and Ito 2008).
fn colour(scheme: &str) -> RGBColor {
    match scheme {
        "post-ln" => RGBColor(213, 94, 0),
        "pre-ln" => RGBColor(86, 180, 233),
        _ => RGBColor(0, 114, 178),
    }
}

/// Validation loss against updates, one line per run.
fn curves(e: &Experiment, corpus: &Corpus, outcomes: &[Outcome]) -> Result<String> {
    let losses = || outcomes.iter().flat_map(|o| &o.curve).map(|(_, loss)| *loss);
    let low = losses().fold(corpus.constant, f64::min) - 0.15;
    let high = losses().fold(corpus.constant, f64::max).min(corpus.constant + 1.5) + 0.1;
    let first = outcomes.iter().filter_map(|o| o.curve.first()).map(|(update, _)| *update).min().unwrap_or(0);
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, (640, 400)).into_drawing_area();
        root.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&root)
            .caption(e.title, ("sans-serif", 18))
            .margin(12)
            .x_label_area_size(40)
            .y_label_area_size(52)
            .build_cartesian_2d(first as f64..e.updates as f64, low..high)?;
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(BLACK.mix(0.1))
            .x_desc("updates")
            .y_desc("validation loss [nats per token]")
            .x_label_formatter(&|x| format!("{x:.0}"))
            .y_label_formatter(&|y| format!("{y:.1}"))
            .label_style(("sans-serif", 13))
            .draw()?;
        let level = [(first as f64, corpus.constant), (e.updates as f64, corpus.constant)];
        chart
            .draw_series(DashedLineSeries::new(level, 6, 4, BLACK.mix(0.6).stroke_width(1)))?
            .label("best constant predictor")
            .legend(|(x, y)| PathElement::new([(x, y), (x + 18, y)], BLACK.mix(0.6)));
        for rule in e.rules {
            let style = colour(rule.scheme).stroke_width(2);
            for (i, run) in outcomes.iter().filter(|o| o.scheme == rule.scheme).enumerate() {
                let points = run.curve.iter().map(|(update, loss)| (*update as f64, loss.min(high)));
                let series = chart.draw_series(LineSeries::new(points, style))?;
                if i == 0 {
                    series.label(rule.scheme).legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], style));
                }
            }
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperRight)
            .background_style(WHITE.mix(0.85))
            .border_style(BLACK.mix(0.2))
            .label_font(("sans-serif", 13))
            .draw()?;
        root.present()?;
    }
    Ok(svg)
}
