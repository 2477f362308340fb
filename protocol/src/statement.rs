//! Statement: what one party owes and is owed by one run, from the run's lines, and its renderings as JSON, CSV and text.
//!
//! Amounts are signed as the party sees them: above zero it is to receive, below it is to pay. Informational legs (see [`crate::settlement::leg`]) stand
//! in the matrix and among the discounts only. Sections stay gross by counterparty; netting is a matter of payment. Who bears which discounts is shown by
//! day, and reads the same on the statements of the funder and of the store.
//!
//! Invariants: the sections of a statement sum to its net, the nets of all statements of a run sum to zero, and the same run gives the same bytes:
//! order follows keys, and the only time shown is the one recorded with the run.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::money::{Currency, Money};
use crate::party::Party;
use crate::settlement::leg::{Leg, LegKind};
use crate::settlement::run::{Finality, LineClass, Run, Standing};
use crate::time::BusinessDay;

/// Lines of a run that cannot be stated, or a statement that is not right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StatementError {
    /// A line in another currency than the run's.
    #[error("a line in {found} does not belong to a run in {expected}")]
    Currency {
        /// The run's currency.
        expected: Currency,
        /// The line's.
        found: Currency,
    },
    /// A sum does not fit.
    #[error("a sum does not fit in 64 bits")]
    Overflow,
    /// Sections that do not sum to the net.
    #[error("the statement of {party} states {stated_minor}, but its lines come to {lines_minor}")]
    Unproved {
        /// The party.
        party: Party,
        /// What it states.
        stated_minor: i64,
        /// What its lines come to.
        lines_minor: i64,
    },
    /// Nets of a run that do not sum to zero.
    #[error("the nets of all statements sum to {sum_minor}, not to zero")]
    NotZero {
        /// What they sum to.
        sum_minor: i64,
    },
}

/// All lines of a kind with one counterparty, and those that reverse them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Section {
    /// The kind; its reversals are included.
    pub kind: LegKind,
    /// The other side.
    pub counterparty: Party,
    /// How many lines: one per account (or none), business day, kind and counterparty.
    pub count: u64,
    /// Σ of the kind itself.
    pub gross_minor: i64,
    /// Σ of its reversals.
    pub reversal_minor: i64,
    /// Both together.
    pub net_minor: i64,
}

/// Value of one party taken at another: a cell of the cross-store matrix, spends less voids and returns.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MatrixCell {
    /// Whose value it was (the loader, the home store, or the hub).
    pub backer: Party,
    /// Who accepted it.
    pub acceptor: Party,
    /// How much.
    pub amount_minor: i64,
}

/// What changed of a day that an earlier run had covered. Included in the sections.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Adjustment {
    /// The day it belongs to.
    pub business_day: BusinessDay,
    /// The kind.
    pub kind: LegKind,
    /// The other side.
    pub counterparty: Party,
    /// How many lines.
    pub count: u64,
    /// The change.
    pub amount_minor: i64,
}

/// Discounts of one business day that one party bears at one store. The same row stands on both their statements, and is never signed for either: the
/// sections say who owes whom. Where funder and store are one, it is the store's own cost, and no section has it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FundedDay {
    /// The day.
    pub business_day: BusinessDay,
    /// Who bears them.
    pub funder: Party,
    /// Who sold.
    pub store: Party,
    /// What was given with sales.
    pub gross_minor: i64,
    /// What voids and returns took back, below zero.
    pub reversal_minor: i64,
    /// Both together.
    pub net_minor: i64,
}

/// One party's statement of a run.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Statement {
    /// The run, with the time at which it was prepared.
    pub run: Run,
    /// Whose statement it is.
    pub party: Party,
    /// What earlier runs left unpaid.
    pub opening_minor: i64,
    /// By kind, then counterparty.
    pub sections: Vec<Section>,
    /// Cells that the party takes part in, informational ones included.
    pub matrix: Vec<MatrixCell>,
    /// Changes of closed days, by day.
    pub adjustments: Vec<Adjustment>,
    /// Discounts that the party bears or sold under, by day, funder and store.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub funding: Vec<FundedDay>,
    /// Worth of goods taken in for the stores that had sold them. Moves no money: those stores owe the value, this one owes them their goods.
    pub agent_goods_minor: i64,
    /// What of the net stands against unattributed: it moves to its counterparty when the missing load or card sale arrives.
    pub unattributed_minor: i64,
    /// What the run comes to.
    pub net_minor: i64,
    /// Opening and net.
    pub closing_minor: i64,
}

