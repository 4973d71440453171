//! One step of advice: what to do, when, and why; a sentence.
//!
//! In: imperatives, with the settings that they change. Out: [`Step`], which reads as a sentence and can lose
//! what goes against deeper advice.

use std::fmt;

use super::capital;
use super::setting::{Change, Direction, Limit, Move, Number, Setting, Sizes};

/// One thing to do: an imperative without its period, or a sentence that only explains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    text: String,
    changes: Vec<Change>,
    /// What else it makes more or fewer of, without a setting to name, or warns of.
    moves: Vec<Move>,
    is_imperative: bool,
    /// When it holds, as its text says.
    condition: &'static str,
    arrangement: Option<Arrangement>,
}

/// What is arranged around a server, where its effect can be reckoned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrangement {
    /// A reverse proxy before it buffers requests and responses.
    BufferingProxy,
}

fn changing(verb: &str, setting: &Setting, direction: Direction) -> Part {
    Part {
        text: format!("{verb} {setting}"),
        changes: vec![Change::new(setting.clone(), direction)],
        moves: Vec::new(),
        is_imperative: true,
        condition: "",
        arrangement: None,
    }
}

/// Raise a setting.
pub fn raise(setting: &Setting) -> Part {
    changing("raise", setting, Direction::Raise)
}

/// Lower a setting.
pub fn lower(setting: &Setting) -> Part {
    changing("lower", setting, Direction::Lower)
}

/// Use an option that is not used.
pub fn use_option(setting: &Setting) -> Part {
    changing("use", setting, Direction::Set)
}

/// Something to do that is no setting of the server: an imperative without its period, its first letter
/// small.
pub fn act(text: impl Into<String>) -> Part {
    Part {
        text: text.into(),
        changes: Vec::new(),
        moves: Vec::new(),
        is_imperative: true,
        condition: "",
        arrangement: None,
    }
}

/// A sentence without its period that says nothing to do.
pub fn say(text: impl Into<String>) -> Part {
    Part { is_imperative: false, ..act(text) }
}

impl Part {
    /// This part with what makes it precise behind it: `raise --workers up to the number of cores`.
    pub fn so(mut self, more: impl AsRef<str>) -> Self {
        self.text.push(' ');
        self.text.push_str(more.as_ref());
        self
    }

    /// This part with when it holds behind it: `raise --timeout only if such long requests are intended`.
    pub fn only(mut self, condition: &'static str) -> Self {
        self.condition = condition;
        self.so(condition)
    }

    /// This part, no further than to this value, which the sentence names.
    pub fn at_most(self, value: u64) -> Self {
        self.each_change(|change| change.at_most = Some(value))
    }

    /// This part, up to the number of cores and no further.
    pub fn up_to_cores(self) -> Self {
        self.so("up to the number of cores").limited_by_cores()
    }

    /// This part, as far as there are cores.
    pub fn as_far_as_cores(self) -> Self {
        self.so("as far as there are cores").limited_by_cores()
    }

    fn limited_by_cores(self) -> Self {
        self.each_change(|change| {
            // An option that is set beside a number has no limit.
            if change.direction == Direction::Raise {
                change.limit = Some(Limit::Cores);
            }
        })
    }

    /// This part, which is this arrangement.
    pub const fn arranging(mut self, arrangement: Arrangement) -> Self {
        self.arrangement = Some(arrangement);
        self
    }

    fn each_change(mut self, with: impl Fn(&mut Change)) -> Self {
        self.changes.iter_mut().for_each(with);
        self
    }

    /// This part, which makes more of something without a setting that could be named.
    pub fn more(mut self, what: Sizes) -> Self {
        self.moves.push(Move::up(what));
        self
    }

    /// This part, which makes fewer of something without a setting that could be named, or warns of more.
    pub fn no_more(mut self, what: Sizes) -> Self {
        self.moves.push(Move::down(what));
        self
    }

    /// This part, in whose text this change is named already.
    pub fn with(mut self, setting: Setting, direction: Direction) -> Self {
        self.changes.push(Change::new(setting, direction));
        self
    }

    /// This part, in whose text this option is named already with the value to set.
    pub fn with_value(mut self, setting: Setting, value: &str) -> Self {
        let proposed = Some(value.to_owned());
        self.changes.push(Change { proposed, ..Change::new(setting, Direction::Set) });
        self
    }

