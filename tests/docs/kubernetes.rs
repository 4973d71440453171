//! The manifests of packaging/kubernetes: valid by Kubernetes' published schemas, with exactly the
//! capabilities that are documented.
//!
//! In: the manifests, `kubernetes-validate`. Out: verdicts. No cluster is asked.

use std::process::Command;

use anyhow::Context as _;
use wsgi_trace::capability::CAPABILITIES_WANTED;
use wsgi_trace_test_support::{environment, gate, root};

/// From the oldest that has all fields (`appArmorProfile`) on, and the newest that the validator carries.
const VERSIONS: [&str; 2] = ["1.30", "1.37"];
const WHOLE: [&str; 2] = ["pod.yaml", "daemonset.yaml"];
const PART: &str = "debug-container.yaml";

fn read(name: &str) -> anyhow::Result<String> {
    let path = root().join("packaging/kubernetes").join(name);
    std::fs::read_to_string(&path).with_context(|| path.display().to_string())
}

/// The part of a container as a pod that has it.
fn as_pod(part: &str) -> String {
    let indented: String = part.lines().map(|line| format!("      {line}\n")).collect();
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: debug}}\nspec:\n  containers:\n    - name: debug\n      image: i\n{indented}"
    )
}

#[test]
fn manifests_are_valid_by_the_published_schemas_and_what_is_not_is_refused() -> anyhow::Result<()> {
    let program = environment::program("venv-kubernetes", "kubernetes-validate");
    if !program.exists() {
        gate::missing("kubernetes-validate");
        return Ok(());
    }
    let directory = tempfile::tempdir()?;
    let is_valid = |manifest: &str, version: &str| -> anyhow::Result<(bool, String)> {
        let file = directory.path().join("manifest.yaml");
        std::fs::write(&file, manifest)?;
        let outcome =
            Command::new(&program).args(["--strict", "--kubernetes-version", version]).arg(&file).output()?;
        let said = [outcome.stdout, outcome.stderr].concat();
        Ok((outcome.status.success(), String::from_utf8_lossy(&said).into_owned()))
    };
    for version in VERSIONS {
        let whole = WHOLE.iter().map(|name| read(name)).collect::<anyhow::Result<Vec<_>>>()?;
        for manifest in whole.into_iter().chain([as_pod(&read(PART)?)]) {
            let (valid, said) = is_valid(&manifest, version)?;
            assert!(valid, "{version}: {said}\n{manifest}");
            // The validator does look.
            let (valid, _) = is_valid(&manifest.replace("seccompProfile", "seccompProfiles"), version)?;
            assert!(!valid, "{version}: a wrong field is taken");
        }
    }
    Ok(())
}

#[test]
fn every_way_to_run_it_in_a_container_has_exactly_the_documented_capabilities() -> anyhow::Result<()> {
    let names: Vec<&str> =
        CAPABILITIES_WANTED.split([',', ' ']).filter_map(|word| word.strip_prefix("CAP_")).collect();
    for manifest in WHOLE.iter().chain([&PART]) {
        let text = read(manifest)?;
        assert!(text.contains("drop: [ALL]"), "{manifest}");
        assert!(text.contains(&format!("add: [{}]", names.join(", "))), "{manifest}");
    }
    for manifest in WHOLE {
        assert!(read(manifest)?.contains("hostPID: true"), "{manifest}");
    }
    let page = std::fs::read_to_string(root().join("docs/containers.md"))?;
    assert!(page.contains(&format!("--cap-add={}", names.join(","))), "docs/containers.md");
    Ok(())
}
