//! DuckDB's command: an engine that runs in a process of its own and leaves nothing behind.
//!
//! In: where it is, a directory of tables, SQL. Out: rows. It is looked for on the PATH; `--duckdb` names
//! another.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::Row;
use crate::output_file::plain;

/// The tables.
const TABLES: [&str; 7] = ["requests", "windows", "findings", "leaves", "gil_waits", "slots", "connections"];
/// Longest text of its own that is passed on when it refuses something.
const LONGEST_COMPLAINT: usize = 500;
/// What DuckDB says of a table without files.
const NO_FILES: &str = "No files found that match";

/// For its owner alone: what is put aside are rows.
const PRIVATE_DIRECTORY: u32 = 0o700;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// DuckDB is not there.
    #[error("{} cannot be started: install DuckDB (pip install duckdb-cli, or https://duckdb.org/install) or name its command with --duckdb", .0.display())]
    Missing(PathBuf),
    /// There are no tables.
    #[error("{}: no table of windows there; wsgi-trace export and wsgi-trace serve --parquet write them", .0.display())]
    NoTables(PathBuf),
    /// There is nothing of what was asked for.
    #[error("no window {asked}; there are {there}")]
    Nothing {
        /// Of which service, since when.
        asked: String,
        /// Services and days that there are.
        there: String,
    },
    /// DuckDB refuses something, or its answer is not understood.
    #[error("DuckDB cannot answer: {0}")]
    Refused(String),
}

/// What is asked of the tables.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// From this day on: `2026-01-31`.
    pub since: Option<String>,
    /// Of this service alone.
    pub service: Option<String>,
}

/// The engine on one directory.
#[derive(Clone, Debug)]
pub struct Engine {
    command: PathBuf,
    directory: String,
    /// What makes the tables.
    views: String,
}

impl Engine {
    /// On the tables of a directory. One in object storage (`s3://…`) is not looked at before it is asked.
    ///
    /// # Errors
    /// If there are no tables.
    pub fn new(command: &Path, directory: &Path, scope: &Scope) -> Result<Self, EngineError> {
        let text = directory.to_string_lossy().trim_end_matches('/').to_owned();
        if !text.contains("://") && !directory.join("windows").is_dir() {
            return Err(EngineError::NoTables(directory.to_path_buf()));
        }
        let views: String = TABLES.iter().map(|table| view(&text, table, scope)).collect();
        let views = format!("SET timezone = 'UTC';\n{views}");
        Ok(Self { command: command.to_path_buf(), directory: text, views })
    }

    /// The directory.
    pub fn directory(&self) -> &str {
        &self.directory
    }

    /// The rows of one statement.
    ///
    /// # Errors
    /// If it cannot be run, or refuses.
    pub fn ask(&self, sql: &str) -> Result<Vec<Row>, EngineError> {
        // What does not fit into memory goes where files of a moment belong, and not into the present
        // directory.
        let aside = std::env::temp_dir().join(format!("wsgi-trace-fleet-{}", std::process::id()));
        let made = DirBuilder::new().mode(PRIVATE_DIRECTORY).create(&aside);
        made.map_err(|error| {
            EngineError::Refused(format!("{} cannot be made: {}", aside.display(), plain(&error)))
        })?;
        let settings = format!("SET temp_directory = {};\n", quoted(&aside.to_string_lossy()));
        let output = Command::new(&self.command)
            .args(["-init", "/dev/null", "-json", "-c"])
            .arg(format!("{settings}{}{sql};", self.views))
            .output()
            .map_err(|_not_there| EngineError::Missing(self.command.clone()));
        let _ = std::fs::remove_dir_all(&aside);
        let output = output?;
        let said = String::from_utf8_lossy(&output.stderr);
        if !output.status.success() {
            if said.contains(NO_FILES) {
                return Err(EngineError::NoTables(PathBuf::from(&self.directory)));
            }
            let first: String = said.trim().chars().take(LONGEST_COMPLAINT).collect();
            return Err(EngineError::Refused(first.replace('\n', " ")));
        }
        let rows = String::from_utf8_lossy(&output.stdout);
        // No rows are printed as nothing, or as an empty list.
        if rows.trim().is_empty() {
            return Ok(Vec::new());
        }
        serde_json::from_str(&rows)
            .map_err(|error| EngineError::Refused(format!("its answer is no JSON: {error}")))
    }
}

fn view(directory: &str, table: &str, scope: &Scope) -> String {
    let files = quoted(&format!("{directory}/{table}/*/*/*/*.parquet"));
    let since = scope.since.as_ref().map(|day| format!("date >= CAST({} AS DATE)", quoted(day)));
    let service = scope.service.as_ref().map(|name| format!("\"service.name\" = {}", quoted(name)));
    let wanted: Vec<String> = since.into_iter().chain(service).collect();
    let wanted = if wanted.is_empty() { String::new() } else { format!(" WHERE {}", wanted.join(" AND ")) };
    // A column that files of an older agent do not have is null.
    format!(
        "CREATE VIEW {table} AS FROM read_parquet({files}, hive_partitioning = true, union_by_name = true){wanted};\n"
    )
}

/// As a string of SQL.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_text_in_sql() {
        let scope = Scope { since: Some("2026-01-31".to_owned()), service: Some("o'; drop".to_owned()) };
        let sql = view("/a'b", "windows", &scope);
        assert!(sql.contains("read_parquet('/a''b/windows/*/*/*/*.parquet'"), "{sql}");
        assert!(
            sql.contains("date >= CAST('2026-01-31' AS DATE) AND \"service.name\" = 'o''; drop'"),
            "{sql}"
        );
    }

    #[test]
    fn what_is_missing_is_said_with_the_way_to_it() {
        let directory = tempfile::tempdir().unwrap();
        let scope = Scope::default();
        let none = Engine::new(Path::new("duckdb"), directory.path(), &scope).unwrap_err().to_string();
        assert!(none.contains("wsgi-trace export"), "{none}");
        std::fs::create_dir(directory.path().join("windows")).unwrap();
        let engine = Engine::new(Path::new("/nonexistent/duckdb"), directory.path(), &scope).unwrap();
        let missing = engine.ask("select 1").unwrap_err().to_string();
        assert!(missing.contains("pip install duckdb-cli") && missing.contains("--duckdb"), "{missing}");
        let refusing = Engine::new(Path::new("/bin/false"), directory.path(), &scope).unwrap();
        assert!(refusing.ask("select 1").unwrap_err().to_string().starts_with("DuckDB cannot answer"));
    }
}
