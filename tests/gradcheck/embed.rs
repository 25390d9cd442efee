use omega::device::Device;
use omega::ops::embed::{EmbedIndex, embed};
use omega::reference::embed::{Lookup, backward as reference_backward, forward};
use omega::rng::Dropout;
use omega::tape::Tape;
use omega::tensor::DType;

use crate::common::tape::{RNG, backward, parameter, parameter_of};
use crate::common::{HALVES, check_close, check_differences, check_half, devices, random, rounded, to_f32};

const TOKENS: [u32; 9] = [4, 0, 4, 7, 2, 4, 0, 9, 2];
const POSITIONS: [u32; 9] = [2, 3, 4, 2, 3, 4, 5, 6, 7];

fn factors(drop: Dropout, len: usize) -> Vec<f64> {
    (0..len).map(|i| f64::from(drop.factor(RNG, i as u64))).collect()
}

#[test]
fn reference_against_central_differences() {
    let (v, c) = (10, 3);
    let (table, position_table, dy) = (random(v * c, 1), random(8 * c, 2), random(9 * c, 3));
    let factor = factors(Dropout { p: 0.2, site: 2 }, 9 * c);
    let l = Lookup {
        tokens: &TOKENS,
        positions: &POSITIONS,
        position_table: &position_table,
        factor: &factor,
        scale: 1.7,
        width: c,
    };
    check_differences(&[table], &[reference_backward(v, &l, &dy)], 1e-8, |i| {
        forward(&i[0], &l).iter().zip(&dy).map(|(y, g)| y * g).sum()
    });
}

/// One size, with all that a run takes.
struct Case {
    n: usize,
    v: usize,
    c: usize,
    tokens: Vec<u32>,
    positions: Vec<u32>,
    table: Vec<f64>,
    position_table: Vec<f64>,
    dy: Vec<f64>,
    drop: Dropout,
}

impl Case {
    fn new((n, v, c, p): (usize, usize, usize, f32)) -> Case {
        Case {
            n,
            v,
            c,
            tokens: (0..n).map(|t| TOKENS[t % 9] % v as u32).collect(),
            positions: (0..n).map(|t| POSITIONS[t % 9]).collect(),
            table: random(v * c, 1),
            position_table: random(8 * c, 2),
            dy: random(n * c, 3),
            drop: Dropout { p, site: 2 },
        }
    }

    fn scale(&self) -> f64 {
        f64::from((self.c as f32).sqrt())
    }

    /// y and dtable, of `uses` look-ups in the same table.
    fn run(&self, dev: &Device, dtype: DType, accumulate: bool, uses: usize) -> [Vec<f32>; 2] {
        let index = EmbedIndex::new(dev, &self.tokens, &self.positions).unwrap();
        let positions = dev.upload_as(&to_f32(&self.position_table), &[8, self.c], dtype).unwrap();
        let mut tape = Tape::new(dev, RNG, true).with_dtype(dtype);
        let (e, de) = parameter_of(&mut tape, dev, &self.table, &[self.v, self.c], (dtype, dtype), accumulate);
        let mut look = || embed(&mut tape, e, &index, &positions, self.scale() as f32, self.drop).unwrap();
        let ys: Vec<_> = (0..uses).map(|_| look()).collect();
        let got = dev.read_wide(tape.value(ys[0])).unwrap();
        backward(&mut tape, dev, &ys.iter().map(|y| (*y, self.dy.as_slice())).collect::<Vec<_>>());
        [got, dev.read_wide(&de).unwrap()]
    }

    /// The same of operands as `dtype` holds them.
    fn want(&self, dtype: DType) -> [Vec<f64>; 2] {
        let [table, position_table, dy] =
            [&self.table, &self.position_table, &self.dy].map(|values| rounded(values, dtype));
        let lookup = Lookup {
            tokens: &self.tokens,
            positions: &self.positions,
            position_table: &position_table,
            factor: &factors(self.drop, self.n * self.c),
            scale: self.scale(),
            width: self.c,
        };
        [forward(&table, &lookup), reference_backward(self.v, &lookup, &dy)]
    }
}

/// Widths of one column and of several accesses, with and without a tail; of 150 and 2,600 tokens some come more than 32
/// times, which takes the other path, and of 2,600 more than 32 times for each of its 16 warps.
const SIZES: [(usize, usize, usize, f32); 6] = [
    (1, 5, 1, 0.0),
    (9, 10, 33, 0.0),
    (150, 10, 68, 0.3),
    (150, 10, 264, 0.3),
    (2600, 10, 40, 0.1),
    (2600, 10, 3, 0.0),
];

#[test]
fn device_against_reference() {
    for dev in devices() {
        for size in SIZES {
            let case = Case::new(size);
            let first = case.run(&dev, DType::F32, false, 1);
            assert_eq!(first, case.run(&dev, DType::F32, false, 1), "two runs, the same bits");
            assert_eq!(first, case.run(&dev, DType::F32, true, 1), "adding to zeros");
            // Measured: 3e-7 of the maximum.
            for ((name, got), want) in ["y", "dtable"].iter().zip(&first).zip(&case.want(DType::F32)) {
                check_close(&format!("{name} of {size:?}"), got, want, 1e-6);
            }
        }
        let tables = dev.upload(&[0.0_f32; 8], &[4, 2]).unwrap();
        let mut tape = Tape::new(&dev, RNG, false);
        let (e, _) = parameter(&mut tape, &dev, &[0.0; 8], &[4, 2], false);
        let index = EmbedIndex::new(&dev, &[4], &[0]).unwrap();
        assert!(embed(&mut tape, e, &index, &tables, 1.0, Dropout::NONE).is_err(), "token 4 of 4");
        assert!(EmbedIndex::new(&dev, &[], &[]).is_err());
        let index = EmbedIndex::new(&dev, &[3], &[0]).unwrap();
        let halves = dev.upload_as(&[0.0; 8], &[4, 2], DType::F16).unwrap();
        let message = embed(&mut tape, e, &index, &halves, 1.0, Dropout::NONE).unwrap_err().to_string();
        assert!(message.contains("`positions` is of f16, expected f32"), "{message}");
    }
}

/// As encoder and decoder that share a table do: its gradient comes twice, the first time in place of what was there.
#[test]
fn two_uses_double_the_gradient() {
    for dev in devices() {
        for size in [SIZES[1], SIZES[4]] {
            let case = Case::new(size);
            let [once, twice] = [1, 2].map(|uses| case.run(&dev, DType::F32, false, uses));
            let doubled: Vec<f32> = once[1].iter().map(|v| 2.0 * v).collect();
            assert_eq!((&once[0], &doubled), (&twice[0], &twice[1]), "{size:?}");
        }
    }
}

/// Measured: at most 1.0 of the error of rounding once.
#[test]
fn half_types_against_reference() {
    for (dev, dtype) in devices().iter().flat_map(|dev| HALVES.map(|dtype| (dev, dtype))) {
        for size in SIZES {
            let case = Case::new(size);
            let got = case.run(dev, dtype, false, 1);
            assert_eq!(got, case.run(dev, dtype, true, 1), "adding to zeros, and two runs, the same bits");
            let (exact, of_rounded) = (case.want(DType::F32), case.want(dtype));
            for (k, name) in ["y", "dtable"].into_iter().enumerate() {
                check_half(&format!("{name} of {size:?}"), &got[k], &exact[k], &of_rounded[k], dtype);
            }
        }
    }
}
