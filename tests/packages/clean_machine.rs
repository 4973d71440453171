//! This machine's file system with a layer above it that nobody else sees: packages are really installed
//! there, and are gone with it.
//!
//! In: root, overlayfs. Out: commands that run inside. Processes, network and kernel are those of the
//! machine.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use wsgi_trace_test_support::child::{Child, until};

/// Makes the layer in a mount namespace of its own, which ends with this shell. The layer is kept in memory.
const BUILD: &str = r#"
mount -t tmpfs none "$1/layer"
mkdir "$1/layer/upper" "$1/layer/work" "$1/layer/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/layer/upper,workdir=$1/layer/work" "$1/layer/root"
for directory in proc sys dev; do mount --rbind "/$directory" "$1/layer/root/$directory"; done
mkdir -p "$1/layer/root/$1/shared"
mount --bind "$1/shared" "$1/layer/root/$1/shared"
echo ready >"$1/ready"
read -r _
"#;

/// The machine.
pub(crate) struct CleanMachine {
    holder: Child,
    directory: TempDir,
    shared: PathBuf,
}

impl CleanMachine {
    /// Makes it.
    pub(crate) fn start() -> anyhow::Result<Self> {
        let directory = tempfile::tempdir()?;
        for name in ["layer", "shared"] {
            fs::create_dir(directory.path().join(name))?;
        }
        let shared = directory.path().join("shared");
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "--propagation", "private", "bash", "-euc", BUILD, "bash"])
            .arg(directory.path());
        let error = fs::File::create(directory.path().join("error"))?;
        // The shell reads until it is ended.
        command.stdin(Stdio::piped()).stderr(error);
        let mut holder = Child::start(&mut command, "unshare")?;
        until("the clean machine", Duration::from_secs(20), || {
            if holder.ended()?.is_some() {
                anyhow::bail!("{}", fs::read_to_string(directory.path().join("error")).unwrap_or_default());
            }
            Ok(directory.path().join("ready").exists().then_some(()))
        })?;
        Ok(Self { holder, directory, shared })
    }

    /// A directory that both sides see under the same name.
    pub(crate) fn shared(&self) -> &Path {
        &self.shared
    }

    /// A command that runs there.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--mount=/proc/{}/ns/mnt", self.holder.pid()));
        command.arg("chroot").arg(self.directory.path().join("layer/root")).args(words);
        command
    }
}
