//! A fleet made of real recordings: many hosts and days, and differences that are known because they were put
//! in.
//!
//! In: exported recordings, how many hosts and days. Out: a directory of tables as if so many hosts had been
//! exported. What a request took is varied by a dice of its own, each host is a little faster or slower than
//! the others, and phases still add up.

use std::ops::Range;
use std::path::Path;

use profiler_core::phase::Phase;

use crate::duckdb::{Duckdb, TABLES};

/// The service with differences, where there are any.
pub const SERVICE: &str = "shop";
/// The host whose disk is slow.
pub const SLOW_HOST: &str = "web-007";
/// By how much each of its requests waits longer for files.
pub const SLOW_DISK_NS: u64 = 15_000_000;
/// The endpoint whose back end is asked twice from the second version on.
pub const SLOWER_ROUTE: &str = "/backend/{number}";

/// Hosts that are made by one statement: DuckDB keeps something open for each partition that it writes.
const HOSTS_AT_ONCE: u32 = 20;

/// What to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fleet {
    /// Hosts of each service.
    pub hosts: u32,
    /// Days; from the middle on, services have their second version.
    pub days: u32,
    /// How often a day has the requests of the recording.
    pub copies: u32,
    /// Whether one host and one endpoint of the second version differ.
    pub differs: bool,
}

impl Fleet {
    /// Makes it in `to`, which must not exist, of the recordings that were exported to `real`.
    ///
    /// # Errors
    ///
    /// Where DuckDB cannot.
    pub fn make(&self, duckdb: &Duckdb, real: &Path, to: &Path) -> anyhow::Result<()> {
        std::fs::create_dir(to)?;
        let mut first = 0;
        while first < self.hosts {
            let next = self.hosts.min(first + HOSTS_AT_ONCE);
            let script: anyhow::Result<String> =
                TABLES.iter().map(|table| self.table(table, to, first..next)).collect();
            duckdb.all(real, &script?)?;
            first = next;
        }
        Ok(())
    }

    /// A statement that makes a table's rows of these hosts.
    fn table(&self, table: &str, to: &Path, hosts: Range<u32>) -> anyhow::Result<String> {
        match table {
            "requests" => self.requests(to, hosts),
            "windows" => self.others("windows", to, hosts, &["start_time", "end_time"]),
            "findings" => self.others("findings", to, hosts, &["end_time"]),
            "slots" => self.others("slots", to, hosts, &["start_time"]),
            "connections" => self.others("connections", to, hosts, &["end_time"]),
            table => self.others(table, to, hosts, &[]),
        }
    }

    /// Every combination of these hosts and the days, with what makes it another recording.
    fn grid(&self, hosts: Range<u32>) -> String {
        let (Range { start, end }, days) = (hosts, self.days);
        format!("range({start}, {end}) as h(host_number), range({days}) as d(day_number)")
    }

    /// What is replaced in every table.
    fn replaced(&self) -> String {
        format!(
            "printf('%s-%d-%d', recording_id, host_number, day_number) as recording_id,
             printf('web-%03d', host_number) as \"host.name\",
             if(day_number >= {}, '2', '1') as \"service.version\"",
            self.days.div_ceil(2)
        )
    }

    fn others(&self, table: &str, to: &Path, hosts: Range<u32>, times: &[&str]) -> anyhow::Result<String> {
        let later: String =
            times.iter().map(|time| format!(", {time} + to_days(day_number::int) as {time}")).collect();
        let rows = format!(
            "select * exclude (date, host, day_number, host_number) replace ({}{later}), (date + day_number::int) as date,
                    printf('web-%03d', host_number) as host
             from {table}, {}",
            self.replaced(),
            self.grid(hosts)
        );
        copy(&rows, &to.join(table))
    }

    fn requests(&self, to: &Path, hosts: Range<u32>) -> anyhow::Result<String> {
        let differs = if self.differs { "\"service.name\" = '" } else { "false and '" };
        let of_service = format!("{differs}{SERVICE}'");
        let slow_disk = format!(
            "if({of_service} and printf('web-%03d', host_number) = '{SLOW_HOST}', {SLOW_DISK_NS}, 0)"
        );
        let twice = format!(
            "if({of_service} and day_number >= {} and \"http.route\" = '{SLOWER_ROUTE}', 2, 1)",
            self.days.div_ceil(2)
        );
        let phases: Vec<String> = Phase::ALL
            .into_iter()
            .map(|phase| {
                let name = format!("{}_ns", phase.name());
                let value = match phase {
                    Phase::FileWait => format!("({name} * speed + {slow_disk})::bigint"),
                    Phase::BackendWait => format!("({name} * speed * {twice})::bigint"),
                    _ => format!("({name} * speed)::bigint"),
                };
                format!("{value} as {name}")
            })
            .collect();
        let sum: Vec<String> =
            Phase::ALL.iter().map(|phase| format!("coalesce({}_ns, 0)", phase.name())).collect();
        let sum = sum.join(" + ");
        let rows = format!(
            "with rolled as (
               select *,
                      (0.7 + 0.6 * (hash(recording_id, request_id, host_number, day_number, copy_number) % 1000) / 999.0)
                        * (0.97 + 0.06 * (hash(\"service.name\", host_number) % 100) / 99.0) as speed
               from requests, {}, range({}) as c(copy_number)
               where not is_open and not is_truncated
             ),
             varied as (
               select * exclude (speed) replace (
                 {}, {},
                 request_id + 100000 * copy_number as request_id,
                 start_time + to_days(day_number::int) + to_minutes(copy_number) as start_time,
                 (date + day_number::int) as date,
                 printf('web-%03d', host_number) as host
               )
               from rolled
             )
             select * exclude (day_number, host_number, copy_number) replace (
               ({sum})::bigint as total_ns,
               (service_ns + ({sum}) - total_ns)::bigint as service_ns
             )
             from varied",
            self.grid(hosts),
            self.copies,
            self.replaced(),
            phases.join(", "),
        );
        copy(&rows, &to.join("requests"))
    }
}

/// Where a table has its columns even without rows, as `export` writes one.
const WITHOUT_ROWS: &str = "service=none/date=1970-01-01/host=none";

/// Statements that write these rows as a table.
///
/// # Errors
///
/// Where the directory of the table cannot be made.
pub fn copy(rows: &str, to: &Path) -> anyhow::Result<String> {
    std::fs::create_dir_all(to.join(WITHOUT_ROWS))?;
    let to = to.display().to_string().replace('\'', "''");
    Ok(format!(
        "copy (select * exclude (service, date, host) from ({rows}) limit 0)
           to '{to}/{WITHOUT_ROWS}/0.parquet' (format parquet);
         copy ({rows}) to '{to}' (format parquet, partition_by (service, date, host), overwrite_or_ignore true);\n"
    ))
}
