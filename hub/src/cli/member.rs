//! `huitong-hub member`: members in, found and shown, and what stores ask about them. What is told of them is decided in `desk`.

use clap::Subcommand;
use huitong_protocol::id::{SegmentCode, TierCode};
use huitong_protocol::member::MemberNumber;

use super::exception::{By, write};
use super::organisation::Import;
use super::output::table;
use super::recover::mints;
use super::{Failure, Output, Place, World, actor};
use crate::claim::{self, WaiveError};
use crate::member_request::{self, RequestView, ReviewError};
use crate::store::claim as claims;
use crate::{desk, import};

/// Requests or claims that one command lists.
const ROWS_LISTED: usize = 1_000;

#[derive(Debug, Subcommand)]
pub(crate) enum MemberCommand {
    /// Import members: number, name, [tier], [tier_valid_from], [tier_valid_to], [birthday], [segments], [phone], [active].
    Import(Import),
    /// Find members by what number, name, pinyin or initials begin with, by phone, or by the last four digits of phone or card.
    Find {
        /// What is known: `zs`, `zhangsan`, 张三, 5678 …
        text: String,
    },
    /// Show a member.
    Show {
        /// The number.
        number: MemberNumber,
    },
    /// What stores ask: who was enrolled and is perhaps a member already, and changes.
    #[command(subcommand)]
    Review(ReviewCommand),
    /// Points that should have been taken back and were spent: later earnings settle them, or finance gives them up.
    #[command(subcommand)]
    Claims(ClaimCommand),
}