    /// Puts the number to which a setting is raised behind its name, and into the change.
    fn raise_to(&mut self, number: &impl Fn(&Change) -> Option<Number>) {
        for change in self.changes.iter_mut().filter(|change| change.direction == Direction::Raise) {
            let Some(Number { value: number, prevented_ns }) = number(change) else { continue };
            let (whole, name) = (change.setting.to_string(), change.setting.name.as_str());
            self.text = if self.text.contains(&whole) {
                self.text.replacen(&whole, &format!("{whole} to {number}"), 1)
            } else {
                self.text.replacen(name, &format!("{name} {number}"), 1)
            };
            change.proposed = Some(number.to_string());
            change.prevented_ns = Some(prevented_ns);
        }
    }

    /// Notes what the changes that are meant may make worse; whether there is one.
    fn warn(&mut self, caveat: &'static str, is_meant: &impl Fn(&Change) -> bool) -> bool {
        let mut meant = self.changes.iter_mut().filter(|change| is_meant(change)).peekable();
        let is_any = meant.peek().is_some();
        meant.for_each(|change| change.caveat = Some(caveat));
        is_any
    }

    /// Whether it makes such a change.
    pub(super) fn has_change(&self, is_such: impl Fn(&Change) -> bool) -> bool {
        self.changes.iter().any(is_such)
    }

    fn lowers(&self) -> bool {
        self.changes.iter().any(|change| change.direction == Direction::Lower)
    }

    /// Whether it raises something that is worth as many as there are cores, and is so many.
    pub(super) fn is_beyond(&self, cores: u64) -> bool {
        let is_full = |change: &Change| {
            let present = change.setting.present.as_ref().and_then(|present| present.parse::<u64>().ok());
            change.limit == Some(Limit::Cores)
                && change.direction == Direction::Raise
                && present.is_some_and(|present| present >= cores)
        };
        self.changes.iter().any(is_full)
    }

    pub(super) fn moves(&self) -> impl Iterator<Item = Move> + '_ {
        self.changes.iter().filter_map(Change::moves).chain(self.moves.iter().copied())
    }
}

/// Settings that belong together, as one does not help without the other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Alternative<'a> {
    /// When it holds (`Until then`); empty: always.
    pub when: &'static str,
    /// The settings, in the order in which they are named.
    pub changes: Vec<&'a Change>,
    /// What else is to be done with them, which is no setting: an imperative each.
    pub needs: Vec<&'a str>,
    /// What these are, where that is more than words.
    pub arrangements: Vec<Arrangement>,
}

/// Between parts of which each is needed.
const AND: &str = " and ";

/// Parts that make one sentence: `WHEN, PART and PART: BECAUSE.`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    when: &'static str,
    /// Each with what stands before it.
    parts: Vec<(&'static str, Part)>,
    because: String,
}

impl From<Part> for Step {
    fn from(part: Part) -> Self {
        Self { when: "", parts: vec![("", part)], because: String::new() }
    }
}

impl Part {
    /// This part and another, in one sentence.
    pub fn and(self, other: Self) -> Step {
        Step::from(self).and(other)
    }

    /// Either, in one sentence.
    pub fn or(self, other: Self) -> Step {
        Step::from(self).or(other)
    }

    /// One after the other, in one sentence.
    pub fn also(self, other: Self) -> Step {
        Step::from(self).also(other)
    }

    /// A sentence that begins with when it holds: `Until then`.
    pub fn when(self, when: &'static str) -> Step {
        Step::from(self).when(when)
    }

    /// A sentence that ends with its reason.
    pub fn because(self, reason: impl Into<String>) -> Step {
        Step::from(self).because(reason)
    }
}

impl Step {
    /// This step and another part, in the same sentence.
    pub fn and(mut self, other: Part) -> Self {
        self.parts.push((AND, other));
        self
    }

    /// Or this, in the same sentence.
    pub fn or(mut self, other: Part) -> Self {
        self.parts.push((", or ", other));
        self
    }

    /// This step and another part behind a semicolon, in the same sentence.
    pub fn also(mut self, other: Part) -> Self {
        self.parts.push(("; ", other));
        self
    }

