//! Counter-based random numbers: Philox 4×32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3").
//!
//! The same function stands in `kernels/common.cuh`; a number depends on (seed, counter) only, so it is the same
//! on every device, for every thread count, and after a resume.

/// Round multipliers and key increments (Weyl sequence) of Philox 4×32, Salmon et al. 2011, table 2 and section 4.
const MULTIPLIER: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
const WEYL: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];

/// Ten rounds of Philox 4×32 on `counter` under `key`.
pub fn philox4x32(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    for _ in 0..10 {
        let a = u64::from(MULTIPLIER[0]) * u64::from(counter[0]);
        let b = u64::from(MULTIPLIER[1]) * u64::from(counter[2]);
        counter = [(b >> 32) as u32 ^ counter[1] ^ key[0], b as u32, (a >> 32) as u32 ^ counter[3] ^ key[1], a as u32];
        key = [key[0].wrapping_add(WEYL[0]), key[1].wrapping_add(WEYL[1])];
    }
    counter
}

/// Seed of a run and the number of the micro-batch within it: all that dropout depends on besides site and element.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RngState {
    pub seed: u64,
    pub step: u32,
}

impl RngState {
    /// The seed as Philox key: low word, high word.
    pub fn key(self) -> [u32; 2] {
        [self.seed as u32, (self.seed >> 32) as u32]
    }
}

/// Chance to drop, and the place in the model that asks: two places never share random numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dropout {
    pub p: f32,
    pub site: u32,
}

impl Dropout {
    /// Keep everything; no random number is drawn.
    pub const NONE: Dropout = Dropout { p: 0.0, site: 0 };

    /// A word below this drops its element: ⌊p·2³²⌋.
    pub fn threshold(self) -> u32 {
        (f64::from(self.p) * 4_294_967_296.0) as u32
    }

    /// Factor of the kept elements, 1/(1 − p).
    pub fn scale(self) -> f32 {
        1.0 / (1.0 - self.p)
    }

    /// Factor of element `element` in `rng`'s step: 0 or [`Dropout::scale`]. The kernels compute the same.
    pub fn factor(self, rng: RngState, element: u64) -> f32 {
        if self.p == 0.0 {
            return 1.0;
        }
        let group = element / 4;
        let words = philox4x32([group as u32, (group >> 32) as u32, self.site, rng.step], rng.key());
        if words[(element % 4) as usize] < self.threshold() { 0.0 } else { self.scale() }
    }
}

/// A sequence of random numbers on the host, for initialisation and shuffling. Each `stream` is independent.
pub struct Stream {
    key: [u32; 2],
    stream: u64,
    block: u64,
    words: [u32; 4],
    used: usize,
}

impl Stream {
    /// Numbers of `stream` under `seed`.
    pub fn new(seed: u64, stream: u64) -> Self {
        Stream { key: [seed as u32, (seed >> 32) as u32], stream, block: 0, words: [0; 4], used: 4 }
    }

    /// Uniform over all 32-bit words.
    pub fn word(&mut self) -> u32 {
        if self.used == 4 {
            let (block, stream) = (self.block, self.stream);
            self.words =
                philox4x32([block as u32, (block >> 32) as u32, stream as u32, (stream >> 32) as u32], self.key);
            self.block += 1;
            self.used = 0;
        }
        self.used += 1;
        self.words[self.used - 1]
    }

    /// Uniform in [0, 1) with 53 random bits.
    pub fn uniform(&mut self) -> f64 {
        let (high, low) = (u64::from(self.word()), u64::from(self.word()));
        ((high << 32 | low) >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Normal with mean 0 and variance 1 (Box and Muller 1958).
    pub fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform()).cos()
    }

    /// Uniform integer in `0..bound`, without bias (Lemire 2019, arXiv:1805.10941).
    pub fn below(&mut self, bound: u32) -> u32 {
        assert!(bound > 0, "an empty range has no number");
        let reject = bound.wrapping_neg() % bound;
        loop {
            let product = u64::from(self.word()) * u64::from(bound);
            if product as u32 >= reject {
                return (product >> 32) as u32;
            }
        }
    }

    /// Random order (Fisher and Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last as u32 + 1) as usize);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Known answers published with the generator (Random123, `kat_vectors`, philox4x32 10).
    #[test]
    fn philox_known_answers() {
        assert_eq!(philox4x32([0; 4], [0; 2]), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        assert_eq!(philox4x32([u32::MAX; 4], [u32::MAX; 2]), [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]);
    }

    #[test]
    fn normal_has_its_moments() {
        let mut stream = Stream::new(7, 0);
        let draws: Vec<f64> = (0..20_000).map(|_| stream.normal()).collect();
        let mean = draws.iter().sum::<f64>() / draws.len() as f64;
        let var = draws.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / draws.len() as f64;
        assert!(mean.abs() < 0.03 && (var - 1.0).abs() < 0.04, "mean {mean}, variance {var}"); // about 4 standard errors
    }

    #[test]
    fn shuffle_is_a_permutation_that_depends_on_the_seed() {
        let order = |seed| {
            let mut items: Vec<u32> = (0..50).collect();
            Stream::new(seed, 0).shuffle(&mut items);
            items
        };
        let mut sorted = order(1);
        sorted.sort_unstable();
        assert_eq!(sorted, (0..50).collect::<Vec<_>>());
        assert_ne!(order(1), order(2));
    }
}
