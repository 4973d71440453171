//! What requests waited for, in the end: leaves with their shares of request time, and real chains.
//!
//! In: the chains of a snapshot. Out: a section; nothing where there is no request time.

use std::collections::BTreeSet;

use profiler_core::model::Snapshot;
use profiler_core::model::chain::{Chains, Leaf, LeafTime, NotFollowed};

use super::block::{Block, Blocks, Folded, Section};
use super::cell::{Words, count, duration, maybe, share, words};
use super::chain_picture::ChainPicture;
use super::table::{On, Rows, Table, listed};
use crate::report::{chain_words, summary, unit};

/// Before a real chain.
const EXAMPLE: &str = "for example";
/// Leaves in the text report.
const SHOWN: usize = 10;
/// Leaves where the text report is one page, lines of Python there, and lines of one real chain.
const BRIEFLY: usize = 6;
const BRIEF_PLACES: usize = 3;
const BRIEF_LINES: usize = 4;
/// Real chains in the text report, and on the page.
const CHAINS_SHOWN: usize = 4;
const CHAINS_ON_PAGE: usize = 10;
/// Part of all request time from which on a real chain is told.
const LEAST_HELD: f64 = 0.01;

pub(super) fn section(snapshot: &Snapshot) -> Option<Section<'_>> {
    let chains = &snapshot.chains;
    if chains.request_ns == 0 {
        return None;
    }
    let parts = Parts::of(chains);
    let mut body = Blocks::default();
    body.push(On::BOTH, Block::Sentence(parts.said(chains)));
    let mut real = real_chains(chains).into_iter();
    let first = real.next();
    let first_in_words = first.as_ref().map(ChainPicture::in_words);
    if let Some(first) = first {
        body.gap();
        body.push(On::BOTH, Block::Chain(first));
    }
    body.gap();
    body.table(leaves(chains));
    explained(&mut body, chains);
    if let Some(words) = first_in_words {
        body.entry_on(On::BRIEF, EXAMPLE, words);
    }
    more_chains(&mut body, real);
    let waiting = unit::percent(summary::ratio(parts.waiting_ns, chains.request_ns));
    let section = Section::new("chains", "What requests waited for, in the end", body);
    let section = section.short("Waited for").note(format!("{waiting} of request time was waiting"));
    Some(section.brief(BRIEFLY, BRIEF_LINES))
}

/// Request time by what it was; adds up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Parts {
    waiting_ns: u64,
    /// Requests computed, read or wrote themselves.
    own_ns: u64,
    /// What requests themselves did was not seen.
    unseen_ns: u64,
    unlisted_ns: u64,
}

impl Parts {
    fn of(chains: &Chains) -> Self {
        let mut parts = Self { unlisted_ns: chains.other_ns, ..Self::default() };
        for time in &chains.leaves {
            let part = match time.leaf.reason {
                _ if time.is_own_work() => &mut parts.own_ns,
                Some(NotFollowed::NotSeen) if time.hops.is_empty() => &mut parts.unseen_ns,
                _ => &mut parts.waiting_ns,
            };
            *part = part.saturating_add(time.held_ns);
        }
        parts
    }

    fn said(self, chains: &Chains) -> Words {
        let part = |words: Words, part_ns: u64, text: &str| {
            let words = words.figure(duration(part_ns)).text(" (").figure(share(part_ns, chains.request_ns));
            words.text(format!(") {text}"))
        };
        let all = duration(chains.request_ns).at("/chains/request_ns");
        let words = Words::from("Of ").figure(all).text(" of request time ");
        let words = part(words, self.waiting_ns, "was waiting, ");
        let mut words = part(words, self.own_ns, "was requests' own work: computing, reading, writing");
        let rest =
            [(self.unseen_ns, "was not seen"), (self.unlisted_ns, "is in parts too small to be listed")];
        for (part_ns, text) in rest.into_iter().filter(|(part_ns, _)| *part_ns > 0) {
            words = part(words.text("; "), part_ns, text);
        }
        words.text(".")
    }
}

/// A row: a leaf, or all others together.
#[derive(Clone, Copy)]
struct Line<'a> {
    chains: &'a Chains,
    time: Option<&'a LeafTime>,
    held_ns: u64,
}

/// All leaves; the text report has the first and one row for the rest.
fn leaves(chains: &Chains) -> Table {
    let listed = listed("/chains/leaves", &chains.leaves).into_iter();
    let lines = listed.map(|(at, time)| (at, Line { chains, time: Some(time), held_ns: time.held_ns }));
    let mut all = table(chains, lines.collect()).added_up(SHOWN);
    let beyond_ns =
        chains.leaves.iter().skip(SHOWN).fold(chains.other_ns, |sum, time| sum.saturating_add(time.held_ns));
    for (on, held_ns) in [(On::TEXT, beyond_ns), (On::PAGE, chains.other_ns)] {
        if held_ns > 0 {
            let rest = Line { chains, time: None, held_ns };
            all.feet(on, table(chains, vec![(String::new(), rest)]));
        }
    }
    all
}

