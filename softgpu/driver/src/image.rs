//! Module images: PTX text, fatbins with PTX (plain, LZ4, zstd), and what a cubin beside the PTX says of registers.
//!
//! The container's layout is not documented by NVIDIA; this follows what nvcc 13.0 writes, as its files show: a header
//! (magic, version, header bytes, payload bytes), then entries, each with a header of its own.

use std::collections::{BTreeMap, HashMap};
use std::ffi::{CStr, c_char};
use std::io::Read;
use std::sync::Arc;

use crate::device::{MAX_THREADS, REGISTERS, WARP};
use crate::status::{Result, Status, refuse};

/// A kernel that can be launched.
pub struct Kernel {
    pub name: String,
    pub module: Arc<softgpu::Module>,
    pub signature: softgpu::Signature,
    /// Of sm_80, where the image has its cubin; else what is assumed.
    pub registers: u32,
    pub known_registers: Option<u32>,
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

const FATBIN: u32 = 0xba55_ed50;
/// `__fatBinC_Wrapper_t` in `fatbinary_section.h`: magic, version, pointer to the fatbin, pointer to a name.
const WRAPPER: u32 = 0x4662_43b1;
const ELF: u32 = u32::from_le_bytes(*b"\x7fELF");
/// Architectures whose PTX runs here.
const ARCHITECTURE: u32 = 80;
/// Registers of a thread where no cubin tells: what nvcc gives an ordinary kernel.
const USUAL_REGISTERS: u32 = 32;
const NO_PTX: &str = "the image holds no PTX for compute capability 8.0 or less, only machine code (cubin), which softgpu \
    does not run: build with `nvcc -gencode arch=compute_80,code=compute_80`, or pass the PTX text itself";

fn word<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

fn u16_at(bytes: &[u8], at: usize) -> Option<usize> {
    word(bytes, at).map(|b| u16::from_le_bytes(b).into())
}

fn u32_at(bytes: &[u8], at: usize) -> Option<usize> {
    word(bytes, at).map(|b| u32::from_le_bytes(b) as usize)
}

fn u64_at(bytes: &[u8], at: usize) -> Option<usize> {
    word(bytes, at).map(|b| u64::from_le_bytes(b) as usize)
}

/// The PTX in an image, and the registers of its kernels where a cubin for sm_80 lies beside it.
///
/// # Safety
/// `image` points to a fatbin, its wrapper, a cubin, or text that ends in a zero byte.
pub unsafe fn ptx_of(image: *const u8) -> Result<(String, HashMap<String, u32>)> {
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
        FATBIN => fatbin(unsafe {
            let header = std::slice::from_raw_parts(image, 16);
            let bytes = u16_at(header, 6).unwrap_or(16) + u64_at(header, 8).unwrap_or(0);
            std::slice::from_raw_parts(image, bytes)
        }),
        // SAFETY: the wrapper's pointer is at byte 8.
        WRAPPER => unsafe { ptx_of((image.add(8) as *const *const u8).read_unaligned()) },
        ELF => refuse(Status::NO_BINARY_FOR_GPU, NO_PTX),
        _ => {
            // SAFETY: text ends in a zero byte.
            let text = unsafe { CStr::from_ptr(image as *const c_char) }.to_string_lossy().into_owned();
            if !text.contains(".version") {
                return refuse(Status::INVALID_IMAGE, "the image is neither PTX text, a fatbin nor a cubin");
            }
            Ok((text, HashMap::new()))
        }
    }
}

/// As [`ptx_of`], for an image whose size is known.
pub fn ptx_of_bytes(bytes: &[u8]) -> Result<(String, HashMap<String, u32>)> {
    match u32_at(bytes, 0).map(|magic| magic as u32) {
        Some(FATBIN) => fatbin(bytes),
        Some(ELF) => refuse(Status::NO_BINARY_FOR_GPU, NO_PTX),
        _ => Ok((String::from_utf8_lossy(bytes).trim_end_matches('\0').to_owned(), HashMap::new())),
    }
}

/// An entry's header, as far as it matters.
struct Entry<'a> {
    ptx: bool,
    architecture: u32,
    flags: u64,
    /// As stored, and its size when unpacked.
    payload: &'a [u8],
    unpacked: usize,
}

const LZ4: u64 = 0x2000;
const ZSTD: u64 = 0x8000;

fn entries(fatbin: &[u8]) -> Option<Vec<Entry<'_>>> {
    let mut at = u16_at(fatbin, 6)?;
    let end = (at + u64_at(fatbin, 8)?).min(fatbin.len());
    let mut entries = Vec::new();
    while at + 64 <= end {
        let header = fatbin.get(at..)?;
        let (header_bytes, padded, packed) = (u32_at(header, 4)?, u64_at(header, 8)?, u32_at(header, 16)?);
        let payload = header.get(header_bytes..header_bytes.checked_add(padded)?)?;
        entries.push(Entry {
            ptx: u16_at(header, 0)? == 1,
            architecture: u32_at(header, 28)? as u32,
            flags: u64_at(header, 40)? as u64,
            payload: if packed > 0 { payload.get(..packed)? } else { payload },
            unpacked: u64_at(header, 56)?,
        });
        at += header_bytes + padded;
    }
    Some(entries)
}

