//! Oracles of calls.cu and linkage.cu.

use crate::harness::{Case, Kernel, Random, close, same};

pub const CALLS: &[Case] = &[
    ("noinline_calls", noinline_calls),
    ("recursion", recursion),
    ("local_quicksort", local_quicksort),
    ("function_pointers", function_pointers),
    ("virtual_calls", virtual_calls),
    ("jump_table", jump_table),
    ("tables tables_again", tables),
    ("print", print),
    ("asserts", stops_at_the_limit),
    ("traps", stops_at_the_limit),
    ("early_exit", early_exit),
    ("irreducible", irreducible),
    ("local_table", local_table),
];
pub const LINKAGE: &[Case] = &[
    ("_Z10map_kernelIj5MixItEvPT_iT0_", map_mix),
    ("_Z10map_kernelId5ClampEvPT_iT0_", map_clamp),
    ("stack_machine", stack_machine),
    ("dense_switch", dense_switch),
    ("managed", managed),
    ("no_return", no_return),
    ("variadic", variadic),
    ("aggregates", aggregates),
    ("wide_copies", wide_copies),
    ("indexed_branch", indexed_branch),
];

fn noinline_calls(k: &Kernel) {
    let n = 200;
    let x = Random(1).f32s(n, -2., 2.);
    let (out, whole, tails, input) = (k.zeros::<f32>(n), k.zeros::<f64>(n), k.zeros::<i32>(n), k.upload(&x));
    k.launch(2, 128, 0, &[&out, &whole, &tails, &input, &(n as i32)]);
    let horner = |x: f32, terms: usize| {
        let (mut s, mut c) = (0.0f32, 1.0f32);
        for _ in 0..terms {
            (s, c) = (s.mul_add(x, c), -c * 0.5);
        }
        s
    };
    same(&out.read(), &x.iter().enumerate().map(|(i, v)| horner(*v, i % 5 + 1) + horner(-v, 3)).collect::<Vec<_>>());
    let scaled = || x.iter().map(|v| *v as f64 * 10.0);
    same(&whole.read(), &scaled().map(|v| v.trunc()).collect::<Vec<_>>());
    let tail = |(i, v): (usize, f64)| {
        let t = [1.0, 2.0, 3.0].map(|j| ((v.abs() - v.abs().floor()) * j * 100.0) as i32 + (i % 7) as i32 - 3);
        t[0] + t[1] * 3 + t[2] * 7
    };
    same(&tails.read(), &scaled().enumerate().map(tail).collect::<Vec<_>>());
}

fn recursion(k: &Kernel) {
    let out = k.zeros::<u32>(64);
    k.launch(1, 64, 0, &[&out]);
    let of = |t: u32| {
        let n = t / 3 % 4;
        [n + 1, n + 2, 2 * n + 3][(t % 3) as usize] // Ackermann's function of 0, 1 and 2
    };
    same(&out.read(), &(0..64).map(of).collect::<Vec<_>>());
}

fn local_quicksort(k: &Kernel) {
    let mut x = Random(2).ints(70 * 24, -40, 40);
    let data = k.upload(&x);
    k.launch(2, 35, 0, &[&data]);
    x.chunks_mut(24).for_each(|c| c.sort());
    same(&data.read(), &x);
}

fn function_pointers(k: &Kernel) {
    let n = 150;
    let mut r = Random(3);
    let (a, b, which) = (r.f32s(n, -2., 2.), r.f32s(n, -2., 2.), r.ints(n, 0, 3));
    let (out, da, db, dw) = (k.zeros::<f32>(n), k.upload(&a), k.upload(&b), k.upload(&which));
    k.launch(2, 96, 0, &[&out, &da, &db, &dw, &(n as i32)]);
    let apply = |i: usize| [a[i] + b[i], a[i] - b[i], a[i] * b[i], a[i].mul_add(0.25, b[i] * 0.75)][which[i] as usize];
    same(&out.read(), &(0..n).map(apply).collect::<Vec<_>>());
}

fn virtual_calls(k: &Kernel) {
    let n = 100;
    let mut r = Random(4);
    let (x, kind) = (r.f32s(n, 0., 2.), r.ints(n, 0, 1));
    let (out, input, dk) = (k.zeros::<f32>(n), k.upload(&x), k.upload(&kind));
    k.launch(1, 128, 0, &[&out, &input, &dk, &(n as i32)]);
    let area = |i: usize| if kind[i] == 1 { x[i] * 2.0 + 4.0 } else { 3.0 * x[i] * x[i] };
    same(&out.read(), &(0..n).map(area).collect::<Vec<_>>());
}

