//! Calls, recursion, pointers to functions, branch tables, and what a kernel tells the host. PTX ISA 9.0, 9.7.12.

#![allow(clippy::unwrap_used)] // a panic in a test is its report

use std::sync::{Arc, Mutex};

use softgpu::{Launch, Memory, Module, Tools, launch_with};

const HEAD: &str = ".version 8.0\n.target sm_80\n.address_size 64\n";

/// Runs kernel `k(data)` on 1,024 words that hold their own numbers; the words, and what was printed.
fn run_with(text: &str, threads: u32, blocks: u32) -> Result<(Vec<u32>, String), String> {
    let plain = run_under(text, threads, blocks, &Tools::default());
    // Tools see the same kernel do the same; reports may say more, and blocks come in another order.
    let watched = run_under(text, threads, blocks, &Tools { counters: true, seed: 7, ..Tools::default() });
    match (&plain, &watched) {
        (Ok(plain), Ok(watched)) => assert_eq!(plain.0, watched.0),
        (plain, watched) => assert_eq!(plain.is_ok(), watched.is_ok(), "{plain:?} {watched:?}"),
    }
    plain
}

fn run_under(text: &str, threads: u32, blocks: u32, tools: &Tools) -> Result<(Vec<u32>, String), String> {
    let printed = Arc::new(Mutex::new(Vec::new()));
    let sink = printed.clone();
    let module = Module::load(&format!("{HEAD}{text}")).and_then(Module::whole).map_err(|e| e.to_string())?;
    let module = module.with_budget(20_000_000).with_output(move |text| sink.lock().unwrap().extend_from_slice(text));
    let memory = Memory::new();
    let address = memory.alloc(4096).unwrap();
    // SAFETY: freed with `memory`, after the last use; no launch runs while the slice is used.
    let words = unsafe { std::slice::from_raw_parts_mut(memory.host_slice(address, 4096).unwrap() as *mut u32, 1024) };
    (0..).zip(words.iter_mut()).for_each(|(n, word)| *word = n);
    let args = address.to_le_bytes();
    let shape =
        Launch { grid: [blocks, 1, 1], block: [threads, 1, 1], shared_bytes: 0, args: &[&args], cooperative: false };
    let done = launch_with(&module, "k", &memory, &shape, tools).map_err(|e| e.to_string());
    let printed = String::from_utf8(printed.lock().unwrap().clone()).unwrap();
    done.map(|_| (words.to_vec(), printed))
}

fn run(text: &str, threads: u32) -> Result<Vec<u32>, String> {
    run_with(text, threads, 1).map(|(words, _)| words)
}

/// A kernel in which `%r0` is the thread's number and `%d1` the address of its word.
fn kernel(body: &str) -> String {
    format!(
        ".visible .entry k(.param .u64 data) {{ .reg .b16 %h<9>; .reg .b32 %r<19>; .reg .b64 %d<19>; .reg .f32 %f<9>; .reg .f64 %e<9>; .reg .pred %p<9>;
        ld.param.u64 %d0, [data]; mov.u32 %r0, %tid.x; mul.wide.u32 %d2, %r0, 4; add.s64 %d1, %d0, %d2;
        {body}\nret; }}"
    )
}

const AFFINE: &str = ".func (.param .b32 out) affine(.param .b32 a, .param .b32 b) {
    .reg .b32 %r<4>; ld.param.u32 %r0, [a]; ld.param.u32 %r1, [b]; mad.lo.s32 %r2, %r0, %r1, 1; st.param.b32 [out+0], %r2; ret; }\n";

/// The sequence that nvcc makes of a call with words.
fn call(callee: &str, arguments: &[&str], result: &str) -> String {
    let declare = |n: usize, a: &&str| format!(".param .b32 param{n}; st.param.b32 [param{n}+0], {a};");
    let params: String = arguments.iter().enumerate().map(|(n, a)| declare(n, a)).collect();
    let names: Vec<String> = (0..arguments.len()).map(|n| format!("param{n}")).collect();
    format!(
        "{{ {params} .param .b32 retval0; call.uni (retval0), {callee}, ({}); ld.param.b32 {result}, [retval0+0]; }}",
        names.join(", ")
    )
}