impl Entry<'_> {
    fn unpack(&self) -> Option<Vec<u8>> {
        if self.flags & ZSTD != 0 {
            let mut text = Vec::with_capacity(self.unpacked);
            let frame = ruzstd::decoding::StreamingDecoder::new(self.payload).ok()?;
            // A damaged header cannot make us take more than it says.
            frame.take(self.unpacked as u64).read_to_end(&mut text).ok()?;
            Some(text)
        } else if self.flags & LZ4 != 0 {
            lz4(self.payload, self.unpacked)
        } else {
            Some(self.payload.to_vec())
        }
    }
}

/// An LZ4 block: literals, then copies from what is there already (LZ4 block format description).
fn lz4(packed: &[u8], unpacked: usize) -> Option<Vec<u8>> {
    let (mut out, mut at) = (Vec::new(), 0);
    let long = |at: &mut usize, mut length: usize| {
        if length == 15 {
            loop {
                let more = *packed.get(*at)?;
                *at += 1;
                length += usize::from(more);
                if more != 255 {
                    break;
                }
            }
        }
        Some(length)
    };
    while at < packed.len() && out.len() < unpacked {
        let token = usize::from(packed[at]);
        at += 1;
        let literals = long(&mut at, token >> 4)?;
        out.extend_from_slice(packed.get(at..at + literals)?);
        at += literals;
        if at >= packed.len() || out.len() >= unpacked {
            break;
        }
        let back = u16_at(packed, at)?;
        at += 2;
        let length = long(&mut at, token & 15)? + 4;
        let from = out.len().checked_sub(back).filter(|_| back > 0)?;
        (0..length).for_each(|i| out.push(out[from + i]));
    }
    Some(out)
}

fn fatbin(bytes: &[u8]) -> Result<(String, HashMap<String, u32>)> {
    let broken = || refuse(Status::INVALID_IMAGE, "the fatbin is damaged");
    let Some(entries) = entries(bytes) else { return broken() };
    let ptx = entries.iter().filter(|e| e.ptx && e.architecture <= ARCHITECTURE).max_by_key(|e| e.architecture);
    let Some(ptx) = ptx else { return refuse(Status::NO_BINARY_FOR_GPU, NO_PTX) };
    let Some(text) = ptx.unpack() else { return broken() };
    let cubin = entries.iter().find(|e| !e.ptx && e.architecture == ARCHITECTURE).and_then(Entry::unpack);
    let registers = cubin.and_then(|elf| registers_of(&elf)).unwrap_or_default();
    Ok((String::from_utf8_lossy(&text).trim_end_matches('\0').to_owned(), registers))
}

/// Registers of each kernel in a cubin: the upper byte of `sh_info` of its section `.text.<kernel>`.
fn registers_of(elf: &[u8]) -> Option<HashMap<String, u32>> {
    let (table, size, count, names) = (u64_at(elf, 40)?, u16_at(elf, 58)?, u16_at(elf, 60)?, u16_at(elf, 62)?);
    let section = |index: usize| elf.get(table + index * size..)?.get(..64);
    let names = u64_at(section(names)?, 24)?;
    let mut registers = HashMap::new();
    for index in 0..count {
        let section = section(index)?;
        let name = CStr::from_bytes_until_nul(elf.get(names + u32_at(section, 0)?..)?).ok()?.to_str().ok()?;
        if let Some(kernel) = name.strip_prefix(".text.") {
            registers.insert(kernel.to_owned(), (u32_at(section, 44)? >> 24) as u32);
        }
    }
    Some(registers)
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
pub fn load(text: &str, registers: &HashMap<String, u32>) -> std::result::Result<Image, (Status, String)> {
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
        let known_registers = registers.get(name).copied();
        let registers = known_registers.unwrap_or(USUAL_REGISTERS);
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
            known_registers,
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
    fn lz4_blocks_unpack() {
        // "abcabcabcabcX": 3 literals, a copy of 9 from 3 back, 1 literal.
        let packed = [0x35, b'a', b'b', b'c', 3, 0, 0x10, b'X'];
        assert_eq!(lz4(&packed, 13).as_deref(), Some(&b"abcabcabcabcX"[..]));
        assert_eq!(lz4(&[0x35, b'a', b'b', b'c', 9, 0], 13), None, "a copy from before the start");
    }

    #[test]
    fn directives_are_read() {
        let text = "// .target sm_99\n.version 8.2\n.target sm_80\n.visible .entry ab(.param .u64 x)\n.maxntid 9, 9, 9\n{ }\n\
                    .visible .entry a(\n.param .u64 x\n)\n.maxntid 128, 2, 1\n.minnctapersm 2\n{ }\n.entry b() { }";
        assert_eq!((directive(text, ".version"), directive(text, ".target")), (Some(82), Some(80)));
        assert_eq!(block_directive(text, "a", ".maxntid"), Some([128, 2, 1]));
        assert_eq!(block_directive(text, "b", ".maxntid"), None);
    }
}
