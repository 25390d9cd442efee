//! `cuGetProcAddress`: the form of a function that a program of some CUDA version means.

use std::ffi::{c_char, c_int, c_ulonglong};

use crate::device::VERSION;
use crate::entry::{Symbol, api, put, put_if, string};
use crate::status::{Result, Status};

/// The functions of every part.
pub fn symbols() -> impl Iterator<Item = &'static Symbol> {
    [
        crate::device::SYMBOLS,
        crate::context::SYMBOLS,
        crate::stream::SYMBOLS,
        crate::event::SYMBOLS,
        crate::memory::SYMBOLS,
        crate::pool::SYMBOLS,
        crate::copy::SYMBOLS,
        crate::fill::SYMBOLS,
        crate::module::SYMBOLS,
        crate::library::SYMBOLS,
        crate::link::SYMBOLS,
        crate::launch::SYMBOLS,
        crate::occupancy::SYMBOLS,
        crate::capture::SYMBOLS,
        crate::graph::SYMBOLS,
        crate::graph_nodes::SYMBOLS,
        crate::refused::SYMBOLS,
        SYMBOLS,
    ]
    .into_iter()
    .flatten()
}

/// From which CUDA version on a name means the form `_v2` (`_v3`, …) of itself; `cudaTypedefs.h` of CUDA 13.0. What is
/// not here came with 3.2 (`_v2` of memory and module functions) or has one form.
const SINCE: &[(&str, c_int)] = &[
    ("cuCtxCreate_v3", 11040),
    ("cuCtxCreate_v4", 12050),
    ("cuCtxDestroy_v2", 4000),
    ("cuCtxGetDevice_v2", 13000),
    ("cuCtxPopCurrent_v2", 4000),
    ("cuCtxPushCurrent_v2", 4000),
    ("cuCtxSynchronize_v2", 13000),
    ("cuDeviceGetUuid_v2", 11040),
    ("cuDevicePrimaryCtxRelease_v2", 11000),
    ("cuDevicePrimaryCtxReset_v2", 11000),
    ("cuDevicePrimaryCtxSetFlags_v2", 11000),
    ("cuEventDestroy_v2", 4000),
    ("cuEventElapsedTime_v2", 12080),
    ("cuGetProcAddress_v2", 12000),
    ("cuGraphAddDependencies_v2", 12030),
    ("cuGraphAddKernelNode_v2", 12000),
    ("cuGraphAddNode_v2", 12030),
    ("cuGraphExecKernelNodeSetParams_v2", 12000),
    ("cuGraphExecUpdate_v2", 12000),
    ("cuGraphGetEdges_v2", 12030),
    ("cuGraphInstantiate_v2", 11000),
    ("cuGraphKernelNodeGetParams_v2", 12000),
    ("cuGraphKernelNodeSetParams_v2", 12000),
    ("cuGraphNodeGetDependencies_v2", 12030),
    ("cuGraphNodeGetDependentNodes_v2", 12030),
    ("cuGraphRemoveDependencies_v2", 12030),
    ("cuLinkAddData_v2", 6050),
    ("cuLinkAddFile_v2", 6050),
    ("cuLinkCreate_v2", 6050),
    ("cuMemHostRegister_v2", 6050),
    ("cuStreamBeginCapture_v2", 10010),
    ("cuStreamDestroy_v2", 4000),
    ("cuStreamGetCaptureInfo_v2", 11030),
    ("cuStreamGetCaptureInfo_v3", 12030),
    ("cuStreamGetCtx_v2", 12050),
    ("cuStreamUpdateCaptureDependencies_v2", 12030),
];
/// Names whose newest form has another name.
const RENAMED: &[(&str, c_int, &str)] = &[("cuGraphInstantiate", 12000, "cuGraphInstantiateWithFlags")];