#[test]
fn arguments_and_results_travel() {
    let twice = call("affine", &["%r0", "3"], "%r1") + &call("affine", &["%r1", "%r1"], "%r2");
    let words = run(&(AFFINE.to_string() + &kernel(&(twice + "st.global.u32 [%d1], %r2;"))), 64).unwrap();
    assert!((0..64).all(|n| words[n as usize] == (3 * n + 1) * (3 * n + 1) + 1), "{words:?}");
    // Declared first, defined after, called in a branch that not all take.
    let text = format!(
        ".func (.param .b32 out) affine(.param .b32 a, .param .b32 b);\n{}\n{AFFINE}",
        kernel(&format!(
            "setp.lt.u32 %p1, %r0, 9; mov.u32 %r1, 7; @%p1 bra $L; {} $L: st.global.u32 [%d1], %r1;",
            call("affine", &["%r0", "2"], "%r1")
        ))
    );
    let words = run(&text, 32).unwrap();
    assert!((0..32).all(|n| words[n as usize] == if n < 9 { 7 } else { 2 * n + 1 }), "{words:?}");
}

/// Register parameters, a predicate among them, and a guarded call.
#[test]
fn parameters_may_be_registers() {
    let text = ".func (.reg .b32 out, .reg .pred odd) half(.reg .b32 a) { .reg .b32 t; .reg .pred p; mov.b32 out, 5;
        and.b32 t, a, 1; setp.eq.u32 odd, t, 1; @!odd shr.u32 out, a, 1; ret; }\n"
        .to_string()
        + &kernel(
            "mov.u32 %r1, 99; setp.gt.u32 %p1, %r0, 3; setp.eq.u32 %p2, %r0, %r0;
            @%p1 call (%r1, %p2), half, (%r0); @%p2 add.u32 %r1, %r1, 100; st.global.u32 [%d1], %r1;",
        );
    let words = run(&text, 32).unwrap();
    let expected = |n: u32| match n {
        0..=3 => 199,
        n if n % 2 == 1 => 105,
        n => n / 2,
    };
    assert!((0..32).all(|n| words[n as usize] == expected(n)), "{words:?}");
}

/// A structure of 12 bytes by value, read by parts of other sizes than it is copied by.
#[test]
fn structures_travel_by_value() {
    let text = ".func (.param .align 4 .b8 out[12]) turn(.param .align 4 .b8 a[12]) { .reg .b32 %r<4>; .reg .b16 %h<3>;
        ld.param.u32 %r0, [a]; ld.param.u8 %h0, [a+4]; ld.param.s8 %r1, [a+5]; ld.param.u16 %r2, [a+6]; ld.param.u32 %r3, [a+8];
        cvt.u32.u16 %r3, %h0; st.param.b32 [out+0], %r3; st.param.b32 [out+4], %r1; st.param.b32 [out+8], %r2; ret; }\n"
        .to_string()
        + &kernel(
            "{ .param .align 4 .b8 s[12]; .param .align 4 .b8 t[12]; mov.u32 %r4, 0x1234f607; add.u32 %r4, %r4, %r0;
            st.param.b32 [s], %r0; st.param.b32 [s+4], %r4; st.param.b32 [s+8], 3; call (t), turn, (s);
            ld.param.b32 %r1, [t]; ld.param.b32 %r2, [t+4]; ld.param.b32 %r3, [t+8]; }
            mul.lo.u32 %r1, %r1, 65536; add.u32 %r1, %r1, %r2; add.u32 %r1, %r1, %r3; st.global.u32 [%d1], %r1;",
        );
    let words = run(&text, 32).unwrap();
    let expected = |n: u32| (7 + n) * 65536 + (-10i32 as u32).wrapping_add(0x1234);
    assert!((0..32).all(|n| words[n as usize] == expected(n)), "{:x?}", &words[..32]);
}

const FIBONACCI: &str = ".func (.param .b32 out) fibonacci(.param .b32 n) { .reg .b32 %r<9>; .reg .pred %p1;
    ld.param.u32 %r1, [n]; setp.lt.u32 %p1, %r1, 2; mov.u32 %r5, %r1; @%p1 bra $E;
    add.s32 %r2, %r1, -1; { .param .b32 a; st.param.b32 [a], %r2; .param .b32 r; call.uni (r), fibonacci, (a); ld.param.b32 %r3, [r]; }
    add.s32 %r2, %r1, -2; { .param .b32 a; st.param.b32 [a], %r2; .param .b32 r; call.uni (r), fibonacci, (a); ld.param.b32 %r4, [r]; }
    add.u32 %r5, %r3, %r4; $E: st.param.b32 [out], %r5; ret; }\n";

fn fibonacci(n: u32) -> u32 {
    if n < 2 { n } else { fibonacci(n - 1) + fibonacci(n - 2) }
}

