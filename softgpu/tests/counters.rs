//! What `softgpu run --counters` says of small kernels, each figure by hand.

#![allow(clippy::unwrap_used)] // a panic in a test is its report

use std::process::{Command, Output};

use serde_json::Value;

/// Where a `.loc` says that a line is from.
const SOURCE: &str = "kernels/of/a/project/with/many/folders/and/one/source.cu";

/// Runs kernel `k`, whose body this is, with one null pointer as its argument and one block of 32 threads.
fn run(body: &str, options: &[&str]) -> (Value, Output) {
    run_with("", body, options)
}

/// As [`run`], with `before` in front of the kernel.
fn run_with(before: &str, body: &str, options: &[&str]) -> (Value, Output) {
    let folder = tempfile::tempdir().unwrap();
    let text = format!(
        ".version 8.0\n.target sm_80\n.address_size 64\n.file 1 \"{SOURCE}\"\n{before}.visible .entry k(.param .u64 data) {{\n\
         .reg .b32 %r<9>; .reg .b64 %d<9>; .reg .pred %p<3>;\n\
         .shared .align 16 .b8 s[512]; .local .align 16 .b8 l[64];\n{body}\n}}"
    );
    std::fs::write(folder.path().join("k.ptx"), text).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_softgpu"))
        .args(["run", "k.ptx", "k", "--grid", "1", "--block", "32", "--counters", "c.json"])
        .args(options)
        .arg(if options.is_empty() { "null" } else { "scratch:4096" })
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{body}\n{}", String::from_utf8_lossy(&output.stderr));
    let json = std::fs::read(folder.path().join("c.json")).unwrap();
    (serde_json::from_slice(&json).unwrap(), output)
}

/// The totals of that kernel.
fn total(body: &str) -> Value {
    run(body, &[]).0["total"].take()
}

/// What softgpu adds to an instruction (here the extension of a 32-bit address, a copy of a wide value, the jump around
/// what waits) is no instruction of the kernel.
#[test]
fn one_instruction_counts_once() {
    let address = "mov.u32 %r1, %tid.x; shl.b32 %r2, %r1, 2; mov.u32 %r3, s; add.s32 %r4, %r3, %r2;";
    let c = total(&format!("{address} atom.shared.add.u32 %r5, [%r4], 1; ret;"));
    assert_eq!((&c["warp_instructions"], &c["thread_instructions"]), (&4.into(), &128.into()));
    assert_eq!((&c["instructions"]["atomic"], &c["atomics"]), (&1.into(), &32.into()));
    let c = total("ld.local.u32 %d1, [l]; st.local.u32 [l], %d1; ret;");
    assert_eq!((&c["warp_instructions"], &c["instructions"]["local"]), (&3.into(), &2.into()));
    // 8 of 32 threads pass the guard of the shuffle, none that of the vote, all that of the barrier.
    let guarded = "mov.u32 %r1, %tid.x; setp.lt.u32 %p1, %r1, 8; setp.gt.u32 %p2, %r1, 99;\n\
                   @%p1 shfl.sync.idx.b32 %r2, %r1, 0, 31, 255; @%p2 vote.sync.ballot.b32 %r3, %p1, 255;\n\
                   @!%p2 bar.sync 0; ret;";
    let c = total(guarded);
    assert_eq!((&c["warp_instructions"], &c["thread_instructions"]), (&6.into(), &(2 * 32 + 8 + 32 + 32).into()));
    assert_eq!((&c["instructions"]["warp"], &c["instructions"]["barrier"]), (&2.into(), &1.into()));
    assert_eq!((&c["branches"], &c["divergent_branches"], &c["barriers"]), (&0.into(), &0.into(), &1.into()));
}

