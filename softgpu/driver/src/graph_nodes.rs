//! Nodes of each kind: adding, reading and changing them, in graphs and in executable ones.

use std::ffi::{c_int, c_uint, c_void};
use std::sync::Arc;

use crate::entry::{api, get, list, put};
use crate::graph::Node;
use crate::launch::{Sizes, prepare};
use crate::state::{Gpu, Handle, current, gpu};
use crate::status::{Result, Status, refuse};
use crate::types::{Copy3d, FillParams, KernelParams};
use crate::work::{At, Copy, Fill, HostFunction, Work};
use crate::{copy, fill};

impl Work {
    /// `CUgraphNodeType`.
    fn kind(&self) -> c_int {
        match self {
            Work::Launch(_) | Work::Library(_) => 0,
            Work::Copy(_) => 1,
            Work::Fill(_) => 2,
            Work::Host { .. } | Work::Callback { .. } => 3,
            Work::Graph(_) => 4,
            Work::Nothing => 5,
            Work::WaitEvent(_) => 6,
            Work::Record(_) => 7,
            Work::Free(_) => 11,
        }
    }

    pub fn kind_name(&self) -> &'static str {
        match self {
            Work::Launch(_) => "kernel",
            Work::Library(call) => call.name,
            Work::Copy(_) => "memcpy",
            Work::Fill(_) => "memset",
            Work::Host { .. } | Work::Callback { .. } => "host",
            Work::Graph(_) => "graph",
            Work::Nothing => "empty",
            Work::WaitEvent(_) => "wait event",
            Work::Record(_) => "record event",
            Work::Free(_) => "free",
        }
    }
}

/// `second`: the parameters are of version 2.
unsafe fn kernel(gpu: &Gpu, params: *const KernelParams, second: bool) -> Result<Work> {
    // SAFETY: the caller's promise; in version 2 a kernel follows what is in both.
    unsafe {
        let p = get(params)?;
        let kernel = if second && p.function == 0 { (params.add(1) as *const Handle).read() } else { p.function };
        let sizes = Sizes { grid: p.grid, block: p.block, shared_bytes: p.shared_bytes, cooperative: false };
        Ok(Work::Launch(Arc::new(prepare(gpu, kernel, sizes, (p.params, p.extra))?)))
    }
}

unsafe fn memcpy(gpu: &Gpu, params: *const Copy3d) -> Result<Work> {
    // SAFETY: the caller's promise.
    let copy = copy::of_3d(gpu, &unsafe { get(params) }?)?;
    copy::check(gpu, &copy)?;
    Ok(Work::Copy(Arc::new(copy)))
}

unsafe fn memset(gpu: &Gpu, params: *const FillParams) -> Result<Work> {
    // SAFETY: the caller's promise.
    let p = unsafe { get(params) }?;
    let size = p.size as usize;
    if !matches!(size, 1 | 2 | 4) {
        return Err(Status::INVALID_VALUE);
    }
    let (width, height) = (p.width, p.height.max(1));
    let fill = Fill { at: At::Device(p.to), pitch: p.pitch, size, value: p.value, width, height };
    fill::check(gpu, &fill)?;
    Ok(Work::Fill(fill))
}

/// `CUDA_HOST_NODE_PARAMS`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct HostParams {
    function: Option<HostFunction>,
    data: *mut c_void,
}

unsafe fn host(params: *const HostParams) -> Result<Work> {
    // SAFETY: the caller's promise.
    let p = unsafe { get(params) }?;
    Ok(Work::Host { function: p.function.ok_or(Status::INVALID_VALUE)?, data: p.data as usize })
}

unsafe fn add(
    gpu: &mut Gpu,
    node: *mut Handle,
    graph: Handle,
    (after, count): (*const Handle, usize),
    work: Work,
) -> Result<()> {
    // SAFETY: the caller's promise.
    let after = unsafe { list(after, count) }?;
    let handle = gpu.add_node(graph, Node { after, work, enabled: true })?;
    // SAFETY: the caller's promise.
    unsafe { put(node, handle) }
}

/// New work for a node of the same kind.
fn set(gpu: &mut Gpu, node: Handle, work: Work) -> Result<()> {
    let node = gpu.node_mut(node)?;
    replace(&mut node.work, work)
}

