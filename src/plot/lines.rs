//! Curves over a pair of axes.

use super::axis::Axis;
use super::{Anchor, GAP, LETTERS, Svg, TITLE, widest, width};
use crate::error::{Error, Result};

pub(super) const WIDTH: f64 = 480.0;
const HEIGHT: f64 = 340.0;
/// Of the piece of a curve beside its name in the legend.
pub(super) const SAMPLE: f64 = 30.0;
/// Marks on a curve, at most; and where there are marks only.
const MARKS: usize = 12;
const POINTS: usize = 24;
pub(super) const MARK: f64 = 3.6;
const GRID: &str = "#e4e4e4";
const FRAME: &str = "#555";

/// How the curves of one series look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    pub(super) colour: &'static str,
    mark: Mark,
    line: Line,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    Full,
    Dashed,
    /// Thin, of what is fitted to others.
    Fit,
    DashedFit,
    None,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mark {
    Circle,
    Square,
    Triangle,
    Cross,
    None,
}

impl Look {
    /// Tol's high-contrast colours (2021), which colour-blind readers and grey prints tell apart.
    const ALL: [Look; 4] = [
        Look { colour: "#bb5566", mark: Mark::Square, line: Line::Full },
        Look { colour: "#ddaa33", mark: Mark::Triangle, line: Line::Full },
        Look { colour: "#004488", mark: Mark::Circle, line: Line::Full },
        Look { colour: "#222222", mark: Mark::Cross, line: Line::Full },
    ];
    /// Of what is only there to be compared with.
    pub const LEVEL: Look = Look { colour: "#777777", mark: Mark::None, line: Line::Dashed };
    /// Of curves that are fitted to others, in two kinds. They do not widen the axes, and end where these do.
    pub const FITS: [Look; 2] = [
        Look { colour: "#222222", mark: Mark::None, line: Line::DashedFit },
        Look { colour: "#222222", mark: Mark::None, line: Line::Fit },
    ];

    /// Look number `n`, counted from 0; after the last comes the first.
    pub fn nth(n: usize) -> Look {
        Look::ALL[n % Look::ALL.len()]
    }

    /// The same as marks only, for values that a curve is fitted to.
    pub fn points(self) -> Look {
        Look { line: Line::None, ..self }
    }

    fn is_fit(self) -> bool {
        matches!(self.line, Line::Fit | Line::DashedFit)
    }
}

/// Curves of one name and look.
#[derive(Clone)]
pub struct Series {
    pub name: String,
    pub look: Look,
    pub curves: Vec<Vec<(f64, f64)>>,
}

impl Series {
    pub fn new(name: &str, look: Look, curves: Vec<Vec<(f64, f64)>>) -> Series {
        Series { name: name.to_owned(), look, curves }
    }

    /// Values of sublayers 1, 2, ….
    pub fn numbered(name: &str, look: Look, values: &[f64]) -> Series {
        Series::new(name, look, vec![(1..).map(f64::from).zip(values.iter().copied()).collect()])
    }

    /// Without the points that have no place; none if no curve is left.
    fn drawable(&self, logarithmic: bool) -> Option<Series> {
        let has_place = |(x, y): &(f64, f64)| x.is_finite() && y.is_finite() && (!logarithmic || *y > 0.0);
        let mut series = self.clone();
        series.curves.iter_mut().for_each(|curve| curve.retain(has_place));
        series.curves.retain(|curve| !curve.is_empty());
        (!series.curves.is_empty()).then_some(series)
    }
}

/// The place of the axes in the picture.
pub(super) struct Frame {
    pub x: Axis,
    pub y: Axis,
    pub left: f64,
    pub right: f64,
    pub top: f64,
    pub bottom: f64,
}

impl Frame {
    pub fn x(&self, value: f64) -> f64 {
        self.left + self.x.share(value) * (self.right - self.left)
    }

    pub fn y(&self, value: f64) -> f64 {
        self.bottom - self.y.share(value) * (self.bottom - self.top)
    }

