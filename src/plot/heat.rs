//! Heat maps, and the scale of their colours.

use super::axis::Axis;
use super::{Anchor, GAP, LETTERS, Svg, TITLE, widest, width};

/// Side of a triangle [px].
const SIDE: f64 = 200.0;
/// Side of a token's cell [px].
const CELL: f64 = 24.0;
/// Width of the bar of colours [px].
const BAR: f64 = 16.0;
const EDGE: &str = "#bbb";
/// Lightness falls evenly from the first to the last.
const COLOURS: [[f64; 3]; 3] = [[255.0, 255.0, 255.0], [107.0, 174.0, 214.0], [8.0, 48.0, 107.0]];

fn rgb([r, g, b]: [f64; 3]) -> String {
    format!("#{:02x}{:02x}{:02x}", r.round() as u8, g.round() as u8, b.round() as u8)
}

/// What the darkness of a triangle's cell goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shades {
    /// The value.
    Linear,
    /// Its square root.
    Root,
}

/// From a value to its colour.
struct Scale {
    axis: Axis,
}

impl Scale {
    /// Of the values from `low` to `high`, none below 0; if that is one value, from 0 to it.
    fn new(low: f64, high: f64) -> Scale {
        let axis = match high {
            _ if high > low => Axis::linear(low, high),
            _ if high > 0.0 => Axis::linear(0.0, high),
            _ => Axis::linear(0.0, 1.0),
        };
        Scale { axis }
    }

    /// The same from 0 to `high`, by the square root: of shares of a variance, so that a tenth of the greatest is no white.
    fn roots(high: f64) -> Scale {
        Scale { axis: Axis::root(if high > 0.0 { high } else { 1.0 }) }
    }

    fn colour(&self, value: f64) -> String {
        let at = self.axis.share(value).clamp(0.0, 1.0) * 2.0;
        let low = (at as usize).min(1);
        let mix = |c: usize| COLOURS[low][c] + (at - low as f64) * (COLOURS[low + 1][c] - COLOURS[low][c]);
        rgb([mix(0), mix(1), mix(2)])
    }

    /// The bar of colours with its labels, from (x, top) downwards; where it ends at the right.
    fn draw(&self, svg: &mut Svg, x: f64, top: f64, height: f64, means: &str) -> f64 {
        let [low, middle, high] = COLOURS.map(rgb);
        svg.push(format_args!(
            "<linearGradient id=\"scale\" x1=\"0\" y1=\"1\" x2=\"0\" y2=\"0\"><stop offset=\"0\" stop-color=\"{low}\"/>\
             <stop offset=\"0.5\" stop-color=\"{middle}\"/><stop offset=\"1\" stop-color=\"{high}\"/></linearGradient>\n\
             <rect x=\"{x:.1}\" y=\"{top:.1}\" width=\"{BAR}\" height=\"{height:.1}\" fill=\"url(#scale)\" stroke=\"{EDGE}\"/>"
        ));
        for (value, label) in &self.axis.ticks {
            let y = top + height * (1.0 - self.axis.share(*value));
            svg.line([x + BAR, y], [x + BAR + 4.0, y], "#555");
            svg.text(x + BAR + GAP, y + 0.35 * LETTERS, Anchor::Start, label);
        }
        let labels: Vec<&String> = self.axis.ticks.iter().map(|(_, label)| label).collect();
        let right = x + BAR + GAP + widest(&labels) + GAP + LETTERS;
        svg.upright(right, top + height / 2.0, Anchor::Middle, means);
        right + GAP
    }
}

/// About how wide a picture has to be for its title.
fn title_width(title: &str) -> f64 {
    width(title) * TITLE / LETTERS + 2.0 * GAP
}

