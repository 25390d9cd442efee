//! `softgpu coverage`: the page that the instruction table makes.

use std::process::ExitCode;

pub fn coverage() -> Result<ExitCode, String> {
    super::print(softgpu::coverage_page())?;
    Ok(ExitCode::SUCCESS)
}
