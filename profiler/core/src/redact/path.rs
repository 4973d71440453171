//! Redaction of a path that stands alone, without the rest of a request line.
//!
//! In: one byte after another. Out: a verdict for each: segments survive, their parameters and the query do
//! not.

use super::verdict::Verdict;

/// A path that stands alone, with the query that may follow it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Path {
    First,
    Inside,
    /// From a segment's `;` to its end (RFC 3986, 3.3): sessions are named there (`;jsessionid=`).
    Parameters,
    /// Query or fragment.
    Hidden,
}

impl Path {
    /// The next byte; `None`: it is none, nothing more of it is kept.
    pub(super) const fn step(self, byte: u8) -> (Option<Self>, Verdict) {
        match (self, byte) {
            (Self::First, b'/') => (Some(Self::Inside), Verdict::Begin),
            (Self::First, _) => (None, Verdict::Hide),
            (Self::Inside | Self::Parameters, b'?' | b'#') => (Some(Self::Hidden), Verdict::Keep),
            (Self::Inside, b';') => (Some(Self::Parameters), Verdict::Keep),
            (Self::Parameters, b'/') => (Some(Self::Inside), Verdict::Keep),
            (Self::Inside, 0x21..=0x7e | 0x80..) => (Some(Self::Inside), Verdict::Keep),
            (same, _) => (Some(same), Verdict::Hide),
        }
    }
}
