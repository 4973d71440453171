//! Markdown: links that lead somewhere, and code blocks that a test can run.
//!
//! In: the tree. Out: dead links, links out of `docs/` (dead in the book), blocks without a language,
//! commands that no test would run, pages that are not in the book. What the marks of a block mean is said in
//! tests/README.md.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};

use super::{File, Offence};

/// The book's table of contents.
const SUMMARY: &str = "docs/SUMMARY.md";
/// Languages under which commands would go by the test of the guide.
const OTHER_SHELLS: [&str; 6] = ["bash", "shell", "shell-session", "zsh", "terminal", "cmd"];
/// Marks that `tests/docs` knows, by language.
const MARKS: [(&str, &[&str]); 3] =
    [("sh", &["live", "tree", "dist", "terminal"]), ("console", &[]), ("text", &["output", "shortened"])];
/// Words with which a line of plain text would be a command.
const COMMANDS: [&str; 6] = ["$ ", "sudo ", "wsgi-trace ", "jq ", "duckdb ", "pip "];

/// Every offence of every page.
pub(super) fn offences(files: &[File]) -> Vec<Offence> {
    let known: BTreeSet<PathBuf> =
        files.iter().flat_map(|file| Path::new(&file.path).ancestors().map(Path::to_path_buf)).collect();
    let mut offences = unbound(files);
    for page in files.iter().filter(|file| file.path.ends_with(".md")) {
        let mut report = |position: usize, what: String| {
            let line = page.text.get(..position).unwrap_or_default().matches('\n').count() + 1;
            offences.push(format!("{}:{line}: {what}", page.path));
        };
        let mut text_block = false;
        for (event, range) in Parser::new_ext(&page.text, Options::ENABLE_TABLES).into_offset_iter() {
            match event {
                Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                    if let Some(what) = dead(page, &dest_url, files, &known) {
                        report(range.start, what);
                    }
                }
                Event::Start(Tag::CodeBlock(kind)) => {
                    let info = match &kind {
                        CodeBlockKind::Fenced(info) => info.as_ref(),
                        CodeBlockKind::Indented => "",
                    };
                    text_block = info.split_whitespace().next() == Some("text");
                    if let Some(what) = block(info) {
                        report(range.start, what);
                    }
                }
                Event::End(TagEnd::CodeBlock) => text_block = false,
                Event::Text(text) if text_block => {
                    if let Some(line) = text.lines().find(|line| COMMANDS.iter().any(|c| line.starts_with(c)))
                    {
                        report(
                            range.start,
                            format!("a command that no test runs: {line:?}; use `sh` or `console`"),
                        );
                    }
                }
                _ => {}
            }
        }
    }
    offences
}

/// Pages of the guide that are not in the book.
fn unbound(files: &[File]) -> Vec<Offence> {
    let Some(summary) = files.iter().find(|file| file.path == SUMMARY) else { return Vec::new() };
    let pages =
        files.iter().filter_map(|file| file.path.strip_prefix("docs/")).filter(|path| path.ends_with(".md"));
    pages
        .filter(|page| *page != "SUMMARY.md" && !summary.text.contains(&format!("]({page})")))
        .map(|page| format!("docs/{page}: not in {SUMMARY}, so not in the book"))
        .collect()
}

/// What is wrong with the first line of a block.
fn block(info: &str) -> Option<String> {
    let mut words = info.split_whitespace();
    let Some(language) = words.next() else {
        return Some("a block without a language: `sh` for commands, `text` for what they print".to_owned());
    };
    if OTHER_SHELLS.contains(&language) {
        return Some(format!("a block of `{language}`: commands are `sh`, so that a test runs them"));
    }
    let known = MARKS.iter().find(|(name, _)| *name == language).map_or(&[][..], |(_, marks)| marks);
    let unknown = words.find(|mark| !known.contains(mark))?;
    Some(format!(
        "the mark {unknown:?} of a block of `{language}` means nothing; known: {}",
        known.join(", ")
    ))
}

