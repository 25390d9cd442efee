//! Loads and stores: every space, type, vector width and register width, at rows, one address, and scattered ones.

use crate::{Run, error, get, random_bytes, set};

/// Type and bytes of a register: 128 bits are taken apart into two.
const TYPES: [(&str, usize); 15] = [
    ("b8", 1),
    ("u8", 1),
    ("s8", 1),
    ("b16", 2),
    ("u16", 2),
    ("s16", 2),
    ("b32", 4),
    ("u32", 4),
    ("s32", 4),
    ("f32", 4),
    ("b64", 8),
    ("u64", 8),
    ("s64", 8),
    ("f64", 8),
    ("b128", 8),
];

/// Bytes of what is loaded from or stored to; where the offsets of the lanes and the values lie, and the results.
const ROOM: usize = 512;
const OFFSETS: usize = ROOM;
const VALUES: usize = OFFSETS + 128;
const RESULTS: usize = VALUES + 32 * 64;
const TOTAL: usize = RESULTS + 32 * ROOM;

/// How lanes address: by a table, one after the other, or all alike.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Way {
    Table,
    Row,
    Same,
}

fn offsets(way: Way, size: usize) -> Vec<usize> {
    let last = ROOM / size;
    (0..32)
        .map(|lane| match way {
            Way::Table => (lane * 7 + lane * lane * 3) % last * size,
            Way::Row => lane * size,
            Way::Same => size * 5 % ROOM,
        })
        .collect()
}

/// `%d5`: the place of space 0 as its own space has it; filled from the data, each local byte raised by the lane.
fn set_up(space: &str) -> (&'static str, String) {
    let copy = |space: &str, mark: &str| {
        format!(
            "mov.u32 %r5, 0; $C: cvt.u64.u32 %d6, %r5; add.u64 %d7, %d0, %d6; add.u64 %d8, %d5, %d6; ld.global.u32 %r6, [%d7]; {mark}
             st.{space}.u32 [%d8], %r6; add.u32 %r5, %r5, 4; setp.lt.u32 %p1, %r5, {ROOM}; @%p1 bra $C; bar.sync 0;"
        )
    };
    match space {
        "global" => ("", "mov.b64 %d5, %d0;".into()),
        "shared" => (".shared .align 16 .b8 room[512];", format!("mov.u64 %d5, room; {}", copy("shared", ""))),
        "local" => {
            let mark = "mul.lo.u32 %r7, %r0, 16843009; xor.b32 %r6, %r6, %r7;";
            ("", format!(".local .align 16 .b8 room[512]; mov.u64 %d5, room; {}", copy("local", mark)))
        }
        "const" => ("room", "mov.u64 %d5, room;".into()),
        _ => ("", "mov.b64 %d5, value;".into()),
    }
}

/// `%d9`: the lane's offset.
fn addresses(way: Way, size: usize) -> String {
    match way {
        Way::Table => {
            format!(
                "mul.lo.u64 %d9, %d1, 4; add.u64 %d9, %d0, %d9; ld.global.u32 %r9, [%d9+{OFFSETS}]; cvt.u64.u32 %d9, %r9;"
            )
        }
        Way::Row => format!("mul.wide.u32 %d9, %r0, {size};"),
        Way::Same => format!("mov.u64 %d9, {};", size * 5 % ROOM),
    }
}

fn data(way: Way, size: usize) -> Vec<u8> {
    let mut data = random_bytes(7, TOTAL);
    for (lane, at) in offsets(way, size).iter().enumerate() {
        set(&mut data, OFFSETS + 4 * lane, 4, *at as u64);
    }
    data
}

fn extended(bytes: &[u8], at: usize, ty: &str, size: usize, wide: bool) -> u64 {
    let v = get(bytes, at, size);
    let shift = 64 - 8 * size as u32;
    let v = if ty.starts_with('s') { ((v << shift) as i64 >> shift) as u64 } else { v };
    if wide || size == 8 { v } else { v as u32 as u64 }
}

/// The bytes that a lane of that space starts with.
fn room(data: &[u8], space: &str, lane: usize) -> Vec<u8> {
    let mark = if space == "local" { lane as u8 } else { 0 };
    data[..ROOM].iter().map(|b| b ^ mark).collect()
}

