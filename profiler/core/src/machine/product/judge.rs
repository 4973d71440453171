//! The verdict: what the signs of a connection's end mean.
//!
//! In: one connection that is gone, and what is known of its process. Out: served, nothing asked, or dropped
//! with its cause and what shows it. The order of the questions is the order of time: who went first is the
//! cause.

use crate::machine::wire::ending::{Ended, How, Unfinished};
use crate::machine::wire::http1::FAREWELL_MAX_BYTES;
use crate::machine::wire::origin::Side;
use crate::machine::wire::signs::Answered;
use crate::model::dropped::Cause;
use crate::server::{Answer, kind_named};

/// A connection idle for this long was kept: no server keeps one for less than a second. One that ends with
/// its answer is closed with it.
const KEPT_MIN_NS: u64 = 500_000_000;

/// What is known beside the connection itself.
pub(in crate::machine) struct Scene<'a> {
    /// How its process ended, if it did.
    pub end: Option<(Cause, &'a str)>,
    /// The server told the process to abort during the connection's last request. Says how this is known.
    pub aborted: Option<String>,
    /// With which error accept failed while the connection waited for it, if it did.
    pub accept_failed: Option<&'static str>,
    /// With which error accept failed in its process, if that accepted nothing more and ended by itself.
    pub gave_up: Option<&'static str>,
    /// Why the connection behind the front end ended without an answer to its last request, if it did.
    pub inside: Option<(Cause, String)>,
    /// The server behind the front end gave the answer to its last request, and the front end passed it on.
    pub passed_on: bool,
    /// Name of the kind of server.
    pub kind: &'a str,
}

/// What became of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::machine) enum Verdict {
    /// Everything that was asked was answered.
    Served,
    /// Nothing was asked.
    NothingAsked,
    /// Not served.
    Dropped {
        /// Why.
        cause: Cause,
        /// What shows it.
        evidence: String,
    },
}

fn dropped(cause: Cause, evidence: impl Into<String>) -> Verdict {
    Verdict::Dropped { cause, evidence: evidence.into() }
}

/// Judges one connection.
pub(in crate::machine) fn judge(ended: &Ended, scene: &Scene<'_>) -> Verdict {
    let signs = &ended.signs;
    if let Some(request) = &ended.unfinished {
        return unfinished(ended, request, scene);
    }
    if let Some(answered) = &signs.answered {
        return answer(ended, answered, scene);
    }
    // No request is open or answered.
    let unread = signs.reset_sent.is_some();
    if signs.turned_away && !signs.has_read && ended.how == How::Closed {
        return dropped(
            Cause::AcceptFailed,
            "accepted only to be closed: accept had failed for want of a file descriptor",
        );
    }
    if !signs.has_read && !unread {
        return Verdict::NothingAsked;
    }
    if let Some(verdict) = client_left(ended, 0, scene) {
        return verdict;
    }
    if let Some(error) = scene.gave_up.filter(|_| !signs.has_read) {
        let evidence = format!(
            "accept failed with {error}: the process accepted nothing more, closed it unread and ended"
        );
        return dropped(Cause::AcceptFailed, evidence);
    }
    if let Some(verdict) = process_gone(ended, scene) {
        return verdict;
    }
    if unread {
        return dropped(Cause::ClosedWithUnreadData, unread_bytes(ended));
    }
    dropped(Cause::ClosedWithoutResponse, "the server closed it in the middle of the request's head")
}

