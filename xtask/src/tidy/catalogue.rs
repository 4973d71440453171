//! Findings and their pages.
//!
//! In: the tree. Out: findings without a page under `docs/findings`, and pages without a finding.

use std::collections::BTreeSet;

use super::{File, Offence};

const PAGES: &str = "docs/findings/";
const RULES: &str = "profiler/core/src/finding/";

/// Every id without a page and every page without an id.
pub(super) fn offences(files: &[File]) -> Vec<Offence> {
    let pages: BTreeSet<&str> = files
        .iter()
        .filter_map(|file| file.path.strip_prefix(PAGES)?.strip_suffix(".md"))
        .filter(|name| !matches!(*name, "README" | "index"))
        .collect();
    let rules: Vec<&File> = files.iter().filter(|file| file.path.starts_with(RULES)).collect();
    let mut offences = Vec::new();
    for file in &rules {
        for id in declared_ids(&file.text) {
            if !pages.contains(id) {
                offences.push(format!("{}: the finding {id} has no page {PAGES}{id}.md", file.path));
            }
        }
    }
    for page in pages {
        if !rules.iter().any(|file| file.text.contains(&format!("\"{page}\""))) {
            offences.push(format!("{PAGES}{page}.md: no finding has this id"));
        }
    }
    offences
}

/// `const ID: &str = "…"` and `id: "…"`, before the unit tests.
fn declared_ids(text: &str) -> impl Iterator<Item = &str> {
    let body = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    body.lines().filter_map(|line| {
        let (name, value) = line.split_once('"')?;
        let name = name.trim_end();
        (name.ends_with("ID: &str =") || name.ends_with(" id:")).then(|| value.split('"').next()).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::super::file;
    use super::*;

    #[test]
    fn a_finding_needs_a_page_and_a_page_a_finding() {
        let files = [
            file("profiler/core/src/finding/a.rs", "pub const ID: &str = \"slots-exhausted\";\n"),
            file("profiler/core/src/finding/b.rs", "    Rule { id: \"cpu-bound\", x }\n"),
            file("docs/findings/cpu-bound.md", ""),
            file("docs/findings/left-over.md", ""),
            file("docs/findings/README.md", ""),
        ];
        let offences = offences(&files);
        assert_eq!(offences.len(), 2, "{offences:?}");
    }
}