struct Case<'a> {
    space: &'a str,
    generic: bool,
    /// Between `ld` or `st` and the space, and after it.
    order: &'a str,
    cache: &'a str,
    ty: &'a str,
    size: usize,
    v: usize,
    way: Way,
    /// 64-bit registers for shorter values.
    wide: bool,
    /// The lanes that take part.
    guard: bool,
}

impl Case<'_> {
    fn opcode(&self, what: &str) -> String {
        let space = if self.generic { String::new() } else { format!(".{}", self.space) };
        let v = if self.v > 1 && !self.whole() { format!(".v{}", self.v) } else { String::new() };
        format!("{what}{}{space}{}{v}.{}", self.order, self.cache, self.ty)
    }

    fn registers(&self) -> Vec<String> {
        let name = if self.wide || self.size == 8 { "%d" } else { "%r" };
        (20..20 + self.v).map(|k| format!("{name}{k}")).collect()
    }

    /// One value of 128 bits.
    fn whole(&self) -> bool {
        self.ty == "b128"
    }

    /// What puts the registers into the operand before the access, and what takes them out after it.
    fn packing(&self) -> (&'static str, &'static str) {
        match self.whole() {
            true => ("mov.b128 %q0, {%d20, %d21};", "mov.b128 {%d20, %d21}, %q0;"),
            false => ("", ""),
        }
    }

    fn operand(&self) -> String {
        if self.whole() {
            return "%q0".into();
        }
        let all = self.registers().join(", ");
        if self.v > 1 { format!("{{{all}}}") } else { all }
    }

    fn before(&self, data: &[u8]) -> String {
        let (kind, _) = set_up(self.space);
        if kind == "room" {
            let bytes: Vec<String> = data[..ROOM].iter().map(u8::to_string).collect();
            return format!(".const .align 16 .b8 room[{ROOM}] = {{{}}};", bytes.join(", "));
        }
        kind.into()
    }

    fn address(&self) -> String {
        let generic = match self.generic {
            true => format!("cvta.{}.u64 %d5, %d5;", self.space),
            false => String::new(),
        };
        format!("{generic} {} add.u64 %d10, %d5, %d9;", addresses(self.way, self.size * self.v))
    }

    fn takes_part(&self, lane: usize) -> bool {
        !self.guard || lane % 3 != 1
    }

    fn guard(&self) -> (&'static str, &'static str) {
        if self.guard { ("rem.u32 %r8, %r0, 3; setp.ne.u32 %p2, %r8, 1;", "@%p2") } else { ("", "") }
    }

    fn loads(&self) {
        let (ready, guard) = self.guard();
        let whole = self.size * self.v;
        let data = data(self.way, whole);
        let mut body = format!("{} {} {ready}", set_up(self.space).1, self.address());
        let registers = self.registers();
        registers.iter().for_each(|r| body += &format!("mov.b{} {r}, 77;", if r.starts_with("%d") { 64 } else { 32 }));
        let (pack, unpack) = self.packing();
        body += &format!("{pack} {guard} {} {}, [%d10]; {unpack}", self.opcode("ld"), self.operand());
        body += "mul.wide.u32 %d11, %r0, 64; add.u64 %d11, %d0, %d11;";
        for (k, r) in registers.iter().enumerate() {
            let from = if r.starts_with("%d") { r } else { "%d12" };
            if from == "%d12" {
                body += &format!("cvt.u64.u32 %d12, {r};");
            }
            body += &format!("st.global.u64 [%d11+{}], {from};", RESULTS + 8 * k);
        }
        let before = self.before(&data);
        let run = Run { before: &before, body: &body, by_value: &data[..ROOM], ..Run::default() };
        let got = run.go(&data).unwrap();
        for (lane, at) in offsets(self.way, whole).into_iter().enumerate() {
            let room = room(&data, self.space, lane);
            for k in 0..self.v {
                let expected = match self.takes_part(lane) {
                    true => extended(&room, at + k * self.size, self.ty, self.size, self.wide),
                    false => 77,
                };
                let got = get(&got, RESULTS + 64 * lane + 8 * k, 8);
                assert_eq!(got, expected, "lane {lane}, value {k}: {}\n{body}", self.opcode("ld"));
            }
        }
    }

    fn stores(&self) {
        let (ready, guard) = self.guard();
        let whole = self.size * self.v;
        let data = data(self.way, whole);
        let mut body = format!("{} {} {ready}", set_up(self.space).1, self.address());
        body += "mul.wide.u32 %d11, %r0, 64; add.u64 %d11, %d0, %d11;";
        for (k, r) in self.registers().iter().enumerate() {
            let bits = if r.starts_with("%d") { 64 } else { 32 };
            body += &format!("ld.global.b{bits} {r}, [%d11+{}];", VALUES + 8 * k);
        }
        let (pack, _) = self.packing();
        body += &format!("{pack} {guard} {} [%d10], {}; bar.sync 0;", self.opcode("st"), self.operand());
        let back = match self.space {
            "global" => String::new(),
            space => format!(
                "mul.wide.u32 %d11, %r0, {ROOM}; add.u64 %d11, %d0, %d11; mov.u64 %d5, room; mov.u32 %r5, 0;
                 $D: cvt.u64.u32 %d6, %r5; add.u64 %d7, %d11, %d6; add.u64 %d8, %d5, %d6; ld.{space}.u32 %r6, [%d8];
                 st.global.u32 [%d7+{RESULTS}], %r6; add.u32 %r5, %r5, 4; setp.lt.u32 %p1, %r5, {ROOM}; @%p1 bra $D;"
            ),
        };
        body += &back;
        let got = Run { before: &self.before(&data), body: &body, ..Run::default() }.go(&data).unwrap();
        let mut rooms: Vec<Vec<u8>> = (0..32).map(|lane| room(&data, self.space, lane)).collect();
        for (lane, at) in offsets(self.way, whole).into_iter().enumerate().filter(|(lane, _)| self.takes_part(*lane)) {
            let room = if self.space == "local" { &mut rooms[lane] } else { &mut rooms[0] };
            for k in 0..self.v {
                set(room, at + k * self.size, self.size, get(&data, VALUES + 64 * lane + 8 * k, self.size.min(8)));
            }
        }
        for lane in 0..32 {
            let (got, expected) = match self.space {
                "global" => (&got[..ROOM], &rooms[0]),
                "local" => (&got[RESULTS + ROOM * lane..][..ROOM], &rooms[lane]),
                _ => (&got[RESULTS + ROOM * lane..][..ROOM], &rooms[0]),
            };
            assert_eq!(got, expected, "lane {lane}: {}\n{body}", self.opcode("st"));
        }
    }
}

