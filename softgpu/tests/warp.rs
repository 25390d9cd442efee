//! What lanes, warps and blocks do together, against oracles that look at one lane at a time: shuffles, votes, matches,
//! reductions, elections and barriers, together and in diverged parts of a warp.

#![allow(clippy::unwrap_used)] // a panic in a test is its report

use softgpu::{Launch, Level, Memory, Module, launch};

/// Runs `body` with `%i0 …` loaded from the inputs, one value per thread; what it leaves in `%o0 …`, per output.
fn run(level: Level, threads: usize, inputs: &[Vec<u32>], outputs: usize, body: &str) -> Result<Vec<Vec<u32>>, String> {
    let n = inputs.len();
    let loads: String =
        (0..n).map(|k| format!("ld.global.u32 %i{k}, [%a+{}];\n", 4 * k * threads)).collect::<Vec<_>>().concat();
    let stores: String = (0..outputs)
        .map(|k| format!("st.global.u32 [%a+{}], %o{k};\n", 4 * (n + k) * threads))
        .collect::<Vec<_>>()
        .concat();
    let text = format!(
        ".version 8.0\n.target sm_80\n.address_size 64\n.visible .entry k(.param .u64 data) {{\n\
         .reg .b32 %i<8>, %o<8>, %r<32>, %t, %l;\n.reg .b64 %d<8>, %a, %b;\n.reg .pred %p<16>;\n\
         .shared .align 16 .b8 s[4096];\n\
         ld.param.u64 %b, [data]; mov.u32 %t, %tid.x; mov.u32 %l, %laneid;\n\
         mul.wide.u32 %a, %t, 4; add.s64 %a, %a, %b;\n{loads}{body}\n$STORE:\n{stores}ret;\n}}"
    );
    let module = Module::load_for(&text, level).and_then(Module::whole).map_err(|e| format!("{e}\n{text}"))?;
    let memory = Memory::new();
    let words = (n + outputs) * threads;
    let address = memory.alloc(4 * words).unwrap();
    // SAFETY: freed with `memory`, after the last use; no launch runs while the slice is used.
    let data =
        unsafe { std::slice::from_raw_parts_mut(memory.host_slice(address, 4 * words).unwrap() as *mut u32, words) };
    inputs.iter().enumerate().for_each(|(k, input)| data[k * threads..(k + 1) * threads].copy_from_slice(input));
    let args = address.to_le_bytes();
    let shape =
        Launch { grid: [1; 3], block: [threads as u32, 1, 1], shared_bytes: 0, args: &[&args], cooperative: false };
    launch(&module, "k", &memory, &shape).map_err(|e| e.to_string())?;
    Ok((0..outputs).map(|k| data[(n + k) * threads..(n + k + 1) * threads].to_vec()).collect())
}

const LEVELS: [Level; 3] = [Level::Baseline, Level::Avx2, Level::Avx512];

/// Marsaglia's xorshift.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as u32
    }
    fn below(&mut self, n: u32) -> u32 {
        self.next() % n
    }
    fn lanes(&mut self, n: u32) -> Vec<u32> {
        (0..32).map(|_| self.below(n)).collect()
    }
    /// Parts the lanes into up to `n` sets; each lane's own set.
    fn masks(&mut self, n: u32) -> Vec<u32> {
        let team = self.lanes(n);
        (0..32).map(|i| (0..32).filter(|&j| team[j] == team[i]).fold(0, |m, j| m | 1 << j)).collect()
    }
}

fn members(mask: u32) -> impl Iterator<Item = usize> {
    (0..32).filter(move |i| mask >> i & 1 == 1)
}

/// Checks outputs lane by lane against `expected(lane)`.
fn check(level: Level, inputs: &[Vec<u32>], body: &str, expected: &dyn Fn(usize) -> Vec<u32>) {
    let count = expected(0).len();
    let got = run(level, 32, inputs, count, body).unwrap_or_else(|e| panic!("{body}: {e}"));
    for lane in 0..32 {
        let got: Vec<u32> = got.iter().map(|values| values[lane]).collect();
        assert_eq!(got, expected(lane), "{level:?}, lane {lane}: {body}\ninputs {inputs:x?}");
    }
}

