//! What to change about a verdict's cause.
//!
//! In: a verdict, the server, the findings. Out: advice, and the finding whose it is. More slots are advised
//! only where each more waits for itself: never where the way is one object, and never where that is not
//! known.

use super::{Cause, Pattern, Verdict};
use crate::finding::{Answer, Finding};
use crate::model::Snapshot;
use crate::model::chain::{Chains, Held, LeafKind, TakenBy, Unreleased};
use crate::phase::Phase;
use crate::server::advice::common::raise_cpu_limit;
use crate::server::advice::{Advice, Part, act, say};
use crate::server::{kind_named, site::Site};

/// utimensat(2) on x86-64; arm64 names it otherwise, and gets the general advice.
const UTIMENSAT: i32 = 280;

/// Advice, and the finding whose it is.
pub(super) fn of(
    snapshot: &Snapshot,
    findings: &[Finding],
    verdict: &Verdict,
) -> (Advice, Option<&'static str>) {
    let asked = Asked { snapshot, findings };
    match verdict.pattern {
        Pattern::Failures => asked.of_failures(verdict),
        // It accuses nobody.
        pattern if !pattern.is_wrong() => (Advice::default(), None),
        _ => verdict.cause().map_or_else(Default::default, |cause| asked.of_cause(cause)),
    }
}

struct Asked<'a> {
    snapshot: &'a Snapshot,
    findings: &'a [Finding],
}

