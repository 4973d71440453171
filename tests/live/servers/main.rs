//! Every server that the project names, one line each: traced under mixed load and compared with its own log, or with the
//! application's clock where its log has no times.
//!
//! In: recipes (`support/server`). Out: verdicts; the figures measured on standard error. Lines marked
//! `make live-all` are left out by `make test`, which keeps one server of each family.

mod truth;

use wsgi_trace_tests::gunicorn::{Settings, Version};

/// `name: recipe;` is a test that `make test` runs, `all name: recipe;` one for `make live-all`.
macro_rules! servers {
    () => {};
    (all $name:ident: $recipe:expr; $($rest:tt)*) => {
        #[test]
        #[ignore = "make live-all"]
        fn $name() -> anyhow::Result<()> {
            truth::requests_agree_with_the_witness(&$recipe)
        }
        servers! { $($rest)* }
    };
    ($name:ident: $recipe:expr; $($rest:tt)*) => {
        #[test]
        fn $name() -> anyhow::Result<()> {
            truth::requests_agree_with_the_witness(&$recipe)
        }
        servers! { $($rest)* }
    };
}

servers! {
    gunicorn_sync: Settings::sync(Version::V27, 4);
    all gunicorn_gthread: Settings::gthread(Version::V27, 2, 4);
}
