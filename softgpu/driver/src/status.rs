//! The driver's result codes, with their names and texts.

use std::cell::Cell;
use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::fmt::Display;
use std::io::Write;
use std::sync::LazyLock;

use crate::tools::{counts_calls, lost, misused, not_launched};

/// A `CUresult` other than success.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Status(pub i32);

pub type Result<T> = std::result::Result<T, Status>;

/// Rows of `NAME code "text"`: the constants, and the table for `cuGetErrorName` and `cuGetErrorString`.
macro_rules! statuses {
    ($($name:ident $code:literal $text:literal;)*) => {
        #[allow(dead_code)] // the list is the API's, whether we return a code or not
        impl Status { $(pub const $name: Status = Status($code);)* }
        const ROWS: &[(&str, i32, &str)] = &[$((stringify!($name), $code, $text)),*];
    };
}

statuses! {
    INVALID_VALUE 1 "invalid argument";
    OUT_OF_MEMORY 2 "out of memory";
    NOT_INITIALIZED 3 "initialization error";
    DEINITIALIZED 4 "driver shutting down";
    PROFILER_DISABLED 5 "profiler disabled";
    PROFILER_NOT_INITIALIZED 6 "profiler not initialized";
    PROFILER_ALREADY_STARTED 7 "profiler already started";
    PROFILER_ALREADY_STOPPED 8 "profiler already stopped";
    STUB_LIBRARY 34 "CUDA driver is a stub library";
    CALL_REQUIRES_NEWER_DRIVER 36 "call requires newer driver";
    DEVICE_UNAVAILABLE 46 "CUDA-capable device(s) is/are busy or unavailable";
    NO_DEVICE 100 "no CUDA-capable device is detected";
    INVALID_DEVICE 101 "invalid device ordinal";
    DEVICE_NOT_LICENSED 102 "device not licensed";
    INVALID_IMAGE 200 "device kernel image is invalid";
    INVALID_CONTEXT 201 "invalid device context";
    CONTEXT_ALREADY_CURRENT 202 "context already current";
    MAP_FAILED 205 "map failed";
    UNMAP_FAILED 206 "unmap failed";
    ARRAY_IS_MAPPED 207 "array is mapped";
    ALREADY_MAPPED 208 "already mapped";
    NO_BINARY_FOR_GPU 209 "no kernel image is available for execution on the device";
    ALREADY_ACQUIRED 210 "already acquired";
    NOT_MAPPED 211 "not mapped";
    NOT_MAPPED_AS_ARRAY 212 "not mapped as array";
    NOT_MAPPED_AS_POINTER 213 "not mapped as pointer";
    ECC_UNCORRECTABLE 214 "ecc uncorrectable";
    UNSUPPORTED_LIMIT 215 "unsupported limit";
    CONTEXT_ALREADY_IN_USE 216 "context already in use";
    PEER_ACCESS_UNSUPPORTED 217 "peer access unsupported";
    INVALID_PTX 218 "a PTX JIT compilation failed";
    INVALID_GRAPHICS_CONTEXT 219 "invalid graphics context";
    NVLINK_UNCORRECTABLE 220 "nvlink uncorrectable";
    JIT_COMPILER_NOT_FOUND 221 "jit compiler not found";
    UNSUPPORTED_PTX_VERSION 222 "the provided PTX was compiled with an unsupported toolchain.";
    JIT_COMPILATION_DISABLED 223 "jit compilation disabled";
    UNSUPPORTED_EXEC_AFFINITY 224 "unsupported exec affinity";
    UNSUPPORTED_DEVSIDE_SYNC 225 "unsupported devside sync";
    CONTAINED 226 "contained";
    INVALID_SOURCE 300 "device kernel image is invalid";
    FILE_NOT_FOUND 301 "file not found";
    SHARED_OBJECT_SYMBOL_NOT_FOUND 302 "shared object symbol not found";
    SHARED_OBJECT_INIT_FAILED 303 "shared object init failed";
    OPERATING_SYSTEM 304 "operating system";
    INVALID_HANDLE 400 "invalid resource handle";
    ILLEGAL_STATE 401 "the operation cannot be performed in the present state";
    LOSSY_QUERY 402 "lossy query";
    NOT_FOUND 500 "named symbol not found";
    NOT_READY 600 "device not ready";
    ILLEGAL_ADDRESS 700 "an illegal memory access was encountered";
    LAUNCH_OUT_OF_RESOURCES 701 "too many resources requested for launch";
    LAUNCH_TIMEOUT 702 "the launch timed out and was terminated";
    LAUNCH_INCOMPATIBLE_TEXTURING 703 "launch incompatible texturing";
    PEER_ACCESS_ALREADY_ENABLED 704 "peer access is already enabled";
    PEER_ACCESS_NOT_ENABLED 705 "peer access has not been enabled";
    PRIMARY_CONTEXT_ACTIVE 708 "cannot set while device is active in this process";
    CONTEXT_IS_DESTROYED 709 "context is destroyed";
    ASSERT 710 "device-side assert triggered";
    TOO_MANY_PEERS 711 "too many peers";
    HOST_MEMORY_ALREADY_REGISTERED 712 "part or all of the requested memory range is already mapped";
    HOST_MEMORY_NOT_REGISTERED 713 "pointer does not correspond to a registered memory region";
    HARDWARE_STACK_ERROR 714 "hardware stack error";
    ILLEGAL_INSTRUCTION 715 "an illegal instruction was encountered";
    MISALIGNED_ADDRESS 716 "misaligned address";
    INVALID_ADDRESS_SPACE 717 "operation not supported on global/shared address space";
    INVALID_PC 718 "invalid pc";
    LAUNCH_FAILED 719 "unspecified launch failure";
    COOPERATIVE_LAUNCH_TOO_LARGE 720 "too many blocks in cooperative launch";
    TENSOR_MEMORY_LEAK 721 "tensor memory leak";
    NOT_PERMITTED 800 "operation not permitted";
    NOT_SUPPORTED 801 "operation not supported";
    SYSTEM_NOT_READY 802 "system not ready";
    SYSTEM_DRIVER_MISMATCH 803 "system driver mismatch";
    COMPAT_NOT_SUPPORTED_ON_DEVICE 804 "compat not supported on device";
    MPS_CONNECTION_FAILED 805 "mps connection failed";
    MPS_RPC_FAILURE 806 "mps rpc failure";
    MPS_SERVER_NOT_READY 807 "mps server not ready";
    MPS_MAX_CLIENTS_REACHED 808 "mps max clients reached";
    MPS_MAX_CONNECTIONS_REACHED 809 "mps max connections reached";
    MPS_CLIENT_TERMINATED 810 "mps client terminated";
    CDP_NOT_SUPPORTED 811 "cdp not supported";
    CDP_VERSION_MISMATCH 812 "cdp version mismatch";
    STREAM_CAPTURE_UNSUPPORTED 900 "operation not permitted when stream is capturing";
    STREAM_CAPTURE_INVALIDATED 901 "operation failed due to a previous error during capture";
    STREAM_CAPTURE_MERGE 902 "stream capture merge";
    STREAM_CAPTURE_UNMATCHED 903 "stream capture unmatched";
    STREAM_CAPTURE_UNJOINED 904 "capturing stream has unjoined work";
    STREAM_CAPTURE_ISOLATION 905 "dependency created on uncaptured work in another stream";
    STREAM_CAPTURE_IMPLICIT 906 "operation would make the legacy stream depend on a capturing blocking stream";
    CAPTURED_EVENT 907 "operation not permitted on an event last recorded in a capturing stream";
    STREAM_CAPTURE_WRONG_THREAD 908 "attempt to terminate a thread-local capture sequence from another thread";
    TIMEOUT 909 "timeout";
    GRAPH_EXEC_UPDATE_FAILURE 910 "graph exec update failure";
    EXTERNAL_DEVICE 911 "external device";
    INVALID_CLUSTER_SIZE 912 "invalid cluster size";
    FUNCTION_NOT_LOADED 913 "function not loaded";
    INVALID_RESOURCE_TYPE 914 "invalid resource type";
    INVALID_RESOURCE_CONFIGURATION 915 "invalid resource configuration";
    KEY_ROTATION 916 "key rotation";
    UNKNOWN 999 "unknown error";
}