/// Masks: all lanes, two halves, and sets drawn at random, all in one instruction.
fn masks(random: &mut Random) -> Vec<Vec<u32>> {
    let halves = (0..32).map(|i| if i < 16 { 0xffff } else { 0xffff_0000 }).collect();
    vec![vec![u32::MAX; 32], halves, random.masks(3), random.masks(9)]
}

#[test]
fn votes() {
    let mut random = Random(1);
    for level in LEVELS {
        for round in 0..4 {
            for mask in masks(&mut random) {
                // Now and then all or none.
                let p: Vec<u32> = match round {
                    0 => vec![1; 32],
                    1 => vec![0; 32],
                    _ => random.lanes(2),
                };
                for not in [false, true] {
                    let bang = if not { "!" } else { "" };
                    let body = format!(
                        "setp.ne.u32 %p1, %i0, 0;
                         vote.sync.any.pred %p2, {bang}%p1, %i1; selp.u32 %o0, 1, 0, %p2;
                         vote.sync.all.pred %p3, {bang}%p1, %i1; selp.u32 %o1, 1, 0, %p3;
                         vote.sync.uni.pred %p4, {bang}%p1, %i1; selp.u32 %o2, 1, 0, %p4;
                         vote.sync.ballot.b32 %o3, {bang}%p1, %i1;"
                    );
                    let holds = |i: usize| (p[i] != 0) != not;
                    let (p, m) = (&p, &mask);
                    check(level, &[p.clone(), m.clone()], &body, &|lane| {
                        let on = members(m[lane]).filter(|&i| holds(i)).count();
                        let all = members(m[lane]).count();
                        let ballot = members(m[lane]).filter(|&i| holds(i)).fold(0, |b, i| b | 1 << i);
                        vec![(on > 0) as u32, (on == all) as u32, (on == 0 || on == all) as u32, ballot]
                    });
                }
            }
        }
    }
}

/// A vote over sets is not the same in all lanes: what depends on it may part them.
#[test]
fn votes_of_parts_may_part_the_warp() {
    let body = "setp.eq.u32 %p1, %l, 3; setp.lt.u32 %p2, %l, 16; selp.b32 %r1, 0xffff, 0xffff0000, %p2;
        vote.sync.any.pred %p3, %p1, %r1; mov.u32 %o0, 5; @%p3 bra $A; mov.u32 %r2, 7; bra $B;
        $A: mov.u32 %r2, 9; $B: add.u32 %o0, %r2, 1;";
    check(Level::Avx2, &[], body, &|lane| vec![if lane < 16 { 10 } else { 8 }]);
}

#[test]
fn matches() {
    let mut random = Random(2);
    for level in LEVELS {
        for kinds in [1, 2, 5] {
            for mask in masks(&mut random) {
                let (low, high) = (random.lanes(kinds), random.lanes(kinds));
                let body = "mov.b64 %d1, {%i0, %i1};
                    match.any.sync.b32 %o0, %i0, %i2; match.any.sync.b64 %o1, %d1, %i2;
                    match.all.sync.b32 %o2|%p1, %i0, %i2; selp.u32 %o3, 1, 0, %p1;
                    match.all.sync.b64 %o4|%p2, %d1, %i2; selp.u32 %o5, 1, 0, %p2;
                    match.all.sync.b32 %o6, %i0, %i2;";
                check(level, &[low.clone(), high.clone(), mask.clone()], body, &|lane| {
                    let set = |same: &dyn Fn(usize) -> bool| {
                        members(mask[lane]).filter(|&i| same(i)).fold(0, |b, i| b | 1 << i)
                    };
                    let word = set(&|i| low[i] == low[lane]);
                    let double = set(&|i| (low[i], high[i]) == (low[lane], high[lane]));
                    let all = |set: u32| if set == mask[lane] { [set, 1] } else { [0, 0] };
                    [&[word, double][..], &all(word), &all(double), &all(word)[..1]].concat()
                });
            }
        }
    }
}

