//! Proofs about the books: runs, lines and legs among themselves, and against a fold of everything anew.

use std::collections::BTreeMap;

use huitong_protocol::money::Currency;
use huitong_protocol::party::Party;
use huitong_protocol::settlement::agreement::Scheme;
use huitong_protocol::settlement::fold::Folder;
use huitong_protocol::settlement::leg::Leg;
use huitong_protocol::settlement::run::{RunId, check_zero_sum, daily_positions, delta};
use huitong_protocol::time::BusinessDay;

use super::{Check, readable};
use crate::account::terms;
use crate::refold::{Accounts, Refold};
use crate::settle;
use crate::statement::{self, Error};
use crate::store::engine::{StoreError, Tx};
use crate::store::settlement::{self, LegReader, RunRecord};

pub(super) fn checks(tx: &mut Tx<'_>) -> Result<Vec<Check>, StoreError> {
    let mut runs = Check::new("runs", "every run sums to zero over all parties, per currency and business day (I6)");
    let mut legs = Check::new("legs", "cumulative legs are the sums of the runs' lines");
    let mut refold =
        Check::new("refold", "cumulative legs are what all movements fold to anew; lots equal balances (I11)");
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
        let read = stated(tx, record.run.id, &mut statements);
        readable(&mut statements, read)?;
    }
    legs_are_lines(tx, &mut legs)?;
    for &scheme in Scheme::ALL {
        if let Some(last) = records.iter().rfind(|record| record.run.scheme == scheme) {
            let read = refolded(tx, last, &mut refold);
            readable(&mut refold, read)?;
        }
    }
    Ok(vec![runs, legs, refold, statements])
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

fn leg_name(scheme: &str, leg: &Leg) -> String {
    format!("{scheme} account {} {} {} {} → {}", leg.account, leg.business_day, leg.kind, leg.debtor, leg.creditor)
}

fn legs_are_lines(tx: &mut Tx<'_>, check: &mut Check) -> Result<(), StoreError> {
    let count = tx.query_one("SELECT COUNT(*) FROM settlement_leg", &[], |row| row.integer(0))?;
    check.looked_at = u64::try_from(count.unwrap_or(0)).unwrap_or(0);
    let mut reader = LegReader::default();
    let mut found: Vec<(String, String)> = Vec::new();
    let read = tx.for_each(
        "SELECT scheme, account_id, debtor, creditor, kind, business_day, currency, CAST(SUM(amount_minor) AS BIGINT) FROM (
            SELECT scheme, account_id, debtor, creditor, kind, business_day, currency, amount_minor FROM settlement_leg
            UNION ALL
            SELECT settlement_run.scheme, account_id, debtor, creditor, kind, business_day, currency, -amount_minor FROM settlement_line
            JOIN settlement_run ON settlement_run.run_no = settlement_line.run_no
         ) AS both_sides GROUP BY scheme, account_id, debtor, creditor, kind, business_day, currency HAVING SUM(amount_minor) <> 0",
        &[],
        |row| {
            let leg = reader.read(row, 1)?;
            found.push((leg_name(row.text(0)?, &leg), format!("stands {} above the sum of its lines in settlement_line", leg.amount_minor)));
            Ok::<(), StoreError>(())
        },
    );
    readable(check, read)?;
    for (row, fault) in found {
        check.find("settlement_leg", row, fault);
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
        let stands = settlement::legs_of(tx, scheme, account, &mut reader)?;
        matched += i64::try_from(stands.len()).unwrap_or(i64::MAX);
        if stands != legs {
            match delta(&legs, &stands) {
                Ok(lines) => faults.extend(lines.iter().map(|line| {
                    (
                        "settlement_leg",
                        leg_name(scheme.as_str(), line),
                        format!("stands {} above what the movements fold to", line.amount_minor),
                    )
                })),
                Err(why) => faults.push(("settlement_leg", format!("{scheme} account {account}"), why.to_string())),
            }
        }
        Ok::<(), StoreError>(())
    })?;
    for (table, row, fault) in faults {
        check.find(table, row, fault);
    }
    let count =
        tx.query_one("SELECT COUNT(*) FROM settlement_leg WHERE scheme = $1", &[scheme.as_str().into()], |row| {
            row.integer(0)
        })?;
    if count.unwrap_or(0) != matched {
        check.find(
            "settlement_leg",
            format!("{scheme}"),
            format!("has {} legs; {matched} belong to accounts that moved", count.unwrap_or(0)),
        );
    }
    Ok(())
}
