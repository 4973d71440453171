//! Where in Python requests computed: lines with their shares of each endpoint's samples.
//!
//! In: the samples of a snapshot. Out: a section, where there were any.

use profiler_core::model::Snapshot;
use profiler_core::model::chain::Chains;
use profiler_core::model::computed::{Computed, ComputedAt, standard_error};

use super::block::{Blocks, Section};
use super::cell::{Words, count, counted, maybe, share, words};
use super::table::{On, Rows, Table};
use crate::report::{chain_words, unit};

/// Rows in the text report, and lines of one endpoint there.
const SHOWN: usize = 8;
/// Lines of an endpoint on the page.
const LINES: usize = 16;
/// Part of all samples from which on a line is shown.
const LEAST: f64 = 0.01;
/// Of nearly all samples it is known what is known of so many.
const NEARLY_ALL: f64 = 0.95;

pub(super) fn section(snapshot: &Snapshot) -> Option<Section<'_>> {
    let chains = &snapshot.chains;
    let samples: u64 = chains.computed.iter().map(|computed| computed.samples).sum();
    let lines = lines(chains, samples);
    if lines.is_empty() {
        return None;
    }
    let garbage = garbage(&lines, samples);
    let mut body = Blocks::default();
    body.table(table(lines).most(SHOWN));
    if let Some(garbage) = garbage {
        body.say(garbage);
    }
    body.aside(
        "By a clock that ticks 99 times a second on each CPU, of threads that ran. of endpoint: share of what \
         the endpoint computed; error: its standard error, as samples are few.",
    );
    let section = Section::new("computed", "Where Python computed", body);
    Some(section.note(Words::default().figure(counted(samples, "sample"))))
}

/// How much of it was the collection of garbage, and where most of that began; `None`: hardly any, or it is
/// not known.
fn garbage(lines: &[(String, Line<'_>)], all: u64) -> Option<Words> {
    let (_, most) = lines.iter().max_by_key(|(_, line)| line.at.collecting)?;
    let chains = most.chains;
    let collecting: u64 = chains.computed.iter().map(|computed| computed.collecting).sum();
    if collecting as f64 <= LEAST * all as f64 {
        return None;
    }
    // Of the others it is not known.
    let known: u64 = chains.computed.iter().map(|computed| computed.collecting_known).sum();
    let least = if known as f64 >= NEARLY_ALL * all as f64 { "" } else { "at least " };
    let said = Words::default().text(format!("Garbage collection: {least}")).figure(share(collecting, all));
    let line = chain_words::line_at(chains, most.at.place).filter(|_| most.at.collecting > 0);
    Some(match line {
        Some(line) => {
            let who = chain_words::worked_for(chains, most.computed.endpoint, most.computed.is_loop);
            said.text(format!(" of the samples, the most of them begun at {line} ({who})."))
        }
        None => said.text(" of the samples."),
    })
}

/// A line of one endpoint.
#[derive(Clone, Copy)]
struct Line<'a> {
    chains: &'a Chains,
    computed: &'a Computed,
    at: ComputedAt,
    all: u64,
}

/// Lines that matter, with where they are in the JSON report.
fn lines(chains: &Chains, all: u64) -> Vec<(String, Line<'_>)> {
    let of = |(index, computed): (usize, &'_ Computed)| {
        let lines = chains.computed_lines(computed).into_iter().take(LINES).enumerate();
        lines
            .map(|(line, at)| (format!("/chains/computed/{index}/lines/{line}"), (index, at)))
            .collect::<Vec<_>>()
    };
    let found = chains.computed.iter().enumerate().flat_map(of);
    let mut lines: Vec<(String, Line<'_>)> = found
        .filter_map(|(path, (index, at))| {
            Some((path, Line { chains, computed: chains.computed.get(index)?, at, all }))
        })
        .filter(|(_, line)| line.at.samples as f64 >= LEAST * all as f64)
        .collect();
    lines.sort_by_key(|(_, line)| std::cmp::Reverse(line.at.samples));
    lines
}

fn table(lines: Vec<(String, Line<'_>)>) -> Table {
    Rows::of("Where Python computed", lines)
        .shrinking("endpoint", |line| {
            words(chain_words::worked_for(line.chains, line.computed.endpoint, line.computed.is_loop))
        })
        .shrinking("line", |line| maybe(chain_words::line_at(line.chains, line.at.place), words).at("line"))
        .shrinking("called from", |line| maybe(chain_words::called_from(line.chains, line.at.place), words))
        .right("of endpoint", |line| share(line.at.samples, line.computed.samples).at("of_endpoint_ratio"))
        .right("error", |line| {
            let error = standard_error(line.at.samples, line.computed.samples);
            maybe(error.map(|error| unit::percent(Some(error))), words).at("of_endpoint_error_ratio")
        })
        .right("of all", |line| share(line.at.samples, line.all))
        .right("samples", |line| count(line.at.samples).at("samples"))
        .only(On::PAGE)
        .right("collecting garbage", |line| {
            let known = line.computed.in_collections().map(|_| line.at.collecting);
            maybe(known, count).at("collecting")
        })
        .only(On::PAGE)
        .table()
}