/// A `ret` that threads jump to is one instruction, which they reach together; one that stands nowhere is none.
#[test]
fn a_return_that_is_jumped_to_counts_once() {
    let part = "mov.u32 %r1, %tid.x; setp.ge.u32 %p1, %r1, 20;";
    for (body, instructions, active, threads) in [
        ("@%p1 bra $end; add.u32 %r2, %r1, 1; $end: ret;", 4, 32 + 32 + 20 + 32, 32 + 12 + 20 + 32),
        ("@%p1 ret; add.u32 %r2, %r1, 1; ret;", 4, 32 + 32 + 20 + 20, 32 + 12 + 20 + 20),
        ("bra.uni $end; $end: ret;", 3, 96, 96),
        ("@%p1 bra $end; add.u32 %r2, %r1, 1; $end:", 3, 32 + 32 + 20, 32 + 12 + 20),
    ] {
        let c = total(&format!("{part} {body}"));
        let counted =
            ["warp_instructions", "active_thread_instructions", "thread_instructions"].map(|name| c[name].as_u64());
        assert_eq!(counted, [Some(instructions), Some(active), Some(threads)], "{body}");
    }
}

/// Copies are not counted whether they are folded away or not: here a loop's counter, which is written twice, and what a
/// call passes.
#[test]
fn copies_are_no_instructions() {
    let c = total("mov.u32 %r1, 0; $on: add.u32 %r1, %r1, 1; setp.lt.u32 %p1, %r1, 10; @%p1 bra $on; ret;");
    assert_eq!((&c["warp_instructions"], &c["instructions"]["logic"]), (&31.into(), &10.into()));
    assert_eq!((&c["branches"], &c["divergent_branches"]), (&10.into(), &0.into()));
    let functions = ".func (.param .b32 y) one_more(.param .b32 x) { .reg .b32 %r<3>; ld.param.u32 %r1, [x];\n\
                     add.u32 %r2, %r1, 1; st.param.b32 [y], %r2; ret; }\n";
    let body = "{ .param .b32 x; .param .b32 y; mov.u32 %r1, %tid.x; st.param.b32 [x], %r1; call (y), one_more, (x);\n\
                ld.param.b32 %r2, [y]; } ret;";
    let c = run_with(functions, body, &[]).0["total"].take();
    assert_eq!(c["warp_instructions"], 4, "{c}");
    assert_eq!(c["instructions"], serde_json::json!({"integer": 1, "control": 3}));
}

/// Threads that go to four places part once; where all go to one, they do not.
#[test]
fn a_table_of_branches_is_a_branch() {
    for (mask, divergent) in [(3, 1), (0, 0)] {
        let c = total(&format!(
            "mov.u32 %r1, %tid.x; and.b32 %r2, %r1, {mask}; table: .branchtargets $a, $b, $c, $c;\n\
             brx.idx %r2, table; $a: ret; $b: add.u32 %r3, %r1, 1; ret; $c: ret;"
        ));
        assert_eq!((&c["branches"], &c["divergent_branches"]), (&1.into(), &divergent.into()), "{c}");
    }
}

/// Constants and parameters come through a cache of their own, and are no traffic of global memory.
#[test]
fn constants_are_not_global_memory() {
    let constants = ".const .align 4 .b32 c[4] = {1, 2, 3, 4};\n";
    let body = "mov.u32 %r1, %tid.x; and.b32 %r2, %r1, 3; mul.wide.u32 %d1, %r2, 4; mov.u64 %d2, c; add.u64 %d3, %d2, %d1;\n\
                ld.const.u32 %r3, [%d3]; cvta.const.u64 %d4, %d3; ld.u32 %r4, [%d4]; ret;";
    let (json, _) = run_with(constants, body, &[]);
    let c = &json["total"];
    assert_eq!((&c["global_loads"]["requests"], &json["footprint_read"]), (&0.into(), &0.into()));
    // A generic load goes by its opcode.
    assert_eq!((&c["instructions"]["constant"], &c["instructions"]["global"]), (&1.into(), &1.into()));
    assert_eq!(c["warp_instructions"], 6);
}

/// A warp that jumps past a product has not done it; what is summed in f16 is another kind of product.
#[test]
fn products_count_where_they_are_done() {
    let zero = (1..9).map(|k| format!("mov.b32 %r{k}, 0;")).collect::<String>();
    let product = |types: &str, c: &str| {
        format!("mma.sync.aligned.m16n8k16.row.col.{types} {{{c}}}, {{%r1,%r2,%r3,%r4}}, {{%r5,%r6}}, {{{c}}};")
    };
    let half_sums = product("f16.f16.f16.f16", "%r7,%r8");
    let c = total(&format!("{zero} setp.eq.u32 %p1, %r1, 1; {half_sums} @%p1 {half_sums} ret;"));
    assert_eq!((&c["instructions"]["tensor"], &c["flops"]["tensor"]), (&2.into(), &4096.into()));
    assert_eq!(c["tensor_flops"], serde_json::json!({"half_sums": 4096}));
}