fn table<'a>(chains: &'a Chains, lines: Vec<(String, Line<'a>)>) -> Table {
    let rows = Rows::of("What requests waited for, in the end", lines)
        .shrinking("waited for", |line| {
            let leaf = line.time.map(|time| chain_words::leaf_in_row(line.chains, time));
            words(leaf.unwrap_or_else(|| "all others".to_owned()))
        })
        .shrinking("in", |line| maybe(line.time.and_then(|time| chain_words::who(line.chains, time)), words))
        .shrinking("at line", |line| {
            maybe(line.time.and_then(|time| chain_words::lines(line.chains, time.place)), words)
        })
        .only(On::PAGE)
        .shrinking("by way of", |line| maybe(line.time.map(way), words))
        .right("held", |line| share(line.held_ns, line.chains.request_ns).at("held_ratio"))
        .right("time", |line| duration(line.held_ns).at("held_ns"))
        .only(On::PAGE);
    let rows = if is_replayed(chains) {
        rows.right("prevented", |line| {
            maybe(line.time.and_then(|time| time.prevented_ns), duration).at("prevented_ns")
        })
    } else {
        rows
    };
    rows.right("requests", |line| maybe(line.time, |time| count(time.requests)).at("requests"))
        // What and who needs the room in the text report.
        .right("longest", |line| maybe(line.time, |time| duration(time.longest_ns)).at("longest_ns"))
        .only(On::PAGE)
        .table()
}

/// Whether it is known of any leaf what it prevents.
fn is_replayed(chains: &Chains) -> bool {
    chains.leaves.iter().any(|time| time.prevented_ns.is_some())
}

fn way(time: &LeafTime) -> String {
    if time.hops.is_empty() { "itself".to_owned() } else { chain_words::way(&time.hops) }
}

/// What the columns are, and what the table has no room for.
fn explained(body: &mut Blocks<'_>, chains: &Chains) {
    let mut said = Words::from("held: share of all request time; it adds up to 100 %.");
    if is_replayed(chains) {
        said = said.text(
            " prevented: request time that would not have been without it, by a replay; it does not add up.",
        );
    }
    if let Some(together_ns) = chains.prevented_together_ns {
        let together = duration(together_ns).at("/chains/prevented_together_ns");
        said = said.text(" Without all of them together: ").figure(together).text(".");
    }
    body.aside(said);
    lines(body, chains);
    if let Some(own) = chain_words::own_code(chains) {
        body.entry_on(On::BOTH, "own code", own);
    }
    for time in chains.leaves.iter().filter(|time| time.is_shared_connection).take(SHOWN) {
        body.say(format!(
            "Several processes wait at one and the same connection: {}.",
            chain_words::leaf(chains, time)
        ));
    }
    if chains.broken > 0 {
        let requests = unit::counted(chains.broken, "request");
        body.aside(format!("Of {requests} the leaves do not add up to their length."));
    }
}

/// The application's own lines at which threads waited or computed; the table has no room for them.
fn lines(body: &mut Blocks<'_>, chains: &Chains) {
    let mut told = BTreeSet::new();
    let of_leaf = |time: &LeafTime| {
        Some((chain_words::leaf_in_row(chains, time), chain_words::lines(chains, time.place)?))
    };
    for (leaf, lines) in chains.leaves.iter().filter_map(of_leaf).take(SHOWN) {
        let label = if told.is_empty() { "at line" } else { "" };
        if told.insert(lines.clone()) {
            let on = if told.len() <= BRIEF_PLACES { On::TEXTS } else { On::TEXT };
            body.entry_on(on, label, format!("{lines}: {leaf}"));
        }
    }
}

/// The longest chain to each of the first leaves that have one.
fn real_chains(chains: &Chains) -> Vec<ChainPicture> {
    let mut said: BTreeSet<Leaf> = BTreeSet::new();
    let is_told = |time: &&LeafTime| {
        let held = summary::ratio(time.held_ns, chains.request_ns).unwrap_or(0.0);
        !time.hops.is_empty() && held >= LEAST_HELD
    };
    let with_example =
        chains.leaves.iter().filter(is_told).filter_map(|time| Some((time, time.example.as_ref()?)));
    let of_groups = with_example.filter(|(time, _)| said.insert(time.leaf)).take(CHAINS_ON_PAGE);
    of_groups.map(|(time, example)| ChainPicture::of(chains, time, example)).collect()
}

/// Those after the first: a line each in the text report, pictures that are folded on the page.
fn more_chains(body: &mut Blocks<'_>, chains: impl Iterator<Item = ChainPicture>) {
    for (place, chain) in chains.enumerate() {
        if place == 0 {
            body.gap();
        }
        if place + 1 < CHAINS_SHOWN {
            body.entry_on(On::TEXT, if place == 0 { EXAMPLE } else { "" }, chain.in_words());
        }
        let summary = format!("{EXAMPLE} {}: {}", chain.request, chain.leaf);
        let mut picture = Blocks::default();
        picture.push(On::PAGE, Block::Chain(chain));
        body.push(On::PAGE, Block::Folded(Folded::new(summary, picture)));
    }
}

