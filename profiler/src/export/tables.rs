//! The tables, one file each: what a row is, and its columns.
//!
//! In: a recording's entries and snapshots. Out: rows, lists of columns, and [`all`] for the page about them.

pub(super) mod connections;
pub(super) mod findings;
pub(super) mod gil_waits;
pub(super) mod leaves;
pub(super) mod requests;
pub(super) mod slots;
pub(super) mod windows;

use std::sync::Arc;

use super::column::{Cell, Column, Kind, Said};
use super::context::Context;

/// Whose row it is: a recording's, and in it a window's.
#[derive(Clone, Debug)]
pub(super) struct Of {
    pub(super) context: Arc<Context>,
    /// Its place in the recording, from 0.
    pub(super) window: u64,
}

/// A row of any table.
pub(super) trait Row {
    /// Whose it is.
    fn of(&self) -> &Of;
}

/// A table, as the page about it shows it.
pub(super) struct TableSaid {
    pub(super) name: &'static str,
    pub(super) meaning: &'static str,
    pub(super) columns: Vec<Said>,
}

/// All tables, in the order of the page.
pub(super) fn all() -> Vec<TableSaid> {
    vec![
        said(requests::NAME, requests::MEANING, requests::columns()),
        said(windows::NAME, windows::MEANING, windows::columns()),
        said(findings::NAME, findings::MEANING, findings::columns()),
        said(leaves::NAME, leaves::MEANING, leaves::columns()),
        said(gil_waits::NAME, gil_waits::MEANING, gil_waits::columns()),
        said(slots::NAME, slots::MEANING, slots::columns()),
        said(connections::NAME, connections::MEANING, connections::columns()),
    ]
}

fn said<R>(name: &'static str, meaning: &'static str, columns: Vec<Column<R>>) -> TableSaid {
    TableSaid { name, meaning, columns: columns.into_iter().map(|column| column.said).collect() }
}

/// The columns that every table begins with.
fn shared<R: Row>() -> Vec<Column<R>> {
    vec![
        Column::new(
            "recording_id",
            Kind::Text,
            "The recording; the same however often it is exported.",
            |row: &R| Cell::Text(&row.of().context.recording_id),
        )
        .of_the_set(),
        Column::new("window_number", Kind::Id, "The recording's window, from 0.", |row: &R| {
            Cell::number(row.of().window)
        }),
        Column::new("service.name", Kind::Text, "The service, by `--service`.", |row: &R| {
            Cell::Text(&row.of().context.labels.service_name)
        })
        .of_the_set(),
        Column::new("service.version", Kind::Text, "Its version, as the user said.", |row: &R| {
            Cell::maybe_text(row.of().context.labels.service_version.as_deref())
        })
        .null("nobody said")
        .of_the_set(),
        Column::new("host.name", Kind::Text, "The host that was watched.", |row: &R| {
            Cell::Text(&row.of().context.session.host_name)
        })
        .of_the_set(),
        Column::new("container.id", Kind::Text, "The container, by the server's cgroup.", |row: &R| {
            Cell::maybe_text(row.of().context.container.as_ref().map(|seen| seen.id.as_str()))
        })
        .null("no container")
        .of_the_set(),
    ]
}

/// A path as a table shows it: the part of an endpoint that is the same for all its requests.
pub(super) fn route(path: &str) -> String {
    profiler_core::model::path_shape::path_shape(path)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_column_has_a_name_of_its_own_and_says_what_it_is() {
        for table in all() {
            let names: BTreeSet<&str> = table.columns.iter().map(|said| said.name.as_str()).collect();
            assert_eq!(names.len(), table.columns.len(), "{}", table.name);
            for said in &table.columns {
                let place = format!("{}.{}", table.name, said.name);
                assert!(said.meaning.ends_with('.') && said.meaning.len() > 8, "{place}");
                assert!(said.null.is_none_or(|null| !null.is_empty() && !null.ends_with('.')), "{place}");
                assert_eq!(said.kind == Kind::Nanoseconds, said.name.ends_with("_ns"), "{place}");
                assert_eq!(said.kind == Kind::Moment, said.name.ends_with("_time"), "{place}");
                let is_flag = ["is_", "has_"].iter().any(|begin| said.name.starts_with(begin));
                assert_eq!(said.kind == Kind::Flag, is_flag, "{place}");
            }
        }
    }
}