impl Statement {
    /// Checks that sections, adjustments and totals agree (I6).
    ///
    /// # Errors
    /// [`StatementError::Unproved`] or [`StatementError::Overflow`].
    pub fn check(&self) -> Result<(), StatementError> {
        let prove = |stated_minor: i64, lines: Vec<i64>| {
            let lines_minor = sum(lines)?;
            let party = self.party;
            if stated_minor == lines_minor {
                Ok(())
            } else {
                Err(StatementError::Unproved { party, stated_minor, lines_minor })
            }
        };
        for section in &self.sections {
            prove(section.net_minor, vec![section.gross_minor, section.reversal_minor])?;
        }
        prove(self.net_minor, self.sections.iter().map(|section| section.net_minor).collect())?;
        for row in &self.funding {
            prove(row.net_minor, vec![row.gross_minor, row.reversal_minor])?;
        }
        let funded = self.funding.iter().filter(|row| row.funder != row.store);
        let effects = funded.map(|row| if row.funder == self.party { -row.net_minor } else { row.net_minor });
        let sections = self.sections.iter().filter(|section| section.kind == LegKind::DiscountFunding);
        prove(sum(sections.map(|section| section.net_minor))?, effects.collect())?;
        let open = self.sections.iter().filter(|section| section.counterparty == Party::Unattributed);
        prove(self.unattributed_minor, open.map(|section| section.net_minor).collect())?;
        prove(self.closing_minor, vec![self.opening_minor, self.net_minor])
    }
}

/// Checks that each statement is proved and that all of a run sum to zero.
///
/// # Errors
/// [`StatementError`] of the first that is not, or of the whole.
pub fn check_run(statements: &[Statement]) -> Result<(), StatementError> {
    statements.iter().try_for_each(Statement::check)?;
    match sum(statements.iter().map(|statement| statement.net_minor))? {
        0 => Ok(()),
        sum_minor => Err(StatementError::NotZero { sum_minor }),
    }
}

fn sum(amounts: impl IntoIterator<Item = i64>) -> Result<i64, StatementError> {
    crate::money::sum(amounts).map_err(|_| StatementError::Overflow)
}

#[derive(Default)]
struct Page {
    sections: BTreeMap<(LegKind, Party), (u64, i64, i64)>,
    matrix: BTreeMap<(Party, Party), i64>,
    adjustments: BTreeMap<(BusinessDay, LegKind, Party), (u64, i64)>,
    /// By day, funder and store: given, and taken back.
    funding: BTreeMap<(BusinessDay, Party, Party), (i64, i64)>,
    agent_goods_minor: i64,
}

/// Collects the lines of a run, in any order, and makes everybody's statement. Memory grows with pairs and kinds, not with lines.
pub struct StatementBook {
    run: Run,
    pages: BTreeMap<Party, Page>,
}

impl StatementBook {
    /// A book for a run.
    #[must_use]
    pub fn new(run: Run) -> Self {
        Self { run, pages: BTreeMap::new() }
    }

    /// Adds one line of the run.
    ///
    /// # Errors
    /// [`StatementError::Currency`] or [`StatementError::Overflow`]; the book is then of no further use.
    pub fn add(&mut self, line: &Leg) -> Result<(), StatementError> {
        if line.currency != self.run.currency {
            return Err(StatementError::Currency { expected: self.run.currency, found: line.currency });
        }
        let adjustment = self.run.class_of(line.business_day) == LineClass::Adjustment;
        let (cell, funded) = (cell(line)?, funded(line)?);
        for (party, counterparty) in [(line.debtor, line.creditor), (line.creditor, line.debtor)] {
            let page = self.pages.entry(party).or_default();
            if !line.is_informational() {
                let effect = line.effect_on(party);
                let (count, gross, reversal) = page.sections.entry((line.kind.section(), counterparty)).or_default();
                *count += 1;
                let side = if line.kind.is_reversal() { reversal } else { gross };
                *side = side.checked_add(effect).ok_or(StatementError::Overflow)?;
                if adjustment {
                    let (count, amount) =
                        page.adjustments.entry((line.business_day, line.kind, counterparty)).or_default();
                    *count += 1;
                    *amount = amount.checked_add(effect).ok_or(StatementError::Overflow)?;
                }
            }
            if let Some((funder, store, given_minor, back_minor)) = funded {
                let (given, back) = page.funding.entry((line.business_day, funder, store)).or_default();
                *given = given.checked_add(given_minor).ok_or(StatementError::Overflow)?;
                *back = back.checked_add(back_minor).ok_or(StatementError::Overflow)?;
            }
            if let Some(MatrixCell { backer, acceptor, amount_minor }) = cell {
                let entry = page.matrix.entry((backer, acceptor)).or_insert(0);
                *entry = entry.checked_add(amount_minor).ok_or(StatementError::Overflow)?;
            }
            if line.is_informational() {
                if line.kind == LegKind::AgentGoods {
                    page.agent_goods_minor =
                        page.agent_goods_minor.checked_add(line.amount_minor).ok_or(StatementError::Overflow)?;
                }
                break;
            }
        }
        Ok(())
    }