const PLAIN: Case = Case {
    space: "global",
    generic: false,
    order: "",
    cache: "",
    ty: "b32",
    size: 4,
    v: 1,
    way: Way::Table,
    wide: false,
    guard: false,
};

/// Every type and width that fits in 16 bytes.
fn every_access(mut f: impl FnMut(Case)) {
    for (ty, size) in TYPES {
        for v in [1, 2, 4, 8] {
            for way in [Way::Table, Way::Row, Way::Same] {
                for guard in [false, true] {
                    if size * v <= 16 && (ty != "b128" || v == 2) {
                        f(Case { ty, size, v, way, guard, ..PLAIN });
                    }
                }
            }
        }
    }
}

#[test]
fn loads_from_every_space() {
    every_access(|case| {
        for space in ["global", "shared", "local", "const", "param"] {
            for generic in [false, true] {
                Case { space, generic, ..case }.loads();
            }
        }
    });
}

#[test]
fn loads_into_wider_registers() {
    every_access(|case| {
        for space in ["global", "shared", "param"] {
            Case { space, wide: true, ..case }.loads();
        }
    });
}

#[test]
fn stores_to_every_space() {
    every_access(|case| {
        for space in ["global", "shared", "local"] {
            for (generic, wide) in [(false, false), (true, false), (false, true)] {
                Case { space, generic, wide, ..case }.stores();
            }
        }
    });
}

