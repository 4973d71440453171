//! What sections are made of.
//!
//! In: titles, words, tables, bars of the signals. Out: [`Section`]s of [`Block`]s, which the text report and
//! the page draw each in its way.

use profiler_core::finding::Finding;
use profiler_core::model::latency::Latency;
use profiler_core::model::slot::Slots;
use profiler_core::phase::Phases;

use super::cell::{Cell, Part, Words};
use super::chain_picture::ChainPicture;
use super::table::{On, Table};
use crate::report::vocabulary::Term;

/// A section.
pub(crate) struct Section<'a> {
    /// Where the contents of the page lead.
    pub(crate) id: &'static str,
    pub(crate) title: &'static str,
    /// What the contents call it.
    pub(crate) short: &'static str,
    /// The most important of it, beside the title.
    pub(crate) note: Words,
    pub(crate) on: On,
    /// What of it stands in the text report of one page.
    pub(crate) brief: Option<Brief>,
    pub(crate) body: Blocks<'a>,
}

/// What one page has room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Brief {
    /// Rows of a table, at most.
    pub(crate) rows: usize,
    /// Lines of sentences in a row, or of labels, at most.
    pub(crate) lines: usize,
    /// Whether it goes first, where the page is too long.
    pub(crate) is_spare: bool,
}

impl<'a> Section<'a> {
    pub(super) fn new(id: &'static str, title: &'static str, body: Blocks<'a>) -> Self {
        Self { id, title, short: title, note: Words::default(), on: On::BOTH, brief: None, body }
    }

    pub(super) fn note(self, note: impl Into<Words>) -> Self {
        Self { note: note.into(), ..self }
    }

    pub(super) fn short(self, short: &'static str) -> Self {
        Self { short, ..self }
    }

    pub(super) fn only(self, on: On) -> Self {
        Self { on, ..self }
    }

    /// Also in the text report of one page, with so many rows and lines.
    pub(super) fn brief(self, rows: usize, lines: usize) -> Self {
        Self { brief: Some(Brief { rows, lines, is_spare: false }), ..self }
    }

    /// There only if there is room.
    pub(super) fn brief_if_room(self, rows: usize, lines: usize) -> Self {
        Self { brief: Some(Brief { rows, lines, is_spare: true }), ..self }
    }
}

/// One thing in a section.
pub(crate) enum Block<'a> {
    /// A sentence or more.
    Sentence(Words),
    /// One that may be passed over.
    Aside(Words),
    /// Labels and what belongs to them.
    Entries(Vec<(String, Words)>),
    Table(Table),
    Bars(Bars),
    Chain(ChainPicture),
    /// How busy the slots of each process were over the window, which was so long.
    Heat(&'a Slots, u64),
    /// How many of these took how long. On the page.
    Histogram(&'a Latency, &'static str),
    /// What is folded on the page until somebody asks for it.
    Folded(Folded<'a>),
    Matrix(Matrix),
    /// Requests in flight by phase, and latency, over the window. On the page.
    OverTime,
    /// What endpoints computed and waited for, by functions. On the page.
    Flames,
    /// What threads did, request by request; data and a script draw it. On the page.
    Timeline,
    Verdict(Verdict<'a>),
    /// What is undecided, and why. In the text report, which has no room for each.
    Undecided(String),
    /// What is ruled out. In the text report.
    RuledOut(String),
    /// A blank line of the text report.
    Gap,
}

/// Blocks, one below the other.
#[derive(Default)]
pub(crate) struct Blocks<'a>(Vec<(On, Block<'a>)>);

impl<'a> Blocks<'a> {
    pub(super) fn push(&mut self, on: On, mut block: Block<'a>) {
        // Labels that follow one another stand together.
        if let Block::Entries(more) = &mut block
            && let Some((before, Block::Entries(entries))) = self.0.last_mut()
            && *before == on
        {
            entries.append(more);
            return;
        }
        self.0.push((on, block));
    }

    pub(super) fn say(&mut self, words: impl Into<Words>) {
        self.push(On::ALL, Block::Sentence(words.into()));
    }

    pub(super) fn aside(&mut self, words: impl Into<Words>) {
        self.push(On::BOTH, Block::Aside(words.into()));
    }

    /// A label and what belongs to it.
    pub(super) fn entry(&mut self, label: impl Into<String>, words: impl Into<Words>) {
        self.entry_on(On::ALL, label, words);
    }

    /// A label and what belongs to it, in these places.
    pub(super) fn entry_on(&mut self, on: On, label: impl Into<String>, words: impl Into<Words>) {
        self.push(on, Block::Entries(vec![(label.into(), words.into())]));
    }

    pub(super) fn table(&mut self, table: Table) {
        self.push(On::ALL, Block::Table(table));
    }

    pub(super) fn all(&mut self, others: Self) {
        self.0.extend(others.0);
    }

    pub(super) fn gap(&mut self) {
        self.push(On::TEXT, Block::Gap);
    }

    /// Blocks that are drawn in this place.
    pub(crate) fn on(&self, place: On) -> impl Iterator<Item = &Block<'a>> {
        self.0.iter().filter(move |(on, _)| on.is(place)).map(|(_, block)| block)
    }
}

/// What is folded. The text report shows it as if it were not.
pub(crate) struct Folded<'a> {
    /// Where links lead.
    pub(crate) id: Option<String>,
    /// What it is.
    pub(crate) summary: Words,
    /// What there is most of in it.
    pub(crate) mostly: Option<Cell>,
    /// Beside them, as a bar.
    pub(crate) bar: Option<Cell>,
    pub(crate) body: Blocks<'a>,
}

impl<'a> Folded<'a> {
    pub(super) fn new(summary: impl Into<Words>, body: Blocks<'a>) -> Self {
        Self { id: None, summary: summary.into(), mostly: None, bar: None, body }
    }
}

/// One finding.
pub(crate) struct Verdict<'a> {
    pub(crate) finding: &'a Finding,
    /// Its place among those that are present.
    pub(crate) number: usize,
    /// What it costs, that it costs nothing but is worth knowing, or that it is undecided.
    pub(crate) cost: String,
    /// What is the case, or why that is not decided. Hostile.
    pub(crate) sentence: &'a str,
    /// Requests to look at, and whether the page has them.
    pub(crate) exemplars: Vec<(u64, bool)>,
    /// What the verdict rests on.
    pub(crate) evidence: Blocks<'a>,
}

/// Shares of a whole, each with its bar.
pub(crate) struct Bars {
    /// What they are of.
    pub(crate) caption: &'static str,
    /// Of the names, the lengths, the shares.
    pub(crate) headings: [&'static str; 3],
    pub(crate) whole_ns: u64,
    pub(crate) list: Vec<Bar>,
}

/// One bar.
pub(crate) struct Bar {
    /// A phase or a holding. What means nothing has no bar either: bars show what is taken.
    pub(crate) term: Term,
    pub(crate) duration_ns: u64,
    pub(crate) duration: Cell,
    pub(crate) share: Cell,
    pub(crate) on: On,
}

/// Who waited for whom.
pub(crate) struct Matrix {
    pub(crate) caption: &'static str,
    /// What the rows and the columns are.
    pub(crate) corner: &'static str,
    pub(crate) columns: Vec<String>,
    /// Names, and a duration for each column.
    pub(crate) rows: Vec<(String, Vec<u64>)>,
}

/// The parts of a bar that phases make.
pub(super) fn parts(phases: &Phases) -> Vec<Part> {
    phases.iter().map(|(phase, length)| Part { name: phase.name(), length }).collect()
}