    /// Below the axes: labels, and what they mean.
    pub const BELOW: f64 = GAP + 2.0 * LETTERS + 5.0;

    /// The axes, their labels and `[x, y]`, what they mean; the latter stands at `edge`, left of all.
    pub fn draw(&self, svg: &mut Svg, edge: f64, [x_means, y_means]: [&str; 2]) {
        let Frame { left, right, top, bottom, .. } = *self;
        for (value, label) in &self.x.ticks {
            let x = self.x(*value);
            svg.line([x, top], [x, bottom], GRID);
            svg.text(x, bottom + LETTERS + 5.0, Anchor::Middle, label);
        }
        for (value, label) in &self.y.ticks {
            let y = self.y(*value);
            svg.line([left, y], [right, y], GRID);
            svg.text(left - 6.0, y + 0.35 * LETTERS, Anchor::End, label);
        }
        let (w, h) = (right - left, bottom - top);
        svg.push(format_args!(
            "<rect x=\"{left:.1}\" y=\"{top:.1}\" width=\"{w:.1}\" height=\"{h:.1}\" fill=\"none\" stroke=\"{FRAME}\"/>"
        ));
        svg.text((left + right) / 2.0, bottom + Frame::BELOW, Anchor::Middle, x_means);
        svg.upright(edge + GAP + LETTERS, (top + bottom) / 2.0, Anchor::Middle, y_means);
    }

    fn path<'a>(&self, points: impl Iterator<Item = &'a (f64, f64)>) -> String {
        let places: Vec<String> = points.map(|(x, y)| format!("{:.1} {:.1}", self.x(*x), self.y(*y))).collect();
        places.join("L")
    }

    /// Marks begin `later`, a share of the way to the second: those of another series may be at the same places.
    fn curves(&self, svg: &mut Svg, one: &Series, later: f64) {
        let most = if one.look.line == Line::None { POINTS } else { MARKS };
        for curve in &one.curves {
            if one.look.line != Line::None {
                svg.push(stroke(one.look, &self.path(curve.iter().filter(|point| self.holds(point)))));
            }
            let step = curve.len().div_ceil(most).max(1);
            for (x, y) in curve.iter().skip((later * step as f64) as usize).step_by(step) {
                mark(svg, one.look, MARK, [self.x(*x), self.y(*y)]);
            }
        }
    }

    fn holds(&self, (x, y): &(f64, f64)) -> bool {
        [self.x.share(*x), self.y.share(*y)].iter().all(|share| (0.0..=1.0).contains(share))
    }
}

/// Curves over one pair of axes, `[x, y]` being their descriptions; x is counted. Points that have no place are left out,
/// and so are curves without points. The names stand above the axes, where no curve is.
pub fn lines(title: &str, axes: [&str; 2], series: &[Series], logarithmic: bool) -> Result<String> {
    let series: Vec<Series> = series.iter().filter_map(|one| one.drawable(logarithmic)).collect();
    if series.is_empty() {
        return Err(Error::data("the picture cannot be drawn: there is nothing to draw"));
    }
    let measured = || series.iter().filter(|one| !one.look.is_fit());
    let points = || measured().flat_map(|one| one.curves.iter().flatten());
    let (x, y) = (x_axis(points().map(|p| p.0)), y_axis(points().map(|p| p.1), logarithmic));
    let labels: Vec<&String> = y.ticks.iter().map(|(_, label)| label).collect();
    let left = 2.0 * GAP + LETTERS + widest(&labels) + 6.0;
    let right = WIDTH - 2.0 * GAP;
    let mut svg = Svg::new();
    svg.title(WIDTH / 2.0, title);
    let top = legend(&mut svg, &series, left, right, GAP + TITLE + GAP) + GAP;
    let frame = Frame { x, y, left, right, top, bottom: HEIGHT - GAP - Frame::BELOW };
    frame.draw(&mut svg, 0.0, axes);
    // Marks lie on the fits.
    series.iter().filter(|one| one.look.is_fit()).for_each(|one| frame.curves(&mut svg, one, 0.0));
    for (at, one) in measured().enumerate() {
        let later = if one.look.line == Line::None { at as f64 / series.len() as f64 } else { 0.0 };
        frame.curves(&mut svg, one, later);
    }
    Ok(svg.finish(WIDTH, HEIGHT))
}

