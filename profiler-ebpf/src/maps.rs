//! Every map of the object, with what is stored in it.
//!
//! In: nothing. Out: the maps. Records go through `emit` only.

use aya_ebpf::Global;
use aya_ebpf::bindings::bpf_map_type::BPF_MAP_TYPE_TASK_STORAGE;
use aya_ebpf::bindings::{BPF_F_MMAPABLE, BPF_F_NO_PREALLOC, BPF_LOCAL_STORAGE_GET_F_CREATE, task_struct};
use aya_ebpf::btf_maps::{Array, HashMap, LruHashMap, PerCpuArray, Queue, RingBuf};
use aya_ebpf::helpers::generated::bpf_task_storage_get;
use aya_ebpf::macros::btf_map;
use profiler_common::account::ThreadAccount;
use profiler_common::gil::{GIL_PROBE_SLOTS, MAX_LOCK_BLOCKS};
use profiler_common::limits::{
    MAX_PLAINTEXT_BYTES, MAX_SOCKETS, MAX_THREADS, MIN_EVIDENCE_RING_BYTES, PLAINTEXT_RING_BYTES,
};
use profiler_common::listener::ListenerCount;
use profiler_common::loss::LOSS_CAUSES;
use profiler_common::queue::{MAX_DELAYED, QueueCount};
use profiler_common::record::evidence::EvidenceRecord;
use profiler_common::record::plaintext::PlaintextRecord;
use profiler_common::record::taken::{MAX_STINTS, Stint};
use profiler_common::ring::{CHUNK_BYTES, ELEMENT_BYTES, RingState};
use profiler_common::stack::{MAX_TOLD, SAMPLE_RING_BYTES, StackSample};
use profiler_common::timers::TimersWay;
use profiler_common::waiting::{LOOK_ELEMENTS, MAX_WAITING, WaitingConnection};

/// Live records of the threads; user space maps them read-only. Element `index − 1` belongs to the thread
/// whose storage holds `index`.
#[btf_map]
pub static ACCOUNTS: Array<ThreadAccount, { MAX_THREADS as usize }, { BPF_F_MMAPABLE as usize }> =
    Array::new();

/// Indexes (from 1) that no thread has; user space fills it before anything is attached.
#[btf_map]
pub static FREE_INDEXES: Queue<u32, { MAX_THREADS as usize }> = Queue::new();

/// Index of each thread's account; 0: none.
#[btf_map]
pub static TASKS: TaskStorage<u32> = TaskStorage::new();

/// Processes that are traced: given by user space, then inherited by fork.
#[btf_map]
pub static TARGETS: HashMap<u32, u32, 8192> = HashMap::new();

/// By process, in this order. First the address of the interpreter lock, and the distance of a thread's
/// number in its `PyThreadState` (0: not known). If not 0, how far the number is from where the word there
/// points. Then the ways to a thread's frames and to the collector (`profiler_common::gil::FrameWay`,
/// `CollectingWay`), bits (`profiler_common::gil::HAS_OTHER_LOCKS` and the next), and the way to the task
/// that a thread works for (`TaskWay` there). Given by user space, inherited by fork.
#[btf_map]
pub static INTERPRETERS: HashMap<u32, [u64; 6], 8192> = HashMap::new();

/// Element 0 is another number each time the way to the tasks of a process changed. It is 0 while no process
/// has tasks that can be read. Until it changes nobody need look into [`INTERPRETERS`] for them.
#[btf_map]
pub static TASKS_GENERATION: Array<u32, 1> = Array::new();

/// Where the timers of a process's event loop are, by process. Given by user space alone: a fork's child has
/// a loop of its own, if any.
#[btf_map]
pub static TIMERS: HashMap<u32, TimersWay, 4096> = HashMap::new();

/// Addresses of further locks, those of sub-interpreters that do not share the main one's, by each block of
/// memory that they are in (`profiler_common::gil::block_key`). Given by user space; a fork leaves its child
/// the main interpreter alone.
#[btf_map]
pub static LOCKS: HashMap<u64, u64, { MAX_LOCK_BLOCKS as usize }> = HashMap::new();

/// How often the probes in the interpreter were hit (`profiler_common::gil`).
#[btf_map]
pub static GIL_PROBES: PerCpuArray<u64, { GIL_PROBE_SLOTS as usize }> = PerCpuArray::new();

