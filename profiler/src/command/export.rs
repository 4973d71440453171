//! `wsgi-trace export RECORDING… -o DIR`: recordings as tables that other engines read; needs no privileges.
//!
//! In: recordings, a directory, what is said of the service. Out: files, and a line on stderr that counts
//! them.

use std::io::Write as _;

use super::{Failure, print};
use crate::cli::exit::ExitCode;
use crate::cli::export::{Export, Service};
use crate::export::{ExportError, Labels, Written, export, reference};

/// Exports.
///
/// # Errors
/// [`Failure`]. Recordings before the one that failed are exported, nothing is left of that one.
pub fn run(options: &Export) -> Result<(), Failure> {
    let Some(to) = &options.output else { return print(reference::columns().trim_start()) };
    let labels = labels(&options.service);
    let mut sum = Written::default();
    for recording in &options.recordings {
        let written = export(recording, to, &labels, options.service.raw_paths)?;
        sum.requests = sum.requests.saturating_add(written.requests);
        sum.windows = sum.windows.saturating_add(written.windows);
        sum.files = sum.files.saturating_add(written.files);
        sum.bytes = sum.bytes.saturating_add(written.bytes);
    }
    if !options.quiet {
        let Written { requests, windows, files, bytes } = sum;
        // Nobody may be reading: then there is nobody to tell.
        let _ = writeln!(
            std::io::stderr(),
            "wsgi-trace: requests {requests}, windows {windows}, files {files}, bytes {bytes} in {}",
            to.display()
        );
    }
    Ok(())
}

/// What is said of the service, as rows have it.
pub(super) fn labels(service: &Service) -> Labels {
    Labels {
        service_name: service.name(),
        service_version: service.attribute("service.version"),
        environment: service.attribute("deployment.environment.name"),
        k8s_namespace: service.attribute("k8s.namespace.name"),
        k8s_pod: service.attribute("k8s.pod.name"),
        k8s_node: service.attribute("k8s.node.name"),
    }
}

impl From<ExportError> for Failure {
    fn from(error: ExportError) -> Self {
        let code = match error {
            ExportError::Session(error) => return error.into(),
            ExportError::Encode(_) => ExitCode::Internal,
            ExportError::Directory { .. } | ExportError::Full { .. } | ExportError::Write { .. } => {
                ExitCode::OutputFailed
            }
        };
        Self { sentence: error.to_string(), code }
    }
}
