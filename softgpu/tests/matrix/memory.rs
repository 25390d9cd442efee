//! `ldmatrix`, `stmatrix` and `movmatrix`: a lane's values by the ISA's figures, 9.7.14.5.15 to 17.

use softgpu::Level;

use crate::values::{HEAD, LEVELS, Random, run};

const SHARED: usize = 4096;

/// Data: 32 addresses in shared memory, its 4096 bytes, and four registers of 32 words.
const TILE: usize = 128;
const REGISTERS: usize = TILE + SHARED;
const BYTES: usize = REGISTERS + 4 * TILE;

/// Fills shared memory, runs `op` on the registers and the address, and writes both back.
fn kernel(op: &str) -> String {
    let each = |f: &dyn Fn(usize) -> String, n: usize| (0..n).map(f).collect::<Vec<_>>().concat();
    format!(
        "{HEAD}.visible .entry k(.param .u64 p) {{ .reg .b32 %r<8>, %v<4>, %a, %t, %o; .reg .b64 %g, %x, %y, %w, %d, %z;\n\
         .shared .align 128 .b8 s[{SHARED}];\n\
         ld.param.u64 %g, [p]; mov.u32 %t, %tid.x; mul.wide.u32 %x, %t, 4; add.s64 %x, %g, %x;\n\
         mul.wide.u32 %y, %t, 16; add.s64 %y, %g, %y; mul.wide.u32 %w, %t, 16;\n\
         mov.u64 %z, s; add.s64 %w, %w, %z;\n{fill}{load}\
         ld.global.u32 %o, [%x]; mov.u32 %a, s; add.u32 %a, %a, %o; cvt.u64.u32 %d, %a; cvta.shared.u64 %z, %d;\n\
         bar.sync 0;\n{op}\nbar.sync 0;\n{back}{store}ret; }}",
        fill = each(
            &|j| format!(
                "ld.global.v4.u32 {{%v0, %v1, %v2, %v3}}, [%y+{}]; st.shared.v4.u32 [%w+{}], {{%v0, %v1, %v2, %v3}};\n",
                TILE + 512 * j,
                512 * j
            ),
            8
        ),
        back = each(
            &|j| format!(
                "ld.shared.v4.u32 {{%v0, %v1, %v2, %v3}}, [%w+{}]; st.global.v4.u32 [%y+{}], {{%v0, %v1, %v2, %v3}};\n",
                512 * j,
                TILE + 512 * j
            ),
            8
        ),
        load = each(&|j| format!("ld.global.u32 %r{j}, [%x+{}];\n", REGISTERS + TILE * j), 4),
        store = each(&|j| format!("st.global.u32 [%x+{}], %r{j};\n", REGISTERS + TILE * j), 4),
    )
}

/// Random rows of shared memory, and random contents.
fn draw(random: &mut Random) -> (Vec<u8>, Vec<usize>) {
    let rows: Vec<usize> = (0..32).map(|_| 16 * random.below(256) as usize).collect();
    let mut data: Vec<u8> = rows.iter().flat_map(|&row| (row as u32).to_le_bytes()).collect();
    data.extend((TILE..BYTES).map(|_| random.next() as u8));
    (data, rows)
}

fn half(data: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([data[at], data[at + 1]])
}

/// Row and column of the `i`-th half of a lane.
fn place(lane: usize, i: usize, transposed: bool) -> (usize, usize) {
    let (row, column) = (lane / 4, 2 * (lane % 4) + i);
    if transposed { (column, row) } else { (row, column) }
}

const ADDRESSES: [(&str, &str); 5] =
    [(".shared", "%a"), (".shared", "%d"), (".shared::cta", "%a"), ("", "%z"), (".shared::cta", "%d")];