/// A copy reads as many bytes as it says, and fills up the rest.
#[test]
fn asynchronous_copies_ask_for_what_they_read() {
    for (read, asked) in [(16, 512), (4, 128), (0, 0)] {
        let body = format!(
            "ld.param.u64 %d1, [data]; mov.u32 %r1, %tid.x; mul.wide.u32 %d2, %r1, 16; add.u64 %d3, %d1, %d2;\n\
             mov.u32 %r2, s; shl.b32 %r3, %r1, 4; add.u32 %r4, %r2, %r3; mov.u32 %r5, {read};\n\
             cp.async.cg.shared.global [%r4], [%d3], 16, %r5; cp.async.wait_all; ret;"
        );
        let c = run(&body, &["--smem", "0"]).0["total"].take();
        assert_eq!(c["global_loads"]["bytes_asked"], asked);
        assert_eq!(c["shared_stores"]["bytes_asked"], 512, "zeros too");
    }
}

/// Files whose last two names are the same are told apart by one more.
#[test]
fn lines_of_different_files_stay_apart() {
    let files = ".file 2 \"a/one/src/k.cu\"\n.file 3 \"a/two/src/k.cu\"\n";
    let body = "mov.u32 %r1, %tid.x;\n.loc 2 7 1\nadd.u32 %r2, %r1, 1;\n.loc 3 7 1\nadd.u32 %r3, %r1, 1; ret;";
    let (json, _) = run_with(files, body, &[]);
    let names: Vec<_> = json["lines"].as_array().unwrap().iter().map(|line| line["file"].as_str().unwrap()).collect();
    assert_eq!(names, ["two/src/k.cu", "one/src/k.cu"]);
}

/// Local memory interleaves words of 4 bytes across the lanes: an access of 16 bytes is four rows of 128.
#[test]
fn wide_local_accesses_move_whole_rows() {
    for (store, sectors) in [
        ("st.local.u32 [l], %r1;", 4),
        ("st.local.v2.u32 [l], {%r1, %r1};", 8),
        ("st.local.v4.u32 [l], {%r1, %r1, %r1, %r1};", 16),
        ("st.local.u64 [l], %d1;", 8),
    ] {
        let c = total(&format!("mov.u32 %r1, 1; mov.u64 %d1, 1; {store} ret;"));
        let stores = &c["local_stores"];
        assert_eq!((&stores["requests"], &stores["sectors"]), (&1.into(), &sectors.into()), "{store}");
        assert_eq!(
            (&stores["bytes_asked"], &stores["bytes_distinct"]),
            (&(32 * sectors).into(), &(32 * sectors).into())
        );
    }
}

/// The vendor's profiler has atomics and reductions beside loads and stores, not among them.
#[test]
fn atomics_are_neither_loads_nor_stores() {
    let body = "ld.param.u64 %d1, [data]; mov.u32 %r1, %tid.x; and.b32 %r2, %r1, 15; mul.wide.u32 %d2, %r2, 4;\n\
                add.u64 %d3, %d1, %d2; red.global.add.u32 [%d3], 1; atom.shared.add.u32 %r3, [s], 1; ret;";
    let (mut json, output) = run(body, &["--smem", "0"]);
    let c = json["total"].take();
    for none in ["global_loads", "global_stores", "shared_loads", "shared_stores"] {
        assert_eq!(c[none]["requests"], 0, "{none}");
    }
    let global = &c["global_atomics"];
    assert_eq!(
        (&global["requests"], &global["sectors"], &global["bytes_distinct"]),
        (&1.into(), &2.into(), &64.into())
    );
    assert_eq!((&c["shared_atomics"]["requests"], &c["shared_atomics"]["wavefronts"]), (&1.into(), &1.into()));
    assert_eq!((&c["atomic_requests"], &c["atomics"]), (&2.into(), &64.into()));
    let table = String::from_utf8(output.stdout).unwrap();
    assert!(table.contains("global atomics") && table.contains("shared atomics"), "{table}");
}

