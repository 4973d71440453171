//! Records of light mode: messages, ends of connections, sleeps.
//!
//! In: the bytes of one record. Out: one [`Event`], or why the bytes are no record.

use profiler_common::record::detail;
use profiler_common::record::light::{END_BY_SEND, END_UNUSED, LightEndRecord, LightRecord, RECEIVED, SENT};
use profiler_common::record::sleep::{self as object, SleepRecord};
use profiler_common::record::{KIND_LIGHT, KIND_LIGHT_END, KIND_SLEEP};
use profiler_common::system_call::FUTEX;

use super::{Malformed, fixed};
use crate::event::{Body, Event, Light, LightEnd, LightWhat, LockThen, Slept, SleptOn};
use crate::fact::Account;

/// Whether a socket of this address family is a UNIX socket.
const fn is_unix(family: u16) -> bool {
    /// include/linux/socket.h.
    const AF_UNIX: u16 = 1;
    family == AF_UNIX
}

/// A light slice.
pub(super) fn message(bytes: &[u8]) -> Result<Event, Malformed> {
    let record = fixed::<LightRecord>(bytes, KIND_LIGHT)?;
    let what = match record.what {
        RECEIVED => LightWhat::Received,
        SENT => LightWhat::Sent,
        value => return Err(Malformed::BadValue { kind: KIND_LIGHT, value }),
    };
    Ok(Event {
        time_ns: record.header.time_ns,
        body: Body::Light(Light {
            tgid: record.header.tgid,
            tid: record.header.tid,
            what,
            socket: record.socket,
            generation: record.generation,
            bytes: record.bytes,
            arrival_ns: record.arrival_ns,
            is_unix: is_unix(record.family),
            account: Account {
                cpu_ns: record.cpu_ns,
                run_queue_ns: record.run_queue_ns,
                blocked_ns: record.blocked_ns,
            },
            sequence: record.sequence,
            switches: record.switches,
            flags: record.flags,
        }),
    })
}

/// The end of a connection.
pub(super) fn end(bytes: &[u8]) -> Result<Event, Malformed> {
    let record = fixed::<LightEndRecord>(bytes, KIND_LIGHT_END)?;
    Ok(Event {
        time_ns: record.header.time_ns,
        body: Body::LightEnd(LightEnd {
            tgid: record.header.tgid,
            socket: (record.socket, record.generation),
            established_ns: record.established_ns,
            error: -i64::from(record.error),
            by_send: record.flags & END_BY_SEND != 0,
            is_unused: record.flags & END_UNUSED != 0,
            is_unix: is_unix(record.family),
            ports: (record.local_port, record.peer_port),
        }),
    })
}

/// A sleep.
pub(super) fn sleep(bytes: &[u8]) -> Result<Event, Malformed> {
    let record = fixed::<SleepRecord>(bytes, KIND_SLEEP)?;
    Ok(Event { time_ns: record.header.time_ns, body: Body::Slept(slept(&record)?) })
}

/// The sleep of a record.
pub(crate) fn slept(record: &SleepRecord) -> Result<Slept, Malformed> {
    let mut slept = Slept {
        tgid: record.header.tgid,
        tid: record.header.tid,
        start_ns: record.start_ns,
        woken_ns: record.woken_ns,
        cpu_ns: record.cpu_ns,
        system_call: record.system_call,
        on: SleptOn::Nothing,
        argument: 0,
        events: 0,
        sequence: record.sequence,
        client: 0,
        is_shut: false,
        woken_by: 0,
        lock: None,
    };
    if record.system_call == FUTEX.cast_signed() {
        let futex = detail::FutexSleep::of(&record.detail);
        slept.argument = futex.address;
        slept.events = u32::from(futex.operation);
        slept.woken_by = futex.waker_tid;
        slept.lock = lock_then(&futex);
        return Ok(slept);
    }
    let detail = detail::Sleep::of(&record.detail);
    slept.argument = detail.argument;
    slept.events = detail.events;
    slept.on = match detail.object {
        object::NO_OBJECT => SleptOn::Nothing,
        object::CLIENT => SleptOn::Client,
        object::LISTENER => SleptOn::Listener,
        object::SOCKET => SleptOn::Socket { port: detail.port },
        object::PIPE => SleptOn::Pipe,
        object::FILE => SleptOn::File,
        object::ANONYMOUS => SleptOn::Anonymous,
        object::OTHER => SleptOn::Other,
        value => return Err(Malformed::BadValue { kind: KIND_SLEEP, value: u32::from(value) }),
    };
    if matches!(slept.on, SleptOn::Pipe | SleptOn::Anonymous | SleptOn::File | SleptOn::Nothing) {
        slept.woken_by = low(detail.socket);
    }
    if slept.on == SleptOn::Client {
        (slept.client, slept.is_shut) = (detail.socket, detail.is_shut);
    }
    Ok(slept)
}

/// A thread's number out of a word that holds nothing else.
fn low(word: u64) -> u32 {
    u32::try_from(word).unwrap_or(0)
}

/// What a sleep on the memory of an interpreter lock shows of it.
fn lock_then(futex: &detail::FutexSleep) -> Option<LockThen> {
    (futex.holder_tid != 0).then_some(LockThen {
        holder: futex.holder_tid,
        is_locked: futex.is_locked,
        switches: futex.switches,
        until_ns: futex.until_ns,
        woken_by: futex.waker_tid,
    })
}

#[cfg(test)]
mod tests;
