//! Oracles of elementwise.cu.

use crate::harness::{Arg, Case, Kernel, Random, same};

pub const CASES: &[Case] = &[
    ("vector_add", vector_add),
    ("saxpy", saxpy),
    ("scale_float4", scale_float4),
    ("complex_multiply", complex_multiply),
    ("rgba_to_grey", rgba_to_grey),
    ("stereo_mix", stereo_mix),
    ("bytes_histogram_step", bytes_histogram_step),
    ("struct_params", struct_params),
    ("streaming_copy", streaming_copy),
    ("_Z12clamp_kernelIfEvPT_S0_S0_i", clamp_float),
    ("_Z12clamp_kernelIxEvPT_S0_S0_i", clamp_long),
    ("_Z12clamp_kernelIhEvPT_S0_S0_i", clamp_byte),
    ("indices_3d", indices_3d),
    ("mandelbrot", mandelbrot),
    ("game_of_life", game_of_life),
];

fn vector_add(k: &Kernel) {
    let mut r = Random(1);
    for n in [1usize, 31, 256, 1037] {
        let (a, b) = (r.f32s(n, -1., 1.), r.f32s(n, -1., 1.));
        let (da, db, dc) = (k.upload(&a), k.upload(&b), k.zeros::<f32>(n));
        k.launch(n.div_ceil(256) as u32, 256, 0, &[&da, &db, &dc, &(n as i32)]);
        let want: Vec<f32> = a.iter().zip(&b).map(|(x, y)| x + y).collect();
        same(&dc.read(), &want);
    }
}

fn saxpy(k: &Kernel) {
    let n = 5003;
    let mut r = Random(2);
    let (x, y) = (r.f32s(n, -1., 1.), r.f32s(n, -1., 1.));
    let (dx, dy) = (k.upload(&x), k.upload(&y));
    k.launch(3, 96, 0, &[&(n as i32), &1.7f32, &dx, &dy]);
    let want: Vec<f32> = x.iter().zip(&y).map(|(x, y)| 1.7f32.mul_add(*x, *y)).collect();
    same(&dy.read(), &want);
}

fn scale_float4(k: &Kernel) {
    let n = 4099;
    let x = Random(3).f32s(n, -5., 5.);
    let (dy, dx) = (k.zeros::<f32>(n), k.upload(&x));
    k.launch(9, 128, 0, &[&dy, &dx, &0.3f32, &(n as i32)]);
    same(&dy.read(), &x.iter().map(|v| v * 0.3).collect::<Vec<_>>());
}

fn complex_multiply(k: &Kernel) {
    let n = 333;
    let mut r = Random(4);
    let mut pairs = || (0..n).map(|_| [r.f64(-2., 2.), r.f64(-2., 2.)]).collect::<Vec<_>>();
    let (a, b) = (pairs(), pairs());
    let (out, da, db) = (k.zeros::<[f64; 2]>(n), k.upload(&a), k.upload(&b));
    k.launch(4, 100, 0, &[&out, &da, &db, &(n as i32)]);
    // nvcc contracts the imaginary part only.
    let product = |(a, b): (&[f64; 2], &[f64; 2])| [a[0] * b[0] - a[1] * b[1], a[0].mul_add(b[1], a[1] * b[0])];
    same(&out.read(), &a.iter().zip(&b).map(product).collect::<Vec<_>>());
}

fn rgba_to_grey(k: &Kernel) {
    let (w, h) = (37usize, 19usize);
    let mut r = Random(5);
    let image: Vec<[u8; 4]> = (0..w * h).map(|_| (r.u64() as u32).to_le_bytes()).collect();
    let (out, input) = (k.zeros::<[u8; 4]>(w * h), k.upload(&image));
    k.launch((3, 3), (16, 8), 0, &[&out, &input, &(w as i32), &(h as i32)]);
    let grey = |p: &[u8; 4]| {
        let g = (77 * p[0] as u32 + 150 * p[1] as u32 + 29 * p[2] as u32 + 128 >> 8) as u8;
        [g, g, g, p[3]]
    };
    same(&out.read(), &image.iter().map(grey).collect::<Vec<_>>());
}

