//! Which processes there are, what each has loaded, and which listeners it holds, as they come and go and
//! numbers are given again.
//!
//! In: births, ends, sights of processes and listeners. Out: assertions.

use super::*;

const MASTER: Tid = 1;
const WORKER: Tid = 7;
const GEVENT: &str = "_gevent_c_hub_local.cpython-311-x86_64-linux-gnu.so";
const UVLOOP: &str = "loop.cpython-311-x86_64-linux-gnu.so";

fn life(processes: &mut Processes, (tgid, tid): (Tid, Tid), change: Change) -> Option<Tid> {
    processes.change(&Lifecycle { tgid, tid, change, comm: format!("thread {tid}") })
}

fn fork(processes: &mut Processes, parent: Tid, child: Tid) -> Option<Tid> {
    life(processes, (parent, parent), Change::Fork { child_tgid: child, child_tid: child, child_number: 0 })
}

fn exit(processes: &mut Processes, tgid: Tid) {
    life(processes, (tgid, tgid), Change::Exit { code: 9 });
}

fn seen(tgid: Tid, files: &[&str]) -> ProcessSeen {
    ProcessSeen {
        tgid,
        parent_tgid: MASTER,
        comm: "gunicorn".to_owned(),
        mapped_files: files.iter().map(|name| (*name).to_owned()).collect(),
        ..ProcessSeen::default()
    }
}

fn listener(tgid: Tid, fd: i32, inode: u64) -> ListenerSeen {
    ListenerSeen { tgid, fd, inode, address: format!("127.0.0.1:{inode}"), ..ListenerSeen::default() }
}

/// A master that listens at descriptor 3, and has a worker.
fn server() -> Processes {
    let mut processes = Processes::default();
    processes.see(&ProcessSeen { executable: "/python".to_owned(), ..seen(MASTER, &[UVLOOP]) });
    processes.listen(&listener(MASTER, 3, 50));
    assert_eq!(fork(&mut processes, MASTER, WORKER), Some(WORKER));
    processes
}

fn tgids(processes: &Processes) -> Vec<Tid> {
    processes.seen.iter().map(|known| known.tgid).collect()
}

/// The descriptors and inodes of a process's listeners.
fn listeners(processes: &Processes, tgid: Tid) -> Vec<(i32, u64)> {
    let own = processes.listeners.iter().filter(|seen| seen.tgid == tgid);
    own.map(|seen| (seen.fd, seen.inode)).collect()
}

#[test]
fn a_child_is_what_its_parent_is_but_for_its_number_and_its_name() {
    let mut processes = server();
    processes.listen(&listener(MASTER, -2, 40));
    assert_eq!(fork(&mut processes, MASTER, 8), Some(8));
    let child = processes.seen.iter().find(|known| known.tgid == 8).unwrap();
    assert_eq!((child.parent_tgid, child.executable.as_str()), (MASTER, "/python"));
    assert_eq!(child.threads, [(8, "thread 1".to_owned())]);
    assert_eq!(processes.loop_kind(8).name, "uvloop");
    assert_eq!(listeners(&processes, 8), [(3, 50)], "not the one that is closed");
    assert_eq!(fork(&mut processes, MASTER, 8), None, "it is known");
}

#[test]
fn a_thread_is_no_process() {
    let mut processes = server();
    let change = Change::Fork { child_tgid: WORKER, child_tid: 70, child_number: 0 };
    assert_eq!(life(&mut processes, (WORKER, WORKER), change), None);
    assert_eq!(tgids(&processes), [MASTER, WORKER]);
    assert!(processes.names.contains_key(&70));
    life(&mut processes, (WORKER, 70), Change::Exit { code: 0 });
    assert!(processes.ended.is_empty(), "its process lives");
    processes.roll(100);
    assert!(processes.names.contains_key(&WORKER) && !processes.names.contains_key(&70));
}

#[test]
fn a_second_sight_of_a_process_replaces_the_first() {
    let mut processes = server();
    let threads = vec![(WORKER, "main".to_owned()), (70, "pool".to_owned())];
    processes.see(&ProcessSeen { threads, ..seen(WORKER, &[]) });
    assert_eq!(tgids(&processes), [MASTER, WORKER]);
    assert_eq!(processes.loop_kind(WORKER).name, "unknown", "uvloop is no longer loaded");
    assert_eq!(processes.names.get(&70).map(String::as_str), Some("pool"));
}

