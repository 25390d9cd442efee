//! Decoded kernels as text: what softgpu makes of PTX, one instruction a line.

use std::fmt::{self, Write};

use crate::decode::{Decoded, Init, Special};
use crate::exec::mem::{GENERIC, GLOBAL, LOCAL, SHARED};
use crate::ir::{Code, Inst, Ir, Reg};
use crate::isa::Kind;
use crate::{LoadError, decode, parse};

/// All kernels of a PTX text as softgpu runs them. Registers are called `r` (32 bits), `d` (64 bits) and `p`
/// (predicates) by number; what no instruction writes is shown by its value. With `places`, each line ends with where
/// it comes from. Of a kernel that softgpu cannot run, there is the reason. Errors: malformed text.
pub fn disassemble(ptx: &str, places: bool) -> Result<String, LoadError> {
    let module = parse::parse(ptx)?;
    let mut out = String::new();
    for kernel in &module.kernels {
        // Writing to a string cannot fail.
        let _ = match decode::decode(&module, kernel) {
            Ok(decoded) => write_kernel(&mut out, &decoded, places),
            Err(why) if places => writeln!(out, "{}: {why}", kernel.name),
            Err(why) => writeln!(out, "{}: {}", kernel.name, why.what),
        };
    }
    Ok(out)
}

fn write_kernel(out: &mut String, decoded: &Decoded, places: bool) -> fmt::Result {
    let ir = &decoded.ir;
    writeln!(out, "{}: shared {}, local {}", decoded.name, decoded.shared_bytes, decoded.local_bytes)?;
    for (at, inst) in ir.insts.iter().enumerate() {
        if ir.functions.contains(&at) {
            writeln!(out, "function:")?;
        }
        if at == ir.entry {
            writeln!(out, "kernel:")?;
        }
        let text = instruction(ir, inst);
        let place = &decoded.places[inst.place as usize];
        if !places {
            writeln!(out, "{at:>6}: {text}")?;
            continue;
        }
        write!(out, "{at:>6}: {text:<48} ; {} (line {}", place.text, place.line)?;
        if let Some((file, line)) = &place.source {
            write!(out, ", {file}:{line}")?;
        }
        writeln!(out, ")")?;
    }
    Ok(())
}

fn register(ir: &Ir, r: Reg) -> String {
    let Some(register) = ir.registers.get(r as usize) else { return format!("?{r}") };
    match (register.init, register.kind) {
        (Some(Init::Bits(bits)), _) => match bits as i64 {
            value @ -4096..=4096 => format!("{value}"),
            _ => format!("{bits:#x}"),
        },
        (Some(Init::Param { offset, bytes }), _) => format!("param[{offset}..{}]", offset + bytes),
        (Some(Init::Variable { index, offset }), _) => format!("variable{index}{offset:+}"),
        (Some(Init::Special(special)), _) => special_name(special),
        (None, Kind::P) => format!("p{r}"),
        (None, Kind::W) => format!("r{r}"),
        (None, Kind::D) => format!("d{r}"),
    }
}

fn special_name(special: Special) -> String {
    let axis = |name: &str, axis: usize| format!("%{name}.{}", ["x", "y", "z"][axis.min(2)]);
    match special {
        Special::Thread(a) => axis("tid", a),
        Special::Block(a) => axis("ctaid", a),
        Special::Threads(a) => axis("ntid", a),
        Special::Blocks(a) => axis("nctaid", a),
        Special::GridBarrier(half) => format!("%envreg{}", half + 1),
        other => format!("%{other:?}").to_lowercase(),
    }
}

fn opcode(inst: &Inst) -> String {
    let space = |space: u8| match space {
        GLOBAL => ".global",
        SHARED => ".shared",
        LOCAL => ".local",
        GENERIC => "",
        _ => ".generic",
    };
    match inst.code {
        Code::Row(row) => row.names[0].to_string(),
        Code::Load(a) | Code::Store(a) => {
            let name = if matches!(inst.code, Code::Load(_)) { "ld" } else { "st" };
            let lanes = if a.v > 1 { format!(".v{}", a.v) } else { String::new() };
            format!("{name}{}{}{lanes}.{}", if a.strong { ".volatile" } else { "" }, space(a.space), a.ty)
        }
        Code::Shuffle(mode) => format!("shfl.sync.{mode}.b32"),
        Code::Vote(mode) => format!("vote.sync.{mode}"),
        Code::Wide(wide) => wide.name.to_string(),
        Code::Barrier(mode) => format!("barrier.{mode:?}").to_lowercase(),
        other => format!("{other:?}").split(['(', ' ']).next().unwrap_or_default().to_lowercase(),
    }
}

fn instruction(ir: &Ir, inst: &Inst) -> String {
    let mut text = String::new();
    if let Some((p, negated)) = inst.guard {
        text += &format!("@{}{} ", if negated { "!" } else { "" }, register(ir, p));
    }
    text += &opcode(inst);
    let mut operands: Vec<String> = Vec::new();
    match inst.code {
        Code::Store(a) => {
            operands.push(format!("[{}{:+}]", register(ir, inst.s[1]), inst.imm as i32));
            operands.extend([0, 2, 3, 4].into_iter().take(a.v).map(|at| register(ir, inst.s[at])));
        }
        Code::Load(_) => {
            operands.extend(inst.defs().map(|r| register(ir, r)));
            operands.push(format!("[{}{:+}]", register(ir, inst.s[1]), inst.imm as i32));
        }
        _ => {
            operands.extend(inst.defs().chain(inst.uses()).map(|r| register(ir, r)));
            match inst.code {
                Code::Branch | Code::Call | Code::Switch => operands.extend(inst.targets().map(|at| format!("@{at}"))),
                Code::Lop3 | Code::Vote(_) => operands.push(format!("{:#x}", inst.imm)),
                Code::Wide(_) | Code::Barrier(_) => {
                    operands.extend(inst.more.iter().flat_map(|more| &more.imms).map(|imm| format!("#{imm}")));
                }
                _ => {}
            }
        }
    }
    if !operands.is_empty() {
        text += " ";
        text += &operands.join(", ");
    }
    text
}
