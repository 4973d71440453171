//! Who sent a packet, and how much is in it.
//!
//! In: the address of a `struct sk_buff` with a TCP segment. Out: address and port of its sender, bytes that
//! it carries. Every read goes through the helper.

use aya_ebpf::Global;

use super::{MISSING, field, read};

#[unsafe(no_mangle)]
static PACKET_HEAD: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static PACKET_NETWORK_HEADER: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static PACKET_TRANSPORT_HEADER: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static PACKET_SOCKET: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static PACKET_NEXT: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static PACKET_CONTROL: Global<u32> = Global::new(0);

/// Sender's address in an IPv4 header, in bytes from its start.
const IPV4_SENDER: u64 = 12;
/// Sender's address in an IPv6 header.
const IPV6_SENDER: u64 = 8;

/// Where a segment came from.
#[derive(Clone, Copy)]
pub struct Sender {
    /// IPv4 address in network order; of an IPv6 address its words, combined.
    pub address: u32,
    /// Host order.
    pub port: u16,
    /// The segment came over IPv6.
    pub is_ipv6: bool,
}

/// The words of an IPv6 address as one; equal addresses give equal words.
#[inline(always)]
pub fn combined(words: [u32; 4]) -> u32 {
    words[0] ^ words[1] ^ words[2] ^ words[3]
}

/// Sender of the segment.
#[inline(always)]
pub fn sender(packet: u64) -> Option<Sender> {
    if PACKET_HEAD.load() == MISSING || PACKET_NETWORK_HEADER.load() == MISSING {
        return None;
    }
    let head: u64 = field(packet, &PACKET_HEAD)?;
    let network: u16 = field(packet, &PACKET_NETWORK_HEADER)?;
    let transport: u16 = field(packet, &PACKET_TRANSPORT_HEADER)?;
    let (network, transport) =
        (head.wrapping_add(u64::from(network)), head.wrapping_add(u64::from(transport)));
    let version: u8 = read(network)?;
    let port: u16 = read(transport)?;
    let port = u16::from_be(port);
    if version >> 4 == 6 {
        let words: [u32; 4] = read(network.wrapping_add(IPV6_SENDER))?;
        return Some(Sender { address: combined(words), port, is_ipv6: true });
    }
    let address: u32 = read(network.wrapping_add(IPV4_SENDER))?;
    Some(Sender { address, port, is_ipv6: false })
}

/// The socket that a packet belongs to; 0: none, or not known.
#[inline(always)]
pub fn socket(packet: u64) -> u64 {
    if PACKET_SOCKET.load() == MISSING {
        return 0;
    }
    field(packet, &PACKET_SOCKET).unwrap_or(0)
}

/// What stands behind it in its queue.
#[inline(always)]
pub fn next(packet: u64) -> Option<u64> {
    if PACKET_NEXT.load() == MISSING { None } else { field(packet, &PACKET_NEXT) }
}

/// Bytes that a segment which TCP has begun to process carries, a FIN counts as one; 0 where it cannot be
/// told.
#[inline(always)]
pub fn carried_bytes(packet: u64) -> u32 {
    if packet == 0 || PACKET_CONTROL.load() == MISSING {
        return 0;
    }
    // `struct tcp_skb_cb` begins with the sequence numbers of its first byte and of the one behind its last.
    let Some([first, behind]) = field::<[u32; 2]>(packet, &PACKET_CONTROL) else { return 0 };
    let bytes = behind.wrapping_sub(first);
    // No segment is longer; what is has another layout.
    if bytes > 1 << 20 { 0 } else { bytes }
}
