//! Where the agent listens, and who may ask.
//!
//! In: `--listen`, `--token-file`, sockets that systemd hands over. Out: a bound listener and a rule of
//! access. Metrics and reports name paths of the application: beyond this machine nobody gets them without a
//! token, unless the administrator has opened the socket.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use listenfd::ListenFd;
use subtle::ConstantTimeEq as _;

/// Longest token file.
const LONGEST_TOKEN_BYTES: u64 = 4096;
/// Shortest token.
const SHORTEST_TOKEN_BYTES: usize = 16;

/// Why nobody can be listened to.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Others could connect, and no token is asked for.
    #[error(
        "{address} can be reached from other machines, and reports name paths of the application. Give --token-file \
         FILE with a token that clients send (Authorization: Bearer ...), or listen on 127.0.0.1"
    )]
    NeedsToken {
        /// The address.
        address: SocketAddr,
    },
    /// The port is taken, or may not be had.
    #[error("cannot listen on {address}: {source}; choose another address with --listen")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The socket that systemd handed over is none that can be used.
    #[error(
        "the socket that was handed over cannot be listened on: {0}; it must be a stream socket that listens"
    )]
    HandedOver(io::Error),
    /// The token file cannot be used.
    #[error("{} cannot be used as token file: {reason}", path.display())]
    Token {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

/// What clients have to send.
pub struct Token(Vec<u8>);

impl Token {
    /// Reads the first line of a file.
    ///
    /// # Errors
    /// If it cannot be read, others may read it, or the token is too short.
    pub fn read(path: &Path) -> Result<Self, ListenError> {
        use std::io::Read as _;
        use std::os::unix::fs::PermissionsExt as _;
        let refuse = |reason: String| ListenError::Token { path: path.to_owned(), reason };
        let file = std::fs::File::open(path).map_err(|error| refuse(error.to_string()))?;
        let mode = file.metadata().map_err(|error| refuse(error.to_string()))?.permissions().mode();
        if mode & 0o007 != 0 {
            return Err(refuse("every user may read or write it; chmod 600 it".to_owned()));
        }
        let mut text = String::new();
        file.take(LONGEST_TOKEN_BYTES)
            .read_to_string(&mut text)
            .map_err(|error| refuse(error.to_string()))?;
        let token = text.lines().next().unwrap_or_default().trim();
        if token.len() < SHORTEST_TOKEN_BYTES {
            return Err(refuse(format!("its first line has fewer than {SHORTEST_TOKEN_BYTES} characters")));
        }
        Ok(Self(token.as_bytes().to_vec()))
    }

    /// Whether an `Authorization` header holds it. Takes the same time for every wrong token of its length.
    pub fn is_in(&self, authorization: Option<&[u8]>) -> bool {
        let Some(value) = authorization else { return false };
        let Some((scheme, token)) = value.split_first_chunk::<7>() else { return false };
        scheme.eq_ignore_ascii_case(b"bearer ") && bool::from(token.trim_ascii().ct_eq(&self.0))
    }
}

/// Who may ask.
pub enum Access {
    /// Whoever has the token.
    Token(Token),
    /// Whoever is on this machine: requests must name it, so that no page of another host can be made to ask.
    Local,
    /// Whoever reaches the socket: the administrator has opened it.
    HandedOver,
}

impl Access {
    /// Whether a request may be answered; otherwise with what status, and why not.
    ///
    /// # Errors
    /// Status and sentence of the refusal.
    pub fn check(&self, authorization: Option<&[u8]>, host: Option<&str>) -> Result<(), (u16, &'static str)> {
        match self {
            Self::HandedOver => Ok(()),
            Self::Token(token) if token.is_in(authorization) => Ok(()),
            Self::Token(_) => Err((401, "a token is needed: Authorization: Bearer ...")),
            Self::Local if host.is_none_or(is_local) => Ok(()),
            Self::Local => Err((421, "this agent answers to localhost and 127.0.0.1 alone")),
        }
    }
}

/// Whether a `Host` header names this machine by its loopback.
fn is_local(host: &str) -> bool {
    if let Ok(address) = host.parse::<SocketAddr>() {
        return address.ip().is_loopback();
    }
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|digit| digit.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// A socket that listens.
#[derive(Debug)]
pub enum Socket {
    /// TCP.
    Tcp(TcpListener),
    /// A UNIX socket; only handed over.
    Unix(UnixListener),
}

impl Socket {
    /// Its address, for people.
    pub fn address(&self) -> String {
        match self {
            Self::Tcp(listener) => {
                let any = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
                format!("http://{}/", listener.local_addr().unwrap_or(any))
            }
            Self::Unix(_) => "the socket that was handed over".to_owned(),
        }
    }
}

/// Takes the socket that systemd hands over, or binds the address.
///
/// # Errors
/// [`ListenError`]: each names what to change.
pub fn open(address: SocketAddr, token: Option<Token>) -> Result<(Socket, Access), ListenError> {
    let mut handed_over = ListenFd::from_env();
    if handed_over.len() > 0 {
        let tcp = handed_over.take_tcp_listener(0);
        let socket = match tcp {
            Ok(Some(listener)) => Socket::Tcp(listener),
            _ => match handed_over.take_unix_listener(0).map_err(ListenError::HandedOver)? {
                Some(listener) => Socket::Unix(listener),
                None => return Err(ListenError::HandedOver(io::ErrorKind::NotConnected.into())),
            },
        };
        return Ok((socket, token.map_or(Access::HandedOver, Access::Token)));
    }
    let is_loopback = match address.ip() {
        IpAddr::V4(address) => address.is_loopback(),
        IpAddr::V6(address) => address == Ipv6Addr::LOCALHOST,
    };
    let access = match token {
        Some(token) => Access::Token(token),
        None if is_loopback => Access::Local,
        None => return Err(ListenError::NeedsToken { address }),
    };
    let listener = TcpListener::bind(address).map_err(|source| ListenError::Bind { address, source })?;
    Ok((Socket::Tcp(listener), access))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn token() -> Token {
        Token(b"0123456789abcdef".to_vec())
    }

    #[test]
    fn only_the_whole_token_opens() {
        for (header, opens) in [
            (Some(&b"Bearer 0123456789abcdef"[..]), true),
            (Some(b"bearer 0123456789abcdef "), true),
            (Some(b"Bearer 0123456789abcde"), false),
            (Some(b"Bearer 0123456789abcdef0"), false),
            (Some(b"Basic 0123456789abcdef"), false),
            (Some(b"Bearer"), false),
            (Some(b""), false),
            (None, false),
        ] {
            assert_eq!(token().is_in(header), opens, "{header:?}");
        }
    }

    #[test]
    fn request_made_through_another_host_s_name_is_refused() {
        for (host, answered) in [
            (Some("127.0.0.1:9750"), true),
            (Some("localhost:9750"), true),
            (Some("LOCALHOST"), true),
            (Some("[::1]:9750"), true),
            (Some("[::1]"), true),
            (None, true),
            (Some("evil.example:9750"), false),
            (Some("127.0.0.1.evil.example"), false),
            (Some("192.0.2.1:9750"), false),
        ] {
            assert_eq!(Access::Local.check(None, host).is_ok(), answered, "{host:?}");
        }
    }

    #[test]
    fn address_that_others_can_reach_is_refused_without_a_token() {
        let refused = open(SocketAddr::from(([0, 0, 0, 0], 0)), None).err().unwrap();
        assert!(refused.to_string().contains("--token-file"), "{refused}");
        assert!(open(SocketAddr::from(([0, 0, 0, 0], 0)), Some(token())).is_ok());
        let (socket, _) = open(SocketAddr::from(([127, 0, 0, 1], 0)), None).unwrap();
        let Socket::Tcp(listener) = &socket else { panic!("{socket:?}") };
        let taken = open(listener.local_addr().unwrap(), None).err().unwrap();
        assert!(taken.to_string().contains("choose another address with --listen"), "{taken}");
    }

    #[test]
    fn token_file_that_everybody_reads_or_that_is_short_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        let refused = |text: &str, mode: u32| {
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            Token::read(&path).err().map(|error| error.to_string())
        };
        assert!(refused("0123456789abcdef\n", 0o644).unwrap().contains("chmod 600"));
        assert!(refused("short\n", 0o600).unwrap().contains("fewer than 16"));
        assert_eq!(refused("0123456789abcdef\nmore\n", 0o640), None);
        std::fs::remove_file(&path).unwrap();
        assert!(Token::read(&path).is_err());
    }
}
