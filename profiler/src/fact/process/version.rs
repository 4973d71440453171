//! Versions of the interpreter and of the server, from names of files; the few settings that a server's file
//! tells.
//!
//! In: mapped files, command line, the target's own file system through `/proc/PID/root`. Out: versions.
//! Links are resolved inside the target's root, so that a container's links cannot lead out of it; nothing is
//! executed.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use profiler_core::server::KINDS;
use profiler_core::server::mod_wsgi::configuration;
use profiler_core::server::uwsgi::ini;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat, openat2};

use super::{Identity, Mapped};
use crate::fact::{Proc, read};

/// Entries of a package directory looked at.
const MAX_ENTRIES: usize = 50_000;

/// Bytes of a configuration file read.
const MAX_CONFIGURATION_BYTES: u64 = 1024 * 1024;

/// Version of Python ("3.11"), if the process runs one.
pub(super) fn python(identity: &Identity, mapped: &Mapped) -> Option<String> {
    let executable = identity.executable.as_deref().unwrap_or_default();
    let names = mapped.names.iter().map(String::as_str).chain(base_name(executable));
    names
        .filter_map(|name| name.strip_prefix("libpython").or_else(|| name.strip_prefix("python")))
        .find_map(leading_version)
        .or_else(|| mapped.python_in_path.clone())
}

fn base_name(path: &str) -> Option<&str> {
    path.rsplit('/').next()
}

/// `3.11` of `3.11.so.1.0`; `None` without a minor version.
pub(in crate::fact) fn leading_version(text: &str) -> Option<String> {
    let (major, rest) = text.split_once('.')?;
    let minor: String = rest.chars().take_while(char::is_ascii_digit).collect();
    let plain = !major.is_empty() && major.chars().all(|digit| digit.is_ascii_digit());
    (plain && !minor.is_empty() && major.len() + minor.len() < 8).then(|| format!("{major}.{minor}"))
}

/// `3.11` of a path with `/python3.11/` in it.
pub(in crate::fact) fn in_path(path: &str) -> Option<String> {
    path.split('/').find_map(|part| leading_version(part.strip_prefix("python")?))
}

/// Version of the server, if it is installed where this process finds its packages.
pub(super) fn server(proc: &Proc, identity: &Identity, mapped: &Mapped) -> Option<String> {
    if mapped.names.iter().any(|name| name.starts_with("mod_wsgi")) {
        let directories = mapped.package_directories.iter().take(64);
        return directories
            .filter_map(|directory| distribution(proc, identity.tgid, directory, "mod_wsgi"))
            .next();
    }
    // gunicorn's process titles hide its command line.
    let started = KINDS.iter().find_map(|kind| kind.distribution(&identity.command_line));
    installed(proc, identity, mapped, started.unwrap_or("gunicorn"))
}

/// Version of a distribution where this process finds its packages.
pub(super) fn installed(proc: &Proc, identity: &Identity, mapped: &Mapped, name: &str) -> Option<String> {
    let python = python(identity, mapped)?;
    let mut directories = mapped.package_directories.clone();
    for prefix in prefixes(proc, identity) {
        for place in [
            format!("{prefix}/lib/python{python}/site-packages"),
            format!("{prefix}/lib64/python{python}/site-packages"),
            format!("{prefix}/local/lib/python{python}/dist-packages"),
            format!("{prefix}/lib/python3/dist-packages"),
        ] {
            if !directories.contains(&place) {
                directories.push(place);
            }
        }
    }
    directories.iter().take(64).find_map(|directory| distribution(proc, identity.tgid, directory, name))
}

/// Installation prefixes that the process may use: of its script, of the script's interpreter, of its own.
fn prefixes(proc: &Proc, identity: &Identity) -> Vec<String> {
    let mut result = Vec::new();
    let mut add = |binary: &str| {
        if let Some((directory, _)) = binary.rsplit_once('/')
            && let Some((prefix, "bin" | "sbin")) = directory.rsplit_once('/')
            && !result.iter().any(|known| known == prefix)
        {
            result.push(prefix.to_owned());
        }
    };
    let cwd = read::link(&proc.of(identity.tgid, "cwd")).unwrap_or_default();
    for argument in identity.command_line.iter().take(8).filter(|argument| argument.contains('/')) {
        let path = if argument.starts_with('/') { argument.clone() } else { format!("{cwd}/{argument}") };
        add(&path);
        if let Some(interpreter) = shebang(proc, identity.tgid, &path) {
            add(&interpreter);
        }
    }
    add(identity.executable.as_deref().unwrap_or_default());
    result
}