/// gunicorn's new master after SIGUSR2, whose title hides what the old one told it.
#[test]
fn what_a_program_began_with_is_known_until_the_next_program() {
    let of = |command_line: &str, executable: &str, environment: &[(&str, &str)]| ProcessSeen {
        executable: executable.to_owned(),
        command_line: vec![command_line.to_owned()],
        environment: environment.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect(),
        ..seen(8, &[])
    };
    let started = of("python gunicorn app", "/python", &[("GUNICORN_PID", "1"), ("WEB_CONCURRENCY", "2")]);
    let titled = of("gunicorn: master [app]", "/python", &[]);
    let other = of("sleep 1", "/sleep", &[]);
    let again = of("python gunicorn app", "/python", &[("GUNICORN_PID", "8")]);
    let all = &[("GUNICORN_PID", "1"), ("WEB_CONCURRENCY", "2")][..];
    for (what, sights, expected) in [
        ("as it began", vec![Some(&started)], all),
        ("under a title", vec![Some(&started), Some(&titled)], all),
        ("it was never seen without one", vec![Some(&titled), Some(&titled)], &[]),
        ("another program", vec![Some(&started), Some(&other)], &[]),
        ("the same program once more", vec![Some(&started), None, Some(&titled)], &[]),
        ("with other values", vec![Some(&started), None, Some(&again)], &[("GUNICORN_PID", "8")]),
        (
            "what is read counts",
            vec![Some(&started), Some(&again)],
            &[("GUNICORN_PID", "8"), ("WEB_CONCURRENCY", "2")],
        ),
    ] {
        let mut processes = server();
        fork(&mut processes, MASTER, 8);
        life(&mut processes, (8, 8), Change::Exec);
        for sight in sights {
            match sight {
                Some(sight) => processes.see(sight),
                None => assert_eq!(life(&mut processes, (8, 8), Change::Exec), None),
            }
        }
        let known = processes.seen.iter().find(|known| known.tgid == 8).unwrap();
        let environment: Vec<(&str, &str)> =
            known.environment.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(environment, expected, "{what}");
    }
    // What its parent began with is a child's, too, until it has a program of its own.
    let mut processes = server();
    processes.see(&ProcessSeen {
        environment: vec![("LISTEN_FDS".to_owned(), "1".to_owned())],
        ..seen(MASTER, &[])
    });
    fork(&mut processes, MASTER, 8);
    let count = |processes: &Processes| {
        processes.seen.iter().find(|known| known.tgid == 8).unwrap().environment.len()
    };
    assert_eq!(count(&processes), 1);
    life(&mut processes, (8, 8), Change::Exec);
    assert_eq!(count(&processes), 0);
}

#[test]
fn what_has_ended_is_forgotten_with_its_window_unless_its_children_live() {
    let mut processes = server();
    fork(&mut processes, WORKER, 8);
    exit(&mut processes, WORKER);
    exit(&mut processes, 9);
    assert_eq!(processes.ended.get(&9), None, "it was never seen");
    processes.roll(100);
    assert_eq!((tgids(&processes), processes.is_gone(WORKER)), (vec![MASTER, WORKER, 8], false));
    exit(&mut processes, 8);
    processes.roll(200);
    assert_eq!(tgids(&processes), [MASTER], "with its last child the parent goes, too");
    assert!(listeners(&processes, 8).is_empty() && processes.ended.is_empty());
}

#[test]
fn facts_about_a_process_that_is_gone_come_late_for_some_seconds() {
    for (what, rolled_ns, expected) in [
        ("at once", 100, true),
        ("just in time", 100 + LATE_NS - 1, true),
        ("too late", 100 + LATE_NS, false),
    ] {
        let mut processes = server();
        exit(&mut processes, WORKER);
        assert!(!processes.is_gone(WORKER), "{what}: its window is not over");
        processes.roll(100);
        processes.roll(rolled_ns);
        assert_eq!(processes.is_gone(WORKER), expected, "{what}");
    }
}

#[test]
fn a_process_is_not_gone_whose_number_is_given_again() {
    let cases: [(&str, Change); 3] = [
        ("born", Change::Fork { child_tgid: WORKER, child_tid: WORKER, child_number: 0 }),
        ("executed", Change::Exec),
        ("adopted", Change::Adopted),
    ];
    for (what, change) in cases {
        let mut processes = server();
        exit(&mut processes, WORKER);
        processes.roll(100);
        let who = if matches!(change, Change::Fork { .. }) { MASTER } else { WORKER };
        life(&mut processes, (who, who), change);
        assert!(!processes.is_gone(WORKER), "{what}");
    }
}