static TEXTS: LazyLock<HashMap<i32, (CString, CString)>> = LazyLock::new(|| {
    let text = |text: String| CString::new(text).unwrap_or_default();
    let rows =
        ROWS.iter().map(|(name, code, what)| (*code, (text(format!("CUDA_ERROR_{name}")), text(what.to_string()))));
    rows.chain([(0, (text("CUDA_SUCCESS".into()), text("no error".into())))]).collect()
});

/// `CUDA_ERROR_INVALID_VALUE` and "invalid argument" for 1; none for a number that is no code.
pub fn texts(code: i32) -> Option<(&'static CStr, &'static CStr)> {
    TEXTS.get(&code).map(|(name, text)| (name.as_c_str(), text.as_c_str()))
}

impl Status {
    /// Whether the code tells the program that its call was wrong, as a GPU does. Any other that the driver gives a reason
    /// for is for what softgpu lacks.
    fn blames_the_call(self) -> bool {
        matches!(
            self,
            Status::INVALID_VALUE
                | Status::INVALID_HANDLE
                | Status::INVALID_CONTEXT
                | Status::CONTEXT_IS_DESTROYED
                | Status::INVALID_IMAGE
                | Status::FILE_NOT_FOUND
                | Status::LAUNCH_OUT_OF_RESOURCES
                | Status::COOPERATIVE_LAUNCH_TOO_LARGE
                | Status::NOT_PERMITTED
        )
    }
}