pub(super) fn bounds(values: impl Iterator<Item = f64>) -> (f64, f64) {
    values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)))
}

fn x_axis(values: impl Iterator<Item = f64>) -> Axis {
    let (low, high) = bounds(values);
    let margin = 0.025 * (high - low).max(1.0);
    Axis::counted(low - margin, high + margin)
}

fn y_axis(values: impl Iterator<Item = f64>, logarithmic: bool) -> Axis {
    let (low, high) = bounds(values);
    if logarithmic {
        let margin = (high / low).powf(0.06).max(1.02);
        return Axis::logarithmic(low / margin, high * margin);
    }
    let margin = 0.06 * if high > low { high - low } else { high.abs().max(1.0) };
    // From 0 on, where that does not waste half of the picture.
    let bottom = if (0.0..high / 2.0).contains(&low) { 0.0 } else { low - margin };
    Axis::linear(bottom, high + margin)
}

/// The names from `top` on, in as many rows as they need; where they end.
fn legend(svg: &mut Svg, series: &[Series], left: f64, right: f64, top: f64) -> f64 {
    let (mut x, mut y) = (left, top + LETTERS);
    for one in series {
        let wide = SAMPLE + 6.0 + width(&one.name);
        if x > left && x + wide > right {
            (x, y) = (left, y + LETTERS + 5.0);
        }
        let middle = y - 0.35 * LETTERS;
        if one.look.line != Line::None {
            svg.push(stroke(one.look, &format!("{x:.1} {middle:.1}h{SAMPLE}")));
        }
        mark(svg, one.look, MARK, [x + SAMPLE / 2.0, middle]);
        svg.text(x + SAMPLE + 6.0, y, Anchor::Start, &one.name);
        x += wide + 2.0 * GAP;
    }
    y + 4.0
}

fn stroke(look: Look, path: &str) -> String {
    let dashes = if matches!(look.line, Line::Dashed | Line::DashedFit) { " stroke-dasharray=\"6 4\"" } else { "" };
    let (colour, wide) = (look.colour, if look.is_fit() { 1.2 } else { 2.0 });
    format!(
        "<path d=\"M{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"{wide}\" stroke-linejoin=\"round\"{dashes}/>"
    )
}