    /// Everybody's statement, in the order of parties. Parties with an opening balance have one even without lines.
    ///
    /// # Errors
    /// As [`check_run`], which it passes.
    pub fn finish(mut self, openings: &BTreeMap<Party, i64>) -> Result<Vec<Statement>, StatementError> {
        for &party in openings.keys() {
            self.pages.entry(party).or_default();
        }
        let Self { run, pages } = self;
        let statements = pages
            .into_iter()
            .map(|(party, page)| page.state(run.clone(), party, openings.get(&party).copied().unwrap_or(0)))
            .collect::<Result<Vec<_>, _>>()?;
        check_run(&statements)?;
        Ok(statements)
    }
}

/// The matrix cell that a line belongs to, with its sign.
fn cell(line: &Leg) -> Result<Option<MatrixCell>, StatementError> {
    let Leg { debtor, creditor, amount_minor, .. } = *line;
    let back_minor = amount_minor.checked_neg().ok_or(StatementError::Overflow)?;
    Ok(match line.kind {
        LegKind::Spend => Some(MatrixCell { backer: debtor, acceptor: creditor, amount_minor }),
        LegKind::SpendVoid | LegKind::Return | LegKind::AgentReturn => {
            Some(MatrixCell { backer: creditor, acceptor: debtor, amount_minor: back_minor })
        }
        _ => None,
    })
}

/// Funder and store of a line about discounts, what was given and what was taken back.
fn funded(line: &Leg) -> Result<Option<(Party, Party, i64, i64)>, StatementError> {
    let Leg { debtor, creditor, amount_minor, .. } = *line;
    Ok(match line.kind {
        LegKind::DiscountFunding => Some((debtor, creditor, amount_minor, 0)),
        LegKind::DiscountFundingBack => {
            Some((creditor, debtor, 0, amount_minor.checked_neg().ok_or(StatementError::Overflow)?))
        }
        _ => None,
    })
}

impl Page {
    fn state(self, run: Run, party: Party, opening_minor: i64) -> Result<Statement, StatementError> {
        let sections = self
            .sections
            .into_iter()
            .map(|((kind, counterparty), (count, gross_minor, reversal_minor))| {
                let net_minor = sum([gross_minor, reversal_minor])?;
                Ok(Section { kind, counterparty, count, gross_minor, reversal_minor, net_minor })
            })
            .collect::<Result<Vec<_>, StatementError>>()?;
        let net_minor = sum(sections.iter().map(|section| section.net_minor))?;
        let open = sections.iter().filter(|section| section.counterparty == Party::Unattributed);
        let unattributed_minor = sum(open.map(|section| section.net_minor))?;
        let matrix = self.matrix.into_iter().filter(|&(_, amount)| amount != 0);
        let matrix =
            matrix.map(|((backer, acceptor), amount_minor)| MatrixCell { backer, acceptor, amount_minor }).collect();
        let adjustments = self.adjustments.into_iter();
        let adjustments = adjustments
            .map(|((business_day, kind, counterparty), (count, amount_minor))| Adjustment {
                business_day,
                kind,
                counterparty,
                count,
                amount_minor,
            })
            .collect();
        let funding = self
            .funding
            .into_iter()
            .map(|((business_day, funder, store), (gross_minor, reversal_minor))| {
                let net_minor = sum([gross_minor, reversal_minor])?;
                Ok(FundedDay { business_day, funder, store, gross_minor, reversal_minor, net_minor })
            })
            .collect::<Result<Vec<_>, StatementError>>()?;
        let closing_minor = sum([opening_minor, net_minor])?;
        let agent_goods_minor = self.agent_goods_minor;
        Ok(Statement {
            run,
            party,
            opening_minor,
            sections,
            matrix,
            adjustments,
            funding,
            agent_goods_minor,
            unattributed_minor,
            net_minor,
            closing_minor,
        })
    }
}

/// The language of a text rendering. Codes, parties and figures are the same in all.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, schemars::JsonSchema)]
pub enum Language {
    /// English.
    #[serde(rename = "en")]
    En,
    /// Simplified Chinese.
    #[serde(rename = "zh-CN")]
    ZhCn,
}

