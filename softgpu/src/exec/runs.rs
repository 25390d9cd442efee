//! Runs of multiply-adds whose factor `b` is in a cell, which the inner loops of products and attention consist of: one
//! handler for a few ops, so that what is common to them is read, checked and stored once.
//!
//! The ops of a run lie as they did, each with its operands: the first one's handler does their work and goes on behind
//! them. Who jumps to one in the middle finds it and what follows as if there were no run.

use super::alu::product;
use super::gang::{GANG, Gangs, Way, file};
use super::{Handler, Level, Op, Warp, next};

/// A multiply-add among the ops of a program.
#[derive(Clone, Copy)]
pub struct Product {
    pub op: usize,
    /// It adds to what the one before it has computed, which nothing else reads.
    pub chained: bool,
}

/// Ops of the longest run.
const LONGEST: usize = 4;

/// Gives the first op of each run the handler of the run. A chain is a dot product, and what it computes on its way is
/// never stored; others are an outer product, if all multiply the same `a` and none but the last replaces it.
pub fn join(ops: &mut [Op], gangs: &mut [Gangs], products: &[Product], level: Level) {
    let mut rest = products;
    while let [first, after @ ..] = rest {
        let follows = |&(k, p): &(usize, &Product)| p.op == first.op + k + 1;
        let next = || after.iter().take(LONGEST - 1).enumerate().take_while(follows);
        let chain = 1 + next().take_while(|(_, p)| p.chained).count();
        let a = ops[first.op].a;
        let alike = |&(_, p): &(usize, &Product)| ops[p.op].a == a && ops[p.op - 1].d != a;
        let leads = |k: usize| after.get(k + 1).is_some_and(|p| p.chained && p.op == first.op + k + 2);
        let outer = 1 + next().take_while(alike).take_while(|&(k, p)| !p.chained && !leads(k)).count();
        let (way, len) = if chain > 1 { (way::<CHAIN>(chain), chain) } else { (way::<OUTER>(outer), outer) };
        if let Some(way) = way {
            ops[first.op].run = way.alone[level as usize];
            gangs[first.op] = way.gang;
        }
        rest = &rest[len..];
    }
}

/// How what a run adds up belongs together.
const CHAIN: bool = true;
const OUTER: bool = false;

fn way<const HOW: bool>(len: usize) -> Option<Way> {
    let of = |alone: [Handler; 3], gang| Way { alone, gang: Gangs::Own(gang) };
    Some(match len {
        2 => of(handlers::<HOW, 2, 1>(), handlers::<HOW, 2, GANG>()),
        3 => of(handlers::<HOW, 3, 1>(), handlers::<HOW, 3, GANG>()),
        LONGEST => of(handlers::<HOW, LONGEST, 1>(), handlers::<HOW, LONGEST, GANG>()),
        _ => return None,
    })
}

/// Of a run of N ops, for so many warps, one after the other: more than one are whole.
fn handlers<const HOW: bool, const N: usize, const WARPS: usize>() -> [Handler; 3] {
    #[cfg(target_arch = "x86_64")]
    {
        [baseline::<N, WARPS>, avx2::handler::<HOW, N, WARPS>, avx512::handler::<HOW, N, WARPS>]
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        [baseline::<N, WARPS>; 3]
    }
}

unsafe fn baseline<const N: usize, const WARPS: usize>(w: &mut Warp, op: *const Op, r: *mut u8) -> u32 {
    // SAFETY: `join` has found N ops here, the plan has given each `b` a cell.
    unsafe {
        for warp in 0..WARPS {
            (0..N).for_each(|k| {
                product::<true>(w, &*op.add(k), file(w, r, warp));
            });
        }
        next(w, op.add(N - 1), r)
    }
}

