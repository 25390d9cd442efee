//! What a stream or a graph does, one piece at a time.

use std::ffi::{c_int, c_void};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, LazyLock};
use std::time::Instant;

use softgpu::Memory;

use crate::launch::{KernelLaunch, run_kernel};
use crate::queue::OpId;
use crate::state::{Gpu, Handle};
use crate::status::Status;

/// Work of a library (cuBLAS): what it does to memory, and its name for messages.
#[derive(Clone)]
pub struct LibraryCall {
    pub name: &'static str,
    pub run: Arc<Run>,
}

pub type Run = dyn Fn(&Memory) -> Result<(), String> + Send + Sync;

#[derive(Clone)]
pub enum Work {
    /// Only an order.
    Nothing,
    Launch(Arc<KernelLaunch>),
    Copy(Arc<Copy>),
    Fill(Fill),
    Library(LibraryCall),
    /// `cuLaunchHostFunc`.
    Host {
        function: HostFunction,
        data: usize,
    },
    /// `cuStreamAddCallback`, called with the stream and the result so far.
    Callback {
        function: StreamCallback,
        stream: Handle,
        data: usize,
    },
    Record(Handle),
    /// In graphs: waits for what the event stands for at the launch.
    WaitEvent(Handle),
    /// Stream-ordered free of an address.
    Free(u64),
    /// In graphs: a graph as one node.
    Graph(Handle),
}

pub type HostFunction = unsafe extern "C" fn(*mut c_void);
pub type StreamCallback = unsafe extern "C" fn(Handle, c_int, *mut c_void);

/// Where a copy starts or ends.
#[derive(Clone)]
pub enum At {
    Host(usize),
    Device(u64),
    /// Pageable host memory, staged when the copy was asked for; rows without gaps.
    Staged(Arc<Vec<u8>>),
}

/// One end of a copy: bytes from row to row, and from slice to slice.
#[derive(Clone)]
pub struct End {
    pub at: At,
    pub pitch: usize,
    pub slice: usize,
}

/// A copy of `width` bytes × `height` rows × `depth` slices.
#[derive(Clone)]
pub struct Copy {
    pub to: End,
    pub from: End,
    pub width: usize,
    pub height: usize,
    pub depth: usize,
    /// Goes to pageable memory, which holds poison until then.
    pub guarded: bool,
}

/// Sets `width` elements of `size` bytes in each of `height` rows.
#[derive(Clone)]
pub struct Fill {
    pub at: At,
    pub pitch: usize,
    pub size: usize,
    pub value: u32,
    pub width: usize,
    pub height: usize,
}

/// Why a context stops working.
pub struct Failure {
    pub status: Status,
    pub report: String,
}

impl Failure {
    fn address(report: String) -> Failure {
        Failure { status: Status::ILLEGAL_ADDRESS, report }
    }
}

impl At {
    /// The host pointer of `bytes` bytes at `offset`.
    fn pointer(&self, memory: &Memory, offset: usize, bytes: usize) -> Result<*mut u8, String> {
        match self {
            At::Host(address) => Ok((address + offset) as *mut u8),
            At::Staged(data) if offset + bytes <= data.len() => Ok(data.as_ptr().wrapping_add(offset) as *mut u8),
            At::Staged(data) => Err(format!("{bytes} bytes at +{offset} of {} staged ones", data.len())),
            At::Device(address) => {
                // SAFETY: used at once, under the lock that every launch and free holds.
                unsafe { memory.host_slice(address + offset as u64, bytes) }.map_err(|error| error.to_string())
            }
        }
    }
}

impl Copy {
    pub fn bytes(&self) -> usize {
        self.width * self.height * self.depth
    }

    /// Offsets of each row from the two starts.
    fn rows(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        let offset = |end: &End, y: usize, z: usize| z * end.slice + y * end.pitch;
        (0..self.depth)
            .flat_map(move |z| (0..self.height).map(move |y| (offset(&self.to, y, z), offset(&self.from, y, z))))
    }

    pub fn run(&self, memory: &Memory) -> Result<(), String> {
        for (to, from) in self.rows() {
            let source = self.from.at.pointer(memory, from, self.width)?;
            match (&self.to.at, &self.from.at) {
                (At::Device(address), At::Host(_) | At::Staged(_)) => {
                    // SAFETY: a host range of `width` bytes is the caller's promise, a staged one was checked.
                    let data = unsafe { std::slice::from_raw_parts(source, self.width) };
                    memory.write(address + to as u64, data).map_err(|error| error.to_string())?;
                }
                (At::Device(to_address), At::Device(from_address)) => {
                    let (to, from) = (to_address + to as u64, from_address + from as u64);
                    memory.copy(to, from, self.width).map_err(|error| error.to_string())?;
                }
                _ => {
                    let to = self.to.at.pointer(memory, to, self.width)?;
                    // SAFETY: device ranges were checked above; host ranges are the caller's promise. They may overlap.
                    unsafe { std::ptr::copy(source, to, self.width) };
                }
            }
        }
        Ok(())
    }

