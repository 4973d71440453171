//! What has ended is forgotten once its window was taken: workers come and go without end, and nothing grows.
//!
//! In: thousands of processes that are born, serve and end, window after window, some of whose facts come
//! late. Out: assertions on how many entries all tables of all machines hold, whatever tables there are:
//! counted in what `Debug` prints of them.

use std::collections::BTreeMap;

use super::evidence::connection_evidence;
use super::*;
use crate::event::{Change, Evidence, Lifecycle, Sign, Signal};
use crate::fact::memory::ProcessMemory;
use crate::fact::open_files::OpenFiles;
use crate::fact::queue::{AcceptQueue, QueueCounts, Refusals};
use crate::fact::{
    DescriptorSeen, InterpreterLock, InterpreterSeen, ListenerCounts, ListenerSeen, ListenerWakes, OpenSlice,
    ProcessSeen, ThreadNumbers,
};
use crate::machine::world::queue::MAX_ACCEPTS;
use crate::model::life::Life;

const MASTER: u32 = 1;
const EPOLL: i32 = 5;
const CLIENT: i32 = 9;
const SHARED: u64 = 7;
/// Workers born in each window: as many kinds as there are.
const KINDS: u32 = 4;
const LIFE_US: u64 = 100_000;
const WINDOW_US: u64 = 1_000_000;

/// Lines that each part of the machines takes when it is printed, by the names of the fields that lead there.
fn held(machines: &Machines) -> BTreeMap<String, usize> {
    let text = format!("{machines:#?}");
    let (mut path, mut held): (Vec<(usize, &str)>, BTreeMap<String, usize>) = Default::default();
    for line in text.lines() {
        let content = line.trim_start();
        let depth = line.len() - content.len();
        path.retain(|(outer, _)| *outer < depth);
        if let Some((name, _)) = content.split_once(": ")
            && name.chars().all(|letter| letter.is_ascii_lowercase() || letter == '_')
        {
            path.push((depth, name));
        }
        let place: Vec<&str> = path.iter().take(4).map(|(_, name)| *name).collect();
        *held.entry(place.join(".")).or_default() += 1;
    }
    held
}

fn fact(time_ns: u64, fact: Fact) -> Event {
    Event { time_ns, body: Body::Fact(Box::new(fact)) }
}

fn life(time_ns: u64, (tgid, tid): (u32, u32), change: Change) -> Event {
    let comm = format!("worker {tid}");
    Event { time_ns, body: Body::Lifecycle(Lifecycle { tgid, tid, comm, change }) }
}

fn listener(tgid: u32, fd: i32, inode: u64) -> ListenerSeen {
    let address = format!("127.0.0.1:{inode}");
    ListenerSeen { tgid, fd, inode, family: "tcp".to_owned(), address, port: 8000, backlog: 5 }
}

/// What `/proc` says of a worker.
fn facts_of(tgid: u32) -> Vec<Fact> {
    let lock = InterpreterLock { address: 0x4000, interpreter: 0, interval_us: 5000 };
    vec![
        Fact::ProcessSeen(ProcessSeen {
            tgid,
            parent_tgid: MASTER,
            comm: "gunicorn".to_owned(),
            threads: vec![(tgid, "main".to_owned()), (tgid + 1, "pool".to_owned())],
            mapped_files: vec!["_greenlet.so".to_owned(), "loop.so".to_owned()],
            ..ProcessSeen::default()
        }),
        Fact::InterpreterSeen(InterpreterSeen {
            tgid,
            locks: vec![lock],
            foreign_numbers: tgid.is_multiple_of(2),
            thread_number_at: Some(8),
            ..InterpreterSeen::default()
        }),
        Fact::ThreadNumbers(ThreadNumbers { tgid, numbers: vec![(1, tgid), (2, tgid + 1)] }),
        Fact::ListenerSeen(listener(tgid, LISTENER, SHARED)),
        Fact::DescriptorSeen(DescriptorSeen {
            tgid,
            fd: EPOLL,
            class: DescriptorClass::Epoll,
            interest: vec![LISTENER],
            interest_events: vec![1],
            shared: false,
            local_port: 0,
        }),
        Fact::ProcessMemory(ProcessMemory { tgid, resident_bytes: 1, proportional_bytes: None }),
        Fact::OpenFiles(OpenFiles { tgid, open: 90, limit: 100 }),
    ]
}