/// Orders, scopes and hints do not change what one thread sees.
#[test]
fn orders_scopes_and_hints() {
    let widths = [("s8", 1, 4), ("b16", 2, 2), ("u32", 4, 4), ("f32", 4, 1), ("b64", 8, 2), ("b128", 8, 2)];
    for (ty, size, v) in widths {
        let case = Case { ty, size, v, guard: true, ..PLAIN };
        for order in [".volatile", ".relaxed.cta", ".relaxed.cluster", ".relaxed.gpu", ".relaxed.sys"] {
            for (space, generic) in [("global", false), ("global", true), ("shared", false), ("shared", true)] {
                Case { order, space, generic, ..case }.loads();
                Case { order, space, generic, wide: true, ..case }.loads();
                Case { order, space, generic, ..case }.stores();
            }
        }
        for scope in ["cta", "cluster", "gpu", "sys"] {
            Case { order: &format!(".acquire.{scope}"), ..case }.loads();
            Case { order: &format!(".release.{scope}"), space: "shared", ..case }.stores();
            Case { order: &format!(".release.{scope}"), generic: true, ..case }.stores();
        }
        let v = if case.whole() { 2 } else { 1 };
        Case { order: ".mmio.relaxed.sys", v, ..case }.loads();
        Case { order: ".mmio.relaxed.sys", v, ..case }.stores();
        Case { order: ".weak", ..case }.loads();
        Case { order: ".weak", ..case }.stores();
        let hints = [
            ".ca",
            ".cg",
            ".cs",
            ".lu",
            ".cv",
            ".L2::64B",
            ".ca.L2::128B",
            ".nc",
            ".nc.L2::256B",
            ".cg.nc",
            ".L1::evict_last",
            ".nc.L1::evict_first.L2::64B",
            ".nc.L1::no_allocate",
            ".L1::evict_unchanged.L2::128B",
            ".L1::evict_normal",
            ".L1::evict_last.nc.L2::64B",
        ];
        for order in [".relaxed.gpu", ".acquire.sys"] {
            let sizes = [".L2::64B", ".L2::128B", ".L2::256B", ".L1::no_allocate.L2::128B", ".L1::evict_unchanged"];
            sizes.into_iter().for_each(|cache| Case { order, cache, ..case }.loads());
        }
        hints.into_iter().for_each(|cache| Case { cache, ..case }.loads());
        [".wb", ".cg", ".cs", ".wt", ".L1::no_allocate", ".L1::evict_last"]
            .into_iter()
            .for_each(|cache| Case { cache, ..case }.stores());
    }
}

#[test]
fn cache_policies_are_read_and_have_no_effect() {
    let body = "createpolicy.fractional.L2::evict_last.b64 %d20, 0f3F800000;
        createpolicy.fractional.L2::evict_last.L2::evict_unchanged.b64 %d21;
        createpolicy.range.global.L2::evict_last.L2::evict_unchanged.b64 %d22, [%d0], 256, 512; createpolicy.cvt.L2.b64 %d23, %d21;
        ld.global.L2::cache_hint.u32 %r1, [%d0], %d20; ld.global.nc.L1::evict_last.L2::cache_hint.u32 %r2, [%d0+4], %d21;
        ld.relaxed.gpu.global.L1::no_allocate.L2::cache_hint.L2::128B.v2.u32 {%r3, %r4}, [%d0+8], %d22;
        add.u32 %r1, %r1, %r2; add.u32 %r1, %r1, %r3; add.u32 %r1, %r1, %r4;
        st.release.gpu.global.L1::evict_last.L2::cache_hint.u32 [%d0+16], %r1, %d23; st.global.L1::evict_first.L2::cache_hint.u32 [%d0+20], %r2, %d23;
        prefetch.global.L1 [%d0]; prefetch.L2 [%d0+64]; prefetch.global.L2::evict_last [%d0]; prefetchu.L1 [%d0];
        prefetch.global.L1 [%d1]; applypriority.global.L2::evict_normal [%d0], 128; ldu.global.u32 %r5, [%d0+12]; st.global.u32 [%d0+24], %r5;";
    let mut data = [0; 256];
    [3, 5, 7, 11].into_iter().enumerate().for_each(|(k, v)| set(&mut data, 4 * k, 4, v));
    let got = Run { body, ..Run::default() }.go(&data).unwrap();
    assert_eq!([16, 20, 24].map(|at| get(&got, at, 4)), [26, 5, 11]);
}

