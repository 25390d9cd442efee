//! Address spaces, cache hints and fences: PTX ISA 9.0, 9.7.9.14 to 9.7.9.20 and 9.7.13.4.

use super::memory::window;
use super::{Decoder, Init, Result, unsupported};
use crate::ast::{Class, Instruction, Operand};
use crate::exec::address;
use crate::ir::{Code, More};
use crate::isa::{Form, Kind};

pub static FORMS: &[Form] = &[
    Form {
        names: &[
            "cvta[.to](.global|.shared|.shared::cta|.shared::cluster|.local|.const|.param|.param::entry)(.u32|.u64)",
        ],
        decode: |d, i, parts| d.convert_address(i, parts),
    },
    Form {
        names: &["isspacep(.global|.shared|.shared::cta|.shared::cluster|.local|.const|.param|.param::entry)"],
        decode: |d, i, parts| d.is_space(i, parts[1]),
    },
    Form {
        names: &[
            "prefetch[.global|.local](.L1|.L2)",
            "prefetch.global(.L2::evict_last|.L2::evict_normal)",
            "prefetchu.L1",
            "applypriority[.global].L2::evict_normal",
        ],
        decode: |d, i, _| d.hint(i),
    },
    Form { names: &["discard[.global].L2"], decode: |d, i, parts| d.discard(i, parts) },
    Form {
        names: &[
            "createpolicy.fractional(.L2::evict_last|.L2::evict_normal|.L2::evict_first|.L2::evict_unchanged)[.L2::evict_first|.L2::evict_unchanged].b64",
            "createpolicy.range[.global](.L2::evict_last|.L2::evict_normal|.L2::evict_first|.L2::evict_unchanged)[.L2::evict_first|.L2::evict_unchanged].b64",
            "createpolicy.cvt.L2.b64",
        ],
        decode: |d, i, _| d.policy(i),
    },
    Form {
        names: &[
            "membar(.cta|.gl|.sys)",
            "fence[.sc|.acq_rel|.acquire|.release](.cta|.cluster|.gpu|.sys)",
            "fence(.acquire|.release).sync_restrict(::shared::cluster.cluster|::shared::cta.cluster)",
            "fence.mbarrier_init.release.cluster",
            "membar.proxy(.alias|.async|.async.global|.async.shared::cta|.async.shared::cluster)",
            "fence.proxy(.alias|.async|.async.global|.async.shared::cta|.async.shared::cluster)",
            "fence.proxy.tensormap::generic(.acquire|.release)(.cta|.cluster|.gpu|.sys)",
        ],
        decode: |d, i, parts| d.fence(i, parts),
    },
];

impl<'a> Decoder<'_, 'a> {
    /// `cvta[.to].space.size d, a`: windows of the generic space start where their space has address 0.
    fn convert_address(&mut self, i: &Instruction<'a>, parts: &[&str]) -> Result<()> {
        let to = parts[1] == "to";
        let (space, size) = (parts[1 + to as usize], parts[2 + to as usize]);
        let Some(window) = window(space) else { return unsupported(i, &format!("the space `{space}`")) };
        let [d, a] = i.operands.as_slice() else { return unsupported(i, "these operands") };
        if size == "u32" {
            return unsupported(i, "32-bit generic addresses: a module has `.address_size 64`");
        }
        let a = self.widened(i, a)?;
        let d = self.slot(i, d, Kind::D)?;
        if window == 0 {
            return self.step(i, "mov.b64", [d, a, 0, 0, 0]);
        }
        let window = self.constant_slot(Init::Bits(window), Kind::D);
        self.step(i, if to { "sub.u64" } else { "add.u64" }, [d, a, window, 0, 0])
    }

    fn is_space(&mut self, i: &Instruction<'a>, space: &str) -> Result<()> {
        let [p, a] = i.operands.as_slice() else { return unsupported(i, "these operands") };
        let Some(window) = window(space) else { return unsupported(i, &format!("the space `{space}`")) };
        let (p, a) = (self.slot(i, p, Kind::P)?, self.widened(i, a)?);
        self.emit_wide(i, &address::IS_SPACE, More { defs: vec![p], uses: vec![a], imms: vec![window as i64] });
        Ok(())
    }

    /// Only asks for something to be faster: the address is not even looked at, as on a GPU.
    fn hint(&mut self, i: &Instruction<'a>) -> Result<()> {
        match i.operands.as_slice() {
            [Operand::Address { .. }] => {}
            [Operand::Address { .. }, Operand::Integer(128)] if i.opcode.starts_with("applypriority") => {}
            _ => return unsupported(i, "these operands"),
        }
        self.emit(i, Code::Nothing, [0; 5], 0);
        Ok(())
    }

    fn discard(&mut self, i: &Instruction<'a>, parts: &[&str]) -> Result<()> {
        let [address, Operand::Integer(128)] = i.operands.as_slice() else { return unsupported(i, "these operands") };
        let space = if parts[1] == "global" { "global" } else { "" };
        let place = self.place(i, address, space, true, true)?;
        let imms = vec![place.offset as i64, place.space as i64];
        self.emit_wide(i, &address::DISCARD, More { defs: vec![], uses: vec![place.base], imms });
        Ok(())
    }

    /// A cache policy is an opaque number that nobody reads: 0.
    fn policy(&mut self, i: &Instruction<'a>) -> Result<()> {
        let Some(d @ Operand::Register(r)) = i.operands.first() else { return unsupported(i, "these operands") };
        if self.kernel.registers[*r].0 != Class::Double {
            return unsupported(i, "a policy that has not 64 bits");
        }
        self.row(i, "mov.b64", &[d, &Operand::Integer(0)])
    }

    fn fence(&mut self, i: &Instruction<'a>, parts: &[&str]) -> Result<()> {
        let consistent = parts[0] == "membar" || parts[1] == "sc" || parts.len() == 2;
        let kind = match consistent {
            _ if parts.contains(&"cta") || parts[1] == "proxy" => address::BLOCK,
            true => address::CONSISTENT,
            false => 0,
        };
        self.emit_wide(i, &address::FENCE, More { imms: vec![kind], ..More::default() });
        Ok(())
    }
}