/// The work of a run in vectors of one level, which has in [`super::single`] what its instructions differ in.
#[cfg(target_arch = "x86_64")]
macro_rules! level {
    ($level:ident, $features:literal) => {
        mod $level {
            use super::{CHAIN, Op, Warp, file, next};
            use crate::exec::LANES;
            use crate::exec::single::{FMA, $level as single};

            #[target_feature(enable = $features)]
            pub unsafe fn handler<const HOW: bool, const N: usize, const WARPS: usize>(
                w: &mut Warp,
                op: *const Op,
                r: *mut u8,
            ) -> u32 {
                // SAFETY: as in `baseline`; `Level::detect` has found the features.
                unsafe {
                    let ops = &*op.cast::<[Op; N]>();
                    if WARPS == 1 && w.live != u32::MAX && w.is_whole() {
                        few::<HOW, N>(w, ops, r);
                    } else {
                        for warp in 0..WARPS {
                            run::<HOW, N>(w, ops, file(w, r, warp), WARPS > 1 || w.is_whole());
                        }
                    }
                    next(w, op.add(N - 1), r)
                }
            }

            /// Every NaN among what the ops have stored becomes the GPU's.
            #[cold]
            #[target_feature(enable = $features)]
            unsafe fn mend(w: &Warp, ops: &[Op], r: *mut u8) {
                for op in ops {
                    // SAFETY: the caller's.
                    unsafe {
                        let mut out = std::array::from_fn(|part| single::load(r, op.d, part));
                        single::plain(&mut out);
                        single::put(w, r, op.d, out, true);
                    }
                }
            }

            /// # Safety
            /// The ops must be a run's, with `b` in a cell; the machine must have the features.
            #[target_feature(enable = $features)]
            #[inline]
            unsafe fn run<const HOW: bool, const N: usize>(w: &Warp, ops: &[Op; N], r: *mut u8, whole: bool) {
                use single::{PARTS, fma, load, once, plain, put};
                // SAFETY: the caller's.
                unsafe {
                    let b: [_; N] = std::array::from_fn(|k| once(r, ops[k].b));
                    if HOW == CHAIN {
                        let mut out: [_; PARTS] = std::array::from_fn(|part| load(r, ops[0].c, part));
                        for (part, out) in out.iter_mut().enumerate() {
                            for (op, &b) in ops.iter().zip(&b) {
                                *out = fma(load(r, op.a, part), b, *out);
                            }
                        }
                        plain(&mut out);
                        return put(w, r, ops[N - 1].d, out, whole);
                    }
                    if !whole {
                        return ops.iter().for_each(|op| single::run::<FMA, true, false>(w, op, r));
                    }
                    let mut odd = single::Odd::none();
                    for part in 0..PARTS {
                        products(ops, &b, r, part, &mut odd);
                    }
                    if odd.lanes() != 0 {
                        mend(w, ops, r);
                    }
                }
            }

            /// As [`run`], where lanes have exited: as many vectors as there are lanes left. What lies in those that are not
            /// is nobody's, and may be NaN.
            ///
            /// # Safety
            /// As [`run`]; all lanes that live must execute.
            #[target_feature(enable = $features)]
            #[inline]
            unsafe fn few<const HOW: bool, const N: usize>(w: &Warp, ops: &[Op; N], r: *mut u8) {
                use single::{PARTS, fma, load, once, plain_one, store};
                const WIDTH: usize = LANES / PARTS;
                // SAFETY: the caller's.
                unsafe {
                    let b: [_; N] = std::array::from_fn(|k| once(r, ops[k].b));
                    let mut odd = 0;
                    for part in 0..w.span().div_ceil(WIDTH) {
                        if HOW == CHAIN {
                            let mut out = load(r, ops[0].c, part);
                            for (op, &b) in ops.iter().zip(&b) {
                                out = fma(load(r, op.a, part), b, out);
                            }
                            store(r, ops[N - 1].d, part, plain_one(out));
                            continue;
                        }
                        let mut here = single::Odd::none();
                        products(ops, &b, r, part, &mut here);
                        odd |= here.lanes() & w.live >> (WIDTH * part);
                    }
                    if odd != 0 {
                        mend(w, ops, r);
                    }
                }
            }

            /// One vector of an outer product: op by op, as one may add to what another has stored. A NaN stays one on its
            /// way, and so does what `odd` finds at the end.
            ///
            /// # Safety
            /// As [`run`].
            #[target_feature(enable = $features)]
            #[inline]
            unsafe fn products<const N: usize>(
                ops: &[Op; N],
                b: &[single::Vector; N],
                r: *mut u8,
                part: usize,
                odd: &mut single::Odd,
            ) {
                use single::{fma, load, store};
                // SAFETY: the caller's.
                unsafe {
                    let a = load(r, ops[0].a, part);
                    let mut out = [a; N];
                    for ((op, &b), out) in ops.iter().zip(b).zip(&mut out) {
                        *out = fma(a, b, load(r, op.c, part));
                        store(r, op.d, part, *out);
                    }
                    out.chunks(2).for_each(|pair| odd.see(pair[0], pair[pair.len() - 1]));
                }
            }
        }
    };
}
#[cfg(target_arch = "x86_64")]
level!(avx2, "avx2,fma,bmi1,bmi2,lzcnt,popcnt");
#[cfg(target_arch = "x86_64")]
level!(avx512, "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi1,bmi2,lzcnt,popcnt");