/// A symbol's plain name, and the version since when it is meant by it.
fn versioned(symbol: &'static str) -> (&'static str, c_int) {
    let base = ["_v2", "_v3", "_v4"].iter().find_map(|suffix| symbol.strip_suffix(suffix));
    let since = SINCE.iter().find(|(name, _)| *name == symbol).map(|(_, since)| *since);
    (base.unwrap_or(symbol), since.unwrap_or(if base.is_some() { 3020 } else { 2000 }))
}

/// `CUdriverProcAddressQueryResult`.
const FOUND: c_int = 0;
const NOT_FOUND: c_int = 1;
const TOO_OLD: c_int = 2;

/// The form of `name` for a program of CUDA `version`.
fn find(name: &str, version: c_int) -> std::result::Result<&'static Symbol, c_int> {
    let name = RENAMED.iter().find(|(old, since, _)| *old == name && version >= *since).map_or(name, |row| row.2);
    let forms = symbols().filter(|symbol| versioned(symbol.name).0 == name);
    let (fit, rest): (Vec<_>, Vec<_>) = forms.partition(|symbol| versioned(symbol.name).1 <= version);
    let missing = if rest.is_empty() { NOT_FOUND } else { TOO_OLD };
    fit.into_iter().max_by_key(|symbol| versioned(symbol.name).1).ok_or(missing)
}

/// `CU_GET_PROC_ADDRESS_PER_THREAD_DEFAULT_STREAM`.
const PER_THREAD: c_ulonglong = 2;

unsafe fn address(
    name: *const c_char,
    function: *mut *const (),
    version: c_int,
    flags: c_ulonglong,
    status: *mut c_int,
) -> Result<()> {
    // SAFETY: the caller's promise.
    unsafe {
        let name = string(name)?;
        if flags > PER_THREAD || version > VERSION {
            return Err(Status::INVALID_VALUE);
        }
        let found = find(&name, version);
        put_if(status, *found.as_ref().map(|_| &FOUND).unwrap_or_else(|status| status));
        match found {
            Ok(symbol) => put(
                function,
                if flags == PER_THREAD { symbol.per_thread.unwrap_or(symbol.address) } else { symbol.address },
            ),
            Err(_) => {
                put(function, std::ptr::null())?;
                Err(Status::NOT_FOUND)
            }
        }
    }
}

api! {
    fn cuGetProcAddress(name: *const c_char, function: *mut *const (), version: c_int, flags: c_ulonglong) {
        address(name, function, version, flags, std::ptr::null_mut())
    }

    /// Says also whether the name or the version was wrong.
    fn cuGetProcAddress_v2(
        name: *const c_char, function: *mut *const (), version: c_int, flags: c_ulonglong, status: *mut c_int,
    ) {
        // A name that is not there is no error of this form: the address is null, and the status says why.
        match address(name, function, version, flags, status) {
            Err(Status::NOT_FOUND) => Ok(()),
            result => result,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_means_the_form_of_the_version() {
        let form = |name, version| find(name, version).map(|symbol| symbol.name);
        assert_eq!(form("cuMemAlloc", 13000), Ok("cuMemAlloc_v2"));
        assert_eq!(form("cuMemAlloc", 3000), Err(TOO_OLD));
        assert_eq!(form("cuCtxCreate", 12000), Ok("cuCtxCreate_v3"));
        assert_eq!(form("cuCtxCreate", 13000), Ok("cuCtxCreate_v4"));
        assert_eq!(form("cuEventElapsedTime", 12000), Ok("cuEventElapsedTime"));
        assert_eq!(form("cuGraphInstantiate", 12000), Ok("cuGraphInstantiateWithFlags"));
        assert_eq!(form("cuGraphInstantiate", 11000), Ok("cuGraphInstantiate_v2"));
        assert_eq!(form("cuLaunchKernel", 13000), Ok("cuLaunchKernel"));
        assert_eq!(form("cuNoSuchThing", 13000), Err(NOT_FOUND));
    }

    #[test]
    fn no_symbol_is_there_twice() {
        let mut names: Vec<&str> = symbols().map(|symbol| symbol.name).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
