//! The `wsgi-trace` command: parse, run, map the outcome to an exit code.
//!
//! In: arguments. Out: an exit code.

use std::io::Write as _;
use std::process::ExitCode;

use wsgi_trace::cli::mistake;
use wsgi_trace::command;

fn main() -> ExitCode {
    // A limit on the size of files is an error of the write that meets it, not the end of the program.
    // SAFETY: ignoring a signal installs no code.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
    #[cfg(feature = "without-rules")]
    profiler_core::rule::Rule::drop_named(&std::env::var(profiler_core::rule::WITHOUT).unwrap_or_default());
    let cli = mistake::parse(std::env::args_os()).unwrap_or_else(|error| error.exit());
    match command::run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // Nobody may be reading: the exit code still tells.
            let _ = writeln!(std::io::stderr(), "wsgi-trace: {}", failure.sentence);
            failure.code.into()
        }
    }
}
