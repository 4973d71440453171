//! The one table of limits that verdicts rest on: name, unit, value, which rules use it, and why.
//!
//! In: nothing. Out: [`Thresholds`] for the rules and [`Threshold`] rows for `wsgi-trace explain`. No rule
//! holds a limit of its own.

/// What a limit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// A share, 0 to 1; printed in percent.
    Ratio,
    /// Seconds.
    Seconds,
    /// Milliseconds.
    Milliseconds,
    /// Requests.
    Requests,
    /// Connections.
    Connections,
    /// Attempts to connect.
    Attempts,
    /// Threads.
    Threads,
    /// Processes.
    Processes,
    /// How many times larger one value is than another.
    Times,
    /// Request-seconds for each second of the window: how many requests, on average, were in it at any
    /// moment.
    RequestSecondsPerSecond,
    /// Wakeups for each second of the window.
    WakeupsPerSecond,
}

impl Unit {
    /// A value in this unit, for people.
    pub fn show(self, value: f64) -> String {
        match self {
            Self::Ratio => format!("{} %", trimmed(value * 100.0)),
            Self::Seconds => format!("{} s", trimmed(value)),
            Self::Milliseconds => format!("{} ms", trimmed(value)),
            Self::Requests => format!("{} requests", trimmed(value)),
            Self::Connections => format!("{} connections", trimmed(value)),
            Self::Attempts => format!("{} attempts", trimmed(value)),
            Self::Processes => format!("{} processes", trimmed(value)),
            Self::Threads => format!("{} threads", trimmed(value)),
            Self::Times => format!("{} times", trimmed(value)),
            Self::RequestSecondsPerSecond => format!("{} request-seconds per second", trimmed(value)),
            Self::WakeupsPerSecond => format!("{} wakeups per second", trimmed(value)),
        }
    }
}

/// A number without needless digits.
fn trimmed(value: f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// One row of the table.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Threshold {
    /// Name, as in the catalogue.
    pub name: &'static str,
    /// What it counts.
    pub unit: Unit,
    /// Its value.
    pub value: f64,
    /// Ids of the rules that use it; empty: it holds for all of them.
    pub rules: &'static [&'static str],
    /// Why this value.
    pub why: &'static str,
}

