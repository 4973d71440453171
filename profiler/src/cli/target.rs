//! Which server.
//!
//! In: arguments. Out: [`Target`], or [`Server`] where a recording may stand in its place.

use std::num::NonZeroU16;
use std::path::PathBuf;

use clap::Args;
use clap::builder::{PathBufValueParser, TypedValueParser as _};

use super::mistake;

/// Which server. Exactly one way in.
#[derive(Clone, Debug, Default, Args)]
#[group(id = "target", required = true, multiple = false)]
pub struct Target {
    /// Any process of the server: master or worker
    #[arg(long, short, value_name = "PID", value_parser = clap::value_parser!(u32).range(1..))]
    pub pid: Option<u32>,
    /// The server that listens on this TCP port
    #[arg(long, value_name = "PORT")]
    pub port: Option<NonZeroU16>,
    /// The only server of this name
    ///
    /// The name of its software, its application or its command.
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
}

/// A server that runs, or a recording of one. Exactly one way in.
#[derive(Clone, Debug, Default, Args)]
#[group(id = "server", required = true, multiple = false)]
pub struct Server {
    /// A recording, instead of a server that runs; needs no privileges
    #[arg(value_name = "FILE", value_parser = PathBufValueParser::new().try_map(mistake::no_process))]
    pub recording: Option<PathBuf>,
    /// Any process of the server: master or worker
    #[arg(long, short, value_name = "PID", value_parser = clap::value_parser!(u32).range(1..))]
    pub pid: Option<u32>,
    /// The server that listens on this TCP port
    #[arg(long, value_name = "PORT")]
    pub port: Option<NonZeroU16>,
    /// The only server of this name
    ///
    /// The name of its software, its application or its command.
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
}

impl Server {
    /// The server that runs.
    pub fn target(&self) -> Target {
        Target { pid: self.pid, port: self.port, name: self.name.clone() }
    }
}
