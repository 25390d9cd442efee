//! `cp.async` and `mbarrier`.

use softgpu::Module;

use crate::{Run, error, get, random_bytes, set};

fn words(bytes: &[u8], from: usize, count: usize) -> Vec<u32> {
    (0..count).map(|k| get(bytes, from + 4 * k, 4) as u32).collect()
}

/// `room` of 32 copies of 16 bytes in shared memory, filled with 1 to begin with; `%d3` and `%d4`: the lane's places
/// there and in the source. Afterwards it is stored behind the source.
const SOURCE: usize = 512;
fn around(body: &str) -> String {
    format!(
        ".shared .align 16 .b8 room[512]; .shared .align 8 .b64 bar; mov.u64 %d2, room; mul.wide.u32 %d3, %r0, 16; add.u64 %d4, %d0, %d3;
         add.u64 %d3, %d2, %d3; mov.u32 %r2, 16843009; st.shared.v4.u32 [%d3], {{%r2, %r2, %r2, %r2}}; and.b32 %r3, %r0, 15;
         setp.lt.u32 %p1, %r0, 7; bar.sync 0; {body} ld.shared.v4.u32 {{%r20, %r21, %r22, %r23}}, [%d3];
         st.global.v4.u32 [%d4+{SOURCE}], {{%r20, %r21, %r22, %r23}};"
    )
}

/// What a copy of `size` bytes, of which `bytes` are read, leaves in a lane's place.
fn expected(data: &[u8], lane: usize, size: usize, bytes: usize) -> Vec<u8> {
    let mut place = vec![1; 16];
    place[..size].fill(0);
    place[..bytes].copy_from_slice(&data[16 * lane..16 * lane + bytes]);
    place
}

#[test]
fn copies_of_every_size() {
    let data = random_bytes(5, 2 * SOURCE);
    let wait = "cp.async.commit_group; cp.async.wait_group 0;";
    type Bytes = fn(usize, usize) -> usize;
    let cases: [(&str, &str, Bytes); 9] = [
        ("", "", |_, size| size),
        (", 0", "", |_, _| 0),
        (", 3", "", |_, _| 3),
        (", %r3", "min.u32 %r3, %r3, SIZE;", |lane, size| (lane & 15).min(size)),
        (", %p1", "", |lane, size| if lane < 7 { 0 } else { size }),
        (", !%p1", "", |lane, size| if lane < 7 { size } else { 0 }),
        (", %r3, %d9", "min.u32 %r3, %r3, SIZE; createpolicy.fractional.L2::evict_last.b64 %d9;", |lane, size| {
            (lane & 15).min(size)
        }),
        (", %d9", "createpolicy.fractional.L2::evict_last.b64 %d9;", |_, size| size),
        (", %p1, %d9", "createpolicy.fractional.L2::evict_last.b64 %d9;", |lane, size| if lane < 7 { 0 } else { size }),
    ];
    for (cache, size) in [("ca", 4), ("ca", 8), ("ca", 16), ("cg", 16)] {
        for (operands, before, bytes) in cases {
            let hint = if operands.contains("%d9") { ".L2::cache_hint" } else { "" };
            for space in ["shared", "shared::cta"] {
                let copy = format!("cp.async.{cache}.{space}.global{hint}.L2::128B [%d3], [%d4], {size}{operands};");
                let body = around(&format!("{} {copy} {wait}", before.replace("SIZE", &size.to_string())));
                for deferred in [false, true] {
                    let got = Run { body: &body, deferred, ..Run::default() }.go(&data).unwrap();
                    for lane in 0..32 {
                        let place = &got[SOURCE + 16 * lane..][..16];
                        assert_eq!(place, expected(&data, lane, size, bytes(lane, size)), "lane {lane}: {copy}");
                    }
                }
            }
        }
    }
}

