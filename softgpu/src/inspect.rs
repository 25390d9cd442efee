//! What a PTX text has, and what of it softgpu cannot run.

use crate::ast::Parameter;
use crate::decode::{Decoded, decode_all};
use crate::isa::Kind;
use crate::{LoadError, parse};

/// What [`inspect`] finds.
pub struct Inspection {
    pub kernels: Vec<KernelInfo>,
}

/// A kernel, in its text's own terms: PTX registers are not those that a GPU will use.
pub struct KernelInfo {
    pub name: String,
    pub parameters: Vec<ParameterInfo>,
    pub instructions: usize,
    /// Virtual registers by width.
    pub words: usize,
    pub doubles: usize,
    pub predicates: usize,
    /// Static shared memory of a block, local memory of a thread, in bytes.
    pub shared_bytes: usize,
    pub local_bytes: usize,
    /// It takes shared memory of the launch's size besides.
    pub dynamic_shared: bool,
    /// What of it softgpu cannot run, in the order of the text, functions before the kernel: a launch is refused for the
    /// first.
    pub unsupported: Vec<LoadError>,
}

pub struct ParameterInfo {
    pub name: String,
    /// As PTX has it: `.f32`, `.b8[24]`.
    pub ty: String,
    /// In the parameter space, in bytes.
    pub offset: usize,
    pub bytes: usize,
}

/// Looks into PTX text without running it. Error: text that is malformed.
pub fn inspect(ptx: &str) -> Result<Inspection, LoadError> {
    let module = parse::parse(ptx)?;
    let mut found = Inspection { kernels: Vec::new() };
    for kernel in &module.kernels {
        let (decoded, errors) = decode_all(&module, kernel);
        let parameters = kernel.parameters.iter().map(parameter).collect();
        found.kernels.push(describe(&decoded, parameters, kernel.body.len(), errors));
    }
    Ok(found)
}

fn parameter(p: &Parameter) -> ParameterInfo {
    let element = parse::type_bytes(p.ty).unwrap_or(16);
    let ty = if p.array { format!("{}[{}]", p.ty, p.bytes / element) } else { p.ty.to_string() };
    ParameterInfo { name: p.name.to_string(), ty, offset: p.offset, bytes: p.bytes }
}

fn describe(
    decoded: &Decoded,
    parameters: Vec<ParameterInfo>,
    instructions: usize,
    unsupported: Vec<LoadError>,
) -> KernelInfo {
    let count = |kind: Kind| decoded.ir.registers.iter().filter(|r| r.kind == kind && r.init.is_none()).count();
    KernelInfo {
        name: decoded.name.clone(),
        parameters,
        instructions,
        words: count(Kind::W),
        doubles: count(Kind::D),
        predicates: count(Kind::P),
        shared_bytes: decoded.shared_bytes,
        local_bytes: decoded.local_bytes,
        dynamic_shared: decoded.dynamic_shared,
        unsupported,
    }
}
