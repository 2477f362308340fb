//! Publish: a policy for all stores, or a settlement agreement for the hub itself, from a TOML document that one can read aloud.
//!
//! A document is judged in full before it is published: syntax and types with line and column, then the rules of `protocol` with the line of the
//! field. Versions only rise. A policy is kept as the byte string that was signed, the document within it as it was given. Invariant: every document in the
//! database is valid, and every policy is signed with the key that stores trust.

use std::collections::HashSet;
use std::fmt;

use huitong_protocol::bundle::{Bundle, DOCUMENT_BYTES_MAX, KeyId};
use huitong_protocol::id::{GroupId, LegalEntityId, StoreId, TierCode};
use huitong_protocol::party::Party;
use huitong_protocol::policy::{Funder, Goods, Policy, PolicyFault};
use huitong_protocol::settlement::agreement::{Agreement, Agreements, faults};
use huitong_protocol::time::{BusinessDay, Instant};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::parameters::{self, ParameterError};
use crate::policy_key::PolicyPair;
use crate::store::engine::{Store, StoreError, Tx};
use crate::store::policy::{self as rows, Kept};
use crate::store::{item, organisation, parameters as proposals, root};

/// One fault of a document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
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

/// Reads a document of TOML.
///
/// # Errors
/// [`PublishError::Document`] with the first fault and its place.
pub(crate) fn read<T: DeserializeOwned>(document: &str) -> Result<T, PublishError> {
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
pub(crate) fn located(document: &str, path: String, fault: String) -> DocumentFault {
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
    let policy = read_bundle(bundle).map_err(|fault| StoreError::Value {
        table: "policy",
        column: "bundle",
        row: bundle.version.to_string(),
        fault,
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

/// Reads a bundle in full: the document, and what stores have set for themselves.
///
/// # Errors
/// What is wrong with it, in words.
pub fn read_bundle(bundle: &Bundle) -> Result<Policy, String> {
    let mut policy = read_policy(&bundle.document).map_err(|why| why.to_string())?;
    policy.stores = toml::from_str(&bundle.parameters).map_err(|why| format!("stores: {why}"))?;
    let faults: Vec<String> = policy.validate().iter().map(ToString::to_string).collect();
    if faults.is_empty() { Ok(policy) } else { Err(faults.join("; ")) }
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
    /// What stores have set for themselves (TOML), empty when none has.
    pub parameters: String,
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
        parameters: bundle.parameters.clone(),
    }
}

/// The newest policy, whether in force yet or not.
pub fn newest_policy(tx: &mut Tx<'_>) -> Result<Option<(Published, Policy)>, StoreError> {
    rows::newest(tx)?.as_ref().map(open_kept).transpose()
}

/// A published policy in a list. One that this program does not read any more hides no other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Listed {
    /// Its version.
    pub version: u64,
    /// The first business day on which it is in force.
    pub effective_from: BusinessDay,
    /// What people call it; nothing when it cannot be read.
    pub name: Option<String>,
    /// The key that signed it; nothing when that cannot be read.
    pub key: Option<KeyId>,
    /// When it was published.
    pub published_at_ms: Instant,
    /// Why this program cannot read it; nothing when it can.
    pub unreadable: Option<String>,
}

/// Policies after a version, oldest first, so many at most. What an earlier program published may be unreadable; it is listed, with the reason.
///
/// # Errors
/// [`StoreError`].
pub fn policies(tx: &mut Tx<'_>, after: u64, limit: usize) -> Result<Vec<Listed>, StoreError> {
    let found = rows::page(tx, after, limit)?;
    Ok(found
        .into_iter()
        .map(|row| {
            let policy = row.bundle.as_ref().map_err(String::clone);
            let policy = policy.and_then(|bundle| read_policy(&bundle.document).map_err(|why| why.to_string()));
            let (name, unreadable) = match policy {
                Ok(policy) => (Some(policy.name), None),
                Err(why) => (None, Some(why)),
            };
            let (version, effective_from, published_at_ms) = (row.version, row.effective_from, row.published_at_ms);
            let key = row.bundle.ok().map(|bundle| bundle.key);
            Listed { version, effective_from, name, key, published_at_ms, unreadable }
        })
        .collect())
}

/// The tiers of every policy that was published and can be read; nothing when none was published.
///
/// # Errors
/// [`StoreError`].
pub fn tiers(tx: &mut Tx<'_>) -> Result<Option<HashSet<TierCode>>, StoreError> {
    let published = rows::page(tx, 0, usize::MAX)?;
    if published.is_empty() {
        return Ok(None);
    }
    let policies = published.iter().filter_map(|row| read_policy(&row.bundle.as_ref().ok()?.document).ok());
    Ok(Some(policies.flat_map(|policy| policy.tiers).map(|tier| tier.code).collect()))
}

/// The SKUs that goods name, each with its path.
pub(crate) fn goods_skus<'a>(
    goods: &'a Goods,
    path: impl Fn(&str) -> String + Copy + 'a,
) -> impl Iterator<Item = (String, &'a str)> {
    let included = goods.include.as_ref().map_or(&[][..], |include| &include.skus);
    let of = move |list: &'static str, skus: &'a [String]| {
        skus.iter().enumerate().map(move |(at, sku)| (path(&format!("{list}.skus[{at}]")), sku.as_str()))
    };
    of("include", included).chain(of("exclude", &goods.exclude.skus))
}

/// A fault for each SKU that the item master does not have. A hub without an item master believes what it is told.
pub(crate) fn unknown_skus<'a>(
    tx: &mut Tx<'_>,
    named: impl Iterator<Item = (String, &'a str)>,
) -> Result<Vec<PolicyFault>, StoreError> {
    let mut faults = Vec::new();
    if !item::is_any(tx)? {
        return Ok(faults);
    }
    for (path, sku) in named {
        if !item::is_known(tx, sku)? {
            let fault = format!("item {sku} is not in the item master; import it first, or correct the SKU");
            faults.push(PolicyFault { path, fault });
        }
    }
    Ok(faults)
}

/// Every fault of a policy that only this hub can see: its currency, and legal entities, stores and items that it does not have, and stores whose hours
/// it forbids. Suppliers and counters are in no master here; what names them is believed.
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
    for store in organisation::stores(tx)?.iter().filter(|store| store.closed_on.is_none()) {
        if let Some(fault) = policy.day.rollover_fault(store.rollover_hour) {
            found.push(located(document, "day".to_owned(), format!("store {}: {fault}", store.id)));
        }
    }
    for (index, product) in policy.products.iter().enumerate() {
        for (at, store) in product.scope.stores.iter().enumerate().filter(|(_, store)| !stores.contains(store)) {
            let words = format!("store {store} is unknown here; import it first, or correct the code");
            found.push(located(document, format!("products[{index}].scope.stores[{at}]"), words));
        }
    }
    let of_products = policy.products.iter().enumerate().flat_map(|(index, product)| {
        goods_skus(&product.scope.goods, move |list| format!("products[{index}].scope.goods.{list}"))
    });
    let of_promotions = policy.promotions.iter().enumerate().flat_map(|(index, promotion)| {
        goods_skus(&promotion.goods, move |list| format!("promotions[{index}].goods.{list}"))
    });
    for PolicyFault { path, fault } in unknown_skus(tx, of_products.chain(of_promotions))? {
        found.push(located(document, path, fault));
    }
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
        issue(tx, &pair, &policy, &document, effective_from, now)
    })
}

