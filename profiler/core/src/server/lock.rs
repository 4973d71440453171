//! What to change for the findings about the interpreter lock, in a server that has processes and threads to change.
//!
//! In: the finding, the server's options with their present values. Out: one or two sentences.

/// How a server shares work out between interpreters.
#[derive(Clone, Copy, Debug)]
pub(super) struct Options<'a> {
    /// What to do for more processes; an imperative without its period.
    pub(super) more_processes: &'a str,
    /// The option for threads in each, if there is one to turn.
    pub(super) threads: Option<&'a str>,
    /// The option for the switch interval, if there is one.
    pub(super) switch_interval: Option<&'a str>,
}

/// The advice on a finding about the lock; nothing on any other.
pub(super) fn advice(finding_id: &str, options: &Options<'_>) -> Option<String> {
    let Options { more_processes, threads, switch_interval } = *options;
    let lower = threads.map_or_else(String::new, |threads| format!(", and lower {threads}"));
    Some(match finding_id {
        "gil-starvation" => format!(
            "Move the work that is named to another process: a task queue, or a server of its own. Until then {more_processes}, so \
             that it stops fewer requests at once."
        ),
        "gil-not-released" => format!(
            "Find the call into C code that takes so long, and give it less at once or run it in another process; until then \
             {more_processes}.{}",
            switch_interval.map_or_else(String::new, |option| {
                format!(" {option} changes nothing here: this code never checks whether others ask.")
            })
        ),
        "gil-convoy" => format!(
            "{}{lower}: processes do not share the GIL.{}",
            capital(more_processes),
            switch_interval.map_or_else(String::new, |option| {
                format!(" A shorter {option} lets those that were passed over ask sooner.")
            })
        ),
        "gil-threads" => match threads {
            Some(threads) => format!("Lower {threads}, and {more_processes} as far as there are cores."),
            None => format!(
                "The application's own threads are too many for one interpreter: use fewer of them; {more_processes} as far as \
                 there are cores."
            ),
        },
        _ => return None,
    })
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}
