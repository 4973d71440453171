//! nginx before another server: over TCP or a UNIX socket, in HTTP or the uwsgi protocol.
//!
//! In: the server behind. Out: a recipe: the server first, then nginx, unprivileged and on loopback. nginx's
//! own log is the witness.

use std::process::Command;

use anyhow::Context as _;

use super::tls::{CERTIFICATE, KEY};
use super::{Clients, Line, Listen, Log, Place, Recipe};
use crate::address::Address;
use crate::trace::TracedRequest;

/// Where Debian's package puts it.
const PROGRAM: &str = "/usr/sbin/nginx";

/// How nginx reaches the server behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// Over loopback.
    Tcp,
    /// Over a UNIX socket.
    Unix,
}

/// What nginx speaks with the server behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP.
    Http,
    /// The uwsgi protocol.
    Uwsgi,
}

/// nginx before a server.
#[derive(Clone, Debug)]
pub struct Nginx<R> {
    /// The server behind.
    pub server: R,
    /// How it is reached.
    pub link: Link,
    /// What is spoken.
    pub protocol: Protocol,
    /// Connections that nginx keeps open to it; 0: one for each request.
    pub kept: u32,
    /// It speaks TLS with clients, with the certificate of [`super::tls`].
    pub is_encrypted: bool,
    /// nginx is traced with the server, and its log is the witness.
    pub is_traced: bool,
    /// Further directives of its `location`.
    pub directives: &'static str,
}

impl<R> Nginx<R> {
    /// HTTP, one connection a request.
    pub const fn before(server: R, link: Link) -> Self {
        Self {
            server,
            link,
            protocol: Protocol::Http,
            kept: 0,
            is_encrypted: false,
            is_traced: true,
            directives: "",
        }
    }

    /// This nginx in the uwsgi protocol.
    pub fn in_uwsgi(mut self) -> Self {
        self.protocol = Protocol::Uwsgi;
        self
    }

    /// This nginx, where the server alone is traced, with the server's log as the witness.
    pub fn untraced(mut self) -> Self {
        self.is_traced = false;
        self
    }

    /// This nginx, which speaks TLS with clients; the recipe is one of [`super::tls::Tls::with_files`].
    pub fn in_tls(mut self) -> Self {
        self.is_encrypted = true;
        self
    }

    /// This nginx with further directives for what is passed on.
    pub fn with(mut self, directives: &'static str) -> Self {
        self.directives = directives;
        self
    }

    /// This nginx with so many connections kept.
    pub fn keeping(mut self, connections: u32) -> Self {
        self.kept = connections;
        self
    }
}

/// Whether nginx is there; a test that needs it says so and ends otherwise.
pub fn is_installed() -> bool {
    crate::gate::is_installed(PROGRAM, "nginx")
}

/// Ends a test early where nginx is missing.
#[macro_export]
macro_rules! require_nginx {
    ($value:expr) => {
        if !$crate::server::nginx::is_installed() {
            return $value;
        }
    };
}

/// One line of the log: the client's request, then how long nginx and the server behind took, in seconds with
/// milliseconds; a dash where nothing was asked of a server.
const FORMAT: &str = "$pid\\t$request_method\\t$uri\\t$status\\t$request_time\\t$upstream_response_time";

fn line(text: &str) -> anyhow::Result<Option<Line>> {
    let fields: Vec<&str> = text.split('\t').collect();
    let [pid, method, path, status, whole, behind] = fields.as_slice() else {
        anyhow::bail!("not of our format")
    };
    Ok(Some(Line {
        pid: Some(pid.parse()?),
        method: (*method).to_owned(),
        path: (*path).to_owned(),
        status: status.parse().context("no status")?,
        duration_ns: Some(milliseconds(whole)?),
        behind_ns: milliseconds(behind).ok(),
        ..Line::default()
    }))
}

fn milliseconds(seconds: &str) -> anyhow::Result<u64> {
    let (whole, part) = seconds.split_once('.').context("no fraction")?;
    Ok(whole.parse::<u64>()? * 1_000_000_000 + part.parse::<u64>()? * 1_000_000)
}

