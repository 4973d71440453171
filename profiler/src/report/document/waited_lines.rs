//! Where in Python requests slept: lines with their shares of each endpoint's sleeps.
//!
//! In: the sleeps of a snapshot. Out: a section, where there were any.

use profiler_common::system_call;
use profiler_core::model::Snapshot;
use profiler_core::model::chain::Chains;
use profiler_core::model::waited::{Waited, WaitedAt};

use super::block::{Blocks, Section};
use super::cell::{Words, count, duration, maybe, share, words};
use super::table::{On, Rows, Table};
use crate::report::{chain_words, unit};

/// Rows in the text report.
const SHOWN: usize = 8;
/// Lines of an endpoint on the page.
const LINES: usize = 16;
/// Part of all sleeps from which on a line is shown.
const LEAST: f64 = 0.01;

pub(super) fn section(snapshot: &Snapshot) -> Option<Section<'_>> {
    let chains = &snapshot.chains;
    // Threads that work for no request wait for work, most of them.
    let of_requests = || chains.waited.iter().filter(|waited| waited.is_of_requests());
    let slept_ns = of_requests().fold(0_u64, |sum, waited| sum.saturating_add(waited.slept.ns));
    let lines = lines(chains, slept_ns);
    if lines.is_empty() {
        return None;
    }
    let mut body = Blocks::default();
    body.table(table(lines).most(SHOWN));
    let below_ns = of_requests().map(|waited| waited.slept.drawn_below_ns).max().unwrap_or(0);
    let mut aside =
        Words::default().text("Sleeps in system calls, without those for locks, for work and for clients.");
    if below_ns > 0 {
        aside = aside.text(" Those shorter than ").figure(duration(below_ns)).text(" are sampled.");
    }
    body.aside(
        aside.text(" of endpoint: share of the endpoint's sleeps; error: the standard error of that share."),
    );
    let section = Section::new("waited", "Where Python waited", body);
    Some(section.note(Words::default().figure(duration(slept_ns)).text(" of sleep")))
}

/// A line of one endpoint.
#[derive(Clone, Copy)]
struct Line<'a> {
    chains: &'a Chains,
    waited: &'a Waited,
    at: WaitedAt,
}

/// Lines that matter, with where they are in the JSON report.
fn lines(chains: &Chains, all_ns: u64) -> Vec<(String, Line<'_>)> {
    let mut lines = Vec::new();
    for (index, waited) in chains.waited.iter().enumerate().filter(|(_, waited)| waited.is_of_requests()) {
        for (line, at) in chains.waited_lines(waited).into_iter().take(LINES).enumerate() {
            if at.slept.ns as f64 >= LEAST * all_ns as f64 {
                let path = format!("/chains/waited/{index}/lines/{line}");
                lines.push((path, Line { chains, waited, at }));
            }
        }
    }
    lines.sort_by_key(|(_, line)| std::cmp::Reverse(line.at.slept.ns));
    lines
}

fn table(lines: Vec<(String, Line<'_>)>) -> Table {
    Rows::of("Where Python waited", lines)
        .shrinking("endpoint", |line| {
            words(chain_words::worked_for(line.chains, line.waited.endpoint, line.waited.is_loop))
        })
        .shrinking("line", |line| maybe(chain_words::line_at(line.chains, line.at.place), words).at("line"))
        .narrow("call", |line| words(system_call::name(line.at.system_call)).at("system_call"))
        .shrinking("called from", |line| maybe(chain_words::called_from(line.chains, line.at.place), words))
        .right("of endpoint", |line| share(line.at.slept.ns, line.waited.slept.ns).at("of_endpoint_ratio"))
        .right("error", |line| {
            let error = line.at.slept.share_error(&line.waited.slept);
            maybe(error.map(|error| unit::percent(Some(error))), words).at("of_endpoint_error_ratio")
        })
        .right("time", |line| duration(line.at.slept.ns).at("slept_ns"))
        .right("samples", |line| count(line.at.slept.samples).at("samples"))
        .only(On::PAGE)
        .table()
}
