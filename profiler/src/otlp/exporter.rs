//! Sends spans and metrics beside a run, without ever holding it up.
//!
//! In: facts and timeline entries, on the run's thread. Out: messages to the collector, from a thread of its
//! own, and [`Totals`]. Between the two is a queue with a bound. When the collector is away for longer than
//! the queue lasts, spans are dropped and counted. Metrics are sums, so none is lost.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{JoinHandle, park_timeout};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::{ResourceMetrics, ScopeMetrics};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use profiler_core::fact::Fact;
use profiler_core::model::request::Request;
use profiler_core::timeline::Entry;

use super::endpoint::Endpoint;
use super::metric::Tally;
use super::send::{Answer, Sender};
use super::span::spans;
use super::{Subject, scope};

/// Requests that wait to be sent.
const MAX_QUEUE: usize = 8192;
/// Requests sent at once.
const MAX_BATCH: usize = 512;
/// How long a request waits for others to be sent with.
const BATCH_EVERY: Duration = Duration::from_secs(1);
/// How often metrics are sent.
const METRICS_EVERY: Duration = Duration::from_secs(10);
/// Pauses between attempts double from the first to the last of these.
const PAUSES: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));
/// After the end of the run: how long attempts go on.
const LINGER: Duration = Duration::from_secs(3);

/// What became of the requests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Spans that the collector took.
    pub sent_spans: u64,
    /// Spans that the collector refused.
    pub refused_spans: u64,
    /// Requests that were dropped, as the collector could not be reached for too long.
    pub lost_requests: u64,
    /// Requests whose callers do not record their traces: not sent, as they wish.
    pub unsampled_requests: u64,
    /// What went wrong last.
    pub last_error: Option<String>,
}

impl Totals {
    /// Whether something that was to arrive did not.
    pub const fn any_missing(&self) -> bool {
        self.refused_spans > 0 || self.lost_requests > 0
    }

    /// The collector has taken a message of so many spans, but for those that it names as refused.
    fn took(&mut self, spans: u64, refused: u64) {
        // A collector may answer anything.
        let refused = refused.min(spans);
        self.sent_spans = self.sent_spans.saturating_add(spans.saturating_sub(refused));
        self.refused_spans = self.refused_spans.saturating_add(refused);
    }
}

type Queued = (Arc<Subject>, Box<Request>);

/// The run's end of the export.
#[derive(Debug)]
pub struct Exporter {
    queue: Mutex<Option<SyncSender<Queued>>>,
    subject: Mutex<Arc<Subject>>,
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
    pace: Pace,
}

/// What goes first when the collector is slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// The run: it never waits, requests are dropped instead.
    Live,
    /// The collector: a replay waits for it, as long as it can be reached at all.
    Replay,
}

#[derive(Debug, Default)]
struct Shared {
    tally: Mutex<Tally>,
    totals: Mutex<Totals>,
    lost_requests: AtomicU64,
    finishing: AtomicBool,
}

impl Exporter {
    /// Begins; nothing is sent before there is something to send. `service` names the server in traces.
    ///
    /// # Errors
    /// If no thread can be started.
    pub fn start(endpoint: Endpoint, service: String, pace: Pace) -> std::io::Result<Self> {
        let (sender, receiver) = sync_channel(MAX_QUEUE);
        let shared = Arc::new(Shared::default());
        // Attempts of a replay end like those after a run: nothing is gained by waiting longer.
        shared.finishing.store(pace == Pace::Replay, Ordering::Release);
        let courier = Courier {
            shared: Arc::clone(&shared),
            endpoint,
            service,
            sender: Sender::new(),
            started_ns: unix_ns(),
            subject: Arc::default(),
            give_up_at: None,
        };
        let thread =
            std::thread::Builder::new().name("otlp".to_owned()).spawn(move || courier.run(&receiver))?;
        Ok(Self {
            queue: Mutex::new(Some(sender)),
            subject: Mutex::default(),
            shared,
            thread: Mutex::new(Some(thread)),
            pace,
        })
    }