/// Every lane recurses to a depth of its own.
#[test]
fn functions_may_call_themselves() {
    let body = format!("and.b32 %r3, %r0, 15; {} st.global.u32 [%d1], %r1;", call("fibonacci", &["%r3"], "%r1"));
    let words = run(&(FIBONACCI.to_string() + &kernel(&body)), 64).unwrap();
    assert!((0..64).all(|n| words[n as usize] == fibonacci(n & 15)), "{words:?}");
}

/// Each activation has its own array: sum of n, n − 1, …, each kept in memory over the inner call, with its address
/// passed on.
#[test]
fn activations_have_their_own_memory() {
    let text = ".func (.param .b32 out) down(.param .b32 n, .param .b64 above) { .local .align 8 .b8 depot[16]; .reg .b64 %d<9>; .reg .b32 %r<9>; .reg .pred %p1;
        ld.param.u32 %r1, [n]; ld.param.u64 %d3, [above]; mov.u64 %d1, depot; cvta.local.u64 %d2, %d1; st.local.u32 [%d1+4], %r1; mov.u32 %r5, 0; setp.eq.u32 %p1, %r1, 0; @%p1 bra $E;
        add.s32 %r2, %r1, -1; { .param .b32 a; st.param.b32 [a], %r2; .param .b64 b; st.param.b64 [b], %d2; .param .b32 r; call.uni (r), down, (a, b); ld.param.b32 %r3, [r]; }
        ld.local.u32 %r4, [depot+4]; add.u32 %r5, %r3, %r4; $E: ld.u32 %r6, [%d3+4]; add.u32 %r5, %r5, %r6; st.param.b32 [out], %r5; ret; }\n"
        .to_string()
        + &kernel(
            ".local .align 8 .b8 mine[16]; mov.u64 %d3, mine; cvta.local.u64 %d4, %d3; st.local.u32 [mine+4], %r0; { .param .b32 a; st.param.b32 [a], %r0; .param .b64 b; st.param.b64 [b], %d4; .param .b32 r;
            call (r), down, (a, b); ld.param.b32 %r1, [r]; } st.global.u32 [%d1], %r1;",
        );
    let words = run(&text, 64).unwrap();
    // Each adds its own number and its caller's.
    let expected = |n: u32| n * (n + 1) / 2 + n * (n + 1) / 2 + n;
    assert!((0..64).all(|n| words[n as usize] == expected(n)), "{words:?}");
    let message = run(&text.replace("setp.eq.u32 %p1, %r1, 0;", "setp.eq.u32 %p1, %r1, 0x7fffffff;"), 32).unwrap_err();
    assert!(message.starts_with("stack overflow: no local memory left"), "{message}");
    assert!(message.contains("`down`"), "{message}");
}

#[test]
fn a_recursion_without_an_end_stops() {
    let text = FIBONACCI.replace("@%p1 bra $E;", "");
    let body = call("fibonacci", &["%r0"], "%r1");
    let message = run(&(text + &kernel(&body)), 32).unwrap_err();
    assert!(message.starts_with("stack overflow: 4096 calls within one another"), "{message}");
    assert!(message.contains("`call.uni fibonacci`"), "{message}");
    // Two that call each other, with nothing to save in between.
    let text = ".func b(); .func a() { call b; ret; } .func b() { call a; ret; }\n";
    let message = run(&(text.to_string() + &kernel("call a;")), 32).unwrap_err();
    assert!(message.starts_with("stack overflow"), "{message}");
}

const TABLE: &str = ".func (.param .b32 out) twice(.param .b32 a) { .reg .b32 r; ld.param.u32 r, [a]; add.u32 r, r, r; st.param.b32 [out], r; ret; }
    .func (.param .b32 out) square(.param .b32 a) { .reg .b32 r; ld.param.u32 r, [a]; mul.lo.u32 r, r, r; st.param.b32 [out], r; ret; }
    .func (.param .b32 out) other(.param .b64 a) { st.param.b32 [out], 1; ret; }
    .extern .func free(.param .b64 a);
    .func (.param .b32 out) dead(.param .b32 a) { .param .b64 b; call free, (b); st.param.b32 [out], 1; ret; }
    .global .align 8 .u64 table[4] = {twice, square, other, dead};\n";

fn through(pick: &str) -> String {
    format!(
        "{pick} {{ .param .b32 a; st.param.b32 [a], %r0; .param .b32 r; prototype: .callprototype (.param .b32 _) _ (.param .b32 _); call (r), %d5, (a), prototype; ld.param.b32 %r1, [r]; }} st.global.u32 [%d1], %r1;"
    )
}

