//! What is known, as Prometheus metrics.
//!
//! In: what stands on the board. Out: OpenMetrics text. All names begin with `wsgi_trace_`; counters only go
//! up as long as the agent lives. No label holds an address. What came from a traced process is one line of
//! bounded width.

mod cost;
mod in_line;
pub mod merged;
pub mod node;
mod verdict;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use profiler_core::finding::{Answer, RULES};
use profiler_core::model::Snapshot;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeCounterValue, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::exemplar::Exemplar;
use prometheus_client::registry::{Registry, Unit as Suffix};

use super::board::{Known, Status, View};
use super::buckets::Buckets;
use super::change::Outcome;
use super::counts::{Unit, port};
use super::trigger::{Cause, SIGNAL};
use crate::export::Totals;
use crate::fact::Proc;
use crate::fact::memory::resident_bytes;
use crate::source::live::clock::process_cpu_ns;

/// What the agent itself uses.
#[derive(Clone, Debug, Default)]
pub struct Own {
    /// Length of a window.
    pub window: Duration,
    /// CPU time since it began, in nanoseconds.
    pub cpu_ns: u64,
    /// Resident memory in bytes.
    pub resident_bytes: u64,
    /// What became of rows, where they are wanted.
    pub rows: Option<Totals>,
}

/// All metrics of one server, and what the agent itself uses where that is to be said beside, as OpenMetrics
/// text.
///
/// # Errors
/// None that memory could give; kept so that nothing has to be unwrapped.
pub fn render(known: Known, own: Option<Own>) -> Result<String, fmt::Error> {
    text(Metrics { known, own })
}

/// What the agent itself uses, as OpenMetrics text.
///
/// # Errors
/// As [`render`].
pub fn render_own(own: Own) -> Result<String, fmt::Error> {
    text(OwnMetrics(own))
}

fn text(collector: impl Collector + 'static) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix("wsgi_trace");
    registry.register_collector(Box::new(collector));
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(text)
}

type Labels<'a> = &'a [(&'a str, &'a str)];

#[derive(Debug)]
struct Metrics {
    known: Known,
    own: Option<Own>,
}

#[derive(Debug)]
struct OwnMetrics(Own);

impl Collector for OwnMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.0.encode(&mut Out(&mut encoder))
    }
}

impl Collector for Metrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let out = &mut Out(&mut encoder);
        if let Some(own) = &self.own {
            own.encode(out)?;
        }
        self.about(out)?;
        self.modes(out)?;
        self.changes(out)?;
        self.held(out)?;
        cost::encode(self.known.cost.as_ref(), out)?;
        self.requests(out)?;
        self.counts(out)?;
        self.now(out)?;
        self.findings(out)
    }
}

impl Own {
    /// What it uses by now; `window`: the length of one.
    pub fn now(window: Duration) -> Self {
        let resident_bytes = resident_bytes(&Proc::default(), std::process::id()).unwrap_or(0);
        Self { window, cpu_ns: process_cpu_ns(), resident_bytes, rows: None }
    }

    fn encode(&self, out: &mut Out<'_, '_>) -> fmt::Result {
        out.family("build", "Version of the agent", None, MetricType::Info, |metric| {
            metric.encode_info(&[("version", env!("CARGO_PKG_VERSION"))])
        })?;
        let window = self.window.as_secs_f64();
        out.gauge("window", "Length of a window", Some(Suffix::Seconds), window)?;
        out.seconds("agent_cpu", "CPU time of the agent itself", self.cpu_ns)?;
        let resident = self.resident_bytes as f64;
        out.gauge("agent_resident", "Resident memory of the agent itself", Some(Suffix::Bytes), resident)?;
        self.encode_rows(out)
    }

