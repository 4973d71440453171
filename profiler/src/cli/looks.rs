//! What is looked at of threads that sleep for long.
//!
//! In: arguments. Out: [`Looks`].

use clap::{Args, ValueEnum};

use super::help::ADVANCED;

/// How far looks at sleeping threads go.
#[derive(Clone, Debug, Default, Args)]
pub struct Looks {
    /// What to look at when a thread sleeps for long, ten times a second
    ///
    /// Of a thread that has slept for 50 ms and more, once in each sleep: its call, its state, the file,
    /// pipe, lock or connection that it waits for, and who on this machine stands at the other end. That is
    /// read in /proc and from the kernel's lists of sockets and locks; a look takes some 80 µs.
    #[arg(
        long = "looks",
        value_enum,
        default_value_t,
        value_name = "WHAT",
        help_heading = ADVANCED,
        hide_short_help = true
    )]
    pub at: LooksAt,
    /// What is your own code: a package, or the path of a folder or file; may be given several times
    ///
    /// Reports show the lines of your own code. Without this option it is what no installed package lists,
    /// what was installed from a folder or a repository, and what the server's command line names. With it
    /// nothing but what it names is. Paths are those inside the server's container.
    #[arg(
        long,
        value_name = "PACKAGE|PATH",
        value_parser = own,
        help_heading = ADVANCED,
        hide_short_help = true
    )]
    pub own: Vec<String>,
}

/// A package, or a path: relative to where this was started, if it is.
fn own(text: &str) -> Result<String, String> {
    let is_module = text.split('.').all(|part| {
        part.starts_with(|first: char| first.is_alphabetic() || first == '_')
            && part.chars().all(|one| one.is_alphanumeric() || one == '_')
    });
    if is_module {
        return Ok(text.to_owned());
    }
    let path = std::path::absolute(text).map_err(|error| error.to_string())?;
    let has_parent = path.components().any(|part| part == std::path::Component::ParentDir);
    match path.to_str() {
        Some(path) if !has_parent && path.len() > 1 => Ok(path.to_owned()),
        _ => Err("neither the name of a package nor the path of a folder".to_owned()),
    }
}

/// How far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LooksAt {
    /// The thread, and the processes of this machine that keep it waiting
    #[default]
    All,
    /// The thread, and no process that is not the server's
    Own,
    /// Nothing: what a thread that hangs waits for is known only as far as its calls show it
    Off,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_code_is_a_package_or_a_path() {
        for text in ["shop", "acme.billing", "_a.b2", "/srv/shop"] {
            assert_eq!(own(text).as_deref(), Ok(text));
        }
        assert!(own("./plugins").is_ok_and(|path| path.starts_with('/') && path.ends_with("/plugins")));
        for text in ["", "/", "..", "/srv/../etc"] {
            assert!(own(text).is_err(), "{text}");
        }
    }
}