/// 32-bit addresses are extended with zeros in every space.
#[test]
fn short_addresses() {
    let body = ".local .align 4 .b8 mine[64]; .shared .align 4 .b8 ours[64]; mov.u32 %r1, mine; mov.u32 %r2, ours; mov.u32 %r3, value;
        shl.b32 %r4, %r0, 0; st.local.u32 [%r1+8], %r0; st.shared.u32 [%r2+8], 12; ld.local.u32 %r5, [%r1+8]; ld.shared.u32 %r6, [%r2+8];
        ld.param.u32 %r7, [%r3+4]; ld.volatile.shared.u32 %r8, [%r2+8]; mad.lo.u32 %r5, %r6, 1000, %r5; add.u32 %r5, %r5, %r7;
        sub.u32 %r6, %r6, %r8; add.u32 %r5, %r5, %r6; mul.wide.u32 %d2, %r0, 4; add.u64 %d2, %d2, %d0; st.global.u32 [%d2], %r5;";
    let mut value = [0; 8];
    set(&mut value, 4, 4, 500);
    let got = Run { body, by_value: &value, ..Run::default() }.go(&[0; 128]).unwrap();
    (0..32).for_each(|lane| assert_eq!(get(&got, 4 * lane, 4), 12_500 + lane as u64));
}

/// Results that nobody wants, offsets of any size, absolute and negative ones.
#[test]
fn sinks_and_offsets() {
    let body = "ld.global.v4.u32 {%r1, _, _, %r2}, [%d0]; add.u64 %d2, %d0, 68719476736; ld.global.u32 %r3, [%d2+-68719476732];
        .shared .align 4 .b8 ours[64]; mov.u32 %r5, ours; add.u32 %r5, %r5, 32; st.shared.u32 [ours+28], 9; bar.sync 0;
        ld.shared.u32 %r4, [%r5+-4]; ld.shared.u32 %r6, [28]; mov.u64 %d3, ours+24; ld.shared.u32 %r7, [%d3+4];
        add.u32 %r1, %r1, %r2; add.u32 %r1, %r1, %r3; add.u32 %r4, %r4, %r6; add.u32 %r4, %r4, %r7; st.global.v2.u32 [%d0+16], {%r1, %r4};";
    let mut data = [0; 64];
    [1, 20, 300, 4000].into_iter().enumerate().for_each(|(k, v)| set(&mut data, 4 * k, 4, v));
    let got = Run { body, ..Run::default() }.go(&data).unwrap();
    assert_eq!([get(&got, 16, 4), get(&got, 20, 4)], [4021, 27]);
}

/// A kernel parameter's sign, and its address.
#[test]
fn parameters() {
    let body = "ld.param.s8 %r1, [value+1]; ld.param.s16 %r2, [value+2]; ld.param.s32 %d2, [value+4]; ld.param.v2.b16 {%h1, %h2}, [value+4];
        mov.b64 %d3, value; cvta.param.u64 %d4, %d3; ld.u32 %r3, [%d4+8]; cvt.u32.u16 %r4, %h2; cvta.to.param.u64 %d5, %d4;
        ld.param.b32 %r5, [%d5+4]; st.global.u32 [%d0], %r1; st.global.u32 [%d0+4], %r2; st.global.u64 [%d0+8], %d2;
        st.global.u32 [%d0+16], %r3; st.global.u32 [%d0+20], %r4; st.global.u32 [%d0+24], %r5; ld.param.u8 %d6, [value]; st.global.u64 [%d0+32], %d6;";
    let value = [0xf0, 0xfe, 0xfd, 0xff, 0x85, 0xff, 0xff, 0xff, 1, 2, 3, 4];
    let got = Run { body, by_value: &value, ..Run::default() }.go(&[0; 64]).unwrap();
    let expected = [-2i32, -3, -123, -1, 0x0403_0201, 0xffff, -123, 0, 0xf0, 0];
    expected.iter().enumerate().for_each(|(k, v)| assert_eq!(get(&got, 4 * k, 4) as u32, *v as u32, "{k}"));
}

