//! Kernels that stray, launches that no GPU would take and text that cannot be loaded: each with its own message.

#![allow(clippy::unwrap_used)] // a panic in a test is its report

use softgpu::{Error, Launch, Memory, Module, launch};

const HEAD: &str = ".version 8.0\n.target sm_80\n.address_size 64\n";

fn start(body: &str, threads: u32, blocks: u32) -> Result<(), String> {
    let text = format!(
        "{HEAD}.visible .entry stray(.param .u64 data) {{ .reg .b32 %r<9>; .reg .b64 %d<9>; .reg .pred %p<3>;\n{body}\nret; }}\n.file 1 \"a/kernels/stray.cu\"\n"
    );
    let module = Module::load(&text).and_then(Module::whole).map_err(|e| e.to_string())?;
    let memory = Memory::new();
    let address = memory.alloc(256).unwrap().to_le_bytes();
    let shape =
        Launch { grid: [blocks, 1, 1], block: [threads, 1, 1], shared_bytes: 0, args: &[&address], cooperative: false };
    launch(&module, "stray", &memory, &shape).map_err(|e| e.to_string())
}

const STORE: &str = ".loc 1 12 3
ld.param.u64 %d0, [data]; mov.u32 %r0, %tid.x; mov.u32 %r1, %ctaid.x; shl.b32 %r1, %r1, 5; add.u32 %r0, %r0, %r1;
mul.wide.u32 %d1, %r0, 4; add.s64 %d2, %d0, %d1;
st.global.u32 [%d2], %r0;";

#[test]
fn a_store_past_the_end_names_block_thread_and_lines() {
    assert_eq!(start(STORE, 32, 2), Ok(()));
    let message = start(STORE, 32, 9).unwrap_err();
    assert_eq!(
        message,
        "memcheck: access past an allocation: 4 bytes at +256 of argument 0 (`data`), an allocation of 256 bytes\n  \
         --> kernels/stray.cu:12 in `stray`\n      \
         `st.global.u32`, PTX line 8; block (2, 0, 0), thread (0, 0, 0)\n  \
         help: is a bounds guard missing?"
    );
}

/// What the compiler moved has no line (`.loc 1 0`): the one before is told.
#[test]
fn line_0_is_none() {
    let message = start(&STORE.replace("mul.wide", ".loc 1 0 3\nmul.wide"), 32, 9).unwrap_err();
    assert!(message.contains("kernels/stray.cu:12 in"), "{message}");
}

#[test]
fn a_negative_offset_is_no_neighbour() {
    let message = start("ld.param.u64 %d0, [data]; ld.global.u32 %r0, [%d0+-4];", 1, 1).unwrap_err();
    assert!(
        message.starts_with("memcheck: access before an allocation: 4 bytes at -4 of argument 0 (`data`)"),
        "{message}"
    );
}

#[test]
fn misaligned_vectors_and_shared_overruns_stop() {
    let message = start("ld.param.u64 %d0, [data]; ld.global.v2.u32 {%r0, %r1}, [%d0+4];", 1, 1).unwrap_err();
    assert!(message.starts_with("memcheck: misaligned access: 8 bytes"), "{message}");
    let message = start(".shared .align 4 .b8 s[64]; mov.u32 %r0, s; ld.shared.u32 %r1, [%r0+64];", 32, 1).unwrap_err();
    assert!(message.starts_with("memcheck: access past shared memory: 4 bytes at +64 of 64 bytes"), "{message}");
}

/// The lanes that take the other way wait for this one too: neither can go on.
#[test]
fn a_shuffle_inside_a_branch_stops() {
    let body = "mov.u32 %r0, %tid.x; setp.lt.u32 %p1, %r0, 7; @%p1 bra $A; vote.sync.ballot.b32 %r2, %p1, -1; bra $B;
        $A: shfl.sync.bfly.b32 %r1, %r0, 1, 31, -1; $B: add.u32 %r2, %r0, 1;";
    let message = start(body, 32, 1).unwrap_err();
    assert!(
        message.starts_with("synccheck: vote.sync: member mask 0xffffffff, executing lanes 0xffffff80"),
        "{message}"
    );
}

