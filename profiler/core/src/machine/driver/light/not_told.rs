//! What light mode cannot show besides phases, in words.
//!
//! In: the attach report. Out: a sentence for the report.

use crate::fact::{Attached, Sight};

/// What light mode cannot show besides phases, for the report.
pub fn not_told(attached: &Attached) -> &'static str {
    match attached.sight() {
        Sight::Messages => MESSAGES_ALONE,
        _ if attached.heads_recorded => WITH_HEADS,
        _ => WITH_SLEEPS,
    }
}

const WITH_HEADS: &str = "light mode does not hook system calls: accepts and event loops are not known. Requests that were \
     sent before the first was answered (pipelined) count as one. What a thread slept for is known from the call in which it slept. \
     `unexplained` is a wait for one of several descriptors, or for an end that was not seen, or time of a thread that did other \
     things too";

/// The same of recordings without heads.
const WITH_SLEEPS: &str = "light mode does not hook system calls: methods, paths, statuses, slots, accepts and event loops are \
     not known. A request is what is received and then sent on a connection: pipelined requests count as one, a body that is \
     read while the response is being sent as further ones. What a thread slept for is known from the call in which it slept. \
     `unexplained` is a wait for one of several descriptors, or for an end that was not seen, or time of a thread that did other \
     things too";

/// The same of a recording of an older version.
const MESSAGES_ALONE: &str = "light mode does not hook system calls: methods, paths, statuses, slots, accepts and event loops are \
     not known. A request is what is received and then sent on a connection: pipelined requests count as one, a body that is \
     read while the response is being sent as further ones. `unexplained` is time asleep, or spent by a thread that did other \
     things too";
