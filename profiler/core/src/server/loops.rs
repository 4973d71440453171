//! What servers on one event loop share: their role, and what to turn.
//!
//! In: how a server is named, how it runs on more cores, how work leaves its loop. Out: roles, advice.

use super::{Role, lock};
use crate::fact::ProcessSeen;

/// How an event-loop server names what can be turned.
#[derive(Clone, Debug)]
pub(super) struct Loops<'a> {
    /// Name in sentences.
    pub(super) server: &'a str,
    /// What to do for more of them; an imperative without its period.
    pub(super) more_processes: String,
    /// Where the number of threads of its pool is set.
    pub(super) more_threads: &'a str,
    /// How to keep a blocking call off the loop; an imperative without its period.
    pub(super) unblock: &'a str,
    /// How to keep computing off the loop; an imperative without its period.
    pub(super) offload: &'a str,
}

/// The processes that show what they are serve; others were started by them.
pub(super) fn roles(processes: &[ProcessSeen], is_server: impl Fn(&ProcessSeen) -> bool) -> Vec<(u32, Role)> {
    let role = |process: &ProcessSeen| if is_server(process) { Role::Worker } else { Role::Unknown };
    processes.iter().map(|process| (process.tgid, role(process))).collect()
}

/// A worker is a process that Python's multiprocessing spawned: `python -c 'from multiprocessing.spawn import …'`. Its
/// resource tracker is one too, by another function.
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

impl Loops<'_> {
    /// What to change for a finding.
    pub(super) fn advice(&self, finding_id: &str) -> Option<String> {
        let Self { server, more_processes, more_threads, unblock, offload } = self;
        let text = match finding_id {
            "loop-blocked" => format!("Find the blocking call of this endpoint and {unblock}."),
            "loop-blocked/computing" => format!("{}; or {more_processes}.", capital(offload)),
            "slots-exhausted/pool" => {
                format!("Give the pool more threads ({more_threads}), shorten what holds them, or {more_processes}.")
            }
            "loop-saturated"
            | "slots-exhausted"
            | "slots-exhausted/waiting"
            | "slots-exhausted/computing"
            | "slots-exhausted/one-worker" => {
                format!("An event loop uses one core at most: {more_processes} while cores are free.")
            }
            "slow-clients" | "idle-connections" | "slots-exhausted/clients" | "slots-exhausted/connections" => format!(
                "Neither slow clients nor idle connections hold anything in {server} but memory. A reverse proxy that \
                 buffers (nginx does by default) keeps them away altogether."
            ),
            "back-end" => "The time is lost in a back end: speed up its answers, or ask it less often. A timeout on its calls \
                           bounds the harm."
                .to_owned(),
            "cpu-bound" | "cpu-bound/turns" => format!(
                "Make the code of the endpoint named faster, or {more_processes}: an event loop uses one core at most."
            ),
            "cpu-bound/cores" | "slots-exhausted/cpu-short" => {
                "More processes would not help: the CPU is what is short. Give the server more of it, or make the code faster."
                    .to_owned()
            }
            "cpu-throttled" => "Raise the CPU limit of the server's cgroup (container).".to_owned(),
            "gil-contention" => format!(
                "Other threads of the process take the GIL from the event loop: move their work to another process; or \
                 {more_processes}."
            ),
            "short-behind-long" => format!("Serve the long endpoints from a {server} of their own, or {offload}."),
            "full-beside-free" => format!(
                "Keep what computes or blocks off the event loop. Or put a proxy before {server} that gives each request to the \
                 process with least to do (least_conn in nginx)."
            ),
            "herd" => "Run fewer processes that share the listener.".to_owned(),
            other => {
                let options = lock::Options { more_processes, threads: None, switch_interval: None };
                return lock::advice(other, &options);
            }
        };
        Some(text)
    }
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_for_a_blocked_loop_says_how_this_server_unblocks() {
        let loops = Loops {
            server: "X",
            more_processes: "run more".to_owned(),
            more_threads: "its setting",
            unblock: "give it to a thread",
            offload: "move the computation",
        };
        let text = |id| loops.advice(id).unwrap_or_default();
        assert_eq!(text("loop-blocked"), "Find the blocking call of this endpoint and give it to a thread.");
        assert_eq!(text("loop-blocked/computing"), "Move the computation; or run more.");
        assert_eq!(loops.advice("no-such-finding"), None);
    }
}