impl Language {
    const fn pick(self, en: &'static str, zh: &'static str) -> &'static str {
        match self {
            Self::En => en,
            Self::ZhCn => zh,
        }
    }

    /// What people call a kind of leg.
    #[must_use]
    pub const fn kind(self, kind: LegKind) -> &'static str {
        match kind {
            LegKind::Load => self.pick("loads", "充值本金"),
            LegKind::LoadVoid => self.pick("loads voided", "充值撤销"),
            LegKind::Bonus => self.pick("bonus", "赠送"),
            LegKind::BonusBack => self.pick("bonus taken back", "赠送收回"),
            LegKind::BonusShare => self.pick("bonus, store's share", "赠送门店分摊"),
            LegKind::BonusShareBack => self.pick("bonus share returned", "赠送分摊退回"),
            LegKind::Spend => self.pick("spends", "储值消费"),
            LegKind::SpendVoid => self.pick("spends voided", "消费撤销"),
            LegKind::Return => self.pick("returns", "退货退卡"),
            LegKind::AgentReturn => self.pick("returns through another store", "异店代收退货"),
            LegKind::AgentGoods => self.pick("goods held for another store", "代收退货商品"),
            LegKind::CashOut => self.pick("paid out", "余额退款"),
            LegKind::AdjustIn => self.pick("corrections, raised", "调增"),
            LegKind::AdjustOut => self.pick("corrections, lowered", "调减"),
            LegKind::SuspenseRepaid => self.pick("paid back for ended epochs", "挂账偿还"),
            LegKind::Overdraft => self.pick("overdrafts accepted", "透支消费"),
            LegKind::OverdraftBack => self.pick("overdrafts given back", "透支退回"),
            LegKind::OverdraftCollected => self.pick("overdrafts collected", "透支收回"),
            LegKind::OverdraftReturned => self.pick("collected too much, returned", "透支多收退还"),
            LegKind::Commission => self.pick("load commission", "售卡佣金"),
            LegKind::CommissionClawback => self.pick("commission clawed back", "佣金追回"),
            LegKind::Fee => self.pick("acceptance fee", "受理手续费"),
            LegKind::FeeReversal => self.pick("acceptance fee returned", "手续费退回"),
            LegKind::PointsEarn => self.pick("points earned", "积分发放成本"),
            LegKind::PointsEarnReversal => self.pick("points taken back", "积分发放撤回"),
            LegKind::PointsBurn => self.pick("points burnt", "积分兑换成本"),
            LegKind::PointsBurnReversal => self.pick("points given back", "积分兑换撤回"),
            LegKind::DiscountFunding => self.pick("discounts borne", "优惠承担"),
            LegKind::DiscountFundingBack => self.pick("discounts borne, taken back", "优惠承担冲回"),
        }
    }

    fn party(self, party: Party) -> String {
        match party {
            Party::Hub => self.pick("hub", "总部").into(),
            Party::Store(code) => code.to_string(),
            Party::Unattributed => self.pick("unattributed", "待归属").into(),
            Party::Risk => self.pick("risk account", "风险账户").into(),
            other => other.to_string(),
        }
    }
}

/// The statement as JSON, indented, with a newline at its end.
///
/// # Panics
/// Never: a statement has text keys and finite numbers only.
#[must_use]
pub fn json(statement: &Statement) -> String {
    let mut text = serde_json::to_string_pretty(statement).expect("a statement has text keys and whole numbers only");
    text.push('\n');
    text
}

/// The columns of [`csv`].
pub const CSV_COLUMNS: [&str; 17] = [
    "run",
    "scheme",
    "standing",
    "finality",
    "day_from",
    "day_to",
    "party",
    "currency",
    "row",
    "business_day",
    "kind",
    "backer",
    "counterparty",
    "count",
    "gross_minor",
    "reversal_minor",
    "net_minor",
];

/// The statement as CSV (RFC 4180, lines end in CR LF) with [`CSV_COLUMNS`]. `row` says what a line is: opening, section, adjustment (already in the
/// sections), matrix (value of `backer` accepted by `counterparty`), funding (discounts that `backer` bears of what `counterparty` sold), agent_goods, unattributed, net, closing.
#[must_use]
pub fn csv(statement: &Statement) -> String {
    let run = &statement.run;
    let head = [
        run.id.to_string(),
        run.scheme.to_string(),
        run.standing.as_str().into(),
        run.finality.as_str().into(),
        run.day_from.to_string(),
        run.day_to.to_string(),
        statement.party.to_string(),
        run.currency.to_string(),
    ];
    let mut text = CSV_COLUMNS.join(",");
    text.push_str("\r\n");
    let mut row = |name: &str, words: [String; 4], figures: [Option<i64>; 4]| {
        let cells = head
            .iter()
            .map(|cell| csv_text(cell))
            .chain([csv_text(name)])
            .chain(words.iter().map(|word| csv_text(word)));
        let figures = figures.iter().map(|figure| figure.map_or_else(String::new, |amount| amount.to_string()));
        text.push_str(&cells.chain(figures).collect::<Vec<_>>().join(","));
        text.push_str("\r\n");
    };
    let nothing = || [const { String::new() }; 4];
    let count = |count: u64| i64::try_from(count).ok();
    row("opening", nothing(), [None, None, None, Some(statement.opening_minor)]);
    for s in &statement.sections {
        let words = [String::new(), s.kind.to_string(), String::new(), s.counterparty.to_string()];
        row("section", words, [count(s.count), Some(s.gross_minor), Some(s.reversal_minor), Some(s.net_minor)]);
    }
    for a in &statement.adjustments {
        let words = [a.business_day.to_string(), a.kind.to_string(), String::new(), a.counterparty.to_string()];
        row("adjustment", words, [count(a.count), None, None, Some(a.amount_minor)]);
    }
    for cell in &statement.matrix {
        let words = [String::new(), String::new(), cell.backer.to_string(), cell.acceptor.to_string()];
        row("matrix", words, [None, None, None, Some(cell.amount_minor)]);
    }
    for f in &statement.funding {
        let kind = LegKind::DiscountFunding.to_string();
        let words = [f.business_day.to_string(), kind, f.funder.to_string(), f.store.to_string()];
        row("funding", words, [None, Some(f.gross_minor), Some(f.reversal_minor), Some(f.net_minor)]);
    }
    row("agent_goods", nothing(), [None, None, None, Some(statement.agent_goods_minor)]);
    row("unattributed", nothing(), [None, None, None, Some(statement.unattributed_minor)]);
    row("net", nothing(), [None, None, None, Some(statement.net_minor)]);
    row("closing", nothing(), [None, None, None, Some(statement.closing_minor)]);
    text
}

