//! Graphs: nodes and edges, instantiation, launch.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::{c_char, c_int, c_uint, c_ulonglong, c_void};

use crate::entry::{api, list, put, put_if};
use crate::queue::OpId;
use crate::state::{Gpu, Handle, current, gpu, new_handle};
use crate::status::{Result, Status, say};
use crate::stream::on_stream;
use crate::work::Work;

/// Work, and the nodes that it comes after.
#[derive(Clone)]
pub struct Node {
    pub after: Vec<Handle>,
    pub work: Work,
    pub enabled: bool,
}

#[derive(Clone, Default)]
pub struct Graph {
    pub nodes: BTreeMap<Handle, Node>,
    /// A copy of another graph: its nodes' handles there, and ours.
    pub clone_of: HashMap<Handle, Handle>,
    /// Belongs to a child node, and goes with it.
    pub child: bool,
}

/// An executable graph: nodes in an order that respects the edges, under the handles of the graph it came from.
#[derive(Clone)]
pub struct Exec {
    pub nodes: Vec<(Handle, Node)>,
    flags: u64,
}

impl Graph {
    /// An order that respects all edges; an error if they form a circle.
    fn ordered(&self) -> Result<Vec<(Handle, Node)>> {
        let mut ordered: Vec<(Handle, Node)> = Vec::new();
        let mut done = BTreeSet::new();
        while ordered.len() < self.nodes.len() {
            let before = ordered.len();
            for (handle, node) in &self.nodes {
                if !done.contains(handle) && node.after.iter().all(|other| done.contains(other)) {
                    done.insert(*handle);
                    ordered.push((*handle, node.clone()));
                }
            }
            if ordered.len() == before {
                return Err(Status::INVALID_VALUE);
            }
        }
        Ok(ordered)
    }
}

impl Gpu {
    pub fn add_node(&mut self, graph: Handle, node: Node) -> Result<Handle> {
        let graph = self.graphs.get_mut(graph)?;
        if node.after.iter().any(|other| !graph.nodes.contains_key(other)) {
            return Err(Status::INVALID_VALUE);
        }
        let handle = new_handle();
        graph.nodes.insert(handle, node);
        Ok(handle)
    }

    /// The graph with this node.
    pub fn graph_of(&self, node: Handle) -> Result<Handle> {
        let found = self.graphs.iter().find(|(_, graph)| graph.nodes.contains_key(&node));
        found.map(|(graph, _)| graph).ok_or(Status::INVALID_VALUE)
    }

    pub fn node(&self, node: Handle) -> Result<&Node> {
        self.graphs.get(self.graph_of(node)?)?.nodes.get(&node).ok_or(Status::INVALID_VALUE)
    }

    pub fn node_mut(&mut self, node: Handle) -> Result<&mut Node> {
        let graph = self.graph_of(node)?;
        self.graphs.get_mut(graph)?.nodes.get_mut(&node).ok_or(Status::INVALID_VALUE)
    }

    pub fn remove_graph(&mut self, graph: Handle) -> Result<()> {
        let graph = self.graphs.remove(graph)?;
        for node in graph.nodes.values() {
            if let Work::Graph(child) = node.work {
                self.remove_graph(child)?;
            }
        }
        Ok(())
    }

    pub fn clone_graph(&mut self, graph: Handle) -> Result<Handle> {
        let source = self.graphs.get(graph)?.clone();
        let names: HashMap<Handle, Handle> = source.nodes.keys().map(|node| (*node, new_handle())).collect();
        let mut nodes = BTreeMap::new();
        for (handle, node) in source.nodes {
            let after = node.after.iter().map(|other| names[other]).collect();
            let work = match node.work {
                Work::Graph(child) => Work::Graph(self.clone_graph(child)?),
                work => work,
            };
            nodes.insert(names[&handle], Node { after, work, ..node });
        }
        Ok(self.graphs.add(Graph { nodes, clone_of: names, child: false }))
    }

    fn instantiate(&mut self, graph: Handle, flags: u64) -> Result<Handle> {
        let mut nodes = self.graphs.get(graph)?.ordered()?;
        for (_, node) in &mut nodes {
            if let Work::Graph(child) = node.work {
                // Later changes of the child do not reach the executable graph.
                node.work = Work::Graph(self.clone_graph(child)?);
            }
        }
        Ok(self.execs.add(Exec { nodes, flags }))
    }

