//! The device boundary: memory, kernel launches and matrix products, on an NVIDIA GPU or on the software one.
//! Above this module no code asks which it is.

mod buffer;
mod cuda;
mod cuda_lt;
mod dry;
mod gemm;
pub mod kernels;
mod launch;
mod soft;
mod timing;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Instant;

pub use buffer::{Allocation, Buffer, ByPurpose, MemoryUse, Purpose};
pub use cuda::CudaDevice;
pub use gemm::{Epilogue, Gemm};
pub use launch::{Arg, Grid, IntoArg};
pub use soft::SoftDevice;

use half::{bf16, f16};
use softgpu::Tools;
use softgpu::counters::Counters;

use crate::error::{Error, Result};
use crate::tensor::{DType, Element, Tensor};
use crate::terminal::say;
use buffer::Arena;
use timing::Timing;

/// `--device`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeviceChoice {
    /// The first NVIDIA GPU, else the software one with a line on stderr that says so.
    #[default]
    Auto,
    /// The NVIDIA GPU of this number, or an error.
    Cuda(usize),
    /// The software GPU.
    Soft,
    /// The software GPU with every kernel under all of softgpu's checkers, its blocks and warps in the order of this seed.
    Checked(u64),
}

impl FromStr for DeviceChoice {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        match text.split_once(':') {
            None if text == "auto" => Ok(DeviceChoice::Auto),
            None if text == "soft" => Ok(DeviceChoice::Soft),
            None if text == "cuda" => Ok(DeviceChoice::Cuda(0)),
            Some(("cuda", number)) => {
                number.parse().map(DeviceChoice::Cuda).map_err(|_| format!("`{number}` is no GPU number, as in cuda:0"))
            }
            Some(("soft", "checked")) => Ok(DeviceChoice::Checked(0)),
            Some(("soft", rest)) if rest.starts_with("checked:") => {
                let seed = &rest["checked:".len()..];
                seed.parse()
                    .map(DeviceChoice::Checked)
                    .map_err(|_| format!("`{seed}` is no seed, as in soft:checked:1"))
            }
            _ => Err(format!("`{text}` is not one of auto, cuda, cuda:N, soft, soft:checked, soft:checked:SEED")),
        }
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DeviceChoice::Auto => f.write_str("auto"),
            DeviceChoice::Cuda(number) => write!(f, "cuda:{number}"),
            DeviceChoice::Soft => f.write_str("soft"),
            DeviceChoice::Checked(seed) => write!(f, "soft:checked:{seed}"),
        }
    }
}

#[derive(Clone)]
enum Arm {
    Cuda(CudaDevice),
    Soft(SoftDevice),
    /// Counts memory and does nothing.
    Dry,
}

/// A device and its memory. Clones are the same device.
#[derive(Clone)]
pub struct Device {
    arm: Arm,
    arena: Arc<Arena>,
    timing: Arc<Timing>,
    epilogues: bool,
}

/// A point in the device's work; see [`Device::elapsed_ms`].
pub enum Event {
    Cuda(cuda::CudaEvent),
    Soft(Instant),
}

impl Device {
    /// Opens what `choice` says; tensors share an arena.
    pub fn open(choice: DeviceChoice) -> Result<Device> {
        match choice {
            DeviceChoice::Soft => Ok(Device::soft(Allocation::Arena).with_epilogues(epilogues_of_environment()?)),
            DeviceChoice::Checked(seed) => {
                let device = Device::soft_watched(Tools { seed, ..Tools::checks() });
                Ok(device.with_epilogues(epilogues_of_environment()?))
            }
            DeviceChoice::Cuda(number) => Device::cuda(number, Allocation::Arena),
            DeviceChoice::Auto => match cuda::probe() {
                Ok(_) => Device::cuda(0, Allocation::Arena),
                Err(reason) => {
                    say(format!("device: {reason}; running on softgpu, the GPU in software"));
                    Device::open(DeviceChoice::Soft)
                }
            },
        }
    }

    /// The software GPU.
    pub fn soft(allocation: Allocation) -> Device {
        Device::of_soft(SoftDevice::new(), allocation)
    }

    /// The software GPU with every kernel under softgpu's checkers: what they find is the launch's error. Each tensor
    /// is an allocation of its own.
    pub fn soft_watched(tools: Tools) -> Device {
        Device::of_soft(SoftDevice::watched(tools), Allocation::Separate)
    }

    /// The software GPU, which counts what every kernel does: on one thread, and slower.
    pub fn soft_counting() -> Device {
        Device::of_soft(SoftDevice::watched(Tools { counters: true, ..Tools::default() }), Allocation::Arena)
    }