/// Lanes that copy from two allocations, the later one first and last: of what lies in one alone a copy is made at once.
#[test]
fn copies_from_two_allocations() {
    let data = random_bytes(8, 2 * SOURCE);
    let nines = vec!["9"; SOURCE].join(", ");
    let before = format!(".global .align 16 .b8 other[{SOURCE}] = {{{nines}}};");
    for (from_other, choice) in [(0..3, "setp.lt.u32 %p2, %r0, 3;"), (29..32, "setp.ge.u32 %p2, %r0, 29;")] {
        let copy = format!(
            "{choice} mov.u64 %d6, other; mul.wide.u32 %d7, %r0, 16; add.u64 %d6, %d6, %d7; selp.b64 %d8, %d6, %d4, %p2;
             cp.async.cg.shared.global [%d3], [%d8], 16; cp.async.wait_all;"
        );
        let got = Run { before: &before, body: &around(&copy), ..Run::default() }.go(&data).unwrap();
        for lane in 0..32 {
            let expected = if from_other.contains(&lane) { &[9; 16] } else { &data[16 * lane..][..16] };
            assert_eq!(&got[SOURCE + 16 * lane..][..16], expected, "lane {lane}");
        }
    }
}

/// A source of no bytes may be anywhere; offsets; a guard.
#[test]
fn copies_of_some_lanes() {
    let data = random_bytes(6, 2 * SOURCE);
    let copy = "@%p1 cp.async.cg.shared.global [%d3+0], [%d4+16], 0x10; mov.u64 %d5, 3; setp.lt.u32 %p2, %r0, 20;
        @!%p2 cp.async.ca.shared.global [%d3], [%d5], 4, 0; cp.async.wait_all;";
    for deferred in [false, true] {
        let got = Run { body: &around(copy), deferred, ..Run::default() }.go(&data).unwrap();
        for lane in 0..32 {
            let place = &got[SOURCE + 16 * lane..][..16];
            match lane {
                0..7 => assert_eq!(place, &data[16 * lane + 16..][..16]),
                7..20 => assert_eq!(place, [1; 16]),
                _ => assert_eq!(place, expected(&data, lane, 4, 0)),
            }
        }
    }
}

/// Groups arrive in order: what is not waited for is not there, if copies are deferred.
#[test]
fn waits_for_groups() {
    let data = random_bytes(8, 2 * SOURCE);
    let group = |k: usize| format!("cp.async.ca.shared.global [%d3+{}], [%d4+{}], 4;", 4 * k, 4 * k);
    let commit = "cp.async.commit_group;";
    let three = format!("{}{commit}{}{commit}{commit}{}", group(0), group(1), group(2));
    // (what is done, words that have arrived then).
    let cases = [
        (String::new(), 0),
        ("cp.async.wait_group 3;".into(), 0),
        ("cp.async.wait_group 2;".into(), 1),
        ("cp.async.wait_group 1;".into(), 2),
        ("cp.async.wait_group 0;".into(), 2),
        ("cp.async.wait_all;".into(), 3),
        (format!("{commit} cp.async.wait_group 1;"), 2),
        (format!("{commit} cp.async.wait_group 0;"), 3),
    ];
    for (wait, arrived) in cases {
        let body = around(&format!("{three} {wait}"));
        for deferred in [false, true] {
            let got = Run { body: &body, deferred, ..Run::default() }.go(&data).unwrap();
            for lane in 0..32 {
                let (from, to) = (words(&data, 16 * lane, 3), words(&got, SOURCE + 16 * lane, 3));
                let expected: Vec<u32> =
                    (0..3).map(|k| if k < arrived || !deferred { from[k] } else { u32::MAX }).collect();
                assert_eq!(to, expected, "{wait}");
            }
        }
    }
    // A thread waits for its own copies only.
    let body = around(&format!("{}{commit} @%p1 cp.async.wait_group 0;", group(0)));
    let got = Run { body: &body, deferred: true, ..Run::default() }.go(&data).unwrap();
    for lane in 0..32 {
        let expected = if lane < 7 { get(&data, 16 * lane, 4) as u32 } else { u32::MAX };
        assert_eq!(words(&got, SOURCE + 16 * lane, 1), [expected]);
    }
}

