//! The call graph: which functions a kernel needs, which can reach themselves, and which may be called through pointers.

use std::collections::{HashMap, HashSet};

use crate::ast::{Declared, Function, Instruction, Module, Operand, Parameter};

/// The functions that a kernel needs.
pub struct Graph {
    /// Callees before callers.
    pub order: Vec<usize>,
    /// Reached by calls that name them: what softgpu lacks for them is an error, not a trap.
    pub certain: HashSet<usize>,
    pub recursive: HashSet<usize>,
    /// May be called through pointers.
    pub targets: Vec<usize>,
    /// Most bytes that calls pass in a function's `[]` parameter.
    pub variadic: HashMap<usize, usize>,
}

/// What a call looks like from outside: bytes of results and parameters.
type Shape = (Vec<usize>, Vec<usize>);

pub(super) fn shape(results: &[Parameter], parameters: &[Parameter]) -> Shape {
    let bytes = |all: &[Parameter]| all.iter().map(|p| p.bytes).collect();
    (bytes(results), bytes(parameters))
}

pub(super) fn is_call(i: &Instruction) -> bool {
    i.head() == "call" && i.operands.len() >= 3
}

/// The function of the module that a call names.
pub(super) fn named(module: &Module, i: &Instruction) -> Option<usize> {
    match i.operands.get(1) {
        Some(Operand::Symbol(name)) if is_call(i) => module.function(name).filter(|&f| module.functions[f].defined),
        _ => None,
    }
}

/// Parameters of a call through a pointer: its prototype, or those of the first function that it lists.
pub(super) fn prototype<'m, 'a>(
    module: &'m Module<'a>,
    function: &'m Function<'a>,
    i: &Instruction,
) -> Option<(&'m [Parameter<'a>], &'m [Parameter<'a>])> {
    let Some(Operand::Declared(at)) = i.operands.get(3) else { return None };
    match &function.declarations.get(*at)?.what {
        Declared::Prototype(p) => Some((&p.results, &p.parameters)),
        Declared::Calls(names) => {
            let f = &module.functions[module.function(names.first()?)?];
            Some((&f.results, &f.parameters))
        }
        Declared::Branches(_) => None,
    }
}

fn points(i: &Instruction) -> bool {
    is_call(i) && matches!(i.operands[1], Operand::Register(_))
}

impl Graph {
    pub fn of(module: &Module, kernel: &Function) -> Graph {
        let n = module.functions.len();
        let direct: Vec<Vec<usize>> =
            module.functions.iter().map(|f| f.body.iter().filter_map(|i| named(module, i)).collect()).collect();
        let roots: Vec<usize> = kernel.body.iter().filter_map(|i| named(module, i)).collect();
        let certain = reach(&roots, &direct);
        // What may be called through a pointer: functions whose address is taken, by their shape.
        let mut all = certain.clone();
        let mut targets: Vec<usize>;
        loop {
            let bodies = || all.iter().map(|&f| &module.functions[f]).chain([kernel]);
            let shapes: HashSet<Shape> = bodies()
                .flat_map(|f| f.body.iter().filter(|i| points(i)).filter_map(|i| prototype(module, f, i)))
                .map(|(results, parameters)| shape(results, parameters))
                .collect();
            let mut taken: HashSet<usize> = HashSet::new();
            let mut take = |name: &str| taken.extend(module.function(name).filter(|&f| module.functions[f].defined));
            module.variables.iter().flat_map(|v| &v.addresses).for_each(|a| take(a.name));
            for f in bodies() {
                for i in &f.body {
                    for (_, operand) in i.operands.iter().enumerate().filter(|(at, _)| !is_call(i) || *at != 1) {
                        operand.walk(&mut |o| {
                            if let Operand::Symbol(name) = o {
                                take(name);
                            }
                        });
                    }
                }
                for declaration in &f.declarations {
                    if let Declared::Calls(names) = &declaration.what {
                        names.iter().for_each(|name| take(name));
                    }
                }
            }
            targets = (0..n)
                .filter(|f| taken.contains(f))
                .filter(|&f| shapes.contains(&shape(&module.functions[f].results, &module.functions[f].parameters)))
                .collect();
            let before = all.len();
            all.extend(reach(&targets, &direct));
            if all.len() == before {
                break;
            }
        }
        let mut edges = direct;
        for &f in &all {
            if module.functions[f].body.iter().any(points) {
                edges[f].extend(&targets);
            }
        }
        let recursive = all.iter().copied().filter(|&f| reach(&edges[f], &edges).contains(&f)).collect();
        let mut from = roots;
        from.extend(&targets);
        let order = post_order(&from, &edges);
        let mut graph = Graph { order, certain, recursive, targets, variadic: HashMap::new() };
        for f in module.functions.iter().chain([kernel]) {
            for i in &f.body {
                graph.count_variadic(module, f, i);
            }
        }
        graph
    }

    /// Calls with a `[]` parameter: how many bytes they pass.
    fn count_variadic(&mut self, module: &Module, f: &Function, i: &Instruction) {
        let (Some(callee), Some(Operand::List(arguments))) = (named(module, i), i.operands.get(2)) else { return };
        let open = module.functions[callee].parameters.iter().position(|p| p.array && p.bytes == 0);
        let Some(Operand::Variable(v)) = open.and_then(|at| arguments.get(at)) else { return };
        let most = self.variadic.entry(callee).or_default();
        *most = f.variables[*v].bytes.max(*most);
    }
}

/// Everything that is reached from there, itself included.
fn reach(from: &[usize], edges: &[Vec<usize>]) -> HashSet<usize> {
    let (mut seen, mut todo) = (HashSet::new(), from.to_vec());
    while let Some(f) = todo.pop() {
        if seen.insert(f) {
            todo.extend(&edges[f]);
        }
    }
    seen
}

fn post_order(from: &[usize], edges: &[Vec<usize>]) -> Vec<usize> {
    let (mut seen, mut order) = (HashSet::new(), Vec::new());
    for &root in from {
        let mut path = Vec::new();
        if seen.insert(root) {
            path.push((root, 0));
        }
        while let Some((f, next)) = path.last_mut() {
            match edges[*f].get(*next) {
                Some(&to) => {
                    *next += 1;
                    if seen.insert(to) {
                        path.push((to, 0));
                    }
                }
                None => {
                    order.push(*f);
                    path.pop();
                }
            }
        }
    }
    order
}
