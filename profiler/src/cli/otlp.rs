//! Where spans go, on the command line.
//!
//! In: `--otlp`, `--otlp-service`. Out: [`Otlp`].

use std::io::Write as _;
use std::sync::Arc;

use clap::Args;

use super::help::ADVANCED;
use crate::otlp::endpoint::Endpoint;
use crate::otlp::exporter::{Exporter, Pace};

/// Export of requests.
#[derive(Clone, Debug, Default, Args)]
pub struct Otlp {
    /// Also send requests as spans, and metrics, to this OpenTelemetry collector
    ///
    /// OTLP over HTTP, such as http://127.0.0.1:4318. Spans join the trace that a request's traceparent
    /// names.
    #[arg(id = "otlp", long = "otlp", value_name = "URL", help_heading = ADVANCED, hide_short_help = true)]
    pub endpoint: Option<Endpoint>,
    /// Name of the server in traces
    #[arg(
        id = "otlp-service",
        long = "otlp-service",
        value_name = "NAME",
        env = "OTEL_SERVICE_NAME",
        default_value = "unknown_service:wsgi",
        help_heading = ADVANCED,
        hide_short_help = true
    )]
    pub service: String,
}

impl Otlp {
    /// The export, if one is wanted.
    ///
    /// # Errors
    /// If no thread can be started.
    pub fn start(&self, pace: Pace) -> std::io::Result<Option<Arc<Exporter>>> {
        let start = |endpoint: Endpoint| Exporter::start(endpoint, self.service.clone(), pace).map(Arc::new);
        self.endpoint.clone().map(start).transpose()
    }
}

/// Ends an export and says on stderr what became of it; `quiet`: only if something did not arrive.
pub fn finish(exporter: Option<&Exporter>, quiet: bool) {
    let Some(exporter) = exporter else { return };
    let totals = exporter.finish();
    if !quiet || totals.any_missing() {
        // Nobody may be reading: then there is nobody to tell.
        let _ = writeln!(std::io::stderr(), "wsgi-trace: {totals}");
    }
}