/// Threads are active at a branch that none of them takes; what several ask for is moved once.
#[test]
fn the_table_says_what_its_averages_are_of() {
    let body = "ld.param.u64 %d1, [data]; mov.u32 %r1, %tid.x; setp.gt.u32 %p1, %r1, 99; @%p1 bra $end;\n\
                ld.global.u32 %r2, [%d1]; $end: ret;";
    let (json, output) = run(body, &["--smem", "0"]);
    let c = &json["total"];
    assert_eq!((&c["warp_instructions"], &c["active_thread_instructions"]), (&4.into(), &128.into()));
    assert_eq!(c["thread_instructions"], 96);
    let table = String::from_utf8(output.stdout).unwrap();
    assert!(table.contains("threads of 32: active 32.0, not predicated off 24.0"), "{table}");
    assert!(table.contains("1 sectors,  12.5 % used,            128 bytes asked"), "{table}");
}

/// No unit bounds a kernel without work, and little work is no time of 0.00 µs.
#[test]
fn an_empty_kernel_has_no_estimate() {
    let (json, output) = run("ret;", &[]);
    assert_eq!(json["roofline_estimate"][0]["bound"], "nothing");
    let table = String::from_utf8(output.stdout).unwrap();
    assert!(table.contains("no estimate") && !table.contains("bound by"), "{table}");
    let (_, output) = run("ld.param.u64 %d1, [data]; st.global.u32 [%d1], 1; ret;", &["--smem", "0"]);
    let table = String::from_utf8(output.stdout).unwrap();
    assert!(table.contains("    < 0.01 µs, bound by memory") && !table.contains("0.00"), "{table}");
}

/// Every record has its efficiency and its bank conflicts as figures, in all and by line; the table has them by line.
#[test]
fn efficiency_and_bank_conflicts_are_figures() {
    // 4 bytes of each sector; words of one bank in pairs; one byte of each 4.
    let body = "ld.param.u64 %d1, [data]; mov.u32 %r1, %tid.x; mul.wide.u32 %d2, %r1, 32; add.u64 %d3, %d1, %d2;\n\
                .loc 1 7 1\nst.global.u32 [%d3], %r1; mov.u32 %r3, s; shl.b32 %r2, %r1, 3; add.u32 %r3, %r3, %r2;\n\
                .loc 1 8 1\nst.shared.u32 [%r3], %r1; st.local.u8 [l], %r1; ret;";
    let (json, output) = run(body, &["--smem", "0"]);
    let line = |number: u64| json["lines"].as_array().unwrap().iter().find(|l| l["line"] == number).unwrap();
    for (counts, stores, efficiency, conflicts) in [
        (&json["total"], "global_stores", 0.125, 0),
        (&json["total"], "shared_stores", 0.5, 1),
        (&json["total"], "local_stores", 0.25, 0),
        (line(7), "global_stores", 0.125, 0),
        (line(8), "shared_stores", 0.5, 1),
    ] {
        assert_eq!(
            (&counts[stores]["efficiency"], &counts[stores]["bank_conflicts"]),
            (&efficiency.into(), &conflicts.into())
        );
    }
    let (none, loads) = (Value::Null, &json["total"]["global_loads"]);
    assert_eq!((&loads["efficiency"], &loads["bank_conflicts"]), (&none, &0.into()), "nothing was moved");
    let table = String::from_utf8(output.stdout).unwrap();
    let row = |number: &str| {
        let row = table.lines().find(|row| row.contains(number)).unwrap_or_else(|| panic!("{table}"));
        row.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert!(row("source.cu:7").ends_with(" 32 12.5 % 0"), "{table}");
    assert!(row("source.cu:8").ends_with(" 4 25.0 % 1"), "{table}");
    assert!(row("source line").ends_with("instructions active sectors efficiency conflicts"), "{table}");
    assert!(table.lines().all(|row| row.chars().count() <= 100), "{table}");
}
