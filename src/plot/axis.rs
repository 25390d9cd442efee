//! Ranges of values, and the round numbers that label them.

/// More labels than this crowd an axis.
const MOST: usize = 8;

/// A range that is not empty, and its labelled values.
pub struct Axis {
    low: f64,
    high: f64,
    kind: Kind,
    /// Each with its label.
    pub ticks: Vec<(f64, String)>,
}

#[derive(Clone, Copy)]
enum Kind {
    Linear,
    Logarithmic,
    /// Places go by the square root.
    Root,
}

impl Axis {
    pub fn linear(low: f64, high: f64) -> Axis {
        Axis { low, high, kind: Kind::Linear, ticks: round(low, high, 0.0) }
    }

    /// From 0 on, with room for small values: a quarter of the first label's value is half as far away, and labelled too.
    pub fn root(high: f64) -> Axis {
        let mut ticks = round(0.0, high, 0.0);
        let quarter = ticks.get(1).map(|(first, _)| first / 4.0);
        ticks.splice(1..1, quarter.map(|value| (value, number(value))));
        Axis { low: 0.0, high, kind: Kind::Root, ticks }
    }

    /// Of numbers that are counted: labels are whole.
    pub fn counted(low: f64, high: f64) -> Axis {
        Axis { low, high, kind: Kind::Linear, ticks: round(low, high, 1.0) }
    }

    /// Of positive values. Powers of ten are labelled; 1, 2 and 5 times these where that would be too few; and values at even
    /// distances where those are.
    pub fn logarithmic(low: f64, high: f64) -> Axis {
        let (first, last) = (low.log10().floor() as i32, high.log10().ceil() as i32);
        let of = |digits: &[f64]| -> Vec<f64> {
            let all = (first..=last).flat_map(|power| digits.iter().map(move |digit| digit * 10_f64.powi(power)));
            all.filter(|value| (low..=high).contains(value)).collect()
        };
        let [powers, more] = [of(&[1.0]), of(&[1.0, 2.0, 5.0])];
        let labelled = |value: f64| (value, number(value));
        let ticks = if powers.len() > 2 {
            powers.iter().step_by(powers.len().div_ceil(MOST)).copied().map(labelled).collect()
        } else if more.len() > 2 {
            more.into_iter().map(labelled).collect()
        } else {
            round(low, high, 0.0)
        };
        Axis { low, high, kind: Kind::Logarithmic, ticks }
    }

    /// Where `value` is, from 0 at the low end to 1.
    pub fn share(&self, value: f64) -> f64 {
        let of = |value: f64| match self.kind {
            Kind::Linear => value,
            Kind::Logarithmic => value.ln(),
            Kind::Root => value.sqrt(),
        };
        (of(value) - of(self.low)) / (of(self.high) - of(self.low))
    }
}

/// Some five labelled multiples, in the range, of 1, 2 or 5 times a power of ten that is at least `least`.
fn round(low: f64, high: f64, least: f64) -> Vec<(f64, String)> {
    let rough = ((high - low) / 6.0).max(least);
    let power = (rough * 1.001).log10().floor();
    let digit = [1.0, 2.0, 5.0].into_iter().find(|digit| digit * 10_f64.powf(power) >= rough * 0.999);
    let (digit, power) = digit.map_or((1, power as i32 + 1), |digit| (digit as i64, power as i32));
    let step = digit as f64 * 10_f64.powi(power);
    // Ends that rounding has moved off their multiple belong to the range.
    let (first, last) = ((low / step - 1e-6).ceil() as i64, (high / step + 1e-6).floor() as i64);
    let most = (first.abs().max(last.abs()) * digit).max(1).ilog10() as i32 + power;
    let label = |n: i64| match most {
        -4..=4 => format!("{:.*}", (-power).max(0) as usize, n as f64 * step),
        _ if n == 0 => "0".to_owned(),
        _ => format!("{:.*}×{}", (most - power) as usize, (n * digit) as f64 / 10_f64.powi(most - power), ten_to(most)),
    };
    (first..=last).map(|n| (n as f64 * step, label(n))).collect()
}