/// One warp copies, the other waits at an mbarrier; with and without `.noinc`, by state and by parity.
#[test]
fn copies_arrive_at_an_mbarrier() {
    let data = random_bytes(9, 2 * SOURCE);
    for (arrive, count) in [
        ("cp.async.mbarrier.arrive.noinc.shared.b64 [bar];", 33),
        ("cp.async.mbarrier.arrive.shared::cta.b64 [bar];", 33),
    ] {
        let noinc = arrive.contains("noinc");
        let then = if noinc { "" } else { "mbarrier.arrive.shared.b64 _, [bar];" };
        let body = around(&format!(
            "setp.eq.u32 %p2, %r0, 0; @%p2 mbarrier.init.shared.b64 [bar], {count}; bar.sync 0; setp.ge.u32 %p3, %r0, 32; @%p3 bra $W;
             cp.async.cg.shared.global [%d3], [%d4], 16; {arrive} {then} bra $E;
             $W: sub.u32 %r4, %r0, 32; setp.eq.u32 %p2, %r4, 0; @%p2 mbarrier.arrive.shared.b64 %d9, [bar];
             $L: mbarrier.try_wait.parity.shared.b64 %p4, [bar], 0; @!%p4 bra $L; mul.wide.u32 %d3, %r4, 16; add.u64 %d3, %d3, %d2;
             mul.wide.u32 %d4, %r4, 16; add.u64 %d4, %d4, %d0; $E:"
        ));
        let body = body.replace("st.global.v4", "@%p3 st.global.v4").replace(
            "mul.wide.u32 %d3, %r0, 16; add.u64 %d4",
            "and.b32 %r9, %r0, 31; mul.wide.u32 %d3, %r9, 16; add.u64 %d4",
        );
        for deferred in [false, true] {
            let got = Run { body: &body, deferred, threads: 64, ..Run::default() }.go(&data).unwrap();
            assert_eq!(got[SOURCE..], data[..SOURCE], "{arrive}");
        }
    }
}

const INIT: &str = ".shared .align 8 .b64 bar; setp.eq.u32 %p1, %r0, 0; setp.lt.u32 %p2, %r0, 3; mov.u32 %r1, bar;";

/// Phases, states and counts, as one thread sees them.
#[test]
fn phases_of_an_mbarrier() {
    let body = format!(
        "{INIT} @!%p1 bra $E; mbarrier.init.shared.b64 [%r1], 3; mbarrier.arrive.shared.b64 %d2, [%r1]; mbarrier.pending_count.b64 %r2, %d2;
         mbarrier.test_wait.shared.b64 %p3, [%r1], %d2; selp.u32 %r3, 1, 0, %p3; mbarrier.arrive.noComplete.shared.b64 %d3, [%r1], 1;
         mbarrier.pending_count.b64 %r4, %d3; mbarrier.test_wait.parity.shared.b64 %p4, [%r1], 1; selp.u32 %r5, 1, 0, %p4;
         mbarrier.arrive.release.cta.shared::cta.b64 _, [%r1]; mbarrier.test_wait.acquire.cta.shared::cta.b64 %p5, [%r1], %d2; selp.u32 %r6, 1, 0, %p5;
         mbarrier.try_wait.parity.shared.b64 %p3, [%r1], 0, 100; selp.u32 %r7, 1, 0, %p3; mbarrier.arrive_drop.shared.b64 %d4, [%r1]; mbarrier.arrive.shared.b64 _, [%r1], 2;
         mbarrier.test_wait.parity.shared.b64 %p6, [%r1], 1; selp.u32 %r8, 1, 0, %p6; mbarrier.arrive.shared.b64 %d5, [%r1]; mbarrier.pending_count.b64 %r9, %d5;
         mov.u64 %d6, bar; cvta.shared.u64 %d6, %d6; mbarrier.arrive.expect_tx.b64 _, [%d6], 48; mbarrier.test_wait.parity.b64 %p3, [%d6], 0; selp.u32 %r10, 1, 0, %p3;
         mbarrier.complete_tx.shared.b64 [%r1], 40; mbarrier.expect_tx.relaxed.cta.shared.b64 [%r1], 8; mbarrier.complete_tx.shared.b64 [%r1], 16;
         mbarrier.test_wait.parity.shared.b64 %p3, [%r1], 0; selp.u32 %r11, 1, 0, %p3; mbarrier.inval.shared.b64 [%r1];
         st.global.v4.u32 [%d0], {{%r2, %r3, %r4, %r5}}; st.global.v4.u32 [%d0+16], {{%r6, %r7, %r8, %r9}}; st.global.v2.u32 [%d0+32], {{%r10, %r11}}; $E: bar.sync 0;"
    );
    let got = Run { body: &body, ..Run::default() }.go(&[0; 64]).unwrap();
    assert_eq!(words(&got, 0, 10), [3, 0, 2, 1, 1, 1, 1, 2, 0, 1]);
}

