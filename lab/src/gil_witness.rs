//! Who waited for an interpreter's lock, by probes of another program (bpftrace) at the entry and the return
//! of the function that takes it.
//!
//! In: an interpreter's file and the places of the function in it. Out: attempts that had to wait, to the
//! nanosecond. The probe at the return is single-stepped: it costs the server some 10 µs each time a thread
//! takes the lock.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::path::Path;

use wsgi_trace::fact::python::take_gil::TakeGil;

use crate::bpftrace::{ATTACHED, Bpftrace, Cause, ENDING, Element, INTERRUPTS, map_of};

/// One attempt that had to wait: it slept in a futex call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Thread.
    pub tid: u32,
    /// Entry of the function, `CLOCK_MONOTONIC`.
    pub start_ns: u64,
    /// Its return.
    pub end_ns: u64,
    /// The interpreter's loop made the attempt, not a function that takes back what a call had given up, or
    /// begins a thread.
    pub is_after_forced: bool,
    /// Stretches of it in which the thread did not run though it could have.
    pub held_up: Vec<HeldUp>,
}

/// A thread was ready to go on and did not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeldUp {
    /// From when, `CLOCK_MONOTONIC`.
    pub from_ns: u64,
    /// Until when.
    pub until_ns: u64,
    /// By its saved registers it was inside a futex call. Not looked at of interrupts. One that comes in the
    /// rest of a call, behind the moment that the kernel tells as its end, is no part of a wait either.
    pub is_in_call: bool,
    /// What had its CPU.
    pub by: Cause,
}

/// All that was seen.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// In no order.
    pub attempts: Vec<Attempt>,
    /// Attempts that did not sleep.
    pub unhindered: u64,
    /// Median length of those, by the witness's own account: next to all of it is what its two probes add to
    /// every attempt.
    pub unhindered_ns: u64,
}

/// bpftrace, attached.
#[derive(Debug)]
pub struct Witness(Bpftrace);

impl Witness {
    /// Attaches to the functions in `file` for these processes.
    ///
    /// # Errors
    ///
    /// Where bpftrace is not there or cannot attach.
    pub fn start(file: &Path, functions: &[TakeGil], pids: &[u32]) -> anyhow::Result<Self> {
        Bpftrace::start(&script(file, functions, pids)).map(Self)
    }

    /// Ends it, and gives what it saw.
    ///
    /// # Errors
    ///
    /// Where it lost something.
    pub fn finish(self) -> anyhow::Result<Seen> {
        let mut seen = Seen::default();
        let mut held_up: HashMap<u32, Vec<HeldUp>> = HashMap::new();
        let mut unhindered: BTreeMap<u64, u64> = BTreeMap::new();
        for Element { name, keys, value } in self.0.finish()? {
            match (&*name, &*keys) {
                ("took", [tid, start_ns]) => seen.attempts.push(Attempt {
                    tid: u32::try_from(*tid)?,
                    start_ns: *start_ns,
                    end_ns: value >> 1,
                    is_after_forced: value & 1 == 0,
                    held_up: Vec::new(),
                }),
                (name, [tid, from_ns]) if cause(name).is_some() => {
                    held_up.entry(u32::try_from(*tid)?).or_default().push(HeldUp {
                        from_ns: *from_ns,
                        until_ns: value,
                        is_in_call: name == IN_CALL,
                        by: cause(name).unwrap_or_default(),
                    });
                }
                ("free", [bucket]) => {
                    unhindered.insert(*bucket, value);
                }
                _ => {}
            }
        }
        for of_thread in held_up.values_mut() {
            of_thread.sort_unstable_by_key(|of| of.from_ns);
        }
        for attempt in &mut seen.attempts {
            let of_thread = held_up.get(&attempt.tid).map(Vec::as_slice).unwrap_or_default();
            let first = of_thread.partition_point(|of| of.from_ns < attempt.start_ns);
            attempt.held_up = of_thread
                .iter()
                .skip(first)
                .take_while(|of| of.from_ns < attempt.end_ns)
                .filter(|of| of.until_ns <= attempt.end_ns)
                .copied()
                .collect();
        }
        seen.unhindered = unhindered.values().sum();
        let mut before = 0;
        let median = unhindered.iter().find(|(_, count)| {
            before += **count;
            before * 2 >= seen.unhindered
        });
        seen.unhindered_ns = median.map_or(0, |(bucket, _)| bucket * BUCKET_NS);
        Ok(seen)
    }
}

