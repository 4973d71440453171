//! Which part may name which: the direction of dependencies.
//!
//! In: the tree. Out: names in places where they may not stand. The rules are one table.

use super::source::{code_lines, modules_under};
use super::{File, Offence};

/// Files under `place` may not name, directly under `root::`, what `allowed` refuses.
struct Rule {
    place: &'static str,
    root: &'static str,
    allowed: fn(&str) -> bool,
    why: &'static str,
}

const RULES: &[Rule] = &[
    Rule {
        place: "profiler/core/src/",
        root: "std",
        allowed: |name| !matches!(name, "fs" | "net" | "process" | "env" | "os" | "thread"),
        why: "the core does no I/O",
    },
    Rule {
        place: "profiler/core/src/",
        root: "std::time",
        allowed: |name| !matches!(name, "Instant" | "SystemTime"),
        why: "the core's only clock is its records",
    },
    Rule {
        place: "profiler/forecast/src/",
        root: "std",
        allowed: |name| !matches!(name, "fs" | "net" | "process" | "env" | "os" | "thread" | "time"),
        why: "a forecast does no I/O and knows no clock",
    },
    Rule {
        place: "profiler/forecast/src/",
        root: "profiler_core",
        allowed: |name| name == "phase",
        why: "a forecast knows phases, and nothing of machines, servers and recordings",
    },
    Rule {
        place: "profiler/core/src/finding",
        root: "crate",
        allowed: |name| matches!(name, "finding" | "model" | "phase" | "fact" | "server"),
        why: "findings are pure rules over the snapshot",
    },
    Rule {
        place: "profiler/core/src/verdict",
        root: "crate",
        allowed: |name| matches!(name, "verdict" | "finding" | "model" | "fact" | "phase" | "server"),
        why: "the verdict is drawn from the snapshot and the findings",
    },
    Rule {
        place: "profiler/core/src/machine",
        root: "crate",
        allowed: |name| !matches!(name, "pipeline" | "finding" | "verdict" | "order"),
        why: "machines are driven by the pipeline, and judged by findings",
    },
    Rule {
        place: "profiler/src/report",
        root: "profiler_core",
        allowed: |name| !matches!(name, "machine" | "decode" | "order"),
        why: "outputs see the timeline, the snapshot and the findings, nothing earlier",
    },
    Rule {
        place: "",
        root: "profiler_ebpf",
        allowed: |_| false,
        why: "the programs reach user space as bytes",
    },
];

/// Dependencies that a manifest may not name: (manifest, crate).
const MANIFESTS: &[(&str, &[&str])] = &[
    ("profiler/core/Cargo.toml", &["aya", "tokio", "libc", "procfs", "wsgi-trace", "profiler-ebpf"]),
    ("profiler/forecast/Cargo.toml", &["aya", "tokio", "libc", "procfs", "wsgi-trace", "profiler-ebpf"]),
    ("profiler-common/Cargo.toml", &["aya", "profiler-core", "wsgi-trace", "profiler-ebpf"]),
    ("profiler/Cargo.toml", &["profiler-ebpf"]),
    ("tests/Cargo.toml", &["profiler-ebpf", "wsgi-trace-lab"]),
    ("tests/support/Cargo.toml", &["profiler-ebpf", "wsgi-trace-lab"]),
    ("lab/Cargo.toml", &["profiler-ebpf"]),
    ("xtask/Cargo.toml", &["profiler-common", "profiler-core", "wsgi-trace", "profiler-ebpf"]),
];

/// Every name that stands where it may not.
pub(super) fn offences(files: &[File]) -> Vec<Offence> {
    let mut offences = Vec::new();
    let judged = |file: &&File| {
        file.path.ends_with(".rs") && !file.path.starts_with("xtask/") && !file.is_unit_tests()
    };
    for file in files.iter().filter(judged) {
        let rules: Vec<&Rule> = RULES.iter().filter(|rule| file.path.starts_with(rule.place)).collect();
        let lines = code_lines(&file.text);
        for rule in rules {
            for (line, name) in modules_under(&lines, rule.root) {
                if !(rule.allowed)(&name) {
                    offences.push(format!("{}:{line}: names {}::{name}: {}", file.path, rule.root, rule.why));
                }
            }
        }
    }
    for (manifest, forbidden) in MANIFESTS {
        let Some(file) = files.iter().find(|file| file.path == *manifest) else { continue };
        for (number, line) in file.text.lines().enumerate() {
            let name = line.split(['=', '.']).next().unwrap_or_default().trim();
            if line.contains('=') && forbidden.contains(&name) {
                offences.push(format!("{manifest}:{}: may not depend on {name}", number + 1));
            }
        }
    }
    offences
}

#[cfg(test)]
mod tests {
    use super::super::file;
    use super::*;

    #[test]
    fn the_core_may_not_name_io_or_clocks() {
        let text =
            "use std::collections::BTreeMap;\nuse std::{fmt, fs};\nlet t = std::time::Instant::now();\n";
        let offences = offences(&[file("profiler/core/src/order.rs", text)]);
        assert_eq!(offences.len(), 2, "{offences:?}");
    }

    #[test]
    fn findings_may_not_reach_back_to_machines() {
        let text = "use crate::model::Snapshot;\nuse crate::machine::http;\n";
        let offences = offences(&[file("profiler/core/src/finding/cpu_bound.rs", text)]);
        assert!(offences.len() == 1 && offences.iter().all(|o| o.contains(":2:")), "{offences:?}");
    }

    #[test]
    fn nobody_depends_on_the_programs() {
        let manifest =
            file("tests/Cargo.toml", "[dependencies]\nprofiler-ebpf = { path = \"../profiler-ebpf\" }\n");
        let import = file("profiler/src/attach.rs", "use profiler_ebpf::x;\n");
        assert_eq!(offences(&[manifest, import]).len(), 2);
    }
}