#[test]
fn a_process_that_gets_the_number_of_one_that_ended_in_the_same_window_is_another() {
    let mut processes = server();
    processes.see(&seen(WORKER, &[GEVENT]));
    processes.listen(&listener(WORKER, 5, 60));
    processes.reads(WORKER, 70);
    processes.reads(WORKER, 71);
    exit(&mut processes, WORKER);
    assert_eq!(fork(&mut processes, MASTER, WORKER), Some(WORKER), "it is born");
    assert_eq!((tgids(&processes), processes.ended.len()), (vec![MASTER, WORKER], 0));
    assert_eq!(processes.loop_kind(WORKER).name, "uvloop", "as its parent");
    assert!(processes.holds(WORKER, 50) && !processes.holds(WORKER, 60), "it inherits, and nothing else");
    assert!(processes.listeners.iter().any(|seen| (seen.tgid, seen.inode) == (WORKER, 60) && seen.fd < 0));
    processes.roll(100);
    assert_eq!((tgids(&processes), processes.is_gone(WORKER)), (vec![MASTER, WORKER], false));
    assert_eq!(listeners(&processes, WORKER), [(3, 50)]);
}

#[test]
fn gevent_is_the_loop_of_a_process_in_which_a_single_thread_reads() {
    for (what, files, readers, expected) in [
        ("nobody read yet", &[GEVENT][..], &[][..], "gevent"),
        ("one thread reads", &[GEVENT], &[70, 70], "gevent"),
        ("two threads read", &[GEVENT], &[70, 71], "unknown"),
        ("the first one again", &[GEVENT], &[70, 71, 70], "unknown"),
        ("two threads read, and there is uvloop", &[GEVENT, UVLOOP], &[70, 71], "uvloop"),
        ("two threads read beside uvloop", &[UVLOOP], &[70, 71], "uvloop"),
    ] {
        let mut processes = Processes::default();
        processes.see(&seen(WORKER, files));
        readers.iter().for_each(|tid| processes.reads(WORKER, *tid));
        assert_eq!(processes.loop_kind(WORKER).name, expected, "{what}");
    }
    let mut processes = Processes::default();
    for files in [&[][..], &[GEVENT], &[]] {
        processes.see(&seen(WORKER, files));
        processes.reads(WORKER, 70);
        processes.reads(WORKER, 71);
    }
    processes.see(&seen(WORKER, &[GEVENT]));
    assert_eq!(processes.loop_kind(WORKER).name, "gevent", "who read while it was not loaded says nothing");
}

#[test]
fn a_listener_that_is_set_aside_has_a_number_that_no_descriptor_has() {
    let mut processes = server();
    processes.listen(&listener(MASTER, 4, 51));
    assert_eq!(processes.set_aside(MASTER, 9), None, "there is none");
    assert_eq!([3, 4, 3].map(|fd| processes.set_aside(MASTER, fd)), [Some(-2), Some(-3), Some(-2)]);
    assert_eq!(processes.set_aside(WORKER, 3), Some(-2), "each process has its own");
    processes.no_longer(MASTER, 3);
    assert_eq!(listeners(&processes, MASTER), [(4, 51), (-2, 50), (-3, 51)]);
    assert!(!processes.holds(MASTER, 50) && processes.holds(MASTER, 51) && processes.holds(WORKER, 50));
    processes.roll(100);
    assert_eq!(listeners(&processes, MASTER), [(4, 51)], "it was part of the window that ends");
}

#[test]
fn a_listener_of_which_only_the_call_is_known_is_identified_with_all_its_copies() {
    let mut processes = server();
    processes.listen_unknown(WORKER, 5);
    processes.listen_unknown(WORKER, 6);
    let copy = ListenerSeen { fd: 9, ..processes.listener(WORKER, 5).unwrap().clone() };
    processes.listen(&copy);
    assert_eq!(processes.listener_inode(WORKER, 5), None);
    assert!(!processes.identify(&listener(WORKER, 8, 60)), "there is none");
    assert!(!processes.identify(&listener(WORKER, 3, 60)), "that one is known");
    assert!(processes.identify(&listener(WORKER, 5, 60)));
    let inodes = [3, 5, 6, 9].map(|fd| processes.listener_inode(WORKER, fd));
    assert_eq!(inodes, [Some(50), Some(60), None, Some(60)]);
}