#[test]
fn functions_have_addresses() {
    let indexed = |mask: &str| {
        through(&format!(
            "and.b32 %r3, %r0, {mask}; mul.wide.u32 %d3, %r3, 8; mov.u64 %d4, table; add.u64 %d3, %d3, %d4; ld.global.u64 %d5, [%d3];"
        ))
    };
    let words = run(&(TABLE.to_string() + &kernel(&indexed("1"))), 32).unwrap();
    assert!((0..32).all(|n| words[n as usize] == if n % 2 == 0 { 2 * n } else { n * n }), "{words:?}");
    let words = run(&(TABLE.to_string() + &kernel(&through("mov.u64 %d5, square;"))), 32).unwrap();
    assert!((0..32).all(|n| words[n as usize] == n * n), "{words:?}");
    let message = run(&(TABLE.to_string() + &kernel(&indexed("2"))), 32).unwrap_err();
    assert!(message.starts_with("call through a pointer to a function with other parameters"), "{message}");
    let message = run(&(TABLE.to_string() + &kernel(&through("mov.u64 %d5, table;"))), 32).unwrap_err();
    assert!(message.starts_with("call through a pointer that is no function's address"), "{message}");
    // A function that softgpu cannot run is no obstacle as long as nobody calls it.
    let message = run(&(TABLE.to_string() + &kernel(&through("ld.global.u64 %d5, [table+24];"))), 32).unwrap_err();
    assert!(message.starts_with("a function that softgpu cannot run was called through a pointer"), "{message}");
    assert!(message.contains("dead") && message.contains("`free` on the device"), "{message}");
}

#[test]
fn tables_branch() {
    let body = "and.b32 %r3, %r0, 3; ways: .branchtargets way0, way1, way2, way1;
        brx.idx %r3, ways; way0: add.s32 %r1, %r0, 100; bra join; way1: mul.lo.s32 %r1, %r0, 3; bra join; way2: neg.s32 %r1, %r0; join: st.global.u32 [%d1], %r1;";
    let words = run(&kernel(body), 64).unwrap();
    let expected = |n: u32| match n & 3 {
        0 => n + 100,
        2 => n.wrapping_neg(),
        _ => 3 * n,
    };
    assert!((0..64).all(|n| words[n as usize] == expected(n)), "{words:?}");
    let message = run(&kernel(&body.replace("and.b32 %r3, %r0, 3", "and.b32 %r3, %r0, 7")), 32).unwrap_err();
    assert!(message.starts_with("brx.idx: index 4 in a table of 4 labels\n") && message.contains("thread (4, 0, 0)"));
    // A loop of nothing but table branches ends too.
    let message = run(&kernel("t: .branchtargets l; mov.u32 %r3, 0; l: brx.idx %r3, t;"), 32).unwrap_err();
    assert!(message.starts_with("synccheck: the kernel does not end"), "{message}");
}

/// Lanes part inside a function, wait for each other there, and go on together in a kernel that counts in scalars.
#[test]
fn lanes_meet_after_a_call() {
    let text = ".func (.param .b32 out) sum(.param .b32 a) { .reg .b32 %r<9>; .reg .pred p; .reg .b32 n; ld.param.u32 %r1, [a]; mov.u32 n, %r1;
        $L: setp.eq.u32 p, n, 0; @p bra $E; sub.u32 n, n, 1; bra $L;
        $E: and.b32 n, %r1, 1; setp.eq.u32 p, n, 1; @p bra $F; st.param.b32 [out], %r1; ret; $F:
        add.u32 %r1, %r1, 1000; st.param.b32 [out], %r1; ret; }\n";
    let body = format!(
        "mov.u32 %r5, 0; mov.u32 %r6, 0; $L: {} add.u32 %r6, %r6, %r1; add.u32 %r5, %r5, 1; setp.lt.u32 %p1, %r5, 10; @%p1 bra $L;
        shfl.sync.bfly.b32 %r7, %r6, 1, 31, -1; sub.u32 %r6, %r6, %r7; mad.lo.u32 %r6, %r5, 100000, %r6; st.global.u32 [%d1], %r6;",
        call("sum", &["%r0"], "%r1")
    );
    let words = run(&(text.to_string() + &kernel(&body)), 32).unwrap();
    let sum = |n: u32| 10 * (n + n % 2 * 1000);
    let expected = |n: u32| 1_000_000 + sum(n) - sum(n ^ 1);
    assert!((0..32).all(|n| words[n as usize] == expected(n)), "{words:?}");
    // The same with a shuffle and a barrier inside the function.
    let text = text.replace(
        "$F:\n",
        "$F:\n shfl.sync.bfly.b32 %r4, %r1, 2, 31, 0xaaaaaaaa; sub.u32 %r4, %r4, %r4; add.u32 %r1, %r1, %r4; ",
    );
    let text = text.replace("add.u32 %r1, %r1, 1000;", "add.u32 %r1, %r1, 1000; bar.sync 1, 32;");
    let text = text.replace("[out], %r1; ret; $F", "[out], %r1; bar.sync 1, 32; ret; $F");
    let words = run(&(text + &kernel(&body)), 32).unwrap();
    assert!((0..32).all(|n| words[n as usize] == expected(n)), "{words:?}");
}

