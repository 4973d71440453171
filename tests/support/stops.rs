//! By how much longer a thread is stopped than the kernel tells. It is the machine's way into an interrupt, up to the
//! first thing that the kernel says of it, and the way from the last back to the thread's own code. In a virtual
//! machine that is µs.
//!
//! In: a thread of this program that does nothing but read the clock, and bpftrace. Out: [`Way`], medians as of now, under the load
//! that there is. Neither wsgi-trace nor an interpreter takes part.

use std::fmt::Write as _;
use std::sync::mpsc;
use std::time::Duration;

use anyhow::Context as _;

use crate::bpftrace::{ATTACHED, Bpftrace, Cause, ENDING, Element, INTERRUPTS, map_of};

/// For how long the clock is read.
const FOR: Duration = Duration::from_millis(1500);
/// Two readings further apart than this: the thread was stopped between them. A reading takes 0.1 µs.
const STOPPED_NS: u64 = 2000;
/// A stop that makes a wait differ from what it was by more than is allowed, most of the time: see [`crate::gil_account::agree`].
const LONG_NS: u64 = 8000;
/// As few stops say nothing.
const MIN_STOPS: usize = 50;

/// What the kernel does not tell of a stop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Way {
    /// From the thread's last own instruction to the first thing that the kernel tells, in nanoseconds, where that is the CPU's timer.
    pub timer_in_ns: u64,
    /// The same where it is something else: another interrupt most often, which has the CPU given to another thread.
    pub other_in_ns: u64,
    /// From the last thing that it tells to the thread's next instruction.
    pub out_ns: u64,
    /// How often in a second of its running a thread is stopped for longer than 8 µs of which the kernel tells nothing: by the host of a virtual
    /// machine, or by firmware.
    pub untold_per_s: u64,
}

impl Way {
    /// The way in of what is told first.
    #[must_use]
    pub const fn in_ns(self, of: Cause) -> u64 {
        match of {
            Cause::Timer => self.timer_in_ns,
            Cause::Interrupt | Cause::Thread => self.other_in_ns,
        }
    }
}

/// What the kernel tells of a stop.
#[derive(Clone, Copy, Debug)]
struct Piece {
    from_ns: u64,
    until_ns: u64,
    by: Cause,
}

/// Measures it.
///
/// # Errors
///
/// Where bpftrace cannot be run.
pub fn measure() -> anyhow::Result<Way> {
    let (tell, told) = mpsc::channel();
    let (begin, begins) = mpsc::channel();
    let reader = std::thread::spawn(move || {
        // SAFETY: no preconditions.
        let _ = tell.send(unsafe { libc::gettid() });
        if begins.recv().is_ok() { read_clock() } else { Vec::new() }
    });
    let bpftrace = Bpftrace::start(&script(told.recv()?))?;
    begin.send(())?;
    let stops = reader.join().ok().context("the thread that reads the clock ended early")?;
    let pieces: Vec<Piece> = bpftrace.finish()?.into_iter().filter_map(piece).collect();
    Ok(way(&stops, pieces, FOR.as_nanos() as u64))
}

/// From when to when the thread was stopped, by its own clock.
fn read_clock() -> Vec<(u64, u64)> {
    let start_ns = now_ns();
    let (mut stops, mut before_ns) = (Vec::with_capacity(1 << 16), start_ns);
    while u128::from(before_ns - start_ns) < FOR.as_nanos() {
        let now_ns = now_ns();
        if now_ns - before_ns > STOPPED_NS {
            stops.push((before_ns, now_ns));
        }
        before_ns = now_ns;
    }
    stops
}

/// `CLOCK_MONOTONIC`, which the kernel's tracers have too.
fn now_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a whole structure.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    time.tv_sec.cast_unsigned() * 1_000_000_000 + time.tv_nsec.cast_unsigned()
}

