//! Books: the night at head office. Settled without the late store, then again with what it brought; statements, and the proof of everything.

use std::collections::BTreeMap;

use anyhow::{Context, bail, ensure};
use huitong_hub::cli::{EXIT_OK, EXIT_REFUSED};
use huitong_protocol::statement::Statement;
use serde_json::Value;

use super::chain::{Chain, HUB, LATE, text_of};
use super::command::Form;
use super::figures::{AdjustmentFigures, Figures, RunFigures, VerifyFigures};
use super::narrator::Narrator;

/// Settles the day twice and proves it.
pub(super) async fn settle(chain: &Chain, figures: &mut Figures, narrator: &mut Narrator<'_>) -> anyhow::Result<()> {
    let day = figures.business_day.context("no day was traded")?.to_string();
    let day_list = ["day", "list", "--from", &day];
    narrator.heading("23:00  Head office settles without S3")?;
    page(chain, narrator, "looks at the day of all stores", &day_list).await?;
    let refused = chain.head_office(Form::Text, &["settle", "run"]).await?;
    ensure!(refused.code == EXIT_REFUSED, "{} ended with {}, not with a refusal", refused.shown, refused.code);
    narrator.step(HUB, "is refused a final run while a store is missing", &refused.shown)?;
    narrator.page(&refused.err)?;
    figures
        .runs
        .push(run(chain, narrator, "settles all the same, provisionally", &["settle", "run", "--provisional"]).await?);

    narrator.heading("02:00  The journal of S3 arrives; head office settles again")?;
    let late = chain.shops.iter().find(|shop| shop.id.as_str() == LATE).context("the late store is gone")?;
    late.wire.hold_uploads(false);
    let sent = late.command(Form::Text, &["sync", "now", "--upload"]).await?;
    sent.text()?;
    narrator.step(LATE, "sends its journal with the seal", &sent.shown)?;
    page(chain, narrator, "looks at the day again", &day_list).await?;
    let last = run(chain, narrator, "settles: what S3 brought is an adjustment", &["settle", "run"]).await?;
    let number = last.run.to_string();
    figures.runs.push(last);
    page(chain, narrator, "shows what each owes, and how it is paid", &["settle", "show", &number]).await?;
    statements(chain, &number, figures, narrator).await?;
    days(chain, &day_list, figures).await?;

    narrator.heading("Proof")?;
    for (party, minor) in figures.runs.iter().flat_map(|run| &run.positions) {
        *figures.nets.entry(party.clone()).or_default() += minor;
    }
    figures.nets_sum_minor = figures.nets.values().sum();
    let nets: Vec<String> =
        figures.nets.iter().map(|(party, minor)| format!("{party} {}", chain.amount(*minor))).collect();
    let sum = chain.amount(figures.nets_sum_minor);
    narrator.step(HUB, &format!("adds both runs up: {sum}"), "")?;
    narrator.page(&nets.join("   "))?;
    figures.verify = verify(chain, narrator).await?;
    Ok(())
}

/// Runs a command and shows what it wrote.
async fn page(chain: &Chain, narrator: &mut Narrator<'_>, what: &str, args: &[&str]) -> anyhow::Result<()> {
    let ended = chain.head_office(Form::Text, args).await?;
    narrator.step(HUB, what, &ended.shown)?;
    narrator.page(ended.text()?)?;
    Ok(())
}

async fn run(chain: &Chain, narrator: &mut Narrator<'_>, what: &str, args: &[&str]) -> anyhow::Result<RunFigures> {
    let ended = chain.head_office(Form::Json, args).await?;
    ended.text()?;
    let report = ended.json()?;
    let run = read_run(&report).with_context(|| format!("{} gave {report}", ended.shown))?;
    narrator.step(HUB, what, &ended.shown)?;
    let late = if run.late.is_empty() { String::new() } else { format!(", late: {}", run.late.join(", ")) };
    narrator.page(&format!(
        "run {} ({}, {}): {} lines, {} of them adjustments{late}",
        run.run, run.scheme, run.finality, run.lines, run.adjustments
    ))?;
    for (party, minor) in &run.positions {
        let verb = if *minor < 0 { "pays" } else { "receives" };
        narrator.page(&format!("{party:<14} {verb:<8} {:>10}", chain.amount(minor.saturating_abs())))?;
    }
    narrator.page(&format!("{:<14} {:<8} {:>10}", "sum", "", chain.amount(run.positions_sum_minor)))?;
    Ok(run)
}

