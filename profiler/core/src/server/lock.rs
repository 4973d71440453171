//! What to change for the findings about the GIL, in a server that has processes and threads to change.
//!
//! In: the finding, the server's settings with their present values. Out: advice.

use super::advice::{Advice, Part, Setting, Sizes, act, lower, say};

/// How a server shares work out between interpreters.
#[derive(Clone, Debug)]
pub(super) struct Options<'a> {
    /// What to do for more processes.
    pub(super) more_processes: Part,
    /// The setting for threads in each, if there is one.
    pub(super) threads: Option<&'a Setting>,
    /// The setting for the switch interval, if there is one.
    pub(super) switch_interval: Option<&'a Setting>,
}

/// Why processes help.
const NOT_SHARED: &str = "processes do not share the GIL";

/// The advice on a finding about the GIL; nothing on any other.
pub(super) fn advice(finding_id: &str, options: Options<'_>) -> Option<Advice> {
    let Options { more_processes, threads, switch_interval } = options;
    Some(match finding_id {
        "gil-starvation" => Advice::first(
            act("move the work that is named to another process")
                .because("a task queue, or a server of its own"),
        )
        .then(more_processes.so("so that it stops fewer requests at once").when("Until then")),
        "gil-not-released" => {
            let advice = Advice::first(
                act("find the call into C code that takes so long")
                    .and(act("give it less at once or run it in another process")),
            )
            .then(more_processes.when("Until then"));
            match switch_interval {
                Some(interval) => advice.then(say(format!(
                    "{} changes nothing here: this code never checks whether others ask",
                    interval.name
                ))),
                None => advice,
            }
        }
        "gil-convoy" => {
            let step = match threads {
                Some(threads) => more_processes.and(lower(threads)),
                None => more_processes.into(),
            };
            let advice = Advice::first(step.because(NOT_SHARED));
            match switch_interval {
                Some(interval) => {
                    advice.then(lower(interval).because("those that were passed over ask sooner then"))
                }
                None => advice,
            }
        }
        "gil-threads" => match threads {
            Some(threads) => {
                Advice::first(lower(threads).and(more_processes.as_far_as_cores()).because(NOT_SHARED))
            }
            None => Advice::first(
                act("use fewer of the application's own threads")
                    .no_more(Sizes::Threads)
                    .because("they are too many for one interpreter"),
            )
            .then(more_processes.as_far_as_cores()),
        },
        _ => return None,
    })
}
