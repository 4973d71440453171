//! The signature of the checksums (minisign).
//!
//! In: the file of checksums; a secret key that `WSGI_TRACE_SIGNING_KEY` names, with the password of
//! `WSGI_TRACE_SIGNING_PASSWORD`. Out: `SHA256SUMS.minisig`; nothing, and a line that says so, without a key.
//! No key is in the tree: who publishes has it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use minisign::SecretKey;

/// Names the secret key's file.
const KEY: &str = "WSGI_TRACE_SIGNING_KEY";
/// Its password; without one, the key is taken for one that has none.
const PASSWORD: &str = "WSGI_TRACE_SIGNING_PASSWORD";

/// Signs the file with the publisher's key, if there is one.
pub(super) fn sign(file: &Path) -> anyhow::Result<()> {
    let Some(key) = std::env::var_os(KEY) else {
        println!("They are not signed: {KEY} names no key.");
        return Ok(());
    };
    let password = std::env::var(PASSWORD).ok();
    let written = sign_with(&PathBuf::from(key), password, file)?;
    println!("They are signed: {}", written.display());
    Ok(())
}

fn sign_with(key: &Path, password: Option<String>, file: &Path) -> anyhow::Result<PathBuf> {
    let text = fs::read_to_string(key).with_context(|| format!("cannot read the key {}", key.display()))?;
    let boxed = minisign::SecretKeyBox::from_string(&text).context("this is no secret key of minisign")?;
    let key: SecretKey = match password {
        Some(password) => {
            boxed.into_secret_key(Some(password)).context("the key does not open with this password")?
        }
        None => boxed
            .into_unencrypted_secret_key()
            .with_context(|| format!("the key does not open without a password: set {PASSWORD}"))?,
    };
    let name = file.file_name().context("a file has a name")?.to_string_lossy().into_owned();
    let signature = minisign::sign(
        None,
        &key,
        File::open(file)?,
        Some(&format!("wsgi-trace {} {name}", env!("CARGO_PKG_VERSION"))),
        Some("checksums of wsgi-trace"),
    )?;
    let written = file.with_file_name(format!("{name}.minisig"));
    fs::write(&written, signature.into_string())?;
    Ok(written)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use minisign::{KeyPair, SignatureBox, verify};

    use super::*;

    #[test]
    fn a_signature_by_a_throwaway_key_holds_for_these_checksums_and_for_no_others() {
        let place = std::env::temp_dir().join(format!("wsgi-trace-signature-{}", std::process::id()));
        fs::create_dir_all(&place).unwrap();
        let (key, sums) = (place.join("key"), place.join("SHA256SUMS"));
        fs::write(&sums, "00  wsgi-trace-x86_64\n").unwrap();
        let pair = KeyPair::generate_unencrypted_keypair().unwrap();
        fs::write(&key, pair.sk.to_box(None).unwrap().to_string()).unwrap();

        let written = sign_with(&key, None, &sums).unwrap();
        let signature = SignatureBox::from_string(&fs::read_to_string(&written).unwrap()).unwrap();
        let holds = |content: &[u8]| {
            verify(&pair.pk, &signature, Cursor::new(content.to_vec()), true, false, false).is_ok()
        };
        assert!(written.ends_with("SHA256SUMS.minisig"));
        assert!(holds(&fs::read(&sums).unwrap()) && !holds(b"01  wsgi-trace-x86_64\n"));
        assert!(sign_with(&sums, None, &sums).is_err(), "what is no key signs nothing");
        fs::remove_dir_all(&place).unwrap();
    }
}
