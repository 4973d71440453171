//! What to change in uWSGI for each finding, with the present value.
//!
//! In: id of a finding, the server. Out: advice. Options are named as on the command line.

use super::super::advice::common::{keep_within, raise_cpu_limit};
use super::super::advice::{
    Advice, Arrangement, Direction, Setting, Sizes, act, lower, raise, say, use_option,
};
use super::super::setting::is_from;
use super::super::site::Site;
use crate::model::Server;

/// The settings that make slots.
struct Slots {
    processes: Setting,
    /// How many requests each process serves at once.
    inside: Setting,
    /// What serves one of them.
    noun: &'static str,
}

impl Slots {
    fn of(server: &Server) -> Self {
        // Not threads beside greenlets: uWSGI then has as many cores as threads, and the loop takes some that
        // are not there.
        let (inside, noun) = match server.worker_class.as_str() {
            "gevent" => (Setting::of(server, "--gevent", "gevent").sizing(Sizes::Greenlets), "greenlet"),
            "async" => (Setting::of(server, "--async", "async").sizing(Sizes::Greenlets), "core"),
            _ => (Setting::of(server, "--threads", "threads").sizing(Sizes::Threads), "thread"),
        };
        let processes = Setting::of(server, "--processes", "processes").sizing(Sizes::Processes);
        Self { processes, inside, noun }
    }

    /// The setting for threads, where threads serve.
    fn threads(&self) -> Option<&Setting> {
        (self.inside.sizes == Some(Sizes::Threads)).then_some(&self.inside)
    }
}

pub(super) fn advice(finding_id: &str, server: &Server, site: &Site) -> Option<Advice> {
    let slots = Slots::of(server);
    let Slots { processes, inside, noun } = &slots;
    if matches!(finding_id, "more-slots" | "cpu-bound") && keeps_back(server, site) {
        return Some(kept_back(server, site, processes));
    }
    Some(match finding_id {
        "slow-clients" => {
            proxy(server, "a worker waits for its client as long as --socket-timeout allows for each piece")
                .then(raise(inside).when("Without such a proxy"))
        }
        "idle-connections" => {
            let timeout = Setting::of(server, "--socket-timeout", "socket_timeout");
            proxy(
                server,
                format!("with --http11-socket a finished connection holds a worker until {timeout} has passed"),
            )
        }
        "cpu-bound" => Advice::first(raise(processes).up_to_cores())
            .then(say("more threads do not help while Python code holds the GIL").no_more(Sizes::Threads))
            .then(say("with the cores busy, only faster code or more machines help")),
        "gil-contention" => gil_contention(&slots),
        "cpu-throttled" => Advice::first(raise_cpu_limit())
            .then(lower(processes).when("If that cannot be")),
        "herd" => Advice::first(use_option(&Setting::named("--thunder-lock")).because(
            "one worker then waits for the listener and a connection wakes one (--threads does the same within a \
             process)",
        )),
        "worker-timeouts" => worker_timeouts(server, site),
        "keep-alive-race" if has(server, "http_socket") => Advice::first(
            act("let the proxy before uWSGI keep no connections to it")
                .or(act("speak uwsgi with it (--socket, uwsgi_pass)"))
                .because("--http-socket closes every connection after its response and does not say so"),
        )
        .then(say("a client that keeps connections sends its next request into the close"))
        .then(say("with --http11-socket uWSGI keeps connections, and each then holds a worker")),
        "more-slots" => Advice::first(
            raise(inside)
                .because(format!("requests wait rather than compute, and a waiting {noun} costs little")),
        ),
        _ => return None,
    })
}

/// Whether a setting is known.
fn has(server: &Server, name: &str) -> bool {
    server.settings.iter().any(|setting| setting.name == name)
}

/// A proxy before the workers, and why.
fn proxy(server: &Server, because: impl Into<String>) -> Advice {
    if !has(server, "http") {
        let buffers =
            "put a reverse proxy that buffers requests and responses (nginx does by default) before uWSGI";
        return Advice::first(act(buffers).arranging(Arrangement::BufferingProxy).because(because));
    }
    let nginx = act("put nginx before uWSGI with --socket (uwsgi_pass)")
        .arranging(Arrangement::BufferingProxy)
        .with(Setting::named("--socket"), Direction::Set);
    Advice::first(nginx.because(because))
        .then(say("unlike the router of --http, nginx takes requests in whole and responses off at once"))
}

/// `--harakiri` limits a request, whatever else its worker does. From 2.0.22 on uWSGI can leave a worker
/// alone while nobody waits.
fn worker_timeouts(server: &Server, site: &Site) -> Advice {
    let limit = Setting::of(server, "--harakiri", "harakiri");
    let advice = keep_within(&limit);
    // Of UNIX sockets it does not know how many wait (`master_check_listen_queue`): it would kill no worker
    // any more, however stuck.
    if !is_from(server, &[2, 0, 22]) || !site.own_tcp {
        return advice;
    }
    let threshold = Setting::named("--harakiri-queue-threshold");
    advice.then(
        use_option(&threshold)
            .only("if a request may take longer while nobody waits")
            .because("uWSGI then kills only while so many connections stand in its queue"),
    )
}

