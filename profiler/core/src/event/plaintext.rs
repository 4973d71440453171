//! What a server's OpenSSL has of a message.
//!
//! In: plaintext records (by `decode`). Out: [`Plaintext`].

use super::Tid;

/// The first bytes of a message on a connection whose server does the TLS itself, as its OpenSSL has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plaintext {
    /// Process.
    pub tgid: Tid,
    /// Thread.
    pub tid: Tid,
    /// OpenSSL's object of the connection, in that process.
    pub session: u64,
    /// From the client (`true`), after it was read; or to it, before it is written.
    pub inbound: bool,
    /// The bytes, redacted.
    pub bytes: Vec<u8>,
}
