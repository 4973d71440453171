//! Requests as spans for OpenTelemetry: OTLP over HTTP, to a collector.
//!
//! In: an [`endpoint::Endpoint`], facts and timeline entries of a run. Out: spans and metrics at the
//! collector, and [`exporter::Totals`] of what arrived and what did not. The run is never held up: what the
//! collector does not take in time is dropped and counted.

pub mod endpoint;
pub mod exporter;
mod metric;
mod send;
mod span;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use profiler_core::fact::SessionStarted;
use profiler_core::fact::container::Container;

/// Sends a message without spans and reads the reply; whether that takes it. For tests with collectors that
/// say anything.
pub fn ask(url: &str) -> bool {
    let message = ExportTraceServiceRequest::default();
    matches!(send::Sender::new().post(url, &message), send::Answer::Taken { .. })
}

/// An attribute.
fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

/// A text attribute.
fn text(key: &str, value: &str) -> KeyValue {
    attribute(key, Value::StringValue(value.to_owned()))
}

/// A whole number; what is beyond the type is its largest value.
fn number(key: &str, value: u64) -> KeyValue {
    attribute(key, Value::IntValue(i64::try_from(value).unwrap_or(i64::MAX)))
}

/// Who speaks.
fn scope(session: &SessionStarted) -> InstrumentationScope {
    InstrumentationScope {
        name: "wsgi-trace".to_owned(),
        version: session.tool_version.clone(),
        ..InstrumentationScope::default()
    }
}

/// Whom spans and metrics are about.
#[derive(Clone, Debug, Default)]
struct Subject {
    session: SessionStarted,
    container: Option<Container>,
}

impl Subject {
    /// As a collector takes it.
    fn resource(&self, service: &str) -> Resource {
        let mut attributes = vec![
            text("service.name", service),
            text("host.name", &self.session.host_name),
            number("process.pid", u64::from(self.session.target_pid)),
        ];
        if let Some(container) = &self.container {
            attributes.push(text("container.id", &container.id));
            let known = [
                ("container.runtime.name", &container.runtime),
                ("k8s.container.name", &container.k8s_container_name),
                ("k8s.pod.name", &container.k8s_pod_name),
                ("k8s.namespace.name", &container.k8s_namespace_name),
                ("k8s.pod.uid", &container.k8s_pod_uid),
            ];
            let known = known.into_iter().filter_map(|(name, value)| Some(text(name, value.as_deref()?)));
            attributes.extend(known);
        }
        Resource { attributes, ..Resource::default() }
    }
}

/// A moment of the run on the wall clock, in nanoseconds since 1970.
fn wall_ns(session: &SessionStarted, monotonic_ns: u64) -> u64 {
    monotonic_ns.saturating_add_signed(session.wall_clock_offset_ns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn container_and_pod_have_the_names_of_opentelemetry_and_what_is_not_known_has_none() {
        let container = Container {
            id: "c0ffee".to_owned(),
            runtime: Some("cri-o".to_owned()),
            k8s_pod_name: Some("web-0".to_owned()),
            ..Container::default()
        };
        let keys = |container| {
            let resource = Subject { container, ..Subject::default() }.resource("shop");
            resource.attributes.into_iter().map(|attribute| attribute.key).collect::<Vec<_>>()
        };
        let always = ["service.name", "host.name", "process.pid"];
        let known = ["container.id", "container.runtime.name", "k8s.pod.name"];
        assert_eq!(keys(Some(container)), [always, known].concat());
        assert_eq!(keys(None), always);
    }
}
