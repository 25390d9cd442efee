//! Images of kernels: PTX text, a fatbin with PTX (plain, LZ4, zstd), a program or object file that holds a fatbin; and
//! what the cubins beside the PTX say of registers and shared memory.
//!
//! The container's layout is not documented by NVIDIA; this follows what nvcc 13.0 writes, as its files show: a header
//! (magic, version, header bytes, payload bytes), then entries, each with a header of its own.

use std::collections::BTreeMap;
use std::ffi::CStr;
use std::io::Read;

/// What an image holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Image {
    pub ptx: String,
    /// Of the kernels, by architecture (80 for sm_80).
    pub cubins: BTreeMap<u32, BTreeMap<String, Resources>>,
}

/// What a kernel takes of a multiprocessor, as ptxas has chosen it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resources {
    /// Of a thread.
    pub registers: u32,
    /// Static, of a block, in bytes.
    pub shared_bytes: u32,
}

/// Why there is nothing to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImageError {
    #[error(
        "the image holds no PTX for compute capability 8.0 or less, only such for later ones or machine code (cubin), \
         and softgpu runs neither: build with `nvcc -gencode arch=compute_80,code=compute_80`, or pass the PTX text itself"
    )]
    NoPtx,
    #[error("the program holds no fatbin: pass the object file or library that nvcc has made, or PTX text")]
    NoFatbin,
    #[error(
        "the fatbin is damaged, or compressed in a way that softgpu does not know: build with `nvcc --no-compress`"
    )]
    Damaged,
    #[error("the image is neither PTX text, a fatbin nor a cubin")]
    Unknown,
}

type Result<T> = std::result::Result<T, ImageError>;

/// The first bytes of a fatbin.
pub const FATBIN: u32 = 0xba55_ed50;
/// Of `__fatBinC_Wrapper_t` in `fatbinary_section.h`: magic, version, pointer to the fatbin, pointer to a name.
pub const WRAPPER: u32 = 0x4662_43b1;
pub const ELF: u32 = u32::from_le_bytes(*b"\x7fELF");
/// Architectures whose PTX runs here.
pub const ARCHITECTURE: u32 = 80;
/// `e_machine` of a cubin.
const CUDA: usize = 190;

const LZ4: u64 = 0x2000;
const ZSTD: u64 = 0x8000;

fn word<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
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

/// Bytes of the fatbin that starts there; none if its header is cut off.
pub fn fatbin_bytes(header: &[u8]) -> Option<usize> {
    u16_at(header, 6)?.checked_add(u64_at(header, 8)?)
}

/// Reads an image. Text is taken for PTX if it has a `.version`.
pub fn read(bytes: &[u8]) -> Result<Image> {
    match u32_at(bytes, 0).map(|magic| magic as u32) {
        Some(FATBIN) => fatbin(bytes),
        Some(ELF) => elf(bytes),
        _ => {
            // Comments may be in any encoding.
            let text = String::from_utf8_lossy(bytes);
            if !text.contains(".version") {
                return Err(ImageError::Unknown);
            }
            Ok(Image { ptx: text.trim_end_matches('\0').to_owned(), cubins: BTreeMap::new() })
        }
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

fn entries(fatbin: &[u8]) -> Option<Vec<Entry<'_>>> {
    let mut at = u16_at(fatbin, 6)?;
    let end = fatbin_bytes(fatbin)?.min(fatbin.len());
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
        // An entry of no bytes would go on for ever.
        at += (header_bytes + padded).max(1);
    }
    Some(entries)
}

impl Entry<'_> {
    fn unpack(&self) -> Option<Vec<u8>> {
        if self.flags & ZSTD != 0 {
            let mut text = Vec::new();
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

fn fatbin(bytes: &[u8]) -> Result<Image> {
    let entries = entries(bytes).ok_or(ImageError::Damaged)?;
    let ptx = entries.iter().filter(|e| e.ptx && e.architecture <= ARCHITECTURE).max_by_key(|e| e.architecture);
    let text = ptx.ok_or(ImageError::NoPtx)?.unpack().ok_or(ImageError::Damaged)?;
    let ptx = String::from_utf8(text).map_err(|_| ImageError::Damaged)?.trim_end_matches('\0').to_owned();
    if !ptx.contains(".version") {
        return Err(ImageError::Damaged);
    }
    let mut cubins = BTreeMap::new();
    for entry in entries.iter().filter(|entry| !entry.ptx) {
        // What cannot be read tells nothing: the PTX runs all the same.
        if let Some(resources) = entry.unpack().and_then(|elf| resources(&elf, entry.architecture)) {
            cubins.insert(entry.architecture, resources);
        }
    }
    Ok(Image { ptx, cubins })
}

/// The first fatbin with PTX in a program or object file that nvcc has made.
fn elf(bytes: &[u8]) -> Result<Image> {
    if u16_at(bytes, 18) == Some(CUDA) {
        return Err(ImageError::NoPtx);
    }
    let sections = sections(bytes).unwrap_or_default();
    let (mut rest, mut found) = (&[][..], Err(ImageError::NoFatbin));
    if let Some(section) = sections.iter().find(|section| matches!(section.name, ".nv_fatbin" | "__nv_relfatbin")) {
        rest = bytes.get(section.offset..).and_then(|from| from.get(..section.bytes)).unwrap_or_default();
    }
    while let (Some(FATBIN), Some(size)) = (u32_at(rest, 0).map(|magic| magic as u32), fatbin_bytes(rest)) {
        found = fatbin(rest);
        if found.is_ok() {
            break;
        }
        rest = rest.get(size.max(1).next_multiple_of(8)..).unwrap_or_default();
    }
    found
}

struct Section<'a> {
    name: &'a str,
    offset: usize,
    bytes: usize,
    info: usize,
}

/// Sections of a file in ELF's 64-bit form.
fn sections(elf: &[u8]) -> Option<Vec<Section<'_>>> {
    let (table, size, count, names) = (u64_at(elf, 40)?, u16_at(elf, 58)?, u16_at(elf, 60)?, u16_at(elf, 62)?);
    // Of headers that overlap there could be more than the file has bytes.
    if size < 64 {
        return None;
    }
    let header = |index: usize| elf.get(table.checked_add(index * size)?..)?.get(..64);
    let names = u64_at(header(names)?, 24)?;
    let section = |index| {
        let header = header(index)?;
        let name =
            CStr::from_bytes_until_nul(elf.get(names.checked_add(u32_at(header, 0)?)?..)?).ok()?.to_str().ok()?;
        Some(Section { name, offset: u64_at(header, 24)?, bytes: u64_at(header, 32)?, info: u32_at(header, 44)? })
    };
    (0..count).map(section).collect()
}

