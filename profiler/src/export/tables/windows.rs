//! `windows`: what each window covers and what it lost. Every question begins here.
//!
//! In: a snapshot. Out: one row, with the server, its capacity and all that did not reach the numbers.

use profiler_core::fact::EndReason;
use profiler_core::model::losses::LossCount;
use profiler_core::model::{Losses, Server, Snapshot};

use super::{Of, Row, shared};
use crate::export::column::{Cell, Column, Kind};

/// Name of the table.
pub(in crate::export) const NAME: &str = "windows";
/// What it holds.
pub(in crate::export) const MEANING: &str = "One row a window: how much was seen, what was lost, and of what server. Ask it \
     before any other table.";

/// What is known of a window beside its snapshot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::export) struct Aside {
    /// Requests that ended in it and have no row.
    pub(in crate::export) not_written: u64,
    /// Requests whose method and route are beyond the bound.
    pub(in crate::export) in_other_routes: u64,
    /// How far the wall clock was set since its rows' times were reckoned; `None`: nobody looked.
    pub(in crate::export) clock_step_ns: Option<i64>,
}

/// One window.
#[derive(Clone, Debug)]
pub(in crate::export) struct WindowRow {
    pub(in crate::export) of: Of,
    pub(in crate::export) snapshot: Box<Snapshot>,
    /// Phases that were not measured, as columns of `requests`.
    not_measured: String,
    aside: Aside,
}

impl Row for WindowRow {
    fn of(&self) -> &Of {
        &self.of
    }
}

impl WindowRow {
    pub(in crate::export) fn new(of: Of, snapshot: Box<Snapshot>, aside: Aside) -> Self {
        let names = snapshot.coverage.not_measured.iter().map(|(phase, _)| format!("{}_ns", phase.name()));
        let not_measured = names.collect::<Vec<_>>().join(",");
        Self { of, snapshot, not_measured, aside }
    }

    fn moment(&self, monotonic_ns: u64) -> Cell<'_> {
        Cell::Number(self.of.context.unix_us(monotonic_ns))
    }

    fn losses(&self) -> &Losses {
        &self.snapshot.coverage.losses
    }

    fn server(&self) -> &Server {
        &self.snapshot.server
    }

    /// A number of slots.
    fn of_slots(&self, value: u64) -> Cell<'_> {
        if self.snapshot.slots.not_measured.is_some() { Cell::Null } else { Cell::number(value) }
    }

    /// A number of connections that ended.
    fn of_ends(&self, value: u64) -> Cell<'_> {
        if self.snapshot.dropped.not_measured.is_some() { Cell::Null } else { Cell::number(value) }
    }
}

/// The columns.
pub(in crate::export) fn columns() -> Vec<Column<WindowRow>> {
    let mut columns = shared();
    columns.extend(labels());
    columns.extend(span());
    columns.extend(server());
    columns.extend(requests());
    columns.extend(capacity());
    columns.extend(losses());
    columns
}

fn labels() -> Vec<Column<WindowRow>> {
    type R = WindowRow;
    const UNSAID: &str = "nobody said";
    /// For what the node may say too.
    const UNSAID_AND_UNSEEN: &str = "nobody said, and files of the node do not tell";
    vec![
        Column::new(
            "deployment.environment.name",
            Kind::Text,
            "Environment, as the user said.",
            |row: &R| Cell::maybe_text(row.of.context.labels.environment.as_deref()),
        )
        .null(UNSAID),
        Column::new("k8s.namespace.name", Kind::Text, "Namespace in Kubernetes.", |row: &R| {
            Cell::maybe_text(row.of.context.labels.k8s_namespace.as_deref())
        })
        .null(UNSAID_AND_UNSEEN),
        Column::new("k8s.pod.name", Kind::Text, "Pod in Kubernetes.", |row: &R| {
            Cell::maybe_text(row.of.context.labels.k8s_pod.as_deref())
        })
        .null(UNSAID_AND_UNSEEN),
        Column::new("k8s.pod.uid", Kind::Text, "The pod's UID, by the server's cgroup.", |row: &R| {
            Cell::maybe_text(row.of.context.container.as_ref().and_then(|seen| seen.k8s_pod_uid.as_deref()))
        })
        .null("no pod"),
        Column::new("k8s.node.name", Kind::Text, "Node of Kubernetes.", |row: &R| {
            Cell::maybe_text(row.of.context.labels.k8s_node.as_deref())
        })
        .null(UNSAID),
    ]
}

