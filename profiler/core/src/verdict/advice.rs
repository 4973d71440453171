//! What to change about a verdict's cause.
//!
//! In: a verdict, the server, the findings about failures. Out: advice, and the finding whose it is. More
//! slots are advised only where each more waits for itself: never where the way is one object, and never
//! where that is not known.

use super::waiting::inflicted_ns;
use super::{Cause, Pattern, Verdict, sized, slots};
use crate::fact::asleep::ObjectSeen;
use crate::finding::basis::Basis;
use crate::finding::load::{CpuShort, cpu_short, host_share, is_machine_full};
use crate::finding::{Answer, Finding, leaf, priced, ratio};
use crate::model::chain::{Held, LeafKind, LeafTime, TakenBy, Unreleased};
use crate::model::independence::Independence;
use crate::phase::Phase;
use crate::server::advice::common::raise_cpu_limit;
use crate::server::advice::{Advice, Move, Sizes, act, say};
use crate::server::{kind_named, site::Site};

/// utimensat(2) on x86-64; arm64 names it otherwise, and gets the general advice.
const UTIMENSAT: i32 = 280;

/// Advice, and the finding whose it is.
pub(super) fn of(
    basis: &Basis<'_>,
    findings: &[Finding],
    verdict: &Verdict,
) -> (Advice, Option<&'static str>) {
    match verdict.pattern {
        Pattern::Failures => of_failures(basis, findings, verdict),
        // It accuses nobody.
        pattern if !pattern.is_wrong() => (Advice::default(), None),
        _ => verdict.cause().map_or_else(Default::default, |cause| with_finding(basis, cause)),
    }
}

/// Where a wait lies behind them, that of what is waited for.
fn of_failures(basis: &Basis<'_>, findings: &[Finding], verdict: &Verdict) -> (Advice, Option<&'static str>) {
    let is_behind_wait = verdict.failed.first().is_some_and(|failed| failed.is_behind_wait);
    let of_wait = verdict.cause().filter(|_| is_behind_wait).map(|cause| with_finding(basis, cause));
    if let Some(advised) = of_wait.filter(|(advice, _)| !advice.is_empty()) {
        return advised;
    }
    let is_present =
        |id: &str| findings.iter().find(|finding| finding.id == id && finding.answer == Answer::Present);
    let finding = verdict.failed.iter().find_map(|failed| is_present(failed.finding));
    finding.map_or_else(Default::default, |finding| (finding.steps.clone(), Some(finding.id)))
}

fn with_finding(basis: &Basis<'_>, cause: &Cause) -> (Advice, Option<&'static str>) {
    let rule = cause.time(&basis.snapshot.chains).and_then(leaf::rule_of);
    (of_cause(basis, cause), rule.map(|rule| rule.id))
}

/// What to change about one cause.
pub(super) fn of_cause(basis: &Basis<'_>, cause: &Cause) -> Advice {
    let Some(time) = cause.time(&basis.snapshot.chains) else { return Advice::default() };
    let Some(rule) = leaf::rule_of(time) else { return Advice::default() };
    let asked = Asked { basis, cause };
    let special = match rule.id {
        _ if time.is_collecting => Some(fewer_collections()),
        "back-end" if time.is_shared_connection => Some(each_its_connection()),
        "back-end" | "full-pipe" | "file-lock" if asked.is_other_end_stopped() => Some(resume()),
        "cpu-bound" => Some(asked.computing()),
        "cpu-taken" => Some(asked.cpu_taken(time.leaf.taken_by)),
        "gil-contention" if cpu_short(basis) == CpuShort::Cores => Some(asked.cores_short()),
        "idle-connections" if asked.is_acceptor_kept() => asked.of_server("idle-connections/acceptor"),
        "lock-not-released" if cause.all_wait_for_themselves(&basis.snapshot.chains) => {
            Some(from_elsewhere())
        }
        "lock-not-released" => not_released(time.leaf.unreleased),
        "loop-blocked" if cause.kind.is_computing() => asked.of_server("loop-blocked/computing"),
        "slow-file" if asked.is_heartbeat(time) => asked.of_server("slow-file/heartbeat"),
        "slow-file" if cause.kind == LeafKind::PageFault => Some(in_memory()),
        "back-end" | "name-lookups" | "child-process" | "slow-file" | "sleeping"
            if asked.is_independent() =>
        {
            slots::more(basis).map(|more| more.followed_by((rule.advice)()))
        }
        "stood-still" => stood_still(cause.kind, time.leaf.held),
        _ => None,
    };
    let usual = || asked.usual(rule.advice);
    let advice = special.or_else(|| asked.of_server(rule.id)).unwrap_or_else(usual);
    let advice = asked.without_more(advice);
    let advice = if cause.is_for_slots() {
        sized::with_numbers(basis, advice, inflicted_ns(&basis.snapshot.chains)).unwrap_or_else(usual)
    } else {
        advice
    };
    priced(advice, basis.snapshot)
}

