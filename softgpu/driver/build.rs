//! Names the shared object as the driver is named, and lays out the folder that stands on a library path:
//! `target/<profile>/softgpu-driver/` with `libcuda.so.1`, `libcublas.so.13`, … as links to the one object. The loader
//! knows a file by its inode, so all names together are loaded once and share one device.

use std::error::Error;
use std::path::PathBuf;
use std::{env, fs};

const NAMES: [&str; 8] = [
    "libcuda.so",
    "libcuda.so.1",
    "libcublas.so",
    "libcublas.so.12",
    "libcublas.so.13",
    "libcublasLt.so",
    "libcublasLt.so.12",
    "libcublasLt.so.13",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libcuda.so");
    // Its threads, and what it does at the end of the process, outlive a dlclose.
    println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
    // OUT_DIR is target/<profile>/build/<package>/out.
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let profile = out.ancestors().nth(3).ok_or("OUT_DIR is not where cargo puts it")?;
    let folder = profile.join("softgpu-driver");
    fs::create_dir_all(&folder)?;
    #[cfg(unix)]
    for name in NAMES {
        let link = folder.join(name);
        if fs::symlink_metadata(&link).is_err() {
            // Not target/<profile>/: a library there is on the path of every `cargo test`.
            std::os::unix::fs::symlink("../deps/libsoftgpu_driver.so", link)?;
        }
    }
    Ok(())
}
