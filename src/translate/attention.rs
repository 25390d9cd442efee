//! Where the decoder looked: the probabilities of its attention to the source, and their picture.

use std::fmt::Write;

use crate::device::Device;
use crate::error::{Error, Result};
use crate::model::probe::Probe;
use crate::model::{Model, PackedBatch, Part, Stack};
use crate::reference::attention::Shape;
use crate::reference::linear;
use crate::rng::RngState;

/// Mean over the heads of decoder layer `layer`'s attention to the encoder, row-major [target tokens, source tokens]; both
/// end with the end symbol, and row t is what token t was chosen with. The kernel keeps no probabilities: queries and keys
/// are computed on the host, in f64, from what the device's forward pass gave.
pub fn cross_attention(dev: &Device, model: &Model, source: &[u32], target: &[u32], layer: usize) -> Result<Vec<f64>> {
    let batch = PackedBatch::new(dev, &[(source, target)], model.config.max_positions)?;
    let (mut tape, mut probe) = (model.tape(RngState::default(), false), Probe::default());
    let output = model.probe(&mut tape, &batch, &mut probe)?;
    let seen = probe
        .of(Stack::Decoder)
        .find(|seen| seen.layer == layer && seen.part == Part::CrossAttention)
        .ok_or_else(|| Error::data(format!("the decoder has no layer {}", layer + 1)))?;
    let wide = |values: Vec<f32>| values.into_iter().map(f64::from).collect::<Vec<f64>>();
    let (x, memory) = (wide(dev.read_wide(&seen.input)?), wide(dev.read_wide(tape.value(output.encoder))?));
    let at = format!("{}.encoder_attn.in_proj", Stack::Decoder.layer(layer));
    let (w, b) = (wide(model.params.read(&format!("{at}_weight"))?), wide(model.params.read(&format!("{at}_bias"))?));
    let d = model.config.d_model;
    let q = linear::forward(&x, &w[..d * d], &b[..d], d);
    let k = linear::forward(&memory, &w[d * d..2 * d * d], &b[d..2 * d], d);
    let shape = Shape {
        cu_q: &[0, target.len()],
        cu_k: &[0, source.len()],
        heads: model.config.heads,
        width: d,
        causal: false,
        factor: &|_, _, _| 1.0,
        round: &|p| p,
    };
    Ok(shape.mean_probabilities(&q, &k))
}

/// Side of a cell, and width of a letter on average [px].
const CELL: usize = 22;
const LETTER: usize = 8;
const MARGIN: usize = 12;

/// The picture of `p` [targets, sources]: source across, target down, the darker the more.
pub fn heat_map(sources: &[&str], targets: &[&str], p: &[f64]) -> String {
    let widest = |names: &[&str]| names.iter().map(|name| name.chars().map(columns).sum()).max().unwrap_or(0) * LETTER;
    let (left, top) = (MARGIN + widest(targets) + 6, MARGIN + widest(sources) + 6);
    let (width, height) = (left + sources.len() * CELL + MARGIN, top + targets.len() * CELL + MARGIN);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" \
         font-family=\"sans-serif\" font-size=\"13\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    for (column, name) in sources.iter().enumerate() {
        let (x, y) = (left + column * CELL + CELL / 2 + 5, top - 6);
        let _ = writeln!(svg, "<text transform=\"translate({x} {y}) rotate(-90)\">{}</text>", escaped(name));
    }
    for (row, name) in targets.iter().enumerate() {
        let (x, y) = (left - 6, top + row * CELL + CELL / 2 + 5);
        let _ = writeln!(svg, "<text x=\"{x}\" y=\"{y}\" text-anchor=\"end\">{}</text>", escaped(name));
        for (column, p) in p[row * sources.len()..(row + 1) * sources.len()].iter().enumerate() {
            // From white to a dark blue, so that grey prints keep the order.
            let shade = |from: f64, to: f64| (from + (to - from) * p.clamp(0.0, 1.0)).round() as u8;
            let (x, y) = (left + column * CELL, top + row * CELL);
            let (r, g, b) = (shade(255.0, 8.0), shade(255.0, 48.0), shade(255.0, 107.0));
            let (from, to) = (escaped(sources[column]), escaped(name));
            let _ = writeln!(
                svg,
                "<rect x=\"{x}\" y=\"{y}\" width=\"{CELL}\" height=\"{CELL}\" fill=\"rgb({r},{g},{b})\" stroke=\"#ddd\">\
                 <title>{to} to {from}: {p:.3}</title></rect>"
            );
        }
    }
    svg + "</svg>\n"
}

/// Chinese, Japanese and Korean letters are twice as wide.
fn columns(letter: char) -> usize {
    if ('\u{1100}'..='\u{115f}').contains(&letter) || ('\u{2e80}'..='\u{ffdc}').contains(&letter) { 2 } else { 1 }
}

/// Text of an XML element; control characters, which XML forbids, as a box.
fn escaped(text: &str) -> String {
    let letter = |c: char| match c {
        '&' => "&amp;".to_owned(),
        '<' => "&lt;".to_owned(),
        '>' => "&gt;".to_owned(),
        '"' => "&quot;".to_owned(),
        c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => "\u{25a1}".to_owned(),
        c => c.to_string(),
    };
    text.chars().map(letter).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_has_every_token_and_no_loose_markup() {
        let svg = heat_map(&["▁<b>&", "日本", "\u{1}"], &["</s>"], &[0.0, 1.0, 0.5]);
        assert!(svg.contains("▁&lt;b&gt;&amp;</text>") && svg.contains("日本") && svg.contains("\u{25a1}"));
        assert!(svg.contains("rgb(255,255,255)") && svg.contains("rgb(8,48,107)"), "{svg}");
        assert_eq!(svg.matches("<rect x=").count(), 3);
        assert!(heat_map(&[], &[], &[]).ends_with("</svg>\n"));
    }
}
