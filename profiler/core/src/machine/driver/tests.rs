//! What happens to a slice, from its thread to what it does.
//!
//! In: slices of threads, in the order of time. Out: assertions on the state, and on what is reported.

mod effect;
mod ends;
mod follow;
mod late;
mod meaning;
mod moment;
mod serving;
mod state;
mod topology;

use crate::event::{Call, Connection as Opened, Head, Slice, Tid};
use crate::fact::{Account, DescriptorClass};
use crate::machine::driver::state::State;
use crate::machine::runtime::thread::Thread;
use crate::machine::wire::connection::Connection;
use crate::machine::wire::request::{Active, Beginning, RequestKey};
use crate::phase::Phase;
use crate::timeline::Entry;
use profiler_common::record::slice::{FLAG_CLIENT, FLAG_STATUS_LINE};

const GET: &[u8] = b"GET /a HTTP/1.1\r\n\r\n";
const OK5: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n12345";
const CHUNKED: &[u8] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
const LISTENER: i32 = 3;
const EPOLL: i32 = 4;
/// The first client's descriptor; the next ones have the numbers behind it.
const CLIENT: i32 = 9;
const WAKEUP: i32 = 21;
const EAGAIN: i64 = -11;

/// When a gap began, when the call was entered, and when it was left.
type Times = (u64, u64, u64);

/// The state, and the entries so far. Thread 1 of process 1 makes the calls.
struct Run {
    state: State,
    entries: Vec<Entry>,
    sequence: u32,
}

type SetUp = fn(&mut Run);

/// What became of a request: where it ended, its phases, and whether it is open.
type Observed = (u64, Vec<(&'static str, u64)>, bool);

/// A call after a gap, all of it on a CPU.
fn slice(call: Call, times: Times, result: i64) -> Slice {
    Slice { result, ..Slice::on_cpu(call, times) }
}

const fn read_of(fd: i32) -> Call {
    Call::Read { fd, asked_bytes: 8192, arrival_ns: 0 }
}

impl Run {
    /// A process with a listener, an epoll instance, a wakeup descriptor and so many clients, in a window
    /// that began at 0.
    fn new(clients: u32) -> Self {
        let mut state = State::new(true);
        (state.window_start_ns, state.watch_start_ns) = (0, 0);
        let descriptors = &mut state.world.descriptors;
        descriptors.open(1, LISTENER, DescriptorClass::Listener, 0);
        descriptors.open(1, EPOLL, DescriptorClass::Epoll, 0);
        descriptors.open(1, WAKEUP, DescriptorClass::Wakeup, 0);
        for (number, fd) in (0..clients).zip(CLIENT..) {
            assert_eq!(state.wire.connections.open(&Opened::accepted(5), 10), Some(number));
            descriptors.open_client(1, fd, 10, number);
        }
        Self { state, entries: Vec::new(), sequence: 0 }
    }

    fn take(&mut self, slice: &Slice) {
        self.sequence += 1;
        let Self { state, entries, sequence } = self;
        let slice = Slice { sequence: *sequence, ..*slice };
        state.slice(&slice, &mut |entry| entries.push(entry));
    }

    fn call(&mut self, call: Call, times: Times, result: i64) {
        self.take(&slice(call, times, result));
    }

    /// The thread reads these bytes from a client, or writes them to it.
    fn moves(&mut self, call: Call, times: Times, bytes: &[u8]) {
        let inbound = matches!(call, Call::Read { .. });
        let (sequence, bytes) = (self.sequence + 1, bytes.to_vec());
        let is_status = bytes.starts_with(b"HTTP/");
        let mut slice = slice(call, times, bytes.len() as i64);
        slice.flags = FLAG_CLIENT | if is_status { FLAG_STATUS_LINE } else { 0 };
        self.state
            .heads
            .insert(1, Head { tgid: 1, tid: 1, sequence, fd: 0, inbound, offset_bytes: 0, bytes });
        self.take(&slice);
    }

    /// The thread reads a request from the first client from 120 to 130.
    fn reads_request(&mut self) {
        self.moves(read_of(CLIENT), (100, 120, 130), GET);
    }

    fn thread(&mut self) -> &mut Thread {
        self.state.runtime.threads.get_mut(1).unwrap()
    }

    fn connection(&mut self, number: u32) -> &mut Connection {
        self.state.wire.connections.get_mut(number).unwrap()
    }

    /// A request that came at this time on a connection.
    fn ask(&mut self, number: u32, id: u64, start_ns: u64) -> &mut Active {
        let active = Active::new(&Beginning::at(id, start_ns), 1, 1);
        let requests = &mut self.connection(number).requests;
        requests.push_back(Box::new(active));
        requests.back_mut().unwrap()
    }

    /// The requests that are over: where they ended, with their phases by name, and whether they were open.
    fn requests(&self) -> Vec<Observed> {
        let of = self.entries.iter().filter_map(|entry| match entry {
            Entry::Request(request) => {
                let mut parts: Vec<_> =
                    request.phases.iter().map(|(phase, length_ns)| (phase.name(), length_ns)).collect();
                parts.sort_unstable();
                Some((request.times.end_ns, parts, request.seen.open))
            }
            _ => None,
        });
        of.collect()
    }
}