    /// Rows of `--parquet`; nothing where they are not wanted.
    fn encode_rows(&self, out: &mut Out<'_, '_>) -> fmt::Result {
        let Some(totals) = &self.rows else { return Ok(()) };
        let by_cause = |out: &mut Out<'_, '_>, name: &str, help: &str, behind: u64, failed: u64| {
            out.family(name, help, None, MetricType::Counter, |metric| {
                counter(metric, &[("cause", "behind")], behind)?;
                counter(metric, &[("cause", "failed")], failed)
            })
        };
        out.counter("parquet_requests", "Requests in files that are whole", totals.written.requests)?;
        out.counter("parquet_windows", "Windows in files that are whole", totals.written.windows)?;
        out.counter("parquet_files", "Files that are whole", totals.written.files)?;
        let help = "Requests without a row: writing was behind, or failed";
        by_cause(out, "parquet_requests_lost", help, totals.requests_behind, totals.requests_failed)?;
        let help = "Windows without a row: writing was behind, or failed";
        by_cause(out, "parquet_windows_lost", help, totals.windows_behind, totals.windows_failed)?;
        let help = "Requests in files that were removed to keep the budget";
        out.counter("parquet_requests_removed", help, totals.requests_removed)?;
        let help = "Windows in files that were removed to keep the budget";
        out.counter("parquet_windows_removed", help, totals.windows_removed)?;
        let help = "Unfinished files of agents that were killed, removed at the start";
        out.counter("parquet_files_abandoned", help, totals.files_abandoned)?;
        let bytes = || Some(Suffix::Bytes);
        let stored = totals.stored_bytes as f64;
        out.gauge("parquet_stored", "What the files of this agent take", bytes(), stored)?;
        let budget = totals.budget_bytes as f64;
        out.gauge("parquet_budget", "What the files of this agent may take", bytes(), budget)?;
        let failing = f64::from(u8::from(totals.failing.is_some()));
        out.gauge("parquet_failing", "The last attempt to write rows failed", None, failing)
    }
}

impl Metrics {
    fn about(&self, out: &mut Out<'_, '_>) -> fmt::Result {
        let state = &self.known.state;
        let up = u8::from(state.status == Status::Watching);
        out.gauge("target_up", "The target is there and watched", None, f64::from(up))?;
        out.counter("target_attaches", "Times that the target was found and attached to", state.attaches)?;
        out.counter("target_losses", "Times that the target went away", state.losses_of_target)?;
        out.counter("windows", "Windows that have ended", state.windows)
    }

    /// Which modes are attached; full traces beside light mode, where that is attached or was.
    fn modes(&self, out: &mut Out<'_, '_>) -> fmt::Result {
        let Known { state, full, .. } = &self.known;
        let help = "Programs are attached in this mode; both at once: a full trace beside light mode";
        out.flags(("mode", help), "mode", [("light", state.modes.light), ("full", state.modes.full)])?;
        out.family(
            "full_traces",
            "Full traces begun beside light mode",
            None,
            MetricType::Counter,
            |metric| {
                for label in Cause::LABELS {
                    counter(metric, &[("cause", label)], full.begun.get(label).copied().unwrap_or_default())?;
                }
                Ok(())
            },
        )?;
        let help = "Seconds in which a condition for a full trace was met and the budget allowed none";
        out.counter("full_traces_refused", help, full.refused)?;
        let help = "Full traces that could not be attached, or ended with the target before they were";
        out.counter("full_traces_failed", help, full.failed)
    }

    /// Changes of the server.
    fn changes(&self, out: &mut Out<'_, '_>) -> fmt::Result {
        let changed = &self.known.changed;
        let help =
            "Changes of the server (restarts, reloads), by what the windows before and after say of them";
        out.family("changes", help, None, MetricType::Counter, |metric| {
            for outcome in Outcome::NAMES {
                let count = changed.by_outcome.get(outcome).copied().unwrap_or_default();
                counter(metric, &[("outcome", outcome)], count)?;
            }
            Ok(())
        })
    }

