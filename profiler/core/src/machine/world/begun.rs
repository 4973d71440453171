//! A connection to a back end, from its connect to its first answer.
//!
//! In: waits and bytes on it. Out: what of the waits was for setting it up, and what for the first answer.

/// A connection that was begun and has not given its first answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Begun {
    /// The request that its thread served: its connection's number and its own; `None`: not known.
    by: Option<(u32, u64)>,
    /// Waits before its first bytes moved.
    connecting_ns: u64,
    /// Waits since then.
    then_ns: u64,
    /// Bytes have moved.
    is_used: bool,
    /// The back end has answered by a single byte.
    has_agreed: bool,
}

/// What bytes on such a connection show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shown {
    /// The request for which it was begun; `None`: not known.
    pub by: Option<(u32, u64)>,
    /// The bytes were the connection's first.
    pub is_first: bool,
    /// Waits for setting it up that were not told before.
    pub connecting_ns: u64,
    /// Waits for its first answer, which this is.
    pub first_answer_ns: Option<u64>,
}

impl Begun {
    /// A connect for this request.
    pub fn new(by: Option<(u32, u64)>) -> Self {
        Self { by, ..Self::default() }
    }

    /// Bytes have moved.
    pub const fn is_used(&self) -> bool {
        self.is_used
    }

    /// A call on it waited.
    pub const fn waits(&mut self, wait_ns: u64) {
        let part = if self.is_used { &mut self.then_ns } else { &mut self.connecting_ns };
        *part = part.saturating_add(wait_ns);
    }

    /// So many bytes moved. `is_answer`: they were read after something was sent. A server that speaks first
    /// greets. One that answers by a single byte has said whether it encrypts: PostgreSQL does so before
    /// anything else, once it has made a process for the connection.
    pub fn moves(&mut self, bytes: i64, is_answer: bool) -> Shown {
        let is_first = !std::mem::replace(&mut self.is_used, true);
        let connecting_ns = if is_first { self.connecting_ns } else { 0 };
        let mut shown = Shown { by: self.by, is_first, connecting_ns, first_answer_ns: None };
        if is_answer {
            let waited_ns = std::mem::take(&mut self.then_ns);
            if bytes == 1 && !self.has_agreed {
                self.has_agreed = true;
                shown.connecting_ns = shown.connecting_ns.saturating_add(waited_ns);
            } else {
                shown.first_answer_ns = Some(waited_ns);
            }
        }
        shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_before_the_first_bytes_are_for_the_connection_and_then_for_the_first_answer() {
        let mut begun = Begun::new(Some((1, 2)));
        begun.waits(30);
        assert_eq!(
            begun.moves(8, false),
            Shown { by: Some((1, 2)), is_first: true, connecting_ns: 30, first_answer_ns: None }
        );
        begun.waits(400);
        let answer = begun.moves(100, true);
        assert_eq!((answer.is_first, answer.connecting_ns, answer.first_answer_ns), (false, 0, Some(400)));
    }

    #[test]
    fn a_greeting_and_one_answer_of_a_single_byte_are_of_the_connection() {
        let mut greeted = Begun::new(None);
        greeted.waits(30);
        greeted.waits(500);
        assert_eq!(greeted.moves(90, false).connecting_ns, 530);
        let mut agreed = Begun::new(None);
        agreed.waits(30);
        assert_eq!(agreed.moves(8, false).connecting_ns, 30);
        agreed.waits(2_000);
        let yes = agreed.moves(1, true);
        assert_eq!((yes.connecting_ns, yes.first_answer_ns), (2_000, None));
        agreed.waits(700);
        let next = agreed.moves(1, true);
        assert_eq!((next.connecting_ns, next.first_answer_ns), (0, Some(700)));
    }
}
