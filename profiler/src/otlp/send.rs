//! One request to a collector, and what its answer means.
//!
//! In: a protobuf message, a URL. Out: [`Answer`], by the OTLP specification ("OTLP/HTTP Response"): what may
//! be tried again, what must not be.

use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message;

/// Longest that a collector may take to answer.
const TIMEOUT: Duration = Duration::from_secs(3);
/// Longest answer that is read.
const MAX_ANSWER_BYTES: u64 = 64 * 1024;

/// What a collector said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The collector took the message, but for this many spans.
    Taken {
        /// Spans that it names as refused.
        refused: u64,
    },
    /// The collector could not be reached or is overloaded: the same message may be sent again.
    Later(String),
    /// The collector will not take this message.
    Refused(String),
}

/// Connections to collectors.
#[derive(Debug)]
pub(super) struct Sender(ureq::Agent);

impl Sender {
    pub(super) fn new() -> Self {
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(TIMEOUT))
            .http_status_as_error(false)
            .max_redirects(0)
            // A collector is named by the user; what the environment says of proxies is for others.
            .proxy(None)
            .user_agent(concat!("wsgi-trace/", env!("CARGO_PKG_VERSION")))
            .build();
        Self(config.into())
    }

    pub(super) fn post(&self, url: &str, message: &impl Message) -> Answer {
        let body = message.encode_to_vec();
        let sent = self.0.post(url).header("content-type", "application/x-protobuf").send(body.as_slice());
        let mut response = match sent {
            Ok(response) => response,
            Err(error) => return Answer::Later(error.to_string()),
        };
        let status = response.status();
        match status.as_u16() {
            200..=299 => {
                let body = response.body_mut().with_config().limit(MAX_ANSWER_BYTES).read_to_vec();
                Answer::Taken { refused: body.map_or(0, |body| refused_spans(&body)) }
            }
            429 | 502 | 503 | 504 => Answer::Later(format!("it answered {status}")),
            _ => Answer::Refused(format!("it answered {status}")),
        }
    }
}

/// An answer that is not of the protocol names none.
fn refused_spans(body: &[u8]) -> u64 {
    ExportTraceServiceResponse::decode(body)
        .ok()
        .and_then(|response| response.partial_success)
        .map_or(0, |partial| u64::try_from(partial.rejected_spans).unwrap_or(0))
}