/// A lane that gets there later is waited for: PTX ISA 9.0, 9.7.9.6.
#[test]
fn a_shuffle_waits_for_its_members() {
    let body = "mov.u32 %r0, %tid.x; mov.u32 %r3, 0; setp.lt.u32 %p1, %r0, 7;
        $A: @%p1 bra $C; setp.eq.u32 %p2, %r3, 1; mov.u32 %r3, 1; setp.eq.u32 %p1, %r3, 1; bra $A;
        $C: shfl.sync.bfly.b32 %r1, %r0, 1, 31, -1;";
    assert_eq!(start(body, 32, 1), Ok(()));
}

#[test]
fn a_barrier_that_not_all_reach_stops() {
    let body = "mov.u32 %r0, %tid.x; setp.lt.u32 %p1, %r0, 32; @%p1 bra $A; bar.sync 1; bra $B;
        $A: bar.sync 0; $B: bar.sync 2;";
    let message = start(body, 64, 1).unwrap_err();
    assert!(message.starts_with("synccheck: deadlock: barrier 0 waits for 64 threads, 32 have come\n"), "{message}");
    // With counts, each half has its own.
    assert_eq!(
        start(&body.replace("bar.sync 1", "bar.sync 1, 32").replace("bar.sync 0", "bar.sync 0, 32"), 64, 1),
        Ok(())
    );
    let message = start("bar.sync 0, 33;", 64, 1).unwrap_err();
    assert!(message.starts_with("synccheck: a barrier for 33 threads"), "{message}");
}

/// Block 0 waits for a flag that a later block sets, lane 0 of a warp for one that lane 1 sets.
#[test]
fn who_waits_in_a_loop_gives_way() {
    let wait = "$L: ld.volatile.global.u32 %r1, [%d0]; setp.eq.u32 %p1, %r1, 0; @%p1 bra $L; bra $E;";
    let body = format!(
        "ld.param.u64 %d0, [data]; mov.u32 %r0, %ctaid.x; setp.eq.u32 %p2, %r0, 399; @%p2 bra $S; {wait} $S: st.volatile.global.u32 [%d0], 1; $E: add.u32 %r0, %r0, 1;"
    );
    assert_eq!(start(&body, 1, 400), Ok(()));
    let lanes = body.replace("%ctaid.x", "%tid.x").replace("399", "1");
    assert_eq!(start(&lanes, 2, 1), Ok(()));
}

/// The second warp tests an mbarrier, with a sleep in between, at which the first is to arrive.
fn at_an_mbarrier(first_warp: &str) -> String {
    format!(
        ".shared .align 8 .b8 object[8]; ld.param.u64 %d0, [data]; mov.u32 %r0, %tid.x; mov.u32 %r1, %ctaid.x;
setp.ne.u32 %p0, %r0, 0; mov.u32 %r2, object;
@!%p0 mbarrier.init.shared.b64 [%r2], 1;
bar.sync 0; setp.ge.u32 %p1, %r0, 32; @%p1 bra test;
{first_warp}
@%p0 bra end; mbarrier.arrive.shared.b64 _, [%r2]; bra end;
test: mbarrier.test_wait.parity.shared.b64 %p2, [%r2], 0; @%p2 bra end; nanosleep.u32 20; bra test;
end:"
    )
}

/// Only the block's own threads could arrive; who sleeps may wait for others: here for the next block, which takes its time.
#[test]
fn waiting_at_an_mbarrier_in_vain_is_found_at_once() {
    let message = start(&at_an_mbarrier("bra end;"), 64, 1).unwrap_err();
    assert!(message.starts_with("synccheck: deadlock: an mbarrier waits for 1 more arrival"), "{message}");
    assert!(message.contains("note: 32 threads have exited"), "{message}");
    let patient = "setp.eq.u32 %p1, %r1, 0; @%p1 bra poll;
mov.u32 %r3, 0; count: add.u32 %r3, %r3, 1; setp.lt.u32 %p1, %r3, 3000000; @%p1 bra count;
st.volatile.global.u32 [%d0], %r3;
poll: ld.volatile.global.u32 %r3, [%d0]; setp.ne.u32 %p1, %r3, 0; @%p1 bra done; nanosleep.u32 20; bra poll;
done:";
    assert_eq!(start(&at_an_mbarrier(patient), 64, 2), Ok(()));
}