#[test]
fn reductions() {
    let mut random = Random(3);
    type Operation = fn(u32, u32) -> u32;
    let forms: [(&str, Operation); 9] = [
        ("add.u32", u32::wrapping_add),
        ("add.s32", u32::wrapping_add),
        ("min.u32", u32::min),
        ("max.u32", u32::max),
        ("min.s32", |a, b| (a as i32).min(b as i32) as u32),
        ("max.s32", |a, b| (a as i32).max(b as i32) as u32),
        ("and.b32", |a, b| a & b),
        ("or.b32", |a, b| a | b),
        ("xor.b32", |a, b| a ^ b),
    ];
    for level in LEVELS {
        for (name, op) in forms {
            for mask in masks(&mut random) {
                let mut a: Vec<u32> = (0..32).map(|_| random.next()).collect();
                a[random.below(32) as usize] = u32::MAX;
                a[random.below(32) as usize] = 0x8000_0000;
                let body = format!("redux.sync.{name} %o0, %i0, %i1;");
                check(level, &[a.clone(), mask.clone()], &body, &|lane| {
                    vec![members(mask[lane]).map(|i| a[i]).reduce(op).unwrap()]
                });
            }
        }
    }
}

#[test]
fn elections_and_active_lanes() {
    let mut random = Random(4);
    for level in LEVELS {
        for mask in masks(&mut random) {
            let body =
                "elect.sync %o0|%p1, %i0; selp.u32 %o1, 1, 0, %p1; elect.sync _|%p2, %i0; selp.u32 %o2, 1, 0, %p2;
                activemask.b32 %o3; mov.u32 %o4, 0; setp.lt.u32 %p3, %l, 5; @%p3 activemask.b32 %o4;";
            check(level, std::slice::from_ref(&mask), body, &|lane| {
                let leader = mask[lane].trailing_zeros();
                let leads = (leader == lane as u32) as u32;
                vec![leader, leads, leads, u32::MAX, if lane < 5 { 31 } else { 0 }]
            });
        }
    }
}

/// The semantics of the ISA, step by step.
fn nth_set(mask: u32, base: u32, offset: i32) -> u32 {
    if offset == 0 {
        return if mask >> base & 1 == 1 { base } else { u32::MAX };
    }
    let (mut at, mut count) = (base as i32, offset.unsigned_abs() - 1);
    while (0..32).contains(&at) {
        if mask >> at & 1 == 1 {
            if count == 0 {
                return at as u32;
            }
            count -= 1;
        }
        at += offset.signum();
    }
    u32::MAX
}

#[test]
fn nth_set_bits() {
    let mut random = Random(5);
    for round in 0..20 {
        let mask: Vec<u32> = (0..32).map(|_| random.next() & random.next()).collect();
        let base = random.lanes(32);
        let mut offset: Vec<u32> = random.lanes(9).into_iter().map(|x| x.wrapping_sub(4)).collect();
        if round == 0 {
            (offset[0], offset[1], offset[2]) = (i32::MIN as u32, i32::MAX as u32, 0);
        }
        let inputs = [mask.clone(), base.clone(), offset.clone()];
        check(Level::Avx2, &inputs, "fns.b32 %o0, %i0, %i1, %i2;", &|lane| {
            vec![nth_set(mask[lane], base[lane], offset[lane] as i32)]
        });
    }
}

/// 9.7.9.6, as the ISA writes it.
fn source(mode: &str, lane: u32, b: u32, c: u32) -> (u32, bool) {
    let (b, clamp, segment) = (b & 31, c & 31, c >> 8 & 31);
    let max = (lane & segment) | (clamp & !segment);
    let min = lane & segment;
    let (j, inside) = match mode {
        "up" => (lane as i32 - b as i32, lane as i32 - b as i32 >= max as i32),
        "down" => ((lane + b) as i32, lane + b <= max),
        "bfly" => ((lane ^ b) as i32, lane ^ b <= max),
        _ => ((min | (b & !segment)) as i32, min | (b & !segment) <= max),
    };
    if inside { (j as u32, true) } else { (lane, false) }
}

#[test]
fn shuffles() {
    let mut random = Random(6);
    for level in LEVELS {
        for mode in ["up", "down", "bfly", "idx"] {
            for width in [1, 2, 4, 8, 16, 32] {
                let clamp = if mode == "up" { 0 } else { 31 } | (32 - width) << 8;
                let (a, b) = ((0..32).map(|_| random.next()).collect::<Vec<_>>(), random.lanes(40));
                // Tiles of cooperative groups: each names its own lanes.
                let tile = |i: u32| if width == 32 { u32::MAX } else { ((1 << width) - 1) << (i / width * width) };
                let mask: Vec<u32> = (0..32).map(tile).collect();
                let body = format!(
                    "shfl.sync.{mode}.b32 %o0|%p1, %i0, %i1, {clamp}, %i2; selp.u32 %o1, 1, 0, %p1;
                     shfl.sync.{mode}.b32 %o2, %i0, %i1, {clamp}, -1; shfl.sync.{mode}.b32 _|%p2, %i0, %i1, {clamp}, -1;
                     selp.u32 %o3, 1, 0, %p2;"
                );
                check(level, &[a.clone(), b.clone(), mask], &body, &|lane| {
                    let (from, inside) = source(mode, lane as u32, b[lane], clamp);
                    vec![a[from as usize], inside as u32, a[from as usize], inside as u32]
                });
            }
        }
    }
}