/// Triangular heat maps beside each other: row k of a map is sublayer k, column j component j. Row 0, which is the
/// embedding alone, is left out, and so are maps without others.
pub fn triangles(title: &str, value: &str, shades: Shades, maps: &[(&str, &[Vec<f64>])]) -> String {
    let maps: Vec<_> = maps.iter().filter(|(_, rows)| rows.len() > 1).collect();
    let most = maps.iter().flat_map(|(_, rows)| rows[1..].iter().flatten()).copied().fold(0.0, f64::max);
    let scale = match shades {
        Shades::Linear => Scale::new(0.0, most),
        Shades::Root => Scale::roots(most),
    };
    let mut svg = Svg::new();
    let top = GAP + TITLE + 2.0 * GAP + LETTERS + GAP;
    let mut x = GAP;
    for (name, rows) in &maps {
        // Room for what is written at the left of the map.
        x += 3.5 * LETTERS;
        triangle(&mut svg, (x, top), name, rows, &scale);
        x += SIDE + 2.0 * GAP;
    }
    let width = scale.draw(&mut svg, x, top, SIDE, value).max(title_width(title));
    svg.title(width / 2.0, title);
    svg.finish(width, top + SIDE + 2.0 * LETTERS + 3.0 * GAP)
}

fn triangle(svg: &mut Svg, (left, top): (f64, f64), name: &str, rows: &[Vec<f64>], scale: &Scale) {
    let last = (rows.len() - 1) as f64;
    let (wide, high) = (SIDE / (last + 1.0), SIDE / last);
    svg.text(left + SIDE / 2.0, top - GAP, Anchor::Middle, name);
    svg.push("<g shape-rendering=\"crispEdges\">");
    for (k, row) in rows.iter().enumerate().skip(1) {
        for (j, v) in row.iter().enumerate() {
            let (x, y, colour) = (left + j as f64 * wide, top + (k - 1) as f64 * high, scale.colour(*v));
            svg.push(format_args!(
                "<rect x=\"{x:.2}\" y=\"{y:.2}\" width=\"{wide:.2}\" height=\"{high:.2}\" fill=\"{colour}\">\
                 <title>sublayer {k}, component {j}: {v:.4}</title></rect>"
            ));
        }
    }
    svg.push("</g>");
    // Its edge: cells that are nearly white belong to it.
    let steps: String = (1..rows.len()).map(|_| format!("h{wide:.3}v{high:.3}")).collect();
    svg.push(format_args!(
        "<path d=\"M{left:.1} {top:.1}h{wide:.3}{steps}H{left:.1}Z\" fill=\"none\" stroke=\"{EDGE}\"/>"
    ));
    // Labels stand at the middle of a cell.
    for (value, label) in Axis::counted(0.0, last).ticks {
        let x = left + (value + 0.5) * wide;
        svg.line([x, top + SIDE], [x, top + SIDE + 4.0], "#555");
        svg.text(x, top + SIDE + LETTERS + 6.0, Anchor::Middle, &label);
    }
    for (value, label) in Axis::counted(1.0, last).ticks {
        let y = top + (value - 0.5) * high;
        svg.line([left - 4.0, y], [left, y], "#555");
        svg.text(left - GAP, y + 0.35 * LETTERS, Anchor::End, &label);
    }
    svg.text(left + SIDE / 2.0, top + SIDE + 2.0 * LETTERS + 2.0 * GAP, Anchor::Middle, "component j (0: embedding)");
    svg.upright(left - 2.4 * LETTERS, top + SIDE / 2.0, Anchor::Middle, "sublayer k");
}