/// Squares and crosses are open, circles and triangles full: a print keeps them apart where they are small.
pub(super) fn mark(svg: &mut Svg, look: Look, r: f64, [x, y]: [f64; 2]) {
    let colour = look.colour;
    let (path, fill) = match look.mark {
        Mark::Circle => {
            (format!("M{:.1} {y:.1}a{r} {r} 0 1 0 {d} 0a{r} {r} 0 1 0 -{d} 0Z", x - r, d = 2.0 * r), colour)
        }
        Mark::Square => (format!("M{:.1} {:.1}h{d}v{d}h-{d}Z", x - r, y - r, d = 2.0 * r), "white"),
        Mark::Triangle => (format!("M{x:.1} {:.1}l{r} {d}h-{d}Z", y - r, d = 2.0 * r), colour),
        Mark::Cross => (format!("M{:.1} {:.1}l{d} {d}m0 -{d}l-{d} {d}", x - r, y - r, d = 2.0 * r), "none"),
        Mark::None => return,
    };
    svg.push(format_args!("<path d=\"{path}\" fill=\"{fill}\" stroke=\"{colour}\" stroke-width=\"1.5\"/>"));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &str, key: &str) -> f64 {
        let from = text.split_once(key).unwrap().1;
        from[..from.find('"').unwrap()].parse().unwrap()
    }

    #[test]
    fn names_stand_above_the_axes() {
        let names = ["post-ln", "pre-ln", "admin", "admin with an analytic ω", "the best constant predictor"];
        let series = names.map(|name| Series::numbered(name, Look::nth(0), &[1.0, 2.0, 3.0]));
        let svg = lines("title", ["x", "y"], &series, false).unwrap();
        let frame = svg.lines().find(|line| line.starts_with("<rect x")).unwrap();
        for name in names {
            let at = svg.lines().find(|line| line.ends_with(&format!(">{name}</text>"))).unwrap();
            assert!(number(at, " y=\"") < number(frame, " y=\""), "{at} {frame}");
            assert!(number(at, " x=\"") + width(name) < WIDTH, "{at}");
        }
    }

    #[test]
    fn looks_differ_without_colours() {
        let marks: Vec<Mark> = Look::ALL.iter().map(|look| look.mark).collect();
        assert!((1..marks.len()).all(|k| !marks[..k].contains(&marks[k])), "{marks:?}");
        let reached = Series::numbered("reached", Look::nth(0), &[1.0, 2.0]);
        let level = Series::numbered("level", Look::LEVEL, &[1.0, 1.0]);
        let svg = lines("title", ["x", "y"], &[level, reached], false).unwrap();
        assert_eq!(svg.matches("dasharray").count(), 2, "{svg}");
    }

    #[test]
    fn fits_are_thin_and_leave_the_axes_as_they_are() {
        let values: Vec<f64> = (1..=200).map(f64::from).collect();
        let measured = Series::numbered("a", Look::nth(0).points(), &values);
        let fit = Series::new("fit", Look::FITS[0], vec![vec![(1.0, 1e-9), (1.5, 1.5), (2.0, 2.0), (900.0, 2.0)]]);
        let [bare, svg] =
            [vec![measured.clone()], vec![measured, fit]].map(|s| lines("", ["x", "y"], &s, true).unwrap());
        let labels = |svg: &str| -> Vec<String> {
            let labels = svg.lines().filter(|line| line.contains("\"end\"") || line.contains("\"middle\">"));
            labels.filter_map(|line| line.split('>').nth(1)).map(str::to_owned).collect()
        };
        assert_eq!(labels(&bare), labels(&svg));
        let curve = svg.lines().find(|line| line.contains("dasharray") && line.contains('L')).unwrap();
        assert!(curve.contains("width=\"1.2\"") && curve.matches('L').count() == 1, "ends with the axes: {curve}");
        assert!(!svg.contains("stroke-width=\"2\""), "no curve through the values: {svg}");
    }

    #[test]
    fn marks_of_equal_values_do_not_hide_each_other() {
        let series = [0, 3].map(|n| Series::numbered("name", Look::nth(n).points(), &[2.0; 200]));
        let svg = lines("title", ["x", "y"], &series, false).unwrap();
        let places = |n: usize| -> Vec<f64> {
            let marks = svg.lines().filter(|line| line.contains(Look::ALL[n].colour) && line.contains("\"1.5\""));
            // Both begin at their left edge; the first is in the legend.
            marks
                .skip(1)
                .map(|line| line[line.find('M').unwrap() + 1..].split(' ').next().unwrap().parse().unwrap())
                .collect()
        };
        let (a, b) = (places(0), places(3));
        assert!(a.len() > 20 && a.len() <= POINTS && b.len() > 20, "{a:?} {b:?}");
        assert!(a.iter().all(|a| b.iter().all(|b| (a - b).abs() > 1.0)), "{a:?} {b:?}");
    }

    #[test]
    fn what_has_no_place_is_left_out() {
        let series = [
            Series::numbered("none", Look::nth(0), &[f64::NAN, -1.0]),
            Series::numbered("two", Look::nth(1), &[0.0, 1e-6, f64::INFINITY, 1e-6]),
        ];
        let svg = lines("title", ["x", "y"], &series, true).unwrap();
        assert!(!svg.contains(">none</text>") && svg.contains(">two</text>"), "{svg}");
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        assert!(lines("title", ["x", "y"], &series[..1], true).is_err());
    }
}
