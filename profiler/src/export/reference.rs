//! The page about the tables, made from their columns: `docs/parquet.md`, and what `export --columns` prints.
//!
//! In: the tables. Out: Markdown.

use std::fmt::Write as _;

use super::column::Said;
use super::table::{SCHEMA_VERSION, TABLE_KEY, VERSION_KEY};
use super::tables::all;

const INTRODUCTION: &str = r#"# Parquet, column by column

The tables that `wsgi-trace export` and `wsgi-trace serve --parquet` write. [The fleet](fleet.md) shows how to ask
them. This page is made from the columns in the code.

The version of the tables is {schema_version}. Each file says it in its own metadata (`{version_key}`), with the name
of its table (`{table_key}`). A new major version breaks queries, a minor one adds columns or values of text.

A file lies at `TABLE/service=NAME/date=YYYY-MM-DD/host=NAME/RECORDING.parquet`. Those of an agent are named
`AGENT-NUMBER-RECORDING.parquet`: its numbers go up by one, and seven files of one name are one set. The date is that
of the row in UTC: the end of a request, a connection or a window. In the path, characters of names other than
letters, digits, `.`, `_` and `-` are written as `%XX`. The columns `service.name` and `host.name` have the names as
they are.

A name that OpenTelemetry has is used as it is, dots included:
quote it (`"http.route"`). A column whose name ends with `_ns` is a duration in nanoseconds. A null phase was not
measured, which is not 0. Numbers of requests, connections and slots mean something in one recording only.

<!-- Below: generated from the columns in the code. -->
"#;

/// The page of the guide.
pub fn page() -> String {
    let introduction = INTRODUCTION
        .replace("{schema_version}", SCHEMA_VERSION)
        .replace("{version_key}", VERSION_KEY)
        .replace("{table_key}", TABLE_KEY);
    format!("{introduction}{}", columns())
}

/// Every column of every table.
pub fn columns() -> String {
    let mut page = String::new();
    for table in all() {
        let _ = write!(page, "\n## {}\n\n{}\n\n", table.name, table.meaning);
        page.push_str("| Column | Type | Unit | What it is | Null |\n|---|---|---|---|---|\n");
        for column in &table.columns {
            row(&mut page, column);
        }
    }
    page
}

fn row(page: &mut String, said: &Said) {
    let Said { name, kind, meaning, null } = said;
    let _ = writeln!(
        page,
        "| `{name}` | {} | {} | {meaning} | {} |",
        kind.sql(),
        kind.unit(),
        null.unwrap_or("never")
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_of_the_guide_is_made_from_the_columns() {
        const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/parquet.md");
        if std::env::var_os("WSGI_TRACE_UPDATE_DOCS").is_some() {
            std::fs::write(PATH, page()).unwrap();
        }
        let is = std::fs::read_to_string(PATH).unwrap_or_default();
        let hint =
            "docs/parquet.md is not up to date: WSGI_TRACE_UPDATE_DOCS=1 cargo test -p wsgi-trace reference";
        assert!(is == page(), "{hint}");
    }
}
