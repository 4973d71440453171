//! How long a request was on its way before the server had any of it, by a front end's stamp.
//!
//! In: the value of an `X-Request-Start` header: the wall clock in seconds with a fraction (nginx's `$msec`),
//! or whole milliseconds, microseconds (Apache's `%t`) or nanoseconds, with or without `t=`. Out: [`Stamp`],
//! [`RequestStart`], sums of these. Whoever may talk to the server can send anything: what is no time, or
//! cannot be true, is refused and counted.

use crate::model::latency::Latency;

/// Longest time between stamp and arrival that is believed: no front end waits for longer.
pub const LONGEST_NS: u64 = 600_000_000_000;
/// Digits of the whole number, and its unit in ns: the years 2001 to 2286.
const UNITS: [(u8, u64); 4] = [(10, 1_000_000_000), (13, 1_000_000), (16, 1_000), (19, 1)];
/// Digits of a fraction of seconds.
const MAX_FRACTION_DIGITS: u8 = 9;

/// A stamp as far as it has been read, byte by byte; of `t=1700000000.123` after `t=1700`: four digits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Form {
    /// Bytes of `t=`.
    prefix: u8,
    whole: u8,
    /// Digits of the fraction, once the point has come.
    fraction: Option<u8>,
}

impl Form {
    /// The form with one more byte; `None`: no stamp goes on like this.
    pub const fn push(mut self, byte: u8) -> Option<Self> {
        match (byte, self.fraction) {
            (b't', None) if self.prefix == 0 && self.whole == 0 => self.prefix = 1,
            (b'=', None) if self.prefix == 1 && self.whole == 0 => self.prefix = 2,
            (b'0'..=b'9', None) if self.prefix != 1 && self.whole < UNITS[3].0 => self.whole += 1,
            (b'.', None) if self.whole == UNITS[0].0 => self.fraction = Some(0),
            (b'0'..=b'9', Some(digits)) if digits < MAX_FRACTION_DIGITS => self.fraction = Some(digits + 1),
            _ => return None,
        }
        Some(self)
    }

    /// Nothing has come yet.
    pub const fn is_empty(self) -> bool {
        self.prefix == 0 && self.whole == 0
    }

    /// The unit of the last digit, in ns; `None`: what has come is no whole stamp.
    pub fn unit_ns(self) -> Option<u64> {
        let (_, unit_ns) = UNITS.into_iter().find(|(digits, _)| *digits == self.whole)?;
        match self.fraction {
            None => Some(unit_ns),
            Some(0) => None,
            Some(digits) => Some(10_u64.pow(u32::from(MAX_FRACTION_DIGITS.saturating_sub(digits)))),
        }
    }
}

/// A moment by the front end's wall clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Nanoseconds since 1970.
    pub wall_ns: u64,
    /// What its clock goes by, in ns.
    pub unit_ns: u64,
}

impl Stamp {
    /// Reads a header's value.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let value = value.trim_ascii();
        let form = value.iter().try_fold(Form::default(), |form, byte| form.push(*byte))?;
        let unit_ns = form.unit_ns()?;
        let digits = value.iter().filter(|byte| byte.is_ascii_digit());
        let number = digits.fold(0_u128, |sum, digit| sum * 10 + u128::from(digit & 15));
        let wall_ns = u64::try_from(number.checked_mul(u128::from(unit_ns))?).ok()?;
        Some(Self { wall_ns, unit_ns })
    }
}

/// What a request's head says of its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Said {
    /// Nothing.
    #[default]
    Nothing,
    /// A moment.
    At(Stamp),
    /// Something that is not one moment.
    NotATime,
}

impl Said {
    /// One more header of that name.
    pub fn and(self, value: &[u8]) -> Self {
        match (self, Stamp::parse(value)) {
            (Self::Nothing, Some(stamp)) => Self::At(stamp),
            _ => Self::NotATime,
        }
    }
}

