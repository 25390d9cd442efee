//! synccheck: barriers and warp instructions that not all threads reach as they must.

use super::findings::{Findings, Scene, Who};
use crate::exec::{LANES, Warp};

fn who(warp: &Warp, lane: u32) -> Who {
    Who { block: warp.block, warp: warp.index, lane }
}

/// "lanes 0-3, 7" of a mask.
fn lanes(mask: u32) -> String {
    let mut parts = Vec::new();
    let mut lane = 0;
    while lane < LANES as u32 {
        if mask >> lane & 1 == 0 {
            lane += 1;
            continue;
        }
        let run = (mask >> lane).trailing_ones();
        parts.push(if run == 1 { lane.to_string() } else { format!("{lane}-{}", lane + run - 1) });
        lane += run;
    }
    format!("lane{} {}", if mask.count_ones() == 1 { "" } else { "s" }, parts.join(", "))
}

/// A part of a warp reaches a barrier that is for all of it.
pub fn divergent(scene: &Scene, findings: &mut Findings, warp: &Warp, place: u32) {
    findings.add("barrier", place, 0, || {
        let (here, elsewhere) = (lanes(warp.mask), lanes(warp.live & !warp.mask));
        let what = format!("barrier in divergent code: {here} of the warp reach it, {elsewhere} do not");
        let help = "all threads of a warp must reach a barrier together: move it out of the branch";
        scene.stop("synccheck", what, help, who(warp, warp.mask.trailing_zeros()), place)
    });
}

/// The member masks that the lanes give must agree, and each must have its own lane.
pub fn members(scene: &Scene, findings: &mut Findings, warp: &Warp, place: u32, members: &[u32; LANES]) {
    let on = |lane: &u32| warp.mask >> lane & 1 == 1;
    if let Some(lane) = (0..LANES as u32).filter(on).find(|&lane| members[lane as usize] >> lane & 1 == 0) {
        findings.add("members", place, 0, || {
            let what = format!("the member mask {:#x} lacks lane {lane}, which executes", members[lane as usize]);
            let help = "name every lane that executes: take the mask from __ballot_sync before the branch";
            scene.stop("synccheck", what, help, who(warp, lane), place)
        });
    }
}

/// No lane may read from one that does not take part.
pub fn shuffle(
    scene: &Scene,
    findings: &mut Findings,
    warp: &Warp,
    place: u32,
    members: &[u32; LANES],
    from: &[u32; LANES],
) {
    let on = |lane: &u32| warp.mask >> lane & 1 == 1;
    let gone = |lane: u32| {
        let from = from[lane as usize] & 31;
        warp.mask >> from & 1 == 0 || members[lane as usize] >> from & 1 == 0
    };
    if let Some(lane) = (0..LANES as u32).filter(on).find(|&lane| gone(lane)) {
        let from = from[lane as usize] & 31;
        findings.add("shuffle", place, 0, || {
            let state = match warp.live >> from & 1 == 0 {
                true => "has exited",
                false => "does not take part",
            };
            let what = format!("lane {lane} reads from lane {from}, which {state}: it gets an undefined value");
            let help = "let all lanes that are read from execute the shuffle, or narrow its width";
            scene.stop("synccheck", what, help, who(warp, lane), place)
        });
    }
}
