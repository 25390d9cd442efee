//! Counters for people, and as JSON for programs.

use std::fmt::Write;

use serde_json::{Value, json};

use super::chips::{ARCHS, Arch, CHIPS, Occupancy, occupancy, roofline};
use super::counters::{Counters, Traffic};
use crate::image::Resources;

/// Lines of source that the table shows.
const LINES: usize = 12;
/// Columns of a source line's name, with a space after it.
const NAME: usize = 39;

impl Counters {
    fn threads(&self) -> u32 {
        self.block.iter().product()
    }

    /// How many blocks a multiprocessor of each architecture holds, given what a block takes there: registers of a
    /// thread and shared memory, static and dynamic. Not of those for which `takes` knows nothing.
    pub fn occupancy(&self, takes: impl Fn(u32) -> Option<Resources>) -> Vec<Occupancy> {
        let of = |arch: &Arch| {
            let Resources { registers, shared_bytes } = takes(arch.number)?;
            Some(occupancy(arch, self.threads(), registers, shared_bytes as u64))
        };
        ARCHS.iter().filter_map(of).collect()
    }

    /// Everything as JSON.
    pub fn json(&self, occupancy: &[Occupancy]) -> Value {
        let estimates: Vec<_> = CHIPS.iter().map(|chip| roofline(chip, self)).collect();
        let mut value = json!(self);
        value["occupancy"] = json!(occupancy);
        value["roofline_estimate"] = json!(estimates);
        value
    }

    /// The same as a table of at most 100 columns.
    pub fn table(&self, occupancy: &[Occupancy]) -> String {
        let mut out = String::new();
        self.write(&mut out, occupancy).map_or_else(|_| String::new(), |()| out)
    }

    fn write(&self, out: &mut String, occupancy: &[Occupancy]) -> std::fmt::Result {
        let ([gx, gy, gz], [bx, by, bz], total) = (self.grid, self.block, &self.total);
        let shape = format!("grid ({gx}, {gy}, {gz})  block ({bx}, {by}, {bz})");
        // A mangled name may take several lines by itself.
        let gap = if self.kernel.len() + shape.len() > 98 { "\n" } else { "" };
        writeln!(out, "{}{gap}  {shape}", self.kernel)?;
        let of_warps = total.warp_instructions.max(1) as f64;
        writeln!(
            out,
            "  warp instructions {:>14}   threads of 32: active {:.1}, not predicated off {:.1}",
            total.warp_instructions,
            total.active_threads(),
            total.not_predicated_off()
        )?;
        for (class, count) in &total.instructions {
            let name = format!("{class:?}").to_lowercase();
            writeln!(out, "    {name:<16}{count:>14}   {:.1} %", *count as f64 / of_warps * 100.0)?;
        }
        for (class, count) in &total.flops {
            writeln!(out, "  operations, {:<6}{count:>14}", format!("{class:?}").to_lowercase())?;
        }
        for (name, t) in [
            ("global loads", &total.global_loads),
            ("global stores", &total.global_stores),
            ("global atomics", &total.global_atomics),
            ("local loads", &total.local_loads),
            ("local stores", &total.local_stores),
        ] {
            moved(out, name, t)?;
        }
        for (name, t) in [
            ("shared loads", &total.shared_loads),
            ("shared stores", &total.shared_stores),
            ("shared atomics", &total.shared_atomics),
        ] {
            if t.requests > 0 {
                writeln!(
                    out,
                    "  {name:<16}{:>10} requests {:>10} wavefronts, {} of them bank conflicts",
                    t.requests,
                    t.wavefronts,
                    t.bank_conflicts()
                )?;
            }
        }
        writeln!(
            out,
            "  footprint       {:>14} bytes read {:>14} written",
            self.footprint_read, self.footprint_written
        )?;
        if total.atomic_requests > 0 {
            writeln!(out, "  atomics         {:>10} requests {:>10} threads", total.atomic_requests, total.atomics)?;
        }
        writeln!(
            out,
            "  branches        {:>10}, {} of them divergent; barriers {}",
            total.branches, total.divergent_branches, total.barriers
        )?;
        for Occupancy { arch, warps, warps_possible, limit, registers, .. } in occupancy {
            writeln!(
                out,
                "  occupancy {arch:<8}{warps:>3} of {warps_possible} warps, {registers} registers a thread, bound by {limit}"
            )?;
        }
        self.write_rooflines(out)?;
        self.write_lines(out)
    }

    fn write_rooflines(&self, out: &mut String) -> std::fmt::Result {
        let estimates = CHIPS.iter().map(|chip| roofline(chip, self));
        let estimates: Vec<_> = estimates.filter(|estimate| estimate.estimated_seconds > 0.0).collect();
        if estimates.is_empty() {
            return writeln!(out, "  roofline: no global memory touched and no floating-point operations: no estimate");
        }
        writeln!(out, "  roofline: the least time that peaks allow. An estimate; nothing was timed on a GPU")?;
        for r in estimates {
            let time = match r.estimated_seconds * 1e6 {
                short if short < 0.01 => "< 0.01".to_owned(),
                micros => format!("{micros:.2}"),
            };
            writeln!(out, "    {:<16}{time:>10} µs, bound by {}", r.chip, r.bound)?;
        }
        Ok(())
    }

    fn write_lines(&self, out: &mut String) -> std::fmt::Result {
        writeln!(
            out,
            "  {:<40}{:>14}{:>8}{:>12}{:>12}{:>12}",
            "source line", "instructions", "active", "sectors", "efficiency", "conflicts"
        )?;
        for line in self.lines.iter().take(LINES) {
            let c = &line.counts;
            let mut moves = Traffic::default();
            [&c.global_loads, &c.global_stores, &c.global_atomics, &c.local_loads, &c.local_stores]
                .iter()
                .for_each(|t| moves.add(t));
            let used = moves.efficiency().map_or(String::new(), |part| format!("{:.1} %", part * 100.0));
            let shared = [&c.shared_loads, &c.shared_stores, &c.shared_atomics];
            let conflicts: u64 = shared.iter().map(|t| t.bank_conflicts()).sum();
            let name = end_of(&format!("{}:{}", line.file, line.line), NAME);
            writeln!(
                out,
                "  {name:<40}{:>14}{:>8.1}{:>12}{used:>12}{conflicts:>12}",
                c.warp_instructions,
                c.active_threads(),
                moves.sectors
            )?;
        }
        match self.lines.len().saturating_sub(LINES) {
            0 => Ok(()),
            more => writeln!(out, "  … {more} more lines in the JSON"),
        }
    }
}

/// The last characters of a name that is too long for its column: file and line say more than the first folders.
fn end_of(name: &str, columns: usize) -> String {
    match name.chars().count().checked_sub(columns) {
        None | Some(0) => name.to_owned(),
        Some(more) => format!("…{}", name.chars().skip(more + 1).collect::<String>()),
    }
}

fn moved(out: &mut String, name: &str, t: &Traffic) -> std::fmt::Result {
    if t.requests == 0 {
        return Ok(());
    }
    let used = t.sector_efficiency() * 100.0;
    writeln!(
        out,
        "  {name:<16}{:>10} requests {:>10} sectors, {used:>5.1} % used, {:>14} bytes asked",
        t.requests, t.sectors, t.bytes_asked
    )
}