#[test]
fn arguments_without_a_number() {
    let text = ".func (.param .b32 out) sum(.param .b32 n, .param .align 8 .b8 rest[]) { .reg .b32 %r<9>; .reg .b64 %d<3>; .reg .pred p;
        ld.param.u32 %r1, [n]; mov.u64 %d1, rest; mov.u32 %r2, 0; $L: setp.eq.u32 p, %r1, 0; @p bra $E; ld.local.u32 %r3, [%d1]; add.u32 %r2, %r2, %r3; add.u64 %d1, %d1, 4; sub.u32 %r1, %r1, 1; bra $L;
        $E: st.param.b32 [out], %r2; ret; }\n";
    let body = "{ .param .b32 n; .param .align 8 .b8 v[12]; .param .b32 r; st.param.b32 [n], 3; st.param.b32 [v], %r0; st.param.b32 [v+4], 10; st.param.b32 [v+8], 200; call (r), sum, (n, v); ld.param.b32 %r1, [r]; }
        { .param .b32 n; .param .align 8 .b8 v[4]; .param .b32 r; st.param.b32 [n], 1; st.param.b32 [v], %r1; call (r), sum, (n, v); ld.param.b32 %r2, [r]; } st.global.u32 [%d1], %r2;";
    let words = run(&(text.to_string() + &kernel(body)), 32).unwrap();
    assert!((0..32).all(|n| words[n as usize] == n + 210), "{words:?}");
}

const EXTERN: &str = ".extern .func (.param .b32 r) vprintf(.param .b64 a, .param .b64 b);
    .extern .func __assertfail(.param .b64 a, .param .b64 b, .param .b32 c, .param .b64 d, .param .b64 e);
    .extern .func (.param .b64 r) malloc(.param .b64 a);\n";

fn text_variable(name: &str, text: &str) -> String {
    let bytes: Vec<String> = text.bytes().chain([0]).map(|b| b.to_string()).collect();
    format!(".global .align 1 .b8 {name}[{}] = {{{}}};\n", bytes.len(), bytes.join(", "))
}

/// Prints with these arguments: (offset in the list, store).
fn print(format: &str, stores: &str) -> String {
    let body = format!(
        ".local .align 8 .b8 depot[64]; mov.u64 %d3, depot; cvta.local.u64 %d4, %d3; mov.u64 %d5, format; cvta.global.u64 %d5, %d5; {stores}
        {{ .param .b64 a; st.param.b64 [a], %d5; .param .b64 b; st.param.b64 [b], %d4; .param .b32 r; call.uni (r), vprintf, (a, b); ld.param.b32 %r1, [r]; }} st.global.u32 [%d1], %r1;"
    );
    EXTERN.to_string() + &text_variable("format", format) + &text_variable("word", "word") + &kernel(&body)
}