#[test]
fn ldmatrix_deals_rows_to_lanes() {
    let mut random = Random(11);
    for level in LEVELS {
        for (count, list) in [(1, "%r0"), (2, "%r0, %r1"), (4, "%r0, %r1, %r2, %r3")] {
            for trans in ["", ".trans"] {
                for (space, address) in ADDRESSES {
                    for offset in [0, 32] {
                        let (mut data, mut rows) = draw(&mut random);
                        rows.iter_mut().for_each(|row| *row = (*row).max(offset));
                        for (lane, row) in rows.iter().enumerate() {
                            data[4 * lane..4 * lane + 4].copy_from_slice(&(*row as u32 - offset as u32).to_le_bytes());
                        }
                        let op = format!(
                            "ldmatrix.sync.aligned.m8n8.x{count}{trans}{space}.b16 {{{list}}}, [{address}+{offset}];"
                        );
                        let after = run(&kernel(&op), level, &data).unwrap();
                        assert_eq!(after[TILE..REGISTERS], data[TILE..REGISTERS]);
                        for register in 0..4 {
                            for (lane, i) in (0..32).flat_map(|lane| [(lane, 0), (lane, 1)]) {
                                let at = REGISTERS + TILE * register + 4 * lane + 2 * i;
                                let (row, column) = place(lane, i, !trans.is_empty());
                                let from = match register < count {
                                    true => TILE + rows[8 * register + row] + 2 * column,
                                    false => at,
                                };
                                assert_eq!(
                                    half(&after, at),
                                    half(&data, from),
                                    "{op} register {register}, lane {lane}"
                                );
                            }
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn stmatrix_is_its_inverse() {
    let mut random = Random(12);
    for (count, list) in [(1, "%r0"), (2, "%r0, %r1"), (4, "%r0, %r1, %r2, %r3")] {
        for trans in ["", ".trans"] {
            for (space, address) in ADDRESSES {
                let (mut data, _) = draw(&mut random);
                // Rows apart, in an order drawn at random.
                let mut rows: Vec<usize> = (0..256).map(|row| 16 * row).collect();
                (0..256).for_each(|at| rows.swap(at, random.below(256) as usize));
                for (lane, row) in rows.iter().enumerate().take(32) {
                    data[4 * lane..4 * lane + 4].copy_from_slice(&(*row as u32).to_le_bytes());
                }
                let op = format!("stmatrix.sync.aligned.m8n8.x{count}{trans}{space}.b16 [{address}], {{{list}}};");
                let mut expected = data.clone();
                for register in 0..count {
                    for (lane, i) in (0..32).flat_map(|lane| [(lane, 0), (lane, 1)]) {
                        let (row, column) = place(lane, i, !trans.is_empty());
                        let (from, to) = (
                            REGISTERS + TILE * register + 4 * lane + 2 * i,
                            TILE + rows[8 * register + row] + 2 * column,
                        );
                        expected.copy_within(from..from + 2, to);
                    }
                }
                assert!(run(&kernel(&op), Level::Avx2, &data).unwrap() == expected, "{op}");
            }
        }
    }
}

#[test]
fn movmatrix_transposes() {
    let mut random = Random(13);
    for level in LEVELS {
        let (data, _) = draw(&mut random);
        let op = "movmatrix.sync.aligned.m8n8.trans.b16 %r1, %r0; movmatrix.sync.aligned.m8n8.trans.b16 %r2, %r1;
            movmatrix.sync.aligned.m8n8.trans.b16 %r3, %r3;";
        let after = run(&kernel(op), level, &data).unwrap();
        let at = |register: usize, row: usize, column: usize| REGISTERS + TILE * register + 16 * row + 2 * column;
        for (row, column) in (0..64).map(|k| (k / 8, k % 8)) {
            assert_eq!(half(&after, at(1, row, column)), half(&data, at(0, column, row)));
            assert_eq!(half(&after, at(2, row, column)), half(&data, at(0, row, column)));
            assert_eq!(half(&after, at(3, row, column)), half(&data, at(3, column, row)));
        }
    }
}

#[test]
fn rows_that_stray_stop() {
    let says = |op: &str, lane: usize, offset: u32| {
        let mut data = vec![0; BYTES];
        data[4 * lane..4 * lane + 4].copy_from_slice(&offset.to_le_bytes());
        run(&kernel(op), Level::Avx2, &data).err().unwrap_or_default()
    };
    let load = "ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%r0, %r1}, [%a];";
    assert!(says(load, 9, 8).starts_with("memcheck: misaligned access: 16 bytes"), "{}", says(load, 9, 8));
    let message = says(load, 9, 4096);
    assert!(message.starts_with("memcheck: access past shared memory: 16 bytes at +4096 of 4096"), "{message}");
    assert!(message.contains("thread (9, 0, 0)"), "{message}");
    assert_eq!(says(load, 16, 8), "", "x2 takes the addresses of 16 lanes");
    let message = says("stmatrix.sync.aligned.m8n8.x1.b16 [%g], {%r0};", 0, 0);
    assert!(message.contains("is not in shared memory"), "{message}");
}
