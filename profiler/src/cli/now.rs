//! Where is it now?
//!
//! In: arguments. Out: [`Now`].

use std::time::Duration;

use clap::Args;

use super::duration;
use super::looks::Looks;
use super::{Color, PlainFormat, Target};

/// `now`.
#[derive(Clone, Debug, Default, Args)]
pub struct Now {
    /// Which server.
    #[command(flatten)]
    pub target: Target,
    /// How long to watch before that moment
    ///
    /// Requests that begin meanwhile are known by their heads. Of threads that slept before, as much is known
    /// after the first tenth of a second.
    #[arg(long, short, value_name = "TIME", value_parser = duration::parse, default_value = "2s")]
    pub duration: Duration,
    /// Form of the answer
    #[arg(long, short, value_enum, default_value_t, value_name = "FORM")]
    pub format: PlainFormat,
    /// Colours in the text
    #[arg(long, value_enum, default_value_t, value_name = "WHEN")]
    pub color: Color,
    /// What is looked at of sleeping threads.
    #[command(flatten)]
    pub looks: Looks,
}
