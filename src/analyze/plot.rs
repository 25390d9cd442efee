//! Pictures of the analyses, as SVG.

use plotters::coord::ranged1d::{AsRangedCoord, Ranged, ValueFormatter};
use plotters::prelude::*;

use crate::error::{Error, Result};

const FONT: &str = "sans-serif";
/// Okabe and Ito's colours (2008), which colour-blind readers can tell apart.
const COLOURS: [RGBColor; 8] = [
    RGBColor(213, 94, 0),
    RGBColor(86, 180, 233),
    RGBColor(0, 114, 178),
    RGBColor(230, 159, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(120, 120, 120),
    RGBColor(0, 0, 0),
];

/// Curves of one name and colour.
pub struct Series {
    pub name: String,
    pub curves: Vec<Vec<(f64, f64)>>,
}

impl Series {
    /// Values of sublayers 1, 2, ….
    pub fn numbered(name: &str, values: &[&[f64]]) -> Series {
        let curve = |values: &&[f64]| (1..).map(f64::from).zip(values.iter().copied()).collect();
        Series { name: name.to_owned(), curves: values.iter().map(curve).collect() }
    }
}

fn failed(error: impl std::fmt::Display) -> Error {
    Error::data(format!("the picture cannot be drawn: {error}"))
}

/// Curves over one pair of axes, `[x, y]` being their descriptions. Curves without points are left out.
pub fn lines(title: &str, axes: [&str; 2], series: &[Series], logarithmic: bool) -> Result<String> {
    let points = || {
        series
            .iter()
            .flat_map(|s| s.curves.iter().flatten())
            .filter(|(_, y)| y.is_finite() && (!logarithmic || *y > 0.0))
    };
    let bounds = |of: fn(&(f64, f64)) -> f64| {
        points().map(of).fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)))
    };
    let ((left, right), (low, high)) = (bounds(|p| p.0), bounds(|p| p.1));
    if points().next().is_none() {
        return Err(failed("there is nothing to draw"));
    }
    let x = left..right.max(left + 1.0);
    let mut svg = String::new();
    if logarithmic {
        draw(&mut svg, title, axes, series, x, (low / 1.3..high * 1.3).log_scale())?;
    } else {
        let margin = 0.05 * (high - low).max(high.abs() * 1e-3);
        // From 0 on, where that does not waste half of the picture.
        let bottom = if (0.0..high / 2.0).contains(&low) { 0.0 } else { low - margin };
        draw(&mut svg, title, axes, series, x, bottom..high + margin)?;
    }
    Ok(svg)
}

fn draw<Y>(
    svg: &mut String,
    title: &str,
    axes: [&str; 2],
    series: &[Series],
    x: std::ops::Range<f64>,
    y: impl AsRangedCoord<CoordDescType = Y, Value = f64>,
) -> Result<()>
where
    Y: Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    let root = SVGBackend::with_string(svg, (720, 420)).into_drawing_area();
    root.fill(&WHITE).map_err(failed)?;
    let mut chart = ChartBuilder::on(&root)
        .caption(title, (FONT, 18))
        .margin(12)
        .x_label_area_size(42)
        .y_label_area_size(72)
        .build_cartesian_2d(x, y)
        .map_err(failed)?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(BLACK.mix(0.1))
        .x_desc(axes[0])
        .y_desc(axes[1])
        .x_label_formatter(&whole)
        .y_label_formatter(&|y| short(*y))
        .label_style((FONT, 13))
        .draw()
        .map_err(failed)?;
    let drawn = series.iter().filter(|one| one.curves.iter().any(|curve| !curve.is_empty()));
    for (number, one) in drawn.enumerate() {
        let style = COLOURS[number % COLOURS.len()].stroke_width(2);
        for (again, curve) in one.curves.iter().enumerate() {
            let line = chart.draw_series(LineSeries::new(curve.iter().copied(), style)).map_err(failed)?;
            if again == 0 {
                line.label(&one.name).legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], style));
            }
        }
    }
    // Where the curves are not: above the end of those that fall, above the beginning of those that rise.
    let change: f64 = series.iter().flat_map(|s| &s.curves).filter_map(|c| Some(c.last()?.1 - c.first()?.1)).sum();
    let corner = if change < 0.0 { SeriesLabelPosition::UpperRight } else { SeriesLabelPosition::UpperLeft };
    chart
        .configure_series_labels()
        .position(corner)
        .background_style(WHITE.mix(0.85))
        .border_style(BLACK.mix(0.2))
        .label_font((FONT, 13))
        .draw()
        .map_err(failed)?;
    root.present().map_err(failed)
}

