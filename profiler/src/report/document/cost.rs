//! What the profiler itself cost.
//!
//! In: the account of it, if the stream holds one. Out: the last section.

use profiler_core::model::Snapshot;

use super::block::{Blocks, Section};
use super::cell::{Words, counted, duration};
use crate::report::{summary, unit};

pub(super) fn section(snapshot: &Snapshot) -> Section<'_> {
    let mut body = Blocks::default();
    let (Some(overhead), Some(cost)) = (&snapshot.coverage.overhead, summary::cost(snapshot)) else {
        body.say(format!("Not measured: {}.", summary::OVERHEAD_NOT_MEASURED));
        return Section::new("cost", "Own cost", body).note("not measured");
    };
    let at = |key: &str| format!("/overhead/{key}");
    let own = duration(overhead.profiler_cpu_ns).at(at("profiler_cpu_ns"));
    body.entry("wsgi-trace", Words::from(own).text(" of CPU, the work of this process in the window"));
    body.entry(
        "kernel programs",
        match cost.bpf_window_ns {
            Some(window_ns) => Words::from(duration(window_ns).at(at("bpf_window_ns")))
                .text(" on all CPUs (a sample of ")
                .figure(duration(overhead.bpf_sampled_ns).at(at("bpf_sampled_ns")))
                .text(": ")
                .figure(duration(overhead.bpf_run_ns).at(at("bpf_run_ns")))
                .text(", ")
                .figure(counted(overhead.bpf_runs, "run").at(at("bpf_runs")))
                .text(" of ")
                .figure(duration(overhead.bpf_run_ns.checked_div(overhead.bpf_runs).unwrap_or(0)))
                .text(")"),
            None => Words::from("not sampled in this run"),
        },
    );
    if let Some(share) = cost.share_of_target {
        let times = match share {
            share if share > 2.0 => format!("{share:.1} times"),
            share => format!("{} of", unit::percent(Some(share))),
        };
        let words = Words::from(format!("both are {times} the "))
            .figure(duration(overhead.target_cpu_ns).at(at("target_cpu_ns")))
            .text(" of CPU that the server used itself");
        body.entry("beside the server", words);
    }
    if let Some(per_request_ns) = cost.per_request_ns {
        body.entry("per request", duration(per_request_ns).at(at("per_request_ns")));
    }
    let of_one_cpu = summary::ratio(cost.total_ns, snapshot.window.length_ns());
    let note = format!("{} of one CPU", unit::percent(of_one_cpu));
    Section::new("cost", "Own cost", body).note(note)
}