/// The interpreter that a script names in its first line.
fn shebang(proc: &Proc, tgid: u32, path: &str) -> Option<String> {
    let mut head = Vec::new();
    open_inside(proc, tgid, path, OFlags::RDONLY)?.take(512).read_to_end(&mut head).ok()?;
    let line = String::from_utf8_lossy(&head).lines().next()?.to_owned();
    let interpreter = line.strip_prefix("#!")?.split_whitespace().next()?.to_owned();
    interpreter.starts_with('/').then_some(interpreter)
}

/// Version in the name of `PACKAGE-VERSION.dist-info` (or `.egg-info`) in a directory of packages, in
/// whichever case.
fn distribution(proc: &Proc, tgid: u32, directory: &str, package: &str) -> Option<String> {
    let directory = open_inside(proc, tgid, directory, OFlags::RDONLY | OFlags::DIRECTORY)?;
    let entries = rustix::fs::Dir::read_from(&directory).ok()?;
    entries.take(MAX_ENTRIES).map_while(Result::ok).find_map(|entry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        let (distribution, version) = name.split_once('-')?;
        if !distribution.eq_ignore_ascii_case(package) {
            return None;
        }
        let version = version.strip_suffix(".dist-info").or_else(|| version.strip_suffix(".egg-info"))?;
        let plain = version.len() <= 32
            && version.starts_with(|digit: char| digit.is_ascii_digit())
            && version.chars().all(|letter| letter.is_ascii_alphanumeric() || ".+-_!".contains(letter));
        plain.then(|| version.split("-py").next().unwrap_or(version).to_owned())
    })
}

/// gunicorn reads `gunicorn.conf.py` in its working directory without being told.
pub(super) fn default_configuration(proc: &Proc, identity: &Identity) -> Option<String> {
    const NAME: &str = "gunicorn.conf.py";
    let cwd = read::link(&proc.of(identity.tgid, "cwd")).ok()?;
    open_inside(proc, identity.tgid, &format!("{cwd}/{NAME}"), OFlags::RDONLY).map(|_| NAME.to_owned())
}

/// What Apache's configuration file (`-f`) says of mod_wsgi; its included files are not read.
pub(super) fn apache_configuration(proc: &Proc, identity: &Identity) -> Vec<(String, String)> {
    let (file, defines) = configuration::of_command_line(&identity.command_line);
    let Some(file) = file.filter(|file| file.starts_with('/')) else { return Vec::new() };
    let mut bytes = Vec::new();
    let Some(file) = open_inside(proc, identity.tgid, file, OFlags::RDONLY) else { return Vec::new() };
    if file.take(MAX_CONFIGURATION_BYTES).read_to_end(&mut bytes).is_err() {
        return Vec::new();
    }
    configuration::read(&String::from_utf8_lossy(&bytes), &defines)
}

/// What the file says that a uWSGI is told to read (`--ini`). A vassal's lies where its emperor looks for it.
/// Otherwise a path that is not whole may have been that of another directory, before `chdir`.
pub(super) fn uwsgi_configuration(proc: &Proc, identity: &Identity) -> Vec<(String, String)> {
    let Some(file) = ini::file_of(&identity.command_line) else { return Vec::new() };
    let path = if file.starts_with('/') {
        Some(file)
    } else {
        let parent = super::command_line(proc, identity.parent_tgid);
        let directory = ini::vassals_of(&parent).filter(|directory| directory.starts_with('/'));
        directory.map(|directory| format!("{directory}/{file}"))
    };
    let Some(path) = path else { return Vec::new() };
    let mut bytes = Vec::new();
    let Some(file) = open_inside(proc, identity.tgid, &path, OFlags::RDONLY) else { return Vec::new() };
    if file.take(MAX_CONFIGURATION_BYTES).read_to_end(&mut bytes).is_err() {
        return Vec::new();
    }
    ini::read(&String::from_utf8_lossy(&bytes)).unwrap_or_default()
}

