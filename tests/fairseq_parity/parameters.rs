//! What needs no kernel: names and shapes of parameters, the flat buffers, positions, the file of ω.

use std::collections::BTreeMap;
use std::path::PathBuf;

use omega::device::{Allocation, Device};
use omega::model::admin::Omegas;
use omega::model::params::Params;
use omega::model::{Stack, admin, positions};
use omega::tensor::DType;

use crate::fixture::{ModelFolder, folders_with, tensors};

/// The model declares exactly the original's parameters, and the flat buffers return each to the bit.
#[test]
fn parameters_are_the_originals_by_name_shape_and_value() {
    let dev = Device::soft(Allocation::Arena);
    for folder in ModelFolder::all() {
        let theirs = folder.params();
        let specs = folder.config.specs();
        let ours: BTreeMap<_, _> = specs.iter().map(|spec| (spec.name.clone(), spec.shape.clone())).collect();
        let expected: BTreeMap<_, _> = theirs.iter().map(|(name, array)| (name.clone(), array.shape.clone())).collect();
        assert_eq!(ours, expected, "{}", folder.path.display());
        let params = Params::new(&dev, specs, DType::F32).unwrap();
        for (name, array) in &theirs {
            params.write(name, &array.f32s()).unwrap();
        }
        for (name, array) in &theirs {
            assert_eq!(params.read(name).unwrap(), array.f32s(), "{}: {name}", folder.path.display());
        }
    }
}

/// Position rows as recorded. Measured: 6.0e-8 at most, one rounding of a value near 1.
#[test]
fn positions_are_the_originals() {
    let files = folders_with("d64.safetensors");
    assert!(!files.is_empty());
    for folder in files {
        let file = tensors(&folder.join("d64.safetensors"));
        let (rows, index) = (&file["table_rows"], &file["row_index"].data);
        let last = index.iter().fold(0.0f64, |a, b| a.max(*b)) as usize;
        let d = rows.shape[1];
        let table = positions::table(last + 1, d);
        let mut worst = 0.0f64;
        for (at, position) in index.iter().map(|p| *p as usize).enumerate() {
            for (got, expected) in table[position * d..][..d].iter().zip(rows.row(at)) {
                worst = worst.max((f64::from(*got) - expected).abs());
            }
        }
        println!("positions: {worst:.1e}");
        assert!(worst < 2e-7, "{}: {worst}", folder.display());
    }
}

/// The original's ω files are read, fit the depth, equal the recorded ω of `profiling` folders, and are written back
/// to the same numbers.
#[test]
fn omega_files_are_the_originals() {
    let folders: Vec<PathBuf> = folders_with("profile.ratio.init");
    assert!(!folders.is_empty());
    for folder in ModelFolder::all().into_iter().filter(|folder| folders.contains(&folder.path)) {
        let omegas = Omegas::load(&folder.path.join("profile.ratio.init"), &folder.config).unwrap();
        let copy = tempfile::NamedTempFile::new().unwrap();
        omegas.save(copy.path()).unwrap();
        assert_eq!(Omegas::load(copy.path(), &folder.config).unwrap(), omegas);
        if folder.json["init_type"] != "adaptive-profiling" {
            continue;
        }
        let params = folder.params();
        for stack in [Stack::Encoder, Stack::Decoder] {
            for (index, omega) in omegas.stack(stack).iter().enumerate() {
                let recorded = params[&admin::omega_name(stack, index)].f32s();
                assert!(recorded.iter().all(|v| v == omega), "{}: sublayer {index}", folder.path.display());
            }
        }
    }
}
