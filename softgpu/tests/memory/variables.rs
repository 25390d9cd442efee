//! Module variables: initial values, addresses of others in them, and one copy per memory.

use softgpu::{Launch, Memory, Module, launch};

use crate::{Run, get};

const VARIABLES: &str = ".visible .global .align 4 .u32 counter = 40; .global .align 8 .b8 bytes[16] = {1, 2, 3, 255};
    .const .align 4 .f32 half = 0f3F000000; .const .align 8 .f64 third = 0d3FD5555555555555; .global .s16 negative[3] = {-1, -2};
    .global .u32 table[2][3] = {{1, 2}, {4, 5, 6}}; .global .align 8 .u64 pointer = counter; .global .align 8 .u64 inside[2] = {bytes+3, generic(counter)};
    .const .align 8 .u64 constant_pointer = generic(half); .const .u64 constant_offset = third; .global .v4 .f32 four = {0f3F800000, 0f40000000, 0f40400000, 0f40800000};
    .weak .global .u32 zero; .common .global .b32 shared_name[4]; .global .attribute(.managed) .align 4 .u32 managed = 7; .const .u8 open[] = {9, 8, 7};
    .global .u8 spelt[8] = {0xff(pointer), 0xff00(pointer), 0xff0000(pointer), 0xff000000(pointer), 0xff00000000(pointer), 0xff0000000000(pointer), 0xff000000000000(pointer), 0xff00000000000000(pointer)};";

const READ: &str = "ld.global.u32 %r1, [counter]; st.global.u32 [%d0], %r1; ld.global.u8 %r1, [bytes+3]; st.global.u32 [%d0+4], %r1;
    ld.const.f32 %f1, [half]; st.global.f32 [%d0+8], %f1; mov.u64 %d2, third; ld.const.f64 %g1, [%d2]; st.global.f64 [%d0+16], %g1;
    mov.u64 %d3, negative; ld.global.s16 %r1, [%d3+2]; st.global.u32 [%d0+24], %r1; ld.global.u32 %r1, [table+8]; st.global.u32 [%d0+28], %r1;
    ld.global.u32 %r1, [table+16]; st.global.u32 [%d0+32], %r1; ld.global.u64 %d4, [pointer]; ld.u32 %r1, [%d4]; st.global.u32 [%d0+36], %r1;
    ld.global.v2.u64 {%d5, %d6}, [inside]; ld.global.u8 %r1, [%d5+-1]; st.global.u32 [%d0+40], %r1; setp.eq.u64 %p1, %d6, %d4; selp.u32 %r1, 1, 0, %p1;
    st.global.u32 [%d0+44], %r1; ld.const.u64 %d7, [constant_pointer]; ld.f32 %f2, [%d7]; st.global.f32 [%d0+48], %f2; ld.const.u64 %d8, [constant_offset];
    ld.const.f64 %g2, [%d8]; st.global.f64 [%d0+56], %g2; ld.global.v4.f32 {%f3, %f4, %f5, %f6}, [four]; st.global.f32 [%d0+64], %f5; ld.global.u32 %r1, [zero];
    st.global.u32 [%d0+68], %r1; ld.global.u32 %r1, [shared_name+12]; st.global.u32 [%d0+72], %r1; ld.global.u32 %r1, [managed]; st.global.u32 [%d0+76], %r1;
    ld.const.u8 %r1, [open+2]; st.global.u32 [%d0+80], %r1; ld.global.u64 %d9, [spelt]; mov.u64 %d10, pointer; setp.eq.u64 %p1, %d9, %d10; selp.u32 %r1, 1, 0, %p1; st.global.u32 [%d0+84], %r1;";

#[test]
fn initial_values() {
    let got = Run { before: VARIABLES, body: READ, threads: 1, ..Run::default() }.go(&[0xcc; 96]).unwrap();
    let words: Vec<u32> =
        [0, 4, 8, 24, 28, 32, 36, 40, 44, 48, 64, 68, 72, 76, 80, 84].map(|at| get(&got, at, 4) as u32).into();
    let half = 0.5f32.to_bits();
    assert_eq!(words, [40, 255, half, -2i32 as u32, 0, 5, 40, 3, 1, half, 3f32.to_bits(), 0, 0, 7, 7, 1]);
    assert_eq!([16, 56].map(|at| f64::from_bits(get(&got, at, 8))), [1.0 / 3.0; 2]);
}

