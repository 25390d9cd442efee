//! Values of channels, a column for each sublayer: a tick per channel, and the line of what all of them began with.

use std::collections::BTreeMap;

use super::axis::Axis;
use super::lines::{Frame, MARK, SAMPLE, WIDTH, bounds, mark};
use super::{Anchor, GAP, LETTERS, Look, Svg, TITLE, number, widest, width};

/// Of the axes of one stack.
const HEIGHT: f64 = 170.0;
/// Height of a tick; channels whose ticks would overlap share one [px].
const TICK: f64 = 1.5;
/// A tick is drawn once more, and so darker, for each of these numbers of channels that share it.
const DARKER: [usize; 4] = [1, 2, 4, 8];
const OPACITY: f64 = 0.35;
const INITIAL: &str = "#222222";
/// Widths of the line and of the ticks, as shares of a column, and of columns at most [px]. The line's ends are seen where
/// every tick lies on it.
const LINE: f64 = 1.0;
const TICKS: f64 = 0.6;
const COLUMN: f64 = 40.0;

/// One stack.
pub struct Strips {
    pub name: &'static str,
    pub look: Look,
    /// One per sublayer, or none where they are not known.
    pub initial: Vec<f64>,
    /// Of each sublayer, ascending.
    pub channels: Vec<Vec<f64>>,
    pub medians: Vec<f64>,
}

impl Strips {
    /// The same as differences from the initial values; none where these are not known.
    fn changes(&self) -> Option<Strips> {
        let less = |(channels, initial): (&Vec<f64>, &f64)| channels.iter().map(|v| v - initial).collect();
        (!self.initial.is_empty()).then(|| Strips {
            initial: vec![0.0; self.initial.len()],
            channels: self.channels.iter().zip(&self.initial).map(less).collect(),
            medians: self.medians.iter().zip(&self.initial).map(|(v, initial)| v - initial).collect(),
            ..*self
        })
    }

    fn y_axis(&self) -> Axis {
        let finite = self.initial.iter().chain(self.channels.iter().flatten()).copied().filter(|v| v.is_finite());
        let (low, high) = bounds(finite);
        let (low, high) = if low <= high { (low, high) } else { (0.0, 1.0) };
        let margin = 0.06 * if high > low { high - low } else { high.abs().max(1.0) };
        Axis::linear(low - margin, high + margin)
    }

    /// Axes with a legend above them, from (left, top) on; where they end below.
    fn draw(&self, svg: &mut Svg, [left, top]: [f64; 2], means: &str) -> f64 {
        let (x, y) = (Axis::counted(0.5, self.channels.len() as f64 + 0.5), self.y_axis());
        let labels: Vec<&String> = y.ticks.iter().map(|(_, label)| label).collect();
        let (from, right) = (left + 2.0 * GAP + LETTERS + widest(&labels) + 6.0, left + WIDTH - 2.0 * GAP);
        let top = legend(svg, self, from, top) + GAP;
        let frame = Frame { x, y, left: from, right, top, bottom: top + HEIGHT };
        frame.draw(svg, left, [&format!("{} sublayer", self.name), means]);
        columns(svg, &frame, self);
        frame.bottom + Frame::BELOW
    }
}

/// The stacks below each other, and what changed at their right; `means` is what the values are. Training moves deep models'
/// values by less than these differ, so that changes need an axis of their own.
pub fn strips(title: &str, means: &str, stacks: &[Strips]) -> String {
    let stacks: Vec<&Strips> = stacks.iter().filter(|stack| !stack.channels.is_empty()).collect();
    let mut svg = Svg::new();
    let (mut top, mut wide) = (GAP + TITLE + GAP, WIDTH);
    for stack in stacks {
        let below = stack.draw(&mut svg, [0.0, top], means);
        if let Some(changes) = stack.changes() {
            changes.draw(&mut svg, [WIDTH, top], &format!("change of {means}"));
            wide = 2.0 * WIDTH;
        }
        top = below + 2.0 * GAP;
    }
    svg.title(wide / 2.0, title);
    svg.finish(wide, top - GAP)
}

fn columns(svg: &mut Svg, frame: &Frame, stack: &Strips) {
    let wide = (frame.x(2.0) - frame.x(1.0)).min(COLUMN);
    for (at, (channels, &middle)) in stack.channels.iter().zip(&stack.medians).enumerate() {
        let (x, initial) = (frame.x((at + 1) as f64), stack.initial.get(at));
        let [least, greatest] =
            [channels.first(), channels.last()].map(|end| end.map_or(String::new(), |v| number(*v)));
        let from = initial.map_or(String::new(), |v| format!("initially {}, ", number(*v)));
        svg.push(format_args!(
            "<g><title>sublayer {}: {from}median {}, {least} to {greatest}</title>",
            at + 1,
            number(middle)
        ));
        let places: Vec<f64> = channels.iter().filter(|v| v.is_finite()).map(|v| frame.y(*v)).collect();
        ticks(svg, stack.look, x, TICKS * wide, &places);
        if middle.is_finite() {
            mark(svg, stack.look, MARK.min(0.25 * wide), [x, frame.y(middle)]);
        }
        // Last, as a median of short runs lies on it.
        if let Some(initial) = initial.filter(|v| v.is_finite()) {
            line(svg, [x, frame.y(*initial)], LINE * wide);
        }
        svg.push("</g>");
    }
}

