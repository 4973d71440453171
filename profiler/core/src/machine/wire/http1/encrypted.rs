//! What a client sends on a connection whose server does the TLS itself: which part is the handshake, and
//! which is requests.
//!
//! In: bytes read from the client, of which the headers of records are known (`redact`). Out: [`Step`]s as of
//! any requests, without heads; bytes of no request have [`Step::outside`]. A request is the application data
//! that the client sends after the server's. More is not known of it. In TLS 1.3 the encrypted end of the
//! client's handshake looks like application data. Only its place and its length distinguish it.

use super::request_head::RequestHead;
use super::{Step, Steps, lay};
use crate::tls::{Content, Header, Next, Partial};

/// Most bytes of an encrypted Finished up to TLS 1.2: CBC with SHA-384 has 96. A longer record in its place
/// is a ClientHello, sent again after a HelloRetryRequest (RFC 8446 appendix D.4). No ClientHello of TLS 1.3
/// is that short.
const FINISHED_MAX_BYTES: u16 = 128;
/// Bytes of the client's Finished in TLS 1.3: 4, a hash of 32 or 48, the type, a tag of 8 or 16 (RFC 8446
/// sections 4.4.4, 5.2).
const FINISHED_BYTES: [u16; 3] = [45, 53, 69];
/// Bytes of the client's Finished up to TLS 1.2, in records with no more padding than they need. They are 16,
/// and what ChaCha20 or CCM-8, AES-GCM, and CBC with its hashes add.
const OLDER_FINISHED_BYTES: [u16; 6] = [32, 40, 64, 68, 80, 96];
/// Bytes of an alert in TLS 1.3: 2, the type, a tag of 8 or 16. No request begins with two bytes.
const ALERT_BYTES: [u16; 2] = [11, 19];
/// Bytes of `100 Continue` with its empty line as one record: 25, a header of 5, and what AES-GCM or ChaCha20
/// add in TLS 1.3 (17) and 1.2 (24, 16). No response is that short.
const INTERIM_BYTES: [u64; 3] = [47, 54, 46];
/// Bytes of a farewell (close_notify) as one record: 2, a header of 5, and the same additions.
const FAREWELL_BYTES: [u64; 3] = [24, 31, 23];
/// Most bytes of a farewell with the ciphers of TLS 1.2 that are no AEAD, and of the FIN behind it.
pub const FAREWELL_MAX_BYTES: u32 = 86;

/// How far the handshake is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Nothing of the client's is encrypted yet.
    Plain,
    /// Encrypted from now on: its Finished is to come.
    Changed,
    /// Encrypted messages of its handshake came (a certificate), and no Finished that is recognized.
    /// `answered`: the server has written since.
    Ending { answered: bool },
    /// Application data are requests.
    Done,
}

/// What a record's payload belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    /// No request.
    Outside,
    /// The request that is being received.
    Request,
}

/// The client's side of one connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Encrypted {
    stage: Stage,
    header: Partial,
    /// Bytes of the record at hand that have not come.
    owed_bytes: u16,
    owner: Owner,
    /// A header was not captured: where records begin is not known until traffic turns.
    lost: bool,
    /// A request is being received.
    open: bool,
    /// Its first record is whole.
    has_record: bool,
    /// The last read held the end of the handshake of TLS 1.3: the server may write its tickets before
    /// anything else.
    before_tickets: bool,
    /// The client has sent an alert, which may be its farewell.
    has_alerted: bool,
    /// What the length of its Finished shows, in the latest TLS or an older one: how much longer a record is
    /// than what it holds.
    finished: Option<Finished>,
    /// OpenSSL's object of the connection; 0: not known.
    pub(super) session: u64,
}

/// What the client's Finished shows of its records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Finished {
    /// TLS 1.3: bytes that a record adds behind its header.
    Latest { added_bytes: u16 },
    /// An older one: most bytes of an alert behind its header.
    Older { alert_bytes: u16 },
}