macro_rules! thresholds {
    ($($name:ident: $unit:ident = $value:literal, $rules:expr, $why:literal;)*) => {
        /// The limits in force; `default()` is the documented table.
        #[derive(Clone, Debug, PartialEq)]
        pub struct Thresholds {
            $(#[doc = $why] pub $name: f64,)*
        }

        impl Default for Thresholds {
            fn default() -> Self {
                Self { $($name: $value,)* }
            }
        }

        impl Thresholds {
            /// Every limit with its value, in the order of the table.
            pub fn table(&self) -> Vec<Threshold> {
                vec![$(Threshold {
                    name: stringify!($name),
                    unit: Unit::$unit,
                    value: self.$name,
                    rules: $rules,
                    why: $why,
                },)*]
            }
        }
    };
}

/// What limits of the verdict, and of the findings that it accuses, are named under: no rule of its own.
pub const VERDICT: &str = "verdict";
/// Rules that cannot speak without requests.
const NEED_REQUESTS: &[&str] = &[
    "back-end-connections",
    "back-end-slower",
    "full-beside-free",
    "ill-worker",
    "server-errors",
    "healthy",
];
/// Rules whose cost must be worth a person's time.
const COSTLY: &[&str] =
    &["back-end-connections", "back-end-slower", "full-beside-free", "ill-worker", "healthy"];

thresholds! {
    window_min_seconds: Seconds = 1.0, &[],
        "Shorter windows show a burst or a lull, not the server.";
    lost_max_ratio: Ratio = 0.05, &[],
        "Beyond this share of lost records the lost part can turn a verdict around; below it, the share is said.";
    lost_said_min_ratio: Ratio = 0.001, &[],
        "Smaller losses are shown at the top of the report and in the evidence, but change no sentence.";
    requests_min_count: Requests = 10.0, NEED_REQUESTS,
        "With fewer requests, a single unusual one decides.";
    waited_for_others_min_ratio: Ratio = 0.1, &[VERDICT],
        "A tenth of request time is felt; less is seldom worth a night's work.";
    waited_for_others_min_seconds: Seconds = 3.0, &[VERDICT],
        "So much request time is worth a sentence, whatever each request waited.";
    waited_for_others_min_count: Requests = 10.0, &[VERDICT],
        "Of fewer requests a single unusual one decides.";
    waited_for_others_each_min_milliseconds: Milliseconds = 10.0, &[VERDICT],
        "Shorter waits are not noticed by anybody, however many they are.";
    few_min_count: Requests = 3.0, &[VERDICT],
        "Of the slowest requests, and of those that failed, there are few: three are no chance.";
    named_min_ratio: Ratio = 0.5, &[VERDICT],
        "From one half on, nothing else can be a larger cause.";
    several_min_ratio: Ratio = 0.2, &[VERDICT],
        "Of several causes, one that prevents less is not worth its place in the sentence.";
    itself_min_times: Times = 2.0, &[VERDICT],
        "Where requests do for twice as long themselves what others wait for, the waiting is not what makes them slow.";
    slowest_min_times: Times = 5.0, &[VERDICT],
        "A tail five times as long as the middle is another kind of request, or another moment.";
    usual_min_ratio: Ratio = 0.1, &[VERDICT],
        "Less than a tenth of request time cannot be what requests mostly do.";
    cost_min_rate: RequestSecondsPerSecond = 0.1, COSTLY,
        "Less than a tenth of a request (or slot) at any moment, on average: there is little to win.";
    acceptor_linger_min_ratio: Ratio = 0.10, &[VERDICT],
        "A worker that accepts nothing for a tenth of the time lets its clients wait, however many threads are free.";
    exhausted_window_min_ratio: Ratio = 0.10, &[VERDICT],
        "Short moments with every slot (of the server, or of one worker) busy are normal; a tenth of the window is not.";
    waited_request_min_ratio: Ratio = 0.05, &[VERDICT, "full-beside-free"],
        "Busy slots do no harm unless requests waited; a twentieth of their time is felt.";
    set_up_per_request_min_count: Connections = 0.5, &["back-end-connections"],
        "A pool connects now and then; a connection for every second request is a habit.";
    set_up_served_min_ratio: Ratio = 0.10, &["back-end-connections"],
        "Connections that are kept take room in the back end: a tenth of service time is worth that.";
    slower_min_times: Times = 2.0, &["back-end-slower"],
        "Back ends vary from moment to moment; twice as long for the same endpoint, and still so at the end, is a change.";
    settled_min_times: Times = 2.0, &["back-end-slower"],
        "Requests that began before the watch do not count, so those that wait shortly end first; what comes sooner after the beginning is no change.";
    cpu_pressure_min_ratio: Ratio = 0.50, &[VERDICT],
        "A worker that runs for half of the time doubles the time a random arrival takes; below it, being made of CPU time is no problem.";
    run_queue_of_cpu_min_ratio: Ratio = 0.30, &[VERDICT],
        "When almost a third of the time in which Python wanted to run was spent waiting for a core, cores are short.";
    interpreter_full_min_ratio: Ratio = 0.80, &[VERDICT],
        "With four fifths of one core wanted by a process, its threads wait for one another: more of them only wait as well.";
    full_min_ratio: Ratio = 0.90, &[VERDICT, "healthy"],
        "What is used for nine tenths on average is full most of the time.";
    connections_min_count: Connections = 20.0, &["herd"],
        "A server to which so few connections come does not suffer from what each of them wakes.";
    woken_min_count: Threads = 1.5, &["herd"],
        "Each connection needs one; a little more than that are threads that looked at a bad moment.";
    in_vain_server_min_ratio: Ratio = 0.02, &["herd"],
        "Less than a fiftieth of the server's CPU time is not worth another setting.";
    in_vain_one_cpu_min_ratio: Ratio = 0.005, &["herd"],
        "Less than a two-hundredth of one CPU is not worth another setting, whatever share of an idle server it is.";
    in_vain_min_rate: WakeupsPerSecond = 100.0, &["herd"],
        "Fewer wasted wakeups are no load on any machine: at 0.1 ms each, on a slow one, a hundredth of a CPU.";
    refused_min_count: Attempts = 10.0, &["backlog-too-small"],
        "Fewer are one short burst, such as a restart makes.";
    queue_full_min_ratio: Ratio = 0.01, &["backlog-too-small"],
        "A queue that is full for less is one short burst.";
    accepts_failed_min_count: Connections = 1.0, &["descriptor-limit"],
        "One failing accept is one too many: the next connection waits for a file descriptor that somebody else must give back.";
    server_errors_min_count: Requests = 5.0, &["server-errors"],
        "Single errors have reasons of their own, such as one bad input.";
    server_errors_min_ratio: Ratio = 0.01, &["server-errors"],
        "One request in a hundred that fails is noticed, and is more than most services allow themselves.";
    server_errors_endpoint_min_ratio: Ratio = 0.10, &["server-errors"],
        "An endpoint that fails for every tenth request is broken, however few of all requests it gets.";
    workers_killed_min_count: Processes = 1.0, &["worker-timeouts"],
        "A server that kills its own worker is never well, and every client of that worker has an error.";
    clients_left_min_count: Connections = 5.0, &["clients-leave"],
        "Single clients leave for reasons of their own.";
    clients_left_min_ratio: Ratio = 0.01, &["clients-leave"],
        "People close pages and health checks do not wait; one in a hundred is more than that.";
    raced_min_count: Connections = 1.0, &["keep-alive-race"],
        "Each is a request that failed for no reason of its own.";
    uneven_min_times: Times = 1.5, &["ill-worker"],
        "Half more than its fair share is more than chance gives one worker of many over a window.";
    ill_worker_min_times: Times = 2.0, &["ill-worker"],
        "Workers of one server run the same code: twice as long for the same endpoints is no chance.";
    compared_min_count: Requests = 20.0, &["back-end-slower", "ill-worker", "workers-replaced"],
        "With fewer on either side, a few unusual ones make the difference.";
    compared_min_ratio: Ratio = 0.50, &["back-end-slower", "ill-worker"],
        "Where less than half of the time can be compared, the rest may be what is different.";
    typically_longer_min_ratio: Ratio = 0.50, &["back-end-slower", "ill-worker"],
        "One endpoint of many that takes longer is that endpoint's own; half of what is compared is more than that.";
    workers_replaced_min_count: Processes = 1.0, &["workers-replaced"],
        "Where there is one worker, one that is replaced is all of them.";
    replaced_max_seconds: Seconds = 30.0, &["workers-replaced"],
        "A reload begins all workers within seconds; those that end after a number of requests are replaced over longer.";
    forced_max_ratio: Ratio = 0.50, &["workers-replaced"],
        "A server replaces workers that end by force without any deploy; where half did, that may be all there was.";
    failed_max_ratio: Ratio = 0.05, &["healthy"],
        "With a twentieth of requests failing, nobody should be told that all is well, whatever they fail of.";
    unread_max_ratio: Ratio = 0.50, &["server-errors", "healthy"],
        "Where half of the requests or of their answers cannot be read, most may be errors, or any endpoint's.";
    unclear_max_ratio: Ratio = 0.25, &["healthy"],
        "With a quarter of request time not followed to its end, nobody should be told that all is well.";
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_threshold_is_positive_and_explained_and_named_once() {
        let table = Thresholds::default().table();
        let names: BTreeSet<_> = table.iter().map(|row| row.name).collect();
        assert_eq!(names.len(), table.len());
        for row in table {
            assert!(row.value > 0.0, "{}", row.name);
            assert!(row.why.ends_with('.'), "{}", row.name);
            assert!(row.unit != Unit::Ratio || row.value < 1.0, "{}", row.name);
        }
    }

    #[test]
    fn values_are_shown_in_their_unit_without_needless_digits() {
        assert_eq!(Unit::Ratio.show(0.05), "5 %");
        assert_eq!(Unit::Ratio.show(0.125), "12.5 %");
        assert_eq!(Unit::Seconds.show(1.0), "1 s");
        assert_eq!(Unit::Milliseconds.show(10.0), "10 ms");
        assert_eq!(Unit::RequestSecondsPerSecond.show(0.1), "0.1 request-seconds per second");
    }
}