impl<R: Recipe> Recipe for Nginx<R> {
    fn name(&self) -> &'static str {
        self.server.name()
    }

    fn about(&self) -> String {
        let Self { server, link, protocol, kept, is_traced, directives, .. } = self;
        let about = server.about();
        format!(
            "{about} behind nginx, {link:?}, {protocol:?}, {kept} connections kept, traced: {is_traced} {directives}"
        )
    }

    fn commands(&self, place: &Place) -> anyhow::Result<Vec<Command>> {
        let behind = match self.link {
            Link::Tcp => place.another_address()?,
            Link::Unix => Address::Unix(place.file("behind.sock")),
        };
        let mut commands = self.server.commands(&place.at(behind.clone()))?;
        let upstream = match &behind {
            Address::Tcp(address) => address.clone(),
            Address::Unix(path) => format!("unix:{}", path.display()),
        };
        let kept = if self.kept > 0 { format!("keepalive {};", self.kept) } else { String::new() };
        let pass = match self.protocol {
            Protocol::Http => "proxy_pass http://behind; proxy_http_version 1.1; \
                               proxy_set_header Connection \"\"; proxy_set_header X-Request-Start \"t=${msec}\";"
                .to_owned(),
            Protocol::Uwsgi => {
                let parameters = [
                    ("QUERY_STRING", "$query_string"),
                    ("REQUEST_METHOD", "$request_method"),
                    ("CONTENT_TYPE", "$content_type"),
                    ("CONTENT_LENGTH", "$content_length"),
                    ("REQUEST_URI", "$request_uri"),
                    ("PATH_INFO", "$document_uri"),
                    ("SERVER_PROTOCOL", "$server_protocol"),
                    ("REMOTE_ADDR", "$remote_addr"),
                    ("SERVER_PORT", "$server_port"),
                    ("SERVER_NAME", "$server_name"),
                ];
                let lines = parameters.map(|(name, value)| format!("uwsgi_param {name} {value};"));
                format!("uwsgi_pass behind; {}", lines.join(" "))
            }
        };
        let directory = place.directory().display();
        let encrypted = if self.is_encrypted {
            let [certificate, key] = [CERTIFICATE, KEY].map(|name| place.file(name));
            let (certificate, key) = (certificate.display(), key.display());
            let protocols = "ssl_protocols TLSv1.2 TLSv1.3";
            format!(" ssl; {protocols}; ssl_certificate {certificate}; ssl_certificate_key {key}")
        } else {
            String::new()
        };
        let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|name| format!("{name}_temp_path {directory}/{name}_temp;"))
            .join(" ");
        let configuration = format!(
            "daemon off; worker_processes 2; pid {directory}/nginx.pid; error_log {directory}/error.log warn;\n\
             events {{ worker_connections 1200; }}\n\
             http {{ log_format witness '{FORMAT}'; access_log {directory}/nginx.log witness; {temporary}\n\
             upstream behind {{ server {upstream}; {kept} }}\n\
             server {{ listen {listen}{encrypted}; client_max_body_size 64m; keepalive_requests 1000;\n\
             location / {{ {pass} {directives} }} }} }}\n",
            listen = place.address,
            directives = self.directives,
        );
        let path = place.file("nginx.conf");
        std::fs::write(&path, configuration)?;
        let mut command = Command::new(PROGRAM);
        command.arg("-c").arg(path).arg("-p").arg(place.directory()).args(["-e", "error.log"]);
        commands.push(command);
        Ok(commands)
    }

    fn inner(&self) -> Option<&dyn Recipe> {
        Some(&self.server)
    }

    fn listen(&self) -> Listen {
        Listen::Ipv4
    }

    fn slots(&self) -> Option<u64> {
        self.server.slots()
    }

    fn log(&self) -> Log {
        if self.is_traced { Log { file: "nginx.log", line } } else { self.server.log() }
    }

    /// Of uWSGI nginx gets no answer then, and gives one of its own.
    fn answers_exceptions(&self) -> bool {
        self.is_traced
    }

    fn traces_front_end(&self) -> bool {
        self.is_traced
    }

    /// From its first read of the request to the last of the response.
    fn logged_ns(&self, request: &TracedRequest) -> Option<u64> {
        if self.is_traced { request.service_ns } else { self.server.logged_ns(request) }
    }

    /// Its clock is read once a turn of its loop and goes by milliseconds.
    fn log_resolution_ns(&self) -> u64 {
        if self.is_traced { 1_000_000 } else { 0 }
    }

    fn clients(&self) -> Clients {
        Clients { keep_alive: "5", kinds: "get=6,head,sized,chunked,expect" }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_both_times_and_a_dash_none() {
        let read = line("7\tGET\t/fast/3\t200\t0.012\t0.010").unwrap().unwrap();
        assert_eq!(
            (read.id(), read.duration_ns, read.behind_ns),
            (Some(3), Some(12_000_000), Some(10_000_000))
        );
        assert_eq!(line("7\tGET\t/x/3\t400\t0.000\t-").unwrap().unwrap().behind_ns, None);
    }
}