    /// What `--keep` holds; nothing where it is not wanted.
    fn held(&self, out: &mut Out<'_, '_>) -> fmt::Result {
        let Some(held) = self.known.held else { return Ok(()) };
        let help = "Time that the recording in memory goes back";
        out.gauge("kept", help, Some(Suffix::Seconds), held.length_ns as f64 / 1e9)?;
        out.gauge("kept", "What the recording in memory takes", Some(Suffix::Bytes), held.bytes as f64)?;
        let help = "Times that the recording in memory was set aside";
        out.family("kept_set_aside", help, None, MetricType::Counter, |metric| {
            for cause in Cause::LABELS.into_iter().skip(1).chain([SIGNAL]) {
                counter(
                    metric,
                    &[("cause", cause)],
                    self.known.frozen.get(cause).copied().unwrap_or_default(),
                )?;
            }
            Ok(())
        })
    }

    fn requests(&self, out: &mut Out<'_, '_>) -> fmt::Result {
        let tally = &self.known.tally;
        let endpoints =
            || tally.endpoints.iter().map(|((method, shape), endpoint)| (method, shape, endpoint));
        out.family("requests", "Finished requests", None, MetricType::Counter, |metric| {
            for (method, shape, endpoint) in endpoints() {
                for (status, count) in &endpoint.by_status {
                    let labels: Labels<'_> = &[("method", method), ("endpoint", shape), ("status", status)];
                    counter(metric, labels, *count)?;
                }
            }
            Ok(())
        })?;
        let help =
            "From a request's first byte to the last byte of its response, where the first byte was seen";
        let unit = Some(Suffix::Seconds);
        out.family("request_duration", help, unit.clone(), MetricType::Histogram, |metric| {
            for (method, shape, endpoint) in endpoints() {
                let labels: Labels<'_> = &[("method", method), ("endpoint", shape)];
                histogram(&mut metric.encode_family(&labels)?, &endpoint.duration)?;
            }
            Ok(())
        })?;
        let help = "Where the time of finished requests went; the phases add up to it";
        out.family("request_phase", help, unit.clone(), MetricType::Counter, |metric| {
            for (method, shape, endpoint) in endpoints() {
                for (phase, duration_ns) in endpoint.phases.iter() {
                    let labels: Labels<'_> =
                        &[("method", method), ("endpoint", shape), ("phase", phase.name())];
                    seconds(metric, labels, duration_ns)?;
                }
            }
            Ok(())
        })?;
        let help = "From the stamp of a front end (X-Request-Start) to the request's first byte";
        out.family("since_request_start", help, unit, MetricType::Histogram, |metric| {
            histogram(metric, &tally.since_request_start)
        })?;
        let help = "Stamps of front ends that are not believed";
        out.family("request_starts_refused", help, None, MetricType::Counter, |metric| {
            for (reason, count) in &tally.refused_request_starts {
                counter(metric, &[("reason", reason)], *count)?;
            }
            Ok(())
        })?;
        let bytes = Some(Suffix::Bytes);
        out.family("request_received", "Bytes of requests", bytes.clone(), MetricType::Counter, |metric| {
            counter(metric, &[], tally.bytes_in)
        })?;
        out.family("response_sent", "Bytes of responses", bytes, MetricType::Counter, |metric| {
            counter(metric, &[], tally.bytes_out)
        })
    }

    fn counts(&self, out: &mut Out<'_, '_>) -> fmt::Result {
        let is_light = self.known.state.modes.is_light_alone();
        for (family, values) in self.known.counts.families(is_light) {
            let unit = (family.unit == Unit::Seconds).then_some(Suffix::Seconds);
            out.family(family.name, family.help, unit, MetricType::Counter, |metric| {
                for (value, sum) in values {
                    let label = family.label.map(|name| (name, value));
                    let labels = label.as_slice();
                    match family.unit {
                        Unit::Seconds => seconds(metric, labels, sum)?,
                        Unit::None => counter(metric, labels, sum)?,
                    }
                }
                Ok(())
            })?;
        }
        if is_light {
            // A histogram of nothing would say that nothing waited.
            return Ok(());
        }
        let help = "From the end of a connection's handshake to accept's return";
        out.family("accept_wait", help, Some(Suffix::Seconds), MetricType::Histogram, |metric| {
            histogram(metric, &self.known.counts.accept_wait)
        })?;
        let help = "From a client's first refusal by a full accept queue to its connection";
        out.family("connect_delay", help, Some(Suffix::Seconds), MetricType::Histogram, |metric| {
            histogram(metric, &self.known.counts.connect_delay)
        })?;
        let help = "From the arrival of a request's first bytes to its event loop's next look at them";
        out.family("loop_lag", help, Some(Suffix::Seconds), MetricType::Histogram, |metric| {
            histogram(metric, &self.known.counts.loop_lag)
        })
    }

