//! Known words, recognised byte by byte.
//!
//! In: one byte after another. Out: whether what came so far begins, or is, a word of a closed list.

/// Longest known word, in bytes.
const MAX_WORD_BYTES: usize = 20;

/// Methods that are kept: those of RFC 9110, PATCH, and WebDAV's (RFC 4918, 3253, 5323).
pub(super) const METHODS: &[&[u8]] = &[
    b"GET",
    b"HEAD",
    b"POST",
    b"PUT",
    b"DELETE",
    CONNECT,
    b"OPTIONS",
    b"TRACE",
    b"PATCH",
    b"PROPFIND",
    b"PROPPATCH",
    b"MKCOL",
    b"COPY",
    b"MOVE",
    b"LOCK",
    b"UNLOCK",
    b"REPORT",
    b"SEARCH",
    b"PURGE",
];
/// The method whose target is an authority, and after which another protocol is spoken.
pub(super) const CONNECT: &[u8] = b"CONNECT";

/// Names of the headers that frame a message, of the one that says that a response is a stream of events, of
/// the one that names its trace, and of the one that says when a front end had it, in lower case.
pub(super) const HEADERS: &[&[u8]] =
    &[CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING, CONNECTION, EXPECT, TRACE_PARENT, REQUEST_START];
/// See [`HEADERS`].
pub(super) const CONTENT_LENGTH: &[u8] = b"content-length";
/// See [`HEADERS`].
pub(super) const CONTENT_TYPE: &[u8] = b"content-type";
/// See [`HEADERS`].
pub(super) const TRANSFER_ENCODING: &[u8] = b"transfer-encoding";
/// See [`HEADERS`].
pub(super) const CONNECTION: &[u8] = b"connection";
/// See [`HEADERS`].
pub(super) const EXPECT: &[u8] = b"expect";
/// See [`HEADERS`].
pub(super) const TRACE_PARENT: &[u8] = b"traceparent";
/// See [`HEADERS`].
pub(super) const REQUEST_START: &[u8] = b"x-request-start";

/// Values of `Transfer-Encoding` that are kept.
const CODINGS: &[&[u8]] =
    &[b"chunked", b"gzip", b"deflate", b"compress", b"identity", b"x-gzip", b"x-compress"];
/// Values of `Connection` that are kept.
const OPTIONS: &[&[u8]] = &[b"close", b"keep-alive", UPGRADE];
/// The connection option after which another protocol may be spoken.
pub(super) const UPGRADE: &[u8] = b"upgrade";
/// Values of `Expect` that are kept.
const EXPECTATIONS: &[&[u8]] = &[b"100-continue"];

/// Values of a response's `Content-Type` that are kept.
const TYPES: &[&[u8]] = &[b"text/event-stream"];

/// A header whose value is a list of known tokens.
#[derive(Clone, Copy, Debug)]
pub(super) enum List {
    /// `Transfer-Encoding`.
    Codings,
    /// `Connection`.
    Options,
    /// `Expect`.
    Expectations,
    /// `Content-Type` of a response.
    Types,
}

impl List {
    /// The tokens that are kept.
    pub(super) const fn known(self) -> &'static [&'static [u8]] {
        match self {
            Self::Codings => CODINGS,
            Self::Options => OPTIONS,
            Self::Expectations => EXPECTATIONS,
            Self::Types => TYPES,
        }
    }
}

/// The bytes of a word so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Word {
    bytes: [u8; MAX_WORD_BYTES],
    length: u8,
}

impl Word {
    /// A word that begins with `byte`.
    pub(super) fn starting(byte: u8) -> Self {
        let mut word = Self::default();
        word.push(byte);
        word
    }

    /// These bytes in lower case; `None`: they are more than any known word has.
    pub(super) fn of(bytes: &[u8]) -> Option<Self> {
        let mut word = Self::default();
        bytes.iter().all(|byte| word.push(byte.to_ascii_lowercase())).then_some(word)
    }

    /// Adds a byte; `false` if the word is longer than any known one.
    pub(super) fn push(&mut self, byte: u8) -> bool {
        match self.bytes.get_mut(usize::from(self.length)) {
            Some(slot) => {
                *slot = byte;
                self.length = self.length.saturating_add(1);
                true
            }
            None => false,
        }
    }

    /// Whether some word of `list` begins like this.
    pub(super) fn begins_one_of(&self, list: &[&[u8]]) -> bool {
        list.iter().any(|known| known.starts_with(self.as_bytes()))
    }

    /// Whether this is a word of `list`.
    pub(super) fn is_one_of(&self, list: &[&[u8]]) -> bool {
        list.contains(&self.as_bytes())
    }

    /// The bytes so far.
    pub(super) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.length)).unwrap_or_default()
    }
}