/// A text cell: quoted where needed, and with an apostrophe before what a spreadsheet would take for a formula.
fn csv_text(cell: &str) -> String {
    let formula = cell.starts_with(['=', '+', '-', '@', '\t', '\r', '＝', '＋', '－', '＠']);
    let guarded = if formula { format!("'{cell}") } else { cell.to_owned() };
    if guarded.contains([',', '"', '\n', '\r']) { format!("\"{}\"", guarded.replace('"', "\"\"")) } else { guarded }
}

/// The statement for people, in columns of a fixed-width font in which Chinese characters are two wide.
#[must_use]
pub fn text(statement: &Statement, language: Language) -> String {
    let run = &statement.run;
    let t = |en, zh| language.pick(en, zh);
    let money = |minor| Money { minor, currency: run.currency }.decimal();
    let mut out = format!("{} {}: {}\n", t("Statement of run", "结算单"), run.id, language.party(statement.party));
    let standing = match run.standing {
        Standing::Booked => t("booked", "入账"),
        Standing::Memo => t("memo", "备查"),
    };
    let finality = match run.finality {
        Finality::Provisional => t("provisional", "暂结"),
        Finality::Final => t("final", "终结"),
    };
    let facts = [
        (t("business days", "营业日"), business_days(run, language)),
        (t("scheme", "结算方式"), format!("{}, {standing}, {finality}", run.scheme)),
        (t("currency", "币种"), run.currency.to_string()),
        (t("cut, agreement", "截止号、协议"), format!("{}, {}", run.cut_ingested_no, run.agreements)),
        (t("prepared", "编制时间"), run.prepared_at_ms.to_string()),
        (t("code", "程序版本"), run.code_version.clone()),
    ];
    let label_width = facts.iter().map(|(label, _)| width(label)).max().unwrap_or(0);
    for (label, fact) in facts {
        out.push_str(&format!("{}  {fact}\n", pad(label, label_width)));
    }
    let rows = statement.sections.iter().map(|s| {
        let figures = [s.count.to_string(), money(s.gross_minor), money(s.reversal_minor), money(s.net_minor)];
        [vec![language.kind(s.kind).to_owned(), language.party(s.counterparty)], figures.to_vec()].concat()
    });
    let headings = [
        t("what", "项目"),
        t("counterparty", "往来方"),
        t("lines", "笔数"),
        t("gross", "发生额"),
        t("reversed", "冲减"),
        t("net", "净额"),
    ];
    table(&mut out, t("To receive (+) or to pay (-)", "应收（+）应付（-）"), &headings, 2, rows.collect());
    if !statement.adjustments.is_empty() {
        let rows = statement.adjustments.iter().map(|a| {
            let day = a.business_day.to_string();
            vec![
                day,
                language.kind(a.kind).to_owned(),
                language.party(a.counterparty),
                a.count.to_string(),
                money(a.amount_minor),
            ]
        });
        let headings = [
            t("day", "营业日"),
            t("what", "项目"),
            t("counterparty", "往来方"),
            t("lines", "笔数"),
            t("change", "调整额"),
        ];
        table(&mut out, t("Of which adjustments of closed days", "其中：以前营业日调整"), &headings, 3, rows.collect());
    }
    if !statement.matrix.is_empty() {
        let rows = statement
            .matrix
            .iter()
            .map(|c| vec![language.party(c.backer), language.party(c.acceptor), money(c.amount_minor)]);
        let headings = [t("value of", "价值归属"), t("accepted by", "受理方"), t("amount", "金额")];
        table(&mut out, t("Cross-store matrix", "跨店往来矩阵"), &headings, 2, rows.collect());
    }
    if !statement.funding.is_empty() {
        let rows = statement.funding.iter().map(|f| {
            let figures = [money(f.gross_minor), money(f.reversal_minor), money(f.net_minor)];
            let words = [f.business_day.to_string(), language.party(f.funder), language.party(f.store)];
            [words, figures].concat()
        });
        let headings = [
            t("day", "营业日"),
            t("borne by", "承担方"),
            t("sold by", "销售门店"),
            t("given", "优惠额"),
            t("taken back", "冲回"),
            t("net", "净额"),
        ];
        table(&mut out, t("Discounts and who bears them", "优惠承担明细"), &headings, 3, rows.collect());
    }
    let payable = if statement.net_minor < 0 { t("net to pay", "净应付") } else { t("net to receive", "净应收") };
    let totals = [
        (t("opening", "期初"), statement.opening_minor),
        (payable, statement.net_minor),
        (t("of which unattributed", "其中待归属"), statement.unattributed_minor),
        (t("closing", "期末"), statement.closing_minor),
        (language.kind(LegKind::AgentGoods), statement.agent_goods_minor),
    ];
    let rows = totals.iter().map(|&(label, amount)| vec![label.to_owned(), money(amount)]);
    table(&mut out, t("Totals", "合计"), &["", run.currency.code()], 1, rows.collect());
    out
}

