//! `packaging/install.sh`: what it installs, what it refuses, and that a refusal leaves all as it was.
//!
//! In: the script, small stand-ins for the files of a release, every shell of POSIX that is here; for `make
//! dist-test` the files of `target/dist`, served on the loopback interface. Out: verdicts.

mod place;

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use place::{Place, on_the_path, script, serve, stand_in};
use sha2::{Digest as _, Sha256};
use wsgi_trace_test_support::child::Child;
use wsgi_trace_test_support::{gate, require_bpf, root};

use crate::clean_machine::CleanMachine;
use crate::installed::{Installed, succeed};
use crate::{instructions, program};

const FETCHERS: [&str; 2] = ["curl", "wget"];
const SHELLS: [&[&str]; 4] = [&["sh"], &["dash"], &["bash", "--posix"], &["busybox", "sh"]];
/// Some user who owns nothing.
const USER: &str = "65534";
/// Long enough for a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

#[test]
fn it_installs_replaces_and_removes_under_every_shell() -> anyhow::Result<()> {
    let mut tried = 0;
    for shell in SHELLS {
        let [program, ..] = shell else { continue };
        let Some(program) = on_the_path(program) else {
            gate::note_skip(&format!("{} is not here", shell.join(" ")));
            continue;
        };
        let place = Place::new("1.0")?;
        let run = |arguments: &[&str]| {
            let mut command = Command::new(&program);
            command.args(shell.iter().skip(1)).arg(script()).arg("--prefix").arg(place.at("prefix/deep/er"));
            succeed(command.args(arguments).env("WSGI_TRACE_FROM", place.at("release")))
        };
        let target = place.at("prefix/deep/er/bin/wsgi-trace");
        assert!(run(&[])?.contains("installed wsgi-trace 1.0 as"), "{shell:?}");
        assert_eq!(fs::metadata(&target)?.permissions().mode() & 0o7777, 0o755);
        // Another holds the old one open: it keeps what it has.
        let mut old = fs::File::open(&target)?;
        place.release("2.0")?;
        assert!(run(&[])?.contains("installed wsgi-trace 2.0 as"), "{shell:?}");
        let mut kept = String::new();
        std::io::Read::read_to_string(&mut old, &mut kept)?;
        assert!(kept == stand_in("1.0") && fs::read_to_string(&target)? == stand_in("2.0"), "{shell:?}");
        let files: Vec<_> = place.installed()?.into_keys().filter(|path| path.is_file()).collect();
        assert_eq!(files, [target.as_path()], "{shell:?}");
        assert!(run(&["--uninstall", "--dry-run"])?.contains("would remove") && target.exists());
        assert!(run(&["--uninstall"])?.contains("removed") && !target.exists(), "{shell:?}");
        assert!(run(&["--uninstall"])?.contains("nothing to remove"), "{shell:?}");
        tried += 1;
    }
    assert!(tried > 0, "no shell was tried");
    Ok(())
}

#[test]
fn a_wrong_checksum_or_none_installs_nothing_and_keeps_the_old_version() -> anyhow::Result<()> {
    for with_old in [false, true] {
        let place = Place::new("1.0")?;
        let mut install = place.command(&[], &["--from", "release"]);
        if with_old {
            succeed(&mut install)?;
            place.release("2.0")?;
        }
        for machine in ["x86_64", "aarch64"] {
            let program = place.at("release").join(format!("wsgi-trace-{machine}"));
            fs::write(&program, stand_in("2.0").replacen("as long", "as wrong", 1))?;
        }
        let found = format!("{:x}", Sha256::digest(stand_in("2.0").replacen("as long", "as wrong", 1)));
        place.refuses(&mut install, 6, &["checksum", &found, "nothing was installed"])?;
        fs::write(place.at("release/SHA256SUMS"), "0000  install.sh\n")?;
        place.refuses(&mut install, 6, &["no checksum of wsgi-trace-"])?;
        if with_old {
            assert_eq!(place.version()?, "wsgi-trace 1.0");
        }
    }
    Ok(())
}

