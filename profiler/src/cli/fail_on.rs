//! `--fail-on`: the findings that end a run with an exit code of their own.
//!
//! In: words of the command line. Out: [`Selector`]s; help, completions and errors list what they can be.

use std::sync::LazyLock;

use clap::builder::PossibleValue;
use clap::{Args, ValueEnum};
use profiler_core::finding::RULES;

use super::help::REPORT;
use crate::report::summary::{HEALTHY, is_wrong};

/// The word for every finding that says something is wrong.
const ANY: &str = "any";

/// Which findings fail a run.
#[derive(Clone, Debug, Default, Args)]
pub struct FailOn {
    /// Exit with 9 if one of these findings is present, or `any`
    ///
    /// Ids are separated by commas.
    /// The report is written all the same. An undecided finding is no failure, and is named on stderr.
    /// `wsgi-trace explain` lists the ids.
    #[arg(
        long = "fail-on",
        value_enum,
        value_delimiter = ',',
        value_name = "FINDING",
        hide_possible_values = true,
        help_heading = REPORT
    )]
    pub fail_on: Vec<Selector>,
}

/// One finding, or any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Selector {
    /// Each finding that says something is wrong.
    Any,
    /// The finding with this id.
    One(&'static str),
}

impl Selector {
    /// Whether it is about the finding with this id. `healthy` is none of [`Selector::Any`], nor is what is
    /// merely worth knowing: both say of nothing that it is wrong.
    pub fn covers(self, id: &str) -> bool {
        match self {
            Self::Any => is_wrong(id),
            Self::One(wanted) => wanted == id,
        }
    }
}

impl ValueEnum for Selector {
    fn value_variants<'a>() -> &'a [Self] {
        static ALL: LazyLock<Vec<Selector>> = LazyLock::new(|| {
            let ids = RULES.iter().map(|rule| rule.id).filter(|id| *id != HEALTHY);
            std::iter::once(Selector::Any).chain(ids.map(Selector::One)).collect()
        });
        &ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(match self {
            Self::Any => PossibleValue::new(ANY).help("whatever is wrong"),
            Self::One(id) => {
                let title = RULES.iter().find(|rule| rule.id == *id).map_or("", |rule| rule.title);
                PossibleValue::new(*id).help(title)
            }
        })
    }
}