/// By local TCP port (host order): address of a socket on which a traced process listens there; 0: none does.
/// [`LISTENER_UNKNOWN`]: a traced process accepted a connection there, from a listener that we do not know.
/// [`BACK_END_PORT`]: no listener, but a connection to a back end begins there. An array, because every
/// segment of the machine asks.
#[btf_map]
pub static LISTENER_PORTS: Array<u64, 65_536> = Array::new();

/// See [`LISTENER_PORTS`].
pub const LISTENER_UNKNOWN: u64 = 1;
/// See [`LISTENER_PORTS`].
pub const BACK_END_PORT: u64 = 2;

/// What connections set in motion, by the address of their listener's socket.
#[btf_map]
pub static LISTENERS: HashMap<u64, ListenerCount, 1024> = HashMap::new();

/// What was refused because an accept queue was full, by the address of the listener's socket.
#[btf_map]
pub static QUEUES: HashMap<u64, QueueCount, 1024> = HashMap::new();

/// When a client was first refused, by its address and port and ours.
#[btf_map]
pub static REFUSED: LruHashMap<u64, u64, { MAX_DELAYED as usize }> = LruHashMap::new();

/// Element 0 is set once a client was refused: until then nobody need look into [`REFUSED`].
#[btf_map]
pub static REFUSED_ANY: Array<u32, 1> = Array::new();

/// What this CPU is at.
#[btf_map]
pub static CPU: PerCpuArray<Cpu, 1> = PerCpuArray::new();

/// Address objects (`unix_sock.addr`) of traced UNIX listeners, with the inode of the listener; accepted
/// sockets share them.
#[btf_map]
pub static UNIX_LISTENERS: HashMap<u64, u32, 1024> = HashMap::new();

/// State of connections, clients' and to back ends, by socket address.
#[btf_map]
pub static SOCKETS: LruHashMap<u64, Socket, { MAX_SOCKETS as usize }> = LruHashMap::new();

/// Connections by process and descriptor.
#[btf_map]
pub static DESCRIPTORS: LruHashMap<DescriptorKey, Descriptor, { MAX_SOCKETS as usize }> = LruHashMap::new();

/// The rings, chunk by chunk (`profiler_common::ring`); user space maps them read-only. How many there are is
/// set by the loader, here as in the next two.
#[btf_map]
pub static RECORDS: Array<[u8; ELEMENT_BYTES], 1, { BPF_F_MMAPABLE as usize }> = Array::new();

/// What the writer of each ring keeps; user space maps it read-only.
#[btf_map]
pub static RING_STATES: Array<RingState, 1, { BPF_F_MMAPABLE as usize }> = Array::new();

/// Position up to which user space has taken the records of each ring.
#[btf_map]
pub static TAKEN: Array<u64, 1> = Array::new();

/// Chunks of a ring, a power of two.
#[unsafe(no_mangle)]
pub static RING_CHUNKS: Global<u32> = Global::new(2);

/// Bytes of a ring that may be in use.
#[unsafe(no_mangle)]
pub static RING_CAPACITY: Global<u32> = Global::new(CHUNK_BYTES as u32);

/// Number of the ring that the iterators write to: unlike hooks they can be interrupted by other programs.
#[unsafe(no_mangle)]
pub static ITERATORS_RING: Global<u32> = Global::new(0);

/// Evidence about ends of connections and processes: written rarely, and also where another program is
/// interrupted in the middle of a record. How large it is is set by the loader.
#[btf_map]
pub static EVIDENCE: RingBuf<EvidenceRecord, { MIN_EVIDENCE_RING_BYTES as usize }> = RingBuf::new();

/// Samples of the clock, which interrupts whoever writes to the other rings.
#[btf_map]
pub static SAMPLES: RingBuf<StackSample, { SAMPLE_RING_BYTES as usize }> = RingBuf::new();

/// From which length on each wait is looked at for where in Python it was; 0: none is.
#[btf_map]
pub static WAIT_STEP: Array<u64, 1> = Array::new();

/// When the frames of a stack were told last.
#[btf_map]
pub static TOLD_STACKS: LruHashMap<u64, u64, { MAX_TOLD as usize }> = LruHashMap::new();