#[test]
fn a_file_that_is_not_there_is_named() -> anyhow::Result<()> {
    let place = Place::new("1.0")?;
    place.refuses(&mut place.command(&[], &["--from", "nowhere"]), 5, &["nowhere", "SHA256SUMS"])?;
    let address = serve(place.at("release"))?;
    let closed = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    fs::remove_file(place.at("release/wsgi-trace-x86_64"))?;
    fs::remove_file(place.at("release/wsgi-trace-aarch64"))?;
    place.refuses(&mut place.command(&[], &["--from", "release"]), 5, &["no file wsgi-trace-"])?;
    for fetcher in FETCHERS {
        if on_the_path(fetcher).is_none() {
            gate::note_skip(&format!("{fetcher} is not here"));
            continue;
        }
        let there = format!("http://{address}");
        place.refuses(&mut place.bare(&[fetcher], &["--from", &there])?, 5, &[&there, "/wsgi-trace-"])?;
        // Nothing listens there any more.
        let nobody = format!("http://{closed}/");
        place.refuses(&mut place.bare(&[fetcher], &["--from", &nobody])?, 5, &[&nobody, "SHA256SUMS"])?;
    }
    Ok(())
}

#[test]
fn either_fetcher_suffices_and_without_both_it_says_so() -> anyhow::Result<()> {
    let place = Place::new("1.0")?;
    let there = format!("http://{}/a/b", serve(place.at("release"))?);
    for fetcher in FETCHERS {
        if on_the_path(fetcher).is_none() {
            gate::note_skip(&format!("{fetcher} is not here"));
            continue;
        }
        succeed(&mut place.bare(&[fetcher], &["--from", &there])?)?;
        assert_eq!(place.version()?, "wsgi-trace 1.0", "{fetcher}");
        fs::remove_file(place.at("prefix/bin/wsgi-trace"))?;
    }
    place.refuses(&mut place.bare(&[], &["--from", &there])?, 4, &["neither curl nor wget"])?;
    let mut without_sums = place.bare(&[], &["--from", "release"])?;
    fs::remove_file(place.at("bare/sha256sum"))?;
    place.refuses(&mut without_sums, 4, &["sha256sum"])
}

#[test]
fn another_machine_or_system_is_named() -> anyhow::Result<()> {
    let place = Place::new("1.0")?;
    let mut install = place.command(&[], &["--from", "release"]);
    place.fake("uname", "case $1 in -s) echo Linux ;; *) echo riscv64 ;; esac")?;
    place.refuses(&mut install, 3, &["riscv64", "x86_64 and aarch64"])?;
    place.fake("uname", "case $1 in -s) echo Darwin ;; *) echo arm64 ;; esac")?;
    place.refuses(&mut install, 3, &["Linux alone", "Darwin"])?;
    // Each machine gets the file of its architecture.
    for machine in ["x86_64", "aarch64"] {
        place.fake("uname", &format!("case $1 in -s) echo Linux ;; *) echo {machine} ;; esac"))?;
        let said = succeed(&mut place.command(&[], &["--from", "release", "--dry-run"]))?;
        assert!(said.contains(&format!("release/wsgi-trace-{machine} as")), "{said}");
    }
    Ok(())
}

#[test]
fn a_place_that_cannot_be_written_is_refused_before_anything_is_fetched() -> anyhow::Result<()> {
    let place = Place::new("1.0")?;
    succeed(&mut place.command(&[], &["--from", "release"]))?;
    fs::set_permissions(place.at("prefix/bin"), fs::Permissions::from_mode(0o555))?;
    // Root may write where the mode says no.
    let is_root = rustix::process::geteuid().is_root();
    let other: &[&str] =
        if is_root { &["setpriv", "--reuid", USER, "--regid", USER, "--clear-groups"] } else { &[] };
    for arguments in [&["--from", "http://127.0.0.1:9"][..], &["--uninstall"]] {
        let mut command = place.command(other, arguments);
        place.refuses(&mut command, 7, &["may not be written", "--prefix"])?;
    }
    fs::set_permissions(place.at("prefix/bin"), fs::Permissions::from_mode(0o755))?;
    fs::remove_file(place.at("prefix/bin/wsgi-trace"))?;
    fs::create_dir(place.at("prefix/bin/wsgi-trace"))?;
    place.refuses(&mut place.command(&[], &["--from", "release"]), 7, &["is a directory"])?;
    fs::remove_dir(place.at("prefix/bin/wsgi-trace"))?;
    fs::remove_dir(place.at("prefix/bin"))?;
    fs::write(place.at("prefix/bin"), "")?;
    place.refuses(&mut place.command(&[], &["--from", "release"]), 7, &["is not a directory"])
}

