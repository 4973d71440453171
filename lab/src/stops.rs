//! By how much longer a thread is stopped than the kernel tells, where waits for an interpreter's lock begin
//! and end: after a wakeup. It is the machine's way into an interrupt, up to the first thing that the kernel
//! says of it, and the way from the last back to the thread's own code. In a virtual machine that is µs. And
//! a host, or firmware, stops threads of which the kernel says nothing.
//!
//! In: two threads of this program that hand over to each other and read the clock ([`Handover`]), and
//! bpftrace. Out: [`Way`], as of now, under the load that there is. Neither wsgi-trace nor an interpreter
//! takes part.

use std::fmt::Write as _;
use std::time::Duration;

use crate::bpftrace::{ATTACHED, Bpftrace, Cause, ENDING, Element, INTERRUPTS, map_of};
use crate::handover::{Handover, Reader, STOPPED_NS};

/// For how long the clock is read each time.
const FOR: Duration = Duration::from_millis(1000);
/// A stop that makes a wait differ from what it was by more than is allowed, most of the time: see
/// [`crate::gil_account::agree`].
const LONG_NS: u64 = 8000;
/// As few stops say nothing.
const MIN_STOPS: usize = 50;

/// What the kernel does not tell of stops.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Way {
    /// From the thread's last own instruction to the first thing that the kernel tells, in nanoseconds,
    /// where that is the CPU's timer.
    pub timer_in_ns: u64,
    /// From the thread's last own instruction to the first thing that the kernel reports, where that is not
    /// the timer: another interrupt most often, which has the CPU given to another thread.
    pub other_in_ns: u64,
    /// From the last thing that it tells to the thread's next instruction.
    pub out_ns: u64,
    /// Share of wakeups from which a thread takes longer than 8 µs to its own next instruction, and the
    /// kernel tells of nothing.
    pub late_wakeup_ratio: f64,
    /// How often in a second of its running after a wakeup a thread is stopped for longer than 8 µs of which
    /// the kernel tells nothing: by the host of a virtual machine, or by firmware.
    pub untold_per_s: u64,
    /// Share of the stops of which the kernel tells something that take longer than that and the ways by
    /// more than 8 µs.
    pub longer_ratio: f64,
}

impl Way {
    /// The way in of what is told first.
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

/// A stop of which the kernel tells something: these pieces, in order, at least one.
#[derive(Clone, Debug)]
struct Told {
    from_ns: u64,
    until_ns: u64,
    pieces: Vec<Piece>,
}

impl Told {
    /// How much of it is neither told nor on the way in or out of what is told.
    fn unaccounted_ns(&self, way: Way) -> u64 {
        // Pieces nest: their union, each with its ways.
        let (mut accounted_ns, mut counted_until_ns) = (0, self.from_ns);
        for piece in &self.pieces {
            let from_ns = piece.from_ns.saturating_sub(way.in_ns(piece.by)).max(counted_until_ns);
            let until_ns = piece.until_ns.saturating_add(way.out_ns).min(self.until_ns);
            accounted_ns += until_ns.saturating_sub(from_ns);
            counted_until_ns = counted_until_ns.max(until_ns);
        }
        (self.until_ns - self.from_ns).saturating_sub(accounted_ns)
    }
}

/// Stops of two threads, from each time that they were measured.
#[derive(Clone, Debug, Default)]
pub struct Stops {
    told: Vec<Told>,
    wakeups: u64,
    late_wakeups: u64,
    untold: u64,
    ran_ns: u64,
}

impl Stops {
    /// Measures once more.
    ///
    /// # Errors
    ///
    /// Where bpftrace cannot be run.
    pub fn measure(&mut self) -> anyhow::Result<()> {
        let handover = Handover::start()?;
        let bpftrace = Bpftrace::start(&script(handover.tids()))?;
        let readers = handover.run(|_| std::thread::sleep(FOR))?;
        let elements = bpftrace.finish()?;
        for reader in &readers {
            let own = elements.iter().filter(|element| element.keys.first() == Some(&u64::from(reader.tid)));
            let (mut pieces, mut woken_ns) = (Vec::new(), Vec::new());
            for element in own {
                match (&*element.name, &*element.keys) {
                    (WOKEN, [_, at_ns]) => woken_ns.push(*at_ns),
                    _ => pieces.extend(piece(element)),
                }
            }
            self.add(reader, pieces, woken_ns);
        }
        Ok(())
    }