/// Two warps that pass a phase of one mbarrier and then of another to and fro wait most of the time, and for good only if one
/// stops. Cooperative, so that turns are short.
#[test]
fn who_waits_by_turns_is_not_stuck() {
    let body = |rounds: u32| {
        format!(
            "{HEAD}.visible .entry k() {{ .reg .b32 %r<9>; .reg .pred %p<3>; .shared .align 8 .b8 a[8]; .shared .align 8 .b8 b[8];
mov.u32 %r0, %tid.x; mov.u32 %r1, a; mov.u32 %r2, b; mov.u32 %r3, 0; mov.u32 %r4, 0; setp.ne.u32 %p0, %r0, 0;
@!%p0 mbarrier.init.shared.b64 [%r1], 1; @!%p0 mbarrier.init.shared.b64 [%r2], 1; bar.sync 0;
and.b32 %r5, %r0, 31; setp.ne.u32 %p1, %r5, 0; @%p1 bra end; @%p0 bra second;
first: mbarrier.arrive.shared.b64 _, [%r1];
back: mbarrier.test_wait.parity.shared.b64 %p2, [%r2], %r4; @!%p2 bra back;
xor.b32 %r4, %r4, 1; add.u32 %r3, %r3, 1; setp.lt.u32 %p1, %r3, 20000; @%p1 bra first; bra end;
second: mbarrier.test_wait.parity.shared.b64 %p2, [%r1], %r4; @!%p2 bra second; mbarrier.arrive.shared.b64 _, [%r2];
xor.b32 %r4, %r4, 1; add.u32 %r3, %r3, 1; setp.lt.u32 %p1, %r3, {rounds}; @%p1 bra second;
end: ret; }}"
        )
    };
    let shape = Launch { grid: [1; 3], block: [64, 1, 1], shared_bytes: 0, args: &[], cooperative: true };
    let run = |rounds| launch(&Module::load(&body(rounds)).unwrap(), "k", &Memory::new(), &shape);
    assert!(run(20_000).is_ok());
    let message = run(19_000).unwrap_err().to_string();
    assert!(message.starts_with("synccheck: deadlock: an mbarrier waits for 1 more arrival"), "{message}");
}

#[test]
fn a_kernel_without_an_end_stops() {
    let text = format!(
        "{HEAD}.visible .entry k() {{ .reg .b32 %r<2>;\nmov.u32 %r0, 0;\n$L: add.u32 %r0, %r0, 1;\nbra $L;\nret; }}"
    );
    let module = Module::load(&text).unwrap().with_budget(1000);
    let shape = Launch { grid: [3, 1, 1], block: [64, 1, 1], shared_bytes: 0, args: &[], cooperative: false };
    let message = launch(&module, "k", &Memory::new(), &shape).unwrap_err().to_string();
    assert!(message.starts_with("synccheck: the kernel does not end\n"), "{message}");
    assert!(message.contains("PTX line 6"), "{message}");
}

#[test]
fn lanes_that_do_not_take_part_may_point_anywhere() {
    let guarded = "ld.param.u64 %d0, [data]; mov.u32 %r0, %tid.x; mul.wide.u32 %d1, %r0, 16; add.s64 %d2, %d0, %d1; setp.lt.u32 %p1, %r0, 16;";
    assert_eq!(start(&format!("{guarded} @%p1 st.global.u32 [%d2], %r0;"), 32, 1), Ok(()));
    assert_eq!(
        start(
            &format!(
                "{guarded} @!%p1 bra $A; st.global.v4.u32 [%d2], {{%r0, %r0, %r0, %r0}}; $A: add.u32 %r1, %r0, 1;"
            ),
            32,
            1
        ),
        Ok(())
    );
    let message = start(&format!("{guarded} @!%p1 ld.global.u32 %r1, [%d2];"), 32, 1).unwrap_err();
    assert!(
        message.contains("4 bytes at +256 of argument 0") && message.contains("block (0, 0, 0), thread (16, 0, 0)"),
        "{message}"
    );
}