    /// How things stand in the open window; nothing while the target is away.
    fn now(&self, out: &mut Out<'_, '_>) -> fmt::Result {
        if let Some(target) = self.known.target {
            out.gauge("target_processes", "Processes of the target", None, target.processes as f64)?;
            out.gauge("target_threads", "Threads of the target", None, target.threads as f64)?;
            let help = "Resident memory of the target's processes; what they share counts for each";
            out.gauge("target_resident", help, Some(Suffix::Bytes), target.resident_bytes as f64)?;
        }
        let Some((_, view)) = &self.known.current else { return Ok(()) };
        let snapshot = &view.snapshot;
        let in_flight = snapshot.requests.open.count as f64;
        out.gauge("requests_in_flight", "Requests that are not finished", None, in_flight)?;
        if let Some(configured) = snapshot.slots.configured {
            let help = "Slots by configuration: workers times threads";
            out.gauge("slots_configured", help, None, f64::from(configured))?;
        }
        if snapshot.slots.not_measured.is_none() {
            let help =
                "Slots that capacity is counted against: by configuration, or as many as were there at once";
            out.gauge("slots", help, None, f64::from(snapshot.slots.count()))?;
            let help = "Most slots busy at one moment of the open window";
            out.gauge("slots_busy_peak", help, None, f64::from(snapshot.slots.peak_busy))?;
        }
        in_line::encode(out, view)?;
        let beside = self.known.full.current.as_ref().map(|(_, view)| view);
        queues(out, snapshot)?;
        // Sampled once a window: early in one, the sample of the one before stands.
        let is_light = |view: &&Arc<View>| view.snapshot.attached.is_light();
        let last = self.known.last.as_ref().filter(|last| is_light(last) == is_light(&view));
        let cost = [Some(view), last].into_iter().flatten().find_map(kernel_programs_cpus);
        if let Some(cpus) = cost {
            let cpus = cpus + beside.and_then(kernel_programs_cpus).unwrap_or_default();
            let help = "CPUs that the agent's kernel programs use, sampled once a window";
            out.gauge("kernel_programs_cpus", help, None, cpus)?;
        }
        Ok(())
    }

    /// Of the last whole window. Before there is one, and while the target is away, nothing is said: what was
    /// so when it went would stay so.
    fn findings(&self, out: &mut Out<'_, '_>) -> fmt::Result {
        let is_watched = self.known.state.status == Status::Watching;
        let Some(view) = self.known.last.as_ref().filter(|_| is_watched) else { return Ok(()) };
        verdict::encode(out, view)?;
        let help = "The finding is present in the last whole window";
        answers(out, "finding_present", help, view, |answer| matches!(answer, Answer::Present))?;
        let help = "The last whole window could not decide on the finding";
        answers(out, "finding_undecided", help, view, |answer| matches!(answer, Answer::Undecided { .. }))
    }
}

/// CPUs that the kernel programs of a window's session used while they were sampled.
fn kernel_programs_cpus(view: &Arc<View>) -> Option<f64> {
    let cost = view.snapshot.coverage.overhead.as_ref().filter(|overhead| overhead.bpf_sampled_ns > 0)?;
    Some(cost.bpf_run_ns as f64 / cost.bpf_sampled_ns as f64)
}