    /// What a reader saw, what the kernel told of its stops, and when it says that its calls to sleep
    /// returned.
    fn add(&mut self, reader: &Reader, mut pieces: Vec<Piece>, mut returned_ns: Vec<u64>) {
        pieces.sort_unstable_by_key(|piece| piece.from_ns);
        returned_ns.sort_unstable();
        let mut stopped_ns = 0;
        for (from_ns, until_ns) in &reader.stops {
            stopped_ns += until_ns - from_ns;
            if !self.take(&pieces, *from_ns, *until_ns) {
                self.untold += u64::from(until_ns - from_ns > LONG_NS);
            }
        }
        for first_ns in &reader.woken_ns {
            let before = returned_ns.partition_point(|at_ns| at_ns <= first_ns).checked_sub(1);
            let Some(from_ns) = before.and_then(|place| returned_ns.get(place)) else { continue };
            self.wakeups += 1;
            let late_ns = first_ns - from_ns;
            if late_ns > STOPPED_NS && !self.take(&pieces, *from_ns, *first_ns) {
                self.late_wakeups += u64::from(late_ns > LONG_NS);
            }
        }
        // A stop may last much longer than the rest of its turn would have.
        self.ran_ns += reader.read_ns.saturating_sub(stopped_ns);
    }

    /// Keeps a stop if the kernel tells something of it.
    fn take(&mut self, pieces: &[Piece], from_ns: u64, until_ns: u64) -> bool {
        let place = pieces.partition_point(|piece| piece.from_ns < from_ns);
        let inside = pieces.iter().skip(place).take_while(|piece| piece.from_ns < until_ns);
        let pieces: Vec<Piece> = inside.copied().collect();
        let is_told = !pieces.is_empty();
        if is_told {
            self.told.push(Told { from_ns, until_ns, pieces });
        }
        is_told
    }