/// One distance and one clamp for all lanes, as in every reduction: powers of two have ways of their own.
#[test]
fn shuffles_by_one_distance() {
    let a: Vec<u32> = (0..32).map(|i| 1000 + i * i).collect();
    for level in LEVELS {
        for mode in ["up", "down", "bfly", "idx"] {
            for clamp in [31, 0, 15, 0x181f, 0x1800, 0x101f, 0x1c03, 0x1f1f, 0x0f1f] {
                for b in [0, 1, 2, 3, 4, 8, 16, 31, 33] {
                    let body = format!("shfl.sync.{mode}.b32 %o0|%p1, %i0, {b}, {clamp}, -1; selp.u32 %o1, 1, 0, %p1;");
                    check(level, std::slice::from_ref(&a), &body, &|lane| {
                        let (from, inside) = source(mode, lane as u32, b, clamp);
                        vec![a[from as usize], inside as u32]
                    });
                }
            }
        }
    }
}

/// Products by a value that all lanes share, a literal or loaded from one address, in either place: read from a cell. Lanes
/// that do not execute keep what they had.
#[test]
fn products_by_a_value_that_all_lanes_share() {
    let special = [0.0f32, -0.0, 1.0, -2.5, 1e-42, -3e38, f32::INFINITY, f32::NEG_INFINITY, f32::NAN, 3.1];
    let lanes = |shift: usize| (0..32).map(|i| special[(i * 7 + shift) % special.len()].to_bits()).collect::<Vec<_>>();
    let plain = |x: f32| if x.is_nan() { 0x7fff_ffff } else { x.to_bits() };
    for level in LEVELS {
        for (k, shared) in special.into_iter().enumerate() {
            let inputs = [lanes(k), lanes(3 * k + 1), vec![shared.to_bits(); 32]];
            let (literal, loaded) = (format!("0f{:08x}", shared.to_bits()), "ld.global.u32 %r1, [%b+256];");
            for factor in [literal.as_str(), "%r1"] {
                let body = format!(
                    "{loaded} setp.gt.u32 %p1, %l, 11; fma.rn.f32 %o0, %i0, {factor}, %i1; fma.rn.f32 %o1, {factor}, %i0, %i1;
                     mul.f32 %o2, %i0, {factor}; mul.f32 %o3, {factor}, %i0; mov.u32 %o4, %l;
                     @%p1 mul.f32 %o4, %i0, {factor}; fma.rn.f32 %o5, {factor}, {factor}, %i1;"
                );
                check(level, &inputs, &body, &|lane| {
                    let [a, c] = [0, 1].map(|k| f32::from_bits(inputs[k][lane]));
                    let (sum, product) = (plain(a.mul_add(shared, c)), plain(a * shared));
                    let last = if lane > 11 { product } else { lane as u32 };
                    vec![sum, sum, product, product, last, plain(shared.mul_add(shared, c))]
                });
            }
        }
    }
}

