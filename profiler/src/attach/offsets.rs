//! Offsets of kernel fields: what the programs' globals must hold on this kernel.
//!
//! In: the kernel's type information. Out: one value per global of `profiler-ebpf/src/kernel`.

use super::AttachError;
use crate::capability::kernel_btf::KernelBtf;

/// Where the kernel notes that a call came by the 32-bit entry (`registers::BY_32_BIT_ENTRY` of the kernel
/// programs says how).
const CALL_STATUS: &str =
    if cfg!(target_arch = "aarch64") { "thread_info.flags" } else { "thread_info.status" };

/// What a program sees as the offset of a field that does not exist here.
const MISSING: u32 = u32::MAX;

struct Field {
    global: &'static str,
    of: &'static str,
    /// Names that the member had over time.
    members: &'static [&'static str],
    required: bool,
}

const fn required(global: &'static str, of: &'static str, members: &'static [&'static str]) -> Field {
    Field { global, of, members, required: true }
}

const fn optional(global: &'static str, of: &'static str, members: &'static [&'static str]) -> Field {
    Field { global, of, members, required: false }
}

const FIELDS: &[Field] = &[
    required("TASK_TGID", "task_struct", &["tgid"]),
    required("TASK_PID", "task_struct", &["pid"]),
    required("TASK_STATE", "task_struct", &["__state", "state"]),
    required("TASK_ON_CPU", "task_struct", &["on_cpu"]),
    required("TASK_EXIT_CODE", "task_struct", &["exit_code"]),
    required("TASK_COMM", "task_struct", &["comm"]),
    optional("TASK_CALL_STATUS", "task_struct", &[CALL_STATUS]),
    optional("TASK_STORAGE", "task_struct", &["bpf_storage"]),
    optional("TASK_PID_OBJECT", "task_struct", &["thread_pid"]),
    optional("PID_LEVEL", "pid", &["level"]),
    optional("PID_NUMBERS", "pid", &["numbers"]),
    optional("TASK_PRIORITY", "task_struct", &["prio"]),
    optional("TASK_RAN", "task_struct", &["se.sum_exec_runtime"]),
    optional("TASK_RAN_BEFORE", "task_struct", &["se.prev_sum_exec_runtime"]),
    optional("TASK_MOVES", "task_struct", &["se.nr_migrations"]),
    optional("TASK_THROTTLED", "task_struct", &["throttled"]),
    optional("TASK_ON_QUEUE", "task_struct", &["se.on_rq"]),
    optional("TASK_QUEUE", "task_struct", &["se.cfs_rq"]),
    optional("QUEUE_THROTTLED", "cfs_rq", &["throttle_count"]),
    required("TASK_FILES", "task_struct", &["files"]),
    required("FILES_FDT", "files_struct", &["fdt"]),
    required("FDTABLE_FD", "fdtable", &["fd"]),
    required("FDTABLE_SIZE", "fdtable", &["max_fds"]),
    required("FILE_PRIVATE_DATA", "file", &["private_data"]),
    required("SOCKET_SK", "socket", &["sk"]),
    required("SOCK_FAMILY", "sock_common", &["skc_family"]),
    required("SOCK_STATE", "sock_common", &["skc_state"]),
    required("SOCK_LOCAL_PORT", "sock_common", &["skc_num"]),
    required("SOCK_PEER_PORT", "sock_common", &["skc_dport"]),
    optional("TCP_RECEIVE_NEXT", "tcp_sock", &["rcv_nxt"]),
    optional("TCP_COPIED", "tcp_sock", &["copied_seq"]),
    optional("TCP_WRITTEN", "tcp_sock", &["write_seq"]),
    optional("TCP_UNACKNOWLEDGED", "tcp_sock", &["snd_una"]),
    optional("UNIX_ADDRESS", "unix_sock", &["addr"]),
    optional("UNIX_PEER", "unix_sock", &["peer"]),
    required("SOCK_SOCKET", "sock", &["sk_socket"]),
    required("SOCKET_FILE", "socket", &["file"]),
    required("FILE_INODE", "file", &["f_inode"]),
    optional("INODE_NUMBER", "inode", &["i_ino"]),
    required("INODE_MODE", "inode", &["i_mode"]),
    required("INODE_FILE_SYSTEM", "inode", &["i_sb"]),
    required("FILE_SYSTEM_MAGIC", "super_block", &["s_magic"]),
    optional("SOCK_RECEIVE_QUEUE_LENGTH", "sock", &["sk_receive_queue.qlen"]),
    optional("SOCK_RECEIVE_QUEUE", "sock", &["sk_receive_queue"]),
    optional("SOCK_RECEIVE_QUEUE_LAST", "sock", &["sk_receive_queue.prev"]),
    required("SOCK_BACKLOG", "sock", &["sk_ack_backlog"]),
    required("SOCK_MAX_BACKLOG", "sock", &["sk_max_ack_backlog"]),
    required("SOCK_PEER_ADDRESS", "sock_common", &["skc_daddr"]),
    optional("SOCK_PEER_ADDRESS_V6", "sock_common", &["skc_v6_daddr"]),
    optional("SOCK_NETWORK", "sock_common", &["skc_net.net"]),
    optional("SOCK_DEFERRED", "inet_connection_sock", &["icsk_accept_queue.rskq_defer_accept"]),
    optional("SOCK_TYPE", "sock", &["sk_type"]),
    optional("PACKET_HEAD", "sk_buff", &["head"]),
    optional("PACKET_NETWORK_HEADER", "sk_buff", &["network_header"]),
    optional("PACKET_TRANSPORT_HEADER", "sk_buff", &["transport_header"]),
    optional("PACKET_SOCKET", "sk_buff", &["sk"]),
    optional("QUEUE_FIRST", "inet_connection_sock", &["icsk_accept_queue.rskq_accept_head"]),
    optional("REQUEST_NEXT", "request_sock", &["dl_next"]),
    optional("REQUEST_SOCKET", "request_sock", &["sk"]),
    optional("PACKET_NEXT", "sk_buff", &["next"]),
    optional("PACKET_CONTROL", "sk_buff", &["cb"]),
];

/// Name and value of every global.
pub(super) fn resolve(btf: &KernelBtf) -> Result<Vec<(&'static str, u32)>, AttachError> {
    FIELDS
        .iter()
        .map(|field| {
            let found = field.members.iter().find_map(|member| btf.offset(field.of, member));
            match found {
                Some(offset) => Ok((field.global, offset)),
                None if !field.required => Ok((field.global, MISSING)),
                None => Err(AttachError::NoField {
                    field: format!("{}.{}", field.of, field.members.first().unwrap_or(&"")),
                }),
            }
        })
        .collect()
}
