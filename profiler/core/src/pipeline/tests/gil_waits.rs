//! Waits of requests for the interpreter lock one by one, through all machines.
//!
//! In: scripts of threads that look at the holder's frames and their own as they wait. Out: assertions on the
//! requests.

use profiler_common::record::detail::Futex;

use super::gil::{LOCK, TAKE, because_of, run_with_lock};
use super::*;
use crate::event::Frames;
use crate::fact::GilMethod;
use crate::fact::frame::FrameSeen;
use crate::model::gil::Contender;
use crate::model::gil_waits::{GilWait, GilWaits, MAX_LISTED, Site, Sites};
use crate::timeline::ThreadState;

/// A code object for each line: lines of the application below 500, of a library from there on.
fn names() -> Vec<Event> {
    let seen = (1..1000).map(|line| {
        let file = if line < 500 { "/srv/app.py" } else { "/usr/lib/python3.13/json/encoder.py" };
        let function = format!("line_{line}");
        let code = u64::from(line) * 16;
        Fact::FrameSeen(FrameSeen { tgid: 1, code, instruction: code + 2, file: file.into(), function, line })
    });
    let method = GilMethod { stacks: true, ..GilMethod::default() };
    let facts = std::iter::once(Fact::GilMethod(method)).chain(seen);
    facts.map(|fact| Event { time_ns: START, body: Body::Fact(Box::new(fact)) }).collect()
}

/// The call that was added last found the holder, or the waiter itself, in these lines as it began.
fn found(mut script: Script, lines: &[u64], of_waiter: bool) -> Script {
    let Some(Event { body: Body::Slice(slice), .. }) = script.events.last() else { panic!("no call") };
    let frames = Frames {
        tgid: 1,
        tid: slice.tid,
        frames: lines.iter().map(|line| (line * 16, line * 16 + 2)).collect(),
        unstable: false,
        of_waiter,
    };
    let event = Event { time_ns: slice.enter_ns, body: Body::Frames(Box::new(frames)) };
    let place = script.events.len() - 1;
    script.events.insert(place, event);
    script
}

/// A sleep for the lock, `asleep_us` long, while thread `holder` is in these lines.
fn sleep(script: Script, asleep_us: u64, holder: u32, lines: &[u64]) -> Script {
    found(because_of(script.call(TAKE, -110, (1, 0, asleep_us), 0), holder), lines, false)
}

fn run_with_names(mut scripts: Vec<Script>, end_us: u64) -> Outcome {
    scripts[0].events.splice(0..0, names());
    run_with_lock(scripts, end_us)
}

fn waits(request: &Request) -> &GilWaits {
    request.gil.waits.as_deref().expect("waits")
}

fn lines(wait: &GilWait) -> (Option<u32>, Option<u32>) {
    let held_at = wait.held_at.as_ref().map(|held_at| held_at.site.at.line);
    (held_at, wait.stood_at.as_ref().map(|site| site.at.line))
}