    /// This step, begun with when it holds: `Until then`.
    pub const fn when(mut self, when: &'static str) -> Self {
        self.when = when;
        self
    }

    /// This step with its reason behind a colon.
    pub fn because(mut self, reason: impl Into<String>) -> Self {
        self.because = reason.into();
        self
    }

    pub(super) fn changes(&self) -> impl Iterator<Item = &Change> {
        self.parts.iter().flat_map(|(_, part)| &part.changes)
    }

    pub(super) fn changes_mut(&mut self) -> impl Iterator<Item = &mut Change> {
        self.parts.iter_mut().flat_map(|(_, part)| &mut part.changes)
    }

    /// What it says to do, one instead of the other; also what is no setting.
    pub(super) fn alternatives(&self) -> Vec<Alternative<'_>> {
        let mut all: Vec<Alternative<'_>> = Vec::new();
        for (before, part) in self.parts.iter().filter(|(_, part)| part.is_imperative) {
            if *before != AND || all.is_empty() {
                let when = if part.condition.is_empty() { self.when } else { part.condition };
                all.push(Alternative { when, ..Alternative::default() });
            }
            let Some(last) = all.last_mut() else { continue };
            last.changes.extend(&part.changes);
            last.arrangements.extend(part.arrangement);
            if part.changes.is_empty() {
                last.needs.push(&part.text);
            }
        }
        all
    }

    /// Notes what the changes that are meant may make worse; whether there is one.
    pub(super) fn warn(&mut self, caveat: &'static str, is_meant: &impl Fn(&Change) -> bool) -> bool {
        self.parts.iter_mut().fold(false, |is_any, (_, part)| part.warn(caveat, is_meant) | is_any)
    }

    /// Puts numbers to raises, except where another setting is lowered with them: how many slots that makes
    /// is not known.
    pub(super) fn raise_to(&mut self, number: &impl Fn(&Change) -> Option<Number>) {
        let belongs_together = |_: &(&str, Part), (before, _): &(&str, Part)| *before == AND;
        for together in self.parts.chunk_by_mut(belongs_together) {
            if !together.iter().any(|(_, part)| part.lowers()) {
                together.iter_mut().for_each(|(_, part)| part.raise_to(number));
            }
        }
    }

    pub(super) fn moves(&self) -> impl Iterator<Item = Move> + '_ {
        self.parts.iter().flat_map(|(_, part)| part.moves())
    }

    /// Whether it says what to do, and does not only explain.
    pub(super) fn says_what_to_do(&self) -> bool {
        self.parts.iter().any(|(_, part)| part.is_imperative)
    }

    /// Whether it says to make more or fewer of something.
    pub(super) fn changes_size(&self) -> bool {
        self.parts.iter().any(|(_, part)| part.is_imperative && part.moves().next().is_some())
    }

    /// What it says to do, without its reason and its period; empty where it only explains.
    pub(super) fn imperative(&self) -> String {
        let parts: Vec<&(&str, Part)> = self.parts.iter().filter(|(_, part)| part.is_imperative).collect();
        self.sentence(&parts)
    }

    /// This step without the parts that are out; `None`: nothing of it is left that says what to do.
    pub(super) fn without(&self, is_out: &dyn Fn(&Part) -> bool) -> Option<Self> {
        let parts: Vec<(&'static str, Part)> =
            self.parts.iter().filter(|(_, part)| !is_out(part)).cloned().collect();
        if parts.len() == self.parts.len() {
            return Some(self.clone());
        }
        // What only explains a part that is gone says nothing by itself.
        parts.iter().any(|(_, part)| part.is_imperative).then(|| Self { parts, ..self.clone() })
    }

    fn sentence(&self, parts: &[&(&str, Part)]) -> String {
        let mut text =
            if parts.is_empty() || self.when.is_empty() { String::new() } else { format!("{}, ", self.when) };
        for (index, (before, part)) in parts.iter().enumerate() {
            text.push_str(if index > 0 { before } else { "" });
            text.push_str(&part.text);
        }
        capital(&text)
    }
}

/// Its sentence, with its full stop.
impl fmt::Display for Step {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<&(&str, Part)> = self.parts.iter().collect();
        let because = if self.because.is_empty() { String::new() } else { format!(": {}", self.because) };
        write!(formatter, "{}{because}.", self.sentence(&parts))
    }
}