/// Records handed to `EVIDENCE`.
#[btf_map]
pub static EVIDENCE_EMITTED: PerCpuArray<u64, 1> = PerCpuArray::new();

/// First bytes of messages on encrypted connections, by probes in OpenSSL, which can be preempted anywhere.
#[btf_map]
pub static PLAINTEXTS: RingBuf<Plaintext, { PLAINTEXT_RING_BYTES as usize }> = RingBuf::new();

/// Records handed to `PLAINTEXTS`.
#[btf_map]
pub static PLAINTEXTS_EMITTED: PerCpuArray<u64, 1> = PerCpuArray::new();

/// What a thread has called OpenSSL with.
#[btf_map]
pub static TLS_CALLS: TaskStorage<TlsCall> = TaskStorage::new();

/// Connections that nobody serves, as the last look found them.
#[btf_map]
pub static WAITING: Array<WaitingConnection, { MAX_WAITING as usize }> = Array::new();

/// The look itself: `profiler_common::waiting::LOOK_…`.
#[btf_map]
pub static WAITING_LOOK: Array<u64, { LOOK_ELEMENTS as usize }> = Array::new();

/// Number of the last look that went through a listener's accept queue, by the address of its socket.
#[btf_map]
pub static LOOKED: LruHashMap<u64, u64, 1024> = LruHashMap::new();

/// Losses by cause (`profiler_common::loss`).
#[btf_map]
pub static LOSSES: PerCpuArray<u64, { LOSS_CAUSES as usize }> = PerCpuArray::new();

/// Element 0 is set when user space has detached: tracepoints of single system calls still run for seconds.
#[btf_map]
pub static CONTROL: Array<u32, 1> = Array::new();

/// An element of [`PLAINTEXTS`].
#[repr(C)]
pub struct Plaintext {
    /// What is said of the bytes.
    pub record: PlaintextRecord,
    /// As many of them as `record` says.
    pub bytes: [u8; MAX_PLAINTEXT_BYTES],
}

/// A call of OpenSSL that is under way.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct TlsCall {
    /// The connection's object there.
    pub session: u64,
    /// Where the bytes are, or will be; 0: no call is under way.
    pub buffer: u64,
    /// Where the call says how many it got; 0: it returns that.
    pub count_at: u64,
    /// How many there are.
    pub moved_bytes: u64,
    /// The first 8 of them.
    pub first: u64,
}

/// What one CPU is at.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Cpu {
    /// Index (from 1) of the account of the thread that runs here; 0: it had none when it was switched in,
    /// so ask its storage. Set by `sched_switch` and taken back when the thread ends.
    pub current: u32,
    /// Switches for which the stints of this CPU are kept still (`stints`); 0: they are not.
    pub watched: u32,
    /// What may be behind the wakeups that this CPU does next: the listener of a traced process to which a
    /// connection was just announced; 0: something else happened since.
    pub listener: u64,
    /// When that was.
    pub since_ns: u64,
    /// When the connection that is announced here next was established; 0: not known.
    pub established_ns: u64,
    /// Port of its other end, host order.
    pub peer_port: u64,
    /// While it is watched: its last switch.
    pub switched_ns: u64,
    /// Stints kept so far, and how many of them were told.
    pub stints_kept: u32,
    /// See `stints_kept`.
    pub stints_told: u32,
    /// The last of them, each at its number modulo their count.
    pub stints: [Stint; MAX_STINTS],
}

/// State of one socket address.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Socket {
    /// When the handshake was done; 0: not seen. Of a back end's only where connect did not wait for it.
    pub established_ns: u64,
    /// When the first byte that no read has seen yet arrived; 0: there is none, or it is not known.
    pub first_data_ns: u64,
    /// When the last byte arrived; 0: not known.
    pub last_data_ns: u64,
    /// Light mode: inode of a UNIX socket whose bytes were moved; 0: none were, or it is not known.
    pub inode: u64,
    /// Connections seen on this address before this one.
    pub generation: u32,
    /// [`SOCKET_WAITING`], [`SOCKET_ACCEPTED`], [`SOCKET_CLOSED`] or [`SOCKET_BACK_END`].
    pub stage: u32,
    /// For how long (ms) the client had been refused because the accept queue was full.
    pub delayed_ms: u32,
    /// TCP port on this side, of a back end's connection (of others it may be anything).
    pub local_port: u32,
    /// Light mode: [`SPEAKS_UNKNOWN`], [`SPEAKS_PLAIN`] or [`SPEAKS_TLS`].
    pub speaks: u32,
    /// Light mode: what is captured of the message under way, as `programs::light_head` packs it; 0: nothing
    /// was moved yet.
    pub capture: u32,
}

