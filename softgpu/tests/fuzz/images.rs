//! Fatbins, objects and cubins with damage: read or refused, and what is read is text with a version.

use std::fmt;

use ruzstd::encoding::{CompressionLevel, compress_to_vec};
use softgpu::image::{self, Image, Resources};

use crate::random::{Random, repeat};

const PTX: &str = ".version 8.0\n.target sm_80\n.address_size 64\n.visible .entry k() { ret; }\n";
const PLAIN: u64 = 0x11;
const LZ4: u64 = 0x2011;
const ZSTD: u64 = 0x8011;

/// A fatbin: a header, then entries, each of PTX or a cubin for an architecture, stored as its flags say.
fn fatbin(entries: &[(u16, u32, u64, &[u8])]) -> Vec<u8> {
    let mut all = Vec::new();
    for (kind, architecture, flags, content) in entries {
        let stored = match *flags {
            LZ4 => lz4(content),
            ZSTD => compress_to_vec(*content, CompressionLevel::Fastest),
            _ => content.to_vec(),
        };
        let padded = stored.len().next_multiple_of(8);
        let packed = if *flags == PLAIN { 0 } else { stored.len() as u32 };
        all.extend(u32::from(*kind).to_le_bytes());
        all.extend(64u32.to_le_bytes());
        all.extend((padded as u64).to_le_bytes());
        [packed, 0, 0, *architecture, 0, 0].iter().for_each(|word| all.extend(word.to_le_bytes()));
        [*flags, 0, content.len() as u64].iter().for_each(|word| all.extend(word.to_le_bytes()));
        all.extend(&stored);
        all.resize(all.len() + padded - stored.len(), 0);
    }
    let mut file = image::FATBIN.to_le_bytes().to_vec();
    file.extend([1u16, 16].iter().flat_map(|word| word.to_le_bytes()));
    file.extend((all.len() as u64).to_le_bytes());
    [file, all].concat()
}

/// One block of literals.
fn lz4(content: &[u8]) -> Vec<u8> {
    let rest = content.len() - 15;
    [&[0xf0][..], &vec![255; rest / 255], &[(rest % 255) as u8], content].concat()
}

/// A file in ELF's 64-bit form with these sections, after an empty one.
fn elf(machine: u16, sections: &[(&str, u32, &[u8])]) -> Vec<u8> {
    let names = ["", ".shstrtab"].into_iter().chain(sections.iter().map(|(name, ..)| *name));
    let table: Vec<u8> = names.flat_map(|name| [name.as_bytes(), &[0]].concat()).collect();
    let (mut headers, mut content) = (vec![0; 64], Vec::new());
    for (name, info, bytes) in [(".shstrtab", 0, &table[..])].iter().chain(sections) {
        let wanted = [name.as_bytes(), &[0]].concat();
        let at = table.windows(wanted.len()).position(|part| part == wanted).unwrap() as u32;
        let mut header = [at.to_le_bytes(), 1u32.to_le_bytes()].concat();
        [0, 0, 64 + content.len() as u64, bytes.len() as u64].iter().for_each(|word| header.extend(word.to_le_bytes()));
        [0, *info].iter().for_each(|word| header.extend(word.to_le_bytes()));
        header.resize(64, 0);
        headers.extend(header);
        content.extend_from_slice(bytes);
        content.resize(content.len().next_multiple_of(8), 0);
    }
    let mut file = b"\x7fELF\x02\x01\x01".to_vec();
    file.resize(64, 0);
    file[18..20].copy_from_slice(&machine.to_le_bytes());
    file[40..48].copy_from_slice(&(64 + content.len() as u64).to_le_bytes());
    for (at, value) in [(58, 64), (60, sections.len() as u16 + 2), (62, 1)] {
        file[at..at + 2].copy_from_slice(&value.to_le_bytes());
    }
    [file, content, headers].concat()
}

/// What ptxas says of a kernel `k`: 40 registers, 512 bytes of shared memory.
fn cubin() -> Vec<u8> {
    // Of the second symbol, whose name is at 1.
    let info = [&[4, 0x2f, 8, 0][..], &1u32.to_le_bytes(), &40u32.to_le_bytes()].concat();
    let symbols = [&[0; 24][..], &1u32.to_le_bytes(), &[0; 20]].concat();
    let sections: [(&str, u32, &[u8]); 5] = [
        (".nv.info", 0, &info),
        (".symtab", 0, &symbols),
        (".strtab", 0, b"\0k\0"),
        (".text.k", 0x2800_0000, &[0; 16]),
        (".nv.shared.k", 0, &[0; 512]),
    ];
    elf(190, &sections)
}