/// Interrupts of the thread, and when it was without its CPU.
fn script(tid: i32) -> String {
    let mut text = String::from(ATTACHED);
    let _ = writeln!(
        text,
        "tracepoint:sched:sched_switch {{ if (args->prev_pid == {tid}) {{ @gone = nsecs; }} \
         if (args->next_pid == {tid} && @gone) {{ @switched[@gone] = nsecs; @gone = 0; }} }}"
    );
    for name in INTERRUPTS {
        let map = map_of(name);
        let _ = writeln!(
            text,
            "tracepoint:{name}_entry /tid == {tid}/ {{ @{map} = nsecs; }}\n\
             tracepoint:{name}_exit /tid == {tid} && @{map}/ {{ @{told}[@{map}] = nsecs; @{map} = 0; }}",
            told = Cause::map_of_stretches(name),
        );
    }
    let _ = writeln!(text, "END {{ {ENDING} }}");
    text
}

fn piece(element: Element) -> Option<Piece> {
    let by = match &*element.name {
        "switched" => Cause::Thread,
        other => Cause::of_map(other)?,
    };
    match *element.keys {
        [from_ns] => Some(Piece { from_ns, until_ns: element.value, by }),
        _ => None,
    }
}

/// The medians over the stops of which the kernel tells something; and how many there are of others.
fn way(stops: &[(u64, u64)], mut pieces: Vec<Piece>, read_for_ns: u64) -> Way {
    pieces.sort_unstable_by_key(|piece| piece.from_ns);
    let (mut timer_ins, mut other_ins, mut outs) = (Vec::new(), Vec::new(), Vec::new());
    let (mut untold, mut stopped_ns) = (0_u64, 0);
    for (from_ns, until_ns) in stops {
        let place = pieces.partition_point(|piece| piece.from_ns < *from_ns);
        let inside = pieces.iter().skip(place).take_while(|piece| piece.from_ns < *until_ns);
        stopped_ns += until_ns - from_ns;
        let Some(last_ns) = inside.clone().map(|piece| piece.until_ns).max() else {
            untold += u64::from(until_ns - from_ns > LONG_NS);
            continue;
        };
        if let Some(first) = inside.clone().next() {
            let ins = if first.by == Cause::Timer { &mut timer_ins } else { &mut other_ins };
            ins.push(first.from_ns - from_ns);
        }
        outs.push(until_ns.saturating_sub(last_ns));
    }
    let (timer_in_ns, other_in_ns, out_ns) = (median(timer_ins), median(other_ins), median(outs));
    let ran_ns = read_for_ns.saturating_sub(stopped_ns).max(1);
    Way { timer_in_ns, other_in_ns, out_ns, untold_per_s: untold * 1_000_000_000 / ran_ns }
}

/// 0 where there are too few: then nothing is known of them, and nothing is left out for them.
fn median(mut of: Vec<u64>) -> u64 {
    if of.len() < MIN_STOPS {
        return 0;
    }
    of.sort_unstable();
    of.get(of.len() / 2).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_way_is_that_of_stops_of_which_the_kernel_tells_and_of_no_others() {
        let (mut stops, mut pieces) = (Vec::new(), Vec::new());
        for turn in 1..=120_u64 {
            let from_ns = turn * 1_000_000;
            let by = if turn % 2 == 0 { Cause::Timer } else { Cause::Interrupt };
            let in_ns = if turn % 2 == 0 { 7000 } else { 6000 };
            stops.push((from_ns, from_ns + 16_000));
            // The second within the first, and one after it.
            for (begin_ns, end_ns, by) in
                [(in_ns, 9000, by), (8000, 8500, Cause::Interrupt), (9500, 14_000, Cause::Thread)]
            {
                pieces.push(Piece { from_ns: from_ns + begin_ns, until_ns: from_ns + end_ns, by });
            }
            // The kernel tells nothing of this one.
            stops.push((from_ns + 500_000, from_ns + 900_000));
        }
        // Of 400 ms it runs 350.08.
        let all = way(&stops, pieces.clone(), 400_000_000);
        assert_eq!(all, Way { timer_in_ns: 7000, other_in_ns: 6000, out_ns: 2000, untold_per_s: 342 });
        let few = pieces.into_iter().filter(|piece| piece.by == Cause::Timer).take(40).collect();
        assert_eq!(way(&stops, few, 400_000_000).out_ns, 0);
    }
}
