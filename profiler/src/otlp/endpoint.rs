//! Where a collector listens.
//!
//! In: the URL that the user gave, as in `OTEL_EXPORTER_OTLP_ENDPOINT`. Out: the URLs of traces and metrics,
//! by the OTLP specification ("OTLP/HTTP Request": `v1/traces` and `v1/metrics` below it).

use std::str::FromStr;

/// A collector's base URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    base: String,
}

/// Why a URL is no endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// Encrypted: not built in.
    #[error(
        "https is not spoken; send to a collector on this host (http://127.0.0.1:4318), which can forward it"
    )]
    Encrypted,
    /// Not a URL with a host.
    #[error("expected the URL of a collector, such as http://127.0.0.1:4318")]
    NotAUrl,
}

impl Endpoint {
    /// Where spans go.
    pub fn traces(&self) -> String {
        format!("{}/v1/traces", self.base)
    }

    /// Where metrics go.
    pub fn metrics(&self) -> String {
        format!("{}/v1/metrics", self.base)
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        if text.get(..8).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https://")) {
            return Err(EndpointError::Encrypted);
        }
        let uri: ureq::http::Uri = text.parse().map_err(|_invalid| EndpointError::NotAUrl)?;
        let is_http = uri.scheme_str() == Some("http") && uri.host().is_some_and(|host| !host.is_empty());
        if !is_http || uri.query().is_some() {
            return Err(EndpointError::NotAUrl);
        }
        Ok(Self { base: text.trim_end_matches('/').to_owned() })
    }
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.base)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_go_below_the_base_url() {
        for base in ["http://127.0.0.1:4318", "http://127.0.0.1:4318/"] {
            let endpoint: Endpoint = base.parse().unwrap();
            assert_eq!(endpoint.traces(), "http://127.0.0.1:4318/v1/traces");
            assert_eq!(endpoint.metrics(), "http://127.0.0.1:4318/v1/metrics");
        }
        let below: Endpoint = "http://[::1]:4318/otlp".parse().unwrap();
        assert_eq!(below.traces(), "http://[::1]:4318/otlp/v1/traces");
    }

    #[test]
    fn what_cannot_be_sent_to_is_refused_before_the_run() {
        assert_eq!("HTTPS://collector".parse::<Endpoint>(), Err(EndpointError::Encrypted));
        for text in ["", "127.0.0.1:4318", "ftp://host", "http://", "http://host/?a=b", "http://a b"] {
            assert_eq!(text.parse::<Endpoint>(), Err(EndpointError::NotAUrl), "{text}");
        }
    }
}