    /// What the kernels did since the last call, launch by launch, on a device from [`Device::soft_counting`] or one that
    /// is watched with counters; nothing on others.
    pub fn take_counters(&self) -> Vec<Counters> {
        match &self.arm {
            Arm::Soft(soft) => soft.take_counters(),
            Arm::Cuda(_) | Arm::Dry => Vec::new(),
        }
    }

    fn of_soft(soft: SoftDevice, allocation: Allocation) -> Device {
        Device::of(Arena::new(soft.raw_memory(), allocation), Arm::Soft(soft))
    }

    /// No device: memory is counted as on the one that `choice` means, nothing runs, and what is read is 0.
    pub fn dry(choice: DeviceChoice) -> Result<Device> {
        let dry = Device::of(Arena::new(dry::raw_memory(), Allocation::Arena), Arm::Dry);
        let gpu = match choice {
            DeviceChoice::Soft | DeviceChoice::Checked(_) => false,
            DeviceChoice::Auto => cuda::probe().is_ok(),
            DeviceChoice::Cuda(_) => true,
        };
        Ok(dry.with_epilogues(epilogues_of_environment()? && (!gpu || cuda_lt::is_present())))
    }

    /// The NVIDIA GPU of this number. An error says why there is none.
    pub fn cuda(number: usize, allocation: Allocation) -> Result<Device> {
        let (epilogues, cuda) = (epilogues_of_environment()?, CudaDevice::open(number)?);
        Ok(Device::of(Arena::new(cuda.raw_memory(), allocation), Arm::Cuda(cuda)).with_epilogues(epilogues))
    }

    fn of(arena: Arc<Arena>, arm: Arm) -> Device {
        Device { arm, arena, timing: Arc::default(), epilogues: false }
    }

    /// The same device, with or without products that do more than a product, where it has them.
    pub fn with_epilogues(self, epilogues: bool) -> Device {
        Device { epilogues, ..self }
    }

    /// From now on the time of every kernel and matrix product is taken; each then waits for the device.
    pub fn take_times(&self) {
        self.timing.start();
    }

    /// The times since [`Device::take_times`] as a table, the longest first; none if they were not taken.
    pub fn times(&self) -> Option<String> {
        self.timing.table()
    }

    /// Calls and milliseconds in all of every kernel and product since [`Device::take_times`], by name; ends that.
    pub fn times_by_name(&self) -> Vec<(String, u64, f64)> {
        self.timing.rows()
    }

    /// "softgpu, 2 threads" or the GPU's name.
    pub fn name(&self) -> String {
        match &self.arm {
            Arm::Cuda(cuda) => cuda.name(),
            Arm::Soft(_) => format!("softgpu, {} threads", rayon::current_num_threads()),
            Arm::Dry => "none".to_owned(),
        }
    }

    /// Whether times on this device are a GPU's.
    pub fn is_gpu(&self) -> bool {
        matches!(self.arm, Arm::Cuda(_))
    }

    /// Bytes in use, at the peak, and taken from the driver.
    pub fn memory_use(&self) -> MemoryUse {
        self.arena.memory_use()
    }

    /// An uninitialised tensor of an op's or a batch's own.
    pub fn tensor(&self, shape: &[usize], dtype: DType) -> Result<Tensor> {
        self.tensor_for(Purpose::Workspace, shape, dtype)
    }

    /// An uninitialised tensor, counted under `purpose`.
    pub fn tensor_for(&self, purpose: Purpose, shape: &[usize], dtype: DType) -> Result<Tensor> {
        let bytes = shape.iter().product::<usize>() * dtype.size();
        Ok(Tensor::new(self.arena.alloc(bytes, purpose)?, shape, dtype))
    }

    /// A tensor of `shape` with `data`.
    pub fn upload<T: Element>(&self, data: &[T], shape: &[usize]) -> Result<Tensor> {
        let tensor = self.tensor(shape, T::DTYPE)?;
        self.write(&tensor, data)?;
        Ok(tensor)
    }

    /// Replaces the content of `tensor`.
    pub fn write<T: Element>(&self, tensor: &Tensor, data: &[T]) -> Result<()> {
        if tensor.numel() != data.len() || tensor.dtype() != T::DTYPE {
            return Err(Error::shape("write", "data", &[data.len()], tensor.dims()));
        }
        let data = bytemuck::cast_slice(data);
        match &self.arm {
            Arm::Cuda(cuda) => cuda.write(tensor.ptr(), data),
            Arm::Soft(soft) => soft.write(tensor.ptr(), data),
            Arm::Dry => Ok(()),
        }
    }