/// A request was not answered to its end.
fn unfinished(ended: &Ended, request: &Unfinished, scene: &Scene<'_>) -> Verdict {
    let signs = &ended.signs;
    if request.responding {
        // A server on an event loop closes without another word when it meets the client's FIN.
        let client_ended = request.is_cut && signs.client_ended_ns >= request.first_write_ns.max(1);
        let broken = signs.failed.is_some() || signs.reset_received.is_some() || client_ended;
        if broken {
            return client_left(ended, request.first_write_ns, scene).unwrap_or_else(|| {
                dropped(Cause::Unknown, "the client was gone, and the response was not whole")
            });
        }
        if let Some(verdict) = process_gone(ended, scene) {
            return verdict;
        }
        if let Some(said) = &scene.aborted {
            return dropped(Cause::WorkerTimeout, said.clone());
        }
        let evidence = match request.owed_bytes {
            Some(owed) => format!("{owed} bytes of its body were never written"),
            None if request.in_head => "its head was never written to the end".to_owned(),
            None => "its end was never written".to_owned(),
        };
        return dropped(Cause::ResponseCutShort, evidence);
    }
    // Read together with the request before it, which was answered.
    let behind = signs.answered.as_ref().is_some_and(|answered| request.start_ns <= answered.end_ns);
    if behind && ended.how == How::Closed {
        let evidence = format!("{} more had been read with it, and were not answered", request.count);
        return dropped(Cause::PipelinedDiscarded, evidence);
    }
    if let Some(verdict) = client_left(ended, 0, scene) {
        return verdict;
    }
    if let Some(verdict) = process_gone(ended, scene) {
        return verdict;
    }
    if let Some(said) = &scene.aborted {
        return dropped(Cause::WorkerTimeout, said.clone());
    }
    if signs.reset_sent.is_some() {
        return dropped(Cause::ClosedWithUnreadData, unread_bytes(ended));
    }
    let evidence = if ended.is_encrypted {
        "the server closed it without a byte of response; what it had read is encrypted"
    } else if ended.in_request {
        "the server closed it without a byte of response, before it had read the whole request"
    } else {
        "the server closed it without a byte of response, after it had read the request"
    };
    dropped(Cause::ClosedWithoutResponse, evidence)
}

/// The last request was answered to its end.
fn answer(ended: &Ended, answered: &Answered, scene: &Scene<'_>) -> Verdict {
    let signs = &ended.signs;
    // A FIN of the server's own is one byte that may be on its way. Its farewell in TLS is some more.
    let own_bytes = match (ended.is_encrypted, signs.reset_received) {
        (true, _) => FAREWELL_MAX_BYTES,
        (false, Some((at_ns, _))) => u32::from(at_ns > ended.at_ns),
        (false, None) => 0,
    };
    // The failed write was a farewell: the client had gone after its answer.
    let was_farewell = ended.is_encrypted && signs.client_ended_ns >= answered.end_ns;
    let never_came = signs.reset_received.is_some_and(|(_, bytes)| bytes > own_bytes)
        || signs.failed.is_some_and(|failed| failed.writing && !was_farewell);
    if never_came && let Some(verdict) = client_left(ended, answered.first_write_ns, scene) {
        return verdict;
    }
    if answered.status >= 500
        && let Some(said) = &scene.aborted
    {
        return dropped(Cause::WorkerTimeout, format!("{said}; it answered {}", answered.status));
    }
    let status = answered.status;
    if let Some((cause, said)) = &scene.inside {
        return dropped(*cause, format!("{said}; the front end answered {status}"));
    }
    if signs.reset_sent.is_some() || signs.discarded_bytes > 0 {
        return more_came(ended, answered, scene);
    }
    if scene.passed_on {
        return Verdict::Served;
    }
    let kind = kind_named(scene.kind);
    let own = Answer {
        status,
        connection_first: answered.connection_first,
        front: ended.origin.side == Side::Front,
    };
    if let Some(cause) = kind.own_answer(&own) {
        return dropped(cause, format!("it answered {status}, which was not the application's answer"));
    }
    if ended.origin.side == Side::Front && matches!(status, 499 | 502 | 504) {
        let met = signs.behind_failed.map_or_else(String::new, |met| format!(": {met}"));
        return dropped(Cause::FrontEndGaveUp, format!("the front end answered {status}{met}"));
    }
    Verdict::Served
}

/// The answer was whole, but the client had sent more, which nobody read.
fn more_came(ended: &Ended, answered: &Answered, scene: &Scene<'_>) -> Verdict {
    let signs = &ended.signs;
    if ended.is_encrypted {
        return more_came_encrypted(ended, answered, scene);
    }
    if ended.in_request {
        return match signs.reset_sent {
            Some(_) => dropped(Cause::ClosedWithUnreadData, unread_bytes(ended)),
            // The rest of a body that nobody wanted was read and thrown away: the client has its answer.
            None => Verdict::Served,
        };
    }
    if let Some(verdict) = process_gone(ended, scene) {
        return verdict;
    }
    if answered.closes {
        let evidence = if signs.discarded_bytes > 0 {
            format!("{} bytes behind the answered request were read and thrown away", signs.discarded_bytes)
        } else {
            "the client had sent more behind a request whose answer ended the connection".to_owned()
        };
        return dropped(Cause::PipelinedDiscarded, evidence);
    }
    let idle_ns = ended.at_ns.saturating_sub(answered.end_ns);
    let evidence = format!(
        "the server closed it {} ms after its last response; what the client sent then was answered by a reset",
        idle_ns / 1_000_000
    );
    dropped(Cause::KeepAliveRace, evidence)
}