#[test]
fn spaces_of_addresses() {
    let before = ".const .u32 c = 5; .global .u32 g; .shared .u32 s;";
    let mut body = String::from(
        ".local .u32 l; mov.u64 %d2, l; cvta.local.u64 %d2, %d2; mov.u64 %d3, c; cvta.const.u64 %d3, %d3; cvta.shared.u64 %d4, s;
        cvta.param.u64 %d5, value; mov.u64 %d6, g; cvta.global.u64 %d6, %d6; mov.u64 %d7, 0; mov.u32 %r1, 0;",
    );
    let spaces = ["local", "const", "shared", "param", "global", "shared::cta"];
    for register in 2..8 {
        for space in spaces {
            body += &format!(
                "isspacep.{space} %p1, %d{register}; selp.u32 %r2, 1, 0, %p1; st.global.u8 [%d0], %r2; add.u64 %d0, %d0, 1;"
            );
        }
    }
    let got = Run { before, body: &body, ..Run::default() }.go(&[9; 36]).unwrap();
    let expected: [[u8; 6]; 6] = [
        [1, 0, 0, 0, 0, 0],
        [0, 1, 0, 0, 0, 0],
        [0, 0, 1, 0, 0, 1],
        [0, 0, 0, 1, 1, 0],
        [0, 0, 0, 0, 1, 0],
        [0, 0, 0, 0, 1, 0],
    ];
    assert_eq!(got, expected.concat());
}

#[test]
fn fences_are_known() {
    let mut body = String::new();
    for scope in ["cta", "cluster", "gpu", "sys"] {
        for order in ["", ".sc", ".acq_rel", ".acquire", ".release"] {
            body += &format!("fence{order}.{scope};");
        }
    }
    body += "membar.cta; membar.gl; membar.sys; fence.mbarrier_init.release.cluster; fence.proxy.async; fence.proxy.alias;
        fence.proxy.async.global; fence.proxy.async.shared::cta; membar.proxy.alias; fence.acquire.sync_restrict::shared::cluster.cluster;";
    Run { body: &body, ..Run::default() }.go(&[0; 4]).unwrap();
}

#[test]
fn discarded_data_is_gone() {
    let data = vec![1; 512];
    let got = Run { body: "discard.global.L2 [%d0+128], 128;", ..Run::default() }.go(&data).unwrap();
    assert!(got[..128] == data[..128] && got[128..256] == [255; 128] && got[256..] == data[256..]);
}

