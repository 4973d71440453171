//! Reports: what one window showed, for people and for programs.
//!
//! In: a [`Snapshot`](profiler_core::model::Snapshot), its findings, requests of the timeline. Out: text, a
//! page, JSON, ndjson, and the place they are written to. Nothing here looks at anything earlier than those.
//! Adding a form is adding its file and its line in [`FORMS`]; the command line and its help follow.

pub(crate) mod chain_words;
pub(crate) mod document;
pub mod escape;
pub mod explain;
pub mod flame;
pub mod form;
pub mod html;
pub mod json;
pub(crate) mod left_out;
pub mod ndjson;
pub mod output;
pub mod screen;
pub mod style;
pub(crate) mod summary;
pub mod text;
pub mod timeline;
pub(crate) mod unit;
pub(crate) mod verdict_words;
pub mod vocabulary;

#[cfg(test)]
pub(crate) mod fixture;

use form::FormKind;

/// All forms, in the order of the help; the first is the default.
pub static FORMS: &[FormKind] = &[
    text::FORM,
    html::FORM,
    json::FORM,
    ndjson::FORM,
    timeline::FORM,
    flame::collapsed::FORM,
    flame::speedscope::FORM,
    flame::pprof::FORM,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_forms_are_unique_and_explained() {
        for (index, form) in FORMS.iter().enumerate() {
            assert!(!form.help.is_empty() && form.name.chars().all(|letter| letter.is_ascii_lowercase()));
            assert!(FORMS.iter().skip(index + 1).all(|other| other.name != form.name), "{}", form.name);
        }
    }

    #[test]
    fn an_ending_stands_for_one_form() {
        let mut endings: Vec<&str> = FORMS.iter().flat_map(|form| form.endings).copied().collect();
        let all = endings.len();
        endings.sort_unstable();
        endings.dedup();
        assert_eq!(endings.len(), all, "{endings:?}");
    }
}