impl MemberCommand {
    pub(crate) fn run(self, world: &World, place: &Place, out: &mut Output<'_>) -> Result<(), Failure> {
        match self {
            Self::Import(import) => mints(place, || import.run(world, place, out, import::members::import)),
            Self::Find { text } => find(place, &text, out),
            Self::Show { number } => show(place, number, out),
            Self::Review(command) => command.run(world, place, out),
            Self::Claims(command) => command.run(world, place, out),
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum ClaimCommand {
    /// List what is open.
    List {
        /// Also what was settled or waived.
        #[arg(long)]
        all: bool,
    },
    /// Give up what is open of one.
    Waive {
        /// Its number.
        number: i64,
        /// Why.
        #[arg(long, value_name = "TEXT")]
        note: String,
        #[command(flatten)]
        by: By,
    },
}

impl From<WaiveError> for Failure {
    fn from(error: WaiveError) -> Self {
        match error {
            WaiveError::Store(error) => error.into(),
            refused => Self::Refused(refused.to_string()),
        }
    }
}

impl ClaimCommand {
    fn run(self, world: &World, place: &Place, out: &mut Output<'_>) -> Result<(), Failure> {
        let now = world.now();
        match self {
            Self::List { all } => {
                let found = place.open()?.read_blocking(move |tx| claims::page(tx, all, 0, ROWS_LISTED))?;
                out.show(&found, |text| {
                    let rows: Vec<Vec<String>> = found
                        .iter()
                        .map(|claim| {
                            let (number, day) = (claim.number.to_string(), claim.business_day.to_string());
                            let member = claim.member.clone().unwrap_or_default();
                            let points = [claim.points, claim.settled_points, claim.open_points].map(|n| n.to_string());
                            let [points, settled, open] = points;
                            let (account, entry) = (claim.account.to_string(), claim.entry.to_string());
                            vec![
                                number,
                                day,
                                member,
                                account,
                                entry,
                                points,
                                settled,
                                open,
                                claim.state.as_str().to_owned(),
                            ]
                        })
                        .collect();
                    let heads = [">no", "day", "member", "account", "entry", ">points", ">settled", ">open", "state"];
                    table(text, &heads, &rows)
                })?;
            }
            Self::Waive { number, note, by } => {
                let actor = actor(&by.by)?;
                let claim = write(place, move |tx| claim::waive(tx, &actor, number, &note, now))?;
                out.show(&claim, |text| {
                    let given_up = claim.points.saturating_sub(claim.settled_points);
                    writeln!(text, "Claim {number} is waived: {given_up} points are not asked for any more.")
                })?;
            }
        }
        Ok(())
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum ReviewCommand {
    /// List what somebody must decide.
    List {
        /// Also what was decided.
        #[arg(long)]
        all: bool,
    },
    /// Show one, its form opened.
    Show {
        /// Its number.
        number: i64,
    },
    /// Approve one: the first person's approval passes it on, a second person's does it.
    Approve {
        /// Its number.
        number: i64,
        /// What to say with it.
        #[arg(long, default_value = "", value_name = "TEXT")]
        note: String,
        #[command(flatten)]
        by: By,
    },
    /// Refuse one. The store is told.
    Refuse {
        /// Its number.
        number: i64,
        /// Why.
        #[arg(long, value_name = "TEXT")]
        note: String,
        #[command(flatten)]
        by: By,
    },
}

impl From<ReviewError> for Failure {
    fn from(error: ReviewError) -> Self {
        match error {
            ReviewError::Store(error) => error.into(),
            refused => Self::Refused(refused.to_string()),
        }
    }
}

impl ReviewCommand {
    fn run(self, world: &World, place: &Place, out: &mut Output<'_>) -> Result<(), Failure> {
        let now = world.now();
        let request = match self {
            Self::List { all } => {
                let found = place.open()?.read_blocking(move |tx| member_request::list(tx, all, 0, ROWS_LISTED))?;
                out.show(&found, |text| {
                    let rows: Vec<Vec<String>> = found
                        .iter()
                        .map(|request| {
                            let (number, at) = (request.number.to_string(), request.asked_at_ms.to_string());
                            let (kind, state) = (request.kind.to_owned(), request.state.to_owned());
                            let (name, phone) = (request.name.clone(), request.phone.clone());
                            vec![
                                number,
                                at,
                                request.store.to_string(),
                                kind,
                                state,
                                name,
                                phone,
                                request.proposal.clone(),
                            ]
                        })
                        .collect();
                    table(text, &[">no", "asked", "store", "what", "state", "name", "phone", "proposal"], &rows)
                })?;
                return Ok(());
            }
            Self::Show { number } => place.open()?.read_blocking(move |tx| member_request::show(tx, number))?,
            Self::Approve { number, note, by } => {
                let actor = actor(&by.by)?;
                write(place, move |tx| member_request::approve(tx, &actor, number, &note, now))??
            }
            Self::Refuse { number, note, by } => {
                let actor = actor(&by.by)?;
                write(place, move |tx| member_request::refuse(tx, &actor, number, &note, now))?
            }
        };
        out.show(&request, |text| show_request(text, &request))?;
        Ok(())
    }
}

fn show_request(text: &mut dyn std::io::Write, request: &RequestView) -> std::io::Result<()> {
    writeln!(text, "request {} ({}), {}", request.number, request.kind, request.state)?;
    writeln!(text, "asked     by {} in entry {} at {}", request.store, request.entry, request.asked_at_ms)?;
    for (name, value) in [
        ("member", request.member.map(|number| number.to_string()).unwrap_or_default()),
        ("name", request.name.clone()),
        ("phone", request.phone.clone()),
        ("card", request.card.clone().unwrap_or_default()),
        ("consent", request.consent.clone().unwrap_or_default()),
        ("reason", request.reason.clone()),
        ("to do", request.proposal.clone()),
        ("problem", request.unreadable.clone().unwrap_or_default()),
    ] {
        if !value.is_empty() {
            writeln!(text, "{name:<9} {value}")?;
        }
    }
    for wanted in &request.wanted {
        let now = if wanted.now.is_empty() { "nothing" } else { &wanted.now };
        writeln!(text, "{:<9} {now} → {}", wanted.field, wanted.wanted)?;
    }
    for (what, word) in [("reviewed", &request.reviewed), ("decided", &request.decided)] {
        if let Some(word) = word {
            writeln!(text, "{what:<9} {} by {}: {}", word.at_ms, word.by, word.note)?;
        }
    }
    Ok(())
}

fn find(place: &Place, question: &str, out: &mut Output<'_>) -> Result<(), Failure> {
    let found = place.open()?.read_blocking(|tx| desk::find(tx, question))?;
    out.show(&found, |text| {
        let rows: Vec<Vec<String>> = found
            .members
            .iter()
            .map(|found| {
                let state = if found.active { "" } else { "not active" };
                vec![found.number.to_string(), found.name.clone(), found.phone.clone(), state.to_owned()]
            })
            .collect();
        table(text, &["number", "name", "phone", "state"], &rows)?;
        if found.more { writeln!(text, "… and more; say more of the name or number") } else { Ok(()) }
    })?;
    Ok(())
}

fn show(place: &Place, number: MemberNumber, out: &mut Output<'_>) -> Result<(), Failure> {
    let Some(member) = place.open()?.read_blocking(|tx| desk::show(tx, &number))? else {
        return Err(Failure::Refused(format!(
            "no member has the number {number}\n  hint: huitong-hub member find TEXT looks for other words"
        )));
    };
    out.show(&member, |text| {
        let day =
            |day: Option<huitong_protocol::time::BusinessDay>| day.map_or("…".to_owned(), |day| day.to_string());
        let name = member.tier.as_ref().map_or("", TierCode::as_str);
        let tier = match (member.tier_valid_from, member.tier_valid_to) {
            (None, None) => name.to_owned(),
            (from, to) => format!("{name} from {} to {}", day(from), day(to)),
        };
        for (name, value) in [
            ("number", member.number.to_string()),
            ("name", member.name.clone()),
            ("pinyin", member.pinyin.join(", ")),
            ("phone", member.phone.clone()),
            ("tier", tier),
            ("birthday", member.birthday.clone().unwrap_or_default()),
            ("segments", member.segments.iter().map(SegmentCode::as_str).collect::<Vec<_>>().join(", ")),
            ("state", if member.active { "active" } else { "not active" }.to_owned()),
            ("code", member.qr.clone()),
        ] {
            if !value.is_empty() {
                writeln!(text, "{name:<10} {value}")?;
            }
        }
        for card in &member.cards {
            writeln!(text, "{:<10} {} {} {}", "card", card.number, card.product, card.status)?;
        }
        Ok(())
    })?;
    Ok(())
}