/// A request to a worker, read and answered by one thread, with a wait for the interpreter lock in between.
fn serve(script: Script, holder: u32) -> Script {
    let arrival_ns = script.now_ns;
    let mut script = script.accept(CLIENT, (1, 0, 0));
    if let Some(Body::Connection(opened)) = script.events.iter_mut().rev().nth(1).map(|event| &mut event.body)
    {
        opened.socket = (u64::from(opened.tid), script.sequence);
        opened.established_ns = arrival_ns;
        opened.peer_port = opened.tid as u16;
    }
    let script = script.read(CLIENT, GET, arrival_ns, (5, 0, 0));
    let script = gil::because_of(script.call(gil::TAKE, 0, (1, 0, 500), 0), holder);
    script.write_head(CLIENT, OK5, (5, 0, 0)).write(CLIENT, 5, (5, 0, 0))
}

/// One worker from its birth at `start_ns` to its end, and what comes of it after that.
fn worker(tgid: u32, start_ns: u64) -> Vec<Event> {
    let at = |us: u64| start_ns + us * US;
    let end_ns = at(LIFE_US);
    let mut events = vec![
        life(at(0), (MASTER, MASTER), Change::Fork { child_tgid: tgid, child_tid: tgid, child_number: 0 }),
        life(at(1), (tgid, tgid), Change::Fork { child_tgid: tgid, child_tid: tgid + 1, child_number: 0 }),
    ];
    events.extend(facts_of(tgid).into_iter().map(|one| fact(at(2), one)));
    let script = |tid: u32, us: u64| Script { tgid, now_ns: at(us), ..Script::new(tid) };
    let own_inode = u64::from(tgid) * 1000;
    let mut main = script(tgid, 10);
    let mut pool = script(tgid + 1, 20_000);
    match tgid / 4 % KINDS {
        // Threads that accept and serve, with what they have to wait for.
        0 => {
            main = serve(main.select((0, 0, 50)), tgid + 1).call(Call::Close { fd: CLIENT }, 0, (1, 0, 0), 0);
            pool = serve(pool.job_wait((0, 0, 90)), tgid).call(Call::Sleep, 0, (0, 0, 9), 0);
        }
        // A loop and a pool to which it hands jobs.
        1 => {
            main = main.call(Call::MakePair { fds: [11, 12] }, 0, (1, 0, 0), 0);
            for _ in 0..3 {
                main = serve(
                    main.call(Call::EpollWait { epoll_fd: EPOLL, timeout_ms: -1 }, 1, (0, 0, 50), 0),
                    tgid + 1,
                );
                let control = Call::EpollControl { epoll_fd: EPOLL, operation: 1, fd: CLIENT, events: 1 };
                main = main.call(control, 0, (1, 0, 0), 0);
            }
            main = main.call(Call::EpollWait { epoll_fd: EPOLL, timeout_ms: -1 }, 1, (0, 0, 5000), 0);
            pool =
                pool.job_wait((0, 0, 90)).call(Call::Write { fd: 12 }, 1, (1, 0, 0), 0).job_wait((0, 0, 90));
        }
        // A listener of its own, its accepts failing, its queue read.
        2 => {
            let seen = listener(tgid, 13, own_inode);
            events.push(fact(at(3), Fact::ListenerSeen(seen)));
            main = main.call(Call::Listen { fd: 13, backlog: 5 }, 0, (1, 0, 0), 0);
            main = main.call(Call::Accept { listener_fd: 13 }, 8, (1, 0, 70), 0);
            main = main.call(Call::Accept { listener_fd: LISTENER }, -24, (1, 0, 0), 0);
            main = main.call(Call::Close { fd: 13 }, 0, (1, 0, 0), 0);
            pool = pool.call(Call::Listen { fd: 14, backlog: 5 }, 0, (1, 0, 0), 0);
        }
        // This worker is killed in the middle of a request, and nobody had accepted the next.
        _ => {
            main = serve(main, 0);
            pool = pool.accept(CLIENT + 1, (1, 0, 0)).read(CLIENT + 1, GET, at(100), (1, 0, 0));
            let signal =
                Signal { tgid, number: 9, by_kernel: false, sender_tgid: MASTER, sender_comm: String::new() };
            events.push(Event {
                time_ns: end_ns - 2,
                body: Body::Evidence(Box::new(Evidence::Signal(signal))),
            });
            for (us, sign) in [(50, Sign::ClientEnded), (60, Sign::ResetSent)] {
                events.push(connection_evidence(sign, (own_inode, 0), at(us), |evidence| {
                    (evidence.is_waiting, evidence.established_ns) = (true, at(5));
                }));
            }
        }
    }
    let queues = AcceptQueues {
        queues: [SHARED, own_inode]
            .map(|inode| AcceptQueue { inode, depth: 1, limit: 5, refused: Some(1) })
            .to_vec(),
        not_read: None,
    };
    events.push(fact(at(60_000), Fact::AcceptQueues(queues)));
    let wakes =
        [SHARED, own_inode].map(|inode| ListenerWakes { inode, arrivals: 1, ..ListenerWakes::default() });
    events.push(fact(at(60_000), Fact::ListenerCounts(ListenerCounts { listeners: wakes.to_vec() })));
    let refusals = [SHARED, own_inode].map(|inode| Refusals { inode, delayed: 1, ..Refusals::default() });
    events.push(fact(at(60_000), Fact::QueueCounts(QueueCounts { listeners: refusals.to_vec() })));
    events.extend(main.events.into_iter().chain(pool.events));
    events.push(life(end_ns, (tgid, tgid + 1), Change::Exit { code: 0 }));
    events.push(life(end_ns, (tgid, tgid), Change::Exit { code: 0 }));
    // Read while it lived, and told when it was gone: at once, and when its window has been taken.
    for late_ns in [end_ns + US, end_ns + WINDOW_US * US] {
        events.extend(facts_of(tgid).into_iter().map(|one| fact(late_ns, one)));
    }
    events
}

