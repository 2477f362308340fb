//! Publish: a policy for all stores, or a settlement agreement for the hub itself, from a TOML document that one can read aloud.
//!
//! A document is judged in full before it is published: syntax and types with line and column, then the rules of `protocol` with the line of the
//! field. Versions only rise. A policy is kept as the byte string that was signed, the document within it as it was given. Invariant: every document in the
//! database is valid, and every policy is signed with the key that stores trust.

use std::collections::HashSet;
use std::fmt;

use huitong_protocol::bundle::{Bundle, DOCUMENT_BYTES_MAX, KeyId};
use huitong_protocol::id::{GroupId, LegalEntityId, StoreId};
use huitong_protocol::party::Party;
use huitong_protocol::policy::{Funder, Policy};
use huitong_protocol::settlement::agreement::{Agreement, Agreements, faults};
use huitong_protocol::time::{BusinessDay, Instant};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::policy_key::PolicyPair;
use crate::store::engine::{Store, StoreError, Tx};
use crate::store::policy::{self as rows, Kept};
use crate::store::{organisation, root};

/// One fault of a document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DocumentFault {
    /// The line, from 1; 0 when it has none.
    pub line: usize,
    /// The column in characters, from 1; 0 when it has none.
    pub column: usize,
    /// The field: `products[0].ranges[1].prefix`.
    pub path: String,
    /// What is wrong, and what would be right.
    pub fault: String,
}

impl fmt::Display for DocumentFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 0 {
            write!(f, "line {}, column {}: ", self.line, self.column)?;
        }
        write!(f, "{}: {}", self.path, self.fault)
    }
}

/// Why a document was not taken.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// It has faults.
    #[error("the document has {} fault(s)\n{}", .0.len(), .0.iter().map(|fault| format!("  {fault}")).collect::<Vec<_>>().join("\n"))]
    Document(Vec<DocumentFault>),
    /// It is fine and does not fit what is published.
    #[error("{fault}\n  hint: {hint}")]
    Refused {
        /// Why.
        fault: String,
        /// What to do.
        hint: String,
    },
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn refused(fault: impl Into<String>, hint: impl Into<String>) -> PublishError {
    PublishError::Refused { fault: fault.into(), hint: hint.into() }
}

/// Reads and judges a policy.
///
/// # Errors
/// [`PublishError::Document`] with every fault that could be found at once.
pub fn read_policy(document: &str) -> Result<Policy, PublishError> {
    let policy: Policy = read(document)?;
    let found = policy.validate().into_iter().map(|fault| located(document, fault.path, fault.fault)).collect();
    judged(policy, found)
}

/// The versions of an agreement as written: `[[agreement]]` tables.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AgreementFile {
    agreement: Vec<Agreement>,
}

/// Reads and judges the versions of an agreement.
///
/// # Errors
/// [`PublishError::Document`] with every fault that could be found at once.
pub fn read_agreements(document: &str) -> Result<Vec<Agreement>, PublishError> {
    let file: AgreementFile = read(document)?;
    let found = faults(&file.agreement).into_iter().map(|fault| located(document, fault.path, fault.fault)).collect();
    judged(file.agreement, found)
}

fn judged<T>(value: T, found: Vec<DocumentFault>) -> Result<T, PublishError> {
    if found.is_empty() { Ok(value) } else { Err(PublishError::Document(found)) }
}

fn read<T: DeserializeOwned>(document: &str) -> Result<T, PublishError> {
    let fault = |path: String, span: Option<std::ops::Range<usize>>, fault: String| {
        let (line, column) = span.map_or((0, 0), |span| place(document, span.start));
        PublishError::Document(vec![DocumentFault { line, column, path, fault }])
    };
    if document.len() > DOCUMENT_BYTES_MAX {
        return Err(fault(
            "document".to_owned(),
            None,
            format!("has {} bytes; at most {DOCUMENT_BYTES_MAX} are allowed", document.len()),
        ));
    }
    let deserializer = toml::Deserializer::parse(document)
        .map_err(|error| fault("document".to_owned(), error.span(), error.message().to_owned()))?;
    serde_path_to_error::deserialize(deserializer).map_err(|error| {
        let path = match error.path().to_string() {
            path if path == "." => "document".to_owned(),
            path => path,
        };
        fault(path, error.inner().span(), error.inner().message().to_owned())
    })
}

/// Line and column of a byte, from 1.
fn place(document: &str, byte: usize) -> (usize, usize) {
    let before = document.get(..byte).unwrap_or(document);
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

/// Finds the place of a path as deep as the document has it.
fn located(document: &str, path: String, fault: String) -> DocumentFault {
    let mut start = None;
    if let Ok(table) = toml::de::DeTable::parse(document) {
        let mut steps = path.split(['.', '[']).map(|step| step.trim_end_matches(']'));
        let mut value = steps.next().and_then(|step| table.get_ref().get(step));
        while let Some(found) = value {
            start = Some(found.span().start);
            value = steps.next().and_then(|step| match found.get_ref() {
                toml::de::DeValue::Table(table) => table.get(step),
                toml::de::DeValue::Array(items) => step.parse::<usize>().ok().and_then(|index| items.get(index)),
                _ => None,
            });
        }
    }
    let (line, column) = start.map_or((0, 0), |start| place(document, start));
    DocumentFault { line, column, path, fault }
}

/// A published policy without its document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Published {
    /// Its version: given by the hub, rising.
    pub version: u64,
    /// The first business day on which it is in force.
    pub effective_from: BusinessDay,
    /// What people call it.
    pub name: String,
    /// The key that signed it.
    pub key: KeyId,
    /// When it was published.
    pub published_at_ms: Instant,
}

