//! Clients speak TLS with nginx, and nginx HTTP or the uwsgi protocol with the server: each request is one,
//! joined, with the name that the server was asked for.
//!
//! In: recipes behind nginx, versions of TLS. Out: verdicts against nginx's access log and the application.

use wsgi_trace_test_support::gate::exclusive;
use wsgi_trace_test_support::gunicorn::{Settings, Version};
use wsgi_trace_test_support::require_bpf;
use wsgi_trace_test_support::require_nginx;
use wsgi_trace_test_support::server::Recipe;
use wsgi_trace_test_support::server::nginx::{Link, Nginx};
use wsgi_trace_test_support::server::tls::Tls;
use wsgi_trace_test_support::server::uwsgi::Uwsgi;
use wsgi_trace_test_support::server::waitress::Waitress;

use super::front_ends::every_request_is_joined;
use super::window::window_around;
use super::{truth, work};

const ROUTES: &str = "/fast=3,/cpu,/backend,/empty,/missing,/sleep/5=2";

fn is_joined_and_named(recipe: &dyn Recipe, version: &str, kinds: &str) -> anyhow::Result<()> {
    require_nginx!(Ok(()));
    require_bpf!(Ok(()));
    let _alone = exclusive()?;
    let routes = format!("{ROUTES},{}", work::ROUTES);
    let load = [
        ["--tls", version, "--keep-alive", "5"],
        ["--requests", "500", "--clients", "4"],
        ["--seconds", "30", "--routes", &routes],
        ["--think-ms", "3", "--kinds", kinds],
    ];
    let window = window_around(recipe, load.as_flattened())?;
    eprintln!("{}, TLS {version}: {} requests", recipe.about(), window.traced.requests.len());
    every_request_is_joined(&window)?;
    // By method, path and status: nginx decrypts them.
    truth::every_request_is_seen_once(&window)?;
    window.traced.lost_nothing()
}

#[test]
#[ignore = "make live-all"]
fn gunicorn_with_preload_behind_nginx_with_tls_and_kept_connections() -> anyhow::Result<()> {
    let gunicorn = Settings::gthread(Version::V27, 2, 4).with(&["--preload"]);
    let nginx = Nginx::before(gunicorn, Link::Tcp).keeping(16).in_tls();
    is_joined_and_named(&Tls::with_files(nginx), "1.3", "get")
}

/// Heads and bodies lie in records of their own, and each request has a connection of its own.
#[test]
#[ignore = "make live-all"]
fn uploads_to_waitress_behind_nginx_with_older_tls() -> anyhow::Result<()> {
    let nginx = Nginx::before(Waitress { threads: 4 }, Link::Tcp).in_tls();
    is_joined_and_named(&Tls::with_files(nginx), "1.2", "get,sized=2,chunked")
}

#[test]
#[ignore = "make live-all"]
fn uwsgi_behind_nginx_with_tls_in_its_own_protocol() -> anyhow::Result<()> {
    let nginx = Nginx::before(Uwsgi::new(2, 2).on_socket(), Link::Tcp).in_uwsgi().in_tls();
    is_joined_and_named(&Tls::with_files(nginx), "1.3", "get,sized")
}
