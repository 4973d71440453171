//! DuckDB, an engine that others wrote, on exported tables.
//!
//! In: a directory of tables, SQL. Out: rows as JSON. It is the one that `make setup` installs for the
//! guide's examples.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};
use serde_json::Value;

use crate::gate;

/// The tables, as `export` names them.
pub const TABLES: [&str; 7] =
    ["requests", "windows", "findings", "leaves", "gil_waits", "slots", "connections"];

/// Its command.
#[derive(Clone, Debug)]
pub struct Duckdb {
    python: PathBuf,
}

impl Duckdb {
    /// It, or a skip with its reason.
    pub fn find() -> Option<Self> {
        // By its module: the command in there names the directory in which it was installed, which may have
        // moved.
        let python = crate::environment::program("venvdocs", "python");
        let is_there = python.exists();
        if !is_there {
            gate::missing("DuckDB (.tools/venvdocs, tests/requirementsdocs.txt)");
        }
        is_there.then_some(Self { python })
    }

    /// A command for programs that want one, in this directory.
    ///
    /// # Errors
    ///
    /// Where it cannot be written.
    pub fn command(&self, directory: &Path) -> anyhow::Result<PathBuf> {
        let path = directory.join("duckdb");
        std::fs::write(&path, format!("#!/bin/sh\nexec '{}' -m duckdb_cli \"$@\"\n", self.python.display()))?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700))?;
        Ok(path)
    }

    /// Runs a script with these tables at hand; the rows of its last statement.
    ///
    /// # Errors
    ///
    /// Where DuckDB refuses it.
    pub fn all(&self, tables: &Path, sql: &str) -> anyhow::Result<Vec<Value>> {
        let views = std::fs::read_to_string(crate::root().join("queries/tables-duckdb.sql"))?;
        let views = views.replace("'fleet/", &format!("'{}/", tables.display()));
        // What does not fit into memory would go into the directory from which tests are run.
        let aside = crate::root().join("target/duckdb");
        let settings = format!("set memory_limit = '4GB'; set temp_directory = '{}';", aside.display());
        let output = Command::new(&self.python)
            .args(["-m", "duckdb_cli", "-json", "-c", &format!("{settings} {views} {sql}")])
            .output()
            .context("DuckDB could not be started")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success() && said.is_empty(), "{said}\n{sql}");
        let rows = String::from_utf8(output.stdout)?;
        // No rows are printed as nothing, or as an empty list.
        if rows.trim().is_empty() { Ok(Vec::new()) } else { Ok(serde_json::from_str(&rows).context(rows)?) }
    }

    /// The only row that SQL gives.
    ///
    /// # Errors
    ///
    /// Where DuckDB refuses it, or it gives another number of rows.
    pub fn one(&self, tables: &Path, sql: &str) -> anyhow::Result<Value> {
        let [row] = <[Value; 1]>::try_from(self.all(tables, sql)?)
            .map_err(|rows| anyhow::anyhow!("{} rows: {sql}", rows.len()))?;
        Ok(row)
    }
}
