//! Pictures, as SVG: curves over a pair of axes, channels in columns, and heat maps beside their scale of colours.
//!
//! Pages show them at half their size, so letters are large. What colours tell apart, marks, dashes or lightness do too: a
//! grey print loses nothing.

mod axis;
mod heat;
mod lines;
mod strips;

use std::fmt::{Display, Write};

pub use axis::number;
pub use heat::{Shades, tokens, triangles};
pub use lines::{Look, Series, lines};
pub use strips::{Strips, strips};

/// Height of letters [px].
const LETTERS: f64 = 14.0;
const TITLE: f64 = 16.0;
/// Between things that must not touch [px].
const GAP: f64 = 8.0;

/// Which end of a text is at its place.
#[derive(Clone, Copy)]
enum Anchor {
    Start,
    Middle,
    End,
}

impl Anchor {
    fn name(self) -> &'static str {
        match self {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        }
    }
}

/// A picture that grows; places are pixels from the upper left corner.
struct Svg {
    body: String,
}

impl Svg {
    fn new() -> Svg {
        Svg { body: String::new() }
    }

    fn push(&mut self, element: impl Display) {
        // Writing to a string does not fail.
        let _ = writeln!(self.body, "{element}");
    }

    /// `text` beside (x, y), the foot of its letters.
    fn text(&mut self, x: f64, y: f64, anchor: Anchor, text: &str) {
        let (anchor, text) = (anchor.name(), escaped(text));
        self.push(format_args!("<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>"));
    }

    /// The same, read from below to above.
    fn upright(&mut self, x: f64, y: f64, anchor: Anchor, text: &str) {
        let (anchor, text) = (anchor.name(), escaped(text));
        self.push(format_args!(
            "<text transform=\"translate({x:.1} {y:.1}) rotate(-90)\" text-anchor=\"{anchor}\">{text}</text>"
        ));
    }

    fn title(&mut self, x: f64, text: &str) {
        let (y, text) = (GAP + TITLE, escaped(text));
        self.push(format_args!(
            "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"middle\" font-size=\"{TITLE}\">{text}</text>"
        ));
    }

    /// A thin line in a shade of grey.
    fn line(&mut self, [x1, y1]: [f64; 2], [x2, y2]: [f64; 2], grey: &str) {
        self.push(format_args!("<path d=\"M{x1:.1} {y1:.1}L{x2:.1} {y2:.1}\" stroke=\"{grey}\"/>"));
    }

    fn finish(self, width: f64, height: f64) -> String {
        let (width, height) = (width.ceil(), height.ceil());
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
             viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" font-size=\"{LETTERS}\">\n\
             <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n{}</svg>\n",
            self.body
        )
    }
}

/// About how wide `text` is [px]. Chinese, Japanese and Korean letters, and the mark of a word's beginning, are wide.
fn width(text: &str) -> f64 {
    let is_wide = |c: char| matches!(c, '▁' | '\u{1100}'..='\u{115f}' | '\u{2e80}'..='\u{ffdc}');
    text.chars().map(|c| if is_wide(c) { LETTERS } else { 0.62 * LETTERS }).sum()
}

fn widest<T: AsRef<str>>(texts: &[T]) -> f64 {
    texts.iter().map(|text| width(text.as_ref())).fold(0.0, f64::max)
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