fn gil_contention(slots: &Slots) -> Advice {
    let processes = &slots.processes;
    match slots.threads() {
        Some(_) => Advice::first(
            raise(processes).up_to_cores().because("processes do not share the GIL, threads do"),
        ),
        // One thread serves: who it waits for is the application's own threads.
        None => Advice::first(
            act("move the work of the application's own threads to another process")
                .because("they take the GIL from the event loop"),
        )
        .then(say(format!("raising {processes} shares it out")).with(processes.clone(), Direction::Raise)),
    }
}

/// Whether fewer workers than processes were kept running: who does so has fewer slots, as long as it does.
fn keeps_back(server: &Server, site: &Site) -> bool {
    let some_run = server.number("processes").is_some_and(|all| (1..all).contains(&site.workers));
    server.number("cheaper").is_some_and(|fewest| fewest > 0) && some_run
}

/// Where fewer workers than processes were kept running.
fn kept_back(server: &Server, site: &Site, processes: &Setting) -> Advice {
    let fewest = Setting::of(server, "--cheaper", "cheaper").sizing(Sizes::Processes);
    let because = format!(
        "it is the least number of workers, and only {} of {processes} ran at the end of the window",
        site.workers
    );
    // With as many as --processes, uWSGI does not start.
    let most = server.number("processes").unwrap_or(0).saturating_sub(1);
    let leave_out = |text: String| act(text).with(fewest.clone(), Direction::Remove).more(Sizes::Processes);
    if server.number("cheaper").is_some_and(|now| now >= most) {
        return leave_out(format!("leave {fewest} out")).because(because).into();
    }
    Advice::first(
        raise(&fewest)
            .so(format!("to {most} at most"))
            .at_most(most)
            .or(leave_out("leave it out".to_owned()))
            .because(because),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Origin;
    use crate::server::setting::setting;

    fn server(class: &str, settings: &[(&str, &str)]) -> Server {
        let configured =
            |(name, value): &(&str, &str)| setting(name, (*value).to_owned(), Origin::Configured);
        Server {
            worker_class: class.to_owned(),
            settings: settings.iter().map(configured).collect(),
            ..Server::default()
        }
    }

    #[test]
    fn only_where_workers_were_kept_back_is_that_what_to_change() {
        let settings = [("processes", "4"), ("cheaper", "1"), ("threads", "1")];
        let kept_back = "Raise --cheaper (now 1) to 3 at most, or leave it out: it is the least number of workers, and \
                         only 2 of --processes (now 4) ran";
        let all_ran = "Raise --threads (now 1): ";
        for (workers, begins) in [(2, kept_back), (4, all_ran), (5, all_ran), (0, all_ran)] {
            let site = Site { workers, ..Site::default() };
            let advice = advice("more-slots", &server("sync", &settings), &site).unwrap_or_default();
            let text = advice.to_string();
            assert!(text.starts_with(begins), "{workers}: {text}");
            let changes = advice.changes();
            let changes = changes.iter().map(|change| (change.setting.name.as_str(), change.direction));
            let expected = if workers == 2 {
                vec![("--cheaper", Direction::Raise), ("--cheaper", Direction::Remove)]
            } else {
                vec![("--threads", Direction::Raise)]
            };
            assert_eq!(changes.collect::<Vec<_>>(), expected, "{workers}: {text}");
        }
    }

    #[test]
    fn as_many_as_uwsgi_starts_with_cannot_be_raised() {
        let settings = [("processes", "4"), ("cheaper", "3"), ("threads", "1")];
        let site = Site { workers: 3, ..Site::default() };
        let advice = advice("more-slots", &server("sync", &settings), &site).unwrap_or_default();
        assert!(advice.to_string().starts_with("Leave --cheaper (now 3) out: it is the least"), "{advice}");
        assert!(
            advice
                .changes()
                .iter()
                .all(|change| change.direction != Direction::Raise || change.setting.name != "--cheaper")
        );
    }

    #[test]
    fn killed_workers_have_a_longer_limit_and_from_2_0_22_on_one_that_looks_at_the_queue() {
        let text = |version: Option<&str>, own_tcp: bool| {
            let server =
                Server { version: version.map(str::to_owned), ..server("sync", &[("harakiri", "30")]) };
            let site = Site { own_tcp, ..Site::default() };
            advice("worker-timeouts", &server, &site).unwrap_or_default().to_string()
        };
        for (version, own_tcp, knows) in [
            (Some("2.0.31"), true, true),
            (Some("2.0.31"), false, false),
            (Some("2.0.21"), true, false),
            (None, true, false),
        ] {
            let text = text(version, own_tcp);
            assert!(
                text.contains("raise --harakiri (now 30) only if such long requests are intended"),
                "{text}"
            );
            assert_eq!(text.contains("--harakiri-queue-threshold"), knows, "{version:?} {own_tcp}: {text}");
        }
    }

    #[test]
    fn threads_are_not_raised_beside_greenlets() {
        let raised = ["more-slots", "slow-clients"];
        for class in ["gevent", "async", "threads"] {
            // The class has the name of the setting.
            let server = server(class, &[(class, "9")]);
            let text_on = |id| advice(id, &server, &Site::default()).unwrap_or_default().to_string();
            for id in raised {
                let text = text_on(id);
                assert!(text.contains(&format!("--{class} (now 9)")), "{class}: {id}: {text}");
                assert_eq!(text.contains("--threads"), class == "threads", "{class}: {id}: {text}");
            }
        }
    }
}