/// Opens a file of the target by a path in the target's own mount namespace and root.
pub(in crate::fact) fn open_inside(proc: &Proc, tgid: u32, path: &str, flags: OFlags) -> Option<File> {
    let root = proc.of(tgid, "root");
    let root = openat(CWD, &root, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).ok()?;
    // Never waits for the writer of a FIFO.
    let flags = flags | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let descriptor = openat2(&root, Path::new(path), flags, Mode::empty(), resolve).ok()?;
    let file = File::from(descriptor);
    let kind = file.metadata().ok()?.file_type();
    (kind.is_file() || kind.is_dir()).then_some(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_off_names_and_nothing_else_is_taken_for_one() {
        assert_eq!(leading_version("3.11.so.1.0").as_deref(), Some("3.11"));
        assert_eq!(leading_version("3.13t").as_deref(), Some("3.13"));
        assert_eq!(leading_version("3"), None);
        assert_eq!(leading_version("3.so"), None);
        assert_eq!(in_path("/usr/lib/python3.9/lib-dynload/_ssl.so").as_deref(), Some("3.9"));
        assert_eq!(in_path("/usr/lib/python3/dist-packages/x.so"), None);
    }

    fn fixture(script: &str) -> (tempfile::TempDir, Proc) {
        let directory = tempfile::tempdir().expect("directory");
        let root = directory.path().join("proc/7/root");
        std::fs::create_dir_all(root.join("venv/bin")).expect("bin");
        std::fs::create_dir_all(root.join("venv/lib/python3.12/site-packages/gunicorn-25.3.0.dist-info"))
            .expect("packages");
        std::fs::create_dir_all(root.join("opt/tools/bin")).expect("tools");
        std::fs::write(root.join("opt/tools/bin/gunicorn"), script).expect("script");
        let proc = Proc::at(directory.path().join("proc"));
        (directory, proc)
    }

    fn identity(line: &str) -> Identity {
        Identity {
            tgid: 7,
            command_line: line.split(' ').map(str::to_owned).collect(),
            executable: Some("/usr/bin/python3.12".into()),
            ..Identity::default()
        }
    }

    #[test]
    fn gunicorn_is_found_beside_its_interpreter_in_the_target_s_root() {
        let (_directory, proc) = fixture("");
        let identity = identity("/venv/bin/python -m gunicorn");
        assert_eq!(server(&proc, &identity, &Mapped::default()).as_deref(), Some("25.3.0"));
    }

    #[test]
    fn gunicorn_is_found_through_the_first_line_of_its_script() {
        let (_directory, proc) = fixture("#!/venv/bin/python3 -s\nimport gunicorn\n");
        let identity = identity("/usr/bin/python3.12 /opt/tools/bin/gunicorn app:app");
        assert_eq!(server(&proc, &identity, &Mapped::default()).as_deref(), Some("25.3.0"));
    }

    #[test]
    fn a_configuration_file_in_the_working_directory_is_noticed() {
        let (directory, proc) = fixture("");
        let own = directory.path().join("proc/7");
        std::os::unix::fs::symlink("/venv", own.join("cwd")).expect("cwd");
        assert_eq!(default_configuration(&proc, &identity("gunicorn")), None);
        std::fs::write(own.join("root/venv/gunicorn.conf.py"), "workers = 3").expect("configuration");
        assert_eq!(default_configuration(&proc, &identity("gunicorn")).as_deref(), Some("gunicorn.conf.py"));
    }

    #[test]
    fn an_absolute_link_is_resolved_inside_the_target_s_root() {
        let (directory, proc) = fixture("");
        let root = directory.path().join("proc/7/root");
        std::os::unix::fs::symlink("/venv", root.join("current")).expect("link");
        let identity = identity("/current/bin/python -m gunicorn");
        assert_eq!(server(&proc, &identity, &Mapped::default()).as_deref(), Some("25.3.0"));
    }

    #[test]
    fn a_link_that_leads_out_of_the_target_s_root_is_not_followed() {
        let (directory, proc) = fixture("");
        let outside = directory.path().join("outside/lib/python3.12/site-packages/gunicorn-1.2.3.dist-info");
        std::fs::create_dir_all(&outside).expect("outside");
        let root = directory.path().join("proc/7/root");
        std::os::unix::fs::symlink(directory.path().join("outside"), root.join("trap")).expect("link");
        let identity = identity("/trap/bin/python -m gunicorn");
        assert_eq!(server(&proc, &identity, &Mapped::default()), None);
    }
}