fn set_exec(gpu: &mut Gpu, exec: Handle, node: Handle, work: Work) -> Result<()> {
    replace(&mut exec_node(gpu, exec, node)?.work, work)
}

fn exec_node(gpu: &mut Gpu, exec: Handle, node: Handle) -> Result<&mut Node> {
    let nodes = &mut gpu.execs.get_mut(exec)?.nodes;
    nodes.iter_mut().find(|(handle, _)| *handle == node).map(|(_, node)| node).ok_or(Status::INVALID_VALUE)
}

fn replace(old: &mut Work, new: Work) -> Result<()> {
    if old.kind() != new.kind() {
        return Err(Status::INVALID_VALUE);
    }
    *old = new;
    Ok(())
}

/// What a kernel node holds; the arguments stay inside, where a caller could not reach them anyway.
unsafe fn kernel_params(node: Handle, params: *mut KernelParams, second: bool) -> Result<()> {
    let gpu = gpu()?;
    let Work::Launch(launch) = &gpu.node(node)?.work else { return Err(Status::INVALID_VALUE) };
    let (grid, block, shared_bytes) = (launch.grid, launch.block, launch.shared_bytes);
    let (function, none, extra) = (launch.function, std::ptr::null(), std::ptr::null());
    // SAFETY: the caller's promise; only version 2 has a kernel and a context behind.
    unsafe {
        put(params, KernelParams { function, grid, block, shared_bytes, params: none, extra })?;
        if second {
            put(params.add(1) as *mut [Handle; 2], [0; 2])?;
        }
    }
    Ok(())
}

