//! The recording rules of a fleet: of 200 hosts they name the one that differs, and make as many series as
//! they say.
//!
//! In: `dashboards/fleet.{yml,json}`, series made here, Debian's `promtool`. Out: verdicts; where that is not
//! installed, a skip or a failure.

use std::fmt::Write as _;
use std::process::Command;

use anyhow::ensure;
use serde_json::Value;
use wsgi_trace_test_support::gate::missing;

use super::dashboards::file;

const HOSTS: u32 = 200;
/// Of 100 requests a second, a minute.
const REQUESTS: f64 = 6_000.0;

/// Two phases of each host; hosts differ by up to 3 %, one of them by 15 ms in one phase.
fn series() -> String {
    let mut text = String::new();
    for host in 0..HOSTS {
        let instance = format!("web-{host:03}:9750");
        let labels = format!("job=\"shop\",instance=\"{instance}\",method=\"GET\",endpoint=\"/\"");
        let speed = 0.97 + 0.06 * f64::from((host * 37) % 100) / 99.0;
        let slow_disk = if host == 7 { 0.015 } else { 0.0 };
        let mut line = |name: &str, label: &str, a_minute: f64| {
            let _ = writeln!(
                text,
                "      - series: '{name}{{{labels},{label}}}'\n        values: '0+{a_minute:.4}x40'"
            );
        };
        line("wsgi_trace_requests_total", "status=\"200\"", REQUESTS);
        let name = "wsgi_trace_request_phase_seconds_total";
        line(name, "phase=\"cpu\"", 0.010 * speed * REQUESTS);
        line(name, "phase=\"file_wait\"", (0.002 * speed + slow_disk) * REQUESTS);
    }
    text
}

#[test]
fn of_200_hosts_the_one_that_differs_is_named_and_series_are_as_many_as_is_said() -> anyhow::Result<()> {
    // Two for each host and phase, one for the requests of each host; two for each phase, two for the job.
    let all = HOSTS * 2 * 2 + HOSTS + 2 * 2 + 2;
    let test = format!(
        "rule_files: [{}]\nevaluation_interval: 1m\ntests:\n  - interval: 1m\n    input_series:\n{}{}",
        file("fleet.yml").display(),
        series(),
        format_args!(
            r#"      - series: 'wsgi_trace_records_lost_total{{job="shop",instance="web-003:9750",cause="ring_full"}}'
        values: '0+1x40'
    promql_expr_test:
      - expr: count by (instance, phase) (abs(wsgi_trace_fleet:phase_deviation:spreads15m) >= 6.5)
        eval_time: 35m
        exp_samples: [{{labels: '{{instance="web-007:9750", phase="file_wait"}}', value: 1}}]
      - expr: sum(wsgi_trace_fleet:requests:sum_rate15m)
        eval_time: 35m
        exp_samples: [{{labels: '{{}}', value: 20000}}]
      - expr: sum(wsgi_trace_fleet:instances_incomplete:count15m)
        eval_time: 35m
        exp_samples: [{{labels: '{{}}', value: 1}}]
      - expr: count({{__name__=~"wsgi_trace_fleet:.*"}})
        eval_time: 35m
        exp_samples: [{{labels: '{{}}', value: {all}}}]
"#
        )
    );
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("fleet.test.yml");
    std::fs::write(&path, test)?;
    for (what, path) in [("check", file("fleet.yml")), ("test", path)] {
        let Ok(outcome) = Command::new("promtool").args([what, "rules"]).arg(&path).output() else {
            missing("promtool");
            return Ok(());
        };
        let said = [outcome.stdout, outcome.stderr].concat();
        ensure!(outcome.status.success(), "{what}: {}", String::from_utf8_lossy(&said));
    }
    Ok(())
}

#[test]
fn every_panel_asks_for_series_that_the_rules_record() -> anyhow::Result<()> {
    let rules = std::fs::read_to_string(file("fleet.yml"))?;
    let board: Value = serde_json::from_str(&std::fs::read_to_string(file("fleet.json"))?)?;
    let panels = board["panels"].as_array().map(Vec::as_slice).unwrap_or_default();
    ensure!(panels.len() >= 4, "the dashboard has lost its panels");
    for panel in panels {
        let expression = panel["targets"][0]["expr"].as_str().unwrap_or_default();
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ':');
        let mut asked =
            expression.split(|c| !is_name(c)).filter(|name| name.starts_with("wsgi_trace")).peekable();
        ensure!(asked.peek().is_some(), "{panel}");
        for name in asked {
            ensure!(rules.contains(&format!("record: {name}\n")), "{name}");
        }
    }
    Ok(())
}
