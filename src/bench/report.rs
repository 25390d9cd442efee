//! The figures for people, for programs, and as docs/kernels.md.

use std::fmt::Write;

use serde_json::{Value, json};

use super::measure::{Counted, Row};
use crate::device::Device;
use crate::device::kernels::MODULES;
use crate::error::{Error, Result};

/// Where occupancy is stated.
const ARCHS: [&str; 2] = ["sm_80", "sm_90"];
/// Whose estimate the tables show; JSON has every chip.
const CHIP: &str = "A100 SXM 80 GB";
/// Time, where it is no GPU's.
const CPU_TIME: &str = "cpu ms (softgpu)";

/// What must hold of a 2-byte type at the sizes of models.
const MOST_MOVED: f64 = 1.05;
const MOST_MOVED_BY_ATTENTION: f64 = 1.1;
const LEAST_EFFICIENCY: f64 = 0.99;
const MOST_CONFLICTS: f64 = 0.02;
const MOST_REGISTERS: u32 = 168;

fn number(value: Option<f64>, digits: usize) -> String {
    value.map_or_else(|| "–".to_owned(), |value| format!("{value:.digits$}"))
}

fn time_column(dev: &Device) -> &'static str {
    if dev.is_gpu() { "ms" } else { CPU_TIME }
}

