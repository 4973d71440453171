//! `wsgi-trace man`: the manual pages, from the definition of the command line.
//!
//! In: a directory, or none. Out: `wsgi-trace.1` and a page for each command in it, or the first one on
//! standard output.

use std::io;
use std::path::Path;

use clap::CommandFactory as _;

use super::{Failure, print};
use crate::cli::exit::ExitCode;
use crate::cli::{Cli, Man};
use crate::output_file::plain;

/// Prints the page, or writes all.
///
/// # Errors
/// [`Failure`] if they cannot be written.
pub fn run(options: &Man) -> Result<(), Failure> {
    let Some(directory) = &options.directory else { return print(&page()) };
    write_all(directory).map_err(|error| Failure {
        sentence: format!("the pages cannot be written into {}: {}", directory.display(), plain(&error)),
        code: ExitCode::OutputFailed,
    })
}

fn page() -> String {
    let mut bytes = Vec::new();
    // Writing into memory does not fail.
    let _ = clap_mangen::Man::new(Cli::command()).render(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

fn write_all(directory: &Path) -> io::Result<()> {
    // `help` has no page of its own: `wsgi-trace help record` shows that of `record`.
    clap_mangen::generate_to(Cli::command().disable_help_subcommand(true), directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_options_commands_and_exit_codes() {
        let page = page();
        for part in ["fail\\-on", "wsgi\\-trace\\-record(1)", ExitCode::FindingPresent.meaning()] {
            let bare = page.contains(part) || page.contains(&part.replace('-', "\\-"));
            assert!(bare, "{part} is not in:\n{page}");
        }
    }

    #[test]
    fn each_command_has_a_page() {
        let directory = tempfile::tempdir().unwrap();
        write_all(directory.path()).unwrap();
        for command in Cli::command().get_subcommands() {
            let page = directory.path().join(format!("wsgi-trace-{}.1", command.get_name()));
            assert!(std::fs::metadata(&page).is_ok_and(|page| page.len() > 200), "{}", page.display());
        }
    }

    #[test]
    fn a_directory_that_is_not_there_is_one_clear_sentence() {
        let failure = run(&Man { directory: Some("/nowhere/at/all".into()) }).unwrap_err();
        assert_eq!(failure.code, ExitCode::OutputFailed);
        assert!(
            failure.sentence.contains("/nowhere/at/all") && !failure.sentence.contains("os error"),
            "{failure:?}"
        );
    }
}