    /// The content of `tensor`, once all work before has ended.
    pub fn read<T: Element>(&self, tensor: &Tensor) -> Result<Vec<T>> {
        if tensor.dtype() != T::DTYPE {
            return Err(Error::device(format!("a {:?} tensor is read as {:?}", tensor.dtype(), T::DTYPE)));
        }
        let mut data = vec![T::zeroed(); tensor.numel()];
        let bytes = bytemuck::cast_slice_mut(&mut data);
        match &self.arm {
            Arm::Cuda(cuda) => cuda.read(tensor.ptr(), bytes)?,
            Arm::Soft(soft) => soft.read(tensor.ptr(), bytes)?,
            Arm::Dry => {}
        }
        Ok(data)
    }

    /// A tensor of `shape` with `data`, each rounded to nearest even to the float type `dtype`.
    pub fn upload_as(&self, data: &[f32], shape: &[usize], dtype: DType) -> Result<Tensor> {
        match dtype {
            DType::F16 => self.upload(&data.iter().map(|v| f16::from_f32(*v)).collect::<Vec<_>>(), shape),
            DType::BF16 => self.upload(&data.iter().map(|v| bf16::from_f32(*v)).collect::<Vec<_>>(), shape),
            DType::F32 | DType::I32 => self.upload(data, shape),
        }
    }

    /// As [`Device::read`], for a tensor of any float type.
    pub fn read_wide(&self, tensor: &Tensor) -> Result<Vec<f32>> {
        match tensor.dtype() {
            DType::F16 => Ok(self.read::<f16>(tensor)?.into_iter().map(f16::to_f32).collect()),
            DType::BF16 => Ok(self.read::<bf16>(tensor)?.into_iter().map(bf16::to_f32).collect()),
            DType::F32 | DType::I32 => self.read(tensor),
        }
    }

    /// Sets every byte to 0.
    pub fn zero(&self, tensor: &Tensor) -> Result<()> {
        match &self.arm {
            Arm::Cuda(cuda) => cuda.zero(tensor.ptr(), tensor.bytes()),
            Arm::Soft(soft) => soft.zero(tensor.ptr(), tensor.bytes()),
            Arm::Dry => Ok(()),
        }
    }

    /// Copies `from` to `to`, which has as many bytes.
    pub fn copy(&self, to: &Tensor, from: &Tensor) -> Result<()> {
        if to.bytes() != from.bytes() {
            return Err(Error::shape("copy", "from", from.dims(), to.dims()));
        }
        match &self.arm {
            Arm::Cuda(cuda) => cuda.copy(to.ptr(), from.ptr(), to.bytes()),
            Arm::Soft(soft) => soft.copy(to.ptr(), from.ptr(), to.bytes()),
            Arm::Dry => Ok(()),
        }
    }

    /// Runs `kernel` ("embed_fwd_f32"). A launch of no blocks does nothing.
    ///
    /// # Safety
    /// `args` are what the kernel's contract asks for: in number, kind and extent.
    pub unsafe fn launch(&self, kernel: &str, grid: Grid, args: &[Arg]) -> Result<()> {
        if grid.is_empty() {
            return Ok(());
        }
        let work = || match &self.arm {
            // SAFETY: the caller's promise.
            Arm::Cuda(cuda) => unsafe { cuda.launch(kernel, grid, args) },
            Arm::Soft(soft) => soft.launch(kernel, grid, args),
            Arm::Dry => Ok(()),
        };
        self.timing.measure(self, || kernel.to_owned(), work)
    }

    /// `C = op(A)·op(B) + beta·C`.
    pub fn gemm(&self, g: Gemm<'_>) -> Result<()> {
        g.check()?;
        if g.m == 0 || g.n == 0 {
            return Ok(());
        }
        let work = || match &self.arm {
            Arm::Cuda(cuda) => cuda.gemm(&g),
            Arm::Soft(soft) => soft.gemm(&g),
            Arm::Dry => Ok(()),
        };
        self.timing.measure(self, || g.name(), work)
    }