fn jump_table(k: &Kernel) {
    let n = 500;
    let mut r = Random(5);
    let (op, a, before) = (r.ints(n, -2, 13), r.ints(n, -1000, 1000), r.ints(n, -90, 90));
    let (out, dop, da) = (k.upload(&before), k.upload(&op), k.upload(&a));
    k.launch(4, 128, 0, &[&out, &dop, &da, &(n as i32)]);
    let run = |i: usize| {
        let x = a[i];
        match op[i] {
            0 => x + 17,
            1 => x * x - 3,
            2 => (0..(x % 13).max(0)).fold(0, |r, k| r * 3 + k),
            3 => x ^ 0x5555,
            4 => before[i] / 3 + x,
            5 => (x.count_ones() + x.leading_zeros()) as i32,
            6 => x.leading_zeros() as i32,
            7 => -x,
            9 => 99,
            10 => x % 10,
            11 => x << (i & 7),
            _ => -1,
        }
    };
    same(&out.read(), &(0..n).map(run).collect::<Vec<_>>());
}

fn tables(k: &Kernel) {
    let n = 97;
    let (out, ints, chars) = (k.zeros::<f64>(n + 1), k.zeros::<i32>(n), k.zeros::<u8>(n));
    k.launch(1, 128, 0, &[&out, &ints, &chars, &(n as i32)]);
    let entries = [
        (1u8, 300u16, -7i32, 0.5f64),
        (2, 65535, i32::MAX, -1e300),
        (3, 0, 1, 3.25),
        (0, 1, 2, 1e-310),
        (255, 4, -1, 0.0),
    ];
    let coefficients = [1.0f32, -0.5, 0.25, 0.0, 0.0, 0.0625, 0.0, 0.0];
    let text = b"constant text\0";
    let value = |i: usize| {
        let (code, wide, value, weight) = entries[i % 5];
        weight + code as f64 + wide as f64 * 2.0 + value as f64 + coefficients[i % 8] as f64 + text[i % 13] as f64
    };
    same(&out.read(), &(0..n).map(value).chain([2.5]).collect::<Vec<_>>());
    let packed = [0x1234_5678_9abc_def0u64, 42];
    let int = |i: usize| [10, 20, 30][i % 3] + 20 + (packed[i & 1] >> (i % 32)) as i32;
    same(&ints.read(), &(0..n).map(int).collect::<Vec<_>>());
    same(&chars.read(), &(0..n).map(|i| text[i * 3 % 14]).collect::<Vec<_>>());
    let again = k.zeros::<f64>(1);
    k.launch_entry("tables_again", 1, 1, 0, &[&again]);
    same(&again.read(), &[2535.0]);
}

/// What is printed goes to standard output, which belongs to the test's runner; here it must only not stop.
fn print(k: &Kernel) {
    let input = k.upload(&[1.5f32, 2.0, -3.25, 4.0]);
    k.launch(1, 4, 0, &[&input, &4i32]);
}

fn stops_at_the_limit(k: &Kernel) {
    let input = k.upload(&(0..40).collect::<Vec<i32>>());
    k.launch(1, 40, 0, &[&input, &40i32]);
    assert!(!k.try_launch(k.name(), [1; 3], [40, 1, 1], 0, &[&input, &37i32]), "ran to its end");
    let error = k.error.borrow();
    let Some(softgpu::Error::Stopped(stop)) = error.as_ref() else { panic!("another kind of stop: {error:?}") };
    assert_eq!(stop.thread, [37, 0, 0]);
    assert!(stop.source.as_ref().is_some_and(|(file, _)| file.ends_with("calls.cu")), "{stop}");
}

fn early_exit(k: &Kernel) {
    let x = Random(6).ints(96, -2, 4);
    let (out, input) = (k.filled(96, -7i32), k.upload(&x));
    k.launch(1, 96, 0, &[&out, &input]);
    let count = x.iter().filter(|v| **v >= 0).count() as i32;
    same(&out.read(), &x.iter().map(|v| if *v > 0 { count } else { -7 }).collect::<Vec<_>>());
}

fn irreducible(k: &Kernel) {
    let n = 300;
    let x = Random(7).ints(n, 1, 100_000);
    let (out, input) = (k.zeros::<i32>(n), k.upload(&x));
    k.launch(3, 128, 0, &[&out, &input, &(n as i32)]);
    let run = |&x: &i32| {
        let (mut x, mut steps, mut odd) = (x, 0, x & 1 == 1);
        loop {
            x = if odd { x.wrapping_mul(3).wrapping_add(1) } else { x / 2 };
            steps += 1;
            if steps > 200 || !odd && x <= 1 {
                return steps * 1000 + x % 1000;
            }
            odd = x & 1 == 1;
        }
    };
    same(&out.read(), &x.iter().map(run).collect::<Vec<_>>());
}

