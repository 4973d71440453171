//! The trace that a request belongs to, as its client said.
//!
//! In: the value of a `traceparent` header (W3C Trace Context, section 3.2). Out: [`TraceContext`], or
//! nothing: what is not of that form is no trace.

/// Length of a `traceparent` value: version, trace, parent and flags in hexadecimal, joined by `-`.
pub const TRACE_PARENT_BYTES: usize = 55;

/// Where the value has a `-`.
const DASHES: [usize; 3] = [2, 35, 52];

/// A request's place in a distributed trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// The trace; not all zero.
    pub trace_id: [u8; 16],
    /// The span of the caller; not all zero.
    pub parent_id: [u8; 8],
    /// The caller records this trace.
    pub sampled: bool,
}

impl TraceContext {
    /// Reads a header's value. Of a version that is not known the same fields are read, as the specification
    /// asks; version `ff` is none.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let value = value.trim_ascii();
        let fits = |(at, byte): (usize, &u8)| is_trace_parent_byte(at, *byte);
        if value.len() != TRACE_PARENT_BYTES
            || !value.iter().enumerate().all(fits)
            || value.starts_with(b"ff")
        {
            return None;
        }
        let text = std::str::from_utf8(value).ok()?;
        let trace_id = u128::from_str_radix(text.get(3..35)?, 16).ok()?.to_be_bytes();
        let parent_id = u64::from_str_radix(text.get(36..52)?, 16).ok()?.to_be_bytes();
        let flags = u8::from_str_radix(text.get(53..55)?, 16).ok()?;
        (trace_id != [0; 16] && parent_id != [0; 8]).then_some(Self {
            trace_id,
            parent_id,
            sampled: flags & 1 == 1,
        })
    }

    /// The trace in hexadecimal, as trace viewers ask for it.
    pub fn trace_id_text(&self) -> String {
        format!("{:032x}", u128::from_be_bytes(self.trace_id))
    }
}

/// Whether a `traceparent` value may have `byte` at position `at`.
pub fn is_trace_parent_byte(at: usize, byte: u8) -> bool {
    match byte {
        b'-' => DASHES.contains(&at),
        b'0'..=b'9' | b'a'..=b'f' => at < TRACE_PARENT_BYTES && !DASHES.contains(&at),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALUE: &[u8] = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn trace_is_read_as_the_specification_writes_it() {
        let context = TraceContext::parse(VALUE).unwrap();
        assert_eq!(context.trace_id_text(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(context.parent_id, [0x00, 0xf0, 0x67, 0xaa, 0x0b, 0xa9, 0x02, 0xb7]);
        assert!(context.sampled);
        let unsampled = TraceContext::parse(b" 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00 ");
        assert_eq!(unsampled.map(|context| context.sampled), Some(false));
    }

    #[test]
    fn what_is_not_of_its_form_is_no_trace() {
        let cut = VALUE.get(..54).unwrap();
        let upper = VALUE.to_ascii_uppercase();
        let mut zero_trace = VALUE.to_vec();
        zero_trace.splice(3..35, [b'0'; 32]);
        let mut zero_parent = VALUE.to_vec();
        zero_parent.splice(36..52, [b'0'; 16]);
        let mut no_version = VALUE.to_vec();
        no_version.splice(0..2, *b"ff");
        let longer = [VALUE, b"-00"].concat();
        for value in
            [b"".as_slice(), cut, &upper, &zero_trace, &zero_parent, &no_version, &longer, &[b'x'; 55]]
        {
            assert_eq!(TraceContext::parse(value), None, "{}", value.escape_ascii());
        }
    }
}
