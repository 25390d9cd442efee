//! Random numbers that repeat, and how long to try what comes of them.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::{Duration, Instant};

/// SplitMix64: Steele, Lea and Flood 2014, OOPSLA.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }

    pub fn pick<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

/// Whether it was asked to look longer than in `make test`.
#[allow(dead_code)] // not everybody who shares this file asks
pub fn long() -> bool {
    number("OMEGA_FUZZ_SECONDS").is_some()
}

/// Makes cases and tries them for so many seconds, or for `OMEGA_FUZZ_SECONDS`. The short run is the same every time as far as
/// it comes, the long one never. One that fails, or takes 5 seconds, is printed with its number: as `OMEGA_FUZZ_SEED` it is the
/// first.
pub fn repeat<T: std::fmt::Display>(
    seconds: u64,
    make: impl Fn(&mut Random) -> T,
    mut test: impl FnMut(&T, &mut Random),
) {
    let from = match (number("OMEGA_FUZZ_SEED"), long()) {
        (Some(seed), _) => seed,
        (None, true) => u64::from(std::process::id()) << 32,
        (None, false) => 1 << 32,
    };
    let end = Instant::now() + Duration::from_secs(number("OMEGA_FUZZ_SECONDS").unwrap_or(seconds));
    let mut count = 0;
    for number in from.. {
        if Instant::now() > end {
            break;
        }
        let mut random = Random(number);
        let case = make(&mut random);
        let start = Instant::now();
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| test(&case, &mut random))) {
            eprintln!("OMEGA_FUZZ_SEED={number}:\n{case}");
            resume_unwind(panic);
        }
        assert!(start.elapsed() < Duration::from_secs(5), "{:?}, OMEGA_FUZZ_SEED={number}:\n{case}", start.elapsed());
        count += 1;
    }
    println!("{count} cases");
}
