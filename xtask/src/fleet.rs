//! `fleet`: a fleet of many hosts and days, asked by DuckDB and by Spark, and their answers compared row by
//! row.
//!
//! In: hosts, days and copies as arguments, `duckdb` before them for that engine alone; a Java of the system.
//! Out: times and verdicts of `lab/fleet`. Spark is installed below `target`, once: nothing else needs it.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::ensure;

use crate::command;

/// Its test program.
pub(crate) const PROGRAMS: [&str; 1] = ["fleet"];
/// 200 hosts and a week, some 20 million requests: it takes 2 GB for a while.
const SIZE: [&str; 3] = ["200", "7", "50"];

pub(crate) fn run(arguments: &[String]) -> anyhow::Result<()> {
    let (is_alone, size) = match arguments {
        [engine, size @ ..] if engine == "duckdb" => (true, size),
        size => (false, size),
    };
    let size = if size.is_empty() { SIZE.map(str::to_owned).to_vec() } else { size.to_vec() };
    ensure!(
        size.len() == 3 && size.iter().all(|number| number.parse().is_ok_and(|number: u32| number > 0)),
        "cargo xtask fleet [duckdb] [HOSTS DAYS COPIES]: COPIES is how often a day has the requests of the recordings; \
         duckdb asks that engine alone"
    );
    let mut test = command::cargo(&command::TEST_LAB);
    test.args(["--test", "fleet", "--", "--ignored", "--nocapture"]);
    test.env("WSGI_TRACE_FLEET", size.join(","));
    if !is_alone {
        test.env("WSGI_TRACE_SPARK", spark()?);
    }
    command::run(&mut test)
}

/// A Python that has Spark.
fn spark() -> anyhow::Result<PathBuf> {
    let java = Command::new("java").arg("-version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    ensure!(
        java.is_ok_and(|status| status.success()),
        "there is no Java: apt-get install default-jre-headless"
    );
    let venv = command::root().join("target/fleet/venv");
    let python = venv.join("bin/python");
    if !venv.join("bin/spark-submit").exists() {
        command::run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&venv))?;
        let requirements = command::root().join("lab/fleet/requirements.txt");
        let mut install = Command::new(&python);
        install.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"]);
        command::run(install.arg(requirements))?;
    }
    Ok(python)
}