/// ```text
/// thread 2: serves /slow:  accept, recv, python in line 40 ………………………………… send
/// thread 3: serves /a:     accept, recv, python, wait (looks at itself in line 510, called from 11) ……, python, wait, send
/// ```
#[test]
fn a_request_s_waits_say_where_the_holder_was_and_the_long_one_where_it_stood_itself() {
    const SLOW: &[u8] = b"GET /slow HTTP/1.1\r\n\r\n";
    let holder = Script::new(2).accept(8, (1, 0, 0));
    let arrival = holder.now_ns;
    let holder = holder.read(8, SLOW, arrival, (5, 0, 0)).cpu(30_000).write_head(8, OK5, (5, 0, 0));
    let holder = holder.write(8, 5, (5, 0, 0));
    let waiter = Script::new(3).accept(9, (1, 0, 0));
    let arrival = waiter.now_ns;
    let waiter = waiter.read(9, GET, arrival, (5, 0, 0)).cpu(20);
    let began_ns = waiter.now_ns + 20 * US;
    let waiter = sleep(waiter, 4999, 2, &[40, 12]).cpu(3);
    let waiter = found(sleep(waiter, 4999, 2, &[40, 12]), &[510, 11], true).cpu(3);
    let waiter = sleep(waiter, 990, 2, &[41, 12]);
    // Another call: what comes then is another wait.
    let waiter = waiter.call(Call::Sleep, 0, (1, 0, 9), 0);
    let waiter = sleep(waiter, 49, 7, &[60]).write_head(9, OK5, (6, 0, 0)).write(9, 5, (4, 0, 0));
    let outcome = run_with_names(vec![holder, waiter.job_wait((1, 0, 400))], 32_000);
    let request = outcome.requests.iter().find(|request| request.http.path == "/a").expect("a request");
    let GilWaits { listed, others, others_ns } = waits(request);
    let [long, short] = listed.as_slice() else { panic!("{listed:#?}") };
    assert_eq!((*others, *others_ns), (0, 0));
    assert_eq!((long.start_ns, long.wait_ns / US), (began_ns, 5000 + 3 + 5000 + 3 + 991));
    assert_eq!((&long.holder.contender, long.holder.tid), (&Contender::Endpoint("GET /slow".into()), 2));
    assert_eq!((long.holder.wait_ns / US, lines(long)), (5000 + 3 + 5000 + 3 + 991, (Some(40), Some(510))));
    assert_eq!(long.held_at.as_ref().map(|held_at| held_at.wait_ns / US), Some(5000 + 3 + 5000));
    let called_from = |wait: &GilWait| {
        let site = wait.stood_at.as_ref()?;
        Some(site.called_from.as_ref()?.line)
    };
    assert_eq!(called_from(long), Some(11));
    assert_eq!((short.wait_ns / US, short.holder.tid, lines(short)), (50, 7, (Some(60), None)));
    // On the timeline the sleeps say it, and the one at which the waiter looked at itself where that was.
    let sites = |at: &Sites| {
        let line = |site: &Option<Site>| site.as_ref().map(|site| site.at.line);
        (line(&at.held_at), line(&at.stood_at))
    };
    let drawn: Vec<_> = outcome
        .entries
        .iter()
        .filter_map(|entry| match entry {
            Entry::Slice { state: ThreadState::GilWait, sites: found, .. } => {
                Some(found.as_deref().map(sites))
            }
            _ => None,
        })
        .collect();
    let expected = [(Some(40), None), (Some(40), Some(510)), (Some(41), None), (Some(60), None)];
    assert_eq!(drawn, expected.map(Some));
}

#[test]
fn a_wait_that_continues_as_the_window_ends_is_the_request_s_as_far_as_it_came() {
    let script = Script::new(3).accept(9, (1, 0, 0));
    let arrival = script.now_ns;
    let script = script.read(9, GET, arrival, (5, 0, 0)).cpu(10);
    let mut script = sleep(script, 4999, 2, &[40]).cpu(3);
    let enter_ns = script.now_ns + 3 * US;
    let end_ns = enter_ns + 300 * US;
    for (line, of_waiter) in [(41, false), (13, true)] {
        let frames = vec![(line * 16, line * 16 + 2)];
        let frames = Frames { tgid: 1, tid: 3, frames, unstable: false, of_waiter };
        script.events.push(Event { time_ns: enter_ns, body: Body::Frames(Box::new(frames)) });
    }
    let open = OpenSlice {
        tgid: 1,
        tid: 3,
        sequence: script.sequence,
        system_call: Some(profiler_common::system_call::FUTEX),
        gap_start_ns: script.now_ns,
        enter_ns,
        detail: Futex { address: LOCK + 72, operation: 137, has_timeout: true, ..Futex::default() }.words(),
        call: Account { blocked_ns: 300 * US, ..Account::default() },
        gap: std::mem::take(&mut script.gap),
        gap_blocked_call: profiler_common::record::slice::NO_CALL,
        ..OpenSlice::default()
    };
    script.events.push(Event { time_ns: end_ns, body: Body::Fact(Box::new(Fact::OpenSlice(open))) });
    let outcome = run_with_names(vec![script], (end_ns - START) / US);
    let request = &outcome.requests[0];
    assert!(request.seen.open);
    let listed = &waits(request).listed;
    assert_eq!(listed.iter().map(|wait| wait.wait_ns / US).collect::<Vec<_>>(), [5000 + 3 + 300]);
    assert_eq!(lines(&listed[0]), (Some(40), Some(13)));
    let blocked = &outcome.snapshot.gil.places.as_ref().expect("asked for").blocked;
    let stood: Vec<_> = blocked.listed.iter().map(|block| (&block.waiter, block.at.line)).collect();
    assert_eq!(stood, [(&Contender::Endpoint("GET /a".into()), 13)]);
}

