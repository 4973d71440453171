//! What every row of a recording has in common: whose service it is, on which host, in which container.
//!
//! In: what the user says of the service, what facts say of the run. Out: [`Context`], shared by all rows.

use std::fmt::Write as _;

use profiler_core::fact::SessionStarted;
use profiler_core::fact::container::Container;
use profiler_core::phase::Phase;
use sha2::{Digest as _, Sha256};

use super::place::day_of;
use crate::session::known::Known;

/// Bytes of a recording's id: enough that no two recordings of a fleet share one.
const ID_BYTES: usize = 8;

/// What the user says of the service, by OpenTelemetry's names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels {
    /// `service.name`.
    pub service_name: String,
    /// `service.version`.
    pub service_version: Option<String>,
    /// `deployment.environment.name`.
    pub environment: Option<String>,
    /// `k8s.namespace.name`.
    pub k8s_namespace: Option<String>,
    /// `k8s.pod.name`.
    pub k8s_pod: Option<String>,
    /// `k8s.node.name`.
    pub k8s_node: Option<String>,
}

/// What all rows of a recording share.
#[derive(Clone, Debug, Default)]
pub(super) struct Context {
    pub(super) labels: Labels,
    pub(super) session: SessionStarted,
    pub(super) recording_id: String,
    pub(super) container: Option<Container>,
    /// Port of the server; `None`: it has several, or a UNIX socket alone.
    pub(super) server_port: Option<u16>,
    /// Phases without time of their own because the run could not measure them.
    pub(super) not_measured: Vec<Phase>,
    /// Paths as clients sent them are wanted.
    pub(super) raw_paths: bool,
}

impl Context {
    /// Of a run that began with these facts; `began_ns`: when the first of them was read.
    pub(super) fn new(mut labels: Labels, raw_paths: bool, known: &Known, began_ns: u64) -> Self {
        let session = known.session().cloned().unwrap_or_default();
        let container = known.container();
        // What a person says of them holds.
        let seen = container.as_ref();
        labels.k8s_namespace =
            labels.k8s_namespace.or_else(|| seen.and_then(|seen| seen.k8s_namespace_name.clone()));
        labels.k8s_pod = labels.k8s_pod.or_else(|| seen.and_then(|seen| seen.k8s_pod_name.clone()));
        Self {
            recording_id: recording_id(&session, began_ns),
            container,
            server_port: only_port(known),
            not_measured: known.beginning().not_measured,
            labels,
            session,
            raw_paths,
        }
    }

    /// A moment of the run on the wall clock, in nanoseconds since 1970.
    pub(super) fn unix_ns(&self, monotonic_ns: u64) -> i64 {
        let monotonic_ns = i64::try_from(monotonic_ns).unwrap_or(i64::MAX);
        monotonic_ns.saturating_add(self.session.wall_clock_offset_ns)
    }

    /// A moment of the run on the wall clock, in whole microseconds since 1970.
    pub(super) fn unix_us(&self, monotonic_ns: u64) -> i64 {
        self.unix_ns(monotonic_ns).div_euclid(1_000)
    }

    /// The day of that moment, UTC.
    pub(super) fn day(&self, monotonic_ns: u64) -> i64 {
        day_of(self.unix_ns(monotonic_ns))
    }
}

/// An id that is the same for the same run, however often it is exported, and another for each other run.
fn recording_id(session: &SessionStarted, began_ns: u64) -> String {
    let mut hash = Sha256::new();
    hash.update(session.host_name.as_bytes());
    hash.update([0]);
    hash.update(session.target_pid.to_le_bytes());
    hash.update(session.wall_clock_offset_ns.to_le_bytes());
    hash.update(began_ns.to_le_bytes());
    hash.finalize().iter().take(ID_BYTES).fold(String::new(), |mut id, byte| {
        let _ = write!(id, "{byte:02x}");
        id
    })
}

fn only_port(known: &Known) -> Option<u16> {
    let mut ports = known.listeners().iter().map(|listener| listener.port).filter(|port| *port > 0);
    let first = ports.next()?;
    ports.all(|port| port == first).then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_has_one_id_and_another_run_another() {
        let session = SessionStarted { host_name: "web-1".to_owned(), ..SessionStarted::default() };
        assert_eq!(recording_id(&session, 5), recording_id(&session, 5));
        assert_ne!(recording_id(&session, 5), recording_id(&session, 6));
        let other = SessionStarted { wall_clock_offset_ns: 1, ..session.clone() };
        assert_ne!(recording_id(&session, 5), recording_id(&other, 5));
        assert_eq!(recording_id(&session, 5).len(), 2 * ID_BYTES);
    }
}
