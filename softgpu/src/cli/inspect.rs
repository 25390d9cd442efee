//! `softgpu inspect`: what a PTX file has, and what of it softgpu cannot run.

use std::path::Path;
use std::process::ExitCode;

use softgpu::image::Resources;

use super::{REFUSED, print, read_image, say};

pub fn inspect(file: &Path) -> Result<ExitCode, String> {
    let image = read_image(file)?;
    let found = softgpu::inspect(&image.ptx).map_err(|error| format!("{}: {error}", file.display()))?;
    let mut page = String::new();
    for kernel in &found.kernels {
        page += &format!("{}\n", kernel.name);
        for (number, p) in kernel.parameters.iter().enumerate() {
            let (ty, name, bytes, at) = (&p.ty, &p.name, p.bytes, p.offset);
            page += &format!("  parameter {number:<2} {ty:<9} {name:<40} {bytes:>6} bytes at {at}\n");
        }
        page += &format!(
            "  {} instructions, {} registers of 32 bits, {} of 64, {} predicates\n  shared {} bytes{}, local {} bytes a thread\n",
            kernel.instructions,
            kernel.words,
            kernel.doubles,
            kernel.predicates,
            kernel.shared_bytes,
            if kernel.dynamic_shared { " and what the launch gives (--smem)" } else { "" },
            kernel.local_bytes
        );
        for (arch, kernels) in &image.cubins {
            if let Some(Resources { registers, shared_bytes }) = kernels.get(&kernel.name) {
                page += &format!("  sm_{arch:<4}{registers:>4} registers a thread, shared {shared_bytes} bytes\n");
            }
        }
    }
    print(&page)?;
    let refused: Vec<_> = found.kernels.iter().filter(|kernel| !kernel.unsupported.is_empty()).collect();
    for kernel in &refused {
        kernel.unsupported.iter().for_each(|error| say(&format!("{}: `{}`, {error}", file.display(), kernel.name)));
    }
    if refused.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    say(&format!("softgpu cannot run {} of {} kernels", refused.len(), found.kernels.len()));
    Ok(ExitCode::from(REFUSED))
}

pub fn disassemble(file: &Path) -> Result<ExitCode, String> {
    let text =
        softgpu::disassemble(&read_image(file)?.ptx, true).map_err(|error| format!("{}: {error}", file.display()))?;
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}
