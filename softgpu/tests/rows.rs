//! Rows of four values a lane, in shared and global memory, by some of a warp's lanes: those that are left, those of a
//! guard that are the first ones, and any others. What belongs to the rest stays as it was.

#![allow(clippy::unwrap_used)] // a panic in a test is its report

use softgpu::{Launch, Level, Memory, Module, launch};

const LANES: u32 = 32;

/// Every thread puts its row of `from` into a tile; those that WHICH chooses add 1 to theirs there and copy it to `to`;
/// one thread copies the whole tile to `tile`. LEAVE: what the others do meanwhile.
const KERNEL: &str = "
.version 8.0
.target sm_80
.address_size 64
.visible .entry k(.param .u64 from, .param .u64 to, .param .u64 tile, .param .u32 m) {
.reg .f32 %f<4>; .reg .b64 %a, %b, %t, %d; .reg .b32 %i, %s, %m, %r; .reg .pred %q, %p;
.shared .align 16 .b8 rows[512];
ld.param.u64 %a, [from]; ld.param.u64 %b, [to]; ld.param.u64 %t, [tile]; ld.param.u32 %m, [m];
mov.u32 %i, %tid.x; mul.wide.u32 %d, %i, 16; add.u64 %a, %a, %d; add.u64 %b, %b, %d;
mov.u32 %s, rows; shl.b32 %r, %i, 4; add.u32 %s, %s, %r;
ld.global.v4.f32 {%f0, %f1, %f2, %f3}, [%a];
st.shared.v4.f32 [%s], {%f0, %f1, %f2, %f3};
WHICH
LEAVE
add.f32 %f0, %f0, 0f3f800000; add.f32 %f1, %f1, 0f3f800000; add.f32 %f2, %f2, 0f3f800000; add.f32 %f3, %f3, 0f3f800000;
GUARD st.shared.v4.f32 [%s], {%f0, %f1, %f2, %f3};
mov.f32 %f0, 0f00000000; mov.f32 %f1, %f0; mov.f32 %f2, %f0; mov.f32 %f3, %f0;
GUARD ld.shared.v4.f32 {%f0, %f1, %f2, %f3}, [%s];
st.global.v4.f32 [%b], {%f0, %f1, %f2, %f3};
setp.ne.u32 %p, %i, 0;
@%p bra $end;
mov.u32 %s, rows; mov.u32 %r, 0;
$next:
ld.shared.v4.f32 {%f0, %f1, %f2, %f3}, [%s];
st.global.v4.f32 [%t], {%f0, %f1, %f2, %f3};
add.u32 %s, %s, 16; add.u64 %t, %t, 16; add.u32 %r, %r, 1; setp.lt.u32 %p, %r, 32; @%p bra $next;
$end:
ret; }";

/// The first `m` lanes, and those whose bits `m` has.
const FIRST: &str = "setp.lt.u32 %q, %i, %m;";
const BITS: &str = "shr.u32 %r, %m, %i; and.b32 %r, %r, 1; setp.ne.u32 %q, %r, 0;";
const EXIT: &str = "@!%q exit;";

fn words(memory: &Memory, at: u64) -> Vec<f32> {
    let mut bytes = vec![0; 16 * LANES as usize];
    memory.read(at, &mut bytes).unwrap();
    bytes.chunks(4).map(|word| f32::from_le_bytes(word.try_into().unwrap())).collect()
}

fn check(which: &str, leave: &str, chosen: impl Fn(u32) -> bool, m: u32) {
    let guard = if leave.is_empty() { "@%q" } else { "" };
    let text = KERNEL.replace("WHICH", which).replace("LEAVE", leave).replace("GUARD", guard);
    let from: Vec<f32> = (0..4 * LANES).map(|x| x as f32).collect();
    let bytes: Vec<u8> = from.iter().flat_map(|x| x.to_le_bytes()).collect();
    for level in [Level::Baseline, Level::Avx2, Level::Avx512] {
        let module = Module::load_for(&text, level).unwrap();
        let memory = Memory::new();
        let [a, b, t] = [0; 3].map(|_| memory.alloc(bytes.len()).unwrap());
        [a, b, t].into_iter().for_each(|at| memory.write(at, &bytes).unwrap());
        let args: [&[u8]; 4] = [&a.to_le_bytes(), &b.to_le_bytes(), &t.to_le_bytes(), &m.to_le_bytes()];
        let shape = Launch { grid: [1; 3], block: [LANES, 1, 1], shared_bytes: 0, args: &args, cooperative: false };
        launch(&module, "k", &memory, &shape).unwrap();
        let (to, tile) = (words(&memory, b), words(&memory, t));
        for (k, &x) in from.iter().enumerate() {
            let (here, left) = (chosen(k as u32 / 4), !leave.is_empty());
            let copied = if here {
                x + 1.0
            } else if left {
                x
            } else {
                0.0
            };
            assert_eq!(to[k], copied, "{level:?}, {leave} {m:x}: value {k} that was copied");
            // Thread 0 copies the tile unless it has left.
            let there = if here { x + 1.0 } else { x };
            assert!(tile[k] == there || left && !chosen(0), "{level:?}, {leave} {m:x}: value {k} of the tile");
        }
    }
}

#[test]
fn the_first_lanes() {
    for m in 0..=LANES {
        check(FIRST, EXIT, |lane| lane < m, m);
        check(FIRST, "", |lane| lane < m, m);
    }
}

#[test]
fn any_lanes() {
    for m in [0x8000_0001, 0x0000_fff0, 0x7fff_ffff, 0xffff_fffe, 0x5555_5555, 0x0001_00ff, 0xffff_0000, 0x0000_0010] {
        check(BITS, EXIT, |lane| m >> lane & 1 == 1, m);
        check(BITS, "", |lane| m >> lane & 1 == 1, m);
    }
}