struct Asked<'a> {
    basis: &'a Basis<'a>,
    cause: &'a Cause,
}

impl Asked<'_> {
    /// What the server's kind advises.
    fn of_server(&self, id: &str) -> Option<Advice> {
        let snapshot = self.basis.snapshot;
        kind_named(&snapshot.server.name).advice(id, &snapshot.server, &Site::of(snapshot))
    }

    /// Where no server's setting is the thing to change first.
    fn usual(&self, advice: fn() -> Advice) -> Advice {
        let cause = self.cause;
        if cause.kind == LeafKind::Sleep && cause.is_serial {
            return act("sleep outside of what others wait for").or(act("sleep for less time")).into();
        }
        if !self.is_for_slots() {
            return advice();
        }
        let whether_more_help = match (cause.kind, cause.independence) {
            (_, Independence::Independent) => return advice(),
            (LeafKind::Sleep, Independence::Shared) => {
                "more workers or threads would wait as well: these sleeps are longer, the more there are at once"
            }
            (LeafKind::Sleep, Independence::Unknown) => {
                "more workers or threads help only if these sleeps do not wait for one another, which was not measured"
            }
            (kind, _) if !is_answered_elsewhere(kind) => return advice(),
            (_, Independence::Shared) => {
                "more workers or threads would wait as well: it takes longer, the more ask at once"
            }
            (_, Independence::Unknown) => {
                "more workers or threads help only if it answers as fast when more ask at once, which was not measured"
            }
        };
        advice().then(say(whether_more_help))
    }

    /// The same, and each was seen to take as long however many there were.
    fn is_independent(&self) -> bool {
        self.is_for_slots() && self.cause.independence == Independence::Independent
    }

    /// Whether requests wait for a free slot, and each slot waits for itself.
    fn is_for_slots(&self) -> bool {
        let cause = self.cause;
        !cause.is_serial && cause.endpoint != Some(0) && cause.is_for_slots()
    }

    /// Whether the requests concerned are at it themselves, most of the time, and wait for nobody else:
    /// however many threads or workers there are, they take as long.
    fn waits_itself(&self) -> bool {
        let cause = self.cause;
        cause.path.iter().next().is_none() && cause.inflicted_ns.saturating_mul(2) <= cause.held_ns
    }

    /// The same without more of what would only wait as well: of anything, where requests wait for nobody
    /// else, or one object is on the way that processes share or may share, or what computes has no core; of
    /// threads, where it is the GIL or an event loop.
    fn without_more(&self, advice: Advice) -> Advice {
        let on_the_way = |phases: [Phase; 2]| self.cause.path.iter().any(|hop| phases.contains(&hop));
        let is_one = self.waits_itself()
            || on_the_way([Phase::LockWait, Phase::FileWait])
            || matches!(self.cause.kind, LeafKind::FileLock | LeafKind::NotReleased | LeafKind::StoodStill)
            || self.cause.is_for_slots() && slots::would_move_the_wait(self.basis);
        let is_of_process = on_the_way([Phase::GilWait, Phase::LoopWait]);
        let has_no_core = self.cause.kind.is_computing() && cpu_short(self.basis) == CpuShort::Cores;
        let only_waits = |one: Move| {
            one.is_up && (is_one || has_no_core || is_of_process && matches!(one.what, Sizes::Threads))
        };
        if !advice.moves().any(only_waits) {
            return advice;
        }
        let faster = || {
            let other = if self.waits_itself() {
                "do it less often"
            } else {
                "do that outside of what others wait for"
            };
            act(other).or(act("make it take less time")).into()
        };
        advice.without(only_waits).unwrap_or_else(faster)
    }

    /// Whether whoever was seen at the other end was stopped, or traced and stopped.
    fn is_other_end_stopped(&self) -> bool {
        let seen = self.cause.seen.and_then(|number| self.basis.snapshot.chains.objects.get(number as usize));
        let processes = seen.map_or(&[][..], ObjectSeen::processes);
        !processes.is_empty() && processes.iter().all(|process| matches!(process.state, Some('T' | 't')))
    }

    /// Whether the server itself sets a file's times, for no request: the file is one that nobody else can
    /// open, as far as it was seen.
    fn is_heartbeat(&self, time: &LeafTime) -> bool {
        let is_its = match self.basis.snapshot.chains.seen(time) {
            Some(ObjectSeen::File(file)) => file.is_deleted,
            _ => true,
        };
        self.cause.endpoint == Some(0) && time.leaf.system_call == UTIMENSAT && is_its
    }

    /// Whether threads that accept for others wait for clients to close: more slots would not help.
    fn is_acceptor_kept(&self) -> bool {
        let basis = self.basis;
        let serving = basis.snapshot.processes.iter().filter(|process| process.requests > 0).count().max(1);
        let all_ns = basis.window_ns().saturating_mul(serving as u64);
        let share = ratio(basis.snapshot.slots.acceptor_linger_ns, all_ns);
        share >= basis.thresholds.acceptor_linger_min_ratio
    }

    /// Who computes keeps a slot, or the cores.
    fn computing(&self) -> Advice {
        if cpu_short(self.basis) != CpuShort::No {
            return self.cores_short();
        }
        let faster = || {
            let place = if self.cause.place.is_some() { "the line named" } else { "what computes there" };
            Advice::from(act(format!("make {place} faster")).or(act("move it to another process")))
        };
        self.of_server("cpu-bound").filter(|_| !self.waits_itself()).unwrap_or_else(faster)
    }

    fn cores_short(&self) -> Advice {
        let basis = self.basis;
        let no_more = |text: &'static str| say(text).no_more(Sizes::Processes).no_more(Sizes::Threads);
        if host_share(basis) < basis.thresholds.cpu_pressure_min_ratio {
            if is_machine_full(basis) && cpu_short(basis) == CpuShort::Cores {
                let faster = act("make what computes faster");
                return Advice::first(faster.or(act("find out what else uses the host's cores (top)"))).then(
                    no_more("none is free, so more workers or threads would take CPU from what else runs"),
                );
            }
            return Advice::first(act("find out what else uses the cores (top)").or(act(
                "what confines the server to few of them (cpuset, the quota of a virtual machine)",
            )))
            .then(no_more("more workers or threads would not help"));
        }
        Advice::first(act("give the host more cores").or(act("make the code faster")))
            .then(no_more("more workers or threads would not help"))
    }

    fn cpu_taken(&self, by: Option<TakenBy>) -> Advice {
        match by {
            Some(TakenBy::Program { .. }) => act("move that program to another machine")
                .or(act("give it a lower priority (nice, or cpu.weight of its cgroup)"))
                .into(),
            Some(TakenBy::Hypervisor) => {
                act("use a machine whose CPUs are its own, as the hypervisor gives them to others").into()
            }
            _ => match cpu_short(self.basis) {
                CpuShort::Quota => {
                    self.of_server("cpu-throttled").unwrap_or_else(|| raise_cpu_limit().into())
                }
                CpuShort::Cores => self.cores_short(),
                CpuShort::No => act("see which programs use the CPUs meanwhile (top, pidstat)").into(),
            },
        }
    }
}