    /// As [`Device::gemm`], and `e` with it, if the device does both at once: true. False if it does not, and then nothing
    /// has happened: the caller takes the product and the rest apart.
    pub fn gemm_with(&self, g: Gemm<'_>, e: Epilogue<'_>) -> Result<bool> {
        g.check()?;
        e.check(&g)?;
        if !self.epilogues || !e.fits(&g) {
            return Ok(false);
        }
        let name = || format!("{}, {}", g.name(), e.name());
        match &self.arm {
            Arm::Cuda(cuda) if !cuda.does(&g, &e)? => return Ok(false),
            Arm::Cuda(cuda) => self.timing.measure(self, name, || cuda.gemm_with(&g, &e))?,
            Arm::Soft(soft) => self.timing.measure(self, name, || soft.gemm_with(&g, &e))?,
            Arm::Dry => {}
        }
        Ok(true)
    }

    /// Memory for which of the `[m, n]` elements of a product are above 0 (see [`Epilogue`]), for `purpose`; none if the
    /// device has no use for it.
    pub fn relu_mask(&self, purpose: Purpose, m: usize, n: usize) -> Result<Option<Tensor>> {
        let wanted = match &self.arm {
            Arm::Cuda(cuda) => self.epilogues && cuda.has_epilogues(),
            Arm::Dry | Arm::Soft(_) => self.epilogues,
        };
        wanted.then(|| self.tensor_for(purpose, &gemm::mask_shape(m, n), DType::I32)).transpose()
    }

    /// Waits for all work.
    pub fn synchronize(&self) -> Result<()> {
        match &self.arm {
            Arm::Cuda(cuda) => cuda.synchronize(),
            Arm::Soft(_) | Arm::Dry => Ok(()),
        }
    }

    /// Marks this point in the device's work.
    pub fn event(&self) -> Result<Event> {
        match &self.arm {
            Arm::Cuda(cuda) => Ok(Event::Cuda(cuda.event()?)),
            Arm::Soft(_) | Arm::Dry => Ok(Event::Soft(Instant::now())),
        }
    }

    /// Milliseconds between two events of this device. On softgpu that is the CPU's time and says nothing of a GPU.
    pub fn elapsed_ms(&self, start: &Event, end: &Event) -> Result<f32> {
        match (&self.arm, start, end) {
            (Arm::Cuda(cuda), Event::Cuda(start), Event::Cuda(end)) => cuda.elapsed_ms(start, end),
            (Arm::Soft(_) | Arm::Dry, Event::Soft(start), Event::Soft(end)) => Ok((*end - *start).as_secs_f32() * 1e3),
            _ => Err(Error::device("an event of another device")),
        }
    }
}

/// Switches products with epilogues off (0) or on (1, the default).
const EPILOGUES: &str = "OMEGA_EPILOGUES";

fn epilogues_of_environment() -> Result<bool> {
    match std::env::var_os(EPILOGUES) {
        None => Ok(true),
        Some(value) if value == "1" => Ok(true),
        Some(value) if value == "0" => Ok(false),
        Some(value) => Err(Error::usage(format!("{EPILOGUES} is `{}`, expected 0 or 1", value.display())).hint(
            "0 keeps matrix products apart from biases and ReLU; without it they go together where the device can",
        )),
    }
}

/// `omega devices`: what was found, and what `auto` chooses and why.
pub fn describe() -> String {
    let mut lines = Vec::new();
    let choice = match cuda::probe() {
        Ok(gpus) => {
            lines.extend(gpus.iter().enumerate().map(|(number, gpu)| format!("cuda:{number}  {gpu}")));
            lines.push(format!("cuda    {}", describe_epilogues()));
            "auto: cuda:0, the first NVIDIA GPU".to_owned()
        }
        Err(reason) => {
            lines.push(format!("cuda    none: {reason}"));
            "auto: soft, as no NVIDIA GPU can be used".to_owned()
        }
    };
    let apart = match epilogues_of_environment() {
        Ok(false) => format!("; bias and ReLU apart from matrix products: {EPILOGUES}=0"),
        Ok(true) | Err(_) => String::new(),
    };
    lines
        .push(format!("soft    softgpu runs the same PTX on the CPU, {} threads{apart}", rayon::current_num_threads()));
    lines.push(choice);
    lines.join("\n")
}

/// Whether products take biases and ReLU with them on a GPU of this machine.
fn describe_epilogues() -> String {
    match (epilogues_of_environment(), cuda_lt::is_present()) {
        (Err(error), _) => error.to_string(),
        (Ok(false), _) => format!("bias and ReLU apart from matrix products: {EPILOGUES}=0"),
        (Ok(true), false) => "bias and ReLU apart from matrix products: libcublasLt.so was not found".to_owned(),
        (Ok(true), true) => "bias and ReLU within matrix products, by cublasLt".to_owned(),
    }
}
