//! Admin: where the initial ω of each residual sublayer come from, and the original's file of them.
//!
//! * Profiled (Liu et al. 2020, arXiv:2004.08249, section 4.3): one forward pass in training mode; within each stack
//!   ω₁ = 1 and ω_{i+1} = √(Var[ω_i·x_i] + Var[f_i(x_i)]), x_i the sublayer's shortcut input and f_i its branch output
//!   after dropout. Var is over all elements of all real tokens, mean removed. ω_i is in force as soon as it is known,
//!   so x_{i+1} has felt it.
//! * Analytic: √((n+1)/ln(n+1) − 1) for n residual sublayers, as admin-torch. Like there, n counts one stack: 2 per
//!   encoder layer, 3 per decoder layer, so the two stacks get two values.
//! * A file `profile.ratio.init`: lines `<index> <omega>`, the encoder's from 1, then the decoder's from 1 again.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use super::config::{ModelConfig, Stack};
use super::params::Params;
use crate::error::{Error, Result};
use crate::files::write_whole;
use crate::terminal::{Progress, reads};

/// One ω per sublayer, in the order they run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Omegas {
    pub encoder: Vec<f32>,
    pub decoder: Vec<f32>,
}

/// √((n+1)/ln(n+1) − 1): keeps the change of a stack of `n` residual sublayers at O(log n).
pub fn analytic_omega(n: usize) -> f64 {
    let m = (n + 1) as f64;
    (m / m.ln() - 1.0).sqrt()
}

impl Omegas {
    /// ω = 1 everywhere: plain Post-LN.
    pub fn ones(config: &ModelConfig) -> Omegas {
        Omegas::filled(config, |_| 1.0)
    }

    /// The analytic value of each stack.
    pub fn analytic(config: &ModelConfig) -> Omegas {
        Omegas::filled(config, |n| analytic_omega(n) as f32)
    }

    fn filled(config: &ModelConfig, value: impl Fn(usize) -> f32) -> Omegas {
        let of = |stack| {
            let n = config.sublayers(stack);
            vec![value(n); n]
        };
        Omegas { encoder: of(Stack::Encoder), decoder: of(Stack::Decoder) }
    }

    /// The values of `stack`.
    pub fn stack(&self, stack: Stack) -> &[f32] {
        match stack {
            Stack::Encoder => &self.encoder,
            Stack::Decoder => &self.decoder,
        }
    }

    /// Writes each ω into its vector of `params`.
    pub fn apply(&self, params: &Params, config: &ModelConfig) -> Result<()> {
        for stack in [Stack::Encoder, Stack::Decoder] {
            let (got, expected) = (self.stack(stack).len(), config.sublayers(stack));
            if got != expected {
                return Err(Error::data(format!("{got} values of ω for the {}'s {expected} sublayers", stack.name())));
            }
            for (index, omega) in self.stack(stack).iter().enumerate() {
                params.write(&omega_name(stack, index), &vec![*omega; config.d_model])?;
            }
        }
        Ok(())
    }

    /// Reads the original's file for a model of `config`'s depth. Errors name the line.
    pub fn load(path: &Path, config: &ModelConfig) -> Result<Omegas> {
        reads(path);
        let text = fs::read_to_string(path).map_err(|error| Error::io(path, "read", error))?;
        Omegas::parse(&text, config).map_err(|error| error.context(path.display()))
    }

    fn parse(text: &str, config: &ModelConfig) -> Result<Omegas> {
        let due: Vec<(Stack, usize)> = [Stack::Encoder, Stack::Decoder]
            .into_iter()
            .flat_map(|stack| (1..=config.sublayers(stack)).map(move |index| (stack, index)))
            .collect();
        let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        if lines.len() != due.len() {
            let (encoder, decoder) = (config.sublayers(Stack::Encoder), config.sublayers(Stack::Decoder));
            return Err(Error::data(format!(
                "{} lines of ω where {} are due: {encoder} for the encoder, then {decoder} for the decoder",
                lines.len(),
                due.len()
            ))
            .hint("the file must come from a model with as many layers"));
        }
        let mut omegas = Omegas::default();
        for (number, (line, (stack, index))) in lines.iter().zip(due).enumerate() {
            let omega = parse_line(line, index).ok_or_else(|| {
                let place = format!("{} sublayer {index}", stack.name());
                Error::data(format!("line {}: `{line}` is not `{index} OMEGA` ({place})", number + 1))
                    .hint("ω is a positive number; the index counts from 1 in each stack")
            })?;
            match stack {
                Stack::Encoder => omegas.encoder.push(omega),
                Stack::Decoder => omegas.decoder.push(omega),
            }
        }
        Ok(omegas)
    }

    /// Text of the original's file; each value reads back to the bit.
    pub fn to_file(&self) -> String {
        let mut text = String::new();
        for values in [&self.encoder, &self.decoder] {
            for (index, omega) in values.iter().enumerate() {
                // `{:?}` prints the shortest decimal that reads back to the same f32, with a point: 1.0.
                let _ = writeln!(text, "{} {omega:?}", index + 1);
            }
        }
        text
    }

    /// Writes the original's file.
    pub fn save(&self, path: &Path) -> Result<()> {
        write_whole(path, self.to_file().as_bytes())
    }