/// A table of text: the first columns to the left, numbers to the right.
fn aligned(heads: &[&str], left: usize, lines: &[Vec<String>]) -> String {
    let width = |k: usize| {
        let cells = lines.iter().map(|line| line[k].chars().count());
        cells.chain([heads[k].chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..heads.len()).map(width).collect();
    let heads: Vec<String> = heads.iter().map(|head| (*head).to_owned()).collect();
    let mut text = String::new();
    for line in std::iter::once(&heads).chain(lines) {
        let cell = |(k, cell): (usize, &String)| {
            let gap = " ".repeat(widths[k] - cell.chars().count());
            if k < left { format!("{cell}{gap}") } else { format!("{gap}{cell}") }
        };
        let cells: Vec<String> = line.iter().enumerate().map(cell).collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

fn warn_of_softgpu(dev: &Device, text: &mut String) {
    if !dev.is_gpu() {
        text.push_str("softgpu: this time is the CPU's, running kernels in software; it says nothing about a GPU\n");
    }
}

/// Times alone.
pub fn times(dev: &Device, rows: &[Row]) -> String {
    let line = |row: &Row| {
        let rate = row.work.zip(row.ms).map(|(work, ms)| work.bytes as f64 / (ms * 1e6));
        let bytes = row.work.map_or_else(|| "–".to_owned(), |work| work.bytes.to_string());
        let cells = [row.kernel.clone(), row.shape.clone(), number(row.ms, 3), number(rate, 2), bytes];
        cells.to_vec()
    };
    let mut text = format!("on {}\n", dev.name());
    warn_of_softgpu(dev, &mut text);
    let heads = ["kernel", "shape", time_column(dev), "GB/s", "compulsory bytes"];
    text + &aligned(&heads, 2, &rows.iter().map(line).collect::<Vec<_>>())
}

/// Registers (sm_80), spills anywhere, shared memory, and occupancy on both architectures.
fn static_cells(row: &Row) -> [String; 5] {
    let registers = row.resources(ARCHS[0]).map(|r| f64::from(r.registers));
    let spills = row.worst_resources().map(|(_, spills)| f64::from(spills));
    let shared = row.counted.as_ref().map(|counted| counted.shared_bytes() as f64);
    let [a, b] = ARCHS.map(|arch| {
        row.occupancy(arch).map_or_else(|| "–".to_owned(), |o| format!("{} %", 100 * o.warps / o.warps_possible))
    });
    [number(registers, 0), number(spills, 0), number(shared, 0), a, b]
}

/// The estimate for the counted shape, in microseconds.
fn estimate(counted: &Counted) -> Option<f64> {
    counted.rooflines().iter().find(|estimate| estimate.chip == CHIP).map(|estimate| 1e6 * estimate.estimated_seconds)
}

/// Traffic as counted.
fn counted_cells(row: &Row) -> [String; 5] {
    let counted = row.counted.as_ref();
    [
        counted.map_or_else(|| "–".to_owned(), |c| c.moved_bytes().to_string()),
        number(counted.and_then(Counted::ratio), 3),
        number(counted.map(|c| 100.0 * c.sector_efficiency()), 1),
        number(counted.map(Counted::bank_conflicts_per_access), 3),
        number(counted.and_then(Counted::instructions_per_element), 1),
    ]
}

/// Of the columns below, those that a narrow terminal does not show; the first goes first. A time of softgpu says least.
const EXPENDABLE: [&str; 12] = [
    CPU_TIME,
    "counted at",
    ARCHS[1],
    "shared",
    "bytes moved",
    "instr/elem",
    ARCHS[0],
    "conflicts",
    "estimate us",
    "spills",
    "registers",
    "sector %",
];

/// The table without the columns that do not fit `columns`, and which these are.
fn fitted(mut heads: Vec<&str>, left: usize, mut lines: Vec<Vec<String>>, columns: Option<usize>) -> String {
    let (mut text, mut hidden) = (aligned(&heads, left, &lines), Vec::new());
    for name in EXPENDABLE {
        if columns.is_none_or(|columns| text.lines().all(|line| line.chars().count() <= columns)) {
            break;
        }
        let Some(at) = heads.iter().position(|head| *head == name) else { continue };
        hidden.push(heads.remove(at));
        lines.iter_mut().for_each(|line| drop(line.remove(at)));
        text = aligned(&heads, left, &lines);
    }
    if !hidden.is_empty() {
        let list = hidden.join(", ");
        text += &format!("\nnot shown, as the terminal is narrow: {list}\n`| cat` shows all, and --json more\n");
    }
    text
}

/// Everything, as far as it fits `columns`.
pub fn table(dev: &Device, rows: &[Row], columns: Option<usize>) -> String {
    let line = |row: &Row| {
        let shape = row.counted.as_ref().filter(|c| c.shape != row.shape).map(|c| c.shape.clone());
        let mut cells = vec![row.kernel.clone(), row.shape.clone(), number(row.ms, 3)];
        cells.extend(counted_cells(row));
        cells.extend(static_cells(row));
        cells.push(number(row.counted.as_ref().and_then(estimate), 2));
        cells.push(shape.unwrap_or_default());
        cells
    };
    let mut text = format!("on {}; counted by softgpu\n", dev.name());
    warn_of_softgpu(dev, &mut text);
    writeln!(text, "the estimate is the least time that the data sheet of an {CHIP} allows; nobody measured it").ok();
    let heads = [
        "kernel",
        "shape",
        time_column(dev),
        "bytes moved",
        "/compulsory",
        "sector %",
        "conflicts",
        "instr/elem",
        "registers",
        "spills",
        "shared",
        ARCHS[0],
        ARCHS[1],
        "estimate us",
        "counted at",
    ];
    text + &fitted(heads.to_vec(), 2, rows.iter().map(line).collect(), columns)
}

/// One object per kernel; see `omega bench --help`.
pub fn json(dev: &Device, rows: &[Row]) -> Result<String> {
    let rows: Vec<Value> = rows.iter().map(|row| object(dev, row)).collect();
    let value = json!({
        "device": dev.name(),
        "time_is_a_gpus": dev.is_gpu(),
        "time": if dev.is_gpu() { "device events" } else { "the CPU's, running kernels in software; says nothing about a GPU" },
        "kernels": rows,
    });
    let text = serde_json::to_string_pretty(&value);
    text.map(|text| text + "\n").map_err(|error| Error::data(format!("the figures cannot be written as JSON: {error}")))
}

fn object(dev: &Device, row: &Row) -> Value {
    let archs = ARCHS.iter().filter_map(|arch| {
        let r = row.resources(arch)?;
        let value = json!({
            "registers": r.registers,
            "spill_store_bytes": r.spill_store_bytes,
            "spill_load_bytes": r.spill_load_bytes,
            "static_shared_bytes": r.shared_bytes,
            "occupancy": row.occupancy(arch),
        });
        Some(((*arch).to_owned(), value))
    });
    let mut value = json!({
        "op": row.op,
        "kernel": row.kernel,
        "dtype": row.dtype.suffix(),
        "shape": row.shape,
        "launches": row.launches,
        "compulsory_bytes": row.work.map(|work| work.bytes),
        "archs": archs.collect::<serde_json::Map<_, _>>(),
    });
    value[if dev.is_gpu() { "ms" } else { "cpu_ms_softgpu" }] = json!(row.ms);
    if let Some(counted) = &row.counted {
        value["counted"] = json!({
            "shape": counted.shape,
            "compulsory_bytes": counted.work.map(|work| work.bytes),
            "moved_bytes": counted.moved_bytes(),
            "moved_over_compulsory": counted.ratio(),
            "footprint_bytes": counted.footprint_bytes(),
            "sector_efficiency": counted.sector_efficiency(),
            "bank_conflicts_per_access": counted.bank_conflicts_per_access(),
            "bank_conflict_share": counted.bank_conflict_share(),
            "instructions_per_element": counted.instructions_per_element(),
            "shared_bytes": counted.shared_bytes(),
            "roofline_estimate": counted.rooflines(),
        });
    }
    value
}

/// A figure beyond its limit.
struct Miss {
    figure: &'static str,
    /// The larger, the worse.
    by: f64,
    says: String,
}

/// What a row misses of the limits.
fn missed(row: &Row) -> Vec<Miss> {
    let mut missed = Vec::new();
    let mut miss = |figure, by, says| missed.push(Miss { figure, by, says });
    if let Some((registers, spills)) = row.worst_resources() {
        if spills > 0 {
            miss("spills", spills.into(), format!("spills {spills} bytes, limit 0"));
        }
        if registers > MOST_REGISTERS && !row.kernel.starts_with("attention_bwd") {
            miss("registers", registers.into(), format!("{registers} registers, limit {MOST_REGISTERS}"));
        }
    }
    let Some(counted) = row.counted.as_ref().filter(|_| !row.kernel.ends_with("_f32")) else { return missed };
    let most = if row.op == "attention" { MOST_MOVED_BY_ATTENTION } else { MOST_MOVED };
    if let Some(ratio) = counted.ratio().filter(|ratio| *ratio > most) {
        let footprint = counted.footprint_bytes() as f64 / counted.work.map_or(1, |work| work.bytes) as f64;
        let says = format!("moves {ratio:.3} of the compulsory ({footprint:.3} if caches were perfect), limit {most}");
        miss("traffic", ratio, says);
    }
    let (efficiency, conflicts) = (counted.sector_efficiency(), counted.bank_conflict_share());
    if efficiency < LEAST_EFFICIENCY {
        miss("sectors", -efficiency, format!("uses {:.1} % of its sectors, limit 99 %", 100.0 * efficiency));
    }
    if conflicts > MOST_CONFLICTS {
        miss("conflicts", conflicts, format!("loses {:.1} % of wavefronts to conflicts, limit 2 %", 100.0 * conflicts));
    }
    missed
}

/// docs/kernels.md: counts and what `ptxas` said, and times if they are a GPU's.
pub fn markdown(dev: &Device, rows: &[Row]) -> String {
    let mut text = String::from(INTRODUCTION);
    let time = if dev.is_gpu() { " ms |" } else { "" };
    if dev.is_gpu() {
        writeln!(text, "Times: device events on {}, median of 100 runs at the shape of the first line.\n", dev.name())
            .ok();
    }
    let (mut last, mut table) = ("", 0);
    for row in rows {
        if row.op != last {
            table = text.len();
            let rule = if dev.is_gpu() { "--:|" } else { "" };
            writeln!(text, "## {}\n", row.op).ok();
            writeln!(text, "| kernel | shape |{time} moved / compulsory | sector % | conflicts / access | instr. / element | registers | spills | shared bytes | sm_80 | sm_90 | estimate µs |").ok();
            writeln!(text, "|---|---|{rule}--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|").ok();
            last = row.op;
        }
        let Some(counted) = &row.counted else { continue };
        let [_, cells @ ..] = counted_cells(row);
        let mut line = vec![format!("`{}`", row.kernel), counted.shape.clone()];
        line.extend(dev.is_gpu().then(|| number(row.ms, 3)));
        line.extend(cells);
        line.extend(static_cells(row));
        line.push(number(estimate(counted), 2));
        let line = format!("| {} |\n", line.join(" | "));
        // Sizes above what is counted, and kernels that several cases launch, have lines that are the same.
        if !text[table..].contains(&line) {
            text.push_str(&line);
        }
        let last_of_op = rows.iter().rposition(|other| other.op == row.op && other.counted.is_some());
        if last_of_op.is_some_and(|at| std::ptr::eq(&rows[at], row)) {
            let of_op: Vec<&Row> = rows.iter().filter(|other| other.op == row.op).collect();
            text.push_str(&others(&of_op, if dev.is_gpu() { 7 } else { 6 }));
            text.push('\n');
            text.push_str(&reasons(&of_op));
        }
    }
    text
}

/// Lines of the kernels in an op's file that its cases do not launch: what `ptxas` said, after so many columns.
fn others(rows: &[&Row], columns: usize) -> String {
    let op = rows.first().map_or("", |row| row.op);
    let entries = MODULES.iter().filter(|module| module.name == op).flat_map(|module| module.entries);
    let idle = entries.filter(|entry| !rows.iter().any(|row| row.kernel == **entry));
    let line = |kernel: &&str| {
        let cells = static_cells(&Row::named(op, kernel)).join(" | ");
        format!("| `{kernel}` | not in these cases |{} {cells} | – |\n", " – |".repeat(columns - 2))
    };
    idle.map(line).collect()
}

/// A line for each figure that a kernel does not meet in some type or shape, and each reason: the worst, and why.
fn reasons(rows: &[&Row]) -> String {
    let mut worst: Vec<(&str, Miss, &Row)> = Vec::new();
    for row in rows {
        for miss in missed(row) {
            let alike = |(family, other, of): &&mut (&str, Miss, &Row)| {
                *family == row.family() && other.figure == miss.figure && of.why == row.why
            };
            match worst.iter_mut().find(alike) {
                Some(known) if known.1.by < miss.by => *known = (row.family(), miss, row),
                Some(_) => {}
                None => worst.push((row.family(), miss, row)),
            }
        }
    }
    let line = |(_, miss, row): (&str, Miss, &Row)| {
        let shape = row.counted.as_ref().map_or(row.shape.as_str(), |counted| counted.shape.as_str());
        let why = row.why.unwrap_or("no reason is written down yet");
        format!("* `{}` at {shape} {}: {why}.\n", row.kernel, miss.says)
    };
    let text: String = worst.into_iter().map(line).collect();
    if text.is_empty() { text } else { text + "\n" }
}

const INTRODUCTION: &str = "\
# Kernels, in figures
Written by `omega bench --markdown > docs/kernels.md`, after every kernel was compared with its f64 reference. Nothing here
was measured on a GPU: traffic and instructions are softgpu's exact counts ([what they mean](../softgpu/COUNTERS.md)) at the
shape that is given, registers and spills are what `ptxas -v` says for sm_80 (spills: of all architectures).

* *moved / compulsory*: 32 bytes for every sector that a warp asks for, as if no cache ever hit, over the bytes that the
  header of the kernel calls compulsory. Limit for 2-byte types: 1.05; attention 1.1.
* *sector %*: of what is moved, the part that was asked for. Limit 99. *conflicts / access*: extra passes over the banks of
  shared memory per access of a warp. Limit: 2 % of all passes.
* *sm_80, sm_90*: occupancy, of the warps that a multiprocessor can hold. Limit of registers: 168, but for attention's backward pass.
* *estimate µs*: an estimate, not a measurement: the least time that the data sheet of an A100 SXM 80 GB allows for the
  footprint and the operations that were counted. `omega bench --json` has other chips.

Below each table, a line for every figure of a kernel that misses its limit says why; of several types and shapes, the worst.

";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_fits_the_terminal_and_says_what_it_hides() {
        let heads = vec!["kernel", "shape", CPU_TIME, "/compulsory", "shared"];
        let line = ["embed_fwd_f16", "T=9", "0.100", "1.000", "0"].map(str::to_owned).to_vec();
        let table = |columns| fitted(heads.clone(), 2, vec![line.clone()], columns);
        let full = table(None);
        assert!(full.contains(CPU_TIME) && full.contains("shared") && !full.contains("not shown"), "{full}");
        assert_eq!(table(Some(80)), full);
        let narrow = table(Some(41));
        assert!(narrow.starts_with("kernel         shape  /compulsory  shared\n"), "{narrow}");
        assert!(narrow.contains("not shown, as the terminal is narrow: cpu ms (softgpu)\n"), "{narrow}");
        assert!(table(Some(40)).contains("narrow: cpu ms (softgpu), shared\n"), "{}", table(Some(40)));
        assert!(table(Some(5)).starts_with("kernel         shape  /compulsory\n"), "what nobody can do without");
    }
}