fn stereo_mix(k: &Kernel) {
    let n = 777;
    let mut r = Random(6);
    let samples: Vec<[i16; 2]> = (0..n).map(|_| [r.u64() as i16, r.u64() as i16]).collect();
    let s = k.upload(&samples);
    k.launch(7, 128, 0, &[&s, &n]);
    let mix = |v: &[i16; 2]| [v[1] / 2, v[0].saturating_add(v[1])];
    same(&s.read(), &samples.iter().map(mix).collect::<Vec<_>>());
}

fn bytes_histogram_step(k: &Kernel) {
    let n = 1001;
    let mut r = Random(7);
    let a: Vec<i8> = (0..n).map(|_| r.u64() as i8).collect();
    let b: Vec<u8> = (0..n).map(|_| r.u64() as u8).collect();
    let (da, db, out, mask) = (k.upload(&a), k.upload(&b), k.zeros::<i16>(n), k.zeros::<u16>(n));
    k.launch(8, 128, 0, &[&da, &db, &out, &mask, &(n as i32)]);
    let pairs = || a.iter().zip(&b);
    same(&out.read(), &pairs().map(|(&a, &b)| (a as i32 * b as i32 >> 3) as i16).collect::<Vec<_>>());
    let word = |(&a, &b): (&i8, &u8)| (a < 0) as u16 | ((b > 200) as u16) << 1 | (a as u8 ^ b) as u16 * 256;
    same(&mask.read(), &pairs().map(word).collect::<Vec<_>>());
}

fn struct_params(k: &Kernel) {
    let n = 100;
    let input = Random(8).f32s(n, -1., 1.);
    let (out, din) = (k.zeros::<f32>(n), k.upload(&input));
    let row = [0.5f32, -1.0, 2.0, 8.0];
    let offsets = [3i32, 1, 2, 7, 0, 5];
    let affine = [2.0f32.to_le_bytes(), 0.25f32.to_le_bytes(), 97i32.to_le_bytes()].concat();
    let flags = [&[1u8][..], &0x00ffu16.to_le_bytes(), &0x89ab_cdefu32.to_le_bytes()].concat();
    let table = [row.map(f32::to_le_bytes).concat(), offsets.map(i32::to_le_bytes).concat(), vec![0; 8]].concat();
    k.launch(1, 128, 0, &[&out, &din, &affine, &flags, &table, &-3i8]);
    let expected = |(i, x): (usize, &f32)| {
        let v = -2.0f32.mul_add(*x, 0.25) + (0x89ab_cdefu32 >> (i & 7) & 0xff) as f32;
        if i < 97 { v + row[(offsets[i % 6] & 3) as usize] + -3.0 } else { 0.0 }
    };
    same(&out.read(), &input.iter().enumerate().map(expected).collect::<Vec<_>>());
}

fn streaming_copy(k: &Kernel) {
    let n = 250;
    let mut r = Random(9);
    let source: Vec<[f32; 4]> = (0..n).map(|_| [0; 4].map(|_| r.f64(-1., 1.) as f32)).collect();
    let ro = r.f32s(n, -1., 1.);
    let (dst, src, last, dro) = (k.zeros::<[f32; 4]>(n), k.upload(&source), k.zeros::<f32>(n + 2), k.upload(&ro));
    k.launch(2, 128, 0, &[&dst, &src, &last, &dro, &(n as i32)]);
    same(&dst.read(), &source);
    let mut want: Vec<f32> = ro.iter().map(|v| v + v + v + v + v).collect();
    want.extend([1.0, 2.0]);
    same(&last.read(), &want);
}

