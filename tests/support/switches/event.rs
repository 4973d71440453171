//! One line of the kernel's tracer about its scheduler.
//!
//! In: text. Out: an [`Event`], as the kernel's source names what it tells.

pub(super) const EVENTS: [&str; 6] = [
    "sched_switch",
    "sched_waking",
    "sched_wakeup",
    "sched_wakeup_new",
    "sched_stat_runtime",
    "sched_migrate_task",
];
/// The last event of `__schedule` before it reads its clock (kernel/sched/core.c, kernel/rcu/tree_plugin.h).
pub(super) const BEGINS: &str = "rcu_utilization";
/// The second flag of an event where `TIF_NEED_RESCHED` is set (`trace_print_lat_fmt`,
/// kernel/trace/trace_output.c).
const ASKED_FOR: [char; 4] = ['N', 'n', 'B', 'b'];
/// The first event of most threads that come to a CPU: their return to their own code (x86 only).
pub(super) const RETURNS: &str = "x86_fpu_regs_activated";

/// One line of the tracer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Event {
    /// When, in µs.
    pub(super) now_us: u64,
    /// On which CPU.
    pub(super) cpu: u32,
    /// The thread that had the CPU.
    pub(super) current: u32,
    /// What happened.
    pub(super) what: What,
}

/// What an event tells, of the thread of this number.
#[derive(Clone, Copy, Debug)]
pub(super) enum What {
    Switch { previous: u32, goes_on: bool, ends: bool, next: u32 },
    SwitchBegins { is_asked_for: bool },
    Counted { thread: u32, runtime_ns: u32 },
    Moved(u32),
    IsBeingWoken(u32),
    Begins(u32),
    IsWoken { thread: u32, on_cpu: u32 },
    Returns,
}

impl Event {
    /// `COMM-PID [CPU] FLAGS SECONDS.MICROSECONDS: NAME: TEXT`, in which names of threads may hold anything
    /// that is as short as they are.
    pub(super) fn of(line: &str) -> Option<Self> {
        let names = || EVENTS.into_iter().chain([BEGINS, RETURNS]);
        let named = |(at, _): (usize, &str)| {
            let (head, rest) = (line.get(..at)?, line.get(at + 2..)?);
            names().find_map(|name| Some((head, name, rest.strip_prefix(name)?.strip_prefix(": ")?)))
        };
        let (head, name, text) = line.match_indices(": ").find_map(named)?;
        let (head, stamp) = head.rsplit_once(' ')?;
        let (seconds, micros) = stamp.split_once('.')?;
        let (current, head) = head.rsplit_once('[')?;
        let (cpu, flags) = head.split_once(']')?;
        let thread = || after(text, " pid=");
        let what = match name {
            RETURNS => What::Returns,
            "sched_switch" => {
                let (previous, next) = text.rsplit_once(" ==> ")?;
                let state = previous.rsplit_once("prev_state=")?.1;
                What::Switch {
                    previous: after(previous, " prev_pid=")?,
                    goes_on: state.starts_with('R'),
                    ends: state.starts_with(['X', 'Z']),
                    next: after(next, " next_pid=")?,
                }
            }
            BEGINS => {
                let asked_for = flags.trim_start().chars().nth(1);
                What::SwitchBegins { is_asked_for: asked_for.is_some_and(|flag| ASKED_FOR.contains(&flag)) }
            }
            "sched_stat_runtime" => {
                What::Counted { thread: thread()?, runtime_ns: after(text, " runtime=")? }
            }
            "sched_migrate_task" => What::Moved(thread()?),
            "sched_waking" => What::IsBeingWoken(thread()?),
            "sched_wakeup_new" => What::Begins(thread()?),
            _ => What::IsWoken { thread: thread()?, on_cpu: after(text, " target_cpu=")? },
        };
        Some(Self {
            now_us: seconds.parse::<u64>().ok()? * 1_000_000 + micros.parse::<u64>().ok()?,
            cpu: cpu.parse().ok()?,
            current: current.trim_end().rsplit_once('-')?.1.parse().ok()?,
            what,
        })
    }
}

/// The number behind the last `key`.
fn after(text: &str, key: &str) -> Option<u32> {
    text.rsplit_once(key)?.1.split(' ').next()?.parse().ok()
}