api! {
    fn cuGraphAddKernelNode(
        node: *mut Handle, graph: Handle, after: *const Handle, count: usize, params: *const KernelParams,
    ) {
        let (mut gpu, _) = current()?;
        let work = kernel(&gpu, params, false)?;
        add(&mut gpu, node, graph, (after, count), work)
    }

    fn cuGraphAddKernelNode_v2(
        node: *mut Handle, graph: Handle, after: *const Handle, count: usize, params: *const KernelParams,
    ) {
        let (mut gpu, _) = current()?;
        let work = kernel(&gpu, params, true)?;
        add(&mut gpu, node, graph, (after, count), work)
    }

    fn cuGraphKernelNodeGetParams(node: Handle, params: *mut KernelParams) {
        kernel_params(node, params, false)
    }

    fn cuGraphKernelNodeGetParams_v2(node: Handle, params: *mut KernelParams) {
        kernel_params(node, params, true)
    }

    fn cuGraphKernelNodeSetParams(node: Handle, params: *const KernelParams) {
        let (mut gpu, _) = current()?;
        let work = kernel(&gpu, params, false)?;
        set(&mut gpu, node, work)
    }

    fn cuGraphKernelNodeSetParams_v2(node: Handle, params: *const KernelParams) {
        let (mut gpu, _) = current()?;
        let work = kernel(&gpu, params, true)?;
        set(&mut gpu, node, work)
    }

    fn cuGraphExecKernelNodeSetParams(exec: Handle, node: Handle, params: *const KernelParams) {
        let (mut gpu, _) = current()?;
        let work = kernel(&gpu, params, false)?;
        set_exec(&mut gpu, exec, node, work)
    }

    fn cuGraphExecKernelNodeSetParams_v2(exec: Handle, node: Handle, params: *const KernelParams) {
        let (mut gpu, _) = current()?;
        let work = kernel(&gpu, params, true)?;
        set_exec(&mut gpu, exec, node, work)
    }

    fn cuGraphAddMemcpyNode(
        node: *mut Handle, graph: Handle, after: *const Handle, count: usize, params: *const Copy3d,
        _context: Handle,
    ) {
        let (mut gpu, _) = current()?;
        let work = memcpy(&gpu, params)?;
        add(&mut gpu, node, graph, (after, count), work)
    }

    fn cuGraphMemcpyNodeSetParams(node: Handle, params: *const Copy3d) {
        let (mut gpu, _) = current()?;
        let work = memcpy(&gpu, params)?;
        set(&mut gpu, node, work)
    }

    fn cuGraphExecMemcpyNodeSetParams(
        exec: Handle, node: Handle, params: *const Copy3d, _context: Handle,
    ) {
        let (mut gpu, _) = current()?;
        let work = memcpy(&gpu, params)?;
        set_exec(&mut gpu, exec, node, work)
    }

    fn cuGraphMemcpyNodeGetParams(node: Handle, params: *mut Copy3d) {
        let gpu = gpu()?;
        let Work::Copy(copy) = &gpu.node(node)?.work else { return Err(Status::INVALID_VALUE) };
        put(params, params_of(copy))
    }

    fn cuGraphAddMemsetNode(
        node: *mut Handle, graph: Handle, after: *const Handle, count: usize,
        params: *const FillParams, _context: Handle,
    ) {
        let (mut gpu, _) = current()?;
        let work = memset(&gpu, params)?;
        add(&mut gpu, node, graph, (after, count), work)
    }

    fn cuGraphMemsetNodeSetParams(node: Handle, params: *const FillParams) {
        let (mut gpu, _) = current()?;
        let work = memset(&gpu, params)?;
        set(&mut gpu, node, work)
    }

    fn cuGraphExecMemsetNodeSetParams(
        exec: Handle, node: Handle, params: *const FillParams, _context: Handle,
    ) {
        let (mut gpu, _) = current()?;
        let work = memset(&gpu, params)?;
        set_exec(&mut gpu, exec, node, work)
    }

    fn cuGraphMemsetNodeGetParams(node: Handle, params: *mut FillParams) {
        let gpu = gpu()?;
        let Work::Fill(Fill { at: At::Device(to), pitch, size, value, width, height }) = gpu.node(node)?.work else {
            return Err(Status::INVALID_VALUE);
        };
        put(params, FillParams { to, pitch, value, size: size as c_uint, width, height })
    }

    fn cuGraphAddHostNode(
        node: *mut Handle, graph: Handle, after: *const Handle, count: usize, params: *const HostParams,
    ) {
        let (mut gpu, _) = current()?;
        let work = host(params)?;
        add(&mut gpu, node, graph, (after, count), work)
    }

    fn cuGraphHostNodeSetParams(node: Handle, params: *const HostParams) {
        let work = host(params)?;
        set(&mut current()?.0, node, work)
    }

    fn cuGraphExecHostNodeSetParams(exec: Handle, node: Handle, params: *const HostParams) {
        let work = host(params)?;
        set_exec(&mut current()?.0, exec, node, work)
    }

    fn cuGraphHostNodeGetParams(node: Handle, params: *mut HostParams) {
        let gpu = gpu()?;
        let Work::Host { function, data } = gpu.node(node)?.work else { return Err(Status::INVALID_VALUE) };
        put(params, HostParams { function: Some(function), data: data as *mut c_void })
    }

    fn cuGraphAddEmptyNode(node: *mut Handle, graph: Handle, after: *const Handle, count: usize) {
        add(&mut current()?.0, node, graph, (after, count), Work::Nothing)
    }

    fn cuGraphAddEventRecordNode(
        node: *mut Handle, graph: Handle, after: *const Handle, count: usize, event: Handle,
    ) {
        let (mut gpu, _) = current()?;
        gpu.events.get(event)?;
        add(&mut gpu, node, graph, (after, count), Work::Record(event))
    }

    fn cuGraphAddEventWaitNode(
        node: *mut Handle, graph: Handle, after: *const Handle, count: usize, event: Handle,
    ) {
        let (mut gpu, _) = current()?;
        gpu.events.get(event)?;
        add(&mut gpu, node, graph, (after, count), Work::WaitEvent(event))
    }

    /// The child is copied: later changes of it do not count.
    fn cuGraphAddChildGraphNode(
        node: *mut Handle, graph: Handle, after: *const Handle, count: usize, child: Handle,
    ) {
        let (mut gpu, _) = current()?;
        let child = gpu.clone_graph(child)?;
        gpu.graphs.get_mut(child)?.child = true;
        add(&mut gpu, node, graph, (after, count), Work::Graph(child))
    }

    fn cuGraphChildGraphNodeGetGraph(node: Handle, graph: *mut Handle) {
        let gpu = gpu()?;
        let Work::Graph(child) = gpu.node(node)?.work else { return Err(Status::INVALID_VALUE) };
        put(graph, child)
    }

    fn cuGraphNodeGetType(node: Handle, kind: *mut c_int) {
        put(kind, gpu()?.node(node)?.work.kind())
    }

    fn cuGraphNodeSetEnabled(exec: Handle, node: Handle, enabled: c_uint) {
        let mut gpu = gpu()?;
        let node = exec_node(&mut gpu, exec, node)?;
        if !matches!(node.work, Work::Launch(_) | Work::Copy(_) | Work::Fill(_)) {
            return Err(Status::INVALID_VALUE);
        }
        node.enabled = enabled != 0;
        Ok(())
    }

    fn cuGraphNodeGetEnabled(exec: Handle, node: Handle, enabled: *mut c_uint) {
        let mut gpu = gpu()?;
        put(enabled, exec_node(&mut gpu, exec, node)?.enabled.into())
    }

    /// The newer form of all `cuGraphAdd…Node`: a type, then a union of the parameters.
    fn cuGraphAddNode_v2(
        node: *mut Handle, graph: Handle, after: *const Handle, _data: *const u8, count: usize, params: *const c_void,
    ) {
        let (mut gpu, _) = current()?;
        let work = generic(&mut gpu, params)?;
        add(&mut gpu, node, graph, (after, count), work)
    }

    fn cuGraphAddNode(
        node: *mut Handle, graph: Handle, after: *const Handle, count: usize, params: *const c_void,
    ) {
        let (mut gpu, _) = current()?;
        let work = generic(&mut gpu, params)?;
        add(&mut gpu, node, graph, (after, count), work)
    }

    fn cuGraphNodeSetParams(node: Handle, params: *const c_void) {
        let (mut gpu, _) = current()?;
        let work = generic(&mut gpu, params)?;
        set(&mut gpu, node, work)
    }

    fn cuGraphExecNodeSetParams(exec: Handle, node: Handle, params: *const c_void) {
        let (mut gpu, _) = current()?;
        let work = generic(&mut gpu, params)?;
        set_exec(&mut gpu, exec, node, work)
    }
}

