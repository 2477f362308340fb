//! Proofs about the books: runs and their lines among themselves, and against a fold of everything anew.

use std::collections::BTreeMap;

use huitong_protocol::money::Currency;
use huitong_protocol::party::Party;
use huitong_protocol::settlement::agreement::Scheme;
use huitong_protocol::settlement::fold::Folder;
use huitong_protocol::settlement::funding::FundingBook;
use huitong_protocol::settlement::leg::Leg;
use huitong_protocol::settlement::run::{RunError, RunId, check_zero_sum, daily_positions, delta};
use huitong_protocol::time::BusinessDay;

use super::{Check, readable};
use crate::account::terms;
use crate::refold::{Accounts, Refold};
use crate::settle;
use crate::statement::{self, Error};
use crate::store::engine::{StoreError, Tx};
use crate::store::funding;
use crate::store::settlement::{self, LegReader, RunRecord};

pub(super) fn checks(tx: &mut Tx<'_>) -> Result<Vec<Check>, StoreError> {
    let mut runs = Check::new("runs", "every run sums to zero over all parties, per currency and business day (I6)");
    let mut lines = Check::new("lines", "every run and its lines are as the run wrote them, byte by byte");
    let mut refold = Check::new(
        "refold",
        "the sums of the runs' lines per leg are what all movements fold to anew, and what funders bear; lots equal balances (I11)",
    );
    let mut statements = Check::new("statements", "statements equal their lines (I6)");
    let mut records = Vec::new();
    match settlement::runs(tx) {
        Ok(found) => records = found,
        // A hub that was never told its group has no books.
        Err(StoreError::Rule { .. }) => {}
        Err(error) => readable(&mut runs, Err(error))?,
    }
    for record in &records {
        let read = zero_sum(tx, record, &mut runs);
        readable(&mut runs, read)?;
        let read = as_written(tx, record, &mut lines);
        readable(&mut lines, read)?;
        let read = stated(tx, record.run.id, &mut statements);
        readable(&mut statements, read)?;
    }
    foreign(tx, &mut lines)?;
    for &scheme in Scheme::ALL {
        if let Some(last) = records.iter().rfind(|record| record.run.scheme == scheme) {
            let read = refolded(tx, last, &mut refold);
            readable(&mut refold, read)?;
        }
    }
    Ok(vec![runs, lines, refold, statements])
}

fn zero_sum(tx: &mut Tx<'_>, record: &RunRecord, check: &mut Check) -> Result<(), StoreError> {
    let id = record.run.id;
    let mut days: BTreeMap<(Currency, BusinessDay), Vec<Leg>> = BTreeMap::new();
    for sum in settle::run_sums(tx, id)? {
        check.looked_at += 1;
        if sum.currency != record.run.currency {
            check.find(
                "settlement_line",
                format!("run {id} {}", sum.business_day),
                format!("is in {}, the run in {}", sum.currency, record.run.currency),
            );
        }
        if sum.business_day > record.run.day_to {
            check.find(
                "settlement_line",
                format!("run {id} {}", sum.business_day),
                format!("is of a day after the run's last, {}", record.run.day_to),
            );
        }
        days.entry((sum.currency, sum.business_day)).or_default().push(sum.leg());
    }
    for ((_, day), legs) in &days {
        let proved = daily_positions(legs).and_then(|positions| check_zero_sum(&positions));
        if let Err(why) = proved {
            check.find("settlement_line", format!("run {id} {day}"), why.to_string());
        }
    }
    Ok(())
}

fn stated(tx: &mut Tx<'_>, id: RunId, check: &mut Check) -> Result<(), StoreError> {
    let statements = match statement::statements(tx, id) {
        Ok(statements) => statements,
        Err(Error::Store(error)) => return Err(error),
        Err(other) => {
            check.find("settlement_run", format!("run {id}"), other.to_string());
            return Ok(());
        }
    };
    let mut nets: BTreeMap<Party, i128> = BTreeMap::new();
    for sum in settle::run_sums(tx, id)?.iter().filter(|sum| sum.debtor != sum.creditor) {
        *nets.entry(sum.debtor).or_default() -= i128::from(sum.amount_minor);
        *nets.entry(sum.creditor).or_default() += i128::from(sum.amount_minor);
    }
    for statement in statements {
        check.looked_at += 1;
        let lines = nets.remove(&statement.party).unwrap_or(0);
        check.equal(
            "settlement_line",
            &format!("run {id} {}", statement.party),
            "the statement's net",
            i128::from(statement.net_minor),
            lines,
        );
    }
    for (party, net) in nets.into_iter().filter(|(_, net)| *net != 0) {
        check.find("settlement_line", format!("run {id} {party}"), format!("has lines of {net} and no statement"));
    }
    Ok(())
}

