//! Which programs made a record: what other ones found is not found by these.
//!
//! In: `wsgi-trace`, this program (mixes, twins, and how they are judged), the clients, the applications.
//! Out: a digest of all.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use sha2::{Digest as _, Sha256};

/// Of the programs of this run.
pub(crate) fn identity() -> anyhow::Result<String> {
    let root = wsgi_trace_test_support::root();
    let mut files = vec![
        wsgi_trace_test_support::program::wsgi_trace_binary()?,
        std::env::current_exe()?,
        root.join("tests/clients/load.py"),
    ];
    files.extend(files_of(&root.join("tests/apps"))?);
    digest(&files)
}

/// The files of a directory, by name. What Python compiles there is in a directory of its own.
fn files_of(directory: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries =
        std::fs::read_dir(directory).with_context(|| format!("{} is not there", directory.display()))?;
    let mut files: Vec<PathBuf> = entries.map(|entry| Ok(entry?.path())).collect::<anyhow::Result<_>>()?;
    files.retain(|path| path.is_file());
    files.sort_unstable();
    Ok(files)
}

/// The beginning of a digest of their names and of what they hold.
fn digest(files: &[PathBuf]) -> anyhow::Result<String> {
    let mut all = Sha256::new();
    for path in files {
        let bytes = std::fs::read(path).with_context(|| format!("{} is not there", path.display()))?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        // Each part has its length before it: what moves from one to the next is a difference as well.
        for part in [name.as_bytes(), &bytes] {
            all.update(part.len().to_le_bytes());
            all.update(part);
        }
    }
    Ok(all.finalize().iter().take(6).map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_file_that_changes_makes_another_identity() {
        let directory = tempfile::tempdir().unwrap();
        let of = |files: &[(&str, &str)]| {
            for (name, text) in files {
                std::fs::write(directory.path().join(name), text).unwrap();
            }
            digest(&files_of(directory.path()).unwrap()).unwrap()
        };
        let first = of(&[("app.py", "a"), ("back.py", "b")]);
        assert_eq!(of(&[]), first);
        assert_eq!(first.len(), 12);
        // What Python leaves beside them is none of them.
        std::fs::create_dir(directory.path().join("__pycache__")).unwrap();
        std::fs::write(directory.path().join("__pycache__/app.pyc"), "compiled").unwrap();
        assert_eq!(of(&[]), first);
        assert_ne!(of(&[("back.py", "c")]), first);
        assert_ne!(of(&[("app.py", "ab"), ("back.py", "")]), first);
        let again = of(&[("app.py", "a"), ("back.py", "b")]);
        assert_eq!(again, first);
        assert_ne!(of(&[("new.py", "")]), first);
    }

    #[test]
    fn clients_and_applications_are_where_they_are_looked_for() {
        let root = wsgi_trace_test_support::root();
        assert!(root.join("tests/clients/load.py").is_file());
        let apps = files_of(&root.join("tests/apps")).unwrap();
        assert!(apps.iter().any(|path| path.ends_with("demo_app.py")), "{apps:?}");
    }
}