    /// Whether a guarded destination still holds the poison that it was given. It is asked of the kernel, not looked at:
    /// what a program has freed may not be there.
    fn is_untouched(&self) -> bool {
        static MEMORY: LazyLock<Option<File>> = LazyLock::new(|| File::open("/proc/self/mem").ok());
        let At::Host(address) = self.to.at else { return true };
        let Some(memory) = MEMORY.as_ref() else { return true };
        let mut row = vec![0; self.width];
        self.rows().all(|(to, _)| {
            let read = memory.read_exact_at(&mut row, (address + to) as u64);
            read.is_ok() && row.iter().all(|byte| *byte == POISON)
        })
    }

    /// An error if a device range is not inside an allocation.
    pub fn check(&self, memory: &Memory) -> Result<(), String> {
        for (to, from) in self.rows() {
            self.to.at.pointer(memory, to, self.width)?;
            self.from.at.pointer(memory, from, self.width)?;
        }
        Ok(())
    }

    /// The source's bytes, row after row.
    pub fn stage(&self, memory: &Memory) -> Result<Copy, String> {
        let mut data = Vec::with_capacity(self.bytes());
        for (_, from) in self.rows() {
            let from = self.from.at.pointer(memory, from, self.width)?;
            // SAFETY: `width` bytes as in `run`.
            data.extend_from_slice(unsafe { std::slice::from_raw_parts(from, self.width) });
        }
        let from = End { at: At::Staged(Arc::new(data)), pitch: self.width, slice: self.width * self.height };
        Ok(Copy { from, ..self.clone() })
    }

    /// Fills the destination with what nobody can take for a result.
    pub fn poison(&self, memory: &Memory) -> Result<(), String> {
        for (to, _) in self.rows() {
            let to = self.to.at.pointer(memory, to, self.width)?;
            // SAFETY: `width` bytes as in `run`.
            unsafe { std::ptr::write_bytes(to, POISON, self.width) };
        }
        Ok(())
    }
}

/// Every byte of memory that holds nothing yet: a NaN in every float format, −1 in every integer.
pub const POISON: u8 = 0xff;

impl Fill {
    pub fn run(&self, memory: &Memory) -> Result<(), String> {
        let row = self.size * self.width;
        for y in 0..self.height {
            let to = self.at.pointer(memory, y * self.pitch, row)?;
            // SAFETY: `row` bytes, checked as for copies.
            let bytes = unsafe { std::slice::from_raw_parts_mut(to, row) };
            let pattern = self.value.to_le_bytes();
            match self.size {
                1 => bytes.fill(pattern[0]),
                size => bytes.chunks_exact_mut(size).for_each(|chunk| chunk.copy_from_slice(&pattern[..size])),
            }
            if let At::Device(address) = self.at {
                memory.mark_written(address + (y * self.pitch) as u64, row).map_err(|error| error.to_string())?;
            }
        }
        Ok(())
    }

    /// An error if a row is not inside an allocation.
    pub fn check(&self, memory: &Memory) -> Result<(), String> {
        (0..self.height).try_for_each(|y| self.at.pointer(memory, y * self.pitch, self.size * self.width).map(|_| ()))
    }
}

impl Work {
    pub fn is_host_function(&self) -> bool {
        matches!(self, Work::Host { .. } | Work::Callback { .. })
    }

    /// The call to make without the lock, for work that is one.
    pub fn host_call(&self, failed: Option<Status>) -> Option<Box<dyn FnOnce() + '_>> {
        match *self {
            // SAFETY: the program gave us the function to call with this argument.
            Work::Host { function, data } if failed.is_none() => Some(Box::new(move || unsafe { function(data as _) })),
            Work::Callback { function, stream, data } => {
                let code = failed.map_or(0, |status| status.0);
                // SAFETY: as above.
                Some(Box::new(move || unsafe { function(stream, code, data as _) }))
            }
            _ => None,
        }
    }

    pub fn run(&self, gpu: &mut Gpu, op: OpId) -> Result<(), Failure> {
        let memory = Arc::clone(&gpu.memory);
        match self {
            Work::Launch(launch) => run_kernel(launch, &memory)?,
            Work::Copy(copy) if copy.guarded && !copy.is_untouched() => crate::tools::found(format!(
                "an asynchronous copy of {} bytes to host memory is not done: the memory was changed or freed before the \
                 stream was waited for\n  help: keep the destination as it is until cuStreamSynchronize",
                copy.bytes()
            )),
            Work::Copy(copy) => copy.run(&memory).map_err(|what| Failure::address(format!("copy: {what}")))?,
            Work::Fill(fill) => fill.run(&memory).map_err(|what| Failure::address(format!("memset: {what}")))?,
            Work::Library(call) => {
                (call.run)(&memory).map_err(|what| Failure::address(format!("{}: {what}", call.name)))?;
            }
            Work::Record(_) => self.skip(gpu, op),
            Work::Free(address) => gpu.release(*address),
            // Graphs are taken apart at their launch.
            Work::Nothing | Work::WaitEvent(_) | Work::Graph(_) | Work::Host { .. } | Work::Callback { .. } => {}
        }
        Ok(())
    }

    /// What still happens after a failure.
    pub fn skip(&self, gpu: &mut Gpu, op: OpId) {
        if let Work::Record(event) = self
            && let Ok(event) = gpu.events.get_mut(*event)
            && event.recorded == Some(op)
        {
            event.time = Some(Instant::now());
        }
    }
}
