//! CTranslate2's `model.bin` (binary version 6, `TransformerSpec` revision 7), `config.json` and vocabulary, as its
//! converters write them (`ctranslate2/specs/model_spec.py`).
//!
//! Little-endian: u32 version; the spec's name; u32 revision; u32 variables, each: name, u8 rank, u32 per dimension, u8
//! type, u32 bytes, data; u32 aliases, each: a name and the variable's. A name is a u16 length, its bytes and a zero, which
//! counts.

use std::path::Path;

use serde_json::json;

use crate::cli::export::ExportType;
use crate::config::Residual;
use crate::error::{Error, Result};
use crate::files::write_whole;
use crate::model::positions::FIRST_POSITION;
use crate::model::{Part, Stack};
use crate::text::{BOS, Dictionary, EOS, UNK};

use super::fold::Weights;
use super::to_bytes;

const VERSION: u32 = 6;
const SPEC: &str = "TransformerSpec";
const REVISION: u32 = 7;

/// Type codes of CTranslate2's `DataType`.
const F32: u8 = 0;
const I8: u8 = 1;
const I16: u8 = 2;
const F16: u8 = 4;
const BF16: u8 = 5;

struct Variable {
    name: String,
    shape: Vec<usize>,
    code: u8,
    bytes: Vec<u8>,
}

/// The variables of a file as they come together.
struct Writer<'a> {
    weights: &'a Weights,
    dtype: ExportType,
    variables: Vec<Variable>,
}

/// Writes the folder of the plain model `weights`.
pub fn write(to: &Path, weights: &Weights, dictionary: &Dictionary, dtype: ExportType) -> Result<()> {
    let mut writer = Writer { weights, dtype, variables: Vec::new() };
    for stack in [Stack::Encoder, Stack::Decoder] {
        writer.stack(stack)?;
    }
    write_whole(&to.join("model.bin"), &writer.file()?)?;
    let symbol = |id| dictionary.symbol(id);
    let config = json!({
        "add_source_bos": false, "add_source_eos": true, "bos_token": symbol(BOS), "eos_token": symbol(EOS),
        "unk_token": symbol(UNK), "decoder_start_token": symbol(EOS), "layer_norm_epsilon": null,
        "multi_query_attention": false,
    });
    for (name, value) in [("config.json", config), ("shared_vocabulary.json", json!(dictionary.symbols()))] {
        let text = serde_json::to_string_pretty(&value).map_err(|error| Error::data(format!("{name}: {error}")))?;
        write_whole(&to.join(name), (text + "\n").as_bytes())?;
    }
    Ok(())
}

