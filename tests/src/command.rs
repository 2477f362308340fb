//! Commands: runs the daemons' own command lines in this process, the same code that a shop runs, with this process's clock.

use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, ensure};
use huitong_hub::cli::World;
use serde_json::Value;

/// Runs `huitong-hub --data DIR --json ARGS` and gives its JSON.
///
/// # Errors
/// What the command complains of, with its exit code.
pub async fn hub(data: &Path, clock: Arc<dyn huitong_hub::clock::Clock>, args: &[&str]) -> anyhow::Result<Value> {
    let shown = args.join(" ");
    let (code, out, err) = run_hub(data, clock, args).await?;
    read("huitong-hub", &shown, code, &out, &err)
}

/// Proves everything that the hub holds (`huitong-hub verify`) and gives what was not right, a line per finding.
///
/// # Errors
/// When it could not be looked at.
pub async fn verify(data: &Path, clock: Arc<dyn huitong_hub::clock::Clock>) -> anyhow::Result<Vec<String>> {
    let report = match run_hub(data, clock, &["verify"]).await? {
        (0 | huitong_hub::cli::EXIT_REFUSED, out, _) => serde_json::from_slice::<Value>(&out)?,
        (code, out, err) => return read("huitong-hub", "verify", code, &out, &err).map(|_| Vec::new()),
    };
    let checks = report["checks"].as_array().context("verify shows no checks")?;
    let findings = checks.iter().flat_map(|check| {
        let name = check["name"].as_str().unwrap_or("?");
        let found = check["findings"].as_array().into_iter().flatten();
        found.map(move |finding| {
            let text = |field: &str| finding[field].as_str().unwrap_or("").to_owned();
            format!("{name}: {} {}: {}", text("table"), text("row"), text("fault"))
        })
    });
    let findings: Vec<String> = findings.collect();
    ensure!(report["ok"] == Value::Bool(findings.is_empty()), "verify contradicts itself: {report}");
    Ok(findings)
}

/// Prices every sale that the hub holds again (`huitong-hub rerate`). Gives how many there are, and a line for each that costs something else.
///
/// # Errors
/// When it could not be looked at.
pub async fn rerate(data: &Path, clock: Arc<dyn huitong_hub::clock::Clock>) -> anyhow::Result<(u64, Vec<String>)> {
    let report = match run_hub(data, clock, &["rerate"]).await? {
        (0 | huitong_hub::cli::EXIT_REFUSED, out, _) => serde_json::from_slice::<Value>(&out)?,
        (code, out, err) => return read("huitong-hub", "rerate", code, &out, &err).map(|_| (0, Vec::new())),
    };
    let sales = report["counts"]["sales"].as_u64().context("rerate counts no sales")?;
    let found = report["found"].as_array().context("rerate shows no findings")?;
    let findings: Vec<String> = found
        .iter()
        .map(|found| {
            let text = |field: &str| found[field].as_str().unwrap_or("").to_owned();
            format!("{} {}: {}", text("class"), text("subject"), text("evidence"))
        })
        .collect();
    ensure!(report["ok"] == Value::Bool(findings.is_empty()), "rerate contradicts itself: {report}");
    Ok((sales, findings))
}

async fn run_hub(
    data: &Path,
    clock: Arc<dyn huitong_hub::clock::Clock>,
    args: &[&str],
) -> anyhow::Result<(u8, Vec<u8>, Vec<u8>)> {
    let line = line("huitong-hub", data, args);
    let ended = tokio::task::spawn_blocking(move || {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let code = World { clock, progress: false }.main(line, &mut out, &mut err);
        (code, out, err)
    });
    Ok(ended.await?)
}

fn line(program: &str, data: &Path, args: &[&str]) -> Vec<OsString> {
    let head = [OsString::from(program), "--json".into(), "--data".into(), data.into()];
    head.into_iter().chain(args.iter().map(|&arg| arg.into())).collect()
}

fn read(program: &str, shown: &str, code: u8, out: &[u8], err: &[u8]) -> anyhow::Result<Value> {
    let (out, err) = (String::from_utf8_lossy(out), String::from_utf8_lossy(err));
    ensure!(code == 0, "{program} {shown} ended with exit code {code}: {}{}", err.trim(), out.trim());
    if out.trim().is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_str(&out).with_context(|| format!("{program} {shown} did not write JSON: {out}"))
}