/// Reads a policy that is kept.
///
/// # Errors
/// [`StoreError::Value`] when this program does not read what an earlier one published.
pub fn open_kept(kept: &Kept) -> Result<(Published, Policy), StoreError> {
    let bundle = &kept.bundle;
    let policy = read_policy(&bundle.document).map_err(|why| StoreError::Value {
        table: "policy",
        column: "bundle",
        row: bundle.version.to_string(),
        fault: why.to_string(),
    })?;
    let published = Published {
        version: bundle.version,
        effective_from: bundle.effective_from,
        name: policy.name.clone(),
        key: bundle.key.clone(),
        published_at_ms: kept.published_at_ms,
    };
    Ok((published, policy))
}

/// A published policy with its document, as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct PolicyDocument {
    /// Its version.
    pub version: u64,
    /// The first business day on which it is in force.
    pub effective_from: BusinessDay,
    /// The group.
    pub group: GroupId,
    /// The key that signed it.
    pub key: KeyId,
    /// When it was published.
    pub published_at_ms: Instant,
    /// The document (TOML).
    pub document: String,
}

/// A policy as it is shown.
#[must_use]
pub fn shown(kept: &Kept) -> PolicyDocument {
    let bundle = &kept.bundle;
    PolicyDocument {
        version: bundle.version,
        effective_from: bundle.effective_from,
        group: bundle.group,
        key: bundle.key.clone(),
        published_at_ms: kept.published_at_ms,
        document: bundle.document.clone(),
    }
}

/// The newest policy, whether in force yet or not.
pub fn newest_policy(tx: &mut Tx<'_>) -> Result<Option<(Published, Policy)>, StoreError> {
    rows::newest(tx)?.as_ref().map(open_kept).transpose()
}

/// All policies, oldest first.
pub fn policies(tx: &mut Tx<'_>) -> Result<Vec<Published>, StoreError> {
    rows::all(tx)?.iter().map(|kept| open_kept(kept).map(|(published, _)| published)).collect()
}

/// Every fault of a policy that only this hub can see: its currency, and legal entities and stores that it does not have. Suppliers and counters are
/// in no master here; what names them is believed.
///
/// # Errors
/// [`StoreError`].
pub fn faults_here(tx: &mut Tx<'_>, policy: &Policy, document: &str) -> Result<Vec<DocumentFault>, StoreError> {
    let hub = root::hub(tx)?;
    let mut found = Vec::new();
    if policy.currency != hub.currency {
        let (is, code) = (policy.currency, hub.currency.code());
        let words = format!("is {is}; this hub counts in {code}. Set currency = {code:?}");
        found.push(located(document, "currency".to_owned(), words));
    }
    for (index, product) in policy.products.iter().enumerate() {
        if organisation::legal_entity(tx, product.issuer)?.is_none() {
            let issuer = product.issuer;
            let words = format!("legal entity {issuer} is unknown; import it: huitong-hub legal-entity import FILE");
            found.push(located(document, format!("products[{index}].issuer"), words));
        }
    }
    // A document may hold thousands of promotions; stores and entities are read once.
    let stores: HashSet<StoreId> = organisation::stores(tx)?.iter().map(|store| store.id).collect();
    let entities: HashSet<LegalEntityId> = organisation::legal_entities(tx)?.iter().map(|entity| entity.id).collect();
    for (index, promotion) in policy.promotions.iter().enumerate() {
        let mut unknown = |path: String, what: String| {
            let words = format!("{what} is unknown here; import it first, or correct the code");
            found.push(located(document, format!("promotions[{index}].{path}"), words));
        };
        for (at, store) in promotion.place.stores.iter().enumerate().filter(|(_, store)| !stores.contains(store)) {
            unknown(format!("where.stores[{at}]"), format!("store {store}"));
        }
        for (at, funding) in promotion.funding.iter().enumerate() {
            let path = format!("funding[{at}].party");
            match funding.party {
                Funder::Party(Party::Store(store)) if !stores.contains(&store) => {
                    unknown(path, format!("store {store}"))
                }
                Funder::Party(Party::LegalEntity(entity)) if !entities.contains(&entity) => {
                    unknown(path, format!("legal entity {entity}"));
                }
                _ => {}
            }
        }
    }
    Ok(found)
}