/// Writes a titled table: the first `words` columns left, the others right.
fn table(out: &mut String, title: &str, headings: &[&str], words: usize, rows: Vec<Vec<String>>) {
    let headings: Vec<String> = headings.iter().map(|&heading| heading.to_owned()).collect();
    let all = || std::iter::once(&headings).chain(&rows);
    let widths: Vec<usize> =
        (0..headings.len()).map(|column| all().map(|row| width(&row[column])).max().unwrap_or(0)).collect();
    out.push_str(&format!("\n{title}\n"));
    for row in all() {
        let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, &wide))| {
            if column < words { pad(cell, wide) } else { format!("{}{cell}", " ".repeat(wide - width(cell))) }
        });
        let line = cells.collect::<Vec<_>>().join("  ");
        out.push_str(line.trim_end());
        out.push('\n');
    }
}

fn pad(cell: &str, wide: usize) -> String {
    format!("{cell}{}", " ".repeat(wide.saturating_sub(width(cell))))
}

/// Columns that a text takes in a fixed-width font: East Asian wide and full-width characters (as our labels have them) count twice.
fn width(text: &str) -> usize {
    text.chars().map(|c| if matches!(u32::from(c), 0x1100..=0x115F | 0x2E80..=0xA4CF | 0xAC00..=0xD7A3 | 0xF900..=0xFAFF | 0xFE30..=0xFE6F | 0xFF00..=0xFF60 | 0xFFE0..=0xFFE6) { 2 } else { 1 }).sum()
}

