//! The container that the target runs in.
//!
//! In: the path of a cgroup; what else names a container the `fact` stage of `profiler` fills in. Out:
//! [`Container`], by the names that OpenTelemetry has for it.

use serde::{Deserialize, Serialize};

/// Digits of a container's id, as runtimes make it.
const ID_DIGITS: usize = 64;
/// Characters of a UUID.
const UUID_CHARS: usize = 36;
/// What runtimes write before the id in the name of a container's cgroup.
const RUNTIMES: [(&str, &str); 6] = [
    ("libpod-", "podman"),
    ("docker-", "docker"),
    ("cri-containerd-", "containerd"),
    ("nerdctl-", "containerd"),
    ("crio-", "cri-o"),
    ("docker/", "docker"),
];

/// A container, and where it belongs in Kubernetes. What is not known is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Container {
    /// `container.id`: 64 hexadecimal digits.
    pub id: String,
    /// What made it: `podman`, `docker`, `containerd` or `cri-o`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime: Option<String>,
    /// `k8s.container.name`. Hostile input, as are the two below.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub k8s_container_name: Option<String>,
    /// `k8s.pod.name`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub k8s_pod_name: Option<String>,
    /// `k8s.namespace.name`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub k8s_namespace_name: Option<String>,
    /// `k8s.pod.uid`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub k8s_pod_uid: Option<String>,
}

impl Container {
    /// What the path of a cgroup shows; `None`: it is no container's.
    pub fn of_cgroup(cgroup: &str) -> Option<Self> {
        let id = id(cgroup)?;
        let before = cgroup.rsplit_once(id).map_or("", |(before, _)| before);
        let runtime = RUNTIMES.iter().find(|(prefix, _)| before.ends_with(prefix));
        Some(Self {
            id: id.to_owned(),
            runtime: runtime.map(|(_, name)| (*name).to_owned()),
            k8s_pod_uid: pod_uid(cgroup),
            ..Self::default()
        })
    }

    /// The id as short as runtimes list it.
    pub fn short_id(&self) -> &str {
        self.id.get(..12).unwrap_or(&self.id)
    }
}

/// The id that Docker, containerd, CRI-O and Podman put into the path of a container's cgroup: the last 64
/// hexadecimal digits.
fn id(cgroup: &str) -> Option<&str> {
    let is_id = |part: &&str| part.len() == ID_DIGITS && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    cgroup.rsplit(|c: char| !c.is_ascii_alphanumeric()).find(is_id)
}

/// The UUID of a Kubernetes pod in the path of its cgroup: `pod` and 36 characters, with `_` for `-` where
/// systemd wrote it.
fn pod_uid(cgroup: &str) -> Option<String> {
    let name_of =
        |part: &str| part.rsplit_once("pod").and_then(|(_, rest)| rest.get(..UUID_CHARS)).map(str::to_owned);
    let uid = cgroup.split('/').find_map(name_of)?.replace('_', "-");
    let is_uid = uid.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    (is_uid && uid.matches('-').count() == 4).then_some(uid)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "3f4e5d6c7b8a99881122334455667788990011223344556677889900aabbccdd";

    #[test]
    fn a_container_is_named_by_every_runtime_s_cgroup() {
        for (path, runtime) in [
            (format!("/docker/{ID}"), Some("docker")),
            (format!("/system.slice/docker-{ID}.scope"), Some("docker")),
            (format!("/kubepods.slice/kubepods-pod1.slice/cri-containerd-{ID}.scope"), Some("containerd")),
            (format!("/kubepods.slice/kubepods-pod1.slice/crio-{ID}.scope"), Some("cri-o")),
            (format!("/machine.slice/libpod-{ID}.scope/container"), Some("podman")),
            (format!("/libpod_parent/libpod-{ID}"), Some("podman")),
            (format!("/kubepods/besteffort/pod1/{ID}"), None),
            // As a container sees the cgroup of another.
            (format!("/../libpod-{ID}"), Some("podman")),
        ] {
            let container = Container::of_cgroup(&path).expect("a container");
            assert_eq!((container.id.as_str(), container.runtime.as_deref()), (ID, runtime), "{path}");
            assert_eq!(container.short_id(), "3f4e5d6c7b8a");
        }
        for path in ["/", "/system.slice/gunicorn.service", "/docker/3f4e5d6c"] {
            assert_eq!(Container::of_cgroup(path), None, "{path}");
        }
    }

    #[test]
    fn a_pod_is_named_with_either_driver_of_cgroups() {
        let uid = "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0";
        let plain = format!("/kubepods/burstable/pod{uid}/{ID}");
        let systemd = format!("/kubepods.slice/kubepods-pod{}.slice/crio-{ID}.scope", uid.replace('-', "_"));
        for path in [plain, systemd] {
            let container = Container::of_cgroup(&path).expect("a container");
            assert_eq!(container.k8s_pod_uid.as_deref(), Some(uid));
        }
        assert_eq!(pod_uid("/podman/podéééééééééééééééééééééééééééééééééééé"), None);
    }
}