fn leg_name(scheme: Scheme, leg: &Leg) -> String {
    let what = leg.account.map_or_else(|| "no account".to_owned(), |account| format!("account {account}"));
    format!("{scheme} {what} {} {} {} → {}", leg.business_day, leg.kind, leg.debtor, leg.creditor)
}

/// Whether a run is what it was when it was made: changes that make up for each other in two closed runs leave every sum as it was.
fn as_written(tx: &mut Tx<'_>, record: &RunRecord, check: &mut Check) -> Result<(), StoreError> {
    let (fingerprint, lines) = settlement::fingerprint(tx, record)?;
    check.looked_at += lines;
    if fingerprint != record.fingerprint {
        check.find(
            "settlement_run",
            format!("run {}", record.run.id),
            format!(
                "the run and its {lines} lines are not those that it wrote: {fingerprint}, then {}",
                record.fingerprint
            ),
        );
    }
    Ok(())
}

/// Lines of runs that there are not.
fn foreign(tx: &mut Tx<'_>, check: &mut Check) -> Result<(), StoreError> {
    let found = tx.query(
        "SELECT run_no, COUNT(*) FROM settlement_line WHERE run_no NOT IN (SELECT run_no FROM settlement_run) GROUP BY run_no",
        &[],
        |row| Ok::<_, StoreError>((row.integer(0)?, row.integer(1)?)),
    )?;
    for (run, lines) in found {
        check.find("settlement_line", format!("run {run}"), format!("has {lines} lines, and there is no such run"));
    }
    Ok(())
}

/// Everything anew, as far as the scheme's last run saw it.
fn refolded(tx: &mut Tx<'_>, last: &RunRecord, check: &mut Check) -> Result<(), StoreError> {
    let (scheme, day_to) = (last.run.scheme, last.run.day_to);
    let mut folder = Folder::new(scheme, terms(tx)?);
    let mut reader = LegReader::default();
    let (mut legs, mut faults) = (Vec::new(), Vec::new());
    let mut matched = 0_i64;
    let mut refold = Refold {
        accounts: Accounts::All,
        cut_ingested_no: last.run.cut_ingested_no,
        day_to: None,
        open_ingested_no: i64::MAX,
    };
    refold.run(tx, |tx, account, history| {
        check.looked_at += 1;
        legs.clear();
        if let Err(why) = folder.fold_account(history, &mut |leg: Leg| {
            if leg.business_day <= day_to {
                legs.push(leg);
            }
        }) {
            faults.push(("movement", format!("account {account}"), why.to_string()));
            return Ok(());
        }
        let lines = settlement::lines_of(tx, scheme, Some(account), &mut reader)?;
        matched += i64::try_from(lines.len()).unwrap_or(i64::MAX);
        let stands = settlement::legs_of_lines(lines)?;
        if stands != legs {
            match delta(&legs, &stands) {
                Ok(lines) => faults.extend(lines.iter().map(|line| {
                    (
                        "settlement_line",
                        leg_name(scheme, line),
                        format!("its lines come to {} above what the movements fold to", line.amount_minor),
                    )
                })),
                Err(why) => faults.push(("settlement_line", format!("{scheme} account {account}"), why.to_string())),
            }
        }
        Ok::<(), StoreError>(())
    })?;
    for (table, row, fault) in faults {
        check.find(table, row, fault);
    }
    matched += funded(tx, last, &mut reader, check)?;
    let count = tx.query_one(
        "SELECT COUNT(*) FROM settlement_line WHERE run_no IN (SELECT run_no FROM settlement_run WHERE scheme = $1)",
        &[scheme.as_str().into()],
        |row| row.integer(0),
    )?;
    if count.unwrap_or(0) != matched {
        check.find(
            "settlement_line",
            format!("{scheme}"),
            format!("has {} lines; {matched} belong to accounts that moved, or to none", count.unwrap_or(0)),
        );
    }
    Ok(())
}

/// What funders bear anew, as far as the scheme's last run saw it. Gives how many lines stand about it.
fn funded(tx: &mut Tx<'_>, last: &RunRecord, reader: &mut LegReader, check: &mut Check) -> Result<i64, StoreError> {
    let scheme = last.run.scheme;
    let overflow = |why: RunError| StoreError::Rule { operation: "add up what funders bear", fault: why.to_string() };
    let mut book = FundingBook::new(None, settle::reach_of(&last.run));
    funding::between(tx, 0, last.run.cut_ingested_no, |row| {
        check.looked_at += 1;
        book.add(row.ingested_no, &row.funding).map_err(overflow)
    })?;
    let lines = settlement::lines_of(tx, scheme, None, reader)?;
    let count = i64::try_from(lines.len()).unwrap_or(i64::MAX);
    for line in delta(&book.into_legs(), &settlement::legs_of_lines(lines)?).map_err(overflow)? {
        let fault = format!("its lines come to {} above what the discounts add up to", line.amount_minor);
        check.find("settlement_line", leg_name(scheme, &line), fault);
    }
    Ok(count)
}