/// An index compared with a bound: lane 0's and lane 31's stand for all, unless one between them wraps.
#[test]
fn comparisons_of_indices_that_wrap() {
    type Holds = fn(i64, i64) -> bool;
    let comparisons: [(&str, Holds); 4] =
        [("lt", |a, b| a < b), ("le", |a, b| a <= b), ("gt", |a, b| a > b), ("ge", |a, b| a >= b)];
    for level in LEVELS {
        for (cmp, holds) in comparisons {
            for signed in [true, false] {
                for base in [0u32, 10, 0x7fff_fff0, 0x8000_0000, 0xffff_fff0, 0xffff_ffff] {
                    for bound in [0u32, 5, 20, 0x7fff_ffff, 0x8000_0003, 0xffff_fffb] {
                        let ty = if signed { "s32" } else { "u32" };
                        let body = format!(
                            "add.u32 %r1, %t, {base}; setp.{cmp}.{ty} %p1, %r1, {bound}; selp.u32 %o0, 1, 0, %p1;
                             setp.{cmp}.{ty} %p2, {bound}, %r1; selp.u32 %o1, 1, 0, %p2;"
                        );
                        let value = |x: u32| if signed { x as i32 as i64 } else { x as i64 };
                        check(level, &[], &body, &|lane| {
                            let (x, y) = (value(base.wrapping_add(lane as u32)), value(bound));
                            vec![holds(x, y) as u32, holds(y, x) as u32]
                        });
                    }
                }
            }
        }
    }
}

/// Each half of a warp has its own instruction, in another branch.
#[test]
fn diverged_halves_work_apart() {
    let one = |m: &str| {
        format!(
            "redux.sync.add.u32 %o0, %l, {m}; match.any.sync.b32 %o1, %i0, {m}; activemask.b32 %o2;
             shfl.sync.bfly.b32 %o3, %l, 1, 31, {m}; vote.sync.ballot.b32 %o4, %p1, {m};"
        )
    };
    let body =
        format!("setp.lt.u32 %p1, %l, 20; @%p1 bra $A; {} bra $STORE; $A: {}", one("0xfff00000"), one("0xfffff"));
    let a: Vec<u32> = (0..32).map(|i| i % 3).collect();
    for level in LEVELS {
        check(level, std::slice::from_ref(&a), &body, &|lane| {
            let mask: u32 = if lane < 20 { 0xf_ffff } else { 0xfff0_0000 };
            let same = members(mask).filter(|&i| a[i] == a[lane]).fold(0, |b, i| b | 1 << i);
            let sum = members(mask).sum::<usize>() as u32;
            vec![sum, same, mask, lane as u32 ^ 1, if lane < 20 { mask } else { 0 }]
        });
    }
}

/// The lanes that come first (they stand at the lower pc) wait for the one that still has to write.
#[test]
fn a_warp_barrier_waits_for_its_members() {
    let body = "mov.u32 %r1, s; setp.eq.u32 %p1, %l, 7; @%p1 bra $W;
        $B: bar.warp.sync -1; ld.shared.u32 %o0, [%r1]; bra $STORE; $W: st.shared.u32 [%r1], 77; bra $B;";
    for level in LEVELS {
        check(level, &[], body, &|_| vec![77]);
    }
    // Without it, they do not.
    let got = run(Level::Avx2, 32, &[], 1, &body.replace("bar.warp.sync -1;", "")).unwrap();
    assert_ne!(got[0][0], 77);
    // Others may wait or not; members do.
    let masks: Vec<u32> = (0..32).map(|i| if matches!(i, 0 | 7) { 0x81 } else { 0xffff_ff7e }).collect();
    let got = run(Level::Avx2, 32, &[masks], 1, &body.replace("sync -1", "sync %i0")).unwrap();
    assert_eq!((got[0][0], got[0][7]), (77, 77));
}

/// 9.7.13.2: what the members must all execute is a `bar.warp.sync` with their mask, not the same one.
#[test]
fn a_warp_barrier_may_be_met_elsewhere() {
    let body = "mov.u32 %r1, s; mov.u32 %r2, 0; mov.u32 %o0, 0; shl.b32 %r3, %l, 2; add.u32 %r4, %r1, %r3; xor.b32 %r5, %r3, 64; add.u32 %r5, %r1, %r5;
        setp.lt.u32 %p1, %l, 16; @%p1 bra $B;
        $A: mad.lo.u32 %r6, %r2, 100, %l; st.shared.u32 [%r4], %r6; bar.warp.sync -1; ld.shared.u32 %r7, [%r5]; add.u32 %o0, %o0, %r7; bar.warp.sync -1;
        add.u32 %r2, %r2, 1; setp.lt.u32 %p2, %r2, 5; @%p2 bra $A; bra $STORE;
        $B: mad.lo.u32 %r6, %r2, 1000, %l; st.shared.u32 [%r4], %r6; bar.warp.sync -1; ld.shared.u32 %r7, [%r5]; add.u32 %o0, %o0, %r7; bar.warp.sync -1;
        add.u32 %r2, %r2, 1; setp.lt.u32 %p2, %r2, 5; @%p2 bra $B;";
    for level in LEVELS {
        check(level, &[], body, &|lane| {
            let (other, step) = if lane < 16 { (lane + 16, 100) } else { (lane - 16, 1000) };
            vec![5 * other as u32 + 10 * step]
        });
    }
    // Half of them leave instead.
    let body = "setp.lt.u32 %p1, %l, 16; @%p1 bra $B; bar.warp.sync -1; mov.u32 %o0, 3; bra $STORE; $B: mov.u32 %r1, 4;
        setp.lt.u32 %p2, %l, 8; @%p2 exit; bar.warp.sync -1; mov.u32 %o0, 4;";
    let got = run(Level::Avx2, 32, &[], 1, body).unwrap();
    assert_eq!((got[0][7], got[0][8], got[0][16]), (0, 4, 3));
}