fn span() -> Vec<Column<WindowRow>> {
    type R = WindowRow;
    vec![
        Column::new("start_time", Kind::Moment, "Start of the window.", |row: &R| {
            row.moment(row.snapshot.window.start_ns)
        }),
        Column::new("end_time", Kind::Moment, "End of the window.", |row: &R| {
            row.moment(row.snapshot.window.end_ns)
        }),
        Column::new("length_ns", Kind::Nanoseconds, "Its length.", |row: &R| {
            Cell::number(row.snapshot.window.length_ns())
        }),
        Column::new("end_reason", Kind::Text, "Why it ended.", |row: &R| {
            Cell::maybe_text(row.snapshot.window.end_reason.map(reason))
        })
        .null("the recording was cut off"),
        Column::new("mode", Kind::Text, "`full`, or `light`, which names fewer phases.", |row: &R| {
            Cell::Text(if row.snapshot.attached.is_light() { "light" } else { "full" })
        }),
        Column::new(
            "weight",
            Kind::Ratio,
            "Requests that a row of `requests` stands for: 1, all that were seen.",
            |_: &R| Cell::Ratio(1.0),
        ),
        Column::new(
            "not_measured",
            Kind::Text,
            "Phases that are null in `requests`, with commas between.",
            |row: &R| Cell::text(&row.not_measured),
        )
        .null("all were measured"),
    ]
}

const fn reason(reason: EndReason) -> &'static str {
    match reason {
        EndReason::Duration => "duration",
        EndReason::Interrupted => "interrupted",
        EndReason::TargetExited => "target_exited",
        EndReason::RecordingFailed => "recording_failed",
        EndReason::Cost => "cost",
        EndReason::NextWindow => "next_window",
        EndReason::StillOpen => "still_open",
    }
}

fn server() -> Vec<Column<WindowRow>> {
    type R = WindowRow;
    const UNKNOWN: &str = "not known";
    vec![
        Column::new(
            "wsgi_trace_version",
            Kind::Text,
            "Version of the program that recorded it.",
            |row: &R| Cell::text(&row.of.context.session.tool_version),
        )
        .null("the recording does not say"),
        Column::new("kernel_release", Kind::Text, "Kernel of the host.", |row: &R| {
            Cell::text(&row.of.context.session.kernel_release)
        })
        .null("the recording does not say"),
        Column::new("host_cpus", Kind::Count, "CPUs of the host.", |row: &R| {
            Cell::number(row.of.context.session.cpu_count.into())
        }),
        Column::new("process.pid", Kind::Code, "Process that was named as the target.", |row: &R| {
            Cell::number(row.of.context.session.target_pid.into())
        }),
        Column::new("process.runtime.version", Kind::Text, "Version of Python.", |row: &R| {
            Cell::maybe_text(row.server().python_version.as_deref())
        })
        .null(UNKNOWN),
        Column::new("server", Kind::Text, "The WSGI server: `gunicorn`.", |row: &R| {
            Cell::text(&row.server().name)
        })
        .null(UNKNOWN),
        Column::new("server_version", Kind::Text, "Its version.", |row: &R| {
            Cell::maybe_text(row.server().version.as_deref())
        })
        .null(UNKNOWN),
        Column::new("worker_class", Kind::Text, "Kind of its workers.", |row: &R| {
            Cell::text(&row.server().worker_class)
        })
        .null(UNKNOWN),
    ]
}

fn requests() -> Vec<Column<WindowRow>> {
    type R = WindowRow;
    vec![
        Column::new(
            "requests_completed",
            Kind::Count,
            "Requests that ended in it: rows without `is_open`.",
            |row: &R| Cell::number(row.snapshot.requests.completed),
        ),
        Column::new("requests_open", Kind::Count, "Requests that ran still when it ended.", |row: &R| {
            Cell::number(row.snapshot.requests.open.count)
        }),
        Column::new("requests_not_http", Kind::Count, "Exchanges that could not be read.", |row: &R| {
            Cell::number(row.snapshot.requests.not_http)
        }),
        Column::new("requests_in_flight_max", Kind::Count, "Most requests at one moment.", |row: &R| {
            Cell::number(row.snapshot.requests.peak_in_flight.into())
        }),
        Column::new("loaded_ns", Kind::Nanoseconds, "Time in which there was something to do.", |row: &R| {
            Cell::unless_zero(row.snapshot.requests.load_ns)
        })
        .null("not known"),
        Column::new("connections_seen", Kind::Count, "Client connections.", |row: &R| {
            Cell::number(row.snapshot.requests.connections)
        }),
        Column::new(
            "connections_served",
            Kind::Count,
            "Connections that ended with all answers taken.",
            |row: &R| row.of_ends(row.snapshot.dropped.served),
        )
        .null("light mode that does not see connections end"),
        Column::new(
            "connections_dropped",
            Kind::Count,
            "Connections that ended badly: table `connections`.",
            |row: &R| row.of_ends(row.snapshot.dropped.total()),
        )
        .null("light mode that does not see connections end"),
        Column::new("gil_wait_ns", Kind::Nanoseconds, "Waits for the GIL, of all threads.", |row: &R| {
            let gil = &row.snapshot.gil;
            Cell::maybe(gil.not_measured.is_none().then(|| gil.waits.sum_ns()))
        })
        .null("not measured"),
    ]
}