/// Attribute of a section `.nv.info`: a symbol's number and its registers. Attributes have a form, a code and 2 bytes,
/// which for the form [`SIZED`] are the length of what follows. As ptxas 13.0 writes them.
const REGISTER_COUNT: u8 = 0x2f;
const SIZED: u8 = 4;
/// From sm_90 on, the section of a kernel's shared memory starts with what the system takes of every block.
const SYSTEM_SHARED: usize = 1024;

/// Of each kernel in a cubin, by the name of its section `.text.<kernel>`. The registers are an attribute in `.nv.info`
/// (and, up to sm_89, the upper byte of the section's `sh_info`); the static shared memory is the size of
/// `.nv.shared.<kernel>`, if there is one.
fn resources(elf: &[u8], architecture: u32) -> Option<BTreeMap<String, Resources>> {
    let sections = sections(elf)?;
    let find = |name: &str| sections.iter().find(|s| s.name == name);
    let counts = register_counts(elf, find(".nv.info")?, find(".symtab")?, find(".strtab")?)?;
    let system = if architecture >= 90 { SYSTEM_SHARED } else { 0 };
    let kernel = |section: &Section| {
        let kernel = section.name.strip_prefix(".text.")?;
        let shared = find(&format!(".nv.shared.{kernel}")).map_or(0, |s| s.bytes.saturating_sub(system));
        let in_header = (section.info >> 24) as u32;
        let registers = counts.get(kernel).copied().unwrap_or(in_header);
        Some((kernel.to_owned(), Resources { registers, shared_bytes: shared as u32 }))
    };
    Some(sections.iter().filter_map(kernel).collect())
}

fn register_counts<'a>(
    elf: &'a [u8],
    info: &Section,
    symbols: &Section,
    strings: &Section,
) -> Option<BTreeMap<&'a str, u32>> {
    let (mut counts, mut at) = (BTreeMap::new(), info.offset);
    while at < info.offset.checked_add(info.bytes)? {
        let ([form, code], size) = (word(elf, at)?, u16_at(elf, at + 2)?);
        at += 4;
        if form == SIZED {
            if code == REGISTER_COUNT {
                let symbol = u32_at(elf, symbols.offset.checked_add(24 * u32_at(elf, at)?)?)?;
                let name = elf.get(strings.offset.checked_add(symbol)?..)?;
                let name = CStr::from_bytes_until_nul(name).ok()?.to_str().ok()?;
                counts.insert(name, u32_at(elf, at + 4)? as u32);
            }
            at += size;
        }
    }
    Some(counts)
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

    /// Every cut, and every byte changed, is read or refused, and neither panics nor hangs.
    #[test]
    fn damaged_images_are_refused() {
        let text = b".version 8.0\n.target sm_80\n";
        let mut image = Vec::new();
        image.extend(FATBIN.to_le_bytes());
        image.extend([1u16, 16].iter().flat_map(|n| n.to_le_bytes()));
        image.extend((64 + 32u64).to_le_bytes());
        image.extend([1u16, 0x101].iter().flat_map(|n| n.to_le_bytes()));
        image.extend(64u32.to_le_bytes());
        image.extend(32u64.to_le_bytes());
        image.extend([0; 12]);
        image.extend(80u32.to_le_bytes());
        image.extend([0; 32]);
        image.extend(text);
        image.resize(16 + 64 + 32, 0);
        assert_eq!(read(&image).map(|image| image.ptx.into_bytes()).as_deref(), Ok(&text[..]));
        for cut in 0..image.len() {
            assert!(read(&image[..cut]).is_err());
        }
        for at in 0..image.len() {
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut changed = image.clone();
                changed[at] = value;
                let _ = read(&changed);
            }
        }
        assert_eq!(read(b"\x7fELF"), Err(ImageError::NoFatbin));
        assert_eq!(read(b"hello"), Err(ImageError::Unknown));
    }
}