/// How long a request was on its way before its first byte was at the server's socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RequestStart {
    /// Nobody said.
    #[default]
    Unknown,
    /// The time that passed.
    Passed {
        /// From the stamp to the first byte, in ns. As stamps are cut off, up to `unit_ns` too much.
        before_ns: u64,
        /// What the stamp goes by, in ns.
        unit_ns: u64,
    },
    /// What the header says is not one moment.
    NotATime,
    /// The stamp is later than the first byte.
    Ahead,
    /// The stamp is more than [`LONGEST_NS`] earlier.
    TooOld,
}

impl RequestStart {
    /// Of a request whose first byte was there at `arrival_ns` (`CLOCK_MONOTONIC`); `offset_ns` from there to
    /// the wall clock.
    pub fn new(said: Said, arrival_ns: u64, offset_ns: Option<i64>) -> Self {
        let stamp = match said {
            Said::Nothing => return Self::Unknown,
            Said::NotATime => return Self::NotATime,
            Said::At(stamp) => stamp,
        };
        let Some(arrival_ns) = offset_ns.and_then(|offset_ns| arrival_ns.checked_add_signed(offset_ns))
        else {
            return Self::Unknown;
        };
        match arrival_ns.checked_sub(stamp.wall_ns) {
            None => Self::Ahead,
            Some(before_ns) if before_ns > LONGEST_NS => Self::TooOld,
            Some(before_ns) => Self::Passed { before_ns, unit_ns: stamp.unit_ns },
        }
    }

    /// Of two halves of a request, each with the arrival of its first byte: the later stamp; of one that was
    /// passed on as it was, its first arrival.
    pub const fn of_halves(front: (Self, u64), behind: (Self, u64)) -> Self {
        match (front, behind) {
            (_, (Self::Unknown, _)) => front.0,
            (
                (Self::Passed { before_ns, .. }, at_ns),
                (Self::Passed { before_ns: later_ns, .. }, later_at_ns),
            ) if at_ns.saturating_sub(before_ns) >= later_at_ns.saturating_sub(later_ns) => front.0,
            _ => behind.0,
        }
    }

    /// From the stamp to the first byte, in ns, where that is believed.
    pub const fn before_ns(self) -> Option<u64> {
        match self {
            Self::Passed { before_ns, .. } => Some(before_ns),
            _ => None,
        }
    }
}

/// What all requests of a window say.
#[derive(Clone, Debug, Default)]
pub struct RequestStarts {
    /// From the stamp to the first byte at the server's socket.
    pub before: Latency,
    /// The coarsest unit of the stamps, in ns.
    pub unit_ns: u64,
    /// Headers that are not one moment.
    pub not_a_time: u64,
    /// Stamps later than the first byte.
    pub ahead: u64,
    /// Stamps more than [`LONGEST_NS`] earlier.
    pub too_old: u64,
}

impl RequestStarts {
    /// One more request.
    pub fn add(&mut self, start: RequestStart) {
        match start {
            RequestStart::Unknown => {}
            RequestStart::Passed { before_ns, unit_ns } => {
                self.before.record(before_ns);
                self.unit_ns = self.unit_ns.max(unit_ns);
            }
            RequestStart::NotATime => self.not_a_time = self.not_a_time.saturating_add(1),
            RequestStart::Ahead => self.ahead = self.ahead.saturating_add(1),
            RequestStart::TooOld => self.too_old = self.too_old.saturating_add(1),
        }
    }

    /// Headers that give no time, whatever the reason.
    pub const fn refused(&self) -> u64 {
        self.not_a_time.saturating_add(self.ahead).saturating_add(self.too_old)
    }

