//! Reports: what one window showed, for people and for programs.
//!
//! In: a [`Snapshot`](profiler_core::model::Snapshot), its findings, requests of the timeline. Out: text, a page,
//! JSON, ndjson, and the place they are written to. Nothing here looks at anything earlier than those.

pub mod escape;
pub mod explain;
pub mod form;
pub mod html;
pub mod json;
pub mod ndjson;
pub mod output;
pub mod screen;
pub(crate) mod summary;
pub mod text;
pub mod timeline;

#[cfg(test)]
pub(crate) mod fixture;
