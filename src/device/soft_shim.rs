//! Stands in for softgpu until it lands: memory works, kernels do not.
use std::collections::BTreeMap;
use std::sync::Mutex;

type Allocations = (u64, BTreeMap<u64, Box<[u8]>>);
#[derive(Default)]
pub struct Memory(Mutex<Allocations>);
impl Memory {
    pub fn new() -> Self {
        Memory(Mutex::new((4096, BTreeMap::new())))
    }
    pub fn alloc(&self, bytes: usize) -> Result<u64, String> {
        let mut s = self.0.lock().map_err(|e| e.to_string())?;
        let p = s.0;
        s.0 += (bytes as u64).next_multiple_of(256) + 4096;
        s.1.insert(p, vec![0; bytes].into());
        Ok(p)
    }
    pub fn free(&self, ptr: u64) -> Result<(), String> {
        self.0.lock().map_err(|e| e.to_string())?.1.remove(&ptr);
        Ok(())
    }
    pub unsafe fn host_slice(&self, ptr: u64, bytes: usize) -> Result<*mut u8, String> {
        let mut s = self.0.lock().map_err(|e| e.to_string())?;
        let (base, data) = s.1.range_mut(..=ptr).next_back().ok_or("bad pointer")?;
        let offset = (ptr - base) as usize;
        if offset + bytes > data.len() {
            return Err("past the end".into());
        }
        Ok(data[offset..].as_mut_ptr())
    }
}
pub struct Module;
impl Module {
    pub fn load(_: &str) -> Result<Module, String> {
        Ok(Module)
    }
}
pub struct Launch<'a> {
    pub grid: [u32; 3],
    pub block: [u32; 3],
    pub shared_bytes: u32,
    pub args: &'a [&'a [u8]],
}
pub fn launch(_: &Module, entry: &str, _: &Memory, l: &Launch) -> Result<(), String> {
    let _ = (l.grid, l.block, l.shared_bytes, l.args);
    Err(format!("softgpu has not landed yet ({entry})"))
}
