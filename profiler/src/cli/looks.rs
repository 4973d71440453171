//! What is looked at of threads that sleep for long.
//!
//! In: arguments. Out: [`Looks`].

use clap::{Args, ValueEnum};

use super::help::ADVANCED;

/// How far looks at sleeping threads go.
#[derive(Clone, Copy, Debug, Default, Args)]
pub struct Looks {
    /// What to look at when a thread sleeps for long, ten times a second
    ///
    /// Of a thread that has slept for 50 ms and more, once in each sleep: its call, its state, the file,
    /// pipe, lock or connection that it waits for, and who on this machine stands at the other end. That is
    /// read in /proc and from the kernel's lists of sockets and locks; a look takes some 80 µs.
    #[arg(
        long = "looks",
        value_enum,
        default_value_t,
        value_name = "WHAT",
        help_heading = ADVANCED,
        hide_short_help = true
    )]
    pub at: LooksAt,
}

/// How far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LooksAt {
    /// The thread, and the processes of this machine that keep it waiting
    #[default]
    All,
    /// The thread, and no process that is not the server's
    Own,
    /// Nothing: what a thread that hangs waits for is known only as far as its calls show it
    Off,
}