fn local_table(k: &Kernel) {
    let at = Random(8).ints(70, 0, 92);
    let (out, input) = (k.zeros::<u64>(70), k.upload(&at));
    k.launch(1, 96, 0, &[&out, &input, &70i32]);
    let fibonacci = |n: &i32| (0..*n).fold((0u64, 1u64), |(a, b), _| (b, a.wrapping_add(b))).0;
    same(&out.read(), &at.iter().map(fibonacci).collect::<Vec<_>>());
}

fn mix(h: u32) -> u32 {
    let h = (h ^ h >> 16).wrapping_mul(0x85eb_ca6b);
    let h = (h ^ h >> 13).wrapping_mul(0xc2b2_ae35);
    h ^ h >> 16
}

fn map_mix(k: &Kernel) {
    let x: Vec<u32> = (0..300).map(|i| i * i).collect();
    let data = k.upload(&x);
    k.launch(3, 128, 0, &[&data, &300i32, &9u32]);
    let want = x.iter().enumerate().map(|(i, v)| mix(v + 9).clamp(16, 1 << 30) + i as u32);
    same(&data.read(), &want.collect::<Vec<_>>());
}

fn map_clamp(k: &Kernel) {
    let x: Vec<f64> = Random(9).f32s(300, -2., 2.).iter().map(|v| *v as f64).collect();
    let data = k.upload(&x);
    let clamp = [(-0.5f64).to_le_bytes(), 0.75f64.to_le_bytes()].concat();
    k.launch(3, 128, 0, &[&data, &300i32, &clamp]);
    same(&data.read(), &x.iter().map(|v| v.clamp(-0.5, 0.75)).collect::<Vec<_>>());
}

/// The machine of the kernel's comment: result and steps, −1 steps when it ran out of them.
fn machine(code: &[u8], input: i32) -> [i32; 2] {
    let (mut stack, mut top, mut pc) = ([0i32; 16], 0i32, 0usize);
    stack[0] = input;
    for steps in 0..500 {
        let slot = |d: i32| ((top - d) & 15) as usize;
        let (s0, s1, s2, up) = (slot(0), slot(1), slot(2), slot(-1));
        let (t, u) = (stack[s0], stack[s1]);
        let op = code[pc];
        pc += 1;
        let binary = match op {
            1 => Some(u.wrapping_add(t)),
            2 => Some(u.wrapping_sub(t)),
            3 => Some(u.wrapping_mul(t)),
            7 => Some(u & t),
            8 => Some(u | t),
            9 => Some(u ^ t),
            10 => Some(u << (t & 31)),
            11 => Some(u >> (t & 31)),
            _ => None,
        };
        if let Some(value) = binary {
            (stack[s1], top) = (value, top - 1);
            continue;
        }
        match op {
            0 => (stack[up], top, pc) = (code[pc] as i8 as i32, top + 1, pc + 1),
            4 => (stack[up], top) = (t, top + 1),
            5 => (stack[s0], stack[s1]) = (u, t),
            6 => stack[s0] = t.wrapping_neg(),
            12 => stack[s0] = t.count_ones() as i32,
            13 => (stack[s2], stack[s1], stack[s0]) = (u, t, stack[s2]),
            14 => (top, pc) = (top - 1, if t == 0 { code[pc] as usize } else { pc + 1 }),
            15 => pc = code[pc] as usize,
            16 => (stack[up], top) = (u, top + 1),
            17 => top -= 1,
            18 => stack[s0] = t.wrapping_add(1),
            19 => stack[s0] = t.wrapping_sub(1),
            _ => return [t, steps],
        }
    }
    [stack[(top & 15) as usize], -1]
}

fn stack_machine(k: &Kernel) {
    let programs: [&[u8]; 3] = [
        // Sum of squares from the input down to 1, by a loop.
        &[0, 0, 16, 14, 17, 16, 4, 3, 1, 5, 19, 5, 15, 2, 20, 20, 20, 17, 20],
        &[4, 0, 3, 10, 9, 4, 12, 1, 0, 5, 11, 18, 6, 4, 0, 0x55, 7, 8, 0, 7, 13, 2, 1, 20],
        &[15, 0],
    ];
    let n = 70;
    let input: Vec<i32> = (0..n).map(|i| i % 20).collect();
    for program in programs {
        let (out, code, din) = (k.zeros::<i32>(2 * n as usize), k.upload(program), k.upload(&input));
        k.launch(1, 96, 0, &[&out, &code, &din, &n]);
        same(&out.read(), &input.iter().flat_map(|v| machine(program, *v)).collect::<Vec<_>>());
    }
}