/// What each of `targets` (down) makes of `sources` (across), `p` being [targets, sources]. Colours span the values that
/// are there, so that small differences show; the bar says between which they lie.
pub fn tokens(title: &str, sources: &[&str], targets: &[&str], p: &[f64], means: &str) -> String {
    let (low, high) = p.iter().fold((f64::INFINITY, 0.0_f64), |(low, high), p| (low.min(*p), high.max(*p)));
    let scale = Scale::new(low, high);
    let (left, top) = (2.0 * GAP + widest(targets), GAP + TITLE + 2.0 * GAP + widest(sources));
    let (right, bottom) = (left + CELL * sources.len() as f64, top + CELL * targets.len() as f64);
    let mut svg = Svg::new();
    for (column, name) in sources.iter().enumerate() {
        svg.upright(left + (column as f64 + 0.5) * CELL + 0.35 * LETTERS, top - GAP, Anchor::Start, name);
    }
    for (row, (name, p)) in targets.iter().zip(p.chunks(sources.len().max(1))).enumerate() {
        let y = top + row as f64 * CELL;
        svg.text(left - GAP, y + 0.5 * CELL + 0.35 * LETTERS, Anchor::End, name);
        for (column, (source, p)) in sources.iter().zip(p).enumerate() {
            let (x, colour) = (left + column as f64 * CELL, scale.colour(*p));
            let (from, to) = (super::escaped(source), super::escaped(name));
            svg.push(format_args!(
                "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{CELL}\" height=\"{CELL}\" fill=\"{colour}\" stroke=\"{EDGE}\">\
                 <title>{to} to {from}: {p:.3}</title></rect>"
            ));
        }
    }
    // Room for the labels of a bar beside few rows.
    let bar = (bottom - top).max(6.0 * CELL);
    let width = scale.draw(&mut svg, right + 2.0 * GAP, top, bar, means).max(title_width(title));
    svg.title(width / 2.0, title);
    svg.finish(width, top + bar + 2.0 * GAP)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_has_every_token_and_no_loose_markup() {
        let svg = tokens("a title & more", &["▁<b>&", "日本", "\u{1}"], &["</s>"], &[0.0, 1.0, 0.5], "attention");
        assert!(svg.contains("▁&lt;b&gt;&amp;</text>") && svg.contains("日本") && svg.contains("\u{25a1}"));
        assert!(svg.contains("#ffffff") && svg.contains("#08306b"), "{svg}");
        assert_eq!(svg.matches("<title>").count(), 3);
        let at = |text: &str| svg.split_once(text).unwrap().0.rsplit_once("x=\"").unwrap().1.split('"').next().unwrap();
        let (middle, wide) = (at(">a title &amp; more</text>"), svg.split("width=\"").nth(1).unwrap());
        let wide: f64 = wide[..wide.find('"').unwrap()].parse().unwrap();
        assert!((middle.parse::<f64>().unwrap() - wide / 2.0).abs() < 1.0, "{svg}");
        assert!(wide > title_width("a title & more"), "there is room for it");
        assert!(tokens("", &[], &[], &[], "attention").ends_with("</svg>\n"));
    }

    #[test]
    fn nearly_equal_values_span_all_colours_and_the_bar_says_their_range() {
        let svg = tokens("title", &["a", "b", "c"], &["d"], &[0.331, 0.333, 0.336], "attention");
        assert!(svg.contains("fill=\"#ffffff\"") && svg.contains("fill=\"#08306b\""), "{svg}");
        assert!(svg.contains(">0.331</text>") && svg.contains(">0.336</text>") && svg.contains(">attention</text>"));
        assert!(
            !tokens("title", &["a"], &["b"], &[1.0], "attention").contains("fill=\"#ffffff\""),
            "one value is no blank sheet"
        );
    }

    #[test]
    fn roots_tell_small_shares_from_none() {
        let fill = |shades| {
            let svg = triangles("title", "share", shades, &[("encoder", &[vec![1.0], vec![0.25, 1.0]])]);
            let cell = svg.lines().find(|line| line.contains("component 0: 0.2500")).unwrap().to_owned();
            cell.split("fill=\"").nth(1).unwrap()[..7].to_owned()
        };
        assert_eq!((fill(Shades::Root), fill(Shades::Linear)), (rgb(COLOURS[1]), "#b5d7eb".to_owned()));
    }

    #[test]
    fn labels_stand_at_the_middle_of_their_cells() {
        let rows = [vec![1.0], vec![0.5, 0.5], vec![0.2, 0.3, 0.5], vec![0.1, 0.2, 0.3, 0.4]];
        let svg = triangles("title", "share", Shades::Root, &[("encoder", &rows)]);
        let number = |text: &str, key: &str| -> f64 {
            let from = text.split_once(key).unwrap().1;
            from[..from.find('"').unwrap()].parse().unwrap()
        };
        // The last cell of the last row, and the labels of its column and row, which are both 3.
        let cell = svg.lines().find(|line| line.contains("sublayer 3, component 3")).unwrap();
        let (x, y) = (number(cell, " x=\"") + SIDE / 8.0, number(cell, " y=\"") + SIDE / 6.0);
        let labels: Vec<&str> = svg.lines().filter(|line| line.ends_with(">3</text>")).collect();
        assert!((number(labels[0], " x=\"") - x).abs() < 0.1, "{labels:?}");
        assert!((number(labels[1], " y=\"") - 0.35 * LETTERS - y).abs() < 0.1, "{labels:?}");
    }
}