fn capacity() -> Vec<Column<WindowRow>> {
    type R = WindowRow;
    vec![
        Column::new(
            "slots",
            Kind::Count,
            "Slots: workers × threads, or as many as were there at once.",
            |row: &R| row.of_slots(row.snapshot.slots.count().into()),
        )
        .null("slots were not measured"),
        Column::new("slots_busy_max", Kind::Count, "Most slots busy at one moment.", |row: &R| {
            row.of_slots(row.snapshot.slots.peak_busy.into())
        })
        .null("slots were not measured"),
        Column::new(
            "slots_busy_ns",
            Kind::Nanoseconds,
            "Time that slots were busy, of all together.",
            |row: &R| row.of_slots(row.snapshot.slots.busy_ns()),
        )
        .null("slots were not measured"),
        Column::new(
            "slots_exhausted_ns",
            Kind::Nanoseconds,
            "Time with all slots busy: nothing could start.",
            |row: &R| row.of_slots(row.snapshot.slots.exhausted_ns),
        )
        .null("slots were not measured"),
        Column::new("target_cpu_ns", Kind::Nanoseconds, "CPU time of the server's threads.", |row: &R| {
            Cell::maybe(row.snapshot.coverage.overhead.as_ref().map(|overhead| overhead.target_cpu_ns))
        })
        .null("the recording was cut off"),
        Column::new(
            "profiler_cpu_ns",
            Kind::Nanoseconds,
            "CPU time of wsgi-trace's own process.",
            |row: &R| {
                Cell::maybe(row.snapshot.coverage.overhead.as_ref().map(|overhead| overhead.profiler_cpu_ns))
            },
        )
        .null("the recording was cut off"),
    ]
}

fn losses() -> Vec<Column<WindowRow>> {
    type R = WindowRow;
    let sum =
        |counts: &[(String, u64)]| counts.iter().fold(0_u64, |sum, (_, count)| sum.saturating_add(*count));
    let mut columns = vec![
        Column::new("is_complete", Kind::Flag, "Nothing was lost.", |row: &R| {
            Cell::Flag(!row.losses().any() && row.aside.not_written == 0)
        }),
        Column::new(
            "requests_not_written",
            Kind::Count,
            "Requests that ended in it and have no row: an agent's disk was too slow.",
            |row: &R| Cell::number(row.aside.not_written),
        ),
        Column::new(
            "requests_in_other_routes",
            Kind::Count,
            "Requests whose `http.route` is `{other}`: more endpoints than an agent tells apart.",
            |row: &R| Cell::number(row.aside.in_other_routes),
        ),
        Column::new(
            "clock_step_ns",
            Kind::Nanoseconds,
            "How far the wall clock has moved against the kernel's since its set of files began: its times are off by up to this.",
            |row: &R| row.aside.clock_step_ns.map_or(Cell::Null, Cell::Number),
        )
        .null("of a recording"),
        Column::new("records_received", Kind::Count, "Records of the kernel that arrived.", |row: &R| {
            Cell::number(row.snapshot.coverage.conservation.received)
        }),
        Column::new(
            "records_lost",
            Kind::Count,
            "Records that the kernel side had to drop.",
            move |row: &R| Cell::number(sum(&row.losses().kernel.lost)),
        ),
        Column::new(
            "runs_skipped",
            Kind::Count,
            "Runs of kernel programs that the kernel skipped.",
            move |row: &R| Cell::number(sum(&row.losses().kernel.recursion_misses)),
        ),
    ];
    columns.extend(LossCount::all().filter_map(|count| {
        let kind = if count.key.ends_with("_bytes") { Kind::Bytes } else { Kind::Count };
        Some(Column::new(count.column?, kind, count.sentence(), move |row: &R| {
            Cell::number((count.of)(row.losses()))
        }))
    }));
    columns.push(Column::new(
        "is_recording_truncated",
        Kind::Flag,
        "The recording ended before the window did.",
        |row: &R| Cell::Flag(row.losses().recording_truncated),
    ));
    columns
}
