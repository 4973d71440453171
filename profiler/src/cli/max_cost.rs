//! How much of the machine watching may take.
//!
//! In: arguments. Out: [`MaxCost`].

use clap::Args;

use super::help::ADVANCED;

/// How much watching may take.
#[derive(Clone, Copy, Debug, Default, Args)]
pub struct MaxCost {
    /// Take at most this share of the machine's CPUs, and watch less where it would be more: 1%
    ///
    /// On average: what the programs take in the kernel and what this process takes. `serve` leaves out what
    /// it must, in this order: lines of code, system calls (light mode), everything for a while. It says
    /// what and since when, and watches more again when there is room. A trace ends early.
    #[arg(
        id = "max-cost",
        long = "max-cost",
        value_name = "PERCENT",
        value_parser = share,
        help_heading = ADVANCED,
        hide_short_help = true
    )]
    pub ratio: Option<f64>,
}

/// A share in percent, with or without the sign, as a part of 1.
fn share(text: &str) -> Result<f64, String> {
    let number = text.trim().trim_end_matches('%').trim_end();
    let percent: f64 = number.parse().ok().ok_or("is no share in percent, such as 1% or 0.5%")?;
    if (0.1..=100.0).contains(&percent) {
        Ok(percent / 100.0)
    } else {
        Err("must lie between 0.1% and 100% of all CPUs".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_read_in_percent() {
        for (text, expected) in [("1%", Some(0.01)), ("0.5", Some(0.005)), (" 100 % ", Some(1.0))] {
            assert_eq!(share(text).ok(), expected, "{text}");
        }
        for text in ["", "%", "much", "0", "0.05%", "101%", "-1%", "NaN", "inf"] {
            assert!(share(text).is_err(), "{text}");
        }
    }
}