/// Runs the script on a file system of this mount's own, which is full once a program is half there; what is
/// left is listed.
const FULL: &str = r#"
mount -t tmpfs -o size=128k none "$1"
mkdir "$1/bin" && echo old >"$1/bin/wsgi-trace"
shift && code=0
"$@" || code=$?
cd "$PREFIX" && find . -type f -exec cat {} + && find . | sort
exit "$code""#;

#[test]
fn a_full_disk_leaves_the_old_version_and_nothing_else() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let place = Place::new("1.0")?;
    let there = format!("http://{}", serve(place.at("release"))?);
    let sources = [("cp", "release"), ("curl", there.as_str()), ("wget", there.as_str())];
    for (fetcher, from) in sources {
        if on_the_path(fetcher).is_none() {
            gate::note_skip(&format!("{fetcher} is not here"));
            continue;
        }
        let others: &[&str] = if fetcher == "cp" { &[] } else { &[fetcher] };
        let install = place.bare(others, &["--from", from])?;
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "bash", "-euc", FULL, "bash"]);
        command.arg(place.at("prefix")).arg("env").arg(format!("PATH={}", place.at("bare").display()));
        command.arg(install.get_program()).args(install.get_args());
        let ended = command.env("PREFIX", place.at("prefix")).current_dir(place.directory.path()).output()?;
        let said = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(7), "{fetcher}: {ended:?}");
        assert!(said.contains("cannot be written") && said.lines().count() == 1, "{fetcher}: {said}");
        let left = String::from_utf8_lossy(&ended.stdout);
        assert_eq!(left, "old\n.\n./bin\n./bin/wsgi-trace\n", "{fetcher}");
    }
    Ok(())
}

#[test]
fn a_dry_run_compares_and_changes_nothing() -> anyhow::Result<()> {
    let place = Place::new("1.0")?;
    let temporary = place.at("temporary");
    fs::create_dir(&temporary)?;
    let mut dry = place.command(&[], &["--from", "release", "--dry-run"]);
    dry.env("TMPDIR", &temporary);
    let said = succeed(&mut dry)?;
    assert!(said.starts_with("would install release/wsgi-trace-"), "{said}");
    assert!(place.installed()?.is_empty());
    fs::write(place.at("release/SHA256SUMS"), "")?;
    place.refuses(&mut dry, 6, &["no checksum"])?;
    assert!(fs::read_dir(&temporary)?.next().is_none(), "something was left");
    Ok(())
}

#[test]
fn what_does_not_run_here_does_not_replace_what_does() -> anyhow::Result<()> {
    let place = Place::new("1.0")?;
    let mut install = place.command(&[], &["--from", "release"]);
    succeed(&mut install)?;
    place.release("2.0'; echo 'no such instruction' >&2; exit 132; echo '")?;
    place.refuses(&mut install, 8, &["does not run here", "no such instruction"])?;
    assert_eq!(place.version()?, "wsgi-trace 1.0");
    Ok(())
}

#[test]
fn a_command_line_that_says_no_place_or_nothing_known_is_refused() -> anyhow::Result<()> {
    let place = Place::new("1.0")?;
    for (arguments, words) in [
        (&[][..], &["--from", "no public place"][..]),
        (&["--from"], &["--from needs a value"]),
        (&["--from", "ftp://127.0.0.1/"], &["ftp://127.0.0.1/", "https://"]),
        (&["--frm", "release"], &["--frm", "--help"]),
    ] {
        place.refuses(&mut place.command(&[], arguments), 2, words)?;
    }
    let help = succeed(&mut place.command(&[], &["--help"]))?;
    for word in ["--from", "--prefix", "--uninstall", "--dry-run", "WSGI_TRACE_FROM", "Exit codes"] {
        assert!(help.contains(word), "{word}");
    }
    Ok(())
}

