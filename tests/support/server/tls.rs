//! Servers that do the TLS themselves: any recipe, with a certificate of its own.
//!
//! In: a recipe, and how its server is told of the certificate. Out: a recipe. Certificate and key are made
//! with openssl for each server, in its directory, and go with it.

use std::process::{Command, Stdio};

use anyhow::ensure;

use super::{Place, Recipe};

/// The file of the certificate in the server's directory.
pub const CERTIFICATE: &str = "certificate.pem";
/// The file of its key.
pub const KEY: &str = "key.pem";

/// A server with TLS.
#[derive(Debug)]
pub struct Tls<R> {
    /// Without.
    pub server: R,
    /// Its options for the files of certificate and key; none where its recipe names the files itself.
    pub options: &'static [&'static str],
}

impl<R: Recipe> Tls<R> {
    /// A server whose options are `--certfile` and `--keyfile`.
    pub const fn of(server: R) -> Self {
        Self { server, options: &["--certfile", "--keyfile"] }
    }

    /// A server whose options are `--ssl-certfile` and `--ssl-keyfile`.
    pub const fn of_uvicorn(server: R) -> Self {
        Self { server, options: &["--ssl-certfile", "--ssl-keyfile"] }
    }

    /// A server whose recipe names the files itself: [`CERTIFICATE`] and [`KEY`] in its directory.
    pub const fn with_files(server: R) -> Self {
        Self { server, options: &[] }
    }
}

impl<R: Recipe> Recipe for Tls<R> {
    fn name(&self) -> &'static str {
        self.server.name()
    }

    fn about(&self) -> String {
        format!("{}, TLS", self.server.about())
    }

    fn commands(&self, place: &Place) -> anyhow::Result<Vec<Command>> {
        let files = [place.file(CERTIFICATE), place.file(KEY)];
        let [certificate, key] = &files;
        let made = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"])
            .args(["-days", "2", "-subj", "/CN=localhost", "-out"])
            .arg(certificate)
            .arg("-keyout")
            .arg(key)
            .stdin(Stdio::null())
            .output()?;
        ensure!(made.status.success(), "openssl: {}", String::from_utf8_lossy(&made.stderr));
        let mut commands = self.server.commands(place)?;
        if let Some(server) = commands.first_mut() {
            for (option, file) in self.options.iter().zip(&files) {
                server.arg(option).arg(file);
            }
        }
        Ok(commands)
    }

    fn inner(&self) -> Option<&dyn Recipe> {
        Some(&self.server)
    }

    fn slots(&self) -> Option<u64> {
        self.server.slots()
    }
}