/// 0.25, 1200, 3.1×10⁻⁶.
pub fn number(value: f64) -> String {
    // Four digits, from which zeros at the end are dropped.
    let text = format!("{value:.3e}");
    let (digits, power) = text.split_once('e').unwrap_or((&text, "0"));
    let digits = digits.trim_end_matches('0').trim_end_matches('.');
    match power.parse().unwrap_or(0) {
        power @ -3..=4 => {
            let after = digits.split_once('.').map_or(0, |(_, after)| after.len() as i32);
            format!("{value:.*}", (after - power).max(0) as usize)
        }
        power if digits == "1" => ten_to(power),
        power => format!("{digits}×{}", ten_to(power)),
    }
}

fn ten_to(power: i32) -> String {
    let raised = |c: char| c.to_digit(10).and_then(|digit| "⁰¹²³⁴⁵⁶⁷⁸⁹".chars().nth(digit as usize)).unwrap_or('⁻');
    format!("10{}", power.to_string().chars().map(raised).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(axis: &Axis) -> Vec<&str> {
        axis.ticks.iter().map(|(_, label)| label.as_str()).collect()
    }

    #[test]
    fn a_logarithmic_axis_has_three_labels_at_least() {
        assert_eq!(labels(&Axis::logarithmic(0.5, 30_000.0)), ["1", "10", "100", "1000", "10000"]);
        assert_eq!(labels(&Axis::logarithmic(0.8, 30.0)), ["1", "2", "5", "10", "20"]);
        assert_eq!(labels(&Axis::logarithmic(3.1e-7, 1.0e-6)), ["0.4×10⁻⁶", "0.6×10⁻⁶", "0.8×10⁻⁶", "1.0×10⁻⁶"]);
        assert_eq!(labels(&Axis::logarithmic(3.1, 4.2)), ["3.2", "3.4", "3.6", "3.8", "4.0", "4.2"]);
        for low in [1e-9, 3e-4, 0.07, 0.9, 1.0, 6.0, 2345.0] {
            for factor in [1.02, 1.3, 1.9, 3.0, 4.5, 9.0, 20.0, 80.0, 1e3, 1e7, 1e12] {
                let axis = Axis::logarithmic(low, low * factor);
                assert!((3..=MOST + 2).contains(&axis.ticks.len()), "{low} {factor}: {:?}", axis.ticks);
            }
        }
    }

    #[test]
    fn labels_are_round_and_alike() {
        assert_eq!(labels(&Axis::linear(0.0, 1.04)), ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        assert_eq!(labels(&Axis::linear(-0.1, 0.15)), ["-0.10", "-0.05", "0.00", "0.05", "0.10", "0.15"]);
        assert_eq!(labels(&Axis::linear(0.0, 0.002)), ["0.0000", "0.0005", "0.0010", "0.0015", "0.0020"]);
        assert_eq!(
            labels(&Axis::linear(0.0, 3e-6)),
            ["0", "0.5×10⁻⁶", "1.0×10⁻⁶", "1.5×10⁻⁶", "2.0×10⁻⁶", "2.5×10⁻⁶", "3.0×10⁻⁶"]
        );
        assert_eq!(labels(&Axis::linear(0.1428571, 0.1428574)).first(), Some(&"0.14285710"));
        assert_eq!(labels(&Axis::counted(0.9, 4.1)), ["1", "2", "3", "4"]);
        assert_eq!(labels(&Axis::counted(0.0, 1500.0)), ["0", "500", "1000", "1500"]);
        assert_eq!([0.0, 0.25, 1200.0, 3.1e-6, -2e7].map(number), ["0", "0.25", "1200", "3.1×10⁻⁶", "-2×10⁷"]);
    }

    #[test]
    fn the_ends_are_the_ends() {
        for axis in [Axis::linear(1.0, 3.0), Axis::logarithmic(1.0, 3.0)] {
            assert_eq!((axis.share(1.0), axis.share(3.0)), (0.0, 1.0));
        }
        assert_eq!([0.0, 1.0, 4.0].map(|value| Axis::root(4.0).share(value)), [0.0, 0.5, 1.0]);
    }

    #[test]
    fn roots_leave_small_values_room_and_label_one() {
        let axis = Axis::root(0.85);
        assert_eq!(labels(&axis), ["0.0", "0.05", "0.2", "0.4", "0.6", "0.8"]);
        let places: Vec<f64> = axis.ticks.iter().map(|(value, _)| axis.share(*value)).collect();
        assert!(places.windows(2).all(|pair| pair[1] - pair[0] > 0.1), "labels would touch: {places:?}");
    }
}
