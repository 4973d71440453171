//! Loads and settings of all kinds.
//!
//! In: nothing. Out: strategies.

use proptest::prelude::*;

use crate::competition::Competition;
use crate::load::{Arrives, Front, Load, Request, Row, Segment, Work};
use crate::setting::{Dispatch, Errands, Own, Setting, Wakes};
use profiler_core::phase::Phase;

pub(super) fn segment() -> impl Strategy<Value = Segment> {
    let work = prop_oneof![
        4 => Just(Work::Python),
        2 => Just(Work::Free(Phase::Write)),
        1 => Just(Work::Wait(Phase::Sleep)),
        2 => (0..3_u32).prop_map(Work::BackEnd),
    ];
    (work, 0..9_000_000_u64).prop_map(|(work, duration_ns)| Segment { work, duration_ns })
}

fn request() -> impl Strategy<Value = Request> {
    let ahead_ns = prop_oneof![3 => Just(0), 1 => 0..5_000_000_u64];
    let stall = (0..3_000_000_u64)
        .prop_map(|duration_ns| Segment { work: Work::Wait(Phase::ClientWriteStall), duration_ns });
    let behind = prop::collection::vec(stall, 0..2);
    let row = (ahead_ns, 0..200_000_u64, prop::collection::vec(segment(), 0..6), behind)
        .prop_map(|(ahead_ns, pickup_ns, segments, behind)| Row { ahead_ns, pickup_ns, segments, behind });
    (row, 0..50_000_000_u64, any::<bool>(), 0..4_u64).prop_map(|(row, at_ns, is_open, connection)| {
        // Who it waits for is set once its own number is known.
        let after = Arrives::After { request: 0, think_ns: at_ns };
        Request {
            endpoint: 0,
            connection,
            arrives: if is_open { Arrives::At(at_ns) } else { after },
            is_counted: true,
            row,
        }
    })
}

pub(super) fn load() -> impl Strategy<Value = Load> {
    let after = prop::collection::vec(segment(), 0..3);
    (prop::collection::vec(request(), 1..40), after, front()).prop_map(|(mut requests, after, front)| {
        for (number, request) in requests.iter_mut().enumerate() {
            if let Arrives::After { request: before, think_ns } = &mut request.arrives {
                *before = number.saturating_sub(1 + number % 3);
                if number == 0 {
                    request.arrives = Arrives::At(*think_ns);
                }
            }
        }
        Load {
            requests,
            after,
            front,
            endpoints: vec![String::new()],
            back_ends: vec!["a".to_owned(), "b".to_owned()],
        }
    })
}

/// A front end has no interpreter lock.
pub(super) fn front() -> impl Strategy<Value = Option<Front>> {
    let leg = || {
        let segment = (any::<bool>(), 0..500_000_u64).prop_map(|(waits, duration_ns)| {
            let work = if waits { Work::Wait(Phase::FrontEnd) } else { Work::Free(Phase::FrontEnd) };
            Segment { work, duration_ns }
        });
        prop::collection::vec(segment, 0..3)
    };
    let all = (leg(), leg(), leg()).prop_map(|(before, after, then)| Front { before, after, then });
    prop::option::of(all)
}

pub(super) fn setting() -> impl Strategy<Value = Setting> {
    let dispatch = prop_oneof![
        Just(Dispatch::Shared(Wakes::Random)),
        Just(Dispatch::Shared(Wakes::FirstOfTwo)),
        Just(Dispatch::Shared(Wakes::InTurn)),
        Just(Dispatch::Shared(Wakes::LastFirst)),
        Just(Dispatch::Shared(Wakes::LongestFree)),
        errands().prop_map(Dispatch::ByProcess),
    ];
    let others = prop_oneof![Just(Vec::new()), prop::collection::vec(others(), 1..3)];
    let who = (1..4_u32, 1..4_u32, dispatch, any::<bool>());
    let lock = (any::<bool>(), prop::collection::vec(0..200_000_u64, 0..3), 0..100_000_u64);
    (who, 1..4_u32, lock, any::<bool>(), others, any::<u64>()).prop_map(
        |((processes, threads, dispatch, is_sticky), cores, lock, has_limit, competition, seed)| Setting {
            processes,
            threads,
            dispatch,
            is_sticky,
            cores,
            // Requests of these laws all have endpoint 0.
            own: lock.1.first().map(|some| Own {
                endpoints: vec![usize::from(some % 2 == 0)],
                processes: 1 + processes % 2,
                threads: 2,
            }),
            switch_interval_ns: lock.0.then_some(5_000_000),
            quick_handovers_ns: lock.1.iter().map(|ns| ns / 3).collect(),
            handovers_ns: lock.1,
            wakeup_ns: lock.2,
            back_end_limits: if has_limit { vec![Some(1)] } else { Vec::new() },
            competition,
            seed,
            ..Setting::default()
        },
    )
}

fn errands() -> impl Strategy<Value = Errands> {
    let part = || {
        let segments = prop::collection::vec(segment(), 0..4);
        segments.prop_map(|mut all| {
            all.iter_mut().for_each(|segment| segment.duration_ns /= 30);
            all
        })
    };
    (part(), part(), part(), 0..4_usize).prop_map(|(before, then, after, accept_at)| Errands {
        accept_at: accept_at.min(before.len()),
        before,
        then,
        after,
    })
}

fn others() -> impl Strategy<Value = Competition> {
    (0..50_000_000_u64, 1..50_000_000_u64, 0..3_u64, 500_000..9_000_000_u64).prop_map(
        |(from_ns, length_ns, cores, burst_ns)| Competition {
            from_ns,
            until_ns: from_ns + length_ns,
            cpu_ns: cores * length_ns,
            burst_ns,
        },
    )
}