    /// No request had such a header.
    pub fn is_empty(&self) -> bool {
        self.before.count() == 0 && self.refused() == 0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OFFSET_NS: i64 = 1_700_000_000_000_000_000;

    fn told(value: &str, arrival_ns: u64) -> RequestStart {
        RequestStart::new(Said::Nothing.and(value.as_bytes()), arrival_ns, Some(OFFSET_NS))
    }

    #[test]
    fn a_stamp_is_read_in_the_units_that_front_ends_write() {
        for (value, unit_ns) in [
            ("t=1700000000.250", 1_000_000),
            ("1700000000.25", 10_000_000),
            (" t=1700000000250 ", 1_000_000),
            ("t=1700000000250000", 1_000),
            ("1700000000250000000", 1),
            ("1700000000.250000000", 1),
        ] {
            let expected = Stamp { wall_ns: 1_700_000_000_250_000_000, unit_ns };
            assert_eq!(Stamp::parse(value.as_bytes()), Some(expected), "{value}");
        }
        assert_eq!(Stamp::parse(b"1700000000").map(|stamp| stamp.unit_ns), Some(1_000_000_000));
    }

    #[test]
    fn the_time_before_is_from_the_stamp_to_the_first_byte() {
        let start = told("t=1700000001.500", 1_512_345_678);
        assert_eq!(start, RequestStart::Passed { before_ns: 12_345_678, unit_ns: 1_000_000 });
        assert_eq!(start.before_ns(), Some(12_345_678));
    }

    #[test]
    fn what_is_no_time_or_cannot_be_true_is_refused_and_counted() {
        let mut starts = RequestStarts::default();
        for value in [
            "",
            "t=",
            "now",
            "-1700000000.1",
            "t=t=1700000000",
            "1e9",
            "1700000000.",
            "17000000001",
            "t=0",
            "1700000000.1234567890",
            "99999999999999999999",
            "0x6553f100",
            "1700000000,5",
            "1700000000.1.2",
        ] {
            assert_eq!(told(value, 5), RequestStart::NotATime, "{value}");
            starts.add(told(value, 5));
        }
        for (value, refused) in [
            ("1700000002.000", RequestStart::Ahead),
            ("9999999999999999999", RequestStart::Ahead),
            ("0000000000.000", RequestStart::TooOld),
            ("1699999000.000", RequestStart::TooOld),
        ] {
            assert_eq!(told(value, 1_999_999_999), refused, "{value}");
            starts.add(told(value, 1_999_999_999));
        }
        assert_eq!((starts.not_a_time, starts.ahead, starts.too_old, starts.before.count()), (14, 2, 2, 0));
        let twice = Said::Nothing.and(b"1700000000.1").and(b"1700000000.1");
        assert_eq!(twice, Said::NotATime);
        assert_eq!(RequestStart::new(Said::Nothing.and(b"1700000000"), 5, None), RequestStart::Unknown);
    }

    #[test]
    fn of_two_halves_the_later_stamp_counts_and_of_one_passed_on_its_first_arrival() {
        let passed = |before_ns| RequestStart::Passed { before_ns, unit_ns: 1 };
        // The client's stamp of 100, replaced by the front end's of 500.
        assert_eq!(RequestStart::of_halves((passed(300), 400), (passed(50), 550)), passed(50));
        // One stamp of 100, seen at 400 and passed on until 600.
        assert_eq!(RequestStart::of_halves((passed(300), 400), (passed(500), 600)), passed(300));
        assert_eq!(RequestStart::of_halves((passed(300), 400), (RequestStart::Unknown, 600)), passed(300));
        let unknown = (RequestStart::Unknown, 400);
        assert_eq!(RequestStart::of_halves(unknown, (passed(5), 600)), passed(5));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic_and_what_is_believed_is_bounded(
            value in prop::collection::vec(any::<u8>(), 0..40), arrival_ns: u64, offset_ns: i64,
        ) {
            let start = RequestStart::new(Said::Nothing.and(&value), arrival_ns, Some(offset_ns));
            prop_assert!(start.before_ns().is_none_or(|before_ns| before_ns <= LONGEST_NS));
        }

        #[test]
        fn any_moment_written_in_any_unit_is_read_back(nanos in 1_000_000_000_000_000_000_u64..9_999_999_999_999_999_999, unit in 0_usize..4) {
            let unit_ns = UNITS[unit].1;
            let stamp = Stamp::parse(format!("t={}", nanos / unit_ns).as_bytes());
            prop_assert_eq!(stamp, Some(Stamp { wall_ns: nanos / unit_ns * unit_ns, unit_ns }));
        }
    }
}
