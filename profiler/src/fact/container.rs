//! The container of a process, and its place in Kubernetes.
//!
//! In: `/proc/PID/cgroup`, the names of log files that the kubelet makes on the node, the namespace that it
//! gives to every pod with a service account. Out: [`Container`]. Nothing is asked of a runtime or an API
//! server. From inside a container the node's files are seen through the root of process 1, where process
//! numbers are the node's.

use std::fs::read_dir;
use std::io::Read as _;
use std::path::Path;

use profiler_core::fact::container::Container;
use rustix::fs::OFlags;

use super::process::version::open_inside;
use super::{Proc, cgroup};

/// Entries of a directory of logs looked at.
const MAX_ENTRIES: usize = 10_000;
/// Bytes of a name in Kubernetes: names of DNS labels and subdomains are no longer.
const MAX_NAME_BYTES: usize = 253;
/// Where the kubelet links a log for each container, `POD_NAMESPACE_CONTAINER-ID.log`
/// (pkg/kubelet/kuberuntime/legacy.go).
const CONTAINER_LOGS: &str = "var/log/containers";
/// Where it keeps them, `NAMESPACE_POD_UID` (pkg/kubelet/kuberuntime/helpers.go, `BuildPodLogsDirectory`).
const POD_LOGS: &str = "var/log/pods";
/// What it mounts into pods; only the namespace is read, which is no secret.
const NAMESPACE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";

/// The container that a process runs in; `None`: in none that is known.
pub fn of_process(proc: &Proc, tgid: u32) -> Option<Container> {
    let mut container =
        cgroup::all_of_process(proc, tgid).iter().find_map(|path| Container::of_cgroup(path))?;
    let node = proc.of(1, "root");
    let named = by_container(&node.join(CONTAINER_LOGS), &container.id)
        .or_else(|| by_pod(&node.join(POD_LOGS), container.k8s_pod_uid.as_deref()?));
    if let Some(Named { namespace, pod, container: name }) = named {
        (container.k8s_namespace_name, container.k8s_pod_name) = (Some(namespace), Some(pod));
        container.k8s_container_name = name;
    } else if container.k8s_pod_uid.is_some() {
        container.k8s_namespace_name = namespace(proc, tgid);
    }
    Some(container)
}

/// Names in Kubernetes.
#[derive(Debug, PartialEq, Eq)]
struct Named {
    namespace: String,
    pod: String,
    container: Option<String>,
}

/// By the name of the container's log; only names are looked at.
fn by_container(directory: &Path, id: &str) -> Option<Named> {
    let suffix = format!("-{id}.log");
    names(directory).find_map(|name| {
        let mut parts = name.strip_suffix(&suffix)?.splitn(3, '_').map(valid);
        let (pod, namespace, container) = (parts.next()??, parts.next()??, parts.next()??);
        Some(Named { namespace, pod, container: Some(container) })
    })
}

/// By the name of the pod's directory of logs.
fn by_pod(directory: &Path, uid: &str) -> Option<Named> {
    let suffix = format!("_{uid}");
    names(directory).find_map(|name| {
        let (namespace, pod) = name.strip_suffix(&suffix)?.split_once('_')?;
        Some(Named { namespace: valid(namespace)?, pod: valid(pod)?, container: None })
    })
}

fn names(directory: &Path) -> impl Iterator<Item = String> {
    let entries = read_dir(directory).into_iter().flatten().take(MAX_ENTRIES).map_while(Result::ok);
    entries.filter_map(|entry| entry.file_name().into_string().ok())
}

fn namespace(proc: &Proc, tgid: u32) -> Option<String> {
    let mut text = String::new();
    let limit = MAX_NAME_BYTES as u64 + 1;
    open_inside(proc, tgid, NAMESPACE, OFlags::RDONLY)?.take(limit).read_to_string(&mut text).ok()?;
    valid(text.trim_end())
}

/// A name as Kubernetes allows it, and nothing else.
fn valid(name: &str) -> Option<String> {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(&byte);
    (!name.is_empty() && name.len() <= MAX_NAME_BYTES && name.bytes().all(allowed)).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const ID: &str = "3f4e5d6c7b8a99881122334455667788990011223344556677889900aabbccdd";
    const UID: &str = "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0";

    struct Host(tempfile::TempDir);

    impl Host {
        fn new(membership: &str) -> Self {
            let host = Self(tempfile::tempdir().expect("directory"));
            host.file("7/cgroup", membership);
            host
        }

        fn file(&self, name: &str, text: &str) {
            let path = self.0.path().join(name);
            fs::create_dir_all(path.parent().expect("parent")).expect("directory");
            fs::write(path, text).expect("file");
        }

        fn container(&self) -> Option<Container> {
            of_process(&Proc::at(self.0.path()), 7)
        }
    }

    fn in_pod() -> Host {
        Host::new(&format!("0::/kubepods/burstable/pod{UID}/cri-containerd-{ID}\n"))
    }

    fn said(container: &Container) -> [Option<&str>; 3] {
        [&container.k8s_namespace_name, &container.k8s_pod_name, &container.k8s_container_name]
            .map(Option::as_deref)
    }

    #[test]
    fn the_node_s_logs_name_pod_and_container() {
        let host = in_pod();
        host.file(&format!("1/root/var/log/containers/web-7d9-x2x_shop_app-{ID}.log"), "");
        let found = host.container().expect("a container");
        assert_eq!(said(&found), [Some("shop"), Some("web-7d9-x2x"), Some("app")]);
        assert_eq!((found.id.as_str(), found.k8s_pod_uid.as_deref()), (ID, Some(UID)));
        assert_eq!(found.runtime.as_deref(), Some("containerd"));
    }

    #[test]
    fn without_a_log_of_the_container_its_pod_s_directory_names_the_pod() {
        let host = in_pod();
        host.file(&format!("1/root/var/log/containers/web_shop_app-{}.log", ID.replace('3', "4")), "");
        host.file(&format!("1/root/var/log/pods/shop_web-0_{UID}/app/0.log"), "");
        assert_eq!(said(&host.container().expect("a container")), [Some("shop"), Some("web-0"), None]);
    }

    #[test]
    fn without_the_node_s_files_the_namespace_alone_is_known_and_nothing_is_guessed() {
        let host = in_pod();
        host.file(&format!("7/root{NAMESPACE}"), "shop\n");
        assert_eq!(said(&host.container().expect("a container")), [Some("shop"), None, None]);
        assert_eq!(said(&in_pod().container().expect("a container")), [None; 3]);
    }

    #[test]
    fn what_is_no_name_of_kubernetes_is_not_taken() {
        let host = in_pod();
        host.file(&format!("1/root/var/log/containers/web_sh\x1b[2Jop_app-{ID}.log"), "");
        host.file(&format!("7/root{NAMESPACE}"), &"s".repeat(400));
        assert_eq!(said(&host.container().expect("a container")), [None; 3]);
    }

    #[test]
    fn a_container_is_named_by_whichever_hierarchy_names_it() {
        let host = Host::new(&format!("9:name=systemd:/libpod_parent/libpod-{ID}\n1:cpu:/\n0::/\n"));
        let found = host.container().expect("a container");
        assert_eq!((found.id.as_str(), found.runtime.as_deref()), (ID, Some("podman")));
        assert_eq!(Host::new("0::/system.slice/gunicorn.service\n").container(), None);
    }
}
