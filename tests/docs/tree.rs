//! Commands of the guide that work on this tree (`make …`, `cargo …`): each names something that is there.
//!
//! In: blocks of `sh tree`. Out: verdicts. They are not run from here, where `make test` would run `make
//! test`.

use anyhow::Context as _;
use wsgi_trace_test_support::root;

use crate::page;

#[test]
fn every_chore_that_the_guide_names_is_there() -> anyhow::Result<()> {
    let read = |path: &str| std::fs::read_to_string(root().join(path)).with_context(|| path.to_owned());
    let makefile = read("Makefile")?;
    let chores = read("xtask/src/main.rs")?;
    let manifest = read("tests/Cargo.toml")?;
    let mut seen = 0;
    for page in page::all()? {
        for block in page.blocks.iter().filter(|block| block.is("sh", "tree")) {
            for line in block.text.lines().filter(|line| !line.trim().is_empty()) {
                let command = line.split(" #").next().unwrap_or_default();
                let words: Vec<&str> =
                    command.split_whitespace().skip_while(|word| word.contains('=')).collect();
                let known = match words.as_slice() {
                    ["make", target] => makefile.lines().any(|line| line.starts_with(&format!("{target}:"))),
                    ["cargo", "xtask", chore, ..] => chores.contains(&format!("\"{chore}\" =>")),
                    ["cargo", "build", "--release"] => true,
                    ["cargo", "run", "-q", "-p", "wsgi-trace", "--", "report", recording] => {
                        root().join(recording).exists()
                    }
                    ["cargo", "test", "-p", "profiler-core", "--lib", stage] => {
                        root().join(format!("profiler/core/src/{stage}.rs")).exists()
                    }
                    ["cargo", "test", "-p", "wsgi-trace-tests", "--test", name] => {
                        manifest.contains(&format!("name = \"{name}\""))
                    }
                    _ => false,
                };
                assert!(known, "{}:{}: {line:?} is not known here", page.path.display(), block.line);
                seen += 1;
            }
        }
    }
    assert!(seen >= 8, "the guide has lost its chores: {seen}");
    Ok(())
}