/// The days that a run covers. A run made when its days were settled already brings only what came late.
fn business_days(run: &Run, language: Language) -> String {
    if run.day_from <= run.day_to {
        return format!("{} – {}", run.day_from, run.day_to);
    }
    match language {
        Language::En => format!("adjustments up to {}", run.day_to),
        Language::ZhCn => format!("截至 {} 的调整", run.day_to),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settlement::agreement::Scheme;
    use crate::settlement::fold::fold;
    use crate::settlement::run::{RunId, delta};
    use crate::settlement::testing::{day, golden_terms, history, only, party};
    use crate::time::Instant;

    const DAYS: &str = "
        T1  A card_sale      1000.00
        T2  C spend           300.00
        T3  D spend           100.00
        T4  A spend            50.00 day 23
        T5  D spend_return     40.00 of T2 day 23
        P1  C earn                30 day 23
    ";

    fn run(id: i64, scheme: Scheme, first: i8, last: i8) -> Run {
        Run {
            id: RunId(id),
            scheme,
            currency: Currency::CNY,
            standing: Standing::Booked,
            finality: Finality::Provisional,
            cut_ingested_no: 6,
            agreements: only(golden_terms()).hash(),
            code_version: "0.1.0".into(),
            day_from: day(first),
            day_to: day(last),
            prepared_at_ms: Instant(1_795_400_000_000),
        }
    }

    /// The second run's statements: the spend at D arrived late.
    fn statements(scheme: Scheme) -> Vec<Statement> {
        let all = history(DAYS);
        let agreements = only(golden_terms());
        let first = fold(scheme, &agreements, &all[..2]).unwrap().legs;
        let lines = delta(&first, &fold(scheme, &agreements, &all).unwrap().legs).unwrap();
        let mut book = StatementBook::new(run(2, scheme, 23, 23));
        lines.iter().rev().for_each(|line| book.add(line).unwrap());
        book.finish(&BTreeMap::from([(party("C"), 29_820), (party("Z"), 7)])).unwrap()
    }

    fn of(statements: &[Statement], name: &str) -> Statement {
        statements.iter().find(|statement| statement.party == party(name)).unwrap().clone()
    }

    #[test]
    fn a_statement_names_the_late_day_and_the_agent() {
        let statements = statements(Scheme::Fifo);
        insta::assert_snapshot!(text(&of(&statements, "D"), Language::En), @r#"
        Statement of run 2: D
        business days   2026-11-23 – 2026-11-23
        scheme          fifo, booked, provisional
        currency        CNY
        cut, agreement  6, b3:1657aa15cf430de66e4915cb107a05e1c04f28bb30af35379805f8fa7b9a4142
        prepared        2026-11-23T02:13:20Z
        code            0.1.0

        To receive (+) or to pay (-)
        what            counterparty  lines   gross  reversed     net
        spends          A                 1  100.00      0.00  100.00
        acceptance fee  hub               1   -0.60      0.00   -0.60

        Of which adjustments of closed days
        day         what            counterparty  lines  change
        2026-11-22  spends          A                 1  100.00
        2026-11-22  acceptance fee  hub               1   -0.60

        Cross-store matrix
        value of  accepted by  amount
        A         D            100.00

        Totals
                                        CNY
        opening                        0.00
        net to receive                99.40
        of which unattributed          0.00
        closing                       99.40
        goods held for another store  40.00
        "#);
        insta::assert_snapshot!(text(&of(&statements, "C"), Language::ZhCn), @r#"
        结算单 2: C
        营业日        2026-11-23 – 2026-11-23
        结算方式      fifo, 入账, 暂结
        币种          CNY
        截止号、协议  6, b3:1657aa15cf430de66e4915cb107a05e1c04f28bb30af35379805f8fa7b9a4142
        编制时间      2026-11-23T02:13:20Z
        程序版本      0.1.0

        应收（+）应付（-）
        项目          往来方  笔数  发生额  冲减    净额
        异店代收退货  A          1  -40.00  0.00  -40.00
        受理手续费    总部       1    0.00  0.24    0.24
        积分发放成本  总部       1   -0.30  0.00   -0.30

        跨店往来矩阵
        价值归属  受理方    金额
        A         C       -40.00

        合计
                         CNY
        期初          298.20
        净应付        -40.06
        其中待归属      0.00
        期末          258.14
        代收退货商品    0.00
        "#);
        assert_eq!(of(&statements, "Z").closing_minor, 7, "an opening balance alone is stated");
    }

    #[test]
    fn machines_read_the_same_figures() {
        let statement = of(&statements(Scheme::Pool), "D");
        insta::assert_snapshot!(csv(&statement).replace("\r\n", "\n"), @r#"
        run,scheme,standing,finality,day_from,day_to,party,currency,row,business_day,kind,backer,counterparty,count,gross_minor,reversal_minor,net_minor
        2,pool,booked,provisional,2026-11-23,2026-11-23,store:D,CNY,opening,,,,,,,,0
        2,pool,booked,provisional,2026-11-23,2026-11-23,store:D,CNY,section,,spend,,hub,1,10000,0,10000
        2,pool,booked,provisional,2026-11-23,2026-11-23,store:D,CNY,section,,fee,,hub,1,-60,0,-60
        2,pool,booked,provisional,2026-11-23,2026-11-23,store:D,CNY,adjustment,2026-11-22,spend,,hub,1,,,10000
        2,pool,booked,provisional,2026-11-23,2026-11-23,store:D,CNY,adjustment,2026-11-22,fee,,hub,1,,,-60
        2,pool,booked,provisional,2026-11-23,2026-11-23,store:D,CNY,matrix,,,hub,store:D,,,,10000
        2,pool,booked,provisional,2026-11-23,2026-11-23,store:D,CNY,agent_goods,,,,,,,,4000
        2,pool,booked,provisional,2026-11-23,2026-11-23,store:D,CNY,unattributed,,,,,,,,0
        2,pool,booked,provisional,2026-11-23,2026-11-23,store:D,CNY,net,,,,,,,,9940
        2,pool,booked,provisional,2026-11-23,2026-11-23,store:D,CNY,closing,,,,,,,,9940
        "#);
        assert_eq!(serde_json::from_str::<Statement>(&json(&statement)).unwrap(), statement);
    }

    #[test]
    fn a_funder_and_a_store_read_the_same_discounts_and_a_cent_between_funders_is_found() {
        let leg = |of_month: i8, kind, debtor: &str, creditor: &str, amount_minor| Leg {
            account: None,
            business_day: day(of_month),
            kind,
            debtor: party(debtor),
            creditor: party(creditor),
            currency: Currency::CNY,
            amount_minor,
        };
        let (given, back) = (LegKind::DiscountFunding, LegKind::DiscountFundingBack);
        let lines = [
            leg(22, given, "supplier:X", "A", 500),
            leg(23, given, "supplier:X", "A", 100),
            leg(23, back, "A", "supplier:X", 250),
            leg(23, given, "hub", "A", 40),
            leg(23, given, "A", "A", 30),
            leg(23, back, "A", "A", 10),
        ];
        let mut book = StatementBook::new(run(1, Scheme::Pool, 23, 23));
        lines.iter().for_each(|line| book.add(line).unwrap());
        let statements = book.finish(&BTreeMap::new()).unwrap();
        insta::assert_snapshot!(text(&of(&statements, "A"), Language::En).split_once("To receive").unwrap().1, @r#"
         (+) or to pay (-)
        what             counterparty  lines  gross  reversed   net
        discounts borne  hub               1   0.40      0.00  0.40
        discounts borne  supplier:X        3   6.00     -2.50  3.50

        Of which adjustments of closed days
        day         what             counterparty  lines  change
        2026-11-22  discounts borne  supplier:X        1    5.00

        Discounts and who bears them
        day         borne by    sold by  given  taken back    net
        2026-11-22  supplier:X  A         5.00        0.00   5.00
        2026-11-23  hub         A         0.40        0.00   0.40
        2026-11-23  A           A         0.30       -0.10   0.20
        2026-11-23  supplier:X  A         1.00       -2.50  -1.50

        Totals
                                       CNY
        opening                       0.00
        net to receive                3.90
        of which unattributed         0.00
        closing                       3.90
        goods held for another store  0.00
        "#);
        let supplier = of(&statements, "supplier:X");
        assert_eq!(
            supplier.funding,
            of(&statements, "A")
                .funding
                .iter()
                .filter(|row| row.funder == party("supplier:X"))
                .copied()
                .collect::<Vec<_>>()
        );
        assert_eq!(supplier.net_minor, -350);
        let rows: Vec<String> = csv(&supplier)
            .lines()
            .filter(|line| line.contains(",funding,"))
            .map(|line| line.split_once("CNY,").unwrap().1.to_owned())
            .collect();
        assert_eq!(
            rows,
            [
                "funding,2026-11-22,discount_funding,supplier:X,store:A,,500,0,500",
                "funding,2026-11-23,discount_funding,supplier:X,store:A,,100,-250,-150",
            ]
        );
        let mut moved = of(&statements, "A");
        let place = |who: &str| {
            moved.funding.iter().position(|row| row.funder == party(who) && row.business_day == day(23)).unwrap()
        };
        let (x, own) = (place("supplier:X"), place("A"));
        for (at, cent) in [(x, 1), (own, -1)] {
            moved.funding[at].gross_minor += cent;
            moved.funding[at].net_minor += cent;
        }
        assert!(moved.check().is_err(), "the supplier's cent is in no section");
    }

    #[test]
    fn the_order_of_lines_does_not_change_a_byte() {
        for &scheme in Scheme::ALL {
            let legs = fold(scheme, &only(golden_terms()), &history(DAYS)).unwrap().legs;
            let render = |legs: &mut dyn Iterator<Item = &Leg>| {
                let mut book = StatementBook::new(run(1, scheme, 22, 23));
                legs.for_each(|leg| book.add(leg).unwrap());
                let statements = book.finish(&BTreeMap::new()).unwrap();
                statements
                    .iter()
                    .map(|statement| json(statement) + &csv(statement) + &text(statement, Language::ZhCn))
                    .collect::<String>()
            };
            assert_eq!(render(&mut legs.iter()), render(&mut legs.iter().rev()));
        }
    }

    #[test]
    fn a_cent_anywhere_breaks_the_proof() {
        let statements = statements(Scheme::Pool);
        assert_eq!(check_run(&statements), Ok(()));
        let place = statements.iter().position(|statement| !statement.sections.is_empty()).unwrap();
        let broken: [fn(&mut Statement); 6] = [
            |s| s.sections[0].gross_minor += 1,
            |s| s.sections[0].reversal_minor -= 1,
            |s| s.sections[0].net_minor += 1,
            |s| s.net_minor += 1,
            |s| s.unattributed_minor += 1,
            |s| s.opening_minor += 1,
        ];
        for (number, change) in broken.into_iter().enumerate() {
            let mut changed = statements.clone();
            change(&mut changed[place]);
            assert!(check_run(&changed).is_err(), "mutant {number} lives");
        }
        let mut one_sided = statements;
        let changed = &mut one_sided[place];
        (changed.sections[0].gross_minor, changed.sections[0].net_minor) =
            (changed.sections[0].gross_minor + 1, changed.sections[0].net_minor + 1);
        (changed.net_minor, changed.closing_minor) = (changed.net_minor + 1, changed.closing_minor + 1);
        assert_eq!(
            check_run(&one_sided),
            Err(StatementError::NotZero { sum_minor: 1 }),
            "right in itself, wrong against the others"
        );
    }

    #[test]
    fn a_cell_cannot_become_a_formula() {
        let check = |cell: &str, written: &str| assert_eq!(csv_text(cell), written);
        check("store:S1", "store:S1");
        check("=1+1", "'=1+1");
        check("@x", "'@x");
        check("-2,\"3\"", "\"'-2,\"\"3\"\"\"");
    }

    #[test]
    fn chinese_is_two_wide() {
        assert_eq!((width("net 净额"), width("（+）"), width("—")), (8, 5, 1));
    }
}
