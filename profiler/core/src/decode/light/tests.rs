//! Each kind of record of light mode, by example.

use profiler_common::record::detail::{self, FutexSleep};
use profiler_common::record::light::{END_BY_SEND, END_UNUSED, LightEndRecord};
use profiler_common::record::sleep::{self, SleepRecord};
use profiler_common::record::{KIND_LIGHT_END, KIND_SLEEP, RecordHeader};
use zerocopy::IntoBytes;

use crate::decode::{Malformed, decode};
use crate::event::{Body, Event, LightEnd, LockThen, Slept, SleptOn};

#[test]
fn sleep_of_light_mode_is_told_with_what_its_descriptor_stands_for() {
    let length_bytes = u16::try_from(size_of::<SleepRecord>()).expect("short");
    let header = RecordHeader { kind: KIND_SLEEP, length_bytes, time_ns: 90, tgid: 1, tid: 2, cpu: 0 };
    let socket = detail::Sleep {
        argument: 9,
        object: sleep::SOCKET,
        socket: 0xffff_8880_0000_0000,
        family: 2,
        port: 5432,
        address: 0x0100_007f,
        ..detail::Sleep::default()
    };
    let record = SleepRecord {
        header,
        start_ns: 50,
        woken_ns: 80,
        cpu_ns: 7,
        detail: socket.words(),
        system_call: 45,
        sequence: 3,
    };
    let slept = Slept {
        tgid: 1,
        tid: 2,
        start_ns: 50,
        woken_ns: 80,
        cpu_ns: 7,
        system_call: 45,
        on: SleptOn::Socket { port: 5432 },
        argument: 9,
        events: 0,
        sequence: 3,
        client: 0,
        is_shut: false,
        woken_by: 0,
        lock: None,
    };
    assert_eq!(decode(record.as_bytes()), Ok(Event { time_ns: 90, body: Body::Slept(slept) }));
    for (object, on) in [
        (sleep::NO_OBJECT, SleptOn::Nothing),
        (sleep::CLIENT, SleptOn::Client),
        (sleep::LISTENER, SleptOn::Listener),
        (sleep::PIPE, SleptOn::Pipe),
        (sleep::FILE, SleptOn::File),
        (sleep::ANONYMOUS, SleptOn::Anonymous),
        (sleep::OTHER, SleptOn::Other),
    ] {
        let record = SleepRecord { detail: detail::Sleep { object, ..socket }.words(), ..record };
        let client = if on == SleptOn::Client { socket.socket } else { 0 };
        let expected = Event { time_ns: 90, body: Body::Slept(Slept { on, client, ..slept }) };
        assert_eq!(decode(record.as_bytes()), Ok(expected));
    }
    let unknown = SleepRecord { detail: detail::Sleep { object: 8, ..socket }.words(), ..record };
    assert_eq!(decode(unknown.as_bytes()), Err(Malformed::BadValue { kind: KIND_SLEEP, value: 8 }));
}

#[test]
fn a_sleep_for_the_interpreter_lock_says_who_had_it_until_when_it_would_last_and_who_ended_it() {
    use profiler_common::system_call::FUTEX;
    let length_bytes = u16::try_from(size_of::<SleepRecord>()).expect("short");
    let header = RecordHeader { kind: KIND_SLEEP, length_bytes, time_ns: 90, tgid: 1, tid: 2, cpu: 0 };
    let futex = FutexSleep {
        address: 0x7000,
        operation: 0x89,
        is_locked: false,
        waker_tid: 99,
        holder_tid: 77,
        switches: 0x3fff_ffff,
        until_ns: 5_000,
    };
    let slept = |futex: FutexSleep| {
        let system_call = FUTEX.cast_signed();
        let record = SleepRecord { header, detail: futex.words(), system_call, ..SleepRecord::default() };
        match decode(record.as_bytes()) {
            Ok(Event { body: Body::Slept(slept), .. }) => slept,
            other => panic!("{other:?}"),
        }
    };
    let then =
        LockThen { holder: 77, is_locked: false, switches: 0x3fff_ffff, until_ns: 5_000, woken_by: 99 };
    let found = slept(futex);
    assert_eq!((found.argument, found.events, found.on), (0x7000, 0x89, SleptOn::Nothing));
    assert_eq!(found.lock, Some(then));
    let locked = slept(FutexSleep { is_locked: true, ..futex });
    assert_eq!(locked.lock, Some(LockThen { is_locked: true, ..then }));
    assert_eq!(
        slept(FutexSleep { holder_tid: 0, ..futex }).lock,
        None,
        "it was not read, or is another futex"
    );
}

#[test]
fn the_end_of_a_connection_of_light_mode_arrives_whole() {
    let record = LightEndRecord {
        header: RecordHeader {
            kind: KIND_LIGHT_END,
            length_bytes: u16::try_from(size_of::<LightEndRecord>()).expect("short"),
            cpu: 1,
            time_ns: 5_000,
            tgid: 10,
            tid: 0,
        },
        socket: 0xffff_8880,
        established_ns: 4_500,
        generation: 3,
        flags: END_BY_SEND,
        error: 32,
        family: 2,
        local_port: 8000,
        peer_port: 54_321,
    };
    let end = LightEnd {
        tgid: 10,
        socket: (0xffff_8880, 3),
        established_ns: 4_500,
        error: -32,
        by_send: true,
        is_unused: false,
        is_unix: false,
        ports: (8000, 54_321),
    };
    assert_eq!(decode(record.as_bytes()), Ok(Event { time_ns: 5_000, body: Body::LightEnd(end) }));
    let unused = LightEndRecord { flags: END_UNUSED, family: 1, ..record };
    let end = LightEnd { by_send: false, is_unused: true, is_unix: true, ..end };
    assert_eq!(decode(unused.as_bytes()), Ok(Event { time_ns: 5_000, body: Body::LightEnd(end) }));
}
