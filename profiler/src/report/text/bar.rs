//! Bars: a share as a length.
//!
//! In: a ratio of 0 to 1. Out: at most `width` columns of blocks (eighths in Unicode, halves in ASCII); what
//! is not nothing is never drawn as nothing.

use crate::report::escape::Charset;

const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
const HALVES: [&str; 2] = ["", "-"];

/// A bar of `ratio` × `width` columns.
pub(in crate::report) fn bar(ratio: Option<f64>, width: usize, charset: Charset) -> String {
    let (full, parts) = match charset {
        Charset::Unicode => ("█", EIGHTHS.as_slice()),
        Charset::Ascii => ("#", HALVES.as_slice()),
    };
    let ratio = ratio.unwrap_or(0.0).clamp(0.0, 1.0);
    let steps = steps(ratio, width * parts.len());
    let rest = parts.get(steps % parts.len()).copied().unwrap_or_default();
    format!("{}{rest}", full.repeat(steps / parts.len()))
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to a few hundred")]
#[expect(clippy::cast_precision_loss, reason = "a few hundred")]
fn steps(ratio: f64, whole: usize) -> usize {
    let steps = (ratio * whole as f64).round() as usize;
    if ratio > 0.0 { steps.max(1) } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::escape::columns;

    #[test]
    fn a_bar_has_the_length_of_its_share() {
        assert_eq!(bar(Some(0.5), 10, Charset::Unicode), "█████");
        assert_eq!(bar(Some(0.55), 10, Charset::Unicode), "█████▌");
        assert_eq!(bar(Some(0.55), 10, Charset::Ascii), "#####-");
        assert_eq!(bar(Some(1e-6), 10, Charset::Unicode), "▏");
        assert_eq!(bar(Some(0.0), 10, Charset::Unicode), "");
        assert_eq!(bar(None, 10, Charset::Unicode), "");
        assert_eq!(columns(&bar(Some(7.0), 10, Charset::Unicode)), 10);
    }
}