    /// Puts the nodes into the queue after `before`; gives those that later work comes after.
    fn enqueue(&mut self, context: Handle, nodes: &[(Handle, Node)], before: &[OpId]) -> Result<Vec<OpId>> {
        let mut ends: HashMap<Handle, Vec<OpId>> = HashMap::new();
        let mut leaves: BTreeSet<Handle> = nodes.iter().map(|(handle, _)| *handle).collect();
        for (handle, node) in nodes {
            let mut after: Vec<OpId> = node.after.iter().flat_map(|other| ends[other].clone()).collect();
            if node.after.is_empty() {
                after.extend(before);
            }
            node.after.iter().for_each(|other| {
                leaves.remove(other);
            });
            let ops = match &node.work {
                _ if !node.enabled => after,
                Work::Graph(child) => {
                    let child = self.graphs.get(*child)?.ordered()?;
                    self.enqueue(context, &child, &after)?
                }
                Work::WaitEvent(event) => {
                    after.extend(self.events.get(*event)?.recorded);
                    vec![self.queue.add(context, Work::Nothing, after)]
                }
                work => {
                    let op = self.queue.add(context, work.clone(), after);
                    if let Work::Record(event) = work {
                        self.mark_recorded(*event, Some(op));
                    }
                    vec![op]
                }
            };
            ends.insert(*handle, ops);
        }
        let mut last: Vec<OpId> = leaves.iter().flat_map(|handle| ends[handle].clone()).collect();
        if nodes.is_empty() {
            last.extend(before);
        }
        Ok(last)
    }

    fn launch_graph(&mut self, exec: Handle, stream: Handle) -> Result<()> {
        let nodes = self.execs.get(exec)?.nodes.clone();
        let context = self.streams.get(stream)?.context;
        if self.streams.get(stream)?.capture.is_some() {
            // A graph launched into a capture becomes a child node.
            let graph = Graph { nodes: nodes.into_iter().collect(), child: true, ..Graph::default() };
            let child = self.graphs.add(graph);
            let child = self.clone_graph(child)?;
            return self.submit(stream, Work::Graph(child));
        }
        self.healthy(context)?;
        let before = self.predecessors(stream)?;
        let last = self.enqueue(context, &nodes, &before)?;
        let end = self.queue.add(context, Work::Nothing, last);
        let stream = self.streams.get_mut(stream)?;
        stream.last = Some(end);
        stream.waits_for.clear();
        Ok(())
    }
}

/// Fills an array of handles that may be null (then only the count is asked for).
///
/// # Safety
/// As the driver API asks.
pub unsafe fn give(found: &[Handle], to: *mut Handle, count: *mut usize) -> Result<()> {
    // SAFETY: the caller's promise: the array has `count` places.
    unsafe {
        if to.is_null() {
            return put(count, found.len());
        }
        let room = crate::entry::get(count)?;
        for index in 0..room {
            to.add(index).write(found.get(index).copied().unwrap_or(0));
        }
        put(count, found.len().min(room))
    }
}

unsafe fn instantiate(exec: *mut Handle, graph: Handle, flags: u64) -> Result<()> {
    let (mut gpu, _) = current()?;
    let handle = gpu.instantiate(graph, flags)?;
    // SAFETY: the caller's promise.
    unsafe { put(exec, handle) }
}

unsafe fn edges(graph: Handle, from: *mut Handle, to: *mut Handle, count: *mut usize) -> Result<()> {
    let gpu = gpu()?;
    let all: Vec<(Handle, Handle)> = gpu
        .graphs
        .get(graph)?
        .nodes
        .iter()
        .flat_map(|(handle, node)| node.after.iter().map(move |other| (*other, *handle)))
        .collect();
    let (sources, targets): (Vec<Handle>, Vec<Handle>) = all.into_iter().unzip();
    // SAFETY: the caller's promise.
    unsafe {
        let room = if count.is_null() { 0 } else { count.read() };
        give(&sources, from, count)?;
        if !to.is_null() {
            count.write(room);
            give(&targets, to, count)?;
        }
    }
    Ok(())
}

unsafe fn change_edges(graph: Handle, from: *const Handle, to: *const Handle, count: usize, add: bool) -> Result<()> {
    let mut gpu = gpu()?;
    // SAFETY: the caller's promise.
    let (from, to) = unsafe { (list(from, count)?, list(to, count)?) };
    let graph = gpu.graphs.get_mut(graph)?;
    for (from, to) in from.into_iter().zip(to) {
        if !graph.nodes.contains_key(&from) {
            return Err(Status::INVALID_VALUE);
        }
        let node = graph.nodes.get_mut(&to).ok_or(Status::INVALID_VALUE)?;
        match (add, node.after.iter().position(|other| *other == from)) {
            (true, None) => node.after.push(from),
            (false, Some(at)) => {
                node.after.remove(at);
            }
            // An edge twice, or one that is not there.
            _ => return Err(Status::INVALID_VALUE),
        }
    }
    Ok(())
}