#[test]
fn what_a_process_has_loaded_is_kept_up_to_date_however_many_there_are() {
    let mut processes = Processes::default();
    let count = MAX_ENTRIES as u32;
    (1..=count).for_each(|tgid| processes.enter(seen(tgid, &[])));
    (1..=count).for_each(|tgid| processes.note_loaded(tgid, &seen(tgid, &[UVLOOP])));
    for (what, tgid, files, expected, evicted) in [
        ("one that is known", 7, &[GEVENT][..], "gevent", 0),
        ("it is seen again", 7, &[UVLOOP], "uvloop", 0),
        ("it has nothing loaded any more", 7, &[], "unknown", 0),
        ("it loads again", 7, &[GEVENT], "gevent", 0),
        ("one for which there is no room", count + 1, &[GEVENT], "unknown", 1),
    ] {
        processes.see(&seen(tgid, files));
        assert_eq!((processes.loop_kind(tgid).name, processes.evicted()), (expected, evicted), "{what}");
    }
    assert_eq!((processes.seen.len(), processes.loaded.len()), (MAX_ENTRIES, MAX_ENTRIES));
}

#[test]
fn a_name_for_which_there_is_no_room_is_counted() {
    let mut processes = Processes::default();
    for tid in 0..=MAX_ENTRIES as u32 {
        processes.name(tid, "worker");
    }
    processes.name(0, "master");
    assert_eq!((processes.names.len(), processes.evicted()), (MAX_ENTRIES, 1));
    assert_eq!(processes.names[&0], "master");
}

#[test]
fn children_copy_no_more_text_than_there_is_room_for() {
    let mut processes = Processes::default();
    let command_line = vec!["x".repeat(1 << 20)];
    processes.see(&ProcessSeen { command_line, ..seen(MASTER, &[UVLOOP]) });
    let children = (MAX_TEXT_BYTES >> 20) as u32 + 40;
    (1..=children).for_each(|child| assert!(fork(&mut processes, MASTER, MASTER + child).is_some()));
    let kept_bytes: usize = processes.seen.iter().map(text_bytes).sum();
    assert!(kept_bytes <= MAX_TEXT_BYTES + (1 << 20), "{kept_bytes}");
    assert_eq!(processes.text_bytes, kept_bytes);
    assert_eq!(processes.seen.len(), 1 + children as usize, "each is known, if only by its name");
    assert!(processes.evicted() >= 40, "{}", processes.evicted());
}

#[test]
fn variables_of_sights_before_do_not_pile_up() {
    let mut processes = Processes::default();
    let sights = MAX_VARIABLES + 10;
    for number in 0..sights {
        let environment = vec![(format!("NAME_{number}"), String::new())];
        processes.see(&ProcessSeen { environment, ..seen(MASTER, &[]) });
    }
    assert_eq!((processes.seen[0].environment.len(), processes.evicted()), (MAX_VARIABLES, 10));
}

#[test]
fn each_process_and_listener_is_found_where_it_stands_whatever_comes_and_goes() {
    let mut processes = server();
    fork(&mut processes, MASTER, WORKER + 1);
    processes.listen(&listener(MASTER, 4, 60));
    processes.no_longer(MASTER, 3);
    processes.no_longer(MASTER, 3);
    exit(&mut processes, WORKER);
    fork(&mut processes, MASTER, WORKER);
    exit(&mut processes, WORKER + 1);
    processes.see(&ProcessSeen { parent_tgid: 13, ..seen(WORKER, &[]) });
    processes.see(&ProcessSeen { parent_tgid: 14, ..seen(WORKER, &[]) });
    for round in ["before the roll", "after it"] {
        let found: Vec<Tid> =
            processes.seen.iter().filter(|one| processes.is_seen(one.tgid)).map(|one| one.tgid).collect();
        assert_eq!(found, tgids(&processes), "{round}");
        assert_eq!(processes.places.len(), processes.seen.len(), "{round}");
        for tgid in 0..20 {
            let has_children = processes.seen.iter().any(|one| one.parent_tgid == tgid);
            assert_eq!(processes.has_children(tgid), has_children, "{round}: {tgid}");
        }
        assert_eq!(processes.listener_places.len(), processes.listeners.len(), "{round}");
        for one in &processes.listeners {
            assert_eq!(processes.listener(one.tgid, one.fd), Some(one), "{round}");
        }
        processes.roll(1);
    }
    assert!(!processes.is_seen(WORKER + 1));
    assert_eq!((processes.listener(MASTER, 3), processes.listener_inode(MASTER, 4)), (None, Some(60)));
}