impl Asked<'_> {
    /// Where a wait lies behind them, that of what is waited for.
    fn of_failures(&self, verdict: &Verdict) -> (Advice, Option<&'static str>) {
        let is_behind_wait = verdict.failed.first().is_some_and(|failed| failed.is_behind_wait);
        let of_wait = verdict.cause().filter(|_| is_behind_wait).map(|cause| self.of_cause(cause));
        if let Some((advice, finding)) = of_wait.filter(|(advice, _)| !advice.is_empty()) {
            return (advice, finding);
        }
        let ids: Vec<&'static str> = verdict.failed.iter().map(|failed| failed.finding).collect();
        self.present(&ids).unwrap_or_default()
    }

    /// The advice of the first of these findings that is present.
    fn present(&self, ids: &[&'static str]) -> Option<(Advice, Option<&'static str>)> {
        ids.iter().find_map(|id| {
            let is_it = |finding: &&Finding| finding.id == *id && finding.answer == Answer::Present;
            let finding = self.findings.iter().find(is_it)?;
            Some((finding.steps.clone(), Some(*id)))
        })
    }

    /// Whether several processes wait for it on one and the same connection.
    fn is_shared(&self, cause: &Cause) -> bool {
        cause.time(&self.snapshot.chains).is_some_and(|time| time.is_shared_connection)
    }

    /// Whether the server itself sets a file's times, for no request.
    fn is_heartbeat(&self, cause: &Cause) -> bool {
        let call = cause.time(&self.snapshot.chains).map(|time| time.leaf.system_call);
        cause.endpoint == Some(0) && call == Some(UTIMENSAT)
    }

    /// What the server's kind advises, whatever rules found.
    fn of_server(&self, id: &str) -> Option<Advice> {
        let server = &self.snapshot.server;
        kind_named(&server.name).advice(id, server, &Site::of(self.snapshot))
    }

    fn of_cause(&self, cause: &Cause) -> (Advice, Option<&'static str>) {
        match cause.kind {
            kind if kind != LeafKind::Computing && by_way_of(cause, Phase::GilWait) => keeps_gil(),
            LeafKind::BackEnd if self.is_shared(cause) => (each_its_connection(), None),
            LeafKind::Client => self.present(&["slow-clients", "idle-connections"]).unwrap_or_else(|| {
                let proxy = act("put a proxy that buffers requests and responses in front");
                (self.of_server("slow-clients").unwrap_or_else(|| proxy.into()), Some("slow-clients"))
            }),
            LeafKind::Computing => self.computing(cause),
            LeafKind::CpuTaken => self.cpu_taken(cause),
            LeafKind::File if self.is_heartbeat(cause) => {
                let known = self.of_server("verdict/heartbeat");
                (known.unwrap_or_else(|| generic(&self.snapshot.chains, cause)), None)
            }
            LeafKind::Upgraded | LeafKind::Stream => (lasting(), None),
            LeafKind::Sleep if is_for_slots(cause) => self.sleeping(cause),
            _ => (generic(&self.snapshot.chains, cause), None),
        }
    }

    /// Who computes keeps the loop, the interpreter or the cores.
    fn computing(&self, cause: &Cause) -> (Advice, Option<&'static str>) {
        let ids: &[&str] = if by_way_of(cause, Phase::LoopWait) {
            &["loop-blocked", "loop-saturated", "cpu-bound"]
        } else if by_way_of(cause, Phase::GilWait) {
            &["gil-not-released", "gil-starvation", "gil-contention", "gil-convoy", "cpu-bound"]
        } else {
            &["cpu-bound", "gil-contention", "gil-threads", "loop-saturated", "loop-blocked"]
        };
        let faster = || {
            let place = if cause.place.is_some() { "the line named" } else { "what computes there" };
            Advice::from(act(format!("make {place} faster")).or(act("move it to another process")))
        };
        self.present(ids).unwrap_or_else(|| (faster(), None))
    }

    fn cpu_taken(&self, cause: &Cause) -> (Advice, Option<&'static str>) {
        let own = |advice: Advice| (advice, None);
        match cause.taken_by {
            Some(TakenBy::Quota) => {
                self.present(&["cpu-throttled"]).unwrap_or_else(|| own(raise_cpu_limit().into()))
            }
            Some(TakenBy::Program { .. }) => own(act("move that program to another machine")
                .or(act("give it a lower priority (nice, or cpu.weight of its cgroup)"))
                .into()),
            Some(TakenBy::Hypervisor) => {
                own(act("use a machine whose CPUs are its own, as the hypervisor gives them to others")
                    .into())
            }
            Some(TakenBy::Thread) => {
                own(act("do less in the server's threads that serve no request, or do it elsewhere").into())
            }
            Some(TakenBy::Request { .. }) | None => {
                self.present(&["cpu-bound", "cpu-throttled"]).unwrap_or_else(|| {
                    own(act("see which programs use the CPUs meanwhile (top, pidstat)").into())
                })
            }
        }
    }

    /// Sleeping slots: each more sleeps for itself.
    fn sleeping(&self, cause: &Cause) -> (Advice, Option<&'static str>) {
        let shorter = generic(&self.snapshot.chains, cause);
        let slots = self.present(&["slots-exhausted", "short-behind-long"]);
        let slots = slots.filter(|(steps, _)| steps.moves().any(|one| one.is_up));
        match slots {
            Some((steps, id)) => (steps.followed_by(shorter), id),
            None => (shorter, None),
        }
    }
}

fn by_way_of(cause: &Cause, phase: Phase) -> bool {
    cause.path.iter().any(|hop| hop == phase)
}

/// Who waits for something else with the interpreter lock makes all threads of the process wait.
fn keeps_gil() -> (Advice, Option<&'static str>) {
    let driver = act("use a driver that releases the GIL while it waits");
    (driver.or(act("make that call in another process")).into(), None)
}

/// What was opened before a fork is one connection: answers go to whichever process reads first.
fn each_its_connection() -> Advice {
    act("open that connection in each process, after the fork")
        .because("answers go to whichever process reads first")
        .into()
}

/// Whether requests wait for a free slot, and each slot waits for itself.
fn is_for_slots(cause: &Cause) -> bool {
    let to_be_served = |hop| matches!(hop, Phase::AcceptQueue | Phase::PoolWait);
    !cause.is_serial && cause.endpoint != Some(0) && cause.path.iter().next().is_some_and(to_be_served)
}