    /// Medians over the stops of which the kernel tells something, and how many of them take longer; how many
    /// there are of others.
    pub fn way(&self) -> Way {
        let (mut timer_ins, mut other_ins, mut outs) = (Vec::new(), Vec::new(), Vec::new());
        for Told { from_ns, until_ns, pieces } in &self.told {
            if let Some(first) = pieces.first() {
                let ins = if first.by == Cause::Timer { &mut timer_ins } else { &mut other_ins };
                ins.push(first.from_ns - from_ns);
            }
            let last_ns = pieces.iter().map(|piece| piece.until_ns).max().unwrap_or(*until_ns);
            outs.push(until_ns.saturating_sub(last_ns));
        }
        let ratio = |part: u64, of: u64| part as f64 / of.max(1) as f64;
        let way = Way {
            timer_in_ns: median(timer_ins),
            other_in_ns: median(other_ins),
            out_ns: median(outs),
            late_wakeup_ratio: ratio(self.late_wakeups, self.wakeups),
            untold_per_s: (self.untold * 1_000_000_000).checked_div(self.ran_ns).unwrap_or_default(),
            longer_ratio: 0.0,
        };
        let longer = self.told.iter().filter(|told| told.unaccounted_ns(way) > LONG_NS).count() as u64;
        Way { longer_ratio: ratio(longer, self.told.len() as u64), ..way }
    }
}

/// A call to sleep returned.
const WOKEN: &str = "woken";

/// Interrupts of these threads, when they were without their CPU, and when their calls to sleep returned.
fn script(tids: [u32; 2]) -> String {
    let [first, second] = tids;
    let is_own = |pid: &str| format!("({pid} == {first} || {pid} == {second})");
    let mut text = String::from(ATTACHED);
    let _ = writeln!(
        text,
        "tracepoint:sched:sched_switch {{ $from = args->prev_pid; $to = args->next_pid; \
         if {} {{ @gone[$from] = nsecs; }} \
         if ({} && @gone[$to]) {{ @switched[$to, @gone[$to]] = nsecs; @gone[$to] = 0; }} }}\n\
         tracepoint:syscalls:sys_exit_futex /{}/ {{ @{WOKEN}[tid, nsecs] = 1; }}",
        is_own("$from"),
        is_own("$to"),
        is_own("tid"),
    );
    for name in INTERRUPTS {
        let map = map_of(name);
        let _ = writeln!(
            text,
            "tracepoint:{name}_entry /{own}/ {{ @{map}[tid] = nsecs; }}\n\
             tracepoint:{name}_exit /{own} && @{map}[tid]/ {{ @{told}[tid, @{map}[tid]] = nsecs; @{map}[tid] = 0; }}",
            own = is_own("tid"),
            told = Cause::map_of_stretches(name),
        );
    }
    let _ = write!(text, "END {{ {ENDING} clear(@gone);");
    for name in INTERRUPTS {
        let _ = write!(text, " clear(@{});", map_of(name));
    }
    text.push_str(" }\n");
    text
}

fn piece(element: &Element) -> Option<Piece> {
    let by = match &*element.name {
        "switched" => Cause::Thread,
        other => Cause::of_map(other)?,
    };
    match *element.keys {
        [_, from_ns] => Some(Piece { from_ns, until_ns: element.value, by }),
        _ => None,
    }
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
        // Of 99.84 ms they are stopped for 49.92.
        let reader =
            |stops: &[(u64, u64)]| Reader { read_ns: 99_840_000, stops: stops.to_vec(), ..Reader::default() };
        let mut all = Stops::default();
        all.add(&reader(&stops), pieces.clone(), Vec::new());
        let expected =
            Way { timer_in_ns: 7000, other_in_ns: 6000, out_ns: 2000, untold_per_s: 2403, ..Way::default() };
        assert_eq!(all.way(), expected);
        let few = pieces.into_iter().filter(|piece| piece.by == Cause::Timer).take(40).collect();
        let mut of_few = Stops::default();
        of_few.add(&reader(&stops), few, Vec::new());
        assert_eq!(of_few.way().out_ns, 0);
    }

    #[test]
    fn a_stop_is_longer_than_others_only_by_what_is_neither_told_nor_on_the_ways() {
        let (mut stops, mut pieces) = (Vec::new(), Vec::new());
        for turn in 1..=100_u64 {
            let from_ns = turn * 1_000_000;
            // One in four takes 9 µs longer to what is told; one in four is told to take so much longer.
            let (in_ns, told_ns) = match turn % 4 {
                0 => (15_000, 3000),
                1 => (6000, 12_000),
                _ => (6000, 3000),
            };
            let told_from_ns = from_ns + in_ns;
            pieces.push(Piece {
                from_ns: told_from_ns,
                until_ns: told_from_ns + told_ns,
                by: Cause::Interrupt,
            });
            stops.push((from_ns, told_from_ns + told_ns + 2000));
        }
        let mut all = Stops::default();
        all.add(&Reader { stops, ..Reader::default() }, pieces, Vec::new());
        assert!((all.way().longer_ratio - 0.25).abs() < 1e-9, "{:?}", all.way());
    }

    #[test]
    fn a_wakeup_is_late_where_the_clock_is_read_long_after_the_call_returned_and_nothing_is_told() {
        let woken_ns: Vec<u64> = (1..=100).map(|turn| turn * 100_000).collect();
        // One in ten returned 9 µs before, one in ten of those because of an interrupt; the rest just before.
        let late = |at_ns: &u64| (at_ns / 100_000).is_multiple_of(10);
        let returned_ns = woken_ns.iter().map(|at_ns| at_ns - if late(at_ns) { 9000 } else { 500 }).collect();
        let told = vec![Piece { from_ns: 995_000, until_ns: 996_000, by: Cause::Interrupt }];
        let mut all = Stops::default();
        all.add(&Reader { woken_ns, ..Reader::default() }, told, returned_ns);
        assert!((all.way().late_wakeup_ratio - 0.09).abs() < 1e-9, "{:?}", all.way());
        assert_eq!(all.way().untold_per_s, 0);
    }
}
