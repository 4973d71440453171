//! The container image: the static program and its licences in one layer, and nothing else.
//!
//! In: the static program. Out: an OCI archive (image-spec 1.1: `oci-layout`, `index.json`, blobs by digest),
//! which `podman load` and `docker load` take. No registry is asked. Every entry has the same owner, time and
//! mode wherever it is made, so the same program gives the same bytes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::architecture::Architecture;
use crate::command;

/// The image's name, without its version.
const NAME: &str = "localhost/wsgi-trace";
/// What an image is made of, as image-spec calls it.
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
/// No clock enters the image.
const MADE: &str = "1970-01-01T00:00:00Z";
const LICENCES: [&str; 3] = ["LICENSE", "LICENSE-APACHE", "LICENSE-MIT"];

/// A blob of the image, as others name it.
struct Blob {
    digest: String,
    bytes: usize,
}

impl Blob {
    /// Puts it where its digest says.
    fn put(layout: &Path, content: &[u8]) -> anyhow::Result<Self> {
        let digest = format!("{:x}", Sha256::digest(content));
        fs::write(layout.join("blobs/sha256").join(&digest), content)?;
        Ok(Self { digest: format!("sha256:{digest}"), bytes: content.len() })
    }

    fn descriptor(&self, kind: &str) -> Value {
        json!({ "mediaType": kind, "digest": self.digest, "size": self.bytes })
    }
}

/// Writes `wsgi-trace-VERSION-ARCHITECTURE.oci.tar` into a directory; where it is.
pub(super) fn write(program: &Path, architecture: Architecture, directory: &Path) -> anyhow::Result<PathBuf> {
    let (version, architecture) = (env!("CARGO_PKG_VERSION"), architecture.debian());
    let work = directory.join("image");
    if work.exists() {
        fs::remove_dir_all(&work)?;
    }
    let (files, layout) = (work.join("files"), work.join("layout"));
    let licences = files.join("usr/share/licenses/wsgi-trace");
    for place in [&files.join("usr/bin"), &licences, &layout.join("blobs/sha256")] {
        fs::create_dir_all(place)?;
    }
    fs::copy(program, files.join("usr/bin/wsgi-trace"))
        .with_context(|| format!("{} is not there", program.display()))?;
    for licence in LICENCES {
        fs::copy(command::root().join(licence), licences.join(licence))?;
    }
    let layer = work.join("layer.tar");
    tar(&files, &["usr"], &layer)?;
    let layer = Blob::put(&layout, &fs::read(&layer)?)?;
    let labels = json!({
        "org.opencontainers.image.title": "wsgi-trace",
        "org.opencontainers.image.version": version,
        "org.opencontainers.image.licenses": "Apache-2.0 OR MIT",
    });
    let config = json!({
        "created": MADE,
        "architecture": architecture,
        "os": "linux",
        // Its capabilities are what the container is given; without root's number they would have to be
        // ambient.
        "config": { "User": "0:0", "Entrypoint": ["/usr/bin/wsgi-trace"], "WorkingDir": "/", "Labels": labels },
        // The layer is not packed: what is in it and what is stored have one digest.
        "rootfs": { "type": "layers", "diff_ids": [layer.digest] },
        "history": [{ "created": MADE, "created_by": "cargo xtask dist" }],
    });
    let config = Blob::put(&layout, config.to_string().as_bytes())?;
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": config.descriptor(CONFIG),
        "layers": [layer.descriptor(LAYER)],
        "annotations": labels,
    });
    let manifest = Blob::put(&layout, manifest.to_string().as_bytes())?;
    let name = format!("{NAME}:{version}");
    // The first name is podman's and skopeo's, the second containerd's and Docker's.
    let annotations = json!({ "org.opencontainers.image.ref.name": name, "io.containerd.image.name": name });
    let (digest, bytes) = (manifest.digest, manifest.bytes);
    let manifest =
        json!({ "mediaType": MANIFEST, "digest": digest, "size": bytes, "annotations": annotations });
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [manifest] });
    fs::write(layout.join("index.json"), index.to_string())?;
    fs::write(layout.join("oci-layout"), json!({ "imageLayoutVersion": "1.0.0" }).to_string())?;
    let image = directory.join(format!("wsgi-trace-{version}-{architecture}.oci.tar"));
    tar(&layout, &["oci-layout", "index.json", "blobs"], &image)?;
    fs::remove_dir_all(&work)?;
    Ok(image)
}

/// Packs entries of a directory with GNU tar, always into the same bytes.
fn tar(directory: &Path, entries: &[&str], archive: &Path) -> anyhow::Result<()> {
    let mut tar = Command::new("tar");
    tar.args(["--create", "--format=ustar", "--sort=name", "--mtime=@0", "--owner=0", "--group=0"]);
    tar.args(["--numeric-owner", "--mode=u=rwX,go=rX", "--file"])
        .arg(archive)
        .arg("--directory")
        .arg(directory);
    command::run(tar.args(entries))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn the_same_program_gives_the_same_image_whenever_and_wherever_it_is_made() -> anyhow::Result<()> {
        let mut images = Vec::new();
        for (name, mode, age_s) in [("one", 0o755, 0), ("other", 0o775, 1_000)] {
            let directory =
                std::env::temp_dir().join(format!("wsgi-trace-image-{name}-{}", std::process::id()));
            fs::create_dir_all(&directory)?;
            let program = directory.join("program");
            fs::write(&program, b"\x7fELF and so on")?;
            fs::set_permissions(&program, fs::Permissions::from_mode(mode))?;
            let when = std::time::SystemTime::now() - std::time::Duration::from_secs(age_s);
            fs::File::open(&program)?.set_modified(when)?;
            images.push(fs::read(write(&program, Architecture::Arm64, &directory)?)?);
            fs::remove_dir_all(&directory)?;
        }
        anyhow::ensure!(images[0] == images[1], "the images differ");
        Ok(())
    }
}
