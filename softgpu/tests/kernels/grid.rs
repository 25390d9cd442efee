//! Oracles of grid.cu. The floats are small multiples of powers of two, so that sums are exact in any order.

use crate::harness::{Case, Kernel, Random, same};

pub const CASES: &[Case] = &[("grid_stencil", grid_stencil), ("grid_center", grid_center)];

/// Grids that wait in one turn, of several turns' blocks, and as many as the device holds (108 multiprocessors of 32); and
/// one more, which it refuses. Without cooperation the barrier traps.
fn grid_stencil(k: &Kernel) {
    for (grid, block, n) in [(1u32, 64u32, 100usize), (37, 96, 5000), (108 * 32, 32, 4000)] {
        let rounds = 3;
        let x: Vec<f32> = Random(1).whole(n, -16, 16);
        let (a, b) = (k.upload(&x), k.zeros::<f32>(n));
        k.cooperate(grid, block, &[&a, &b, &(n as i32), &rounds]);
        let mut want = x;
        for _ in 0..rounds {
            let next = |i: usize| 0.25 * want[(i + n - 1) % n] + 0.5 * want[i] + 0.25 * want[(i + 1) % n];
            want = (0..n).map(next).collect();
        }
        same(&b.read(), &want);
    }
    let (a, b) = (k.zeros::<f32>(4), k.zeros::<f32>(4));
    let said = k.refused(true, 108 * 32 + 1, 32, &[&a, &b, &4i32, &1i32]);
    assert!(said.contains("a cooperative launch of 3457 blocks, and the device holds 3456 of them at once"), "{said}");
    // One block strays while the others wait for it.
    let (a, b) = (k.zeros::<f32>(3000), k.zeros::<f32>(2000));
    let said = k.refused(true, 37, 96, &[&a, &b, &3000i32, &2i32]);
    assert!(said.contains("past an allocation: 4 bytes at +8000"), "{said}");
    let said = k.refused(false, 2, 32, &[&a, &b, &4i32, &1i32]);
    assert!(said.contains("trap"), "{said}");
}

fn grid_center(k: &Kernel) {
    let n = 1000;
    let x: Vec<f32> = Random(2).whole(n, -500, 500).iter().map(|v| v * n as f32).collect();
    let (out, input, sums) = (k.zeros::<f32>(n), k.upload(&x), k.zeros::<f32>(16));
    k.cooperate(16, 64, &[&out, &input, &sums, &(n as i32)]);
    let mean = x.iter().sum::<f32>() / n as f32;
    same(&out.read(), &x.iter().map(|v| v - mean).collect::<Vec<f32>>());
}
