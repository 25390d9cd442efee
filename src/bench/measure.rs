//! The check of an op, and the figures of its kernels: times on the device, counts on softgpu, and what `ptxas` said.

use std::collections::BTreeMap;

use softgpu::chips::{ARCHS, CHIPS, Occupancy, Roofline, occupancy, roofline};
use softgpu::counters::{Counters, Traffic};

use super::case::{Case, Work};
use super::{Op, Shape};
use crate::device::Device;
use crate::device::kernels::{KernelResources, RESOURCES};
use crate::error::{Error, Result};
use crate::numbers::median;
use crate::tensor::DType;

/// Bytes of a sector, the unit in which global memory is moved.
const SECTOR: u64 = 32;

/// What is wanted of a kernel.
#[derive(Clone, Copy)]
pub struct Want {
    pub times: bool,
    pub counters: bool,
    /// One run suffices.
    pub once: bool,
}

/// Figures of one kernel at one size and type.
pub struct Row {
    pub op: &'static str,
    /// With its type: `embed_fwd_f16`; a product's name is no kernel's.
    pub kernel: String,
    pub dtype: DType,
    pub shape: String,
    /// Launches in one run of the op, forward and backward.
    pub launches: u64,
    /// Of all of them; the median of several runs.
    pub ms: Option<f64>,
    /// What must be moved, if the op's bench has a formula for this kernel.
    pub work: Option<Work>,
    pub counted: Option<Counted>,
    pub why: Option<&'static str>,
}

/// What softgpu counted, perhaps at a smaller size.
pub struct Counted {
    pub shape: String,
    pub work: Option<Work>,
    pub launches: Vec<Counters>,
}

impl Counted {
    fn sum(&self, of: impl Fn(&Counters) -> u64) -> u64 {
        self.launches.iter().map(of).sum()
    }

    fn global(&self, of: impl Fn(&Traffic) -> u64) -> u64 {
        self.sum(|c| [&c.total.global_loads, &c.total.global_stores].into_iter().map(&of).sum())
    }

    fn shared(&self, of: impl Fn(&Traffic) -> u64) -> u64 {
        self.sum(|c| [&c.total.shared_loads, &c.total.shared_stores].into_iter().map(&of).sum())
    }

    /// Sectors that warps asked for, as bytes: what is moved if no cache ever hits.
    pub fn moved_bytes(&self) -> u64 {
        self.global(|t| t.sectors) * SECTOR
    }

    /// Sectors that a launch touched at all, as bytes: what is moved if every cache hits.
    pub fn footprint_bytes(&self) -> u64 {
        self.sum(|c| c.footprint_read + c.footprint_written)
    }

    /// Moved over compulsory bytes, if there is a formula.
    pub fn ratio(&self) -> Option<f64> {
        let work = self.work.filter(|work| work.bytes > 0)?;
        Some(self.moved_bytes() as f64 / work.bytes as f64)
    }

    pub fn sector_efficiency(&self) -> f64 {
        let sectors = self.global(|t| t.sectors);
        if sectors == 0 { 1.0 } else { self.global(|t| t.bytes_distinct) as f64 / (sectors * SECTOR) as f64 }
    }

    /// Extra passes over the banks per access of a warp.
    pub fn bank_conflicts_per_access(&self) -> f64 {
        self.shared(Traffic::bank_conflicts) as f64 / self.shared(|t| t.requests).max(1) as f64
    }

    /// Of the passes over the banks, those that conflicts cost.
    pub fn bank_conflict_share(&self) -> f64 {
        self.shared(Traffic::bank_conflicts) as f64 / self.shared(|t| t.wavefronts).max(1) as f64
    }

    /// Instructions of threads per element.
    pub fn instructions_per_element(&self) -> Option<f64> {
        let work = self.work.filter(|work| work.elements > 0)?;
        Some(self.sum(|c| c.total.thread_instructions) as f64 / work.elements as f64)
    }

    /// Static and dynamic, of a block: the largest.
    pub fn shared_bytes(&self) -> u64 {
        self.launches.iter().map(|c| c.shared_bytes).max().unwrap_or(0)
    }

    fn threads(&self) -> u32 {
        self.launches.iter().map(|c| c.block.iter().product()).max().unwrap_or(0)
    }

    /// The estimate for each chip: the least time that its peaks allow for what was counted, launches added up.
    pub fn rooflines(&self) -> Vec<Roofline> {
        let of_chip = |chip| {
            let mut each = self.launches.iter().map(|counters| roofline(chip, counters));
            let first = each.next()?;
            Some(each.fold(first, |sum, one| Roofline {
                estimated_seconds: sum.estimated_seconds + one.estimated_seconds,
                ..sum
            }))
        };
        CHIPS.iter().filter_map(of_chip).collect()
    }
}

impl Row {
    /// A kernel of which nothing was measured.
    pub fn named(op: &'static str, kernel: &str) -> Row {
        let (shape, dtype) = (String::new(), DType::F32);
        Row { op, kernel: kernel.to_owned(), dtype, shape, launches: 0, ms: None, work: None, counted: None, why: None }
    }

    /// The kernel's name without its type and size.
    pub fn family(&self) -> &str {
        family(&self.kernel, self.dtype)
    }