impl Encrypted {
    /// A connection; `uncertain`: its earlier bytes were not seen, so its handshake is over.
    pub(super) fn new(uncertain: bool) -> Self {
        Self {
            stage: if uncertain { Stage::Done } else { Stage::Plain },
            header: Partial::default(),
            owed_bytes: 0,
            owner: Owner::Outside,
            lost: false,
            open: false,
            has_record: false,
            before_tickets: false,
            has_alerted: false,
            finished: None,
            session: 0,
        }
    }

    /// Most bytes that the client sends without a request: a `KeyUpdate` (older TLS has no such message) and
    /// its farewell. `None`: its cipher is not known, or it pads its records.
    pub(super) fn quiet_bytes(&self) -> Option<u32> {
        /// Bytes of a `KeyUpdate` and of a `close_notify`.
        const MESSAGES: u32 = 5 + 2;
        let header = 5;
        Some(match self.finished? {
            Finished::Latest { added_bytes } => MESSAGES + 2 * (header + u32::from(added_bytes)),
            Finished::Older { alert_bytes } => header + u32::from(alert_bytes),
        })
    }

    /// Whether the first record of the request that is being received is whole.
    pub(super) const fn has_record(&self) -> bool {
        self.open && self.has_record
    }

    /// Whether a request is being received.
    pub(super) const fn in_message(&self) -> bool {
        self.open
    }

    /// Whether a record of the request that is being received is not whole.
    pub(super) fn owes(&self) -> bool {
        self.open && !self.lost && self.owner == Owner::Request && self.owed_bytes > 0
    }

    /// The server wrote `bytes`, the first since the request began. `same_turn`: its thread has waited for
    /// nothing since it read the request. Says whether they are no answer: tickets for later connections,
    /// or `100 Continue`.
    pub(super) fn is_no_answer(&mut self, bytes: u64, same_turn: bool) -> bool {
        let tickets = std::mem::take(&mut self.before_tickets) && same_turn;
        tickets || INTERIM_BYTES.contains(&bytes)
    }

    /// Whether `bytes` that the server wrote after its answer, and after a pause, are its farewell.
    pub(super) fn is_farewell(&self, bytes: u64) -> bool {
        FAREWELL_BYTES.contains(&bytes) || self.has_alerted && bytes <= u64::from(FAREWELL_MAX_BYTES)
    }

    /// The server wrote something.
    pub(super) const fn answered(&mut self) {
        if let Stage::Ending { answered } = &mut self.stage {
            *answered = true;
        }
    }

    /// As [`super::Inbound::push`].
    pub(super) fn push(
        &mut self,
        total_bytes: u64,
        captured: &[u8],
        after_response: bool,
    ) -> Steps<RequestHead> {
        if after_response {
            self.open = false;
            self.resume(captured);
        }
        self.before_tickets &= self.open || self.owed_bytes > 0;
        lay(total_bytes, captured, |rest, captured| self.take(rest, captured))
    }

    /// Traffic has turned, and with it a capture begins: where it begins with a record, records are known
    /// again.
    fn resume(&mut self, captured: &[u8]) {
        if self.lost && crate::tls::begins(captured) {
            (self.lost, self.owed_bytes, self.header) = (false, 0, Partial::default());
        }
    }

    fn take(&mut self, rest: u64, captured: &[u8]) -> Step<RequestHead> {
        if self.lost {
            return self.take_lost(rest, captured);
        }
        if self.owed_bytes > 0 {
            let bytes = rest.min(u64::from(self.owed_bytes));
            self.owed_bytes = self.owed_bytes.saturating_sub(u16::try_from(bytes).unwrap_or(u16::MAX));
            let is_request = self.open && self.owner == Owner::Request;
            self.has_record |= is_request && self.owed_bytes == 0;
            return Step { bytes, ..step(false, is_request) };
        }
        let mut bytes = 0;
        for byte in captured.iter().take(usize::try_from(rest).unwrap_or(usize::MAX)) {
            bytes += 1;
            match self.header.step(*byte) {
                Next::Partial(more) => self.header = more,
                Next::Whole(header) => {
                    self.header = Partial::default();
                    return Step { bytes, ..self.begin(header) };
                }
                Next::Not => {
                    self.lost = true;
                    return self.take_lost(rest, captured);
                }
            }
        }
        // The header continues in the next read, or was not captured.
        self.lost = bytes < rest;
        if self.lost { self.take_lost(rest, captured) } else { Step { bytes, ..step(false, false) } }
    }