/// A 2^40th above a tie is no tie: the whole f64 decides, not its upper half.
#[test]
fn initial_values_of_halves_are_rounded_once() {
    let before = ".global .f16 short = 0d3FF0020000001000; .global .bf16 brain = 0d3FF0100000001000;";
    let body =
        "ld.global.u16 %r1, [short]; st.global.u32 [%d0], %r1; ld.global.u16 %r1, [brain]; st.global.u32 [%d0+4], %r1;";
    let got = Run { before, body, threads: 1, ..Run::default() }.go(&[0; 8]).unwrap();
    assert_eq!([0, 4].map(|at| get(&got, at, 4)), [0x3c01, 0x3f81]);
}

fn bump(module: &Module, memory: &Memory) {
    let address = memory.alloc(16).unwrap().to_le_bytes();
    let args: [&[u8]; 2] = [&address, &[0; 4]];
    let shape = Launch { grid: [1; 3], block: [1; 3], shared_bytes: 0, args: &args, cooperative: false };
    launch(module, "k", memory, &shape).unwrap();
}

/// A variable keeps its value from launch to launch, in each memory its own.
#[test]
fn variables_live_in_a_memory() {
    let run = Run { before: VARIABLES, body: "atom.global.add.u32 %r1, [counter], 1;", ..Run::default() };
    let (first, second) = (Module::load(&run.text()).unwrap(), Module::load(&run.text()).unwrap());
    let (here, there) = (Memory::new(), Memory::new());
    let value = |module: &Module, memory: &Memory| {
        let (address, bytes) = module.global(memory, "counter").unwrap().unwrap();
        assert_eq!(bytes, 4);
        // SAFETY: inside the variable; no launch runs.
        unsafe { (memory.host_slice(address, bytes).unwrap() as *const u32).read() }
    };
    assert_eq!(value(&first, &here), 40);
    (0..3).for_each(|_| bump(&first, &here));
    bump(&second, &here);
    bump(&first, &there);
    assert_eq!([value(&first, &here), value(&second, &here), value(&first, &there)], [43, 41, 41]);
    first.unload(&here);
    assert_eq!([value(&first, &here), value(&second, &here)], [40, 41]);
    assert_eq!(first.global(&here, "nothing"), Ok(None));
    assert_eq!(first.global(&here, "open").unwrap().unwrap().1, 3);
}

/// The host fills constants through the address that it is told, as cudaMemcpyToSymbol does.
#[test]
fn constants_are_filled_by_the_host() {
    let run = Run {
        before: ".const .align 4 .u32 c[2]; .global .u32 out;",
        body: "ld.const.u32 %r1, [c+4]; st.global.u32 [out], %r1;",
        ..Run::default()
    };
    let (module, memory) = (Module::load(&run.text()).unwrap(), Memory::new());
    let (c, bytes) = module.global(&memory, "c").unwrap().unwrap();
    assert_eq!(bytes, 8);
    // SAFETY: inside the variables; no launch runs.
    unsafe { (memory.host_slice(c, 8).unwrap() as *mut [u32; 2]).write([5, 77]) };
    bump(&module, &memory);
    let (out, _) = module.global(&memory, "out").unwrap().unwrap();
    // SAFETY: as above.
    assert_eq!(unsafe { (memory.host_slice(out, 4).unwrap() as *const u32).read() }, 77);
}

/// A variable is an allocation of its own.
#[test]
fn variables_that_are_run_past() {
    let run = |before, body| Run { before, body, ..Run::default() }.go(&[0; 64]).unwrap_err();
    let message = run(".global .u32 a[4]; .global .u32 b[4];", "mov.u64 %d2, a; ld.global.u32 %r1, [%d2+16];");
    assert!(message.contains("4 bytes at +16 of the variable `a`, an allocation of 16"), "{message}");
    let cases = [
        (".const .b8 large[65537];", "", "65537 bytes of constants, 65536 are possible"),
        (".const .b8 first[65532]; .const .b64 second;", "", "65544 bytes of constants"),
        (".global .u64 p = nowhere;", "", "`p`: the module does not define `nowhere`"),
        (
            ".extern .global .u32 elsewhere;",
            "ld.global.u32 %r1, [elsewhere];",
            "`elsewhere`: the module does not define it",
        ),
        (".global .u32 twice; .global .u32 twice;", "", "`twice` is de"),
        (".global .u32 few[2] = {1, 2, 3};", "", "more initial values than"),
        (".shared .u32 s = 5;", "", "initial value"),
        (".const .u32 c;", "ld.global.u32 %r1, [c];", "`c` here: it lies in `.const`"),
    ];
    for (before, body, expected) in cases {
        let message = run(before, body);
        assert!(message.contains(expected), "{before}\n{message}");
    }
}