    /// Takes a fact: whom the following requests are of.
    pub fn note(&self, fact: &Fact) {
        let subject = match fact {
            Fact::SessionStarted(session) => Subject { session: session.clone(), container: None },
            Fact::Container(container) => {
                let subject = Subject::clone(&lock(&self.subject));
                Subject { container: Some(container.clone()), ..subject }
            }
            _ => return,
        };
        *lock(&self.subject) = Arc::new(subject);
    }

    /// Takes a timeline entry: finished requests are exported.
    pub fn entry(&self, entry: &Entry) {
        let Entry::Request(request) = entry else { return };
        if request.seen.open {
            return;
        }
        lock(&self.shared.tally).add(request);
        let subject = Arc::clone(&lock(&self.subject));
        let queue = lock(&self.queue).clone();
        let queued = queue.is_some_and(|queue| match self.pace {
            Pace::Live => queue.try_send((subject, request.clone())).is_ok(),
            Pace::Replay => queue.send((subject, request.clone())).is_ok(),
        });
        if !queued {
            self.shared.lost_requests.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The run is over: what waits is sent, for a few seconds at most.
    pub fn finish(&self) -> Totals {
        self.shared.finishing.store(true, Ordering::Release);
        drop(lock(&self.queue).take());
        if let Some(thread) = lock(&self.thread).take() {
            thread.thread().unpark();
            // The thread does not panic; if it did, what it has not sent is not in the totals.
            let _ = thread.join();
        }
        self.totals()
    }

    /// What became of the requests so far.
    pub fn totals(&self) -> Totals {
        let lost_requests = self.shared.lost_requests.load(Ordering::Relaxed);
        Totals { lost_requests, ..lock(&self.shared.totals).clone() }
    }
}

/// The collector's end of the export.
struct Courier {
    shared: Arc<Shared>,
    endpoint: Endpoint,
    service: String,
    sender: Sender,
    started_ns: u64,
    /// Of the latest request.
    subject: Arc<Subject>,
    /// Set when the run is over.
    give_up_at: Option<Instant>,
}

impl Courier {
    fn run(mut self, queue: &Receiver<Queued>) {
        let mut metrics_at = Instant::now() + METRICS_EVERY;
        let mut is_over = false;
        while !is_over {
            let batch;
            (batch, is_over) = gather(queue);
            self.deliver(batch);
            if is_over || Instant::now() >= metrics_at {
                self.metrics();
                metrics_at = Instant::now() + METRICS_EVERY;
            }
        }
    }

    /// Sends a batch, again and again until it is taken, refused, or the run has been over for long enough.
    fn deliver(&mut self, batch: Vec<Queued>) {
        let requests = batch.len() as u64;
        let Some((subject, _)) = batch.last() else { return };
        self.subject = Arc::clone(subject);
        let (message, spans, unsampled) = self.message(batch);
        lock(&self.shared.totals).unsampled_requests += unsampled;
        if spans == 0 {
            return;
        }
        let (mut pause, longest) = PAUSES;
        loop {
            let answer = self.sender.post(&self.endpoint.traces(), &message);
            let mut totals = lock(&self.shared.totals);
            match answer {
                Answer::Taken { refused } => {
                    totals.took(spans, refused);
                    return;
                }
                Answer::Refused(error) => {
                    totals.took(spans, spans);
                    totals.last_error = Some(error);
                    return;
                }
                Answer::Later(error) => totals.last_error = Some(error),
            }
            drop(totals);
            if self.gives_up() {
                self.shared.lost_requests.fetch_add(requests.saturating_sub(unsampled), Ordering::Relaxed);
                return;
            }
            park_timeout(pause);
            pause = if self.give_up_at.is_some() { PAUSES.0 } else { (pause * 2).min(longest) };
        }
    }

    /// Whether the run has been over for so long that nothing is tried any more.
    fn gives_up(&mut self) -> bool {
        if self.give_up_at.is_none() && self.shared.finishing.load(Ordering::Acquire) {
            self.give_up_at = Some(Instant::now() + LINGER);
        }
        self.give_up_at.is_some_and(|at| Instant::now() >= at)
    }

    /// The message of a batch, the number of its spans, and of requests that want none.
    fn message(&self, batch: Vec<Queued>) -> (ExportTraceServiceRequest, u64, u64) {
        let mut message = ExportTraceServiceRequest::default();
        let (mut count, mut unsampled) = (0, 0);
        let mut current: Option<Arc<Subject>> = None;
        for (subject, request) in batch {
            let list: Vec<Span> = spans(&subject.session, &request);
            count += list.len() as u64;
            unsampled += u64::from(list.is_empty());
            if !current.as_ref().is_some_and(|current| Arc::ptr_eq(current, &subject)) {
                message.resource_spans.push(ResourceSpans {
                    resource: Some(subject.resource(&self.service)),
                    scope_spans: vec![ScopeSpans {
                        scope: Some(scope(&subject.session)),
                        ..ScopeSpans::default()
                    }],
                    ..ResourceSpans::default()
                });
                current = Some(subject);
            }
            let place = message.resource_spans.last_mut().and_then(|last| last.scope_spans.last_mut());
            if let Some(place) = place {
                place.spans.extend(list);
            }
        }
        (message, count, unsampled)
    }

    /// Sums are sent once: the next ones hold what did not arrive.
    fn metrics(&mut self) {
        if self.give_up_at.is_some_and(|at| Instant::now() >= at) {
            return;
        }
        let metrics = lock(&self.shared.tally).metrics(self.started_ns, unix_ns());
        let message = ExportMetricsServiceRequest {
            resource_metrics: vec![ResourceMetrics {
                resource: Some(self.subject.resource(&self.service)),
                scope_metrics: vec![ScopeMetrics {
                    scope: Some(scope(&self.subject.session)),
                    metrics,
                    ..ScopeMetrics::default()
                }],
                ..ResourceMetrics::default()
            }],
        };
        if let Answer::Later(error) | Answer::Refused(error) =
            self.sender.post(&self.endpoint.metrics(), &message)
        {
            lock(&self.shared.totals).last_error = Some(error);
        }
    }
}

/// The next requests, as many as come within a batch's time; and whether they are the last.
fn gather(queue: &Receiver<Queued>) -> (Vec<Queued>, bool) {
    let mut batch = Vec::new();
    let until = Instant::now() + BATCH_EVERY;
    while batch.len() < MAX_BATCH {
        match queue.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(queued) => batch.push(queued),
            Err(RecvTimeoutError::Timeout) => return (batch, false),
            Err(RecvTimeoutError::Disconnected) => return (batch, true),
        }
    }
    (batch, false)
}

fn unix_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// Nothing that holds one of these locks leaves its value half changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl std::fmt::Display for Totals {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} spans sent", self.sent_spans)?;
        for (count, what) in [
            (self.refused_spans, "spans refused by the collector"),
            (self.lost_requests, "requests lost, as the collector could not be reached"),
            (self.unsampled_requests, "requests left out, as their callers do not record them"),
        ] {
            if count > 0 {
                write!(formatter, ", {count} {what}")?;
            }
        }
        match &self.last_error {
            Some(error) if self.any_missing() => write!(formatter, " ({error})"),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collector_refuses_no_more_spans_than_it_was_sent() {
        let mut totals = Totals::default();
        for (refused, sent_spans, refused_spans) in
            [(0, 5, 0), (2, 8, 2), (i64::MAX as u64, 8, 7), (i64::MAX as u64, 8, 12), (u64::MAX, 8, 17)]
        {
            totals.took(5, refused);
            assert_eq!((totals.sent_spans, totals.refused_spans), (sent_spans, refused_spans), "{refused}");
        }
    }
}