fn dense_switch(k: &Kernel) {
    let n = 400;
    let mut r = Random(10);
    let (op, x) = (r.ints(n, -3, 35), r.ints(n, -9999, 9999));
    let (out, dop, input) = (k.zeros::<i32>(n), k.upload(&op), k.upload(&x));
    k.launch(4, 128, 0, &[&out, &dop, &input, &(n as i32)]);
    let run = |i: usize| {
        let (c, x) = (op[i], x[i]);
        let key = c * c + 3;
        if (0..32).contains(&c) { (x * key + (x >> (key & 7))) ^ c << 4 } else { -x }
    };
    same(&out.read(), &(0..n).map(run).collect::<Vec<_>>());
}

fn managed(k: &Kernel) {
    let out = k.zeros::<f32>(32);
    k.launch(1, 32, 0, &[&out]);
    same(&out.read(), &(0..32).map(|t| (t & 3) as f32 * 1.5 + 5.0).collect::<Vec<_>>());
}

fn no_return(k: &Kernel) {
    let x = Random(11).ints(64, -5, 5);
    let (out, code, input) = (k.zeros::<i32>(64), k.zeros::<i32>(64), k.upload(&x));
    k.launch(1, 64, 0, &[&out, &code, &input]);
    same(&out.read(), &x.iter().map(|v| if *v < 0 { 0 } else { v * 2 }).collect::<Vec<_>>());
    same(&code.read(), &x.iter().map(|v| (*v).min(0)).collect::<Vec<_>>());
}

fn variadic(k: &Kernel) {
    let out = k.zeros::<f64>(40);
    k.launch(1, 40, 0, &[&out]);
    same(&out.read(), &(0..40).map(|t| t as f64 * 1.5 + 10.25).collect::<Vec<_>>());
}

fn aggregates(k: &Kernel) {
    let n = 90;
    let mut r = Random(12);
    let pixels: Vec<u32> = (0..n).map(|_| r.u64() as u32).collect();
    let matrices: Vec<[f32; 9]> = (0..n).map(|_| [0; 9].map(|_| r.int(-2, 2) as f32)).collect();
    let (dp, power, input) = (k.upload(&pixels), k.zeros::<[f32; 9]>(n), k.upload(&matrices));
    k.launch(1, 96, 0, &[&dp, &power, &input, &4i32, &(n as i32)]);
    let pixel = |p: &u32| {
        let (green, blue) = (p >> 5 & 63, p >> 11 & 31);
        let p = (p & !31 | (blue + 1) & 31) ^ green << 16;
        p & 0x00ff_ffff | (p >> 24).wrapping_add(3) << 24
    };
    same(&dp.read(), &pixels.iter().map(pixel).collect::<Vec<_>>());
    let multiply =
        |a: &[f32; 9], b: &[f32; 9]| std::array::from_fn(|i| (0..3).map(|j| a[i / 3 * 3 + j] * b[j * 3 + i % 3]).sum());
    let fourth = |m: &[f32; 9]| (0..3).fold(*m, |p, _| multiply(&p, m));
    close(
        &power.read().concat(),
        &matrices.iter().flat_map(fourth).map(|v: f32| v as f64).collect::<Vec<_>>(),
        0.0,
        0.0,
    );
}

fn wide_copies(k: &Kernel) {
    let n = 50;
    let mut r = Random(13);
    let b: Vec<[u64; 2]> = (0..n).map(|_| [r.u64(), r.u64()]).collect();
    let d: Vec<[i16; 4]> = (0..n).map(|_| [0; 4].map(|_| r.u64() as i16)).collect();
    let e: Vec<[u8; 2]> = (0..n).map(|_| [r.u64() as u8, r.u64() as u8]).collect();
    let (da, db, dc) = (k.zeros::<[u64; 2]>(n), k.upload(&b), k.zeros::<[i16; 4]>(n));
    let (dd, de) = (k.upload(&d), k.upload(&e));
    k.launch(1, 64, 0, &[&da, &db, &dc, &dd, &de, &(n as i32)]);
    same(&da.read(), &b.iter().map(|v| [v[1], v[0].wrapping_add(1)]).collect::<Vec<_>>());
    same(&dc.read(), &d.iter().map(|v| [v[3], v[2], v[1], v[0].wrapping_neg()]).collect::<Vec<_>>());
    same(&de.read(), &e.iter().map(|v| [v[1], v[0]]).collect::<Vec<_>>());
}

fn indexed_branch(k: &Kernel) {
    let x = Random(14).ints(80, -99, 99);
    let (out, input) = (k.zeros::<i32>(80), k.upload(&x));
    k.launch(1, 80, 0, &[&out, &input]);
    same(
        &out.read(),
        &x.iter()
            .map(|v| match v & 3 {
                0 => v + 100,
                2 => -v,
                _ => v * 3,
            })
            .collect::<Vec<_>>(),
    );
}
