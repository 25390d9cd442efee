//! Module images, and what the driver knows of their kernels. What is inside a fatbin reads [`softgpu::image`].

use std::collections::{BTreeMap, HashMap};
use std::ffi::{CStr, c_char};
use std::sync::Arc;

use softgpu::MAX_THREADS;
use softgpu::image::{self, ARCHITECTURE, ELF, FATBIN, ImageError, Resources, WRAPPER, fatbin_bytes};

use crate::device::{REGISTERS, WARP};
use crate::status::{Result, Status, refuse};

/// A kernel that can be launched.
pub struct Kernel {
    pub name: String,
    pub module: Arc<softgpu::Module>,
    pub signature: softgpu::Signature,
    /// Of sm_80, where the image has its cubin; else what is assumed.
    pub registers: u32,
    /// By architecture, where the image has its cubin.
    pub resources: HashMap<u32, Resources>,
    /// Threads a block may have, by `.maxntid`, `.reqntid` and registers.
    pub max_threads: u32,
    /// `.reqntid`.
    pub required_block: Option<[u32; 3]>,
    /// Of the PTX: its version and target, as 10 × major + minor.
    pub ptx_version: u32,
    pub target: u32,
}

pub struct Image {
    pub module: Arc<softgpu::Module>,
    pub kernels: BTreeMap<String, Arc<Kernel>>,
    /// Names in the order of the text.
    pub order: Vec<String>,
}

/// Registers of a thread where no cubin tells: what nvcc gives an ordinary kernel.
const USUAL_REGISTERS: u32 = 32;

/// An image's PTX, and what its kernels take of each architecture where there is a cubin for it.
pub type Read = (String, Cubins);
pub type Cubins = BTreeMap<u32, BTreeMap<String, Resources>>;

/// Reads an image.
///
/// # Safety
/// `image` points to a fatbin, its wrapper, a cubin, or text that ends in a zero byte.
pub unsafe fn ptx_of(image: *const u8) -> Result<Read> {
    if image.is_null() {
        return Err(Status::INVALID_VALUE);
    }
    // SAFETY: the caller's promise; text of fewer than 4 bytes ends in a zero byte that is not passed.
    let magic = unsafe {
        let byte = |i: usize| image.add(i).read();
        let mut magic = [0; 4];
        for (i, to) in magic.iter_mut().enumerate() {
            *to = byte(i);
            if *to == 0 {
                break;
            }
        }
        u32::from_le_bytes(magic)
    };
    match magic {
        // SAFETY: as declared in the headers.
        FATBIN => ptx_of_bytes(unsafe {
            let header = std::slice::from_raw_parts(image, 16);
            std::slice::from_raw_parts(image, fatbin_bytes(header).unwrap_or(16))
        }),
        // SAFETY: the wrapper's pointer is at byte 8.
        WRAPPER => unsafe { ptx_of((image.add(8) as *const *const u8).read_unaligned()) },
        // Its size is not known, and nobody passes more than a cubin.
        ELF => refuse(Status::NO_BINARY_FOR_GPU, ImageError::NoPtx),
        // SAFETY: text ends in a zero byte.
        _ => ptx_of_bytes(unsafe { CStr::from_ptr(image as *const c_char) }.to_bytes()),
    }
}

/// As [`ptx_of`], for an image whose size is known.
pub fn ptx_of_bytes(bytes: &[u8]) -> Result<Read> {
    match image::read(bytes) {
        Ok(image) => Ok((image.ptx, image.cubins)),
        Err(error @ ImageError::NoPtx) => refuse(Status::NO_BINARY_FOR_GPU, error),
        Err(error) => refuse(Status::INVALID_IMAGE, error),
    }
}

