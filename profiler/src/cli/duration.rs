//! Lengths of time as people type them: `30` (seconds), `500ms`, `30s`, `1.5s`, `5m`, `1h`.
//!
//! In: text. Out: a [`Duration`] of at least a millisecond and at most a week.

use std::time::Duration;

/// Longest duration taken.
const LONGEST: Duration = Duration::from_hours(7 * 24);
/// Shortest duration taken.
const SHORTEST: Duration = Duration::from_millis(1);

/// Why a text is not a duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// An unknown unit, or none where one is needed.
    #[error("needs one of the units ms, s, m and h: 500ms, 30s, 5m or 1h")]
    Unit,
    /// The part before the unit is no number.
    #[error("is neither a number of seconds nor one with a unit, such as 500ms, 30s, 5m or 1h")]
    Number,
    /// Too short or too long.
    #[error("must lie between 1ms and 168h")]
    Range,
}

/// Reads how long something lasts. Without a unit it is in seconds, as in other tools.
///
/// # Errors
/// [`DurationError`] when the text is not a number with a known unit or none, or out of range.
pub fn parse(text: &str) -> Result<Duration, DurationError> {
    read(text, Some("s"))
}

/// Reads a limit for response times. It needs a unit: people mean milliseconds by `p99<200`.
///
/// # Errors
/// [`DurationError`] when the text is not a number with a unit, or out of range.
pub fn parse_with_unit(text: &str) -> Result<Duration, DurationError> {
    read(text, None)
}

fn read(text: &str, unit_of_none: Option<&str>) -> Result<Duration, DurationError> {
    let text = text.trim();
    let digits = text.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    if number.is_empty() {
        return Err(DurationError::Number);
    }
    let number: f64 = number.parse().ok().ok_or(DurationError::Number)?;
    let unit = unit_of_none.filter(|_| unit.is_empty()).unwrap_or(unit);
    let seconds = match unit {
        "ms" => number / 1000.0,
        "s" => number,
        "m" => number * 60.0,
        "h" => number * 3600.0,
        _ => return Err(DurationError::Unit),
    };
    Duration::try_from_secs_f64(seconds)
        .ok()
        .filter(|duration| (SHORTEST..=LONGEST).contains(duration))
        .ok_or(DurationError::Range)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_usual_spellings_are_read() {
        assert_eq!(parse("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse("30s"), Ok(Duration::from_secs(30)));
        assert_eq!(parse(" 1.5s "), Ok(Duration::from_millis(1500)));
        assert_eq!(parse("5m"), Ok(Duration::from_mins(5)));
        assert_eq!(parse("1h"), Ok(Duration::from_hours(1)));
    }

    #[test]
    fn a_bare_number_is_seconds_except_in_a_limit() {
        assert_eq!(parse("30"), Ok(Duration::from_secs(30)));
        assert_eq!(parse("0.5"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_with_unit("30"), Err(DurationError::Unit));
        assert_eq!(parse_with_unit("200ms"), Ok(Duration::from_millis(200)));
    }

    #[test]
    fn what_is_wrong_is_said_exactly() {
        assert_eq!(parse("30 minutes"), Err(DurationError::Unit));
        for text in ["", "s", "-5s", "-5", "1.2.3s", "soon"] {
            assert_eq!(parse(text), Err(DurationError::Number), "{text}");
        }
        for text in ["0", "0s", "0.1ms", "169h", "99999999999999999999999999999999h"] {
            assert_eq!(parse(text), Err(DurationError::Range), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "([0-9.]{0,30}(ms|s|m|h)|.*)") {
            let _ = (parse(&text), parse_with_unit(&text));
        }
    }
}