    /// What `ptxas` said of the kernel for `arch`; nothing in a debug build.
    pub fn resources(&self, arch: &str) -> Option<&'static KernelResources> {
        RESOURCES.iter().find(|row| row.kernel == self.kernel && row.arch == arch)
    }

    /// Most registers, and bytes of spills in all, over the architectures.
    pub fn worst_resources(&self) -> Option<(u32, u32)> {
        let rows = || RESOURCES.iter().filter(|row| row.kernel == self.kernel);
        let spills = rows().map(|row| row.spill_store_bytes + row.spill_load_bytes).sum();
        Some((rows().map(|row| row.registers).max()?, spills))
    }

    pub fn occupancy(&self, arch: &str) -> Option<Occupancy> {
        let (counted, resources) = (self.counted.as_ref()?, self.resources(arch)?);
        let arch = ARCHS.iter().find(|a| a.name == arch)?;
        Some(occupancy(arch, counted.threads(), resources.registers, counted.shared_bytes()))
    }
}

/// `attention_fwd` of `attention_fwd_64_f16`: without the type, and the size that a kernel is made for.
fn family(kernel: &str, dtype: DType) -> &str {
    let stem = kernel.strip_suffix(dtype.suffix()).and_then(|stem| stem.strip_suffix('_')).unwrap_or(kernel);
    let without = stem.trim_end_matches(|c: char| c.is_ascii_digit());
    without.strip_suffix('_').filter(|_| without.len() < stem.len()).unwrap_or(stem)
}

/// Fails unless the op equals its reference at the odd shapes; says how well it does on stderr.
pub fn check(dev: &Device, op: &Op, dtype: DType) -> Result<()> {
    let (mut shapes, mut worst) = (0, 0.0_f64);
    for number in 0..(op.sizes)(&Shape::Small).unwrap_or(0) {
        let mut case = (op.case)(dev, &Shape::Small, number, dtype, false)?;
        for figure in case.check(dev)? {
            if !figure.passes() {
                return Err(Error::device(format!(
                    "{} {} {}: `{}` is {:.1e} of its maximum away from the reference, bound {:.0e}; no figures",
                    op.name,
                    dtype.suffix(),
                    case.shape(),
                    figure.name,
                    figure.error,
                    figure.bound,
                )));
            }
            worst = worst.max(figure.error);
        }
        shapes += 1;
    }
    let (name, dtype) = (op.name, dtype.suffix());
    eprintln!(
        "{name} {dtype}: equals the f64 reference at {shapes} odd shapes (worst error {worst:.1e} of the maximum)"
    );
    Ok(())
}

/// The kernels of one size, in the order of their first launch where they are counted.
pub fn measure(dev: &Device, op: &Op, shape: &Shape, number: usize, dtype: DType, want: Want) -> Result<Vec<Row>> {
    let mut case = (op.case)(dev, shape, number, dtype, false)?;
    let times = if want.times { times(dev, case.as_mut(), want.once)? } else { Vec::new() };
    let (name, work) = (case.shape(), case.work());
    drop(case);
    let counted = if want.counters { count(op, shape, number, dtype)? } else { Vec::new() };
    let new = |kernel: &str, launches| {
        let family = family(kernel, dtype);
        let why = op.why.iter().find(|(kernel, _)| *kernel == family).map(|(_, why)| *why);
        let work: Option<Work> = work.iter().find(|work| work.kernel == family).copied();
        Row { dtype, shape: name.clone(), launches, work, why, ..Row::named(op.name, kernel) }
    };
    let mut rows: Vec<Row> = Vec::new();
    for (kernel, mut counted) in counted {
        let mut row = new(&kernel, counted.launches.len() as u64);
        counted.work = row.work.and(counted.work);
        row.why = counted.work.and_then(|work| work.why).or(row.why);
        row.counted = Some(counted);
        rows.push(row);
    }
    for (kernel, launches, ms) in times {
        match rows.iter_mut().find(|row| row.kernel == kernel) {
            Some(row) => row.ms = Some(ms),
            None => rows.push(Row { ms: Some(ms), ..new(&kernel, launches) }),
        }
    }
    Ok(rows)
}

/// Launches and milliseconds of every kernel in one run: the median over runs. A GPU's caches are overwritten before each.
fn times(dev: &Device, case: &mut dyn Case, once: bool) -> Result<Vec<(String, u64, f64)>> {
    let (warm_up, timed) = match (once, dev.is_gpu()) {
        (true, _) => (0, 1),
        (false, true) => (10, 100),
        (false, false) => (1, 3),
    };
    for _ in 0..warm_up {
        case.run(dev)?;
    }
    let mut runs: BTreeMap<String, (u64, Vec<f64>)> = BTreeMap::new();
    for _ in 0..timed {
        dev.take_times();
        let run = case.run(dev);
        let rows = dev.times_by_name();
        run?;
        for (name, calls, ms) in rows {
            let entry = runs.entry(name).or_default();
            entry.0 = calls;
            entry.1.push(ms);
        }
    }
    let middle = |(name, (calls, mut ms)): (String, (u64, Vec<f64>))| {
        ms.sort_by(f64::total_cmp);
        (name, calls, median(&ms))
    };
    Ok(runs.into_iter().map(middle).collect())
}

/// The counts of one run, kernel by kernel.
fn count(op: &Op, shape: &Shape, number: usize, dtype: DType) -> Result<Vec<(String, Counted)>> {
    let dev = Device::soft_counting();
    let mut case = (op.case)(&dev, shape, number, dtype, true)?;
    dev.take_counters(); // of what the case is made with
    case.run(&dev)?;
    let mut kernels: Vec<(String, Counted)> = Vec::new();
    for counters in dev.take_counters() {
        match kernels.iter_mut().find(|(kernel, _)| *kernel == counters.kernel) {
            Some((_, counted)) => counted.launches.push(counters),
            None => {
                let work = case.work().into_iter().find(|work| work.kernel == family(&counters.kernel, dtype));
                kernels
                    .push((counters.kernel.clone(), Counted { shape: case.shape(), work, launches: vec![counters] }));
            }
        }
    }
    Ok(kernels)
}