fn clamp<T: Arg + bytemuck::Pod + PartialOrd + std::fmt::Debug>(k: &Kernel, x: &[T], low: T, high: T) {
    let d = k.upload(x);
    k.launch(2, 33, 0, &[&d, &low, &high, &(x.len() as i32)]);
    let want: Vec<T> = x
        .iter()
        .map(|&v| {
            if v < low {
                low
            } else if v > high {
                high
            } else {
                v
            }
        })
        .collect();
    same(&d.read(), &want);
}

fn clamp_float(k: &Kernel) {
    let mut x = Random(10).f32s(2 * 33 * 4 - 3, -2., 2.);
    x[5] = f32::NAN;
    clamp(k, &x, -0.5, 0.75);
}

fn clamp_long(k: &Kernel) {
    let mut r = Random(11);
    let x: Vec<i64> = (0..261).map(|_| r.u64() as i64).collect();
    clamp(k, &x, -(1 << 61), 1 << 62);
}

fn clamp_byte(k: &Kernel) {
    let mut r = Random(12);
    let x: Vec<u8> = (0..262).map(|_| r.u64() as u8).collect();
    clamp(k, &x, 40, 200);
}

fn indices_3d(k: &Kernel) {
    let (grid, block) = ((3u32, 2u32, 2u32), (5u32, 2u32, 3u32));
    let (w, h, d) = (15, 4, 6);
    let out = k.zeros::<u32>(w * h * d);
    k.launch(grid, block, 0, &[&out]);
    let mut want = Vec::new();
    for (z, y, x) in (0..6u32).flat_map(|z| (0..4u32).flat_map(move |y| (0..15u32).map(move |x| (z, y, x)))) {
        let t = x % 5 + 5 * (y % 2 + 2 * (z % 3));
        want.push(t | (x / 5 + 3 * (y / 2 + 2 * (z / 3))) << 16);
    }
    same(&out.read(), &want);
}

fn mandelbrot(k: &Kernel) {
    let (w, h, limit) = (45usize, 33usize, 150);
    let out = k.zeros::<u16>(w * h);
    let step = 0.07;
    k.launch((3, 5), (16, 8), 0, &[&out, &(w as i32), &(h as i32), &-2.2f64, &-1.2f64, &step, &limit]);
    let count = |i: usize| {
        let (cx, cy) = (((i % w) as f64).mul_add(step, -2.2), ((i / w) as f64).mul_add(step, -1.2));
        let (mut x, mut y, mut n) = (0.0f64, 0.0f64, 0);
        while n < limit && x * x + y * y <= 4.0 {
            // As nvcc contracts it: the real part stays apart, the imaginary one is fused.
            (x, y) = (cx + (x * x - y * y), (x + x).mul_add(y, cy));
            n += 1;
        }
        n as u16
    };
    same(&out.read(), &(0..w * h).map(count).collect::<Vec<_>>());
}

fn game_of_life(k: &Kernel) {
    let (w, h) = (29usize, 17usize);
    let mut r = Random(13);
    let mut now: Vec<u8> = (0..w * h).map(|_| (r.below(3) == 0) as u8).collect();
    let mut buffers = [k.upload(&now), k.zeros::<u8>(w * h)];
    for _ in 0..3 {
        k.launch((4, 5), (8, 4), 0, &[&buffers[1], &buffers[0], &(w as i32), &(h as i32)]);
        buffers.swap(0, 1);
        let cell = |x: usize, y: usize| now[y % h * w + x % w];
        let alive = |i: usize| {
            let (x, y) = (i % w, i / w);
            let around = (0..9).filter(|&d| d != 4).map(|d| cell(x + w + d % 3 - 1, y + h + d / 3 - 1)).sum::<u8>();
            (around == 3 || around == 2 && now[i] == 1) as u8
        };
        now = (0..w * h).map(alive).collect();
        same(&buffers[0].read(), &now);
    }
}