/// The number after a directive: 82 for `.version 8.2`, 80 for `.target sm_80`.
fn directive(text: &str, name: &str) -> Option<u32> {
    let line = text.lines().find_map(|line| line.trim_start().strip_prefix(name))?;
    let digits: String =
        line.chars().skip_while(|c| !c.is_ascii_digit()).take_while(|c| c.is_ascii_digit() || *c == '.').collect();
    match digits.split_once('.') {
        Some((major, minor)) => Some(10 * major.parse::<u32>().ok()? + minor.parse::<u32>().ok()?),
        None => digits.parse().ok(),
    }
}

/// `.maxntid` or `.reqntid` of a kernel.
fn block_directive(text: &str, kernel: &str, name: &str) -> Option<[u32; 3]> {
    let start = text.match_indices(".entry").map(|(at, word)| at + word.len()).find(|at| {
        let rest = text[*at..].trim_start();
        rest.strip_prefix(kernel)
            .is_some_and(|after| !after.starts_with(|c: char| c.is_alphanumeric() || c == '_' || c == '$'))
    })?;
    let head = &text[start..];
    let head = &head[..head.find('{')?];
    let line = head[head.find(name)? + name.len()..].lines().next()?;
    let mut block = [1; 3];
    for (to, number) in block.iter_mut().zip(line.split(',')) {
        *to = number.trim().parse().ok()?;
    }
    Some(block)
}

/// Loads PTX. The error is the code and the text for the JIT's error log.
pub fn load(text: &str, cubins: &Cubins) -> std::result::Result<Image, (Status, String)> {
    let target = directive(text, ".target").unwrap_or(0);
    if target > ARCHITECTURE {
        let what = format!("the PTX is for sm_{target}; this device has compute capability 8.0");
        return Err((Status::NO_BINARY_FOR_GPU, what));
    }
    let module = softgpu::Module::load(text).map_err(|error| (Status::INVALID_PTX, error.to_string()))?;
    let (module, order) = (Arc::new(module), Vec::new());
    let mut image = Image { module: Arc::clone(&module), kernels: BTreeMap::new(), order };
    for name in module.entries() {
        let Some(signature) = module.signature(name) else { continue };
        let of = |kernels: &BTreeMap<String, Resources>| kernels.get(name).copied();
        let resources: HashMap<u32, Resources> =
            cubins.iter().filter_map(|(&arch, kernels)| Some((arch, of(kernels)?))).collect();
        let registers = resources.get(&ARCHITECTURE).map_or(USUAL_REGISTERS, |known| known.registers);
        let required_block = block_directive(text, name, ".reqntid");
        let bound = required_block.or_else(|| block_directive(text, name, ".maxntid"));
        // A warp's registers come in units of 256, and four warps share an allocation.
        let per_warp = (registers.max(1) * WARP).next_multiple_of(256);
        let by_registers = REGISTERS / per_warp / 4 * 4 * WARP;
        let max_threads = bound.map_or(MAX_THREADS, |block| block.iter().product()).min(MAX_THREADS).min(by_registers);
        let kernel = Kernel {
            name: name.to_owned(),
            module: Arc::clone(&module),
            signature,
            registers,
            resources,
            max_threads,
            required_block,
            ptx_version: target,
            target: ARCHITECTURE,
        };
        image.order.push(name.to_owned());
        image.kernels.insert(name.to_owned(), Arc::new(kernel));
    }
    Ok(image)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directives_are_read() {
        let text = "// .target sm_99\n.version 8.2\n.target sm_80\n.visible .entry ab(.param .u64 x)\n.maxntid 9, 9, 9\n{ }\n\
                    .visible .entry a(\n.param .u64 x\n)\n.maxntid 128, 2, 1\n.minnctapersm 2\n{ }\n.entry b() { }";
        assert_eq!((directive(text, ".version"), directive(text, ".target")), (Some(82), Some(80)));
        assert_eq!(block_directive(text, "a", ".maxntid"), Some([128, 2, 1]));
        assert_eq!(block_directive(text, "b", ".maxntid"), None);
    }
}