/// Of the initial value, `wide` around `x`.
fn line(svg: &mut Svg, [x, y]: [f64; 2], wide: f64) {
    let left = x - wide / 2.0;
    svg.push(format_args!("<path d=\"M{left:.1} {y:.1}h{wide:.1}\" stroke=\"{INITIAL}\" stroke-width=\"1.5\"/>"));
}

/// At each of `places`, `wide` around `x`.
fn ticks(svg: &mut Svg, Look { colour, .. }: Look, x: f64, wide: f64, places: &[f64]) {
    let mut shared = BTreeMap::<i64, usize>::new();
    places.iter().for_each(|y| *shared.entry((y / TICK).round() as i64).or_default() += 1);
    for least in DARKER {
        let of = shared.iter().filter(|(_, number)| **number >= least);
        let path: String =
            of.map(|(row, _)| format!("M{:.1} {:.1}h{wide:.1}", x - wide / 2.0, *row as f64 * TICK)).collect();
        if !path.is_empty() {
            svg.push(format_args!(
                "<path d=\"{path}\" stroke=\"{colour}\" stroke-width=\"{TICK}\" stroke-opacity=\"{OPACITY}\"/>"
            ));
        }
    }
}

/// What the parts of a column are, in one row from `top` on; where it ends.
fn legend(svg: &mut Svg, stack: &Strips, left: f64, top: f64) -> f64 {
    let (y, mut x) = (top + LETTERS, left);
    let middle = y - 0.35 * LETTERS;
    for name in ["initial", "each channel", "median"] {
        let at = [x + SAMPLE / 2.0, middle];
        match name {
            "initial" if stack.initial.is_empty() => continue,
            "initial" => line(svg, at, SAMPLE),
            "median" => mark(svg, stack.look, MARK, at),
            _ => ticks(svg, stack.look, at[0], TICKS * SAMPLE, &[-4.0, -1.0, -1.0, 0.5, 0.5, 4.0].map(|d| middle + d)),
        }
        svg.text(x + SAMPLE + 6.0, y, Anchor::Start, name);
        x += SAMPLE + 6.0 + width(name) + 2.0 * GAP;
    }
    y + 4.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoder(initial: &[f64], channels: Vec<Vec<f64>>) -> Strips {
        let medians = channels.iter().map(|channels| channels[channels.len() / 2]).collect();
        Strips { name: "encoder", look: Look::nth(2), initial: initial.to_vec(), channels, medians }
    }

    /// Left end, height and width of each piece of the paths of `colour` in the first column.
    fn pieces(svg: &str, colour: &str) -> Vec<[f64; 3]> {
        let column = svg.split("<g>").nth(1).unwrap().split("</g>").next().unwrap();
        let paths = column.lines().filter(|line| line.contains(colour) && !line.contains("fill="));
        let paths = paths.map(|line| line.split('"').nth(1).unwrap());
        let pieces = paths.flat_map(|path| path.split('M').skip(1).map(str::to_owned).collect::<Vec<_>>());
        let numbers =
            |piece: String| piece.replace('h', " ").split(' ').map(|n| n.parse().unwrap()).collect::<Vec<_>>();
        pieces.map(|piece| numbers(piece).try_into().unwrap()).collect()
    }

    #[test]
    fn every_channel_is_there_and_the_initial_line_sticks_out() {
        let svg = strips("title", "ω", &[encoder(&[1.0, 2.0], vec![vec![1.0, 1.2, 1.4], vec![2.0, 2.0, 2.0]])]);
        let (ticks, lines) = (pieces(&svg, Look::nth(2).colour), pieces(&svg, INITIAL));
        assert_eq!((ticks.len(), lines.len()), (3, 1), "{svg}");
        let [[left, y, wide], [at, tick, narrow]] = [lines[0], ticks[2]];
        assert!((y - tick).abs() <= TICK, "both are 1: {lines:?} {ticks:?}");
        assert!(left < at - 3.0 && left + wide > at + narrow + 3.0, "its ends are seen: {lines:?} {ticks:?}");
        assert!(svg.contains("sublayer 1: initially 1, median 1.2, 1 to 1.4</title>"), "{svg}");
    }

    #[test]
    fn axes_go_by_the_values_and_changes_have_their_own() {
        let few = vec![vec![4.0, 4.01], vec![5.0, 5.0]];
        let svg = strips("title", "ω", &[encoder(&[4.0, 5.0], few.clone())]);
        assert!(svg.contains(">4.2</text>") && svg.contains(">0.002</text>") && svg.contains(">change of ω</text>"));
        assert!(!svg.contains(">0.0</text>"), "{svg}");
        let svg = strips("title", "ω", &[encoder(&[], few)]);
        assert!(!svg.contains("change") && !svg.contains(">initial</text>") && !svg.contains("initially"), "{svg}");
        for odd in [vec![], vec![vec![f64::NAN]], vec![vec![0.0]]] {
            let svg = strips("title", "ω", &[encoder(&[], odd)]);
            assert!(svg.ends_with("</svg>\n") && !svg.contains("\"NaN"), "{svg}");
        }
    }

    #[test]
    fn many_channels_share_ticks_that_are_darker() {
        let many = (0..100_000).map(|n| f64::from(n) / 100_000.0).collect();
        let svg = strips("title", "ω", &[encoder(&[], vec![many])]);
        assert!(svg.len() < 20_000, "{} bytes", svg.len());
        let rows = pieces(&svg, Look::nth(2).colour);
        assert!(rows.len() > 400 && rows.len().is_multiple_of(DARKER.len()), "{}", rows.len());
    }
}
