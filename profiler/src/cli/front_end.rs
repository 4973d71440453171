//! The option for what stands before the server.
//!
//! In: `--with-front-end` or `--with-front-end=PID`. Out: [`FrontEnd`].

use clap::Args;

/// What stands before the server.
#[derive(Clone, Copy, Debug, Default, Args)]
pub struct FrontEnd {
    /// Trace the nginx or Apache before the server too
    ///
    /// It is found by its connections, or given by its PID.
    #[arg(
        long,
        value_name = "PID",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "found",
        value_parser = parse
    )]
    pub with_front_end: Option<Which>,
}

/// Which front end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// The one that is found.
    Found,
    /// The one that this process belongs to.
    Pid(u32),
}

fn parse(text: &str) -> Result<Which, String> {
    if text == "found" {
        return Ok(Which::Found);
    }
    match text.parse() {
        Ok(pid) if pid > 0 => Ok(Which::Pid(pid)),
        _ => Err(format!("{text:?} is no process id")),
    }
}
