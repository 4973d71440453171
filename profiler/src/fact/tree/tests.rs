//! Trees, in made-up `/proc` directories: what belongs to a server and what only started it.

use std::fs;
use std::os::unix::fs::symlink;

use super::*;

/// A made-up process.
struct Made<'a> {
    tgid: u32,
    parent: u32,
    session: u32,
    line: &'a str,
    executable: &'a str,
    inodes: &'a [u64],
}

const PYTHON: &str = "/usr/bin/python3.11";

fn made(tgid: u32, parent: u32, line: &str) -> Made<'_> {
    Made { tgid, parent, session: 50, line, executable: PYTHON, inodes: &[] }
}

/// Inodes from 4000 on listen.
fn host(processes: &[Made<'_>]) -> (tempfile::TempDir, Proc) {
    let directory = tempfile::tempdir().expect("directory");
    for process in processes {
        let own = directory.path().join(process.tgid.to_string());
        fs::create_dir_all(own.join("fd")).expect("fd");
        fs::create_dir_all(own.join("net")).expect("net");
        let comm: String = process.line.rsplit(['/', ' ']).next().unwrap_or("x").chars().take(15).collect();
        let stat = format!(
            "{} ({comm}) S {} {} {} 0 -1 0 {}",
            process.tgid,
            process.parent,
            process.tgid,
            process.session,
            "0 ".repeat(43)
        );
        fs::write(own.join("stat"), stat).expect("stat");
        fs::write(own.join("status"), format!("Name:\tx\nTgid:\t{}\n", process.tgid)).expect("status");
        fs::write(own.join("cmdline"), process.line.replace(' ', "\0")).expect("cmdline");
        if !process.executable.is_empty() {
            symlink(process.executable, own.join("exe")).expect("exe");
        }
        for (fd, inode) in process.inodes.iter().enumerate() {
            symlink(format!("socket:[{inode}]"), own.join("fd").join(fd.to_string())).expect("fd");
        }
        let rows: String = (4000..4010)
            .map(|inode| format!("0: 00000000:1F90 00000000:0000 0A 0:0 00:0 0 0 0 {inode} 1\n"))
            .collect();
        fs::write(own.join("net/tcp"), rows).expect("tcp");
    }
    let proc = Proc::at(directory.path());
    (directory, proc)
}

const GUNICORN: &str = "/v/bin/python3 /v/bin/gunicorn -w 2 app:app";

#[test]
fn every_process_of_a_gunicorn_leads_to_the_whole_of_it() {
    let (_directory, proc) = host(&[
        Made { executable: "/usr/bin/bash", ..made(50, 1, "bash") },
        Made { inodes: &[4000], ..made(100, 50, GUNICORN) },
        Made { inodes: &[4000], ..made(101, 100, GUNICORN) },
        Made { inodes: &[4000], ..made(102, 100, GUNICORN) },
        Made { executable: "/usr/bin/ffmpeg", ..made(103, 102, "ffmpeg -i x") },
        made(200, 50, "python other.py"),
    ]);
    for pid in [100, 101, 102, 103] {
        let tree = process_tree(&proc, pid).expect("tree");
        assert_eq!(tree, Tree { root: 100, tgids: vec![100, 101, 102, 103] }, "from {pid}");
    }
    assert_eq!(process_tree(&proc, 200).expect("tree").tgids, [200]);
}

#[test]
fn workers_that_share_no_listener_with_their_master_still_belong_to_it() {
    let titles = [
        made(100, 1, "gunicorn:_master"),
        Made { inodes: &[4001], ..made(101, 100, "gunicorn:_worker") },
        Made { inodes: &[4002], ..made(102, 100, "gunicorn:_worker") },
    ];
    let (directory, proc) = host(&titles);
    for (tgid, title) in
        [(100, "gunicorn: master [a]   "), (101, "gunicorn: worker [a]"), (102, "gunicorn: worker [a]")]
    {
        fs::write(directory.path().join(tgid.to_string()).join("cmdline"), title).expect("title");
    }
    assert_eq!(process_tree(&proc, 102).expect("tree"), Tree { root: 100, tgids: vec![100, 101, 102] });
}

#[test]
fn a_supervisor_or_another_python_program_above_is_not_the_server() {
    let (_directory, proc) = host(&[
        made(60, 1, "/usr/bin/python3 /usr/bin/supervisord -n"),
        made(61, 60, "python launcher.py"),
        Made { inodes: &[4000], ..made(100, 61, GUNICORN) },
        Made { inodes: &[4000], ..made(101, 100, GUNICORN) },
    ]);
    assert_eq!(process_tree(&proc, 101).expect("tree").root, 100);
    assert_eq!(process_tree(&proc, 61).expect("tree").tgids, [61, 100, 101]);
}

/// What started it listens as well, for something else; each worker has a listener of its own.
#[test]
fn a_master_whose_workers_alone_listen_is_the_server_and_not_what_listens_above_it() {
    let (_directory, proc) = host(&[
        Made { inodes: &[3000], executable: "/usr/bin/deployer", ..made(60, 1, "deployer") },
        made(100, 60, "python server.py --reuse-port"),
        Made { inodes: &[4001], ..made(101, 100, "python server.py --reuse-port") },
        Made { inodes: &[4002], ..made(102, 100, "python server.py --reuse-port") },
        Made { inodes: &[5000], ..made(200, 60, "python other.py") },
    ]);
    assert_eq!(process_tree(&proc, 100).expect("tree"), Tree { root: 100, tgids: vec![100, 101, 102] });
}

#[test]
fn two_gunicorns_of_one_supervisor_are_two_servers() {
    let (_directory, proc) = host(&[
        made(60, 1, "/usr/bin/python3 /usr/bin/supervisord -n"),
        Made { inodes: &[4000], ..made(100, 60, GUNICORN) },
        Made { inodes: &[4001], ..made(200, 60, GUNICORN) },
    ]);
    assert_eq!(process_tree(&proc, 100).expect("tree").tgids, [100]);
    assert_eq!(process_tree(&proc, 200).expect("tree").tgids, [200]);
}

#[test]
fn processes_of_a_c_server_belong_together_by_their_program() {
    let apache = |tgid, parent, line, inodes| Made {
        executable: "/usr/sbin/apache2",
        inodes,
        ..made(tgid, parent, line)
    };
    let (_directory, proc) = host(&[
        Made { executable: "/usr/lib/systemd/systemd", session: 1, ..made(1, 0, "/sbin/init") },
        apache(100, 1, "apache2 -k start", &[4000]),
        apache(101, 100, "(wsgi:app) -k start", &[]),
        apache(102, 100, "apache2 -k start", &[4000]),
    ]);
    assert_eq!(process_tree(&proc, 101).expect("tree"), Tree { root: 100, tgids: vec![100, 101, 102] });
}

/// uWSGI's emperor holds no listener of its vassals'.
#[test]
fn vassals_of_one_emperor_are_servers_of_their_own() {
    const UWSGI: &str = "/v/bin/uwsgi";
    let uwsgi =
        |tgid, parent, inodes| Made { executable: UWSGI, inodes, ..made(tgid, parent, "uwsgi --ini a.ini") };
    let (_directory, proc) = host(&[
        Made { executable: "/usr/bin/bash", ..made(50, 1, "bash") },
        Made { executable: UWSGI, ..made(100, 50, "uwsgi --emperor /etc/uwsgi") },
        uwsgi(110, 100, &[4000]),
        uwsgi(111, 110, &[4000]),
        uwsgi(120, 100, &[4001]),
        uwsgi(121, 120, &[4001]),
    ]);
    for (pid, tgids) in [(110, [110, 111]), (111, [110, 111]), (120, [120, 121]), (121, [120, 121])] {
        assert_eq!(process_tree(&proc, pid).expect("tree").tgids, tgids, "from {pid}");
    }
    let named = server_tree(&proc, 100);
    assert!(matches!(&named, Err(FactError::Several { roots, .. }) if *roots == [110, 120]), "{named:?}");
}

/// Without privileges nobody's listeners are seen: then the program alone decides.
#[test]
fn what_listens_to_nothing_beside_children_that_do_neither_is_their_master() {
    let (_directory, proc) = host(&[
        Made { executable: "/usr/sbin/nginx", ..made(100, 1, "nginx") },
        Made { executable: "/usr/sbin/nginx", ..made(101, 100, "nginx") },
    ]);
    assert_eq!(process_tree(&proc, 101).expect("tree").root, 100);
}

#[test]
fn spawned_workers_with_another_command_line_belong_to_the_holder_of_their_listener() {
    let (_directory, proc) = host(&[
        Made { inodes: &[4000], ..made(100, 50, "python -m uvicorn --workers 2 app:app") },
        Made { inodes: &[4000], ..made(101, 100, "python -c from_multiprocessing") },
    ]);
    assert_eq!(process_tree(&proc, 101).expect("tree").root, 100);
}

#[test]
fn gunicorn_as_the_first_process_of_a_container_is_found() {
    let (_directory, proc) = host(&[
        Made { session: 1, inodes: &[4000], ..made(1, 0, GUNICORN) },
        Made { session: 1, inodes: &[4000], ..made(8, 1, GUNICORN) },
    ]);
    assert_eq!(process_tree(&proc, 8).expect("tree"), Tree { root: 1, tgids: vec![1, 8] });
}

#[test]
fn without_privileges_command_lines_have_to_do() {
    let (_directory, proc) = host(&[
        Made { executable: "", ..made(100, 50, GUNICORN) },
        Made { executable: "", ..made(101, 100, GUNICORN) },
    ]);
    assert_eq!(process_tree(&proc, 101).expect("tree").root, 100);
}

#[test]
fn a_circle_of_parents_ends() {
    let (_directory, proc) =
        host(&[made(100, 101, "python a.py"), made(101, 100, "python a.py"), made(102, 102, "python b.py")]);
    assert_eq!(process_tree(&proc, 100).expect("tree").tgids.len(), 2);
    assert_eq!(process_tree(&proc, 102).expect("tree").tgids, [102]);
}

#[test]
fn a_missing_process_is_an_error_with_a_next_step() {
    let (_directory, proc) = host(&[made(100, 1, "x")]);
    let error = process_tree(&proc, 4242).expect_err("missing");
    assert!(matches!(error, FactError::NoSuchProcess { pid: 4242 }));
    assert!(error.to_string().contains("wsgi-trace list"));
}

#[test]
fn a_real_child_is_in_our_tree_and_is_gone_after_its_end() {
    let mut child = std::process::Command::new("sleep").arg("60").spawn().expect("child");
    let own = std::process::id();
    let forest_has = |tgid: u32| process_tree(&Proc::default(), own).expect("own tree").tgids.contains(&tgid);
    assert!(forest_has(child.id()));
    child.kill().expect("kill");
    child.wait().expect("wait");
    assert!(!forest_has(child.id()));
}

#[test]
fn a_sandbox_of_gvisor_is_refused_by_name_and_no_other_program_is() {
    let (_directory, proc) = host(&[
        made(100, 1, "runsc-sandbox --platform=systrap boot"),
        Made { inodes: &[4000], ..made(200, 1, "runscape-server --port 1") },
    ]);
    assert!(matches!(server_tree(&proc, 100), Err(FactError::Sandbox { pid: 100 })));
    assert!(server_tree(&proc, 200).is_ok());
}

#[test]
fn a_number_of_another_namespace_leads_to_who_has_it_there() {
    let (directory, proc) =
        host(&[made(4000, 1, GUNICORN), made(4001, 4000, GUNICORN), made(4002, 1, GUNICORN)]);
    for (tgid, numbers) in [(4000, "4000\t1"), (4001, "4001\t7"), (4002, "4002")] {
        let status = format!("Name:\tx\nTgid:\t{tgid}\nNSpid:\t{numbers}\n");
        fs::write(directory.path().join(format!("{tgid}/status")), status).expect("status");
    }
    let error = server_tree(&proc, 7).expect_err("no such process here");
    assert!(matches!(&error, FactError::NumberedElsewhere { pid: 7, here } if *here == [4001]), "{error}");
    assert!(error.to_string().contains("process 4001"), "{error}");
    assert!(matches!(server_tree(&proc, 4003), Err(FactError::NoSuchProcess { pid: 4003 })));
}

#[test]
fn a_server_whose_first_master_has_ended_goes_on_under_the_one_that_it_started() {
    let (_directory, proc) = host(&[
        Made { inodes: &[4000], ..made(102, 1, GUNICORN) },
        Made { inodes: &[4000], ..made(110, 1, GUNICORN) },
        Made { inodes: &[4000], ..made(111, 110, GUNICORN) },
        Made { inodes: &[4000], ..made(112, 110, GUNICORN) },
    ]);
    let forest = Forest::read(&proc).expect("processes");
    let before = |tgids: &[u32]| Tree { root: 100, tgids: tgids.to_vec() };
    // The last of the old workers is still there.
    let now = forest.again(&before(&[100, 101, 102, 110, 111])).expect("tree");
    assert_eq!(now, Tree { root: 110, tgids: vec![110, 111, 112] });
    assert_eq!(forest.again(&now).expect("tree"), now);
    assert!(matches!(forest.again(&before(&[100, 101])), Err(FactError::NoSuchProcess { pid: 100 })));
}

#[test]
fn a_first_master_that_is_alone_is_ending_and_its_server_goes_on_where_the_others_are() {
    let (_directory, proc) = host(&[
        Made { inodes: &[4000], ..made(100, 1, GUNICORN) },
        Made { inodes: &[4000], ..made(110, 1, GUNICORN) },
        Made { inodes: &[4000], ..made(111, 110, GUNICORN) },
        Made { inodes: &[5000], ..made(200, 1, GUNICORN) },
    ]);
    let forest = Forest::read(&proc).expect("processes");
    let again = |root, tgids: &[u32]| forest.again(&Tree { root, tgids: tgids.to_vec() }).expect("tree");
    assert_eq!(again(100, &[100, 101, 110, 111]), Tree { root: 110, tgids: vec![110, 111] });
    assert_eq!(again(100, &[100, 101]), Tree { root: 100, tgids: vec![100] }, "its workers have ended");
    assert_eq!(again(200, &[200]), Tree { root: 200, tgids: vec![200] }, "it has always been alone");
    assert_eq!(again(100, &[100, 200]).root, 100, "one that has left it is no more of a server than it is");
}