/// A pipeline of two stages over many rounds: producers and consumers that only mbarriers keep apart.
#[test]
fn producers_and_consumers() {
    let rounds = 200;
    let body = format!(
        ".shared .align 8 .b64 full[2]; .shared .align 8 .b64 empty[2]; .shared .align 4 .b32 stage[64]; mov.u32 %r20, full; mov.u32 %r21, empty; mov.u32 %r22, stage;
         setp.ne.u32 %p1, %r0, 0; @%p1 bra $S; mbarrier.init.shared.b64 [full], 32; mbarrier.init.shared.b64 [full+8], 32; mbarrier.init.shared.b64 [empty], 32; mbarrier.init.shared.b64 [empty+8], 32;
         $S: bar.sync 0; mov.u32 %r1, 0; mov.u32 %r9, 0; and.b32 %r2, %r0, 31; shl.b32 %r2, %r2, 2; setp.ge.u32 %p2, %r0, 32; @%p2 bra $C;
         $P: and.b32 %r3, %r1, 1; shl.b32 %r4, %r3, 3; add.u32 %r5, %r21, %r4; shr.u32 %r6, %r1, 1; and.b32 %r6, %r6, 1; xor.b32 %r6, %r6, 1;
         $PW: mbarrier.try_wait.parity.shared.b64 %p3, [%r5], %r6; @!%p3 bra $PW;
         shl.b32 %r7, %r3, 7; add.u32 %r7, %r7, %r22; add.u32 %r7, %r7, %r2; mad.lo.u32 %r8, %r1, 7, %r2; st.shared.u32 [%r7], %r8;
         add.u32 %r5, %r20, %r4; mbarrier.arrive.shared.b64 _, [%r5]; add.u32 %r1, %r1, 1; setp.lt.u32 %p4, %r1, {rounds}; @%p4 bra $P; bra $E;
         $C: and.b32 %r3, %r1, 1; shl.b32 %r4, %r3, 3; add.u32 %r5, %r20, %r4; shr.u32 %r6, %r1, 1; and.b32 %r6, %r6, 1;
         $CW: mbarrier.try_wait.parity.shared.b64 %p3, [%r5], %r6; @!%p3 bra $CW;
         shl.b32 %r7, %r3, 7; add.u32 %r7, %r7, %r22; xor.b32 %r10, %r2, 4; add.u32 %r7, %r7, %r10; ld.shared.u32 %r8, [%r7]; mad.lo.u32 %r9, %r9, 3, %r8;
         add.u32 %r5, %r21, %r4; mbarrier.arrive.shared.b64 _, [%r5]; add.u32 %r1, %r1, 1; setp.lt.u32 %p4, %r1, {rounds}; @%p4 bra $C;
         mul.wide.u32 %d2, %r2, 1; add.u64 %d2, %d2, %d0; st.global.u32 [%d2], %r9; $E: bar.sync 0;"
    );
    let got = Run { body: &body, threads: 64, ..Run::default() }.go(&[0; 128]).unwrap();
    for lane in 0..32u32 {
        let value = (0..rounds).fold(0u32, |sum, k| sum.wrapping_mul(3).wrapping_add(k * 7 + ((4 * lane) ^ 4)));
        assert_eq!(get(&got, 4 * lane as usize, 4) as u32, value);
    }
}