/// Publishes the newest document once more, with what has been approved of the stores' own parameters since.
///
/// # Errors
/// [`PublishError`]; nothing is published then.
pub fn publish_parameters(
    store: &Store,
    pair: PolicyPair,
    effective_from: BusinessDay,
    now: Instant,
) -> Result<Published, PublishError> {
    store.write_blocking(move |tx| {
        let Some(Kept { bundle, .. }) = rows::newest(tx)? else {
            return Err(refused(
                "no policy is published that parameters could go with",
                "huitong-hub policy publish FILE",
            ));
        };
        let policy = read_policy(&bundle.document)?;
        if parameters::for_bundle(tx, &policy)? == bundle.parameters {
            return Err(refused(
                format!(
                    "nothing was approved since version {}, in force from {}",
                    bundle.version, bundle.effective_from
                ),
                "huitong-hub policy parameters list",
            ));
        }
        issue(tx, &pair, &policy, &bundle.document, effective_from, now)
    })
}

/// Signs and keeps a version: a document that was judged, with the approved parameters of the stores.
fn issue(
    tx: &mut Tx<'_>,
    pair: &PolicyPair,
    policy: &Policy,
    document: &str,
    effective_from: BusinessDay,
    now: Instant,
) -> Result<Published, PublishError> {
    let parameters = parameters::for_bundle(tx, policy)?;
    if let Some(Kept { bundle, .. }) = rows::newest(tx)? {
        let (version, from) = (bundle.version, bundle.effective_from);
        if (bundle.document.as_str(), &bundle.parameters) == (document, &parameters) {
            return Err(refused(
                format!("version {version} is this very document, in force from {from}"),
                "change the document, or leave it: stores have it or fetch it by themselves",
            ));
        }
        if effective_from < from {
            return Err(refused(
                format!(
                    "version {version} is in force from {from}; a newer one cannot begin before it, on {effective_from}"
                ),
                format!("--effective-from {from} or later"),
            ));
        }
    }
    let key = pair.id();
    if key != rows::current_key(tx)?.id() {
        return Err(refused(format!("key {key} is not the one that stores trust now"), "huitong-hub policy key show"));
    }
    let version = rows::next_version(tx)?;
    let group = root::hub(tx)?.group;
    let bundle =
        Bundle::new(group, version, effective_from, key.clone(), document.to_owned()).with_parameters(parameters);
    rows::insert(tx, &bundle, &pair.sign(bundle.encode()), now)?;
    proposals::published(tx, version)?;
    Ok(Published { version, effective_from, name: policy.name.clone(), key, published_at_ms: now })
}

impl From<ParameterError> for PublishError {
    fn from(error: ParameterError) -> Self {
        match error {
            ParameterError::Store(error) => Self::Store(error),
            ParameterError::Faults(faults) => Self::Document(faults),
            ParameterError::Refused { fault, hint } => refused(fault, hint),
            other @ (ParameterError::Unknown(_) | ParameterError::Note(_)) => {
                refused(other.to_string(), "huitong-hub policy parameters list")
            }
        }
    }
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
