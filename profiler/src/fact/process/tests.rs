//! One process, in a made-up `/proc` and our own.

use std::fs;

use super::*;

fn made_up(tgid: u32, files: &[(&str, &[u8])]) -> (tempfile::TempDir, Proc) {
    let directory = tempfile::tempdir().expect("directory");
    let own = directory.path().join(tgid.to_string());
    fs::create_dir_all(own.join("task/7")).expect("directory");
    for (name, bytes) in files {
        fs::write(own.join(name), bytes).expect("file");
    }
    let proc = Proc::at(directory.path());
    (directory, proc)
}

fn stat(comm: &str, parent: u32) -> Vec<u8> {
    format!("7 ({comm}) S {parent} 7 5 0 -1 4194560 {}", "0 ".repeat(43)).into_bytes()
}

#[test]
fn only_few_environment_variables_are_read_and_only_what_is_understood_of_them() {
    let environ =
        b"PATH=/bin\0SECRET_KEY=hunter2\0GUNICORN_CMD_ARGS=-e TOKEN=hunter2 --threads 4\0WEB_CONCURRENCY=3\0\
                    WEB_CONCURRENCY_TOKEN=hunter2\0LISTEN_FDS=2\0LISTEN_PID=7\0GUNICORN_PID=6\0=\0\xff=\xff\0";
    let (_directory, proc) = made_up(7, &[("stat", &stat("gunicorn", 1)), ("environ", environ)]);
    let seen = process_seen(&proc, 7, &[]).expect("process");
    let expected = [
        ("GUNICORN_CMD_ARGS".to_owned(), "--threads 4".to_owned()),
        ("WEB_CONCURRENCY".to_owned(), "3".to_owned()),
        ("LISTEN_FDS".to_owned(), "2".to_owned()),
        ("GUNICORN_PID".to_owned(), "6".to_owned()),
    ];
    assert_eq!(seen.environment, expected);
    assert!(!format!("{seen:?}").contains("hunter2"));
}

#[test]
fn secrets_in_the_command_line_do_not_become_facts() {
    let line = b"/v/bin/python3\0/v/bin/gunicorn\0-e\0DB_PASSWORD=hunter2\0-w\x004\0app:app\0";
    let (_directory, proc) = made_up(7, &[("stat", &stat("gunicorn", 1)), ("cmdline", line)]);
    let seen = process_seen(&proc, 7, &[]).expect("process");
    assert!(!format!("{seen:?}").contains("hunter2"), "{seen:?}");
    assert!(seen.command_line.contains(&"app:app".to_owned()));
}

#[test]
fn hostile_names_are_taken_as_they_are_and_break_nothing() {
    let (_directory, proc) = made_up(
        7,
        &[
            ("stat", &stat("a) S 99 (b\n", 3)),
            ("cmdline", b"\xff\xfe\0\0x\0\0\0"),
            ("task/7/comm", b"\xffx\n"),
        ],
    );
    let seen = process_seen(&proc, 7, &[]).expect("process");
    assert_eq!(seen.comm, "a) S 99 (b\n");
    assert_eq!(seen.parent_tgid, 3);
    assert_eq!(seen.command_line, ["\u{fffd}\u{fffd}", "", "x"]);
    assert_eq!(seen.threads, [(7, "\u{fffd}x".to_owned())]);
}

#[test]
fn broken_files_are_an_error_and_missing_ones_a_missing_process() {
    let (_directory, proc) = made_up(7, &[("stat", b"7 (x")]);
    assert!(matches!(identity(&proc, 7), Err(FactError::Unreadable { .. })));
    assert!(matches!(identity(&proc, 8), Err(FactError::NoSuchProcess { pid: 8 })));
    assert!(identities(&proc).expect("all others").is_empty());
}

#[test]
fn mapped_files_tell_interpreter_gevent_and_package_directories() {
    let maps = b"55d0-55d1 r-xp 00000000 fe:00 1 /usr/bin/python3.11\n\
        7f00-7f01 r-xp 00000000 fe:00 2 /usr/lib/python3.11/lib-dynload/_ssl.cpython-311-x86_64-linux-gnu.so\n\
        7f01-7f02 r-xp 00000000 fe:00 3 /v/lib/python3.11/site-packages/gevent/_gevent_c_hub_local.cpython-311.so\n\
        7f01-7f02 r-xp 00000000 fe:00 3 /v/lib/python3.11/site-packages/uvloop/loop.cpython-311.so\n\
        7f03-7f04 rw-p 00000000 00:00 0 [heap]\n";
    let (_directory, proc) = made_up(7, &[("stat", &stat("python", 1)), ("maps", maps)]);
    let seen = process_seen(&proc, 7, &[]).expect("process");
    assert_eq!(seen.mapped_files, ["python3.11", "_gevent_c_hub_local.cpython-311.so", "uvloop"]);
    assert_eq!(seen.python_version.as_deref(), Some("3.11"));
    assert_eq!(mapped_files(&proc, 7).package_directories, ["/v/lib/python3.11/site-packages"]);
}

#[test]
fn open_files_tell_gunicorn_s_heartbeat_and_io_uring() {
    let (_directory, proc) = made_up(7, &[("stat", &stat("python", 1))]);
    let open = |target: &str| process_seen(&proc, 7, &[(3, target.to_owned())]).expect("process");
    assert_eq!(open("/tmp/wgunicorn-abc (deleted)").mapped_files, ["wgunicorn"]);
    assert!(open("/tmp/wgunicorn-abc").mapped_files.is_empty());
    assert!(open("anon_inode:[io_uring]").uses_io_uring);
    assert!(!open("anon_inode:[eventpoll]").uses_io_uring);
}

#[test]
fn this_process_describes_itself_and_a_thread_leads_to_it() {
    let (pid, proc) = (std::process::id(), Proc::default());
    let seen = process_seen(&proc, pid, &[]).expect("own process");
    assert_eq!(seen.tgid, pid);
    assert!(seen.threads.iter().any(|(tid, _)| *tid == pid));
    assert!(seen.open_files_limit.is_some() && seen.python_version.is_none());
    for (tid, _) in seen.threads {
        // Other tests' threads may end meanwhile.
        match process_of_thread(&proc, tid) {
            Ok(tgid) => assert_eq!(tgid, pid),
            Err(error) => assert!(matches!(error, FactError::NoSuchProcess { .. })),
        }
    }
}
