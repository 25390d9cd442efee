//! Mutated command lines are taken or refused in words, never with a panic. `make fuzz` looks longer. Nothing is run: the
//! names of outputs are mutated too.

use clap::Parser;
use softgpu::ParameterInfo;

use super::args::{self, Arg};
use super::{Action, Command};

#[path = "../../tests/fuzz/random.rs"]
mod random;

use random::{Random, repeat};

/// What a command line is made of, and numbers at the edges.
#[rustfmt::skip]
const WORDS: &[&str] = &[
    "run", "inspect", "coverage", "exec", "k.ptx", "-", "--", "saxpy", "--grid", "--block", "--smem", "--registers", "--budget",
    "--buffer", "--reloc", "--check", "--counters", "--seed", "--disassemble", "--help", "--version", "1", "2,3", "4,5,6", "0", "-1",
    "1,,1", "4294967295", "4294967296", "18446744073709551616", "all", "memcheck,racecheck", ",", "c.json", "u8:255", "i8:-128",
    "i64:-9223372036854775808", "u64:0xffffffffffffffff", "u32:+7", "f32:0x7fc00000", "f32:1e400", "f64:-inf", "f64:nan", "bytes:00ff",
    "bytes:0x", "null", "in:x.bin", "out:r.bin:4", "out::4", "out:r.bin:18446744073709551615", "inout:a:b:c", "scratch:16", "a=out:x:8",
    "a=scratch:4", "=scratch:4", "0+8=a", "a+0x10=b", "a+18446744073709551615=a", "+=", "ä:ß", "u16:𝟏", "bytes:é0",
];

fn line(random: &mut Random) -> String {
    let start = random.pick(&["run k.ptx k --grid 1 --block 1", "exec", "inspect k.ptx", "run", ""]);
    let mut words: Vec<String> = start.split_whitespace().map(str::to_owned).collect();
    for _ in 0..random.below(8) {
        let mut word = random.pick(WORDS).to_owned();
        let other = random.pick(WORDS);
        let cut = |text: &str, at: usize| text.char_indices().map(|(at, _)| at).nth(at).unwrap_or(text.len());
        let (at, to) = (cut(&word, random.below(12)), cut(other, random.below(12)));
        match random.below(8) {
            0 => word.insert_str(at, &other[to..]),
            1 => word.truncate(at),
            2 => word = format!("{word}={other}"),
            3 => word.insert(at, random.pick(&['0', ':', '+', '=', ',', 'x', '-', '\u{301}'])),
            _ => {}
        }
        let at = if random.below(4) == 0 { random.below(words.len() + 1) } else { words.len() };
        words.insert(at, word);
    }
    words.join(" ")
}

fn said<T>(outcome: Result<T, String>) -> Option<T> {
    outcome.map_err(|error| assert!(!error.is_empty() && !error.contains('\n'), "{error:?}")).ok()
}

/// Everything that `run` reads of its words before it looks at a file.
fn read(texts: &[String]) {
    let mut given = Vec::new();
    for text in texts {
        given.extend(said(args::arg(text)).map(|arg| (text.as_str(), arg)));
        said(args::dimensions(text));
        said(args::checkers(text));
        if let Some((target, _)) = said(args::named(text, "NAME=SPEC")) {
            said(args::place(target));
        }
        if let Some(buffer) = said(args::buffer(text)) {
            assert!(buffer.input.is_none() || buffer.bytes == 0, "a file says its size: {text}");
        }
    }
    for (text, arg) in &given {
        let (kind, value) = text.split_once(':').unwrap_or((text, ""));
        let Arg::Value(bytes) = arg else { continue };
        match kind.get(1..).and_then(|bits| bits.parse::<usize>().ok()) {
            Some(bits) => assert_eq!(bytes.len() * 8, bits, "{text}"),
            None => assert!(kind == "null" || value.trim_start_matches("0x").len() == 2 * bytes.len(), "{text}"),
        }
        let ty = some_type(bytes.len());
        let takes = ParameterInfo { name: "p".into(), ty: ty.into(), bytes: 8, offset: 0 };
        let fits = args::check("k", &[(*text, arg.clone())], &[takes]);
        assert!(fits.is_err() || bytes.len() == 8, "{text} for {ty}");
    }
}

fn some_type(bytes: usize) -> &'static str {
    [".b64", ".u64", ".s64", ".f64"][bytes % 4]
}

#[test]
fn mutated_command_lines_are_taken_or_refused() {
    repeat(1, line, |line, _| {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        read(&words);
        match Command::try_parse_from(["softgpu".to_owned()].iter().chain(&words)) {
            Err(usage) => assert!(!usage.to_string().is_empty()),
            Ok(Command { action: Action::Run(run) }) => {
                read(&run.args);
                assert!(run.budget > 0 && run.registers.is_none_or(|n| (1..=255).contains(&n)));
            }
            Ok(_) => {}
        }
    });
}