/// Whether somebody answers: whether more could ask at once is not known.
const fn is_answered_elsewhere(kind: LeafKind) -> bool {
    matches!(kind, LeafKind::BackEnd | LeafKind::NameServer | LeafKind::Child | LeafKind::File)
}

/// A process that is stopped answers nobody.
fn resume() -> Advice {
    act("let the process at the other end go on (kill -CONT, or end what traces it)")
        .also(act("see who stopped it"))
        .into()
}

/// What was opened before a fork is one connection: answers go to whichever process reads first.
fn each_its_connection() -> Advice {
    act("open that connection in each process, after the fork")
        .because("answers go to whichever process reads first")
        .into()
}

/// A collection walks over all objects, and nobody else of the process runs meanwhile. CPython has gc.freeze
/// from 3.7 on.
fn fewer_collections() -> Advice {
    act("call gc.freeze() once the application has loaded, so that what it keeps is not walked over again")
        .or(act("raise the first number of gc.set_threshold()"))
        .because("garbage is kept longer then, which takes memory")
        .into()
}

/// A page that is not in memory is waited for.
fn in_memory() -> Advice {
    act("see that its memory need not be read from a disk")
        .because("a page that is not in memory is waited for")
        .into()
}

fn stood_still(kind: LeafKind, held: Option<Held>) -> Option<Advice> {
    let text = match held {
        _ if kind == LeafKind::KernelLock => {
            "see who reads or changes the process's map of memory (smaps, mmap)"
        }
        Some(Held::Stopped) => "see who stops it (SIGSTOP, SIGTSTP); kill -CONT resumes it",
        Some(Held::Traced) => "end the debugger or tracer that is attached",
        Some(Held::Frozen) => "thaw its cgroup (docker unpause, cgroup.freeze)",
        Some(Held::MemoryHigh) => "raise memory.high of its cgroup, or let it use less memory",
        None => return None,
    };
    Some(act(text).into())
}

/// A server whose requests all wait for that server.
fn from_elsewhere() -> Advice {
    act("call what is asked there as a function")
        .or(act("ask a server of its own for it"))
        .because("this server serves it only when whoever asks has its answer")
        .into()
}

fn not_released(unreleased: Option<Unreleased>) -> Option<Advice> {
    match unreleased {
        Some(Unreleased::Cycle) => Some(
            act("take what each of them waits for in one order everywhere")
                .or(act("make the pool as large as what waits for it"))
                .also(act("restart the process, which goes on for nobody"))
                .into(),
        ),
        Some(Unreleased::NobodyCould) => Some(
            act("restart the process")
                .also(act("give back what was taken on every way out, and make locks after a fork"))
                .into(),
        ),
        _ => None,
    }
}