/// What a stretch is called that began in a call.
const IN_CALL: &str = "preempted_in_call";

/// What the elements of a map are stretches of.
fn cause(map: &str) -> Option<Cause> {
    match map {
        "preempted" | IN_CALL => Some(Cause::Thread),
        other => Cause::of_map(other),
    }
}

/// The number of the call that a thread is in by its saved registers, at the end of its kernel stack:
/// `THREAD_SIZE` less `struct pt_regs`, and `orig_ax` in it (arch/x86/include/asm). Where it lay elsewhere,
/// no attempt would have slept.
const CALL: &str = "*(int64 *)((uint64)((struct task_struct *)curtask)->stack + 16384 - 168 + 120)";

/// `__NR_futex` of `x86_64`.
const FUTEX: i64 = 202;

/// Width of a bucket of lengths, and how many there are.
const BUCKET_NS: u64 = 10;
const BUCKETS: u64 = 2000;

/// An attempt had to wait if it slept in a futex call. Where it begins, nothing but the time is written, and
/// nothing is attached to calls, so that little of the witness's own work lies within what it measures and
/// not within what the profiler does. All is kept until the end: a reader that is woken while threads wait
/// takes their cores, and who is told of that is woken again.
fn script(file: &Path, functions: &[TakeGil], pids: &[u32]) -> String {
    let pids: Vec<String> = pids.iter().map(|pid| format!("pid == {pid}")).collect();
    let traced = format!("({})", pids.join(" || "));
    let file = file.display();
    let mut text = String::from(ATTACHED);
    for function in functions {
        if let Some(entry) = function.entry {
            let _ = writeln!(text, "uprobe:{file}:{:#x} /{traced}/ {{ @in[tid] = nsecs; }}", entry.offset);
        }
        for exit in &function.exits {
            let _ = writeln!(
                text,
                "uprobe:{file}:{:#x} /@in[tid]/ {{ $now = nsecs; if (@slept[tid]) {{ \
                 @took[tid, @in[tid]] = ($now << 1) | @restores[tid]; @slept[tid] = 0; }} \
                 else {{ $bucket = ($now - @in[tid]) / {BUCKET_NS}; if ($bucket < {BUCKETS}) {{ @free[$bucket] = count(); }} }} \
                 @restores[tid] = 0; @in[tid] = 0; }}",
                exit.offset
            );
        }
    }
    for function in ["PyEval_RestoreThread", "PyEval_AcquireThread"] {
        let _ = writeln!(text, "uprobe:{file}:{function} /{traced}/ {{ @restores[tid] = 1; }}");
    }
    // A state of 0 or 256: it was ready to go on.
    let _ = writeln!(
        text,
        "tracepoint:sched:sched_switch {{ \
         if (@in[args->prev_pid]) {{ $call = {CALL}; \
         if (args->prev_state == 0 || args->prev_state == 256) {{ \
         @gone[args->prev_pid] = nsecs; @called[args->prev_pid] = $call == {FUTEX} ? 1 : 0; }} \
         else if ($call == {FUTEX}) {{ @slept[args->prev_pid] = 1; }} }} \
         $gone = @gone[args->next_pid]; \
         if ($gone) {{ @gone[args->next_pid] = 0; \
         if (@called[args->next_pid]) {{ @preempted_in_call[args->next_pid, $gone] = nsecs; }} \
         else {{ @preempted[args->next_pid, $gone] = nsecs; }} }} }}"
    );
    for name in INTERRUPTS {
        let map = map_of(name);
        let _ = writeln!(
            text,
            "tracepoint:{name}_entry /@in[tid]/ {{ @{map}[tid] = nsecs; }}\n\
             tracepoint:{name}_exit /@{map}[tid]/ {{ @{told}[tid, @{map}[tid]] = nsecs; @{map}[tid] = 0; }}",
            told = Cause::map_of_stretches(name),
        );
    }
    let _ = write!(
        text,
        "END {{ {ENDING} clear(@in); clear(@slept); clear(@gone); clear(@called); clear(@restores);"
    );
    for name in INTERRUPTS {
        let _ = write!(text, " clear(@{});", map_of(name));
    }
    text.push_str(" }\n");
    text
}