/// What is held after each of these numbers of windows.
fn held_after(windows: &[u64]) -> Vec<BTreeMap<String, usize>> {
    let mut pipeline = Pipeline::new(Settings { thread_slices: true });
    let mut events = vec![
        fact(START, Fact::Attached(Attached { arrival_measured: true, ..Attached::default() })),
        fact(START, Fact::ProcessSeen(ProcessSeen { tgid: MASTER, ..ProcessSeen::default() })),
        fact(START, Fact::ListenerSeen(listener(MASTER, LISTENER, SHARED))),
        fact(START, Fact::WindowStarted),
    ];
    let last = windows.last().copied().unwrap_or(0);
    for window in 0..last {
        let window_ns = START + window * WINDOW_US * US;
        for kind in 0..KINDS {
            let tgid = 100 + (window as u32 * KINDS + kind) * 4;
            events.extend(worker(tgid, window_ns + u64::from(kind + 1) * LIFE_US * US));
        }
        let end_ns = window_ns + WINDOW_US * US;
        events.push(fact(
            end_ns - 3,
            Fact::AcceptQueues(AcceptQueues {
                queues: vec![AcceptQueue { inode: SHARED, depth: 0, limit: 5, refused: Some(1) }],
                not_read: None,
            }),
        ));
        let wakes = vec![ListenerWakes { inode: SHARED, ..ListenerWakes::default() }];
        events.push(fact(end_ns - 3, Fact::ListenerCounts(ListenerCounts { listeners: wakes })));
        let refusals = vec![Refusals { inode: SHARED, ..Refusals::default() }];
        events.push(fact(end_ns - 3, Fact::QueueCounts(QueueCounts { listeners: refusals })));
        events.push(fact(end_ns - 2, Fact::Tick));
        let open = OpenSlice { tgid: MASTER, tid: MASTER, gap_start_ns: window_ns, ..OpenSlice::default() };
        events.push(fact(end_ns - 1, Fact::OpenSlice(open)));
        events.push(fact(end_ns - 1, Fact::WindowRolled));
    }
    events.sort_by_key(|event| event.time_ns);
    let (mut rolled, mut found) = (0, Vec::new());
    for event in events {
        let rolls = matches!(&event.body, Body::Fact(fact) if matches!(**fact, Fact::WindowRolled));
        pipeline.machines.event(&mut Some(event), &mut |_| {});
        if rolls {
            let window = pipeline.take_window().expect("a window");
            assert!(window.requests.completed > 0, "nothing was served");
            let came_and_went = |life: &&Life| {
                life.requests > 0 && life.born_ns.zip(life.ended_ns).is_some_and(|(born, ended)| born < ended)
            };
            assert!(
                window.capacity.lives.iter().any(|life| came_and_went(&life)),
                "{:?}",
                window.capacity.lives
            );
            rolled += 1;
            if windows.contains(&rolled) {
                found.push(held(&pipeline.machines));
            }
        }
    }
    found
}

#[test]
fn thousands_of_workers_that_have_ended_leave_nothing_behind() {
    let found = held_after(&[20, 820]);
    let [early, late] = found.as_slice() else { panic!("{} windows", found.len()) };
    let grown: Vec<_> = late
        .iter()
        .map(|(place, lines)| (place, early.get(place).copied().unwrap_or(0), *lines))
        // When the last connections were accepted from a listener that stays: a bounded number of them, of
        // whomever.
        .filter(|(place, _, now)| place.as_str() != "listening.queues.queues.accepts" || *now > MAX_ACCEPTS)
        .filter(|(_, before, now)| now > before)
        .map(|(place, before, now)| format!("{place}: {before}, {now}"))
        .collect();
    assert!(grown.is_empty(), "lines before and after 3,200 workers more: {grown:#?}");
}
