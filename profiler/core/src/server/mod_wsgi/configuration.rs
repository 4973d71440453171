//! What an Apache configuration file says of mod_wsgi, as far as it matters to a profiler.
//!
//! In: the text of the file that `-f` names, and the symbols that `-D` defines. Out: names and values of the
//! few settings that are understood; everything else in the file is left where it is. Conditions (`IfDefine`,
//! `IfModule` of the processing modules) are followed; files that it includes are not.

/// Longest logical line looked at.
const MAX_LINE: usize = 16 * 1024;
/// Deepest nesting of conditions.
const MAX_DEPTH: usize = 64;
/// Options of `WSGIDaemonProcess` that are kept, and how they are named.
const DAEMON_OPTIONS: [(&str, &str); 9] = [
    ("processes", "processes"),
    ("threads", "threads"),
    ("queue-timeout", "queue_timeout"),
    ("request-timeout", "request_timeout"),
    ("socket-timeout", "socket_timeout"),
    ("connect-timeout", "connect_timeout"),
    ("listen-backlog", "daemon_backlog"),
    ("maximum-requests", "maximum_requests"),
    ("switch-interval", "switch_interval"),
];
/// Directives that are kept, and how they are named.
const DIRECTIVES: [(&str, &str); 12] = [
    ("MaxRequestWorkers", "max_request_workers"),
    ("MaxClients", "max_request_workers"),
    ("ThreadsPerChild", "threads_per_child"),
    ("ServerLimit", "server_limit"),
    ("StartServers", "start_servers"),
    ("KeepAlive", "keep_alive"),
    ("KeepAliveTimeout", "keep_alive_timeout"),
    ("ListenBacklog", "listen_backlog"),
    ("Timeout", "timeout"),
    ("WSGIScriptReloading", "reloading"),
    ("WSGISwitchInterval", "switch_interval"),
    ("MaxConnectionsPerChild", "max_connections_per_child"),
];

/// Whether a setting is one of the daemon processes'.
pub fn is_of_daemon(name: &str) -> bool {
    DAEMON_OPTIONS.iter().any(|(_, ours)| *ours == name && *ours != "switch_interval")
}

/// The file that a command line names with `-f`, and the symbols that it defines.
pub fn of_command_line(arguments: &[String]) -> (Option<&str>, Vec<&str>) {
    let mut file = None;
    let mut defines = Vec::new();
    let mut rest = arguments.iter().map(String::as_str);
    while let Some(argument) = rest.next() {
        match argument {
            "-f" => file = rest.next(),
            "-D" => defines.extend(rest.next()),
            _ => {
                if let Some(name) = argument.strip_prefix("-D") {
                    defines.push(name);
                }
            }
        }
    }
    (file, defines)
}

/// The settings in this text.
pub fn read(text: &str, defines: &[&str]) -> Vec<(String, String)> {
    let mut found = Vec::new();
    // Conditions around the present line: whether each of them holds.
    let mut conditions: Vec<bool> = Vec::new();
    let mpm = defines.iter().find_map(|name| {
        name.strip_prefix("MOD_WSGI_MPM_ENABLE_")?.strip_suffix("_MODULE").map(str::to_ascii_lowercase)
    });
    for line in logical_lines(text) {
        let line = line.trim();
        if let Some(section) = line.strip_prefix('<') {
            section_line(section, defines, mpm.as_deref(), &mut conditions);
        } else if conditions.iter().all(|holds| *holds) {
            directive(line, &mut found);
        }
    }
    if let Some(mpm) = mpm {
        put(&mut found, "mpm", &mpm);
    }
    found
}

/// Lines, with those that end in a backslash joined.
fn logical_lines(text: &str) -> impl Iterator<Item = String> + '_ {
    let mut lines = text.lines();
    std::iter::from_fn(move || {
        let mut whole = String::new();
        for line in lines.by_ref() {
            let continued = line.strip_suffix('\\');
            if whole.len() < MAX_LINE {
                whole.push_str(continued.unwrap_or(line));
            }
            if continued.is_none() {
                return Some(whole);
            }
        }
        (!whole.is_empty()).then_some(whole)
    })
}

