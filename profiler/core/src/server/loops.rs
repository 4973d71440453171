//! What servers on one event loop share: their role, and what to turn.
//!
//! In: how a server is named, how it runs on more cores, how work leaves its loop. Out: roles, advice.

use super::Role;
use super::advice::common::raise_cpu_limit;
use super::advice::{Advice, Direction, Part, Setting, Sizes, Step, act, say};
use crate::fact::ProcessSeen;

/// How an event-loop server names what can be turned.
#[derive(Clone, Debug)]
pub(super) struct Loops<'a> {
    /// Name in sentences.
    pub(super) server: &'a str,
    /// What to do for more of them.
    pub(super) more_processes: Part,
    /// How to give its pool more threads, one instead of the other.
    pub(super) more_threads: Vec<Part>,
    /// How to keep a blocking call off the loop; an imperative without its period.
    pub(super) unblock: &'a str,
    /// How to keep computing off the loop; an imperative without its period.
    pub(super) offload: &'a str,
    /// Why a thread is not enough for that, without its period; empty: nothing to say.
    pub(super) offload_because: &'a str,
}

/// Why a thread does not keep computing off a loop.
pub(super) const THREADS_SHARE_GIL: &str = "a thread shares the GIL with the loop";

/// What Python's asyncio has, for servers on its loop.
pub(super) mod asyncio {
    /// How many threads its pool has.
    pub(in super::super) const POOL_THREADS: &str = "max_workers of the loop's default executor";
    /// How many threads its pool has where nobody says a number (`concurrent.futures.ThreadPoolExecutor`).
    pub(in super::super) const POOL_THREADS_UNSET: &str =
        "four more than the cores and 32 at most unless set";
    /// How to keep a blocking call off the loop.
    pub(in super::super) const UNBLOCK: &str =
        "await it instead: an asynchronous library, or asyncio.to_thread";
    /// How to keep computing off the loop.
    pub(in super::super) const OFFLOAD: &str = "move the computation to another process (loop.run_in_executor with a ProcessPoolExecutor) or a task queue";
}

/// The processes that show what they are serve; others were started by them.
pub(super) fn roles(processes: &[ProcessSeen], is_server: impl Fn(&ProcessSeen) -> bool) -> Vec<(u32, Role)> {
    let role = |process: &ProcessSeen| if is_server(process) { Role::Worker } else { Role::Unknown };
    processes.iter().map(|process| (process.tgid, role(process))).collect()
}

/// A worker is a process that Python's multiprocessing spawned: `python -c 'from multiprocessing.spawn import
/// …'`. Its resource tracker is one too, by another function.
fn is_spawned(process: &ProcessSeen) -> bool {
    process.command_line.iter().any(|argument| argument.contains("multiprocessing.spawn"))
}

/// Who does what, where the process that was started spawns the workers if there are any.
pub(super) fn roles_below(top: Option<u32>, processes: &[ProcessSeen]) -> Vec<(u32, Role)> {
    let is_worker =
        |process: &ProcessSeen| Some(process.parent_tgid) == top && top.is_some() && is_spawned(process);
    let supervises = processes.iter().any(is_worker);
    let role = |process: &ProcessSeen| match Some(process.tgid) == top {
        true if supervises => Role::Master,
        true => Role::Worker,
        false if is_worker(process) => Role::Worker,
        false => Role::Unknown,
    };
    processes.iter().map(|process| (process.tgid, role(process))).collect()
}

/// More threads for the pool, whose number this sets; `unset`: how many there are unless it is.
pub(super) fn more_threads(setting: &Setting, unset: &str) -> Part {
    act(format!("give the pool more threads ({}, {unset})", setting.name))
        .with(setting.clone(), Direction::Raise)
}

impl Loops<'_> {
    /// What to change for a finding.
    pub(super) fn advice(&self, finding_id: &str) -> Option<Advice> {
        let Self { server, unblock, offload, offload_because, .. } = *self;
        let more_processes = self.more_processes.clone();
        let offload = act(offload);
        Some(match finding_id {
            "loop-blocked" => {
                Advice::first(act(format!("find the blocking call of this endpoint and {unblock}")))
            }
            "loop-blocked/computing" => {
                Advice::first(offload.or(more_processes.up_to_cores()).because(offload_because))
            }
            "more-slots/pool" => {
                let others = [act("shorten what holds the pool's threads"), more_processes];
                let mut all = self.more_threads.iter().cloned().chain(others);
                let first = all.next().map(Step::from)?;
                Advice::first(all.fold(first, Step::or))
            }
            "slow-clients" | "idle-connections" => Advice::first(say(format!(
                "neither slow clients nor idle connections hold anything in {server} but memory"
            )))
            .then(say("a reverse proxy that buffers (nginx does by default) keeps them away altogether")),
            "cpu-bound" => Advice::first(
                act("make the code of the endpoint named faster")
                    .or(more_processes)
                    .because("an event loop uses one core at most"),
            ),
            "cpu-throttled" => Advice::first(raise_cpu_limit()),
            "gil-contention" => Advice::first(
                act("move the work of the process's other threads to another process")
                    .or(more_processes)
                    .because("those threads take the GIL from the event loop"),
            ),
            "full-beside-free" => {
                Advice::first(act("keep what computes or blocks off the event loop")).then(act(format!(
                    "or put a proxy before {server} that gives each request to the process with least to do \
                     (least_conn in nginx)"
                )))
            }
            "herd" => {
                Advice::first(act("run fewer processes that share the listener").no_more(Sizes::Processes))
            }
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_for_a_blocked_loop_says_how_this_server_unblocks() {
        let loops = Loops {
            server: "X",
            more_processes: act("run more").more(Sizes::Processes),
            more_threads: vec![act("raise its setting")],
            unblock: "give it to a thread",
            offload: "move the computation",
            offload_because: "a thread shares the GIL",
        };
        let text = |id| loops.advice(id).unwrap_or_default().to_string();
        assert_eq!(text("loop-blocked"), "Find the blocking call of this endpoint and give it to a thread.");
        assert_eq!(
            text("loop-blocked/computing"),
            "Move the computation, or run more up to the number of cores: a thread shares the GIL."
        );
        let computing = loops.advice("loop-blocked/computing").unwrap_or_default();
        assert_eq!(computing.imperative(), "Move the computation, or run more up to the number of cores");
        assert_eq!(loops.advice("no-such-finding"), None);
    }
}