#[test]
fn unknown_text_is_refused_at_load_with_its_line() {
    let message = start("tex.2d.v4.f32.f32 %r0, %r1;", 1, 1).unwrap_err();
    assert_eq!(
        message,
        "PTX line 5: softgpu cannot run `tex.2d.v4.f32.f32`: softgpu has no textures; read the data through a pointer"
    );
    let message = start("add.u32 %r0, %r0, %q3;", 1, 1).unwrap_err();
    let why = "`%q3` is no register that is declared, and no special register that it knows";
    assert_eq!(message, format!("PTX line 5: softgpu cannot run `add.u32`: {why}"));
    let message = start("add.u32 %r0, %r0, %d0;", 1, 1).unwrap_err();
    assert_eq!(message, "PTX line 5: softgpu cannot run `add.u32`: `%d0` has another width than the instruction");
    // Parts of registers are for the instructions that know them, and must be there.
    for (body, why) in [
        ("add.u32 %r0, %r1.b0, %r2;", "this kind of operand"),
        ("vadd2.u32.u32.u32 %r0.h01, %r1, %r2, %r3;", "parts in this order"),
        ("vadd2.u32.u32.u32 %r0, %r1.h4, %r2, %r3;", "this part"),
        ("vadd4.u32.u32.u32 %r0, %r1.b76, %r2, %r3;", "this number of parts"),
        ("vadd4.u32.u32.u32 %r0.h1, %r1, %r2, %r3;", "this part"),
        ("vadd.u32.u32.u32 %r0, %r1.b4, %r2;", "this part"),
        ("vadd.u32.u32.u32.add %r0.b1, %r1, %r2, %r3;", "a part of the destination"),
        ("vadd.u32.u32.u32.add %r0, %r1, %r2;", "these operands"),
        ("vadd2.u32.u32.u32.sat.add %r0, %r1, %r2, %r3;", "the instruction"),
        ("vmad.u32.u32.u32 %r0, %r1, %r2, %r3;", "the instruction"),
    ] {
        let message = start(body, 1, 1).unwrap_err();
        assert!(message.starts_with("PTX line 5: softgpu cannot run `") && message.contains(why), "{message}");
    }
    let message = start("add.rz.u32 %r0, %r0, %r0;", 1, 1).unwrap_err();
    assert!(message.contains("`add.rz.u32`"), "{message}");
    assert!(Module::load("#include").is_err_and(|e| e.line == 1));
}

/// One kernel that softgpu cannot run does not take the others with it, and is refused when it is launched.
#[test]
fn a_kernel_that_cannot_run_is_refused_alone() {
    let text = format!(
        "{HEAD}.visible .entry bad(.param .u64 p, .param .u32 n) {{ .shared .b8 s[16]; sured.b.add [a], 1; ret; }}\n\
         .visible .entry good() {{ ret; }}"
    );
    let module = Module::load(&text).unwrap();
    assert_eq!(module.entries().collect::<Vec<_>>(), ["bad", "good"]);
    let shape = |args| Launch { grid: [1; 3], block: [1; 3], shared_bytes: 0, args, cooperative: false };
    assert_eq!(launch(&module, "good", &Memory::new(), &shape(&[])), Ok(()));
    let refused = launch(&module, "bad", &Memory::new(), &shape(&[&[0; 8], &[0; 4]])).unwrap_err().to_string();
    let why = "PTX line 4: softgpu cannot run `sured.b.add`: softgpu has no surfaces; read and write the data through a pointer";
    assert_eq!(refused, format!("cannot launch `bad`: {why}"));
    assert_eq!(module.refusal("bad").map(|why| why.to_string()).as_deref(), Some(why));
    assert_eq!((module.refusal("good"), module.refusal("none")), (None, None));
    assert_eq!(module.signature("bad").unwrap().parameters, [(0, 8), (8, 4)]);
    assert_eq!(module.whole().err().map(|why| why.to_string()).as_deref(), Some(why));
}