#[cfg(test)]
mod tests {
    use profiler_core::model::chain::LeafKind;

    use super::*;
    use crate::report::escape::{Charset, is_plain};
    use crate::report::style::Style;
    use crate::report::{fixture, html, text};

    fn drawn(snapshot: &Snapshot) -> String {
        text::render(snapshot, &[], Style { verbose: true, ..Style::plain(Charset::Unicode) })
    }

    #[test]
    fn without_request_time_there_is_no_section() {
        assert!(section(&Snapshot::default()).is_none());
        let (snapshot, _) = fixture::exhausted();
        assert!(section(&snapshot).is_some());
    }

    #[test]
    fn waiting_own_work_what_was_not_seen_and_the_rest_add_up() {
        let (mut snapshot, _) = fixture::exhausted();
        let parts = Parts::of(&snapshot.chains);
        let Parts { waiting_ns, own_ns, unseen_ns, unlisted_ns } = parts;
        assert!([waiting_ns, own_ns, unseen_ns, unlisted_ns].iter().all(|part_ns| *part_ns > 0), "{parts:?}");
        assert_eq!(waiting_ns + own_ns + unseen_ns + unlisted_ns, snapshot.chains.request_ns);
        // Computing of another request, for which this one waits, is no work of its own.
        let is_computing = |time: &&mut LeafTime| time.leaf.kind == LeafKind::Computing;
        let computing = snapshot.chains.leaves.iter_mut().find(is_computing).unwrap();
        computing.hops = computing.hops.with(profiler_core::phase::Phase::GilWait).unwrap();
        let held_ns = computing.held_ns;
        let after = Parts::of(&snapshot.chains);
        assert_eq!((after.own_ns, after.waiting_ns), (own_ns - held_ns, waiting_ns + held_ns));
    }

    #[test]
    fn rows_of_the_table_add_up_in_the_text_report_and_on_the_page() {
        let (snapshot, _) = fixture::exhausted();
        let chains = &snapshot.chains;
        assert!(chains.leaves.len() > SHOWN && chains.other_ns > 0);
        let table = leaves(chains);
        let held = |row: &crate::report::document::table::Row| {
            let column = table.columns.iter().position(|column| column.heading == "time").unwrap();
            row.cells[column].exact().unwrap().parse::<u64>().unwrap()
        };
        for (on, most) in [(On::TEXT, table.most_in_text), (On::PAGE, usize::MAX)] {
            let feet = table.feet.iter().filter(|(place, _)| place.is(on)).map(|(_, row)| row);
            let sum_ns: u64 = table.rows.iter().take(most).chain(feet).map(held).sum();
            assert_eq!(sum_ns, chains.request_ns, "{on:?}");
        }
    }

    #[test]
    fn a_chain_is_told_only_of_leaves_that_hold_a_considerable_part() {
        let (mut snapshot, _) = fixture::exhausted();
        assert!(drawn(&snapshot).contains("for example"));
        snapshot.chains.request_ns = snapshot.chains.request_ns.saturating_mul(1_000);
        assert!(!drawn(&snapshot).contains("for example"));
    }

    #[test]
    fn a_long_name_does_not_push_the_leaf_away() {
        let (mut snapshot, _) = fixture::exhausted();
        snapshot.chains = fixture::named_chains(snapshot.chains, &"long".repeat(2_000));
        let joined = drawn(&snapshot).split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(joined.contains("→ lock nobody could release (futex), since before the trace"), "{joined}");
    }

    #[test]
    fn what_is_prevented_has_its_column_only_where_a_line_was_replayed() {
        let (mut snapshot, _) = fixture::exhausted();
        assert!(drawn(&snapshot).contains("  prevented  "));
        snapshot.chains.prevented_together_ns = None;
        snapshot.chains.leaves.iter_mut().for_each(|time| time.prevented_ns = None);
        assert!(!drawn(&snapshot).contains("prevented"));
    }

    #[test]
    fn one_connection_of_several_processes_is_said_in_full() {
        let (mut snapshot, _) = fixture::exhausted();
        let is_back_end = |time: &&mut LeafTime| time.leaf.kind == LeafKind::BackEnd;
        snapshot.chains.leaves.iter_mut().find(is_back_end).unwrap().is_shared_connection = true;
        let said = "Several processes wait at one and the same connection: back end port 5432";
        assert!(drawn(&snapshot).contains(said));
    }

    #[test]
    fn hostile_names_of_endpoints_and_threads_are_shown_and_do_nothing() {
        let (mut snapshot, findings) = fixture::exhausted();
        let hostile = "\u{1b}[2J<script>alert(1)</script>\u{202e}\n";
        snapshot.chains = fixture::named_chains(snapshot.chains, hostile);
        let text = drawn(&snapshot);
        assert!(text.contains(r"\x1b[2J") && text.chars().all(|one| one == '\n' || is_plain(one)));
        let page = html::render(&snapshot, &findings, &[]);
        assert!(page.contains("&lt;script&gt;alert(1)") && !page.contains("<script>alert(1)"));
    }
}