#[test]
fn what_is_wrong_stops() {
    let shared = ".shared .align 16 .b8 s[64]; mov.u64 %d2, s;";
    let init = format!("{INIT} @%p1 mbarrier.init.shared.b64 [%r1], 2; bar.sync 0;");
    let cases = [
        (format!("{shared} cp.async.cg.shared.global [%d2], [%d0+8], 16;"), "misaligned access: 16 bytes"),
        (format!("{shared} cp.async.ca.shared.global [%d2+4], [%d0], 8;"), "misaligned access: 8 bytes"),
        (
            format!("{shared} cp.async.ca.shared.global [%d2], [%d0+1024], 4;"),
            "access past an allocation: 4 bytes at +1024",
        ),
        (
            format!("{shared} cp.async.ca.shared.global [%d2+64], [%d0], 4;"),
            "access past shared memory: 4 bytes at +64 of 64",
        ),
        (
            format!("{shared} mov.u32 %r1, 5; cp.async.ca.shared.global [%d2], [%d0], 4, %r1;"),
            "cp.async: 5 bytes to read for a copy of 4",
        ),
        (format!("{INIT} mbarrier.arrive.shared.b64 _, [bar];"), "an mbarrier object that is not initialised"),
        (
            format!("{init} @%p2 mbarrier.arrive.shared.b64 _, [bar], 3;"),
            "mbarrier: 3 arrivals, but the phase waits for 2 more",
        ),
        (
            format!("{init} mbarrier.arrive.noComplete.shared.b64 %d2, [bar], 2;"),
            "mbarrier.arrive.noComplete: 2 arrivals complete the phase",
        ),
        (
            format!("{init} @%p1 mbarrier.inval.shared.b64 [bar]; mbarrier.test_wait.parity.shared.b64 %p3, [bar], 0;"),
            "an mbarrier object that is not initialised",
        ),
        (format!("{init} mbarrier.test_wait.shared.b64 %p3, [bar], %d1;"), "mbarrier.test_wait: this is no state"),
        (format!("{INIT} mbarrier.init.shared.b64 [bar], 0;"), "mbarrier.init for 0 arrivals"),
        (format!("{INIT} mbarrier.init.b64 [%d0], 4;"), "an mbarrier object outside shared memory"),
        (format!("{INIT} cp.async.mbarrier.arrive.shared.b64 [bar];"), "an mbarrier object that is not initialised"),
    ];
    for (body, expected) in cases {
        let message = error(&body);
        assert!(message.contains(expected), "{body}\n{message}");
    }
    for body in [
        "cp.async.ca.shared.global [%d1], [%d0], 12;",
        "cp.async.cg.shared.global [%d1], [%d0], 8;",
        "cp.async.wait_group %r0;",
    ] {
        assert!(error(body).contains("softgpu cannot run"), "{body}");
    }
}

/// Two arrivals are counted, one comes. A budget of 2^20 branches is worth 1,024 tests.
#[test]
fn a_wait_in_vain_stops() {
    let body = format!(
        "{INIT} @%p1 mbarrier.init.shared.b64 [bar], 2; bar.sync 0; @!%p1 bra $W; mbarrier.arrive.shared.b64 _, [bar];
         $W: mbarrier.try_wait.parity.shared.b64 %p3, [bar], 0; @!%p3 bra $W;"
    );
    let run = Run { body: &body, threads: 64, ..Run::default() };
    let module = Module::load(&run.text()).unwrap().with_budget(1 << 20);
    let message = run.launch(&module, &[0; 4]).unwrap_err();
    assert!(message.contains("the kernel does not end") && message.contains("mbarrier.try_wait"), "{message}");
}

/// A thread whose value comes from a copy that another thread has not waited for.
#[test]
fn a_missing_wait_is_seen() {
    let mut data = vec![0; 2 * SOURCE];
    (0..SOURCE / 4).for_each(|k| set(&mut data, 4 * k, 4, 1.5f32.to_bits() as u64));
    let body = around("cp.async.cg.shared.global [%d3], [%d4], 16; cp.async.commit_group; bar.sync 0;");
    let got = Run { body: &body, deferred: true, ..Run::default() }.go(&data).unwrap();
    assert!(f32::from_bits(get(&got, SOURCE, 4) as u32).is_nan());
    let body = body.replace("commit_group; bar", "commit_group; cp.async.wait_group 0; bar");
    let got = Run { body: &body, deferred: true, ..Run::default() }.go(&data).unwrap();
    assert_eq!(got[SOURCE..], data[..SOURCE]);
}