    /// Bytes of unknown records. They belong to the request that is being received. If there is none, the
    /// handshake is over and nothing was captured, they begin a new one.
    fn take_lost(&mut self, rest: u64, captured: &[u8]) -> Step<RequestHead> {
        let begins = !self.open && self.stage == Stage::Done && captured.is_empty();
        self.open |= begins;
        self.has_record |= self.open;
        Step { bytes: rest, ..step(begins, self.open) }
    }

    /// A record begins.
    fn begin(&mut self, header: Header) -> Step<RequestHead> {
        self.owed_bytes = header.payload_bytes;
        let is_data = self.is_data(header);
        let begins = is_data && !self.open;
        if begins {
            (self.open, self.has_record) = (true, false);
        }
        self.owner = if is_data { Owner::Request } else { Owner::Outside };
        step(begins, is_data)
    }

    /// Whether a record holds application data; follows the handshake.
    fn is_data(&mut self, Header { content, payload_bytes }: Header) -> bool {
        match (self.stage, content) {
            (Stage::Done, Content::ApplicationData) => {
                let is_alert = !self.open && ALERT_BYTES.contains(&payload_bytes);
                self.has_alerted |= is_alert;
                !is_alert
            }
            (_, Content::Alert) => {
                self.has_alerted = true;
                false
            }
            // The certificate came in one record with what follows it, and was answered.
            (Stage::Ending { answered: true }, Content::ApplicationData) => {
                self.stage = Stage::Done;
                true
            }
            (_, Content::ApplicationData) => {
                self.before_tickets = FINISHED_BYTES.contains(&payload_bytes);
                if self.before_tickets {
                    let added_bytes = if payload_bytes == 45 { 9 } else { 17 };
                    self.finished = Some(Finished::Latest { added_bytes });
                }
                self.stage =
                    if self.before_tickets { Stage::Done } else { Stage::Ending { answered: false } };
                false
            }
            (Stage::Plain, Content::ChangeCipherSpec) => {
                self.stage = Stage::Changed;
                false
            }
            (Stage::Changed, Content::Handshake) if payload_bytes <= FINISHED_MAX_BYTES => {
                self.stage = Stage::Done;
                // An alert has 2 bytes where a Finished has 16. An AEAD adds as much to both, CBC rounds up.
                let alert_bytes = payload_bytes.saturating_sub(16 - 2);
                let is_told = OLDER_FINISHED_BYTES.contains(&payload_bytes);
                self.finished = is_told.then_some(Finished::Older { alert_bytes });
                false
            }
            _ => false,
        }
    }
}