fn section_line(section: &str, defines: &[&str], mpm: Option<&str>, conditions: &mut Vec<bool>) {
    if section.starts_with('/') {
        conditions.pop();
        return;
    }
    let (name, condition) =
        section.trim_end_matches('>').split_once(char::is_whitespace).unwrap_or((section, ""));
    let condition = condition.trim();
    let (negated, condition) =
        condition.strip_prefix('!').map_or((false, condition), |condition| (true, condition));
    let holds = if name.eq_ignore_ascii_case("IfDefine") {
        defines.contains(&condition) != negated
    } else if name.eq_ignore_ascii_case("IfModule") {
        // Of modules only the processing modules are known to be there or not; other sections are taken to
        // hold.
        let is_mpm =
            |known: &str| condition == format!("mpm_{known}_module") || condition == format!("{known}.c");
        match ["event", "worker", "prefork"].into_iter().find(|known| is_mpm(known)) {
            Some(module) => mpm.is_some_and(|mpm| (mpm == module) != negated),
            None => !negated,
        }
    } else {
        // Within a host or a directory: not for the whole server.
        name.eq_ignore_ascii_case("VirtualHost")
    };
    if conditions.len() < MAX_DEPTH {
        conditions.push(holds);
    }
}

fn directive(line: &str, found: &mut Vec<(String, String)>) {
    let Some((name, rest)) = line.split_once(char::is_whitespace) else { return };
    let rest = rest.trim();
    if name.eq_ignore_ascii_case("WSGIDaemonProcess") {
        // One is the default of the module where a group says nothing (mod_wsgi's documentation); threads:
        // 15.
        let value = |option: &str| {
            rest.split_whitespace().find_map(|word| word.strip_prefix(option)?.strip_prefix('='))
        };
        put(found, "processes", "1");
        put(found, "threads", "15");
        for (theirs, ours) in DAEMON_OPTIONS {
            if let Some(value) = value(theirs) {
                put(found, ours, value);
            }
        }
    } else if let Some((_, ours)) = DIRECTIVES.iter().find(|(theirs, _)| name.eq_ignore_ascii_case(theirs)) {
        put(found, ours, rest);
    }
}

/// The last one counts, as in Apache. Values are numbers or single words: nothing else is kept.
fn put(found: &mut Vec<(String, String)>, name: &str, value: &str) {
    let value = value.trim_matches(['"', '\'']);
    let is_plain = !value.is_empty()
        && value.len() <= 16
        && value.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '.');
    if is_plain {
        found.retain(|(known, _)| known != name);
        found.push((name.to_owned(), value.to_ascii_lowercase()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TEXT: &str = "ServerName x
<IfDefine !EMBEDDED_MODE>
<IfDefine MOD_WSGI_MULTIPROCESS>
WSGIDaemonProcess 'a' \\
   processes=3 \\
   threads=7
</IfDefine>
<IfDefine !MOD_WSGI_MULTIPROCESS>
WSGIDaemonProcess 'a' \\
   threads=5 \\
   python-path='/secret place' \\
   queue-timeout=45
</IfDefine>
</IfDefine>
<IfModule mpm_prefork_module>
MaxClients 99
</IfModule>
<IfModule mpm_event_module>
MaxClients 20
</IfModule>
<Location /x>
KeepAlive Off
</Location>
KeepAlive On
";

    fn value<'a>(found: &'a [(String, String)], name: &str) -> Option<&'a str> {
        found.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    #[test]
    fn only_what_the_defined_symbols_switch_on_counts() {
        let one = read(TEXT, &["MOD_WSGI_MPM_ENABLE_EVENT_MODULE"]);
        assert_eq!((value(&one, "processes"), value(&one, "threads")), (Some("1"), Some("5")));
        assert_eq!(value(&one, "max_request_workers"), Some("20"));
        assert_eq!(value(&one, "keep_alive"), Some("on"));
        assert_eq!(value(&one, "queue_timeout"), Some("45"));
        let many = read(TEXT, &["MOD_WSGI_MULTIPROCESS", "MOD_WSGI_MPM_ENABLE_PREFORK_MODULE"]);
        assert_eq!((value(&many, "processes"), value(&many, "threads")), (Some("3"), Some("7")));
        assert_eq!(value(&many, "max_request_workers"), Some("99"));
        assert_eq!(value(&read(TEXT, &["EMBEDDED_MODE"]), "threads"), None);
    }

    #[test]
    fn nothing_but_plain_values_of_known_settings_is_kept() {
        assert!(read(TEXT, &[]).iter().all(|(_, value)| !value.contains("secret")));
    }

    #[test]
    fn file_and_symbols_are_read_off_a_command_line_in_both_spellings() {
        let line = ["apache2", "-f", "/x/httpd.conf", "-DA", "-D", "B"].map(str::to_owned);
        assert_eq!(of_command_line(&line), (Some("/x/httpd.conf"), vec!["A", "B"]));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "([<>/!\\\\ a-zA-Z\n]{0,200}|.*)") {
            let _ = read(&text, &["X"]);
        }
    }
}