#[test]
fn printf_formats_as_c_does() {
    let printed = |format: &str, stores: &str| run_with(&print(format, stores), 1, 1).unwrap();
    let int = |n: i64| format!("st.local.u32 [depot], {n}; st.local.u32 [depot+4], 77; st.local.u32 [depot+8], 7;");
    let cases = [
        ("%d|", int(-5), "-5|"),
        ("%5d|%-5d|%05d|", int(-5), "   -5|77   |00007|"),
        ("%+d|% d|%.3d|", int(5), "+5| 77|007|"),
        ("%*d|%d|", int(6), "    77|7|"),
        ("%-*d|", int(-6), "77    |"),
        ("%u|%x|%#X|", int(-1), "4294967295|4d|0X7|"),
        ("%o|%#o|%c|", int(8), "10|0115|\u{7}|"),
        ("%hhd|%hu|", int(-1), "-1|77|"),
        ("100%%|%k|", int(1), "100%|%k|"),
        ("%lld|", "st.local.u64 [depot], -9000000000;".into(), "-9000000000|"),
        ("%lx|%p|", "st.local.u64 [depot], 255; st.local.u64 [depot+8], 4096;".into(), "ff|0x1000|"),
        (
            "%s|%6.2s|",
            "mov.u64 %d6, word; st.local.u64 [depot], %d6; st.local.u64 [depot+8], %d6;".into(),
            "word|    wo|",
        ),
    ];
    for (format, stores, expected) in cases {
        let (words, text) = printed(format, &stores);
        assert_eq!(text, expected, "{format}");
        let count = format.matches('%').count() - 2 * format.matches("%%").count() - format.matches("%k").count()
            + format.matches('*').count();
        assert_eq!(words[0] as usize, count, "{format}");
    }
    let floats: [(&str, f64, &str); 22] = [
        ("%f|", 1.5, "1.500000|"),
        ("%.0f|%#.0f|", 2.5, "2|2.|"),
        ("%10.3f|", -1.0 / 3.0, "    -0.333|"),
        ("%010.3f|", -1.0 / 3.0, "-00000.333|"),
        ("%e|", 12345.678, "1.234568e+04|"),
        ("%.2E|", 1e-200, "1.00E-200|"),
        ("%e|", 0.0, "0.000000e+00|"),
        ("%g|", 0.0001, "0.0001|"),
        ("%g|", 0.00001, "1e-05|"),
        ("%g|", 100000.0, "100000|"),
        ("%g|", 1e6, "1e+06|"),
        ("%#g|", 1.0, "1.00000|"),
        ("%.3g|", 1234.5, "1.23e+03|"),
        ("%G|", 1e-10, "1E-10|"),
        ("%a|", 1.0, "0x1p+0|"),
        ("%a|", 0.1, "0x1.999999999999ap-4|"),
        ("%.1a|", 1.96875, "0x2.0p+0|"),
        ("%A|", -0.5, "-0X1P-1|"),
        ("%8f|", f64::INFINITY, "     inf|"),
        ("%F|", f64::NEG_INFINITY, "-INF|"),
        ("%08f|", f64::NAN, "     nan|"),
        ("%+.1f|", 0.05, "+0.1|"),
    ];
    for (format, value, expected) in floats {
        let stores =
            format!("mov.f64 %e1, 0d{:016X}; st.local.f64 [depot], %e1; st.local.f64 [depot+8], %e1;", value.to_bits());
        assert_eq!(printed(format, &stores).1, expected, "{format}");
    }
}

#[test]
fn printf_prints_in_order() {
    let stores = "mov.u32 %r4, %ctaid.x; st.local.u32 [depot], %r4; st.local.u32 [depot+4], %r0;";
    let (_, text) = run_with(&print("%d %d\n", stores), 48, 20).unwrap();
    let expected: String = (0..20).flat_map(|b| (0..48).map(move |t| format!("{b} {t}\n"))).collect();
    assert_eq!(text, expected);
    let message = run(&print("%s", "st.local.u64 [depot], 12345;"), 32).unwrap_err();
    assert!(message.starts_with("printf reads at 0x3039, which is no memory\n"), "{message}");
}

#[test]
fn assertions_and_traps_stop() {
    let text = EXTERN.to_string()
        + &text_variable("message", "i < n")
        + &text_variable("file", "a.cu")
        + &text_variable("name", "void f(int)");
    let body = "setp.lt.u32 %p1, %r0, 5; @%p1 bra $L; mov.u64 %d3, message; mov.u64 %d4, file; mov.u64 %d5, name;
        { .param .b64 a; st.param.b64 [a], %d3; .param .b64 b; st.param.b64 [b], %d4; .param .b32 c; st.param.b32 [c], 12; .param .b64 d; st.param.b64 [d], %d5; .param .b64 e; st.param.b64 [e], 1; call.uni __assertfail, (a, b, c, d, e); } $L:";
    let message = run(&(text + &kernel(body)), 32).unwrap_err();
    assert!(
        message.starts_with("assertion `i < n` failed in `void f(int)` (a.cu:12)\n")
            && message.contains("`call.uni __assertfail`; block (0, 0, 0), thread (5, 0, 0)"),
        "{message}"
    );
    let message = run(&kernel("setp.eq.u32 %p1, %r0, 9; brkpt; pmevent 3; @%p1 trap;"), 32).unwrap_err();
    assert!(message.starts_with("the kernel stopped itself with `trap`\n") && message.contains("thread (9, 0, 0)"));
}

