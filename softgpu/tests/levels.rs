//! The kernels of `benches/kernels.cu` give the same bits for every level of vector instructions, and where the range
//! analysis assumes nothing, as where it does.

#![allow(clippy::unwrap_used)] // a panic in a test is its report

use softgpu::{Launch, Level, Memory, Module, launch};

const PTX: &str = include_str!("../benches/kernels.ptx");
const LEVELS: [Level; 3] = [Level::Baseline, Level::Avx2, Level::Avx512];

#[expect(clippy::mut_from_ref, reason = "every call makes a buffer of its own")]
fn fill(memory: &Memory, len: usize, seed: u32) -> (u64, &mut [f32]) {
    let address = memory.alloc(4 * len).unwrap();
    // SAFETY: freed with `memory`; no launch runs while a slice is used.
    let view = unsafe { std::slice::from_raw_parts_mut(memory.host_slice(address, 4 * len).unwrap() as *mut f32, len) };
    for (x, i) in view.iter_mut().zip(seed..) {
        *x = (i.wrapping_mul(0x9e37_79b9) >> 8) as f32 / (1 << 24) as f32 - 0.5;
    }
    (address, view)
}

fn run(level: Level, kernel: &str, grid: u32, block: [u32; 3], lens: &[usize], scalars: &[u32]) -> Vec<Vec<u32>> {
    let module = Module::load_for(PTX, level).unwrap();
    let memory = Memory::new();
    let buffers: Vec<_> = lens.iter().zip(1..).map(|(&len, seed)| fill(&memory, len, 1000 * seed)).collect();
    let mut args: Vec<Vec<u8>> = buffers.iter().map(|(address, _)| address.to_le_bytes().to_vec()).collect();
    args.extend(scalars.iter().map(|value| value.to_le_bytes().to_vec()));
    let args: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
    launch(
        &module,
        kernel,
        &memory,
        &Launch { grid: [grid, 1, 1], block, shared_bytes: 0, args: &args, cooperative: false },
    )
    .unwrap();
    buffers.iter().map(|(_, view)| view.iter().map(|x| x.to_bits()).collect()).collect()
}

#[test]
fn axpy_is_exact_with_and_without_a_tail_and_beyond_the_assumed_sizes() {
    let (len, a) = (1000, 0.75f32);
    for level in LEVELS {
        // The last block is partly idle; then n is too large for any assumption, and only whole blocks are launched.
        for (grid, n, reached) in [(4, len as u32, len), (3, i32::MAX as u32, 768)] {
            let out = run(level, "axpy", grid, [256, 1, 1], &[len, len, len], &[a.to_bits(), n]);
            let memory = Memory::new();
            let ((_, start), (_, x), (_, y)) =
                (fill(&memory, len, 1000), fill(&memory, len, 2000), fill(&memory, len, 3000));
            for i in 0..len {
                let expected = if i < reached { a.mul_add(x[i], y[i]) } else { start[i] };
                assert_eq!(out[0][i], expected.to_bits(), "{level:?}, n {n}, element {i}");
            }
        }
    }
}

#[test]
fn every_level_gives_the_same_bits() {
    let adam = [1e-3f32, 0.9, 0.98, 1e-8, 0.01, 10.0, 50.0].map(f32::to_bits);
    let adam: Vec<u32> = [2000].into_iter().chain(adam).collect();
    let (rows, width) = (37, 516);
    let norm = [rows as u32, width as u32, 1e-5f32.to_bits()];
    let lens = [rows * width, rows, rows, rows * width, width, width];
    let all = |level| {
        [
            run(level, "adamw_fused", 2, [256, 1, 1], &[2000; 4], &adam),
            run(level, "layernorm_fwd", 10, [32, 4, 1], &lens, &norm),
        ]
    };
    let baseline = all(Level::Baseline);
    for level in LEVELS {
        assert!(all(level) == baseline, "{level:?}");
    }
}
