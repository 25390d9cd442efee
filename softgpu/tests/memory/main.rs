//! Memory instructions through the public interface, against oracles in Rust: small kernels made here, one for every
//! combination that is worth one.

#![allow(clippy::unwrap_used)] // a panic in a test is its report

mod access;
mod async_copy;
mod atomic;
mod quads;
mod variables;

use softgpu::{Launch, Memory, Module, launch};

/// Of one launch of `k`: its text around the body, its shape, and the bytes that `%d0` points at.
pub struct Run<'a> {
    /// Declarations before the kernel.
    pub before: &'a str,
    pub body: &'a str,
    pub blocks: u32,
    pub threads: u32,
    /// A second parameter, a struct by value.
    pub by_value: &'a [u8],
    /// Host threads; 0: as many as there are.
    pub host: usize,
    /// Copies of cp.async are made at the wait.
    pub deferred: bool,
}

impl Default for Run<'_> {
    fn default() -> Self {
        Run { before: "", body: "", blocks: 1, threads: 32, by_value: &[0; 4], host: 0, deferred: false }
    }
}

impl Run<'_> {
    pub fn text(&self) -> String {
        format!(
            ".version 9.0\n.target sm_90\n.address_size 64\n{}\n.visible .entry k(.param .u64 data, .param .align 16 .b8 value[{}]) {{
            .reg .b16 %h<40>; .reg .b32 %r<40>; .reg .f32 %f<20>; .reg .b64 %d<40>; .reg .f64 %g<20>; .reg .pred %p<9>; .reg .b128 %q<9>;
            ld.param.u64 %d0, [data]; mov.u32 %r0, %tid.x; cvt.u64.u32 %d1, %r0;\n{}\nret; }}\n",
            self.before,
            self.by_value.len(),
            self.body
        )
    }

    /// Runs on a copy of `data`, and gives back what has become of it.
    pub fn go(&self, data: &[u8]) -> Result<Vec<u8>, String> {
        let module = Module::load(&self.text()).and_then(Module::whole).map_err(|e| format!("{e}\n{}", self.body))?;
        let module = module.with_deferred_copies(self.deferred);
        self.launch(&module, data)
    }

    pub fn launch(&self, module: &Module, data: &[u8]) -> Result<Vec<u8>, String> {
        let memory = Memory::new();
        let address = memory.alloc(data.len()).unwrap();
        // SAFETY: freed with `memory`, after the last use; no launch runs while the slice is used.
        let bytes =
            unsafe { std::slice::from_raw_parts_mut(memory.host_slice(address, data.len()).unwrap(), data.len()) };
        bytes.copy_from_slice(data);
        let address = address.to_le_bytes();
        let args: [&[u8]; 2] = [&address, self.by_value];
        let shape = Launch {
            grid: [self.blocks, 1, 1],
            block: [self.threads, 1, 1],
            shared_bytes: 0,
            args: &args,
            cooperative: false,
        };
        let work = || launch(module, "k", &memory, &shape).map_err(|e| e.to_string());
        match self.host {
            0 => work()?,
            n => rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap().install(work)?,
        }
        Ok(bytes.to_vec())
    }
}

/// Numbers without an order: SplitMix64.
pub fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

pub fn random_bytes(seed: u64, count: usize) -> Vec<u8> {
    let mut state = seed;
    (0..count).map(|_| random(&mut state) as u8).collect()
}

pub fn get(bytes: &[u8], at: usize, size: usize) -> u64 {
    let mut raw = [0; 8];
    raw[..size].copy_from_slice(&bytes[at..at + size]);
    u64::from_le_bytes(raw)
}

pub fn set(bytes: &mut [u8], at: usize, size: usize, value: u64) {
    bytes[at..at + size].copy_from_slice(&value.to_le_bytes()[..size]);
}

/// The whole error of a body, or what is wrong: it ran.
pub fn error(body: &str) -> String {
    Run { body, ..Run::default() }.go(&[0; 1024]).map(|_| "it ran").expect_err(body)
}