/// Lanes that have exited are not waited for.
#[test]
fn lanes_that_have_exited_are_no_members() {
    let body = "setp.gt.u32 %p1, %l, 9; @%p1 exit; bar.warp.sync -1; redux.sync.add.u32 %o0, %l, -1;
        vote.sync.all.pred %p2, %p1, -1; selp.u32 %o1, 1, 0, %p2; match.any.sync.b32 %o2, 1, -1;";
    for level in LEVELS {
        let got = run(level, 32, &[], 3, body).unwrap();
        assert_eq!((got[0][3], got[1][3], got[2][3]), (45, 0, 0x3ff));
        assert_eq!(got[0][10], 0);
    }
}

#[test]
fn members_that_are_missing_stop() {
    let says = |body: &str| run(Level::Avx2, 32, &[], 1, body).unwrap_err();
    for op in [
        "shfl.sync.idx.b32 %o0, %l, 0, 31, %r1;",
        "shfl.sync.bfly.b32 %o0, %l, 16, 31, %r1;",
        "vote.sync.ballot.b32 %o0, %p1, %r1;",
        "match.any.sync.b32 %o0, %l, %r1;",
        "match.all.sync.b32 %o0|%p2, %l, %r1;",
        "redux.sync.or.b32 %o0, %l, %r1;",
        "elect.sync _|%p2, %r1;",
        "bar.warp.sync %r1;",
    ] {
        let name = op.split_once(' ').unwrap().0;
        let name =
            [".b32", ".idx", ".bfly", ".ballot", ".or"].iter().fold(name, |name, end| name.trim_end_matches(end));
        // Lane 4 executes, and is no member.
        let message = says(&format!("setp.eq.u32 %p1, %l, 4; mov.u32 %r1, 0xffffffef; {op}"));
        assert!(message.contains(&format!("{name}: member mask 0xffffffef, executing lanes 0xffffffff")), "{message}");
        assert!(message.contains("thread (4, 0, 0)") && message.contains("must name itself"), "{message}");
        // Lanes 0 to 3 leave by another branch, to wait for the others there.
        let message = says(&format!(
            "setp.lt.u32 %p1, %l, 4; mov.u32 %r1, -1; @%p1 bra $A; {op} bra $STORE; $A: vote.sync.ballot.b32 %o0, %p1, -1;"
        ));
        assert!(message.contains("member mask 0xffffffff, executing lanes 0xf"), "{message}");
        assert!(message.contains("must reach the instruction together"), "{message}");
        // Lane 31 names fewer than those that name it.
        let message = says(&format!("setp.eq.u32 %p1, %l, 31; mov.u32 %r1, -1; @%p1 mov.u32 %r1, 0x80000000; {op}"));
        assert!(message.contains("lane 31 says 0x80000000"), "{message}");
    }
}