/// What came after the last answer over a connection whose server does the TLS itself: the client's farewell
/// (close_notify), the rest of the answered request, or another request. Only what is longer than a farewell
/// and came to a connection that was kept is surely a request.
fn more_came_encrypted(ended: &Ended, answered: &Answered, scene: &Scene<'_>) -> Verdict {
    let signs = &ended.signs;
    let closed_ns = if signs.shut_ns > 0 { signs.shut_ns.min(ended.at_ns) } else { ended.at_ns };
    let idle_ns = closed_ns.saturating_sub(answered.end_ns);
    let unread_bytes = signs.reset_sent.map_or(0, |(_, bytes)| u64::from(bytes));
    let bytes = unread_bytes.max(signs.discarded_bytes);
    // A FIN counts as one.
    let is_request = ended.quiet_bytes.is_some_and(|quiet_bytes| bytes > u64::from(quiet_bytes) + 1);
    if !is_request || idle_ns < KEPT_MIN_NS {
        return Verdict::Served;
    }
    if let Some(verdict) = process_gone(ended, scene) {
        return verdict;
    }
    let evidence = format!(
        "the server closed it {} ms after its last response; {bytes} encrypted bytes that came then, too many for the client's farewell, \
         got no answer",
        idle_ns / 1_000_000
    );
    dropped(Cause::KeepAliveRace, evidence)
}

/// The client went first, if it did; `first_write_ns`: when the response began (0: it did not).
fn client_left(ended: &Ended, first_write_ns: u64, scene: &Scene<'_>) -> Option<Verdict> {
    let signs = &ended.signs;
    let gone_ns = signs.client_gone_ns();
    // What the kernel does to the connection after the server's end is not the client's doing.
    if gone_ns == 0 || gone_ns > ended.at_ns && first_write_ns == 0 {
        return None;
    }
    if ended.origin.is_unix {
        let error = signs.failed.map_or("EPIPE", |failed| failed.error);
        return Some(dropped(
            Cause::FrontEndGaveUp,
            format!("the other end of a UNIX socket was gone ({error})"),
        ));
    }
    let by = match (signs.client_ended_ns, signs.reset_received, signs.failed) {
        (ended_ns, _, Some(failed)) if ended_ns > 0 => {
            format!("it closed the connection (FIN), and the server met {}", failed.error)
        }
        (ended_ns, Some(_), _) if ended_ns > 0 => {
            "it closed the connection (FIN), and reset it when the response came".to_owned()
        }
        (ended_ns, ..) if ended_ns > 0 => "it closed the connection (FIN)".to_owned(),
        (_, Some((_, bytes)), _) if bytes > 0 => {
            format!("it reset the connection with {bytes} bytes of the response on their way")
        }
        (_, Some(_), _) => "it reset the connection".to_owned(),
        (_, _, Some(failed)) => format!("the server met {}", failed.error),
        _ => return None,
    };
    if gone_ns <= ended.origin.accepted_or_zero_ns()
        && let Some(error) = scene.accept_failed
    {
        return Some(dropped(Cause::AcceptFailed, format!("{by}, as accept failed with {error}")));
    }
    let cause = if gone_ns <= ended.origin.accepted_or_zero_ns() {
        Cause::ClientLeftInQueue
    } else if first_write_ns > 0 && gone_ns >= first_write_ns {
        Cause::ClientLeftReading
    } else {
        Cause::ClientLeftWaiting
    };
    Some(dropped(cause, by))
}

fn process_gone(ended: &Ended, scene: &Scene<'_>) -> Option<Verdict> {
    let (cause, evidence) = scene.end.filter(|_| ended.how == How::ProcessGone)?;
    Some(dropped(cause, evidence))
}

fn unread_bytes(ended: &Ended) -> String {
    match ended.signs.reset_sent {
        Some((at_ns, bytes)) if at_ns <= ended.at_ns && bytes > 0 => {
            format!("{bytes} bytes of the client's had not been read: the kernel reset the connection")
        }
        _ => "more came from the client after the close: the kernel reset the connection".to_owned(),
    }
}

#[cfg(test)]
mod tests;