#[test]
fn an_interrupted_run_leaves_nothing() -> anyhow::Result<()> {
    let place = Place::new("1.0")?;
    if on_the_path("curl").is_none() {
        gate::note_skip("curl is not here");
        return Ok(());
    }
    // A server that takes connections and says nothing.
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let there = format!("http://{}", listener.local_addr()?);
    for (signal, code) in [("INT", 130), ("TERM", 143), ("HUP", 129)] {
        // A shell in the background hands on that it ignores some, and then the script cannot heed them.
        let mut install = place.command(&["env", "--default-signal=HUP,INT,TERM"], &["--from", &there]);
        let mut child = Child::start(install.stderr(Stdio::null()), "the script")?;
        let _silent = listener.accept()?;
        assert!(!place.installed()?.is_empty(), "it makes its directory first");
        // As a terminal does: to all of its group.
        succeed(Command::new("kill").args([&format!("-{signal}"), "--", &format!("-{}", child.pid())]))?;
        assert_eq!(child.wait(LIMIT)?.code(), Some(code), "{signal}");
        assert!(place.installed()?.is_empty(), "{signal}: something was left");
    }
    Ok(())
}

#[test]
fn a_script_that_was_cut_on_its_way_does_nothing() -> anyhow::Result<()> {
    let place = Place::new("1.0")?;
    let whole = fs::read_to_string(script())?;
    let cut = place.at("cut.sh");
    for (end, _) in whole.match_indices('\n').step_by(3) {
        let Some(part) = whole.get(..end).filter(|part| !part.contains("\nmain \"$@\"")) else { continue };
        fs::write(&cut, part)?;
        let mut command = Command::new("sh");
        command.arg(&cut).args(["--from", "release", "--prefix"]).arg(place.at("prefix"));
        let ended = command.current_dir(place.directory.path()).output()?;
        assert!(ended.stdout.is_empty() && place.installed()?.is_empty(), "cut at {end}: {ended:?}");
    }
    Ok(())
}

/// As README.md and docs/install.md say, but from an address.
#[test]
#[ignore = "make dist-test"]
fn the_script_installs_the_release_from_an_address_and_removes_it() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let machine = CleanMachine::start()?;
    let address = serve(root().join("target/dist"))?;
    let given = machine.shared().join("install.sh");
    fs::copy(root().join("target/dist/install.sh"), &given)?;
    let run = |line: &str| {
        let line = line
            .replace("sudo ", "")
            .replace("target/dist/install.sh", &given.display().to_string())
            .replace("--from target/dist", &format!("--from http://{address}"));
        succeed(&mut machine.command(&["bash", "-euo", "pipefail", "-c", &line]))
    };
    let is_there = || run("ls -A /usr/local/bin | grep -c wsgi-trace || true");
    let readme = instructions("install.sh")?;
    assert!(readme.contains("target/dist/install.sh --from target/dist "), "{readme}");
    let installed =
        concat!("installed wsgi-trace ", env!("CARGO_PKG_VERSION"), " as /usr/local/bin/wsgi-trace");
    let said = run(&readme)?;
    assert!(said.contains(installed), "{said}");
    let sum = |path: &Path| run(&format!("sha256sum <'{}'", path.display()));
    assert_eq!(sum(Path::new("/usr/local/bin/wsgi-trace"))?, sum(&program())?);
    Installed::on(&machine).must_work()?;

    // The page's lines: a dry run, over itself, away.
    let page = fs::read_to_string(root().join("docs/install.md"))?;
    let lines = page.split("```sh dist\n").nth(1).and_then(|rest| rest.split("```").next());
    let lines: Vec<&str> = lines.context("docs/install.md has lost its commands")?.lines().collect();
    let [dry, install, uninstall] = lines.as_slice() else { anyhow::bail!("{lines:?}") };
    assert!(run(dry)?.contains("would install") && is_there()?.trim() == "1", "{dry}");
    assert!(run(install)?.contains(installed) && is_there()?.trim() == "1", "{install}");
    assert!(run(uninstall)?.contains("removed") && is_there()?.trim() == "0", "{uninstall}");
    Ok(())
}