/// [`Socket::speaks`]: nothing was read yet, or not by a call whose bytes can be looked at.
pub const SPEAKS_UNKNOWN: u32 = 0;
/// [`Socket::speaks`]: what was read first is no record of TLS.
pub const SPEAKS_PLAIN: u32 = 1;
/// [`Socket::speaks`]: it is one.
pub const SPEAKS_TLS: u32 = 2;

/// [`Socket::stage`]: not accepted yet.
pub const SOCKET_WAITING: u32 = 0;
/// [`Socket::stage`]: a traced process accepted it.
pub const SOCKET_ACCEPTED: u32 = 1;
/// [`Socket::stage`]: the traced process closed it; whatever comes on this address next is another
/// connection.
pub const SOCKET_CLOSED: u32 = 2;
/// [`Socket::stage`]: a traced process began it.
pub const SOCKET_BACK_END: u32 = 3;

/// Key of [`DESCRIPTORS`].
#[repr(C)]
#[derive(Clone, Copy)]
pub struct DescriptorKey {
    /// Process.
    pub tgid: u32,
    /// Descriptor there.
    pub fd: u32,
}

/// One connection as its process sees it.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Descriptor {
    /// Address of the socket; 0: closed. Elements stay when their descriptor is closed: the next connection
    /// on the number takes them over, which is far cheaper than to delete and insert.
    pub socket: u64,
    /// Bytes that the current inbound capture may still take.
    pub inbound_left: u32,
    /// Bytes that the current outbound capture may still take.
    pub outbound_left: u32,
    /// `profiler_common::record::head::{INBOUND, OUTBOUND}`: where the last bytes went.
    pub last_direction: u32,
    /// Whether `tcp_sock` fields may be read from the socket.
    pub is_tcp: u16,
    /// [`CLIENT`], [`BACK_END`] or [`BACK_END_BEGINS`].
    pub role: u16,
}

/// [`Descriptor::role`]: a traced listener accepted it.
pub const CLIENT: u16 = 0;
/// [`Descriptor::role`]: the process began it.
pub const BACK_END: u16 = 1;
/// [`Descriptor::role`]: the same, by a connect that did not wait; the process has not learnt yet that it is
/// made.
pub const BACK_END_BEGINS: u16 = 2;

/// Task-local storage: aya-ebpf has no type for it.
#[repr(C)]
pub struct TaskStorage<T> {
    r#type: *const [i32; BPF_MAP_TYPE_TASK_STORAGE as usize],
    key: *const i32,
    value: *const T,
    max_entries: *const [i32; 0],
    map_flags: *const [i32; BPF_F_NO_PREALLOC as usize],
}

// SAFETY: a definition for the loader; nothing dereferences its pointers.
unsafe impl<T> Sync for TaskStorage<T> {}

impl<T> TaskStorage<T> {
    /// The definition that the loader reads.
    pub const fn new() -> Self {
        use core::ptr::null;
        Self { r#type: null(), key: null(), value: null(), max_entries: null(), map_flags: null() }
    }

    /// The value of `task`, if it has one.
    #[inline(always)]
    pub fn get(&self, task: *mut task_struct) -> Option<*mut T> {
        self.lookup(task, 0)
    }

    /// The value of `task`, made (zeroed) if it has none.
    #[inline(always)]
    pub fn get_or_make(&self, task: *mut task_struct) -> Option<*mut T> {
        self.lookup(task, u64::from(BPF_LOCAL_STORAGE_GET_F_CREATE))
    }

    #[inline(always)]
    fn lookup(&self, task: *mut task_struct, flags: u64) -> Option<*mut T> {
        let map = core::ptr::from_ref(self).cast_mut().cast();
        // SAFETY: the verifier checks that `task` is a task and the map a task storage.
        let value = unsafe { bpf_task_storage_get(map, task, core::ptr::null_mut(), flags) };
        if value.is_null() { None } else { Some(value.cast()) }
    }
}