#[test]
fn launches_that_a_gpu_refuses_are_refused() {
    let message = start("", 1025, 1).unwrap_err();
    assert!(message.starts_with("cannot launch `stray`: block [1025, 1, 1]"), "{message}");
    assert!(
        start("", 0, 1)
            .unwrap_err()
            .ends_with("\n  help: a block has at least one thread: an axis that is not used is 1")
    );
    assert!(start("", 1, 0).unwrap_err().contains("a quotient is to be rounded up"));
    let message = start("", 1, 1 << 31).unwrap_err();
    let most = "1 to [2147483647, 65535, 65535] blocks are possible
  help: put the largest extent into x, or have each block do several pieces in a loop";
    assert_eq!(message, format!("cannot launch `stray`: grid [2147483648, 1, 1]: {most}"));
    let module = Module::load(&format!("{HEAD}.visible .entry k(.param .u32 n) {{ ret; }}")).unwrap();
    let shape = Launch { grid: [1; 3], block: [1; 3], shared_bytes: 0, args: &[&[0; 8]], cooperative: false };
    let deep = Launch { block: [1, 1, 65], args: &[&[0; 4]], ..shape };
    let message = launch(&module, "k", &Memory::new(), &deep).unwrap_err().to_string();
    let most = "1 to [1024, 1024, 64] threads, 1024 in all
  help: take smaller blocks and more of them: 128 or 256 threads suit most kernels";
    assert_eq!(message, format!("cannot launch `k`: block [1, 1, 65]: {most}"));
    let shape = Launch { grid: [1; 3], block: [1; 3], shared_bytes: 0, args: &[&[0; 8]], cooperative: false };
    let refused = launch(&module, "k", &Memory::new(), &shape);
    assert!(matches!(refused, Err(Error::Launch { what, .. }) if what.contains("argument 0 has 8 bytes")));
}

/// A GPU refuses a block that the kernel is not compiled for.
#[test]
fn blocks_are_those_that_the_kernel_is_compiled_for() {
    let text = format!(
        "{HEAD}.visible .entry most() .maxntid 16, 2 {{ ret; }}\n.visible .entry exact() .reqntid 32, 1, 1 {{ ret; }}"
    );
    let module = Module::load(&text).unwrap();
    let start = |entry, block| {
        let shape = Launch { grid: [1; 3], block, shared_bytes: 0, args: &[], cooperative: false };
        launch(&module, entry, &Memory::new(), &shape).map_err(|e| e.to_string())
    };
    assert_eq!(
        (start("most", [32, 1, 1]), start("most", [4, 4, 2]), start("exact", [32, 1, 1])),
        (Ok(()), Ok(()), Ok(()))
    );
    let why = "33 threads a block: it is compiled for at most 32 (`.maxntid`, __launch_bounds__)
  help: launch smaller blocks, or compile it with larger bounds";
    assert_eq!(start("most", [33, 1, 1]), Err(format!("cannot launch `most`: {why}")));
    let why = "block [16, 1, 1]: it is compiled for [32, 1, 1] (`.reqntid`)
  help: launch it with these blocks, or compile it without the demand";
    assert_eq!(start("exact", [16, 1, 1]), Err(format!("cannot launch `exact`: {why}")));
}

#[test]
fn freed_memory_is_gone() {
    let memory = Memory::new();
    let address = memory.alloc(16).unwrap();
    memory.free(address).unwrap();
    assert!(memory.free(address).is_err());
    // SAFETY: an error is expected, and no pointer.
    assert!(unsafe { memory.host_slice(address, 1) }.is_err());
}
