//! What the program says to people, on stderr: lines, coloured where a terminal shows colours, and progress.
//!
//! Colours go by [`anstream`]: none on a pipe, none under `NO_COLOR`, forced by `CLICOLOR_FORCE`. `--quiet` leaves errors and
//! warnings; `-v` adds details. On a terminal one line moves, a bar; elsewhere a plain line comes every half minute.

use std::fmt::{self, Display};
use std::io::{IsTerminal, stderr};
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressState, ProgressStyle};
use terminal_size::{Width, terminal_size_of};

use crate::error::Error;

/// Between two lines of progress where there is no terminal.
const RARELY: Duration = Duration::from_secs(30);
/// Between two movements of a bar.
const OFTEN: Duration = Duration::from_millis(100);

/// How much is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Errors and warnings.
    Quiet,
    Normal,
    /// Also which files are read, and how long things took.
    Verbose,
}

static LEVEL: AtomicU8 = AtomicU8::new(Level::Normal as u8);
/// The bar on the terminal, which lines have to go around.
static BAR: Mutex<Option<ProgressBar>> = Mutex::new(None);

/// Sets how much is said from here on.
pub fn set_level(level: Level) {
    LEVEL.store(level as u8, Ordering::Relaxed);
}

fn at_least(level: Level) -> bool {
    LEVEL.load(Ordering::Relaxed) >= level as u8
}

fn line(text: &str) {
    match &*BAR.lock().unwrap_or_else(PoisonError::into_inner) {
        Some(bar) => bar.suspend(|| anstream::eprintln!("{text}")),
        None => anstream::eprintln!("{text}"),
    }
}

/// A line of information.
pub fn say(text: impl Display) {
    if at_least(Level::Normal) {
        line(&text.to_string());
    }
}

/// Columns of the terminal that `stream` is; none where it is none, and lines may be of any length.
pub fn columns(stream: impl AsFd) -> Option<usize> {
    terminal_size_of(stream).map(|(Width(columns), _)| columns.into())
}

/// A line of `fields`, each with the space before it. On a terminal that is too narrow those of `expendable` are left out,
/// the first of them first, until the others fit.
pub fn say_fields(fields: Vec<String>, expendable: &[usize]) {
    say(fitted(fields, expendable, columns(stderr())));
}

fn fitted(mut fields: Vec<String>, expendable: &[usize], columns: Option<usize>) -> String {
    for at in expendable {
        let width: usize = fields.iter().map(|field| field.chars().count()).sum();
        if columns.is_none_or(|columns| width <= columns) {
            break;
        }
        fields[*at].clear();
    }
    fields.concat()
}

/// A line for those who asked for more.
pub fn detail(text: impl Display) {
    if at_least(Level::Verbose) {
        line(&format!("\x1b[2m{text}\x1b[0m"));
    }
}

/// Says that the file at `path` is read, to those who asked for more.
pub fn reads(path: &Path) {
    detail(format!("reads {}", path.display()));
}

/// Says how long `what`, which `began` then, has taken, to those who asked for more.
pub fn took(what: impl Display, began: Instant) {
    detail(format!("{what}: {:.1} s", began.elapsed().as_secs_f64()));
}

/// A line on what may go wrong.
pub fn warn(text: impl Display) {
    line(&format!("\x1b[1;33mwarning:\x1b[0m {text}"));
}

/// What went wrong, and what to do.
pub fn error(error: &Error) {
    let text = error.to_string().replacen("\n\nhint:", "\n\n\x1b[1;36mhint:\x1b[0m", 1);
    line(&format!("\x1b[1;31merror:\x1b[0m {text}"));
}

/// Runs `print`, which writes to stdout, around the bar.
pub fn around_bar<T>(print: impl FnOnce() -> T) -> T {
    let bar = BAR.lock().unwrap_or_else(PoisonError::into_inner).clone();
    match bar {
        Some(bar) => bar.suspend(print),
        None => print(),
    }
}

/// Work whose end is known or not, with rate and remaining time. Gone from the terminal when it is dropped.
pub struct Progress {
    bar: Option<ProgressBar>,
    /// Which the bar reads too, from a thread of its own.
    pace: Arc<Mutex<Pace>>,
    /// Of the plain lines; none where nothing is to be said.
    what: Option<String>,
    total: Option<u64>,
    /// By [`Progress::step`].
    steps: u64,
    said: Instant,
}

impl Progress {
    /// Progress of `what` up to `total` units of any kind.
    pub fn new(what: &str, total: Option<u64>) -> Progress {
        let (watched, wanted) = (stderr().is_terminal(), at_least(Level::Normal));
        let pace = Arc::new(Mutex::new(Pace::new(0, Instant::now())));
        let bar = (watched && wanted).then(|| bar(what, total, Arc::clone(&pace)));
        if let Some(bar) = &bar {
            *BAR.lock().unwrap_or_else(PoisonError::into_inner) = Some(bar.clone());
        }
        let what = (wanted && !watched).then(|| what.to_owned());
        Progress { bar, pace, what, total, steps: 0, said: Instant::now() }
    }

    /// Whether anybody watches a bar.
    pub fn is_watched(&self) -> bool {
        self.bar.is_some()
    }

    /// Puts the bar to `position` where it starts: what was done in an earlier run counts for no rate.
    pub fn start_at(&self, position: u64) {
        *self.pace() = Pace::new(position, Instant::now());
        if let Some(bar) = &self.bar {
            bar.set_position(position);
            bar.reset_elapsed();
        }
    }