impl Writer<'_> {
    fn byte(&mut self, name: String, value: i8) {
        self.variables.push(Variable { name, shape: vec![], code: I8, bytes: value.to_le_bytes().to_vec() });
    }

    fn short(&mut self, name: String, value: usize) -> Result<()> {
        let small = i16::try_from(value).map_err(|_| Error::data(format!("{name} {value}: 32767 is the most")))?;
        self.variables.push(Variable { name, shape: vec![], code: I16, bytes: small.to_le_bytes().to_vec() });
        Ok(())
    }

    fn array(&mut self, name: String, shape: &[usize], data: &[f32]) -> Result<()> {
        let code = match self.dtype {
            ExportType::F32 => F32,
            ExportType::F16 => F16,
            ExportType::Bf16 => BF16,
        };
        let bytes = to_bytes(&name, data, self.dtype)?;
        self.variables.push(Variable { name, shape: shape.to_vec(), code, bytes });
        Ok(())
    }

    fn param(&mut self, name: String, from: &str) -> Result<()> {
        let weights = self.weights;
        let tensor = weights.tensor(from)?;
        self.array(name, &tensor.shape, &tensor.data)
    }

    /// weight and bias, rows `rows` of `d` each, of an attention block's in_proj.
    fn projection(&mut self, name: &str, from: &str, rows: std::ops::Range<usize>) -> Result<()> {
        let (weights, d) = (self.weights, self.weights.config.d_model);
        let rows = rows.start * d..rows.end * d;
        let w = &weights.data(&format!("{from}.in_proj_weight"))?[rows.start * d..rows.end * d];
        self.array(format!("{name}/weight"), &[rows.len(), d], w)?;
        self.array(format!("{name}/bias"), &[rows.len()], &weights.data(&format!("{from}.in_proj_bias"))?[rows])
    }

    fn linear(&mut self, name: &str, from: &str) -> Result<()> {
        self.param(format!("{name}/weight"), &format!("{from}.weight"))?;
        self.param(format!("{name}/bias"), &format!("{from}.bias"))
    }

    fn norm(&mut self, name: &str, from: &str) -> Result<()> {
        self.param(format!("{name}/layer_norm/gamma"), &format!("{from}.weight"))?;
        self.param(format!("{name}/layer_norm/beta"), &format!("{from}.bias"))
    }

    fn stack(&mut self, stack: Stack) -> Result<()> {
        let (weights, config, name) = (self.weights, &self.weights.config, stack.name());
        let pre_norm = config.residual == Residual::PreLn;
        let flags: &[(&str, i8)] = match stack {
            Stack::Encoder => &[("activation", 0), ("embeddings_merge", 0), ("multi_query_attention", 0)],
            Stack::Decoder => &[
                ("activation", 0),
                ("alibi", 0),
                ("alibi_use_positive_positions", 0),
                ("scale_alibi", 0),
                ("start_from_zero_embedding", 0),
            ],
        };
        for (flag, value) in flags {
            self.byte(format!("{name}/{flag}"), *value);
        }
        self.byte(format!("{name}/pre_norm"), i8::from(pre_norm));
        self.short(format!("{name}/num_heads"), config.heads)?;
        let scale = (config.d_model as f32).sqrt().to_le_bytes().to_vec();
        let scale = Variable { name: format!("{name}/scale_embeddings"), shape: vec![], code: F32, bytes: scale };
        self.variables.push(scale);
        let table = if stack == Stack::Encoder { "embeddings_0" } else { "embeddings" };
        self.param(format!("{name}/{table}/weight"), config.embeddings(stack))?;
        let positions = weights.positions(stack)?.split_off(FIRST_POSITION as usize * config.d_model);
        self.array(
            format!("{name}/position_encodings/encodings"),
            &[config.max_positions, config.d_model],
            &positions,
        )?;
        if stack == Stack::Decoder {
            self.param("decoder/projection/weight".to_owned(), config.output())?;
            self.short("decoder/alignment_heads".to_owned(), 1)?;
            let last = (-1i16).to_le_bytes().to_vec();
            let last = Variable { name: "decoder/alignment_layer".to_owned(), shape: vec![], code: I16, bytes: last };
            self.variables.push(last);
        }
        if pre_norm {
            self.norm(name, &format!("{name}.layer_norm"))?;
        }
        for layer in 0..config.layers(stack) {
            for part in stack.sublayers() {
                self.sublayer(stack, layer, *part)?;
            }
        }
        Ok(())
    }

    fn sublayer(&mut self, stack: Stack, layer: usize, part: Part) -> Result<()> {
        let (from, at) = (stack.layer(layer), format!("{}/layer_{layer}", stack.name()));
        let name = match part {
            Part::SelfAttention => format!("{at}/self_attention"),
            Part::CrossAttention => format!("{at}/attention"),
            Part::Ffn => format!("{at}/ffn"),
        };
        self.norm(&name, &format!("{from}.{}", part.norm()))?;
        let block = format!("{from}.{}", part.name());
        match part {
            Part::SelfAttention => {
                self.projection(&format!("{name}/linear_0"), &block, 0..3)?;
                self.linear(&format!("{name}/linear_1"), &format!("{block}.out_proj"))
            }
            Part::CrossAttention => {
                self.projection(&format!("{name}/linear_0"), &block, 0..1)?;
                self.projection(&format!("{name}/linear_1"), &block, 1..3)?;
                self.linear(&format!("{name}/linear_2"), &format!("{block}.out_proj"))
            }
            Part::Ffn => {
                self.linear(&format!("{name}/linear_0"), &format!("{from}.fc1"))?;
                self.linear(&format!("{name}/linear_1"), &format!("{from}.fc2"))
            }
        }
    }

    /// The bytes of model.bin. Variables of the same content are written once.
    fn file(mut self) -> Result<Vec<u8>> {
        self.variables.sort_by(|a, b| a.name.cmp(&b.name));
        let (mut kept, mut aliases): (Vec<Variable>, Vec<(String, String)>) = (Vec::new(), Vec::new());
        for variable in self.variables {
            let first = kept.iter().find(|other| {
                !variable.shape.is_empty() && other.shape == variable.shape && other.bytes == variable.bytes
            });
            match first {
                Some(first) => aliases.push((variable.name, first.name.clone())),
                None => kept.push(variable),
            }
        }
        let mut out = Vec::new();
        out.extend(VERSION.to_le_bytes());
        string(&mut out, SPEC)?;
        out.extend(REVISION.to_le_bytes());
        count(&mut out, kept.len())?;
        for variable in &kept {
            string(&mut out, &variable.name)?;
            out.push(variable.shape.len() as u8);
            variable.shape.iter().try_for_each(|extent| count(&mut out, *extent))?;
            out.push(variable.code);
            count(&mut out, variable.bytes.len())?;
            out.extend(&variable.bytes);
        }
        count(&mut out, aliases.len())?;
        for (alias, name) in &aliases {
            string(&mut out, alias)?;
            string(&mut out, name)?;
        }
        Ok(out)
    }
}

fn count(out: &mut Vec<u8>, n: usize) -> Result<()> {
    let n = u32::try_from(n).map_err(|_| Error::data(format!("{n} bytes in one variable: 4 GiB is the most")))?;
    out.extend(n.to_le_bytes());
    Ok(())
}

fn string(out: &mut Vec<u8>, text: &str) -> Result<()> {
    let length = u16::try_from(text.len() + 1).map_err(|_| Error::data(format!("the name {text} is too long")))?;
    out.extend(length.to_le_bytes());
    out.extend(text.as_bytes());
    out.push(0);
    Ok(())
}