/// Accept queues of the open window, by port: siblings of one port are added up, as are their limits.
fn queues(out: &mut Out<'_, '_>, snapshot: &Snapshot) -> fmt::Result {
    let mut ports: BTreeMap<String, [u64; 3]> = BTreeMap::new();
    for (port, queue) in snapshot
        .sockets
        .listeners
        .iter()
        .filter_map(|listener| Some((port(listener), listener.queue.as_ref()?)))
    {
        let sums = ports.entry(port).or_default();
        for (sum, value) in sums.iter_mut().zip([queue.depth, queue.deepest(), queue.limit]) {
            *sum = sum.saturating_add(u64::from(value));
        }
    }
    let families = [
        ("accept_queue_depth", "Connections that wait for accept"),
        ("accept_queue_deepest", "Most connections that waited for accept at one moment of the open window"),
        ("accept_queue_limit", "Connections that may wait for accept"),
    ];
    for (index, (name, help)) in families.into_iter().enumerate() {
        out.family(name, help, None, MetricType::Gauge, |metric| {
            for (port, sums) in &ports {
                let labels: Labels<'_> = &[("port", port)];
                let value = sums.get(index).copied().unwrap_or_default() as f64;
                metric.encode_family(&labels)?.encode_gauge(&value)?;
            }
            Ok(())
        })?;
    }
    Ok(())
}

fn answers(
    out: &mut Out<'_, '_>,
    name: &str,
    help: &str,
    view: &View,
    is: fn(&Answer) -> bool,
) -> fmt::Result {
    let found = |id| view.findings.iter().find(|finding| finding.id == id);
    let values = RULES.iter().map(|rule| (rule.id, found(rule.id).is_some_and(|one| is(&one.answer))));
    out.flags((name, help), "finding", values)
}

/// Where families are written to.
struct Out<'a, 'b>(&'a mut DescriptorEncoder<'b>);

impl Out<'_, '_> {
    fn family(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<Suffix>,
        kind: MetricType,
        write: impl FnOnce(&mut MetricEncoder<'_>) -> fmt::Result,
    ) -> fmt::Result {
        write(&mut self.0.encode_descriptor(name, help, unit.as_ref(), kind)?)
    }

    /// Gauges of 1 or 0, a series for each value of a label: so an alert can count on every one.
    fn flags<'v>(
        &mut self,
        (name, help): (&str, &str),
        label: &str,
        values: impl IntoIterator<Item = (&'v str, bool)>,
    ) -> fmt::Result {
        self.family(name, help, None, MetricType::Gauge, |metric| {
            for (value, is_it) in values {
                metric.encode_family(&[(label, value)])?.encode_gauge(&u32::from(is_it))?;
            }
            Ok(())
        })
    }

    fn gauge(&mut self, name: &str, help: &str, unit: Option<Suffix>, value: f64) -> fmt::Result {
        self.family(name, help, unit, MetricType::Gauge, |metric| metric.encode_gauge(&value))
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        self.family(name, help, None, MetricType::Counter, |metric| counter(metric, &[], value))
    }

    fn seconds(&mut self, name: &str, help: &str, duration_ns: u64) -> fmt::Result {
        self.family(name, help, Some(Suffix::Seconds), MetricType::Counter, |metric| {
            seconds(metric, &[], duration_ns)
        })
    }
}

type NoExemplar<'a> = Option<&'a Exemplar<Vec<(String, String)>, f64>>;

fn counter(metric: &mut MetricEncoder<'_>, labels: Labels<'_>, value: u64) -> fmt::Result {
    sample(metric, labels, &value)
}

fn seconds(metric: &mut MetricEncoder<'_>, labels: Labels<'_>, duration_ns: u64) -> fmt::Result {
    sample(metric, labels, &(duration_ns as f64 / 1e9))
}

fn sample(
    metric: &mut MetricEncoder<'_>,
    labels: Labels<'_>,
    value: &impl EncodeCounterValue,
) -> fmt::Result {
    if labels.is_empty() {
        return metric.encode_counter(value, NoExemplar::None);
    }
    metric.encode_family(&labels)?.encode_counter(value, NoExemplar::None)
}

fn histogram(metric: &mut MetricEncoder<'_>, buckets: &Buckets) -> fmt::Result {
    let counts: Vec<(f64, u64)> = buckets.iter().collect();
    let sum = buckets.sum_ns() as f64 / 1e9;
    metric.encode_histogram::<Vec<(String, String)>>(sum, buckets.count(), &counts, None)
}