#[test]
fn what_nobody_defines_is_refused_at_load() {
    let body =
        "{ .param .b64 a; st.param.b64 [a], 16; .param .b64 r; call.uni (r), malloc, (a); ld.param.b64 %d3, [r]; }";
    let message = run(&(EXTERN.to_string() + &kernel(body)), 1).unwrap_err();
    assert!(message.contains("`malloc` on the device is not part of softgpu: allocate on the host"), "{message}");
    let message = run(&(".extern .func elsewhere();\n".to_string() + &kernel("call elsewhere;")), 1).unwrap_err();
    assert!(message.contains("calls `elsewhere` and does not define it"), "{message}");
    let message = run(&(AFFINE.to_string() + &kernel("call affine, (%r1);")), 1).unwrap_err();
    assert!(message.contains("other than 2 arguments and 1 results"), "{message}");
}

/// Lane 0 waits for what lane 1 does, asleep; and 40,000 naps are no reason to stop.
#[test]
fn who_sleeps_gives_way() {
    let body = "setp.eq.u32 %p1, %r0, 1; @%p1 bra $S; $L: nanosleep.u32 100; ld.volatile.global.u32 %r1, [%d0+512]; setp.ne.u32 %p1, %r1, 9; @%p1 bra $L; bra $E; $S: st.volatile.global.u32 [%d0+512], 9; $E: st.global.u32 [%d1], %r0;";
    assert!(run(&kernel(body), 2).is_ok());
    let body = "mov.u32 %r1, 0; $L: add.u32 %r1, %r1, 1; nanosleep.u32 20; setp.lt.u32 %p1, %r1, 40000; @%p1 bra $L;";
    assert_eq!(run(&kernel(body), 32).err(), None);
}

/// The kernel's own line comes first, the header's after it.
#[test]
fn reports_name_the_lines_of_inlined_code() {
    let body = "\n.loc 1 31 5\n.loc 2 20 3, function_name $L__info_string0, inlined_at 1 31 5\n.loc 3 12 1, function_name $L__info_string1+4, inlined_at 2 20 3\ntrap;";
    let text = kernel(body)
        + "\n.file 1 \"a/kernels/x.cu\"\n.file 2 \"a/kernels/common.cuh\", 1, 2\n.file 3 \"b/include/deep.h\"\n";
    let message = run(&text, 1).unwrap_err();
    let lines = "--> kernels/x.cu:31 in `k`\n      inlined there: kernels/common.cuh:20\n      inlined there: include/deep.h:12\n";
    assert!(message.contains(lines), "{message}");
}

/// A text that loads, and one of another spelling that means the same.
#[test]
fn spellings_that_mean_the_same() {
    let body = |text: &str| format!("{HEAD}.entry k(.param .u64 a) {{ {text} }}");
    let registers = ".reg .b32 %r<9>; .reg .b64 %d<9>; .reg .pred p, q; .reg .f32 f;";
    let pairs = [
        ("mov.u32 %r1, 0x1F;", "mov.u32 %r1, 31;"),
        ("mov.u32 %r1, 0b11111;", "mov.u32 %r1, 037U;"),
        ("mov.u32 %r1, -(2 - 3) * 4 % 3 << 2 | 1;", "mov.u32 %r1, 5;"),
        ("mov.u32 %r1, (1 ? 2 : 3) + (4 > 3 && !0) + ~0;", "mov.u32 %r1, 2;"),
        ("mov.u32 %r1, (.u64)-1 / 2 >> 62;", "mov.u32 %r1, 1;"),
        ("mov.f32 f, -0f3F800000;", "mov.f32 f, 0fBF800000;"),
        ("mov.f32 f, 1.5e0;", "mov.f32 f, 0d3FF8000000000000;"),
        ("ld.global.u32\t%r1 ,\r\n[ %d1 + -4 ] ;", "ld.global.u32 %r1,[%d1-4];"),
        ("ld.global.u32 %r1, [%d1 + 2*4 - 1];", "ld.global.u32 %r1, [%d1+7];"),
        ("@!p /* one\n two */ bra L; L: // done\n", "@!p bra M; M:"),
        ("{ .reg .u32 x; mov.u32 x, 1; } { .reg .u32 x; mov.u32 x, 2; }", ".reg.u32 y, z; mov.u32 y, 1; mov.u32 z, 2;"),
        (".reg .v2 .b32 v; mov.b64 {v.x, v.y}, %d1;", ".reg .v2 .b32 w; mov.b64 w, %d1;"),
        ("{ L: bra L; } { L: bra L; }", "A: bra A; B: bra B;"),
        ("shfl.sync.up.b32 %r1|p, %r2, 1, 0, -1;", "shfl.sync.up.b32 %r1 | p, %r2, 1, 0, -1;"),
        (".pragma \"nounroll\"; ret;", ";;ret;"),
    ];
    for (a, b) in pairs {
        let (a, b) = (body(&format!("{registers} {a}")), body(&format!("{registers} {b}")));
        assert_eq!(softgpu::same(&a, &b), Ok(true), "{a}\n{b}");
        let printed = softgpu::reprint(&a).unwrap();
        assert_eq!(softgpu::same(&a, &printed), Ok(true), "{a}\n{printed}");
    }
    let initial = [
        ("x[2][2] = {{1}, {2, 3}}", "x[4] = {1, 0, 2, 3}"),
        ("x[] = {1, 2}", "x[2] = {1, 2}"),
        ("x[2] = {generic(y)+4, y-4}", "x[2] = {generic(y+4), y+-4}"),
        ("x[2] = {-1, 1 << 4}", "x[2] = {4294967295, 16}"),
    ];
    for (a, b) in initial {
        let [a, b] = [a, b].map(|x| format!("{HEAD}.global .u32 y; .global .u32 {x};"));
        assert_eq!(softgpu::same(&a, &b), Ok(true), "{a}\n{b}");
        assert_eq!(softgpu::same(&a, &softgpu::reprint(&a).unwrap()), Ok(true), "{a}");
    }
}

