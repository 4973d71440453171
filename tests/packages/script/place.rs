//! A place in which `packaging/install.sh` is run: a release of stand-ins, a prefix, and what is on the PATH.
//!
//! In: the script, a version. Out: commands, and whether one refuses as it should: one sentence, its exit
//! code, all left as it was.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};
use sha2::{Digest as _, Sha256};
use wsgi_trace_test_support::root;

use crate::installed::succeed;

/// What the script needs of the machine, beside one of those that fetch.
const TOOLS: [&str; 12] =
    ["cat", "chmod", "cp", "dirname", "mkdir", "mktemp", "mv", "rm", "rmdir", "sh", "sha256sum", "uname"];

pub(crate) fn script() -> PathBuf {
    root().join("packaging/install.sh")
}

pub(crate) fn on_the_path(name: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?)
        .map(|place| place.join(name))
        .find(|path| path.is_file())
}

/// The stand-in of a program of this version; it fills 200 kB.
pub(crate) fn stand_in(version: &str) -> String {
    format!("#!/bin/sh\necho 'wsgi-trace {version}'\nexit\n{}", "# as long as a program\n".repeat(9_000))
}

/// A release of stand-ins, a prefix, and what runs the script on them.
pub(crate) struct Place {
    pub(crate) directory: tempfile::TempDir,
}

impl Place {
    pub(crate) fn new(version: &str) -> anyhow::Result<Self> {
        let directory = tempfile::tempdir()?;
        // Other users look into it.
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755))?;
        let place = Self { directory };
        for empty in ["release", "prefix", "path"] {
            fs::create_dir(place.at(empty))?;
        }
        fs::copy(script(), place.at("install.sh"))?;
        place.release(version)?;
        Ok(place)
    }

    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn release(&self, version: &str) -> anyhow::Result<()> {
        let mut sums = String::new();
        for machine in ["x86_64", "aarch64"] {
            let (name, content) = (format!("wsgi-trace-{machine}"), stand_in(version));
            sums.push_str(&format!("{:x}  {name}\n", Sha256::digest(&content)));
            fs::write(self.at("release").join(name), content)?;
        }
        fs::write(self.at("release/SHA256SUMS"), sums)?;
        Ok(())
    }

    /// Puts a program before all others on the PATH.
    pub(crate) fn fake(&self, name: &str, body: &str) -> anyhow::Result<()> {
        let path = self.at("path").join(name);
        fs::write(&path, format!("#!/bin/sh\n{body}\n"))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        Ok(())
    }

    /// The script, run by `sh` with these words before it, into the prefix.
    pub(crate) fn command(&self, before: &[&str], arguments: &[&str]) -> Command {
        let mut words = before.iter().copied().chain(["sh"]);
        let mut command = Command::new(words.next().unwrap_or("sh"));
        command.args(words).arg(self.at("install.sh")).arg("--prefix").arg(self.at("prefix")).args(arguments);
        let inherited = std::env::var_os("PATH").unwrap_or_default();
        let places = std::iter::once(self.at("path")).chain(std::env::split_paths(&inherited));
        command
            .env("PATH", std::env::join_paths(places).unwrap_or_default())
            .current_dir(self.directory.path());
        // Nothing that is served here is another's.
        for variable in ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "WSGI_TRACE_FROM"] {
            command.env_remove(variable);
        }
        command
    }

    /// The script on a machine that has what it needs, and these programs.
    pub(crate) fn bare(&self, others: &[&str], arguments: &[&str]) -> anyhow::Result<Command> {
        let places = self.at("bare");
        if places.exists() {
            fs::remove_dir_all(&places)?;
        }
        fs::create_dir(&places)?;
        for name in TOOLS.iter().chain(others) {
            symlink(on_the_path(name).with_context(|| format!("no {name} here"))?, places.join(name))?;
        }
        let mut command = self.command(&[], arguments);
        command.env("PATH", places);
        Ok(command)
    }

    /// Every file and directory below the prefix, with what files hold.
    pub(crate) fn installed(&self) -> anyhow::Result<BTreeMap<PathBuf, Vec<u8>>> {
        let mut found = BTreeMap::new();
        let mut left = vec![self.at("prefix")];
        while let Some(directory) = left.pop() {
            for entry in fs::read_dir(&directory)? {
                let path = entry?.path();
                if path.is_dir() {
                    left.push(path.clone());
                    found.insert(path, Vec::new());
                } else {
                    let content = fs::read(&path)?;
                    found.insert(path, content);
                }
            }
        }
        Ok(found)
    }

    /// The script ends with this code and one sentence that says this, and leaves all as it was.
    pub(crate) fn refuses(&self, command: &mut Command, code: i32, words: &[&str]) -> anyhow::Result<()> {
        let before = self.installed()?;
        let ended = command.output()?;
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        ensure!(ended.status.code() == Some(code), "{} and not {code}: {said}", ended.status);
        ensure!(said.starts_with("install.sh: ") && said.lines().count() == 1, "not one sentence: {said}");
        ensure!(words.iter().all(|word| said.contains(word)), "{words:?} are not said: {said}");
        ensure!(ended.stdout.is_empty(), "{ended:?}");
        ensure!(self.installed()? == before, "something was left or changed: {said}");
        Ok(())
    }

    pub(crate) fn version(&self) -> anyhow::Result<String> {
        Ok(succeed(&mut Command::new(self.at("prefix/bin/wsgi-trace")))?.trim().to_owned())
    }
}

/// Serves the files of a directory until the test program ends.
pub(crate) fn serve(directory: PathBuf) -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    std::thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            // A client that goes away is its own business.
            let _ = answer(&connection, &directory);
        }
    });
    Ok(address)
}

fn answer(mut connection: &TcpStream, directory: &Path) -> std::io::Result<()> {
    let mut lines = BufReader::new(connection).lines();
    let first = lines.next().transpose()?.unwrap_or_default();
    while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
    let name = first.split(' ').nth(1).and_then(|path| path.rsplit('/').next()).unwrap_or_default();
    let (status, content) = match fs::read(directory.join(name)) {
        Ok(content) => ("200 OK", content),
        Err(_) => ("404 Not Found", Vec::new()),
    };
    let length = content.len();
    write!(connection, "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n")?;
    connection.write_all(&content)
}
