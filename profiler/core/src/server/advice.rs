//! Advice as data: what to do, step by step, with the settings that each step changes; the sentences are made
//! from it.
//!
//! In: options of a server with their present values, and what else is to be done, as imperatives. Out:
//! [`Advice`], which reads as sentences (`Display`) and can be asked what it changes. So programs can apply
//! it, and no two pieces of it change one thing opposite ways.

pub mod common;
#[cfg(test)]
pub(crate) mod fixture;
mod setting;
mod step;

use std::fmt;

pub use setting::{Change, Direction, Limit, Move, Number, Scope, Setting, Sizes, TakesEffect};
pub use step::{Alternative, Arrangement, Part, Step, act, lower, raise, say, use_option};

/// What to do: the first step first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Advice {
    steps: Vec<Step>,
}

impl Advice {
    /// Advice that begins with this step.
    pub fn first(step: impl Into<Step>) -> Self {
        Self { steps: vec![step.into()] }
    }

    /// This advice, which goes on with a further step: a sentence of its own.
    pub fn then(mut self, step: impl Into<Step>) -> Self {
        self.steps.push(step.into());
        self
    }

    /// This advice with all steps of another piece behind its own.
    pub fn followed_by(mut self, other: Self) -> Self {
        self.steps.extend(other.steps);
        self
    }

    /// Whether there is nothing to do.
    pub const fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// What it says to do, in order: what belongs together, then what there is instead. One without a change
    /// is no setting.
    pub fn alternatives(&self) -> Vec<Alternative<'_>> {
        self.steps.iter().flat_map(Step::alternatives).collect()
    }

    /// The settings that it changes, in the order in which it names them.
    pub fn changes(&self) -> Vec<&Change> {
        self.steps.iter().flat_map(Step::changes).collect()
    }

    /// What it makes more or fewer of, or warns of.
    pub fn moves(&self) -> impl Iterator<Item = Move> + '_ {
        self.steps.iter().flat_map(Step::moves)
    }

    /// This advice with the number to which each setting is raised, where `number` gives one.
    pub fn raised_to(mut self, number: impl Fn(&Change) -> Option<Number>) -> Self {
        self.steps.iter_mut().for_each(|step| step.raise_to(&number));
        self
    }

    /// This advice, which says of the changes that are meant what they may make worse: once, as a sentence of
    /// its own.
    pub fn with_caveat(mut self, caveat: &'static str, is_meant: impl Fn(&Change) -> bool) -> Self {
        let warned: Vec<bool> = self.steps.iter_mut().map(|step| step.warn(caveat, &is_meant)).collect();
        if let Some(last) = warned.iter().rposition(|is_warned| *is_warned) {
            self.steps.insert(last + 1, say(caveat).into());
        }
        self
    }

    /// This advice, whose changes say what they take.
    pub fn costing(mut self, costs: impl Fn(&Change) -> Vec<String>) -> Self {
        self.steps.iter_mut().flat_map(Step::changes_mut).for_each(|change| change.costs = costs(change));
        self
    }

    /// This advice with a further sentence behind the first step that makes such a change; without one, as it
    /// is.
    pub fn with_note(mut self, note: impl Into<String>, is_meant: impl Fn(&Change) -> bool) -> Self {
        if let Some(place) = self.steps.iter().position(|step| step.changes().any(&is_meant)) {
            self.steps.insert(place + 1, say(note).into());
        }
        self
    }

    /// This advice with those steps of another piece that it does not have.
    pub fn joined_by(mut self, other: Self) -> Self {
        for step in other.steps {
            if !self.steps.contains(&step) {
                self.steps.push(step);
            }
        }
        self
    }

    /// This advice without changes that do not help; `None`: nothing that says what to change is left.
    pub fn without_changes(&self, is_useless: impl Fn(&Change) -> bool) -> Option<Self> {
        self.without_parts(&|part: &Part| part.has_change(&is_useless))
    }

    /// What to do first, without its reason: `Raise --threads (now 4)`; empty where no step says what to do.
    pub fn imperative(&self) -> String {
        self.steps.iter().map(Step::imperative).find(|text| !text.is_empty()).unwrap_or_default()
    }

    /// This advice without whatever `is_against` something deeper; `None`: nothing that says what to change
    /// is left.
    pub fn without(&self, is_against: impl Fn(Move) -> bool) -> Option<Self> {
        self.without_parts(&|part: &Part| part.moves().any(&is_against))
    }

    /// This advice without what raises something that is at its limit of `cores` already; `None`: nothing
    /// that says what to change is left.
    pub fn within_cores(&self, cores: u64) -> Option<Self> {
        self.without_parts(&|part: &Part| part.is_beyond(cores))
    }

    fn without_parts(&self, is_out: &dyn Fn(&Part) -> bool) -> Option<Self> {
        let kept = |step: &Step| step.without(is_out);
        let mut steps: Vec<Step> = Vec::with_capacity(self.steps.len());
        let mut is_behind_gone = false;
        for step in &self.steps {
            // What explains a step that is gone says nothing by itself.
            is_behind_gone &= !step.says_what_to_do();
            match kept(step) {
                Some(step) if !is_behind_gone => steps.push(step),
                Some(_) => {}
                None => is_behind_gone |= step.says_what_to_do(),
            }
        }
        // Without its first sentence, what is left is an afterthought, unless it says what to change.
        let begins_as_before = self.steps.first().is_some_and(|first| kept(first).is_some());
        let still_changes = steps.iter().any(Step::changes_size);
        (begins_as_before || still_changes).then_some(Self { steps })
    }
}

/// Its sentences, each with its full stop.
impl fmt::Display for Advice {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, step) in self.steps.iter().enumerate() {
            let between = if index > 0 { " " } else { "" };
            write!(formatter, "{between}{step}")?;
        }
        Ok(())
    }
}

impl From<Part> for Advice {
    fn from(part: Part) -> Self {
        Self::first(part)
    }
}

impl From<Step> for Advice {
    fn from(step: Step) -> Self {
        Self::first(step)
    }
}

/// A text that begins as a sentence does.
pub fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

#[cfg(test)]
mod tests;