unsafe fn before(node: Handle, nodes: *mut Handle, count: *mut usize) -> Result<()> {
    let gpu = gpu()?;
    // SAFETY: the caller's promise.
    unsafe { give(&gpu.node(node)?.after, nodes, count) }
}

unsafe fn after(node: Handle, nodes: *mut Handle, count: *mut usize) -> Result<()> {
    let gpu = gpu()?;
    let graph = gpu.graphs.get(gpu.graph_of(node)?)?;
    let found: Vec<Handle> = graph.nodes.iter().filter(|(_, n)| n.after.contains(&node)).map(|(h, _)| *h).collect();
    // SAFETY: the caller's promise.
    unsafe { give(&found, nodes, count) }
}

/// `CUgraphExecUpdateResult`: success, the topology changed.
const UPDATED: c_int = 0;
const TOPOLOGY_CHANGED: c_int = 2;

api! {
    fn cuGraphCreate(graph: *mut Handle, flags: c_uint) {
        let mut gpu = gpu()?;
        if flags != 0 {
            return Err(Status::INVALID_VALUE);
        }
        let handle = gpu.graphs.add(Graph::default());
        put(graph, handle)
    }

    fn cuGraphDestroy(graph: Handle) {
        gpu()?.remove_graph(graph)
    }

    fn cuGraphClone(clone: *mut Handle, graph: Handle) {
        let handle = gpu()?.clone_graph(graph)?;
        put(clone, handle)
    }

    fn cuGraphNodeFindInClone(node: *mut Handle, original: Handle, clone: Handle) {
        let gpu = gpu()?;
        put(node, *gpu.graphs.get(clone)?.clone_of.get(&original).ok_or(Status::INVALID_VALUE)?)
    }

    fn cuGraphGetNodes(graph: Handle, nodes: *mut Handle, count: *mut usize) {
        let gpu = gpu()?;
        let found: Vec<Handle> = gpu.graphs.get(graph)?.nodes.keys().copied().collect();
        give(&found, nodes, count)
    }

    fn cuGraphGetRootNodes(graph: Handle, nodes: *mut Handle, count: *mut usize) {
        let gpu = gpu()?;
        let all = &gpu.graphs.get(graph)?.nodes;
        let found: Vec<Handle> = all.iter().filter(|(_, node)| node.after.is_empty()).map(|(h, _)| *h).collect();
        give(&found, nodes, count)
    }

    fn cuGraphGetEdges(graph: Handle, from: *mut Handle, to: *mut Handle, count: *mut usize) {
        edges(graph, from, to, count)
    }

    /// Edges carry no data.
    fn cuGraphGetEdges_v2(graph: Handle, from: *mut Handle, to: *mut Handle, _data: *mut u8, count: *mut usize) {
        edges(graph, from, to, count)
    }

    fn cuGraphAddDependencies(graph: Handle, from: *const Handle, to: *const Handle, count: usize) {
        change_edges(graph, from, to, count, true)
    }

    fn cuGraphAddDependencies_v2(
        graph: Handle, from: *const Handle, to: *const Handle, _data: *const u8, count: usize,
    ) {
        change_edges(graph, from, to, count, true)
    }

    fn cuGraphRemoveDependencies(graph: Handle, from: *const Handle, to: *const Handle, count: usize) {
        change_edges(graph, from, to, count, false)
    }

    fn cuGraphRemoveDependencies_v2(
        graph: Handle, from: *const Handle, to: *const Handle, _data: *const u8, count: usize,
    ) {
        change_edges(graph, from, to, count, false)
    }

    fn cuGraphNodeGetDependencies(node: Handle, nodes: *mut Handle, count: *mut usize) {
        before(node, nodes, count)
    }

    fn cuGraphNodeGetDependencies_v2(node: Handle, nodes: *mut Handle, _data: *mut u8, count: *mut usize) {
        before(node, nodes, count)
    }

    fn cuGraphNodeGetDependentNodes(node: Handle, nodes: *mut Handle, count: *mut usize) {
        after(node, nodes, count)
    }

    fn cuGraphNodeGetDependentNodes_v2(node: Handle, nodes: *mut Handle, _data: *mut u8, count: *mut usize) {
        after(node, nodes, count)
    }

    fn cuGraphDestroyNode(node: Handle) {
        let mut gpu = gpu()?;
        let graph = gpu.graph_of(node)?;
        let graph = gpu.graphs.get_mut(graph)?;
        let removed = graph.nodes.remove(&node);
        graph.nodes.values_mut().for_each(|other| other.after.retain(|before| *before != node));
        if let Some(Node { work: Work::Graph(child), .. }) = removed {
            gpu.remove_graph(child)?;
        }
        Ok(())
    }

    fn cuGraphInstantiateWithFlags(exec: *mut Handle, graph: Handle, flags: c_ulonglong) {
        instantiate(exec, graph, flags)
    }

    fn cuGraphInstantiate(
        exec: *mut Handle, graph: Handle, node: *mut Handle, _log: *mut c_char, _room: usize,
    ) {
        put_if(node, 0);
        instantiate(exec, graph, 0)
    }

    fn cuGraphInstantiate_v2(
        exec: *mut Handle, graph: Handle, node: *mut Handle, _log: *mut c_char, _room: usize,
    ) {
        put_if(node, 0);
        instantiate(exec, graph, 0)
    }

    /// `CUDA_GRAPH_INSTANTIATE_PARAMS`: flags, upload stream, the failing node and the result.
    fn cuGraphInstantiateWithParams | cuGraphInstantiateWithParams_ptsz(
        exec: *mut Handle, graph: Handle, params: *mut c_void,
    ) {
        if params.is_null() {
            return Err(Status::INVALID_VALUE);
        }
        let words = params as *mut u64;
        words.add(2).write(0);
        (words.add(3) as *mut c_int).write(0);
        instantiate(exec, graph, words.read())
    }

    fn cuGraphExecDestroy(exec: Handle) {
        let mut gpu = gpu()?;
        let exec = gpu.execs.remove(exec)?;
        for (_, node) in exec.nodes {
            if let Work::Graph(child) = node.work {
                gpu.remove_graph(child)?;
            }
        }
        Ok(())
    }

    fn cuGraphExecGetFlags(exec: Handle, flags: *mut u64) {
        put(flags, gpu()?.execs.get(exec)?.flags)
    }

    fn cuGraphLaunch | cuGraphLaunch_ptsz(exec: Handle, stream: Handle) {
        let (mut gpu, stream) = on_stream(stream)?;
        gpu.launch_graph(exec, stream)
    }

    fn cuGraphUpload | cuGraphUpload_ptsz(exec: Handle, stream: Handle) {
        let (gpu, _) = on_stream(stream)?;
        gpu.execs.get(exec).map(|_| ())
    }

    /// Takes over the work of a graph of the same form: as many nodes of the same kinds, in the same order.
    /// `CUgraphExecUpdateResultInfo`: result, the node at fault, its neighbour.
    fn cuGraphExecUpdate_v2(exec: Handle, graph: Handle, info: *mut c_void) {
        let mut gpu = gpu()?;
        let new = gpu.graphs.get(graph)?.ordered()?;
        let old = &mut gpu.execs.get_mut(exec)?.nodes;
        let kinds = |a: &Node, b: &Node| std::mem::discriminant(&a.work) == std::mem::discriminant(&b.work);
        let place = |nodes: &[(Handle, Node)], of: &Handle| nodes.iter().position(|(handle, _)| handle == of);
        let same = old.len() == new.len()
            && old.iter().zip(&new).all(|((_, a), (_, b))| {
                kinds(a, b)
                    && a.after.iter().map(|n| place(old, n)).eq(b.after.iter().map(|n| place(&new, n)))
                    && !matches!(b.work, Work::Graph(_))
            });
        if !info.is_null() {
            (info as *mut c_int).write(if same { UPDATED } else { TOPOLOGY_CHANGED });
            (info as *mut u64).add(1).write(0);
            (info as *mut u64).add(2).write(0);
        }
        if !same {
            // An answer, after which programs instantiate anew.
            say("cuGraphExecUpdate: the graphs differ in form");
            return Err(Status::GRAPH_EXEC_UPDATE_FAILURE);
        }
        for ((_, old), (_, new)) in old.iter_mut().zip(new) {
            old.work = new.work;
        }
        Ok(())
    }

    fn cuGraphDebugDotPrint(graph: Handle, path: *const c_char, _flags: c_uint) {
        let gpu = gpu()?;
        let mut dot = String::from("digraph {\n");
        for (handle, node) in &gpu.graphs.get(graph)?.nodes {
            let label = match &node.work {
                Work::Launch(launch) => format!("{} {:?}×{:?}", launch.kernel.name, launch.grid, launch.block),
                work => work.kind_name().to_owned(),
            };
            dot += &format!("  \"{handle:#x}\" [label=\"{label}\"];\n");
            node.after.iter().for_each(|other| dot += &format!("  \"{other:#x}\" -> \"{handle:#x}\";\n"));
        }
        std::fs::write(crate::entry::string(path)?, dot + "}\n").map_err(|_| Status::OPERATING_SYSTEM)
    }
}
