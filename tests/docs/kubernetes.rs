//! The manifests of packaging/kubernetes, and those that Helm makes of packaging/helm: valid by Kubernetes'
//! published schemas, with exactly the capabilities that are documented.
//!
//! In: the manifests, the chart, `kubernetes-validate`, Helm's engine. Out: verdicts. No cluster is asked.

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

fn has_validator() -> bool {
    let has = environment::program("venv-kubernetes", "kubernetes-validate").exists();
    if !has {
        gate::missing("kubernetes-validate");
    }
    has
}

/// Whether a manifest is valid, and what the validator says.
fn is_valid(manifest: &str, version: &str) -> anyhow::Result<(bool, String)> {
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("manifest.yaml");
    std::fs::write(&file, manifest)?;
    let program = environment::program("venv-kubernetes", "kubernetes-validate");
    let outcome =
        Command::new(program).args(["--strict", "--kubernetes-version", version]).arg(&file).output()?;
    let said = [outcome.stdout, outcome.stderr].concat();
    Ok((outcome.status.success(), String::from_utf8_lossy(&said).into_owned()))
}

/// What Helm makes of the chart with these values, or what it says against them.
fn rendered(values: &str) -> anyhow::Result<Result<String, String>> {
    let outcome = Command::new(environment::program("venv-kubernetes", "python"))
        .arg(root().join("tests/clients/helm_render.py"))
        .arg(root().join("packaging/helm/wsgi-trace"))
        .arg(values)
        .output()?;
    let [out, said] =
        [outcome.stdout, outcome.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    Ok(if outcome.status.success() { Ok(out) } else { Err(said) })
}

/// Values with what each of them has to give.
const CHARTS: [(&str, &[&str]); 2] = [
    (r#"{"image": {"repository": "r"}}"#, &["- --all", "CHECKPOINT_RESTORE]", "image: \"r:0.1.0\""]),
    (
        r#"{"image": {"repository": "r", "tag": "t"}, "mode": "light", "match": ["pod=web-*"], "keep": "60s",
            "sysAdmin": true, "extraArgs": ["--full-when", "p99=500ms"], "tolerations": [{"operator": "Exists"}],
            "podAnnotations": {"a": "b"}, "priorityClassName": "high"}"#,
        &[
            "- --light",
            "\"--match=pod=web-*\"",
            "--keep=60s",
            "SYS_ADMIN]",
            "\"p99=500ms\"",
            "image: \"r:t\"",
        ],
    ),
];

#[test]
fn the_chart_gives_valid_manifests_for_its_values_and_refuses_others() -> anyhow::Result<()> {
    if !has_validator() {
        return Ok(());
    }
    for (values, wanted) in CHARTS {
        let manifest = rendered(values)?.map_err(anyhow::Error::msg)?;
        for version in VERSIONS {
            let (valid, said) = is_valid(&manifest, version)?;
            assert!(valid, "{version}: {said}\n{manifest}");
        }
        assert!(wanted.iter().all(|part| manifest.contains(part)), "{manifest}");
        assert!(
            !manifest.contains("PodMonitor"),
            "it is of the Prometheus operator, which not everybody has"
        );
    }
    let monitored = rendered(r#"{"image": {"repository": "r"}, "podMonitor": {"enabled": true}}"#)?;
    assert!(monitored.is_ok_and(|manifest| manifest.contains("honorLabels: true")));
    for (values, said) in [
        ("{}", "image.repository"),
        (r#"{"image": {"repository": "r"}, "match": ["pods=x"]}"#, "match"),
        (r#"{"image": {"repository": "r"}, "mode": "fast"}"#, "mode"),
    ] {
        let refused = rendered(values)?;
        assert!(refused.as_ref().is_err_and(|error| error.contains(said)), "{values}: {refused:?}");
    }
    let version = format!("appVersion: {}", env!("CARGO_PKG_VERSION"));
    let chart = std::fs::read_to_string(root().join("packaging/helm/wsgi-trace/Chart.yaml"))?;
    assert!(chart.contains(&version), "{chart}");
    Ok(())
}

#[test]
fn manifests_are_valid_by_the_published_schemas_and_what_is_not_is_refused() -> anyhow::Result<()> {
    if !has_validator() {
        return Ok(());
    }
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
    for manifest in WHOLE.iter().chain([&PART, &"../helm/wsgi-trace/templates/daemonset.yaml"]) {
        let text = read(manifest)?;
        assert!(text.contains("drop: [ALL]"), "{manifest}");
        assert!(text.contains(&format!("add: [{}", names.join(", "))), "{manifest}");
    }
    for manifest in WHOLE {
        assert!(read(manifest)?.contains("hostPID: true"), "{manifest}");
    }
    let page = std::fs::read_to_string(root().join("docs/containers.md"))?;
    assert!(page.contains(&format!("--cap-add={}", names.join(","))), "docs/containers.md");
    Ok(())
}