#[test]
fn nothing_is_kept_of_single_waits_where_nobody_asked() {
    let script = Script::new(3).accept(9, (1, 0, 0));
    let arrival = script.now_ns;
    let script = because_of(script.read(9, GET, arrival, (5, 0, 0)).call(TAKE, 0, (1, 0, 9000), 0), 2);
    let script = script.write_head(9, OK5, (6, 0, 0)).write(9, 5, (4, 0, 0));
    let outcome = run_with_lock(vec![script], 10_000);
    assert_eq!((us(&outcome.requests[0], Phase::GilWait), &outcome.requests[0].gil.waits), (9001, &None));
}

proptest! {
    /// Requests one after another on two threads that wait for the lock at any time, before they read too.
    /// Each wait of a request lies within it, and no two overlap. All of them are as long as its time in the
    /// lock and in the run queue. No more are listed than can be.
    #[test]
    fn waits_of_requests_lie_within_them_and_say_no_more_than_was_waited(
        threads in prop::collection::vec(
            prop::collection::vec(prop::collection::vec((0_u64..3, 1_u64..9000, 0_u64..50, 1_u64..400), 0..9), 1..4), 1..3,
        ),
    ) {
        let mut scripts = Vec::new();
        for (tid, requests) in (2..).zip(&threads) {
            let fd = 9 + tid as i32;
            let mut script = Script::new(tid).accept(fd, (1, 0, 0));
            for waits in requests {
                let arrival = script.now_ns;
                script = sleep(script, 30, 7, &[40]).read(fd, GET, arrival, (5, 0, 0));
                for (other_call, asleep_us, run_queue_us, line) in waits {
                    if *other_call > 0 {
                        script = script.call(Call::Sleep, 0, (1, 0, 9), 0);
                    }
                    script = because_of(script.cpu(3).call(TAKE, -110, (1, *run_queue_us, *asleep_us), 0), 7);
                    script = found(script, &[*line], false);
                    script = found(script, &[*line + 500], true);
                }
                script = script.write_head(fd, OK5, (6, 0, 0)).write(fd, 5, (4, 0, 0));
            }
            scripts.push(script);
        }
        let end_us = scripts.iter().map(|script| (script.now_ns - START) / US).max().unwrap_or(0) + 1;
        let outcome = run_with_names(scripts, end_us);
        prop_assert_eq!(outcome.requests.len(), threads.iter().map(Vec::len).sum::<usize>());
        for request in &outcome.requests {
            let Some(GilWaits { listed, others, others_ns }) = request.gil.waits.as_deref() else {
                prop_assert_eq!(request.phases.get(Phase::GilWait), 0);
                continue;
            };
            prop_assert!(!listed.is_empty() && listed.len() <= MAX_LISTED);
            prop_assert!(*others == 0 || listed.len() == MAX_LISTED);
            let all_ns = listed.iter().map(|wait| wait.wait_ns).sum::<u64>() + others_ns;
            prop_assert_eq!(all_ns, request.phases.get(Phase::GilWait) + request.phases.get(Phase::RunQueue));
            let mut spans: Vec<(u64, u64)> =
                listed.iter().map(|wait| (wait.start_ns, wait.start_ns + wait.wait_ns)).collect();
            spans.sort_unstable();
            prop_assert!(spans.windows(2).all(|two| two[0].1 <= two[1].0));
            let (first, last) = (spans[0].0, spans[spans.len() - 1].1);
            prop_assert!(request.times.start_ns <= first && last <= request.times.end_ns);
            for wait in listed {
                prop_assert!(wait.holder.wait_ns <= wait.wait_ns);
                let held_at = wait.held_at.as_ref().expect("a place");
                prop_assert!(held_at.wait_ns <= wait.holder.wait_ns);
            }
        }
    }
}
