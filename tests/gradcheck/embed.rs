use omega::ops::embed::{EmbedIndex, embed};
use omega::reference::embed::{Lookup, backward as reference_backward, forward};
use omega::rng::Dropout;
use omega::tape::Tape;

use crate::common::tape::{RNG, backward, parameter};
use crate::common::{check_close, check_differences, devices, random, to_f32};

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

#[test]
fn device_against_reference() {
    for dev in devices() {
        for (n, v, c, p) in [(1, 5, 1, 0.0), (9, 10, 33, 0.0), (150, 10, 68, 0.3)] {
            let tokens: Vec<u32> = (0..n).map(|t| TOKENS[t % 9] % v as u32).collect();
            let positions: Vec<u32> = (0..n).map(|t| POSITIONS[t % 9]).collect();
            let (table, position_table, dy) = (random(v * c, 1), random(8 * c, 2), random(n * c, 3));
            let drop = Dropout { p, site: 2 };
            let factor = factors(drop, n * c);
            let (tokens_ref, positions_ref) = (&tokens, &positions);
            let scale = (c as f64).sqrt();
            #[rustfmt::skip]
            let l = Lookup { tokens: tokens_ref, positions: positions_ref, position_table: &position_table, factor: &factor, scale, width: c };
            let index = EmbedIndex::new(&dev, &tokens, &positions).unwrap();
            let table_of_positions = dev.upload(&to_f32(&position_table), &[8, c]).unwrap();
            let run = |accumulate: bool| {
                let mut tape = Tape::new(&dev, RNG, true);
                let (e, de) = parameter(&mut tape, &dev, &table, &[v, c], accumulate);
                let y = embed(&mut tape, e, &index, &table_of_positions, scale as f32, drop).unwrap();
                let got = dev.read::<f32>(tape.value(y)).unwrap();
                backward(&mut tape, &dev, &[(y, &dy)]);
                [got, dev.read::<f32>(&de).unwrap()]
            };
            let first = run(false);
            assert_eq!(first, run(false), "two runs, the same bits");
            assert_eq!(first, run(true), "adding to zeros");
            // Measured: 2e-7 of the maximum.
            check_close("y", &first[0], &forward(&table, &l), 1e-6);
            check_close("dtable", &first[1], &reference_backward(v, &l, &dy), 1e-6);
        }
        let tables = dev.upload(&[0.0_f32; 8], &[4, 2]).unwrap();
        let mut tape = Tape::new(&dev, RNG, false);
        let (e, _) = parameter(&mut tape, &dev, &[0.0; 8], &[4, 2], false);
        let index = EmbedIndex::new(&dev, &[4], &[0]).unwrap();
        assert!(embed(&mut tape, e, &index, &tables, 1.0, Dropout::NONE).is_err(), "token 4 of 4");
        assert!(EmbedIndex::new(&dev, &[], &[]).is_err());
    }
}
