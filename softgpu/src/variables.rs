//! Module variables: the `.global` and `.const` data that a module brings along. PTX ISA 9.0, 5.4.
//!
//! Each memory that a module is launched with gets its own copy, at the first launch or look-up. A `.global` variable is
//! an allocation of its own, so that running past its end is found; all `.const` variables share one bank.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::ast;
use crate::memory::{self, CONST_WINDOW, Memory, Written};
use crate::{Error, LoadError, decode};

/// Of `.const` variables, per module: PTX ISA 9.0, 5.1.3.
const BANK: usize = 64 * 1024;

/// The variables of a loaded module.
pub struct Variables {
    /// The same for no two modules.
    id: u64,
    list: Vec<Variable>,
    bank: usize,
}

struct Variable {
    name: String,
    constant: bool,
    /// In the bank, of a constant.
    at: usize,
    bytes: usize,
    /// Initial value of the first bytes; the others are zero.
    data: Vec<u8>,
    links: Vec<Link>,
}

/// Bytes of a variable that hold the address of another: known when both have their places.
struct Link {
    at: usize,
    bytes: usize,
    target: Target,
    addend: i64,
    shift: u32,
}

enum Target {
    Global(usize),
    /// A number that does not depend on the memory: a function, or an offset in the constant bank or its window.
    Fixed(u64),
}

/// Where a memory holds a module's variables.
pub struct Placed {
    /// In the order of [`Variables::index`]; constants by their place in the bank's allocation.
    pub addresses: Vec<u64>,
    /// Addresses and names of `.global` variables.
    pub names: Vec<(u64, String)>,
    pub constants: memory::Block,
    bank: Option<u64>,
}

/// The variables that have storage in this module, in the order of their indices.
fn defined<'m, 'a>(module: &'m ast::Module<'a>) -> impl Iterator<Item = &'m ast::Variable<'a>> + Clone {
    module.variables.iter().filter(|v| matches!(v.space, ".global" | ".const") && !v.external)
}

/// The number of a `.global` or `.const` variable, by which [`Placed::addresses`] has it; and its offset in the bank.
pub fn indices<'m, 'a>(module: &'m ast::Module<'a>) -> impl Iterator<Item = (&'m ast::Variable<'a>, usize, usize)> {
    let mut end = 0;
    defined(module).enumerate().map(move |(index, v)| {
        let at = usize::next_multiple_of(end, v.align);
        end = if v.space == ".const" { at + v.bytes } else { end };
        (v, index, at)
    })
}

impl Variables {
    /// Errors: an initial value that is not one, names nothing, or has no room; more than 64 KiB of constants.
    pub fn of(module: &ast::Module) -> Result<Variables, LoadError> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let mut names = HashMap::new();
        for (v, index, at) in indices(module) {
            if names.insert(v.name, (index, at, v.space)).is_some() {
                return Err(LoadError::at(v.line.0, format!("`{}` is defined twice", v.name)));
            }
        }
        let (mut list, mut bank) = (Vec::new(), 0);
        for (v, _, at) in indices(module) {
            let constant = v.space == ".const";
            if constant {
                bank = at + v.bytes;
                if bank > BANK {
                    return Err(LoadError::at(v.line.0, format!("{bank} bytes of constants, {BANK} are possible")));
                }
            }
            let (name, data) = (v.name.to_string(), v.init.clone());
            let mut variable = Variable { name, constant, at, bytes: v.bytes, data, links: Vec::new() };
            let wrong = |what: String| LoadError::at(v.line.0, format!("`{}`: {what}", v.name));
            if v.init.len() > v.bytes {
                return Err(wrong("more initial values than elements".into()));
            }
            for address in &v.addresses {
                let target = match names.get(address.name) {
                    Some(&(index, _, ".global")) => Target::Global(index),
                    Some(&(_, at, _)) if address.generic => Target::Fixed(CONST_WINDOW + at as u64),
                    Some(&(_, at, _)) => Target::Fixed(at as u64),
                    None => match decode::function_address(module, address.name) {
                        Some(address) => Target::Fixed(address),
                        None => return Err(wrong(format!("the module does not define `{}`", address.name))),
                    },
                };
                let ast::Address { at, bytes, addend, shift, .. } = *address;
                if at + bytes > v.init.len() || bytes > 8 {
                    return Err(wrong("no room for an address".into()));
                }
                variable.links.push(Link { at, bytes, target, addend, shift });
            }
            list.push(variable);
        }
        Ok(Variables { id: NEXT.fetch_add(1, Ordering::Relaxed), list, bank })
    }

    /// Where `memory` has them; puts them there if it has not.
    pub fn place(&self, memory: &Memory) -> Result<Arc<Placed>, Error> {
        let mut modules = memory.modules.lock().unwrap_or_else(|e| e.into_inner());
        if let Some(placed) = modules.get(&self.id) {
            return Ok(placed.clone());
        }
        let placed = Arc::new(self.allocate(memory)?);
        modules.insert(self.id, placed.clone());
        Ok(placed)
    }

    fn allocate(&self, memory: &Memory) -> Result<Placed, Error> {
        let bank = if self.bank > 0 { Some(memory.alloc(self.bank)?) } else { None };
        let mut addresses = Vec::new();
        for v in &self.list {
            addresses.push(match bank {
                Some(bank) if v.constant => bank + v.at as u64,
                _ => memory.alloc(v.bytes)?,
            });
        }
        for (v, &address) in self.list.iter().zip(&addresses) {
            let mut data = v.data.clone();
            for link in &v.links {
                let base = match link.target {
                    Target::Global(index) => addresses[index],
                    Target::Fixed(address) => address,
                };
                let value = base.wrapping_add(link.addend as u64) >> (link.shift & 63);
                data[link.at..link.at + link.bytes].copy_from_slice(&value.to_le_bytes()[..link.bytes]);
            }
            memory.write(address, &data)?;
            // What has no initial value is zero: PTX ISA 9.0, 5.4.4.
            memory.mark_written(address, v.bytes)?;
        }
        let globals = self.list.iter().zip(&addresses).filter(|(v, _)| !v.constant);
        let names = globals.map(|(v, &address)| (address, v.name.clone())).collect();
        let constants = match bank {
            // SAFETY: just allocated with that size; used while the memory lives.
            Some(bank) => (unsafe { memory.host_slice(bank, self.bank)? }, self.bank),
            None => (std::ptr::NonNull::dangling().as_ptr(), 0),
        };
        let constants = memory::Block { base: constants.0, bytes: constants.1 as u64, written: Written::none() };
        Ok(Placed { addresses, names, constants, bank })
    }

    /// Address and size of the variable of that name.
    pub fn find(&self, memory: &Memory, name: &str) -> Result<Option<(u64, usize)>, Error> {
        let Some(index) = self.list.iter().position(|v| v.name == name) else { return Ok(None) };
        Ok(Some((self.place(memory)?.addresses[index], self.list[index].bytes)))
    }

    /// Frees what `memory` holds of them.
    pub fn release(&self, memory: &Memory) {
        let placed = memory.modules.lock().unwrap_or_else(|e| e.into_inner()).remove(&self.id);
        let Some(placed) = placed else { return };
        let own = self.list.iter().zip(&placed.addresses).filter(|(v, _)| !v.constant).map(|(_, &address)| address);
        for address in own.chain(placed.bank) {
            // Only a variable that the caller has freed, against the rules, is gone already.
            let _ = memory.free(address);
        }
    }
}