/// Accesses that stray stop, whichever way they are carried out.
#[test]
fn strays() {
    let cases = [
        ("ld.global.u16 %r1, [%d0+3];", "memcheck: misaligned access: 2 bytes"),
        ("ld.volatile.global.v2.u32 {%r1, %r2}, [%d0+4];", "memcheck: misaligned access: 8 bytes"),
        (
            "ld.relaxed.gpu.global.u32 %r1, [%d0+1024];",
            "memcheck: access past an allocation: 4 bytes at +1024 of argument 0",
        ),
        ("st.release.gpu.u64 [%d0+1020], %d1;", "memcheck: access past an allocation: 8 bytes at +1020"),
        ("mov.u64 %d2, 8; ld.u32 %r1, [%d2];", "memcheck: access through a null pointer: 4 bytes at 0x8"),
        (
            ".shared .b32 s; mov.u32 %r1, s; ld.shared.u32 %r2, [%r1+4];",
            "memcheck: access past shared memory: 4 bytes at +4 of 4",
        ),
        (
            ".shared .b32 s; cvta.shared.u64 %d2, s; ld.u32 %r2, [%d2+4];",
            "memcheck: access past shared memory: 4 bytes at +4 of 4",
        ),
        (
            ".shared .b32 s; cvta.shared.u64 %d2, s; st.u32 [%d2+-4], 1;",
            "memcheck: access outside of device memory: 4 bytes at 0xffffffffc",
        ),
        (
            ".local .b64 l; mov.u64 %d2, l; st.local.u64 [%d2+16], %d1;",
            "memcheck: access past local memory: 8 bytes at +16 of 16",
        ),
        (
            ".local .b32 l; cvta.local.u64 %d2, l; ld.v2.u32 {%r1, %r2}, [%d2+64];",
            "memcheck: access past local memory: 8 bytes at +64 of 16",
        ),
        ("ld.shared.u32 %r1, [%d0];", "memcheck: a shared access outside shared memory: 4 bytes at 0x"),
        (
            ".shared .b32 s; cvta.shared.u64 %d2, s; ld.global.u32 %r1, [%d2];",
            "memcheck: a global access to shared memory: 4 bytes at +0",
        ),
        ("ld.param.u32 %r1, [value+8];", "memcheck: access past parameter memory: 4 bytes at +24 of 20"),
        ("cvta.param.u64 %d2, value; st.u32 [%d2], 1;", "memcheck: a write to parameter memory"),
        ("discard.global.L2 [%d0+64], 128;", "memcheck: misaligned access: 128 bytes"),
        ("ld.global.b128 %q1, [%d0+8];", "memcheck: misaligned access: 16 bytes"),
        ("st.relaxed.gpu.global.b128 [%d0+8], %q1;", "memcheck: misaligned access: 16 bytes"),
        ("st.b128 [%d0+1024], 0;", "memcheck: access past an allocation: 16 bytes at +1024 of argument 0"),
        (
            ".shared .align 16 .b8 s[24]; ld.shared.b128 %q1, [s+16];",
            "memcheck: access past shared memory: 16 bytes at +16 of 24",
        ),
        ("ld.global.u32 %r1, [%d0+-4];", "memcheck: access before an allocation: 4 bytes at -4 of argument 0"),
    ];
    for (body, expected) in cases {
        let message = error(body);
        assert!(message.contains(expected), "{body}\n{message}");
    }
    // A guard that only some lanes pass: the first of them that strays is named.
    let message = error(
        "setp.gt.u32 %p1, %r0, 6; mul.wide.u32 %d2, %r0, 128; add.u64 %d2, %d2, %d0; @%p1 st.volatile.u32 [%d2], 1;",
    );
    assert!(message.contains("thread (8, 0, 0)"), "{message}");
    let run = Run { before: ".const .b32 c[4];", body: "cvta.const.u64 %d2, c; st.u32 [%d2], 1;", ..Run::default() };
    assert!(run.go(&[0; 4]).unwrap_err().starts_with("memcheck: a write to constant memory: 4 bytes at +0 of 16"));
    let run = Run { body: "mov.u64 %d3, c; add.u64 %d3, %d3, 16; ld.const.u32 %r1, [%d3];", ..run };
    assert!(run.go(&[0; 4]).unwrap_err().starts_with("memcheck: access past constant memory: 4 bytes at +16 of 16"));
    let run = Run { body: "ld.const.u32 %r1, [%d0];", ..run };
    assert!(run.go(&[0; 4]).unwrap_err().starts_with("memcheck: a constant or parameter access outside its space"));
}

/// What is refused at load.
#[test]
fn refused() {
    let cases = [
        ("ld.shared.u32 %r1, [data];", "`data` here: it lies in `.param`"),
        (".local .b32 l; ld.global.u32 %r1, [l];", "`l` here: it lies in `.local`"),
        ("ld.global.u32 %r1, [nowhere];", "`nowhere`: the module does not define it"),
        ("ld.global.v4.u64 {%d1, %d2, %d3, %d4}, [%d0];", "at most 16 bytes"),
        ("ld.global.f16 %h1, [%d0];", "`ld.global.f16`"),
        ("ld.mmio.relaxed.sys.v2.u32 {%r1, %r2}, [%d0];", "`ld.mmio.relaxed.sys.v2.u32`"),
        ("st.const.u32 [%d0], %r1;", "`st.const.u32`"),
        ("ld.global.v2.b128 {%q1, %q2}, [%d0];", "`ld.global.v2.b128`"),
        ("ld.global.b128 %d1, [%d0];", "no 128-bit register here"),
        ("ld.global.b64 %q1, [%d0];", "registers of type `.b128`"),
        ("st.global.b128 [%d0], -1;", "no 128-bit register here"),
        ("cvta.shared.u32 %r1, %r2;", "32-bit generic addresses"),
    ];
    for (body, expected) in cases {
        let message = error(body);
        assert!(message.contains(expected), "{body}\n{message}");
    }
}
