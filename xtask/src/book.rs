//! `book`: the guide as a book, and a look at every link in it.
//!
//! In: `docs/`, `book.toml`; mdBook at the version of `xtask/pins.toml`. Out: `target/book`, or the links
//! that lead nowhere.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};

use crate::command;
use crate::pins;

/// Pages of the book that mdBook makes for itself.
const OWN: [&str; 3] = ["print.html", "404.html", "toc.html"];

/// Builds it and checks it.
pub(crate) fn run() -> anyhow::Result<()> {
    let root = command::root();
    command::run(Command::new(pins::tool("mdbook")?).args(["build"]).arg(&root))?;
    let book = root.join("target/book");
    let mut files = BTreeSet::new();
    collect(&book, &book, &mut files)?;
    let pages: Vec<&PathBuf> = files
        .iter()
        .filter(|file| file.extension().is_some_and(|extension| extension == "html"))
        .filter(|file| !OWN.iter().any(|own| file.as_path() == Path::new(own)))
        .collect();
    let mut dead = Vec::new();
    for page in &pages {
        let text = fs::read_to_string(book.join(page)).with_context(|| page.display().to_string())?;
        for link in links(&text) {
            let target = resolve(page, link);
            let there = files.contains(&target) || files.contains(&target.join("index.html"));
            if !there {
                dead.push(format!("{}: {link}", page.display()));
            }
        }
    }
    if !dead.is_empty() {
        bail!("dead links in the book:\n{}", dead.join("\n"));
    }
    println!("target/book/index.html: {} pages, no dead link", pages.len());
    Ok(())
}

fn collect(root: &Path, directory: &Path, files: &mut BTreeSet<PathBuf>) -> anyhow::Result<()> {
    for entry in fs::read_dir(directory).with_context(|| directory.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() {
            collect(root, &path, files)?;
        } else if let Ok(inside) = path.strip_prefix(root) {
            files.insert(inside.to_path_buf());
        }
    }
    Ok(())
}

/// Links to other places of the book, without their headings.
fn links(html: &str) -> impl Iterator<Item = &str> {
    html.split("href=\"").skip(1).filter_map(|rest| rest.split('"').next()).filter_map(|link| {
        let path = link.split('#').next().unwrap_or_default();
        (!path.is_empty() && !link.contains("://") && !link.starts_with("mailto:")).then_some(path)
    })
}

fn resolve(page: &Path, link: &str) -> PathBuf {
    let mut target = page.parent().unwrap_or(Path::new("")).to_path_buf();
    for component in Path::new(link).components() {
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

#[test]
fn links_inside_the_book_are_taken_without_headings_and_those_outside_left() {
    let html = "<a href=\"a/b.html#x\"></a><a href=\"#y\"></a><a href=\"https://docs.rs\"></a><a href=\"../c.html\"></a>";
    assert_eq!(links(html).collect::<Vec<_>>(), ["a/b.html", "../c.html"]);
    assert_eq!(resolve(Path::new("d/e.html"), "../c.html"), Path::new("c.html"));
}
