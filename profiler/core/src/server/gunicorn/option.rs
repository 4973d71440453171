//! gunicorn's command-line options: which there are, which take a value, which setting they set.
//!
//! In: nothing. Out: [`OPTIONS`], read off `gunicorn.config` of 23.0.0 and 27.0.1. An option that is in
//! neither is skipped by the reader as one without a value.

use crate::server::command_line::{OptionSpec, Options, Takes, flag, reported, value};

/// Every option.
pub(super) static OPTIONS: Options = &[
    reported(Some('w'), &["workers"], Takes::Value, "workers"),
    reported(None, &["threads"], Takes::Value, "threads"),
    reported(Some('k'), &["worker-class"], Takes::Value, "worker_class"),
    reported(None, &["keep-alive"], Takes::Value, "keepalive"),
    reported(Some('t'), &["timeout"], Takes::Value, "timeout"),
    reported(None, &["graceful-timeout"], Takes::Value, "graceful_timeout"),
    reported(Some('b'), &["bind"], Takes::Value, "bind"),
    reported(None, &["backlog"], Takes::Value, "backlog"),
    reported(None, &["worker-connections"], Takes::Value, "worker_connections"),
    reported(None, &["max-requests"], Takes::Value, "max_requests"),
    reported(None, &["max-requests-jitter"], Takes::Value, "max_requests_jitter"),
    reported(None, &["reuse-port"], Takes::Nothing, "reuse_port"),
    reported(None, &["preload"], Takes::Nothing, "preload_app"),
    reported(Some('c'), &["config"], Takes::Value, "config"),
    value(None, &["access-logfile"]),
    value(None, &["access-logformat"]),
    value(None, &["asgi-disconnect-grace-period"]),
    value(None, &["asgi-lifespan"]),
    value(None, &["asgi-loop"]),
    value(None, &["ca-certs"]),
    value(None, &["cert-reqs"]),
    value(None, &["certfile"]),
    value(None, &["chdir"]),
    value(None, &["ciphers"]),
    value(None, &["control-socket"]),
    value(None, &["control-socket-mode"]),
    value(None, &["dirty-app"]),
    value(None, &["dirty-graceful-timeout"]),
    value(None, &["dirty-threads"]),
    value(None, &["dirty-timeout"]),
    value(None, &["dirty-workers"]),
    value(None, &["dogstatsd-tags"]),
    value(Some('e'), &["env"]),
    value(None, &["error-logfile", "log-file"]),
    value(None, &["forwarded-allow-ips"]),
    value(None, &["forwarder-headers"]),
    value(Some('g'), &["group"]),
    value(None, &["header-map"]),
    value(None, &["http2-cleartext"]),
    value(None, &["http2-initial-window-size"]),
    value(None, &["http2-max-concurrent-streams"]),
    value(None, &["http2-max-frame-size"]),
    value(None, &["http2-max-header-list-size"]),
    value(None, &["http-parser"]),
    value(None, &["http-protocols"]),
    value(None, &["keyfile"]),
    value(None, &["limit-request-field_size"]),
    value(None, &["limit-request-fields"]),
    value(None, &["limit-request-line"]),
    value(None, &["log-config"]),
    value(None, &["log-config-json"]),
    value(None, &["log-level"]),
    value(None, &["log-syslog-facility"]),
    value(None, &["log-syslog-prefix"]),
    value(None, &["log-syslog-to"]),
    value(None, &["logger-class"]),
    value(Some('n'), &["name"]),
    value(None, &["paste", "paster"]),
    value(None, &["paste-global"]),
    value(Some('p'), &["pid"]),
    value(None, &["protocol"]),
    value(None, &["proxy-allow-from"]),
    value(None, &["pythonpath"]),
    value(None, &["reload-engine"]),
    value(None, &["reload-extra-file"]),
    value(None, &["root-path"]),
    value(None, &["ssl-version"]),
    value(None, &["statsd-host"]),
    value(None, &["statsd-prefix"]),
    value(Some('m'), &["umask"]),
    value(Some('u'), &["user"]),
    value(None, &["uwsgi-allow-from"]),
    value(None, &["websocket-max-message-size"]),
    value(None, &["worker-tmp-dir"]),
    flag(None, &["capture-output"]),
    flag(None, &["casefold-http-method"]),
    flag(None, &["check-config"]),
    flag(Some('D'), &["daemon"]),
    flag(None, &["disable-redirect-access-to-syslog"]),
    flag(None, &["do-handshake-on-connect"]),
    flag(None, &["enable-backlog-metric"]),
    flag(Some('R'), &["enable-stdio-inheritance"]),
    flag(Some('h'), &["help"]),
    flag(None, &["initgroups"]),
    flag(None, &["log-syslog"]),
    flag(None, &["no-control-socket"]),
    flag(None, &["no-sendfile"]),
    flag(None, &["permit-obsolete-folding"]),
    flag(None, &["permit-unconventional-http-method"]),
    flag(None, &["permit-unconventional-http-version"]),
    flag(None, &["print-config"]),
    flag(None, &["reload"]),
    flag(None, &["spew"]),
    flag(None, &["strip-header-spaces"]),
    flag(None, &["suppress-ragged-eofs"]),
    flag(Some('v'), &["version"]),
    OptionSpec { short: None, long: &["proxy-protocol"], takes: Takes::Optional, setting: None },
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::command_line::by_long;

    #[test]
    fn no_letter_and_no_long_name_is_listed_twice() {
        let mut letters: Vec<char> = OPTIONS.iter().filter_map(|option| option.short).collect();
        let mut names: Vec<&str> = OPTIONS.iter().flat_map(|option| option.long).copied().collect();
        let (all_letters, all_names) = (letters.len(), names.len());
        letters.sort_unstable();
        letters.dedup();
        names.sort_unstable();
        names.dedup();
        assert_eq!((letters.len(), names.len()), (all_letters, all_names));
    }

    #[test]
    fn an_unambiguous_beginning_names_the_option_and_an_ambiguous_one_names_none() {
        assert_eq!(by_long(OPTIONS, "thr").and_then(|option| option.setting), Some("threads"));
        assert_eq!(by_long(OPTIONS, "workers").and_then(|option| option.setting), Some("workers"));
        assert!(by_long(OPTIONS, "worker").is_none());
        assert!(by_long(OPTIONS, "").is_none());
    }
}