    /// A table for people: one row per layer, one column per sublayer.
    pub fn table(&self) -> String {
        let mut text = String::new();
        for stack in [Stack::Encoder, Stack::Decoder] {
            let parts = stack.sublayers();
            let _ = write!(text, "{:<12}", stack.name());
            for part in parts {
                let _ = write!(text, "{:>16}", part.title());
            }
            text.push('\n');
            for (layer, row) in self.stack(stack).chunks(parts.len()).enumerate() {
                let _ = write!(text, "{:<12}", format!("layer {layer}"));
                for omega in row {
                    let _ = write!(text, "{omega:>16.4}");
                }
                text.push('\n');
            }
        }
        text
    }
}

fn parse_line(line: &str, index: usize) -> Option<f32> {
    let mut fields = line.split_whitespace();
    let (number, omega) = (fields.next()?, fields.next()?);
    // The original reads the index as a float too, so `1.0` counts as 1.
    let valid = number.parse::<f64>().ok()? == index as f64 && fields.next().is_none();
    let omega: f32 = omega.parse().ok()?;
    (valid && omega.is_finite() && omega > 0.0).then_some(omega)
}

/// Name of the ω of sublayer `index` (from 0, through all layers) of `stack`.
pub fn omega_name(stack: Stack, index: usize) -> String {
    let parts = stack.sublayers();
    format!("{}.{}", stack.layer(index / parts.len()), stack.omega(parts[index % parts.len()]))
}

/// Collects ω while the forward pass runs.
#[derive(Default)]
pub struct Profiler {
    omegas: Omegas,
    /// Variance of the last sublayer's sum, ω_i·x_i and f_i taken as uncorrelated; none before the first.
    variance: Option<f64>,
    progress: Option<Progress>,
}

impl Profiler {
    /// One that shows progress.
    pub fn shown(config: &ModelConfig) -> Profiler {
        let all = config.sublayers(Stack::Encoder) + config.sublayers(Stack::Decoder);
        Profiler { progress: Some(Progress::new("profile", Some(all as u64))), ..Profiler::default() }
    }

    /// Starts the recurrence of a stack: its first ω is 1.
    pub fn start_stack(&mut self) {
        self.variance = None;
    }

    /// ω of the sublayer that is about to close.
    pub fn omega(&mut self, stack: Stack) -> f32 {
        let omega = self.variance.map_or(1.0, |variance| variance.sqrt() as f32);
        match stack {
            Stack::Encoder => self.omegas.encoder.push(omega),
            Stack::Decoder => self.omegas.decoder.push(omega),
        }
        omega
    }

    /// Var[ω·x] and Var[f] of the sublayer that closes.
    pub fn observe(&mut self, shortcut: f64, branch: f64) {
        self.variance = Some(shortcut + branch);
        if let Some(progress) = &mut self.progress {
            progress.step("sublayers");
        }
    }

    /// What was collected.
    pub fn into_omegas(self) -> Omegas {
        self.omegas
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Init, Residual};
    use crate::model::Tables;

    fn config() -> ModelConfig {
        ModelConfig {
            encoder_layers: 2,
            decoder_layers: 1,
            d_model: 8,
            ffn: 8,
            heads: 1,
            vocab: 5,
            max_positions: 8,
            residual: Residual::Admin,
            init: Init::Xavier,
            omega_frozen: false,
            keep_first_omega_one: false,
            tables: Tables::Shared,
            dropout: 0.0,
            attention_dropout: 0.0,
            relu_dropout: 0.0,
        }
    }

    #[test]
    fn the_file_reads_back_to_the_bit() {
        let omegas = Omegas { encoder: vec![1.0, 1.060_206_8, 1.1, 7.0], decoder: vec![1.0, f32::MIN_POSITIVE, 3.3] };
        let text = omegas.to_file();
        assert!(text.starts_with("1 1.0\n2 1.0602068\n"), "{text}");
        assert_eq!(Omegas::parse(&text, &config()).unwrap(), omegas);
    }

    #[test]
    fn a_wrong_file_is_refused_with_its_line() {
        let message = |text: &str| Omegas::parse(text, &config()).unwrap_err().to_string();
        let short = message("1 1.0\n2 1.1\n");
        assert!(
            short.starts_with("2 lines of ω where 7 are due: 4 for the encoder, then 3 for the decoder"),
            "{short}"
        );
        let order = message("1 1.0\n2 1.1\n4 1.1\n4 1.2\n1 1.0\n2 1\n3 1\n");
        assert!(order.starts_with("line 3: `4 1.1` is not `3 OMEGA` (encoder sublayer 3)"), "{order}");
        for bad in ["nan", "-1", "0", "x", "1 2"] {
            let text = format!("1 1.0\n2 1.1\n3 {bad}\n4 1.2\n1 1.0\n2 1\n3 1\n");
            assert!(message(&text).starts_with("line 3"), "{bad}");
        }
    }

    #[test]
    fn analytic_values_count_each_stack_for_itself() {
        assert!((analytic_omega(12) - 2.017_009_218_686_578).abs() < 1e-12); // √(13/ln 13 − 1), by Python's math
        let omegas = Omegas::analytic(&config());
        assert_eq!(omegas.encoder, vec![analytic_omega(4) as f32; 4]);
        assert_eq!(omegas.decoder, vec![analytic_omega(3) as f32; 3]);
    }
}
