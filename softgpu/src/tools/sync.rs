//! synccheck: barriers and warp instructions that not all threads reach as they must.

use super::Access;
use super::around::Around;
use super::findings::{Findings, Scene, Who};
use super::spot::Spot;
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
    if parts.len() > 5 {
        return format!("{} lanes ({}, …)", mask.count_ones(), parts[..4].join(", "));
    }
    format!("lane{} {}", if mask.count_ones() == 1 { "" } else { "s" }, parts.join(", "))
}

/// Who has come to the barriers that have not opened yet.
#[derive(Default)]
pub struct Arrivals(Vec<Arrival>);

struct Arrival {
    block: u64,
    number: usize,
    warp: u32,
    place: u32,
    mask: u32,
    /// The warp's lanes that had not exited.
    live: u32,
}

impl Arrival {
    /// The first of the lanes.
    fn who(&self) -> Who {
        Who { block: self.block, warp: self.warp, lane: self.mask.trailing_zeros() }
    }
}

impl Arrivals {
    pub fn come(&mut self, warp: &Warp, place: u32, number: usize) {
        let Warp { block, index, mask, live, .. } = *warp;
        self.0.push(Arrival { block, number, warp: index, place, mask, live });
    }

    /// A barrier opens. All lanes of a warp that were there when its first ones came must have come to the same
    /// instruction, perhaps later; `aligned` says of which instructions that is demanded. If the whole block comes
    /// (`around`), so must its warps, and nobody may go around it.
    pub fn open(
        &mut self,
        block: u64,
        number: usize,
        aligned: impl Fn(u32) -> bool,
        around: Option<&mut Around>,
        (scene, findings): (&Scene, &mut Findings),
    ) {
        let here: Vec<Arrival> = self.0.extract_if(.., |a| (a.block, a.number) == (block, number)).collect();
        if let (Some(around), Some(first)) = (around, here.first()) {
            // Those that part of their warp has left behind are told of below.
            let known = |a: &&Arrival| aligned(a.place);
            here.iter().filter(known).for_each(|a| around.forget(block, a.warp, a.live));
            around.open(first.who(), first.place, (scene, findings));
            // An unrolled loop has several of one barrier.
            let mut apart = |a: &&Arrival| {
                a.warp != first.warp && findings.first(scene, a.place) != findings.first(scene, first.place)
            };
            let apart = here.iter().find(&mut apart).filter(|a| aligned(a.place) && aligned(first.place));
            apart.into_iter().for_each(|apart| meet_apart(first, apart, (scene, findings)));
        }
        for (k, first) in here.iter().enumerate() {
            let before = here[..k].iter().any(|a| a.warp == first.warp);
            let same = here.iter().filter(|a| (a.warp, a.place) == (first.warp, first.place));
            let came = same.fold(0, |mask, a| mask | a.mask);
            if before || !aligned(first.place) || first.live & !came == 0 {
                continue;
            }
            findings.add("barrier", scene, (first.place, first.place), || {
                let (here, elsewhere) = (lanes(came), lanes(first.live & !came));
                let verb = if (first.live & !came).is_power_of_two() { "does" } else { "do" };
                let what = format!("barrier in divergent code: {here} of the warp came to it, {elsewhere} {verb} not");
                let who = Who { block, warp: first.warp, lane: came.trailing_zeros() };
                scene.stop("synccheck", what, DIVERGENT, who, first.place)
            });
        }
    }
}

/// Warps meet at a barrier of the whole block that is not one and the same for them.
fn meet_apart(first: &Arrival, other: &Arrival, (scene, findings): (&Scene, &mut Findings)) {
    findings.add("barriers", scene, (first.place, other.place), || {
        let what = format!("warps of the block meet at two barriers, as both have number {}", first.number);
        let mut stop = scene.stop("synccheck", what, APART, first.who(), first.place);
        stop.role = "comes to".to_string();
        stop.others.push(scene.side("meanwhile comes to", other.who(), other.place));
        stop
    });
}

const APART: &str = "all threads of the block must come to the same __syncthreads(): one after or without the branch for all, \
                     or barriers with a count for those that are to meet";
const DIVERGENT: &str = "all threads of a warp must come to a barrier together: move it out of the branch";

/// What an asynchronous copy writes may not be read before a wait for it.
pub fn pending(scene: &Scene, findings: &mut Findings, warp: &Warp, access: &Access, spot: &Spot) {
    // SAFETY: the block's, which the one thread works on that runs under tools.
    let copies = unsafe { &*warp.copies };
    let bytes = access.bytes as u64;
    let early = spot.lanes().find_map(|lane| {
        let offset = spot.shape.offset(lane, bytes);
        // SAFETY: the place has been found to lie in shared memory.
        let thread = copies.writes(unsafe { warp.shared.add(offset as usize) }, bytes)?;
        Some((lane as u32, offset, thread as u32))
    });
    let Some((lane, offset, thread)) = early else { return };
    findings.add("cp.async", scene, (access.place, access.place), || {
        let [x, y, z] = scene.thread(thread / LANES as u32, thread % LANES as u32);
        let place = spot.space.place(scene, offset, bytes);
        let what = format!("read of {place}, which a cp.async of thread ({x}, {y}, {z}) has yet to write");
        let help = "wait for the copy (cp.async.wait_group or wait_all), and then for its thread (a barrier)";
        scene.stop("synccheck", what, help, who(warp, lane), access.place)
    });
}

/// No lane may read from one that has exited or is no member; members that have not come yet are waited for.
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
        warp.live >> from & 1 == 0 || members[lane as usize] >> from & 1 == 0
    };
    if let Some(lane) = (0..LANES as u32).filter(on).find(|&lane| gone(lane)) {
        let from = from[lane as usize] & 31;
        findings.add("shuffle", scene, (place, place), || {
            let state = match warp.live >> from & 1 == 0 {
                true => "has exited",
                false => "its member mask does not name",
            };
            let what = format!("lane {lane} reads from lane {from}, which {state}: it gets an undefined value");
            let help = "let all lanes that are read from execute the shuffle, or narrow its width";
            scene.stop("synccheck", what, help, who(warp, lane), place)
        });
    }
}