#[test]
fn errors_name_the_line_and_what_was_expected() {
    let cases = [
        (".entry k() {\nadd.u32 %r1, 1;\n", "PTX line 5: expected `}`, but the text ends"),
        (".entry k() {\n@p bra L;\n}", "PTX line 5: expected a predicate that is declared, found `p`"),
        (".entry k() {\nbra L;\n}", "PTX line 5: `bra` goes to `L`, which is no label here"),
        (".entry k() {\nret\n}", "PTX line 6: expected an operand, found `}`"),
        (".entry k() {\nmov.u32 a, 1 1;\n}", "PTX line 5: expected `,` or `;`, found `1`"),
        (".entry k() {\n.reg .b33 a;\n}", "PTX line 5: expected a type such as `.b32`, found `.b33`"),
        (".entry k() {\nL: L: ret; }", "PTX line 5: the label `L` stands twice"),
        (".entry k() {\n.reg .b32 a; .reg .b32 a; }", "PTX line 5: `a` is declared twice"),
        (".texture x;", "PTX line 4: expected a directive such as `.entry` that softgpu knows, found `.texture`"),
        (".global .texref x;", "PTX line 4: softgpu has no textures: read the data through a pointer"),
        (".global .b32 x[2] = {1, 2, 3};", "PTX line 4: `x` has more initial values than room"),
        (".global .align 3 .b32 x;", "PTX line 4: expected an alignment, a power of two, found `3`"),
        (".func f() { ret; }\n.func f() { ret; }", "PTX line 5: `f` is defined twice"),
        (".entry k() {\nmov.u32 a, 0x;\n}", "PTX line 5: `0x` is not a number"),
        (".address_size 32", "PTX line 4: softgpu runs PTX with `.address_size 64` only"),
        ("§", "PTX line 4: `§` does not belong in PTX"),
    ];
    for (text, expected) in cases {
        let error = Module::load(&format!("{HEAD}{text}")).and_then(Module::whole).err().map(|e| e.to_string());
        assert_eq!(error.as_deref(), Some(expected), "{text}");
    }
}

/// What is decoded does not depend on how it is written down, and is listed by the table's names.
#[test]
fn decoded_text_is_the_same_after_printing() {
    let text = TABLE.to_string() + FIBONACCI + &kernel(&through("mov.u64 %d5, square;")) + "\n.file 1 \"x.cu\"\n";
    let text = HEAD.to_string() + &text;
    let printed = softgpu::reprint(&text).unwrap();
    let listing = softgpu::disassemble(&text, false).unwrap();
    assert_eq!(softgpu::disassemble(&printed, false).unwrap(), listing);
    assert!(
        ["function:", "kernel:", "mul.lo.u32", "st.global.u32", "return", "call"].iter().all(|w| listing.contains(w))
    );
    assert!(softgpu::disassemble(&text, true).unwrap().contains("; st.global.u32 (line "));
}