/// Says on stderr why the driver refuses, and gives the code that the caller gets: a real driver's code alone does not
/// say which argument was wrong.
pub fn refuse<T>(status: Status, why: impl Display) -> Result<T> {
    refuse_as(status, why, misused)
}

/// The same for a launch, without which the program's results are not what they seem.
pub fn refuse_launch<T>(status: Status, why: impl Display) -> Result<T> {
    refuse_as(status, why, not_launched)
}

fn refuse_as<T, D: Display>(status: Status, why: D, wrong: impl FnOnce(D)) -> Result<T> {
    if status.blames_the_call() {
        wrong(why)
    } else {
        lost(why)
    }
    Err(status)
}

thread_local! {
    /// Whether anything was said during this call.
    pub static SAID: Cell<bool> = const { Cell::new(false) };
}

/// Says which call gave a code that blames it, where nothing more is known, if it counts. What a program asks (`…Get…`) may
/// well be what it wants to find out, such as whether a pointer is one.
pub fn blame(call: &str, status: Status) {
    let launch = call.starts_with("cuLaunch") || call.starts_with("cuGraphLaunch");
    if !status.blames_the_call() || call.contains("Get") || !launch && !counts_calls() {
        return;
    }
    let text = texts(status.0).map_or("?".into(), |(name, _)| name.to_string_lossy());
    let what = format!("{call}: {text}");
    if launch { not_launched(what) } else { misused(what) }
}

/// One line on stderr, unless `SOFTGPU_QUIET` is set. A stderr that is full or closed is no reason to stop: what was found is
/// noted elsewhere too.
pub fn say(what: impl Display) {
    SAID.set(true);
    static QUIET: LazyLock<bool> = LazyLock::new(|| std::env::var_os("SOFTGPU_QUIET").is_some());
    if !*QUIET {
        let _ = writeln!(std::io::stderr(), "softgpu: {what}");
    }
}
