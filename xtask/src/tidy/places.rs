//! Places that belong to one machine: home directories, mirrors.
//!
//! In: the tree. Out: absolute paths of a developer's machine, and web addresses outside a short list.

use super::{File, Offence};

/// Hosts that documentation and manifests may name.
const HOSTS: &[&str] = &[
    "crates.io",
    "docs.gunicorn.org",
    "docs.kernel.org",
    "docs.python.org",
    "docs.rs",
    "duckdb.org",
    "example.com",
    "github.com",
    "json-schema.org",
    "keepachangelog.com",
    "opensource.org",
    "peps.python.org",
    "perfetto.dev",
    "rustup.rs",
    "semver.org",
    "ui.perfetto.dev",
    "www.apache.org",
    "www.gnu.org",
    "www.rfc-editor.org",
    "www.speedscope.app",
];

/// Roots of directories that exist on somebody's machine only; `/proc/PID/root/` is not one of them.
const PRIVATE: &[&str] = &["/root/", "/home/", "/work/", "/Users/"];

/// Every mention of such a place.
pub(super) fn offences(files: &[File]) -> Vec<Offence> {
    let mut offences = Vec::new();
    for file in files.iter().filter(|file| file.path != "xtask/src/tidy/places.rs") {
        for (number, line) in file.text.lines().enumerate() {
            let at = || format!("{}:{}", file.path, number + 1);
            for private in PRIVATE {
                if line.match_indices(private).any(|(start, _)| begins_a_path(line, start)) {
                    offences.push(format!("{}: a path of one machine, {private}…", at()));
                }
            }
            if let Some(host) = hosts(line).find(|host| !allowed(host)) {
                offences
                    .push(format!("{}: names the host {host}; see HOSTS in xtask/src/tidy/places.rs", at()));
            }
        }
    }
    offences
}

fn begins_a_path(line: &str, start: usize) -> bool {
    let before = line.get(..start).and_then(|text| text.chars().next_back());
    before.is_none_or(|character| !(character.is_alphanumeric() || "_-.}])>*$".contains(character)))
}

fn hosts(line: &str) -> impl Iterator<Item = &str> {
    line.match_indices("://").filter_map(move |(position, separator)| {
        let scheme = line.get(..position)?;
        if !["http", "https", "ftp", "git", "ssh"].iter().any(|name| scheme.ends_with(name)) {
            return None;
        }
        let rest = line.get(position + separator.len()..)?;
        let end =
            rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '.' || c == '-')).unwrap_or(rest.len());
        rest.get(..end)
    })
}

/// Loopback, names without a dot (placeholders) and the list.
fn allowed(host: &str) -> bool {
    host.is_empty()
        || !host.contains('.')
        || host.starts_with("127.")
        || host == "0.0.0.0"
        || host.ends_with(".example")
        || HOSTS.contains(&host)
}

#[cfg(test)]
mod tests {
    use super::super::file;
    use super::*;

    #[test]
    fn a_home_directory_is_found_and_the_root_of_a_process_is_not() {
        let text = "see /home/me/x\nopen(\"/proc/{pid}/root/etc\")\nnet/work/it\npath=/root/.cache\n";
        let offences = offences(&[file("a.md", text)]);
        assert_eq!(offences.len(), 2, "{offences:?}");
    }

    #[test]
    fn an_unknown_host_is_found_and_loopback_is_not() {
        let text = "http://127.0.0.1:8000/ https://docs.rs/aya\nhttps://mirror.internal.net/simple\n";
        let offences = offences(&[file("a.md", text)]);
        assert!(offences.len() == 1 && offences.iter().all(|o| o.contains("a.md:2")), "{offences:?}");
    }
}