/// `CUgraphNodeParams`: the type at byte 0, the union at byte 16.
unsafe fn generic(gpu: &mut Gpu, params: *const c_void) -> Result<Work> {
    if params.is_null() {
        return Err(Status::INVALID_VALUE);
    }
    // SAFETY: the caller's promise. Memcpy parameters come after flags, a reserved word and a context (16 bytes);
    // `CUDA_KERNEL_NODE_PARAMS_v3` is version 2 with more behind.
    unsafe {
        let union = (params as *const u8).add(16);
        match (params as *const c_int).read() {
            0 => kernel(gpu, union as *const KernelParams, true),
            1 => memcpy(gpu, union.add(16) as *const Copy3d),
            2 => memset(gpu, union as *const FillParams),
            3 => host(union as *const HostParams),
            4 => Ok(Work::Graph(gpu.clone_graph((union as *const Handle).read())?)),
            5 => Ok(Work::Nothing),
            6 => Ok(Work::WaitEvent((union as *const Handle).read())),
            7 => Ok(Work::Record((union as *const Handle).read())),
            kind => refuse(Status::NOT_SUPPORTED, format!("graphs: no nodes of type {kind}")),
        }
    }
}

fn params_of(copy: &Copy) -> Copy3d {
    let (from, to) = (&copy.from, &copy.to);
    let mut p = Copy3d {
        from_pitch: from.pitch,
        from_height: from.slice / from.pitch.max(1),
        to_pitch: to.pitch,
        to_height: to.slice / to.pitch.max(1),
        width: copy.width,
        height: copy.height,
        depth: copy.depth,
        ..Copy3d::default()
    };
    match &from.at {
        At::Device(address) => (p.from_kind, p.from_device) = (copy::DEVICE, *address),
        At::Host(address) => (p.from_kind, p.from_host) = (copy::HOST, *address),
        At::Staged(data) => (p.from_kind, p.from_host) = (copy::HOST, data.as_ptr() as usize),
    }
    match to.at {
        At::Device(address) => (p.to_kind, p.to_device) = (copy::DEVICE, address),
        At::Host(address) => (p.to_kind, p.to_host) = (copy::HOST, address),
        At::Staged(_) => {}
    }
    p
}
