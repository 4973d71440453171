//! Every command of the guide, run: what a page tells people to type works, and prints what the page shows.
//!
//! In: README.md, CONTRIBUTING.md, docs/. Out: verdicts. Blocks of `sh` run on a recording, `sh live`, `sh
//! terminal` and `console` on a real gunicorn, `sh tree` names chores of this tree; `sh dist` is run by `make
//! dist-test`. With `WSGI_TRACE_UPDATE_DOCS=1` the pages take over what the commands print.

mod causes;
mod kubernetes;
mod live;
mod page;
mod shell;
mod tree;

use page::Block;
use shell::Shell;
use wsgi_trace_test_support::gate;

/// Marks of blocks that other tests run.
const ELSEWHERE: [&str; 4] = ["live", "tree", "dist", "terminal"];

#[test]
fn every_command_on_a_recording_works_and_prints_what_the_page_shows() -> anyhow::Result<()> {
    let update = std::env::var_os("WSGI_TRACE_UPDATE_DOCS").is_some();
    let (mut run, mut compared, mut wrong) = (0, 0, Vec::new());
    for page in page::all()? {
        let here =
            |block: &Block| block.language == "sh" && !ELSEWHERE.iter().any(|mark| block.is("sh", mark));
        if !page.blocks.iter().any(here) {
            continue;
        }
        let shell = Shell::new(&page.recordings())?;
        let mut text = page.text.clone();
        // From the end, so that what is replaced does not move what comes.
        let mut replace = Vec::new();
        for (index, block) in page.blocks.iter().enumerate().filter(|(_, block)| here(block)) {
            let place = format!("{}:{}", page.path.display(), block.line);
            if let Some(program) = shell.missing(&block.text) {
                gate::note_skip(&format!("needs {program}"));
                continue;
            }
            let outcome = shell.run(&block.text)?;
            run += 1;
            if !outcome.status.success() {
                wrong.push(format!("{place}: {}\n{}{}", outcome.status, outcome.stdout, outcome.stderr));
                continue;
            }
            let Some(shown) = page.blocks.get(index + 1).filter(|next| next.is("text", "output")) else {
                continue;
            };
            compared += 1;
            if !shows(shown, &outcome.stdout) {
                wrong.push(format!("{place}: prints\n{}and not\n{}", outcome.stdout, shown.text));
                // What to leave out of a shortened one is for a person to say.
                if !shown.is("text", "shortened") {
                    replace.push((shown.range.clone(), outcome.stdout));
                }
            }
        }
        if update {
            for (range, printed) in replace.into_iter().rev() {
                text.replace_range(range, &printed);
            }
            std::fs::write(wsgi_trace_test_support::root().join(&page.path), text)?;
        }
    }
    assert!(wrong.is_empty(), "{}\nTo take over what is printed: WSGI_TRACE_UPDATE_DOCS=1", wrong.join("\n"));
    assert!(run >= 5 && compared >= 3, "the guide has lost its examples: {run} run, {compared} compared");
    Ok(())
}

#[test]
fn every_output_in_the_guide_follows_the_command_that_prints_it() -> anyhow::Result<()> {
    for page in page::all()? {
        for (index, block) in page.blocks.iter().enumerate().filter(|(_, block)| block.is("text", "output")) {
            let before = index.checked_sub(1).and_then(|before| page.blocks.get(before));
            assert!(
                before.is_some_and(|before| before.language == "sh"),
                "{}:{}",
                page.path.display(),
                block.line
            );
        }
    }
    Ok(())
}

/// Whether a page shows what was printed; in a block that is `shortened`, a line of `…` stands for any lines.
fn shows(shown: &Block, printed: &str) -> bool {
    let printed: Vec<&str> = printed.trim_end().lines().map(str::trim_end).collect();
    let shown_lines: Vec<&str> = shown.text.trim_end().lines().map(str::trim_end).collect();
    if !shown.is("text", "shortened") {
        return printed == shown_lines;
    }
    let mut rest = printed.as_slice();
    let mut parts = shown_lines.split(|line| *line == "…").peekable();
    let mut first = true;
    while let Some(part) = parts.next() {
        let last = parts.peek().is_none();
        let found = (0..=rest.len()).find(|&start| {
            let fits = rest.get(start..start + part.len()) == Some(part);
            fits && (!first || start == 0) && (!last || start + part.len() == rest.len())
        });
        let Some(start) = found else { return false };
        rest = rest.get(start + part.len()..).unwrap_or_default();
        first = false;
    }
    true
}

#[test]
fn a_shortened_output_may_leave_out_lines_and_nothing_else() {
    let block = |text: &str| Block {
        language: "text".to_owned(),
        marks: vec!["output".to_owned(), "shortened".to_owned()],
        text: text.to_owned(),
        range: 0..0,
        line: 1,
    };
    let printed = "a\nb\nc\nd\n";
    for (shown, good) in [
        ("a\n…\nd\n", true),
        ("…\nd\n", true),
        ("a\nb\n…\n", true),
        ("a\nb\nc\nd\n", true),
        ("b\n…\n", false),
        ("a\n…\nc\n", false),
        ("a\n…\nx\n…\n", false),
        ("a\nb\nc\n", false),
    ] {
        assert_eq!(shows(&block(shown), printed), good, "{shown:?}");
    }
}