/// Publishes a policy to all stores, signed, in force from a business day.
///
/// # Errors
/// [`PublishError`]; nothing is published then.
pub fn publish_policy(
    store: &Store,
    pair: PolicyPair,
    document: &str,
    effective_from: BusinessDay,
    now: Instant,
) -> Result<Published, PublishError> {
    let policy = read_policy(document)?;
    let document = document.to_owned();
    store.write_blocking(move |tx| {
        judged((), faults_here(tx, &policy, &document)?)?;
        if let Some(Kept { bundle, .. }) = rows::newest(tx)? {
            let (version, from) = (bundle.version, bundle.effective_from);
            if bundle.document == document {
                return Err(refused(
                    format!("version {version} is this very document, in force from {from}"),
                    "change the document, or leave it: stores have it or fetch it by themselves",
                ));
            }
            if effective_from < from {
                return Err(refused(
                    format!("version {version} is in force from {from}; a newer one cannot begin before it, on {effective_from}"),
                    format!("--effective-from {from} or later"),
                ));
            }
        }
        let key = pair.id();
        if key != rows::current_key(tx)?.id() {
            return Err(refused(format!("key {key} is not the one that stores trust now"), "huitong-hub policy key show"));
        }
        let version = rows::next_version(tx)?;
        let bundle = Bundle::new(root::hub(tx)?.group, version, effective_from, key.clone(), document.clone());
        rows::insert(tx, &bundle, &pair.sign(bundle.encode()), now)?;
        Ok(Published { version, effective_from, name: policy.name.clone(), key, published_at_ms: now })
    })
}

/// All versions of the agreement, or `None` when none is published.
pub fn agreements(tx: &mut Tx<'_>) -> Result<Option<Agreements>, StoreError> {
    let versions = tx.query("SELECT effective_from, document FROM agreement ORDER BY effective_from", &[], |row| {
        let invalid = |fault: String| StoreError::Value {
            table: "agreement",
            column: "document",
            row: row.text(0).unwrap_or_default().to_owned(),
            fault,
        };
        let mut versions = read_agreements(row.text(1)?).map_err(|why| invalid(why.to_string()))?;
        match (versions.pop(), versions.is_empty()) {
            (Some(version), true) => Ok(version),
            _ => Err(invalid("holds not exactly one version".to_owned())),
        }
    })?;
    if versions.is_empty() {
        return Ok(None);
    }
    Agreements::new(versions).map(Some).map_err(|why| StoreError::Value {
        table: "agreement",
        column: "document",
        row: "all versions".to_owned(),
        fault: why.to_string(),
    })
}

/// Publishes the versions of an agreement that are not published yet and gives their days. The file may repeat those that are.
///
/// # Errors
/// [`PublishError`]; nothing is published then.
pub fn publish_agreements(store: &Store, document: &str, now: Instant) -> Result<Vec<BusinessDay>, PublishError> {
    let given = read_agreements(document)?;
    store.write_blocking(move |tx| {
        let hub = root::hub(tx)?;
        let known = agreements(tx)?.map(|known| known.versions().to_vec()).unwrap_or_default();
        let settled: Option<BusinessDay> = tx.query_one(
            "SELECT day_to FROM settlement_run WHERE standing = 'booked' ORDER BY run_no DESC LIMIT 1",
            &[],
            |row| row.parsed(0, "settlement_run", "day_to"),
        )?;
        let days: HashSet<BusinessDay> = known.iter().map(|version| version.effective_from).collect();
        let mut published = Vec::new();
        for version in &given {
            let day = version.effective_from;
            if version.currency != hub.currency {
                return Err(refused(
                    format!("the agreement counts in {}, this hub in {}", version.currency, hub.currency),
                    "one hub, one currency",
                ));
            }
            if known.contains(version) {
                continue;
            }
            if days.contains(&day) {
                return Err(refused(
                    format!("the version of {day} is published with other terms"),
                    "a change gets a version of its own, from a later day",
                ));
            }
            if let Some(newest) = known.last().filter(|newest| newest.effective_from > day) {
                return Err(refused(
                    format!(
                        "{day} is before {}, the day of the newest version; versions only rise",
                        newest.effective_from
                    ),
                    "begin later",
                ));
            }
            if let Some(settled) = settled.filter(|settled| *settled >= day) {
                return Err(refused(
                    format!("days up to {settled} are settled; terms cannot change from {day}"),
                    format!("begin on {} or later", settled.tomorrow()),
                ));
            }
            published.push(*version);
        }
        if published.is_empty() {
            return Err(refused(
                "every version in this document is published already",
                "add a version with a later effective_from",
            ));
        }
        for version in &published {
            let text = toml::to_string(&AgreementFile { agreement: vec![*version] })
                .map_err(|why| StoreError::Rule { operation: "write an agreement", fault: why.to_string() })?;
            let day = version.effective_from.to_string();
            tx.execute_one(
                "publish an agreement",
                "agreement",
                "INSERT INTO agreement (effective_from, document, published_at_ms) VALUES ($1, $2, $3)",
                &[(&day).into(), (&text).into(), now.into()],
            )?;
        }
        Ok(published.iter().map(|version| version.effective_from).collect())
    })
}
