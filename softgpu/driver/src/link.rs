//! The linker: takes PTX, gives the "cubin", which here is that PTX again.

use std::ffi::{c_char, c_int, c_uint, c_void};

use crate::entry::{api, put, put_if, string};
use crate::image;
use crate::module::read_file;
use crate::state::{Gpu, Handle, current};
use crate::status::{Result, Status, refuse};

#[derive(Default)]
pub struct Linker {
    /// Each added image as PTX text.
    texts: Vec<String>,
    /// The linked image, for as long as the linker lives; ends in a zero byte.
    image: Vec<u8>,
}

/// `CUjitInputType`: a cubin, PTX, a fatbin.
const CUBIN: c_int = 0;
const PTX: c_int = 1;
const FATBIN: c_int = 2;

impl Gpu {
    fn link(&mut self, linker: Handle, kind: c_int, data: &[u8]) -> Result<()> {
        let linker = self.linkers.get_mut(linker)?;
        let text = match kind {
            // What `cuLinkComplete` gave is PTX, so a "cubin" may be text.
            CUBIN | PTX | FATBIN => image::ptx_of_bytes(data)?.0,
            _ => {
                let what = "cuLinkAddData: softgpu links PTX, not objects, libraries or LTO-IR";
                return refuse(Status::NO_BINARY_FOR_GPU, what);
            }
        };
        linker.texts.push(text);
        Ok(())
    }
}

/// Several texts as one: the directives of the first stand for all, and declarations of what another text defines go.
fn join(texts: &[String]) -> String {
    let Some((first, rest)) = texts.split_first() else { return String::new() };
    let mut joined = first.clone();
    for text in rest {
        let body = text.lines().filter(|line| {
            let line = line.trim_start();
            ![".version", ".target", ".address_size"].iter().any(|word| line.starts_with(word))
        });
        joined.push('\n');
        joined.extend(body.flat_map(|line| [line, "\n"]));
    }
    joined
}

api! {
    fn cuLinkCreate_v2(_count: c_uint, _options: *const c_int, _values: *mut *mut c_void, linker: *mut Handle) {
        let (mut gpu, _) = current()?;
        let handle = gpu.linkers.add(Linker::default());
        put(linker, handle)
    }

    fn cuLinkAddData_v2(
        linker: Handle, kind: c_int, data: *const c_void, bytes: usize, _name: *const c_char, _count: c_uint,
        _options: *const c_int, _values: *mut *mut c_void,
    ) {
        let (mut gpu, _) = current()?;
        if data.is_null() {
            return Err(Status::INVALID_VALUE);
        }
        gpu.link(linker, kind, std::slice::from_raw_parts(data as *const u8, bytes))
    }

    fn cuLinkAddFile_v2(
        linker: Handle, kind: c_int, path: *const c_char, _count: c_uint, _options: *const c_int,
        _values: *mut *mut c_void,
    ) {
        let (mut gpu, _) = current()?;
        let data = read_file(&string(path)?)?;
        gpu.link(linker, kind, &data)
    }

    /// The image belongs to the linker. Whether the text can be loaded shows when it is.
    fn cuLinkComplete(linker: Handle, image: *mut *const c_void, bytes: *mut usize) {
        let (mut gpu, _) = current()?;
        let linker = gpu.linkers.get_mut(linker)?;
        if linker.texts.is_empty() {
            return Err(Status::INVALID_VALUE);
        }
        linker.image = join(&linker.texts).into_bytes();
        linker.image.push(0);
        put(image, linker.image.as_ptr() as *const c_void)?;
        put_if(bytes, linker.image.len());
        Ok(())
    }

    fn cuLinkDestroy(linker: Handle) {
        let (mut gpu, _) = current()?;
        gpu.linkers.remove(linker).map(|_| ())
    }
}