    fn pace(&self) -> MutexGuard<'_, Pace> {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Shows `position` of the total and `message`.
    pub fn show(&mut self, position: u64, message: &str) {
        self.pace().reach(position, Instant::now());
        if let Some(bar) = &self.bar {
            bar.set_position(position);
            bar.set_message(message.to_owned());
        } else if let Some(what) = self.what.as_ref().filter(|_| self.said.elapsed() > RARELY) {
            line(&format!("{what}: {message}{}", self.left()));
            self.said = Instant::now();
        }
    }

    /// The same with `count` of `units` done, and their rate.
    pub fn count(&mut self, position: u64, count: u64, units: &str) {
        let due = if self.bar.is_some() { OFTEN } else { RARELY };
        if self.bar.is_some() && self.said.elapsed() > due {
            self.said = Instant::now();
        } else if self.what.is_none() || self.said.elapsed() <= due {
            return;
        }
        let rate = count as f64 / self.pace().began.elapsed().as_secs_f64().max(1e-9);
        let rate = if rate < 10.0 { format!("{rate:.1}") } else { grouped(rate as u64) };
        self.show(position, &format!("{}, {rate} a second", counted(count, units)));
    }

    /// Counts one more of a total of `units`.
    pub fn step(&mut self, units: &str) {
        self.steps += 1;
        self.count(self.steps, self.steps, units);
    }

    fn left(&self) -> String {
        let left = self.pace().left(self.total, Instant::now());
        left.map_or(String::new(), |left| format!(", {left}"))
    }

    /// Takes the bar away: what is said from here on is said of work that is done.
    pub fn end(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
            *BAR.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.end();
    }
}

fn bar(what: &str, total: Option<u64>, pace: Arc<Mutex<Pace>>) -> ProgressBar {
    let (bar, template) = match total {
        Some(total) => (ProgressBar::new(total), "{prefix} {bar:6} {percent:>3} %  {left}{wide_msg}"),
        None => (ProgressBar::no_length(), "{prefix} {spinner} {elapsed}  {wide_msg}"),
    };
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    // indicatif's own estimate grows while a batch takes its time.
    bar.set_style(style.with_key("left", move |state: &ProgressState, out: &mut dyn fmt::Write| {
        let pace = pace.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(left) = pace.left(state.len(), Instant::now()) {
            let _ = write!(out, "{left}  ");
        }
    }));
    bar.set_prefix(what.to_owned());
    bar.enable_steady_tick(Duration::from_millis(500));
    bar
}

/// Where work stands, and since when.
struct Pace {
    start: u64,
    began: Instant,
    at: u64,
    reached: Instant,
}

impl Pace {
    fn new(start: u64, now: Instant) -> Pace {
        Pace { start, began: now, at: start, reached: now }
    }

    fn reach(&mut self, position: u64, now: Instant) {
        if position != self.at {
            (self.at, self.reached) = (position, now);
        }
    }

    /// `3 min left`, by the mean rate up to the last position; nothing before anything is done, and at the end. While the
    /// next unit takes its time it falls by what that one should take, and then waits.
    fn left(&self, total: Option<u64>, now: Instant) -> Option<String> {
        let total = total.filter(|total| self.start < self.at && self.at < *total)?;
        let each = (self.reached - self.began).as_secs_f64() / (self.at - self.start) as f64;
        let since = (now - self.reached).as_secs_f64();
        Some(format!("{} left", seconds_in_words((total - self.at) as f64 * each - since.min(each))))
    }
}

fn seconds_in_words(seconds: f64) -> String {
    let seconds = seconds.round() as u64;
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds.div_ceil(60)),
        _ => format!("{:.1} h", seconds as f64 / 3600.0),
    }
}

/// `1,234 sublayers`, but `1 sublayer`; `units` end with an s.
pub fn counted(n: u64, units: &str) -> String {
    let unit = units.strip_suffix('s').filter(|_| n == 1).unwrap_or(units);
    format!("{} {unit}", grouped(n))
}

/// `1234567` as `1,234,567`.
pub fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_fits_the_terminal() {
        let line = |columns| {
            fitted(["update 7", "  epoch 1", "  loss ß", "  lr 1"].map(str::to_owned).to_vec(), &[1, 3], columns)
        };
        let full = "update 7  epoch 1  loss ß  lr 1";
        assert_eq!([line(None), line(Some(31))], [full, full]);
        assert_eq!([line(Some(30)), line(Some(21))], ["update 7  loss ß  lr 1", "update 7  loss ß"]);
        assert_eq!(line(Some(1)), "update 7  loss ß", "what nobody can do without");
    }

    #[test]
    fn numbers_and_times_for_people() {
        assert_eq!(
            ["0", "999", "1,000", "1,234,567"],
            [0, 999, 1000, 1_234_567].map(grouped).each_ref().map(String::as_str)
        );
        assert_eq!([0, 1, 2000].map(|n| counted(n, "ops")), ["0 ops", "1 op", "2,000 ops"]);
        let words = [4.4, 119.0, 121.0, 9000.0].map(seconds_in_words);
        assert_eq!(words, ["4 s", "119 s", "3 min", "2.5 h"]);
    }
    #[test]
    fn remaining_time_never_grows_between_two_positions() {
        let began = Instant::now();
        let at = |seconds| began + Duration::from_secs(seconds);
        let mut pace = Pace::new(10, began);
        assert_eq!(pace.left(Some(20), at(5)), None, "before anything is done");
        pace.reach(12, at(20));
        let left = [20, 24, 30, 90].map(|seconds| pace.left(Some(20), at(seconds)).unwrap());
        assert_eq!(left, ["80 s left", "76 s left", "70 s left", "70 s left"]);
        pace.reach(12, at(95));
        assert_eq!(pace.left(Some(20), at(95)).unwrap(), "70 s left", "it is where it was");
        pace.reach(20, at(99));
        assert_eq!(pace.left(Some(20), at(100)), None, "at the end");
    }
}