#[test]
fn barriers_reduce() {
    let mut random = Random(7);
    for level in LEVELS {
        for threads in [32, 40, 96, 256] {
            let p: Vec<u32> = (0..threads).map(|_| random.below(2)).collect();
            for case in [p, vec![1; threads], vec![0; threads]] {
                let body = "setp.ne.u32 %p1, %i0, 0; mov.u32 %r1, 5;
                    bar.red.popc.u32 %o0, 3, %p1; barrier.cta.red.popc.aligned.u32 %o1, %r1, !%p1;
                    bar.red.and.pred %p2, 0, %p1; selp.u32 %o2, 1, 0, %p2;
                    barrier.red.or.pred %p3, 0, %p1; selp.u32 %o3, 1, 0, %p3;
                    bar.cta.red.and.pred %p4, %r1, !%p1; selp.u32 %o4, 1, 0, %p4;
                    barrier.red.or.aligned.pred %p5, 1, !%p1; selp.u32 %o5, 1, 0, %p5;";
                let got = run(level, threads, std::slice::from_ref(&case), 6, body).unwrap();
                let on = case.iter().sum::<u32>();
                let off = threads as u32 - on;
                let expected = [on, off, (off == 0) as u32, (on > 0) as u32, (on == 0) as u32, (off > 0) as u32];
                for t in 0..threads {
                    let got: Vec<u32> = got.iter().map(|values| values[t]).collect();
                    assert_eq!(got, expected, "{level:?}, thread {t} of {threads}");
                }
            }
        }
    }
}

/// A register that a reduction writes is no constant, whatever else writes it.
#[test]
fn a_reduction_overwrites_what_was_there() {
    let body = "mov.u32 %r1, 99; mov.u32 %o0, 99; setp.lt.u32 %p1, %t, 33; bar.red.popc.u32 %o0, 0, 64, %p1;
        add.u32 %o1, %r1, 0;";
    let got = run(Level::Avx2, 64, &[], 2, body).unwrap();
    assert!(got[0].iter().all(|&n| n == 33) && got[1].iter().all(|&n| n == 99), "{got:?}");
}

/// Warp 0 makes a value, round by round, and does not wait for who takes it before it makes the next.
#[test]
fn producers_arrive_and_consumers_wait() {
    let body = "mov.u32 %r1, s; mov.u32 %r2, 0; mov.u32 %o0, 0; mov.u32 %r7, 64; mov.u32 %r8, 2; setp.lt.u32 %p1, %t, 32; @%p1 bra $P;
        $C: barrier.sync 1, 64; ld.shared.u32 %r3, [%r1]; add.u32 %o0, %o0, %r3; bar.arrive %r8, %r7;
        add.u32 %r2, %r2, 1; setp.lt.u32 %p2, %r2, 4; @%p2 bra $C; bra $STORE;
        $P: mul.lo.u32 %r3, %r2, 10; add.u32 %r3, %r3, 1; setp.eq.u32 %p3, %t, 0; @%p3 st.shared.u32 [%r1], %r3;
        barrier.cta.arrive.aligned 1, 64; bar.cta.sync 2, 64;
        add.u32 %r2, %r2, 1; setp.lt.u32 %p2, %r2, 4; @%p2 bra $P;";
    for level in LEVELS {
        let got = run(level, 64, &[], 1, body).unwrap();
        assert!(got[0][32..].iter().all(|&n| n == 1 + 11 + 21 + 31), "{got:?}");
    }
    let message = run(Level::Avx2, 64, &[], 0, "bar.arrive 1, 48;").unwrap_err();
    assert!(message.contains("a barrier for 48 threads"), "{message}");
    let message = run(Level::Avx2, 64, &[], 0, "bar.sync 16;").unwrap_err();
    assert!(message.contains("barrier 16 does not exist"), "{message}");
}

#[test]
fn what_no_gpu_here_has_is_refused_with_its_reason() {
    let says = |body: &str| run(Level::Avx2, 32, &[], 0, body).unwrap_err();
    for (body, why) in [
        ("shfl.idx.b32 %r1, %r2, 0, 31;", "use `shfl.sync`"),
        ("vote.all.pred %p1, %p2;", "use `vote.sync`"),
        ("barrier.cluster.arrive;", "clusters of blocks need sm_90"),
        ("setmaxnreg.inc.sync.aligned.u32 160;", "sm_90a"),
        ("wgmma.fence.sync.aligned;", "sm_90a"),
        ("shfl.sync.idx.b64 %d1, %d1, 0, 31, -1;", "does not know the instruction"),
        ("bar.arrive 1;", "these operands"),
        ("redux.sync.add.u32 %r1, %r2;", "2 operands (it takes 3)"),
    ] {
        assert!(says(body).contains(why), "{body}: {}", says(body));
    }
    assert_eq!(run(Level::Avx2, 32, &[], 0, "griddepcontrol.wait; griddepcontrol.launch_dependents;"), Ok(vec![]));
}