/// Why a link leads nowhere.
fn dead(page: &File, link: &str, files: &[File], known: &BTreeSet<PathBuf>) -> Option<String> {
    if link.contains("://") || link.starts_with("mailto:") {
        return None;
    }
    let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
    let here = Path::new(&page.path);
    let target = if path.is_empty() { here.to_path_buf() } else { resolve(here, path) };
    if !known.contains(&target) {
        return Some(format!("a dead link: {link}"));
    }
    if here.starts_with("docs") && !target.starts_with("docs") {
        return Some(format!("a link out of docs/, dead in the book: {link}"));
    }
    if anchor.is_empty() || target.extension().is_none_or(|extension| extension != "md") {
        return None;
    }
    let file = files.iter().find(|file| Path::new(&file.path) == target)?;
    (!anchors(&file.text).contains(anchor)).then(|| format!("no such heading: {link}"))
}

fn resolve(page: &Path, path: &str) -> PathBuf {
    let mut target = page.parent().unwrap_or(Path::new("")).to_path_buf();
    for component in Path::new(path).components() {
        match component {
            Component::ParentDir => {
                target.pop();
            }
            Component::Normal(name) => target.push(name),
            _ => {}
        }
    }
    target
}

/// The names under which the headings of a page can be linked to.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut anchors = BTreeSet::new();
    let mut heading: Option<String> = None;
    for event in Parser::new_ext(text, Options::ENABLE_TABLES) {
        match event {
            Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
            Event::End(TagEnd::Heading(_)) => {
                anchors.extend(heading.take().map(|title| anchor(&title)));
            }
            Event::Text(text) | Event::Code(text) => {
                if let Some(title) = &mut heading {
                    title.push_str(&text);
                }
            }
            _ => {}
        }
    }
    anchors
}

fn anchor(title: &str) -> String {
    title
        .to_lowercase()
        .chars()
        .filter_map(|character| match character {
            ' ' => Some('-'),
            '-' | '_' => Some(character),
            _ => character.is_alphanumeric().then_some(character),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::file;
    use super::*;

    #[test]
    fn dead_links_wrong_headings_and_links_out_of_the_book_are_found() {
        let page = "# A b, `c`\n[1](#a-b-c) [2](other.md#there) [3](sub/) [4](https://docs.rs/x)\n\
                    [5](#nowhere) [6](other.md#not) [7](gone.md) [8](../README.md)\n";
        let files = [
            file("docs/page.md", page),
            file("docs/other.md", "## There\n"),
            file("docs/sub/x.md", ""),
            file("README.md", "[docs](docs/page.md)\n"),
        ];
        let offences = offences(&files);
        assert_eq!(offences.len(), 4, "{offences:?}");
        assert!(offences.iter().all(|offence| offence.starts_with("docs/page.md:3: ")), "{offences:?}");
    }

    #[test]
    fn a_page_that_is_not_in_the_book_is_found() {
        let files = [
            file("docs/SUMMARY.md", "- [A](a.md)\n"),
            file("docs/a.md", ""),
            file("docs/b/c.md", ""),
            file("README.md", ""),
        ];
        let offences = offences(&files);
        assert!(offences.len() == 1 && offences.iter().all(|o| o.starts_with("docs/b/c.md")), "{offences:?}");
    }

    #[test]
    fn commands_that_no_test_would_run_are_found() {
        let page = "```\nx\n```\n```bash\nls\n```\n```text\n$ ls\n```\n```sh often\nls\n```\n\n    ls\n";
        let offences = offences(&[file("docs/page.md", page)]);
        assert_eq!(offences.len(), 5, "{offences:?}");
        let good =
            "```sh live\nls\n```\n```text output\nx\n```\n```console\n$ ls\n```\n```rust,ignore\n```\n";
        assert!(super::offences(&[file("docs/page.md", good)]).is_empty());
    }
}