/// Undamaged ones: each kind of container, each way to store an entry.
fn seeds() -> Vec<Vec<u8>> {
    let (text, cubin) = (PTX.as_bytes(), cubin());
    let later = (1, 90, LZ4, text);
    let bins = [PLAIN, LZ4, ZSTD].map(|flags| fatbin(&[(2, 80, flags, &cubin), (1, 80, flags, text), later]));
    let twice = [fatbin(&[(2, 80, PLAIN, &cubin)]), bins[2].clone()].concat();
    let program = |name| elf(62, &[(".text", 0, &[0x90; 16]), (name, 0, &twice)]);
    let programs = [program(".nv_fatbin"), program("__nv_relfatbin")];
    bins.into_iter().chain(programs).collect()
}

struct Bytes(Vec<u8>);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

fn mutate(mut bytes: Vec<u8>, other: &[u8], random: &mut Random) -> Bytes {
    const EDGES: [u64; 10] = [0, 1, 7, 63, 64, 0x7fff_ffff, 0xffff_ffff, 1 << 63, u64::MAX - 63, u64::MAX];
    for _ in 0..1 + random.below(4) {
        let (at, length) = (random.below(bytes.len()), bytes.len());
        match random.below(6) {
            0 => bytes[at] ^= 1 << random.below(8),
            1 | 2 => {
                // A field, all of it.
                let (wide, value) = (random.pick(&[2, 4, 8]), random.pick(&EDGES).wrapping_add(random.next() % 3));
                let at = at / wide * wide;
                let end = (at + wide).min(length);
                bytes[at..end].copy_from_slice(&value.to_le_bytes()[..end - at]);
            }
            3 => bytes.truncate(at.max(1)),
            4 => {
                let part = bytes[at..(at + random.below(80)).min(length)].to_vec();
                let to = random.below(length);
                bytes.splice(to..to, part);
            }
            _ => {
                let from = random.below(other.len());
                let part = &other[from..(from + random.below(80)).min(other.len())];
                let to = at.min(length - part.len().min(length));
                let end = (to + part.len()).min(length);
                bytes[to..end].copy_from_slice(&part[..end - to]);
            }
        }
    }
    Bytes(bytes)
}

#[test]
fn mutated_images_are_read_or_refused() {
    let seeds = seeds();
    let known = Resources { registers: 40, shared_bytes: 512 };
    let cubins = [(80, [("k".to_owned(), known)].into())].into();
    let whole = Image { ptx: PTX.to_owned(), cubins };
    for (number, seed) in seeds.iter().enumerate() {
        // The programs' second fatbin is the one with PTX.
        assert_eq!(image::read(seed).as_ref(), Ok(&whole), "seed {number}");
    }
    let make = |random: &mut Random| {
        let (a, b) = (random.below(seeds.len()), random.below(seeds.len()));
        mutate(seeds[a].clone(), &seeds[b], random)
    };
    repeat(2, make, |bytes, _| match image::read(&bytes.0) {
        Ok(image) => assert!(image.ptx.contains(".version")),
        Err(error) => assert!(!error.to_string().is_empty()),
    });
}

/// Sizes that an image claims, and counts, cost no more than it has bytes.
#[test]
fn images_made_to_do_harm_are_refused() {
    let cubin = cubin();
    let sections = |count: u16, size: u16| {
        let mut cubin = cubin.clone();
        cubin[58..60].copy_from_slice(&size.to_le_bytes());
        cubin[60..62].copy_from_slice(&count.to_le_bytes());
        fatbin(&[(2, 80, PLAIN, &cubin), (1, 80, PLAIN, PTX.as_bytes())])
    };
    for (count, size) in [(u16::MAX, 0), (u16::MAX, 1), (u16::MAX, u16::MAX), (7, 0)] {
        let image = image::read(&sections(count, size)).unwrap();
        assert!(image.cubins.is_empty(), "{count} of {size}");
    }
    let mut large = fatbin(&[(1, 80, ZSTD, PTX.as_bytes())]);
    large[16 + 56..16 + 64].copy_from_slice(&u64::MAX.to_le_bytes());
    assert_eq!(image::read(&large).unwrap().ptx, PTX);
    let mut cut = fatbin(&[(1, 80, LZ4, PTX.as_bytes())]);
    cut[16 + 56..16 + 64].copy_from_slice(&8u64.to_le_bytes());
    assert!(image::read(&cut).is_err() || image::read(&cut).unwrap().ptx.contains(".version"));
}