/// A step that begins a request, belongs to one, or to none.
fn step(begins: bool, is_request: bool) -> Step<RequestHead> {
    Step { not_http: is_request, outside: !is_request, ..Step::new(begins) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A record as redaction leaves it.
    fn record(kind: u8, payload_bytes: u16) -> Vec<u8> {
        let [high, low] = payload_bytes.to_be_bytes();
        let mut bytes = vec![kind, 3, 3, high, low];
        bytes.resize(5 + usize::from(payload_bytes), crate::redact::FILLER);
        bytes
    }

    fn records(list: &[(u8, u16)]) -> Vec<u8> {
        list.iter().flat_map(|(kind, payload_bytes)| record(*kind, *payload_bytes)).collect()
    }

    /// Reads that each follow something that the server wrote: how many requests begin in each.
    fn begun(reads: &[&[(u8, u16)]]) -> Vec<usize> {
        let mut encrypted = Encrypted::new(false);
        let read = |list: &&[(u8, u16)]| {
            let bytes = records(list);
            let steps = encrypted.push(bytes.len() as u64, &bytes, true);
            encrypted.answered();
            assert_eq!(steps.iter().map(|step| step.bytes).sum::<u64>(), bytes.len() as u64);
            steps.iter().filter(|step| step.begins).count()
        };
        reads.iter().map(read).collect()
    }

    #[test]
    fn the_handshakes_of_both_versions_are_no_requests() {
        // TLS 1.3: the Finished is encrypted.
        assert_eq!(begun(&[&[(22, 512)], &[(20, 1), (23, 69)], &[(23, 80)], &[(23, 80)]]), [0, 0, 1, 1]);
        // Without ChangeCipherSpec, and with the first request behind it.
        assert_eq!(begun(&[&[(22, 512)], &[(23, 53), (23, 80)], &[(23, 80)]]), [0, 1, 1]);
        // After a HelloRetryRequest.
        assert_eq!(begun(&[&[(22, 512)], &[(20, 1), (22, 600)], &[(23, 69)], &[(23, 80)]]), [0, 0, 0, 1]);
        // TLS 1.2, and a session that is resumed.
        assert_eq!(begun(&[&[(22, 200)], &[(22, 37), (20, 1), (22, 40)], &[(23, 80)]]), [0, 0, 1]);
        assert_eq!(begun(&[&[(22, 400)], &[(20, 1), (22, 40), (23, 69)], &[(23, 80)]]), [0, 1, 1]);
    }

    #[test]
    fn a_client_s_certificate_is_no_request() {
        let apart = &[(20, 1), (23, 900), (23, 281), (23, 69)];
        assert_eq!(begun(&[&[(22, 512)], apart, &[(23, 80)]]), [0, 0, 1]);
        assert_eq!(begun(&[&[(22, 512)], &[(20, 1), (23, 25), (23, 53), (23, 80)]]), [0, 1]);
        // In one record with the Finished, whose length then tells nothing: what follows the server's tickets
        // does.
        assert_eq!(begun(&[&[(22, 512)], &[(20, 1), (23, 1200)], &[(23, 80)]]), [0, 0, 1]);
    }

    #[test]
    fn alerts_and_new_handshakes_are_no_requests() {
        let opening: [&[(u8, u16)]; 2] = [&[(22, 512)], &[(20, 1), (23, 69)]];
        let with = |last: &[(u8, u16)]| *begun(&[opening[0], opening[1], &[(23, 80)], last]).last().unwrap();
        assert_eq!(with(&[(23, 19)]), 0, "close_notify of TLS 1.3");
        assert_eq!(with(&[(21, 26)]), 0, "of TLS 1.2");
        assert_eq!(with(&[(22, 120), (20, 1)]), 0);
        assert_eq!(with(&[(23, 20)]), 1);
    }

    /// Most bytes without a request, by the client's Finished as it ends this handshake.
    fn quiet_bytes(reads: &[&[(u8, u16)]]) -> Option<u32> {
        let mut encrypted = Encrypted::new(false);
        for list in reads {
            let bytes = records(list);
            encrypted.push(bytes.len() as u64, &bytes, true);
            encrypted.answered();
        }
        encrypted.quiet_bytes()
    }

    #[test]
    fn the_cipher_of_the_finished_tells_how_long_farewells_are_at_most() {
        // TLS 1.3 with SHA-256 and with SHA-384 (tags of 16), and with CCM-8.
        let latest = |finished| quiet_bytes(&[&[(22, 512)], &[(20, 1), (23, finished)]]);
        assert_eq!([53, 69, 45].map(latest), [Some(27 + 24), Some(27 + 24), Some(19 + 16)]);
        // Older: ChaCha20, AES-GCM, CBC with SHA-1.
        let older = |finished| quiet_bytes(&[&[(22, 200)], &[(22, 37), (20, 1), (22, finished)]]);
        assert_eq!([32, 40, 64].map(older), [Some(23), Some(31), Some(55)]);
        // A Finished that is padded tells nothing, nor one that was not seen.
        assert_eq!((latest(512), older(128)), (None, None));
        assert_eq!(quiet_bytes(&[&[(22, 512)]]), None);
        assert_eq!(Encrypted::new(true).quiet_bytes(), None);
    }

    #[test]
    fn a_request_is_all_that_comes_before_its_answer_however_it_is_read() {
        let all = records(&[(22, 512), (20, 1), (23, 69), (23, 80), (23, 19), (23, 4_000)]);
        for at_once in [1, 2, 3, 5, 7, 64, 4_800] {
            let mut encrypted = Encrypted::new(false);
            let (mut begun, mut bytes) = (0, 0);
            let mut is_received = false;
            for part in all.chunks(at_once) {
                // Until it has begun there is no request.
                for step in encrypted.push(part.len() as u64, part, !is_received) {
                    assert_eq!(step.outside, !step.not_http);
                    begun += usize::from(step.begins);
                    bytes += if step.outside { 0 } else { step.bytes };
                    is_received |= step.begins;
                }
            }
            assert_eq!(begun, 1, "{at_once}");
            // Bytes of a header that is read in pieces are nobody's.
            let headers = 15;
            let least = 80 + 19 + 4_000;
            assert!((least..=least + headers).contains(&bytes), "{at_once}: {bytes}");
            assert!(encrypted.in_message() && encrypted.has_record() && !encrypted.owes());
        }
    }

    #[test]
    fn a_body_of_which_no_header_is_captured_belongs_to_its_request_and_the_next_one_is_found() {
        let mut encrypted = Encrypted::new(true);
        let first = records(&[(23, 200), (23, 16_000)]);
        let steps = encrypted.push(first.len() as u64 + 30_000, &first[..4_096], true);
        assert_eq!(steps.iter().filter(|step| step.begins).count(), 1);
        assert!(steps.iter().all(|step| !step.outside));
        assert!(encrypted.push(9_000, &[], false).iter().all(|step| !step.begins && !step.outside));
        // The rest of a body that is read after the answer is no request; what begins with a record is one.
        let rest = [crate::redact::FILLER; 900];
        assert!(encrypted.push(900, &rest, true).iter().all(|step| step.outside));
        let next = record(23, 80);
        assert!(encrypted.push(next.len() as u64, &next, true)[0].begins);
        // Of what was not captured nothing else can be known.
        assert!(encrypted.push(90, &[], true)[0].begins);
    }

    #[test]
    fn tickets_and_an_interim_answer_are_no_answer() {
        let mut encrypted = Encrypted::new(false);
        let opening = records(&[(22, 512), (20, 1), (23, 69), (23, 80)]);
        encrypted.push(opening.len() as u64, &opening, true);
        assert!(encrypted.is_no_answer(510, true), "written as soon as the handshake is over");
        assert!(!encrypted.is_no_answer(510, true), "tickets are sent once");
        assert!(encrypted.is_no_answer(47, true), "100 Continue");
        let mut later = Encrypted::new(false);
        later.push(opening.len() as u64, &opening, true);
        assert!(!later.is_no_answer(510, false), "the thread has turned to something else meanwhile");
        let mut apart = Encrypted::new(false);
        for part in [&opening[..517], &opening[517..597], &opening[597..]] {
            apart.push(part.len() as u64, part, true);
        }
        assert!(!apart.is_no_answer(510, true), "tickets were written before the request was read");
    }

    #[test]
    fn a_farewell_of_the_server_is_told_by_its_length() {
        let mut encrypted = Encrypted::new(true);
        assert!([23, 24, 31].iter().all(|bytes| encrypted.is_farewell(*bytes)));
        assert!(!encrypted.is_farewell(69));
        let alert = record(21, 64);
        encrypted.push(alert.len() as u64, &alert, true);
        assert!(encrypted.is_farewell(69) && !encrypted.is_farewell(87), "in answer to the client's");
    }
}