fn read_run(report: &Value) -> anyhow::Result<RunFigures> {
    let number = |field: &str| report[field].as_i64().with_context(|| format!("there is no {field}"));
    let count = |field: &str| report[field].as_u64().with_context(|| format!("there is no {field}"));
    let text = |value: &Value| value.as_str().map(str::to_owned).context("a text is missing");
    let positions: BTreeMap<String, i64> =
        serde_json::from_value::<Vec<(String, i64)>>(report["positions"].clone())?.into_iter().collect();
    let late = report["late"].as_array().context("there is no list of late stores")?;
    Ok(RunFigures {
        run: number("id")?,
        scheme: text(&report["scheme"])?,
        finality: text(&report["finality"])?,
        late: late.iter().map(|late| text(&late["store"])).collect::<anyhow::Result<_>>()?,
        lines: count("lines")?,
        adjustments: count("adjustments")?,
        positions_sum_minor: positions.values().sum(),
        positions,
    })
}

/// The late store's statement of the last run, in both languages.
async fn statements(
    chain: &Chain,
    run: &str,
    figures: &mut Figures,
    narrator: &mut Narrator<'_>,
) -> anyhow::Result<()> {
    let party = format!("store:{LATE}");
    let show = ["statement", "show", run, "--party", &party];
    let ended = chain.head_office(Form::Json, &show).await?;
    let statements: Vec<Statement> = serde_json::from_str(ended.text()?).context("a statement is not readable")?;
    for statement in &statements {
        figures.adjustments.extend(statement.adjustments.iter().map(|line| AdjustmentFigures {
            party: party.clone(),
            business_day: line.business_day,
            kind: line.kind.as_str().to_owned(),
            counterparty: line.counterparty.to_string(),
            amount_minor: line.amount_minor,
        }));
    }
    for (what, lang) in [("prints the statement of S3", "zh-CN"), ("prints it in English", "en")] {
        let args: Vec<&str> = show.iter().copied().chain(["--lang", lang]).collect();
        page(chain, narrator, what, &args).await?;
    }
    Ok(())
}

async fn days(chain: &Chain, day_list: &[&str], figures: &mut Figures) -> anyhow::Result<()> {
    let ended = chain.head_office(Form::Json, day_list).await?;
    ended.text()?;
    for day in ended.json()?.as_array().context("there is no list of days")? {
        figures.days.insert(text_of(day, "store")?, text_of(day, "state")?);
    }
    Ok(())
}

async fn verify(chain: &Chain, narrator: &mut Narrator<'_>) -> anyhow::Result<VerifyFigures> {
    let ended = chain.head_office(Form::Json, &["verify"]).await?;
    if !matches!(ended.code, EXIT_OK | EXIT_REFUSED) {
        bail!("{} ended with {}: {}", ended.shown, ended.code, ended.err.trim());
    }
    let report = ended.json()?;
    let checks = report["checks"].as_array().context("verify shows no checks")?;
    narrator.step(HUB, "proves that everything follows from the journals", &ended.shown)?;
    let mut findings = Vec::new();
    for check in checks {
        let text = |field: &str| check[field].as_str().unwrap_or("?").to_owned();
        let found = check["findings"].as_array().map_or(&[][..], Vec::as_slice);
        let state = if check["ok"] == Value::Bool(true) { "ok" } else { "FOUND" };
        narrator.page(&format!("{state:<6} {:<12} {:>6}  {}", text("name"), check["looked_at"], text("proves")))?;
        findings.extend(found.iter().map(|finding| format!("{}: {finding}", text("name"))));
    }
    Ok(VerifyFigures { ok: report["ok"] == Value::Bool(true) && ended.code == EXIT_OK, checks: checks.len(), findings })
}
