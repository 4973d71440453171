//! Apache as a front end (mod_proxy) before another server.
//!
//! In: the server behind. Out: a recipe: the server first, then Apache on loopback. Apache's own log is the
//! witness.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use super::{Clients, Line, Listen, Log, Place, Recipe, mod_wsgi};
use crate::address::Address;
use crate::trace::TracedRequest;

/// Where Debian's package puts it.
const PROGRAM: &str = "/usr/sbin/apache2";
/// Its modules.
const MODULES: &str = "/usr/lib/apache2/modules";

/// Apache before a server, in HTTP over loopback, with connections kept.
#[derive(Clone, Debug)]
pub struct Apache<R> {
    /// The server behind.
    pub server: R,
}

/// Apache passes everything on.
fn line(text: &str) -> anyhow::Result<Option<Line>> {
    Ok(mod_wsgi::access_line(text)?.map(|line| Line { behind_ns: line.duration_ns, ..line }))
}

/// Whether Apache is there; a test that needs it says so and ends otherwise.
pub fn is_installed() -> bool {
    crate::gate::is_installed(PROGRAM, "Apache")
}

/// Ends a test early where Apache is missing.
#[macro_export]
macro_rules! require_apache {
    ($value:expr) => {
        if !$crate::server::apache::is_installed() {
            return $value;
        }
    };
}

impl<R: Recipe> Recipe for Apache<R> {
    fn name(&self) -> &'static str {
        self.server.name()
    }

    fn about(&self) -> String {
        format!("{} behind Apache", self.server.about())
    }

    fn commands(&self, place: &Place) -> anyhow::Result<Vec<Command>> {
        // Apache's children run as nobody.
        std::fs::set_permissions(place.directory(), PermissionsExt::from_mode(0o777))?;
        let behind = place.another_address()?;
        let mut commands = self.server.commands(&place.at(behind.clone()))?;
        let Address::Tcp(upstream) = &behind else { anyhow::bail!("not over TCP") };
        let directory = place.directory().display();
        let modules = ["mpm_event", "authz_core", "proxy", "proxy_http"]
            .map(|name| format!("LoadModule {name}_module {MODULES}/mod_{name}.so"))
            .join("\n");
        let configuration = format!(
            "{modules}\nServerRoot {directory}\nDefaultRuntimeDir {directory}\nPidFile {directory}/apache.pid\n\
             ServerName localhost\nListen {listen}\nUser nobody\nGroup nogroup\nErrorLog {directory}/error.log\n\
             LogFormat \"{format}\" witness\nCustomLog {directory}/apache.log witness\n\
             ProxyPass / http://{upstream}/\n",
            listen = place.address,
            format = mod_wsgi::FORMAT,
        );
        let path = place.file("apache.conf");
        std::fs::write(&path, configuration)?;
        let mut command = Command::new(PROGRAM);
        command.arg("-f").arg(path).arg("-DFOREGROUND");
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
        Log { file: "apache.log", line }
    }

    /// From the request line to the end of the response.
    fn logged_ns(&self, request: &TracedRequest) -> Option<u64> {
        request.service_ns
    }

    fn clients(&self) -> Clients {
        Clients { keep_alive: "5", kinds: "get=6,head,sized,chunked,expect" }
    }
}
