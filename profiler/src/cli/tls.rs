//! What is asked and answered over TLS that ends in the server.
//!
//! In: arguments. Out: [`Tls`].

use clap::{Args, ValueEnum};

use super::help::ADVANCED;

/// How requests over TLS get their names.
#[derive(Clone, Copy, Debug, Default, Args)]
pub struct Tls {
    /// How to know method, path and status of requests where the server does the TLS itself
    ///
    /// By probes in its OpenSSL (SSL_read, SSL_write), in its own processes alone. They are not placed
    /// unless you ask. Times are known without.
    #[arg(
        long = "tls",
        value_enum,
        default_value_t,
        value_name = "WAY",
        help_heading = ADVANCED,
        hide_short_help = true
    )]
    pub names: TlsWay,
}

/// The ways.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum TlsWay {
    /// Probes, once a client speaks TLS with a process; requests before that have no name
    Auto,
    /// Probes from the start in each process that has loaded OpenSSL
    Uprobes,
    /// Not at all: method, path and status of requests over TLS are hidden
    #[default]
    Off,
}