/// What holds slots without being a request.
fn lasting() -> Advice {
    act("serve WebSockets and streams of events from a server of their own, on an event loop")
        .because("each keeps a worker or thread for as long as its client stays")
        .into()
}

/// Where no server's setting is the thing to change first.
fn generic(chains: &Chains, cause: &Cause) -> Advice {
    let advice = of_kind(chains, cause);
    if !is_for_slots(cause) || !is_answered_elsewhere(cause.kind) {
        return advice;
    }
    let unknown = say(
        "more workers or threads help only if it answers as fast when more ask at once, which was not measured",
    );
    advice.then(unknown)
}

/// Whether somebody answers: whether more could ask at once is not known.
const fn is_answered_elsewhere(kind: LeafKind) -> bool {
    matches!(kind, LeafKind::BackEnd | LeafKind::NameServer | LeafKind::Child | LeafKind::File)
}

fn of_kind(chains: &Chains, cause: &Cause) -> Advice {
    let leaf = cause.time(chains).map(|time| time.leaf);
    match cause.kind {
        LeafKind::BackEnd => act("find out why it answers slowly")
            .or(act("ask it less often"))
            .also(act("give the call a time limit, which bounds what others wait"))
            .into(),
        LeafKind::NameServer => {
            act("keep what was resolved").or(act("use a caching name server on this host")).into()
        }
        LeafKind::Child => {
            act("start that program less often").or(act("wait for it outside of requests")).into()
        }
        LeafKind::File => act("put that file on faster storage").or(act("use it less often")).into(),
        LeafKind::FileLock => act("hold that lock for less time")
            .because("one process at a time has it, and more of them would wait as well")
            .into(),
        LeafKind::Pipe => act("see why the other end of that pipe is not read or written").into(),
        LeafKind::PageFault => act("see that its memory need not be read from a disk")
            .because("a page that is not in memory is waited for")
            .into(),
        LeafKind::KernelLock => {
            act("see who reads or changes the process's map of memory (smaps, mmap)").into()
        }
        LeafKind::Sleep if cause.is_serial => {
            act("sleep outside of what others wait for").or(act("sleep for less time")).into()
        }
        LeafKind::Sleep => act("sleep for less time").into(),
        LeafKind::StoodStill => stood_still(leaf.and_then(|leaf| leaf.held)).into(),
        LeafKind::NotReleased if cause.all_wait_for_themselves(chains) => {
            act("call what is asked there as a function")
                .or(act("ask a server of its own for it"))
                .because("this server serves it only when whoever asks has its answer")
                .into()
        }
        LeafKind::NotReleased => not_released(leaf.and_then(|leaf| leaf.unreleased)),
        LeafKind::NoThread => act("see why nobody was there: workers ended or were still starting").into(),
        LeafKind::FrontEnd => act("see what the front end does meanwhile").into(),
        LeafKind::Spinning => act("see what is polled there without a pause").into(),
        _ => Advice::default(),
    }
}

fn stood_still(held: Option<Held>) -> Part {
    act(match held {
        Some(Held::Stopped) => "see who stops it (SIGSTOP, SIGTSTP); kill -CONT resumes it",
        Some(Held::Traced) => "end the debugger or tracer that is attached",
        Some(Held::Frozen) => "thaw its cgroup (docker unpause, cgroup.freeze)",
        Some(Held::MemoryHigh) => "raise memory.high of its cgroup, or let it use less memory",
        None => "see who stops, traces or freezes it",
    })
}

fn not_released(unreleased: Option<Unreleased>) -> Advice {
    match unreleased {
        Some(Unreleased::Cycle) => act("take what each of them waits for in one order everywhere")
            .or(act("make the pool as large as what waits for it"))
            .also(act("restart the process, which goes on for nobody"))
            .into(),
        Some(Unreleased::NobodyCould) => act("restart the process")
            .also(act("give back what was taken on every way out, and make locks after a fork"))
            .into(),
        _ => act("see what the thread named does").or(act("wait for that lock with a time limit")).into(),
    }
}
