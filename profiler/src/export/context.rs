//! What every row of a recording has in common: whose service it is, on which host, in which container.
//!
//! In: what the user says of the service, what facts say of the run. Out: [`Context`], shared by all rows.

use std::fmt::Write as _;

use profiler_core::fact::SessionStarted;
use profiler_core::phase::Phase;
use sha2::{Digest as _, Sha256};

use super::place::day_of;
use crate::session::known::Known;

/// Bytes of a recording's id: enough that no two recordings of a fleet share one.
const ID_BYTES: usize = 8;
/// Digits of a container's id, as runtimes make it.
const CONTAINER_ID_DIGITS: usize = 64;
/// Characters of a UUID.
const UUID_CHARS: usize = 36;

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
    pub(super) container_id: Option<String>,
    pub(super) k8s_pod_uid: Option<String>,
    /// Port of the server; `None`: it has several, or a UNIX socket alone.
    pub(super) server_port: Option<u16>,
    /// Phases without time of their own because the run could not measure them.
    pub(super) not_measured: Vec<Phase>,
    /// Paths as clients sent them are wanted.
    pub(super) raw_paths: bool,
}

impl Context {
    /// Of a run that began with these facts; `began_ns`: when the first of them was read.
    pub(super) fn new(labels: Labels, raw_paths: bool, known: &Known, began_ns: u64) -> Self {
        let session = known.session().cloned().unwrap_or_default();
        let target = known.processes().iter().find(|process| process.tgid == session.target_pid);
        let cgroups =
            || target.into_iter().chain(known.processes()).filter_map(|process| process.cgroup.as_deref());
        Self {
            recording_id: recording_id(&session, began_ns),
            container_id: cgroups().find_map(container_id),
            k8s_pod_uid: cgroups().find_map(pod_uid),
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

    /// The same in whole microseconds.
    pub(super) fn unix_us(&self, monotonic_ns: u64) -> i64 {
        self.unix_ns(monotonic_ns).div_euclid(1_000)
    }

    /// The day of that moment, UTC.
    pub(super) fn day(&self, monotonic_ns: u64) -> i64 {
        day_of(self.unix_ns(monotonic_ns))
    }
}

/// The same for the same run, however often it is exported; another for each other run.
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

/// The id that Docker, containerd, CRI-O and Podman put into the path of a container's cgroup: the last 64 hexadecimal digits.
fn container_id(cgroup: &str) -> Option<String> {
    let is_id =
        |part: &&str| part.len() == CONTAINER_ID_DIGITS && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    cgroup.rsplit(|c: char| !c.is_ascii_alphanumeric()).find(is_id).map(str::to_owned)
}

/// The UUID of a Kubernetes pod in the path of its cgroup: `pod` and 36 characters, with `_` for `-` where systemd wrote it.
fn pod_uid(cgroup: &str) -> Option<String> {
    let name_of =
        |part: &str| part.rsplit_once("pod").and_then(|(_, rest)| rest.get(..UUID_CHARS)).map(str::to_owned);
    let uid = cgroup.split('/').find_map(name_of)?.replace('_', "-");
    let is_uid = uid.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    (is_uid && uid.matches('-').count() == 4).then_some(uid)
}

fn only_port(known: &Known) -> Option<u16> {
    let mut ports = known.listeners().iter().map(|listener| listener.port).filter(|port| *port > 0);
    let first = ports.next()?;
    ports.all(|port| port == first).then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "3f4e5d6c7b8a99881122334455667788990011223344556677889900aabbccdd";

    #[test]
    fn a_container_is_named_by_every_runtime_s_cgroup() {
        for path in [
            format!("/docker/{ID}"),
            format!("/system.slice/docker-{ID}.scope"),
            format!("/kubepods.slice/kubepods-pod1.slice/cri-containerd-{ID}.scope"),
            format!("/machine.slice/libpod-{ID}.scope/container"),
        ] {
            assert_eq!(container_id(&path).as_deref(), Some(ID), "{path}");
        }
        for path in ["/", "/system.slice/gunicorn.service", "/docker/3f4e5d6c"] {
            assert_eq!(container_id(path), None, "{path}");
        }
    }

    #[test]
    fn a_pod_is_named_with_either_driver_of_cgroups() {
        let uid = "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0";
        let plain = format!("/kubepods/burstable/pod{uid}/{ID}");
        let systemd = format!("/kubepods.slice/kubepods-pod{}.slice/cri-{ID}.scope", uid.replace('-', "_"));
        assert_eq!(pod_uid(&plain).as_deref(), Some(uid));
        assert_eq!(pod_uid(&systemd).as_deref(), Some(uid));
        assert_eq!(pod_uid("/podman/podéééééééééééééééééééééééééééééééééééé"), None);
    }

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