/// The label of a whole number; none between.
fn whole(x: &f64) -> String {
    if x.fract() == 0.0 { format!("{x:.0}") } else { String::new() }
}

/// 0.25, 1200, 3.1e-6.
fn short(y: f64) -> String {
    if y == 0.0 || (1e-2..1e4).contains(&y.abs()) {
        let text = format!("{y:.2}");
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        format!("{y:.1e}")
    }
}

/// Triangular heat maps beside each other: row k of a map is sublayer k, column j component j.
pub fn triangles(title: &str, value: &str, maps: &[(&str, &[Vec<f64>])]) -> Result<String> {
    let maps: Vec<_> = maps.iter().filter(|(_, rows)| rows.len() > 1).collect();
    let most = maps.iter().flat_map(|(_, rows)| rows[1..].iter().flatten()).copied().fold(f64::MIN_POSITIVE, f64::max);
    let (side, legend) = (440, 90);
    let mut svg = String::new();
    {
        let size = (side * maps.len() as u32 + legend, side + 60);
        let root = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        root.fill(&WHITE).map_err(failed)?;
        let root = root.titled(title, (FONT, 18)).map_err(failed)?;
        let (charts, scale) = root.split_horizontally(side * maps.len() as u32);
        for (area, (name, rows)) in charts.split_evenly((1, maps.len())).iter().zip(maps) {
            let n = rows.len() as f64;
            let mut chart = ChartBuilder::on(area)
                .caption(name, (FONT, 15))
                .margin(10)
                .x_label_area_size(38)
                .y_label_area_size(46)
                .build_cartesian_2d(0.0..n, n..1.0)
                .map_err(failed)?;
            chart
                .configure_mesh()
                .disable_mesh()
                .x_desc("component j (0: embedding)")
                .y_desc("sublayer k")
                .x_label_formatter(&whole)
                .y_label_formatter(&whole)
                .label_style((FONT, 12))
                .draw()
                .map_err(failed)?;
            let cells = rows.iter().enumerate().skip(1).flat_map(|(k, row)| {
                let cell = move |(j, v): (usize, &f64)| {
                    let (x, y) = (j as f64, k as f64);
                    Rectangle::new([(x, y), (x + 1.0, y + 1.0)], shade(v / most).filled())
                };
                row.iter().enumerate().map(cell)
            });
            chart.draw_series(cells).map_err(failed)?;
        }
        colour_scale(&scale, value, most)?;
        root.present().map_err(failed)?;
    }
    Ok(svg)
}

fn colour_scale(area: &DrawingArea<SVGBackend<'_>, plotters::coord::Shift>, value: &str, most: f64) -> Result<()> {
    let mut chart = ChartBuilder::on(area)
        .margin_top(44)
        .margin_bottom(48)
        .margin_right(40)
        .y_label_area_size(34)
        .build_cartesian_2d(0.0..1.0, 0.0..most)
        .map_err(failed)?;
    chart
        .configure_mesh()
        .disable_mesh()
        .disable_x_axis()
        .y_desc(value)
        .y_label_formatter(&|y| short(*y))
        .label_style((FONT, 11))
        .draw()
        .map_err(failed)?;
    let step = |i: i32| most * f64::from(i) / 64.0;
    let bar =
        (0..64).map(|i| Rectangle::new([(0.0, step(i)), (1.0, step(i + 1))], shade(f64::from(i) / 64.0).filled()));
    chart.draw_series(bar).map_err(failed)?;
    Ok(())
}

/// From white over blue to near black; lightness falls evenly.
fn shade(v: f64) -> RGBColor {
    let stops = [[255.0, 255.0, 255.0], [107.0, 174.0, 214.0], [8.0, 48.0, 107.0]];
    let at = v.clamp(0.0, 1.0) * 2.0;
    let (low, t) = ((at as usize).min(1), at - (at as usize).min(1) as f64);
    let mix = |c: usize| (stops[low][c] + t * (stops[low + 1][c] - stops[low][c])).round() as u8;
    RGBColor(mix(0), mix(1), mix(2))
}
