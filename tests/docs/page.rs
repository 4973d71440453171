//! A page of the guide and its code blocks.
//!
//! In: Markdown. Out: blocks in order, each with its language, its marks and its place.

use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};
use wsgi_trace_test_support::root;

/// A page.
pub(crate) struct Page {
    /// Path from the root of the tree.
    pub(crate) path: PathBuf,
    /// Its Markdown.
    pub(crate) text: String,
    /// Its blocks.
    pub(crate) blocks: Vec<Block>,
}

/// A fenced code block.
pub(crate) struct Block {
    /// The first word after the fence.
    pub(crate) language: String,
    /// The words after the language.
    pub(crate) marks: Vec<String>,
    /// What is between the fences.
    pub(crate) text: String,
    /// Where that stands in the page, in bytes.
    pub(crate) range: Range<usize>,
    /// Line of the fence, from 1.
    pub(crate) line: usize,
}

impl Block {
    /// Whether the block is of this language and has this mark.
    pub(crate) fn is(&self, language: &str, mark: &str) -> bool {
        self.language == language && self.marks.iter().any(|known| known == mark)
    }
}

impl Page {
    /// Reads a page.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(root().join(path)).with_context(|| path.display().to_string())?;
        let blocks = blocks(&text);
        Ok(Self { path: path.to_path_buf(), text, blocks })
    }

    /// The recordings of the page, each with the name that the page has for it: in a comment, which readers
    /// do not see.
    pub(crate) fn recordings(&self) -> Vec<(&str, &str)> {
        let comment = self.text.strip_prefix("<!-- ").and_then(|rest| rest.split_once(" -->"));
        let named: Vec<_> = comment
            .into_iter()
            .flat_map(|(names, _)| names.split(", "))
            .filter_map(|name| name.split_once(": "))
            .collect();
        if named.is_empty() { vec![("incident.wtrace", "gthread-exhausted")] } else { named }
    }
}

/// Every page with commands: those at the root, those of the guide and of the lab, and the one beside the
/// recordings.
pub(crate) fn all() -> anyhow::Result<Vec<Page>> {
    let mut paths: Vec<PathBuf> = [
        "README.md",
        "CONTRIBUTING.md",
        "ARCHITECTURE.md",
        "tests/README.md",
        "tests/recordings/README.md",
        "lab/README.md",
    ]
    .map(PathBuf::from)
    .into();
    let mut directories = ["docs", "lab/results"].map(PathBuf::from).to_vec();
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(root().join(&directory))? {
            let entry = entry?;
            let path = directory.join(entry.file_name());
            if entry.file_type()?.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                paths.push(path);
            }
        }
    }
    paths.sort();
    paths.iter().map(|path| Page::read(path)).collect()
}

/// The place of a block's text while it has none.
fn empty_after_fence(markdown: &str, start: usize) -> Range<usize> {
    let fence = markdown.get(start..).and_then(|rest| rest.find('\n')).unwrap_or(0);
    start + fence + 1..start + fence + 1
}

fn blocks(markdown: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for (event, range) in Parser::new_ext(markdown, Options::ENABLE_TABLES).into_offset_iter() {
        match event {
            Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(info))) => {
                let mut words = info.split_whitespace().map(str::to_owned);
                let line = markdown.get(..range.start).unwrap_or_default().matches('\n').count() + 1;
                open = Some(Block {
                    language: words.next().unwrap_or_default(),
                    marks: words.collect(),
                    text: String::new(),
                    range: empty_after_fence(markdown, range.start),
                    line,
                });
            }
            Event::Text(text) => {
                if let Some(block) = &mut open {
                    let start = if block.text.is_empty() { range.start } else { block.range.start };
                    block.range = start..range.end;
                    block.text.push_str(&text);
                }
            }
            Event::End(TagEnd::CodeBlock) => blocks.extend(open.take()),
            _ => {}
        }
    }
    blocks
}

#[test]
fn blocks_are_taken_with_language_marks_and_place() {
    let page = "# T\n```sh live\na \\\n  b\n```\n\n```text output\nx\n```\n```text\n```\n";
    let blocks = blocks(page);
    assert_eq!(blocks.len(), 3);
    assert!(blocks[0].is("sh", "live") && !blocks[0].is("sh", "tree"));
    assert_eq!((blocks[0].text.as_str(), blocks[0].line), ("a \\\n  b\n", 2));
    assert_eq!(page.get(blocks[1].range.clone()), Some("x\n"));
    assert_eq!(page.get(blocks[2].range.start..), Some("```\n"));
}
