//! A hub with stores whose journals are written here, entry by entry, and taken in through the hub's own doors: ingest, report and grant.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use huitong_hub::cli::World;
use huitong_hub::clock::Clock;
use huitong_hub::ingest::{self, Taken};
use huitong_hub::inspect::Place;
use huitong_hub::policy_key::PolicyPair;
use huitong_hub::session::Caller;
use huitong_hub::settle::{self, RunReport, RunRequest, SettleError};
use huitong_hub::store::root::Hub;
use huitong_hub::store::{Store, StoreError, allotment, device, organisation, root, tenure};
use huitong_hub::{import, init, publish, report, verify};
use huitong_protocol::allotment::{HubEvent, HubSide, Purse, StoreCounters, StoreEvent, step};
use huitong_protocol::card::{Card, CardNumber, CardStatus, NumberRange};
use huitong_protocol::entry::{
    Allotment, AllotmentChange, BODY_VERSION, Body, CardSale, DayOpen, Entry, HEADER_VERSION, Header, Hold, HoldEnd,
    HoldEndReason, Markdown, Origin, ReplicaVersions, Return, ReturnLine, Sale, SaleLine, Void,
};
use huitong_protocol::id::{AccountId, EntryId, Hash, OperationId, Seq, StoreId};
use huitong_protocol::journal::Head;
use huitong_protocol::money::Currency;
use huitong_protocol::movement::{Movement, MovementKind};
use huitong_protocol::pricing::FundedPart;
use huitong_protocol::seal::{Seal, Tally};
use huitong_protocol::settlement::agreement::Scheme;
use huitong_protocol::settlement::run::{Finality, Standing};
use huitong_protocol::tenure::HeardEntry;
use huitong_protocol::time::{BusinessDay, CivilOffset, Instant, Stamp};
use huitong_protocol::unit::Unit;
use huitong_protocol::wire::{Report, ReportLine, Segment, SegmentEntries, to_msgpack};
use indicatif::ProgressBar;

pub(crate) const CNY: Unit = Unit::Money(Currency::CNY);
const DAWN: i64 = 1_790_000_000_000;

/// A clock that shows a second more each time it is looked at.
struct Hand(AtomicI64);

impl Clock for Hand {
    fn now(&self) -> Instant {
        Instant(self.0.fetch_add(1_000, Ordering::Relaxed))
    }
}

/// A hub in a folder of its own.
pub(crate) struct Town {
    folder: tempfile::TempDir,
    pub(crate) store: Store,
    hub: Hub,
    clock: Arc<Hand>,
    cards: u128,
}

/// A store's edge, as far as the hub can see it.
pub(crate) struct Shop {
    pub(crate) place: Place,
    head: Head,
    sent: Head,
    unsent: Vec<Vec<u8>>,
    tally: Tally,
    sealed: Seq,
    day: Option<BusinessDay>,
    counters: BTreeMap<AccountId, StoreCounters>,
}

pub(crate) fn day(text: &str) -> BusinessDay {
    text.parse().unwrap()
}

pub(crate) fn id(store: &str) -> StoreId {
    store.parse().unwrap()
}

fn parts(funded: &[(&str, i64)]) -> Vec<FundedPart> {
    funded.iter().map(|&(party, amount_minor)| FundedPart { party: party.parse().unwrap(), amount_minor }).collect()
}

impl Town {
    /// A group with stores S1 to S3, the standard policy, and an agreement of this scheme.
    pub(crate) fn new(scheme: Scheme) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("hub.db"), 2).unwrap();
        let pair = PolicyPair::open_or_make(&folder.path().join("policy.key")).unwrap();
        let phone_key = huitong_protocol::member::PhoneKey::new([7; 32]);
        let sealing = huitong_hub::sealing::SealingPair::new([8; 32]);
        init::init(&store, "G1".parse().unwrap(), Currency::CNY, pair.public_key(), phone_key, sealing).unwrap();
        let options = import::Options::default();
        import::legal_entities::import(&store, b"legal_entity,name\nE1,One\nE2,Two\n", &options).unwrap();
        let stores = b"store,name,legal_entity,time_zone\nS1,One,E1,Asia/Shanghai\nS2,Two,E1,Asia/Shanghai\nS3,Three,E2,Asia/Shanghai\n";
        import::stores::import(&store, stores, &options).unwrap();
        let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/policies");
        let policy = std::fs::read_to_string(file.join("standard.toml")).unwrap();
        publish::publish_policy(&store, pair, &policy, day("2026-01-01"), Instant(DAWN)).unwrap();
        let agreement = std::fs::read_to_string(file.join(format!("agreement-{scheme}.toml"))).unwrap();
        publish::publish_agreements(&store, &agreement, Instant(DAWN)).unwrap();
        let hub = store.read_blocking(root::hub).unwrap();
        Self { folder, store, hub, clock: Arc::new(Hand(AtomicI64::new(DAWN))), cards: 0 }
    }

    pub(crate) fn database(&self) -> std::path::PathBuf {
        self.folder.path().join("hub.db")
    }

    pub(crate) fn clock(&self) -> Arc<dyn Clock> {
        self.clock.clone()
    }

    /// Says a command to the hub and gives its exit code and what it wrote.
    pub(crate) fn say(&self, line: &str) -> (u8, String) {
        let data = self.folder.path().to_str().unwrap();
        let words =
            ["huitong-hub", "--data", data].into_iter().chain(line.split_whitespace()).map(std::ffi::OsString::from);
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let world = World { clock: self.clock.clone(), progress: false };
        let code = world.main(words, &mut out, &mut err);
        (code, String::from_utf8([out, err].concat()).unwrap())
    }

    fn now(&self) -> Instant {
        self.clock.now()
    }

    /// Enrols a store.
    pub(crate) fn shop(&self, store: &str) -> Shop {
        let (store, now) = (id(store), self.now());
        let enrol = move |tx: &mut huitong_hub::store::Tx<'_>| {
            if let Some(before) = tenure::living(tx, store)? {
                huitong_hub::fence::end(tx, store, before, ("hub", "enrolled again"), now)?;
            }
            device::enrol(tx, store, &[7; 32], now)
        };
        let epoch = self.store.write_blocking(enrol).unwrap();
        Shop {
            place: Place { group: self.hub.group, currency: self.hub.currency, store, epoch },
            head: Head::START,
            sent: Head::START,
            unsent: Vec::new(),
            tally: Tally::default(),
            sealed: Seq::ZERO,
            day: None,
            counters: BTreeMap::new(),
        }
    }

    /// Says when a store was last heard.
    pub(crate) fn heard(&self, store: &str, at: &str) {
        let (store, at_ms) = (id(store), at.parse::<jiff::Timestamp>().unwrap().as_millisecond());
        self.store
            .write_blocking(move |tx| {
                tx.execute("UPDATE device SET last_seen_ms = $2 WHERE store_id = $1", &[(&store).into(), at_ms.into()])
            })
            .unwrap();
    }

    /// Makes a card, sold or not.
    pub(crate) fn card(&mut self) -> Card {
        self.cards += 1;
        let range = NumberRange { prefix: "66010".to_owned(), length: 16, check: Default::default() };
        let number: CardNumber = range.make(self.cards).unwrap();
        self.store
            .write_blocking::<_, StoreError, _>(move |tx| {
                let card = Card {
                    number,
                    product: "SV".parse().unwrap(),
                    account: organisation::next_account(tx)?,
                    status: CardStatus::Active,
                    status_stamp: Stamp::ZERO,
                    allocated_store: None,
                    member: None,
                    expires_on: None,
                };
                organisation::write_card(tx, &card)?;
                Ok(card)
            })
            .unwrap()
    }

    fn append(&self, shop: &mut Shop, day: Option<BusinessDay>, body: Body) -> EntryId {
        let now = self.now();
        let header = Header {
            header_version: HEADER_VERSION,
            body_version: BODY_VERSION,
            kind: body.kind().to_owned(),
            group: shop.place.group,
            store: shop.place.store,
            epoch: shop.place.epoch,
            seq: shop.head.seq.next(),
            operation: OperationId(uuid::Uuid::from_u128(u128::from(now.0.unsigned_abs()))),
            stamp: Stamp(now.0),
            at_ms: now,
            offset_minutes: CivilOffset::new(480).unwrap(),
            business_day: day,
            terminal: None,
            terminal_seq: None,
            operator: None,
            approver: None,
            origin: Origin::Edge,
            replica: ReplicaVersions::default(),
        };
        for movement in body.movements() {
            let event = match movement.kind {
                MovementKind::Spend => StoreEvent::Spend { amount_minor: movement.amount_minor },
                _ => StoreEvent::Load { amount_minor: movement.amount_minor },
            };
            let counters = shop.counters.entry(movement.account).or_default();
            *counters = step(counters, event).unwrap();
        }
        let entry = Entry { header, body };
        shop.tally.add(&entry.header, Some(&entry.body)).unwrap();
        let bytes = entry.encode();
        shop.head = shop.head.push(&bytes);
        shop.unsent.push(bytes);
        entry.header.id()
    }

    pub(crate) fn open(&self, shop: &mut Shop, text: &str) {
        shop.day = Some(day(text));
        self.append(
            shop,
            shop.day,
            Body::DayOpen(DayOpen { time_zone: "Asia/Shanghai".to_owned(), currency: Currency::CNY }),
        );
    }

    fn movement(account: AccountId, kind: MovementKind, amount_minor: i64) -> Movement {
        Movement {
            account,
            unit: CNY,
            kind,
            amount_minor,
            of: None,
            origin_store: None,
            shortfall_minor: 0,
            owed_by: None,
        }
    }

    fn load(&self, shop: &mut Shop, card: &Card, amount_minor: i64, kind: MovementKind) {
        let body = CardSale {
            card: card.number,
            account: card.account,
            product: card.product,
            currency: Currency::CNY,
            principal_minor: amount_minor,
            bonus_minor: 0,
            tenders: Vec::new(),
            invoiceable: Vec::new(),
            member: None,
            draft: None,
            movements: vec![Self::movement(card.account, kind, amount_minor)],
        };
        let body = if kind == MovementKind::CardSale { Body::CardSale(body) } else { Body::CardReload(body) };
        self.append(shop, shop.day, body);
    }

    pub(crate) fn sell(&self, shop: &mut Shop, card: &Card, amount_minor: i64) {
        self.load(shop, card, amount_minor, MovementKind::CardSale);
    }

    pub(crate) fn reload(&self, shop: &mut Shop, card: &Card, amount_minor: i64) {
        self.load(shop, card, amount_minor, MovementKind::Reload);
    }

    pub(crate) fn spend(&self, shop: &mut Shop, card: &Card, amount_minor: i64) {
        let movements = vec![Self::movement(card.account, MovementKind::Spend, amount_minor)];
        self.append(shop, shop.day, Self::sale(amount_minor, movements));
    }

    fn sale(total_minor: i64, movements: Vec<Movement>) -> Body {
        Body::Sale(Sale {
            currency: Currency::CNY,
            member: None,
            lines: Vec::new(),
            tenders: Vec::new(),
            total_minor,
            allocation: Vec::new(),
            invoiceable: Vec::new(),
            payment_unknown: None,
            taken_at_ms: None,
            shopper: None,
            coupons: Vec::new(),
            markdowns: Vec::new(),
            policy_version: 1,
            priced_at_ms: huitong_protocol::time::Instant(0),
            priced_offset_minutes: huitong_protocol::time::CivilOffset::new(480).unwrap(),
            budgets_spent: Vec::new(),
            invoiceable_tenders: Vec::new(),
            earned: None,
            deferred: None,
            movements,
        })
    }

    /// Sells goods for nothing but what others bear: a line of one piece with a markdown per funder.
    pub(crate) fn sell_goods(&self, shop: &mut Shop, borne: &[(&str, i64)]) -> EntryId {
        let markdown = |&(funder, amount_minor): &(&str, i64)| Markdown {
            amount_minor,
            reason: "May flyer".to_owned(),
            funder: (!funder.is_empty()).then(|| funder.parse().unwrap()),
        };
        let line = SaleLine {
            sku: "6901".to_owned(),
            name: String::new(),
            category_path: String::new(),
            brand: String::new(),
            counter: None,
            supplier: None,
            clerk: None,
            quantity_thousandths: 1_000,
            list_price_minor: None,
            gross_minor: borne.iter().map(|(_, amount_minor)| amount_minor).sum(),
            markdowns: borne.iter().map(markdown).collect(),
            discounts: Vec::new(),
            net_minor: 0,
            member_price_minor: None,
            known: false,
            tax_code: String::new(),
            tax_ppm: 0,
            flags: Default::default(),
        };
        let Body::Sale(sale) = Self::sale(0, Vec::new()) else { unreachable!() };
        self.append(shop, shop.day, Body::Sale(Sale { lines: vec![line], ..sale }))
    }

    /// Takes goods back, at this store or another than sold them: what goes back to whom.
    pub(crate) fn take_back(&self, shop: &mut Shop, of: EntryId, funded: &[(&str, i64)]) -> EntryId {
        let line = ReturnLine { line: 0, quantity_thousandths: 1_000, amount_minor: 0, funded: parts(funded) };
        let body = Return {
            of,
            reason: "broken".to_owned(),
            currency: Currency::CNY,
            lines: vec![line],
            tenders: Vec::new(),
            refunds: Vec::new(),
            total_minor: 0,
            red_letter: None,
            deferred_points: 0,
            movements: Vec::new(),
        };
        self.append(shop, shop.day, Body::Return(body))
    }

    /// Undoes a sale of goods.
    pub(crate) fn undo(&self, shop: &mut Shop, of: EntryId, funded: &[(&str, i64)]) -> EntryId {
        let body = Void {
            of,
            of_kind: "sale".to_owned(),
            reason: "typed twice".to_owned(),
            currency: Currency::CNY,
            tenders: Vec::new(),
            refunds: Vec::new(),
            red_letter: None,
            funded: parts(funded),
            movements: Vec::new(),
        };
        self.append(shop, shop.day, Body::Void(body))
    }

    fn change(&self, shop: &mut Shop, account: AccountId, event: StoreEvent) {
        let counters = shop.counters.entry(account).or_default();
        *counters = step(counters, event).unwrap();
        let counters = *counters;
        let change = AllotmentChange {
            account,
            unit: CNY,
            adopted_minor: Some(counters.adopted_minor),
            released_minor: Some(counters.released_minor),
        };
        self.append(shop, None, Body::Allotment(Allotment { changes: vec![change] }));
    }

    /// Moves value of an account from where it is to where it is needed: release, report, grant, adopt, report.
    pub(crate) fn carry(&self, from: &mut Shop, to: &mut Shop, card: &Card, amount_minor: i64) {
        self.change(from, card.account, StoreEvent::Release { amount_minor });
        self.report(from);
        let (purse, store, epoch) = (Purse { account: card.account, unit: CNY }, to.place.store, to.place.epoch);
        let granted_minor = self
            .store
            .write_blocking::<_, StoreError, _>(move |tx| {
                let (pool, stamp) = allotment::take_pool(tx, purse)?;
                let line = allotment::line(tx, purse, store, epoch)?.unwrap_or_default();
                let next = step(&HubSide { pool, line }, HubEvent::Grant { amount_minor }).unwrap();
                allotment::put_pool(tx, purse, &next.pool, stamp)?;
                allotment::put_line(tx, purse, store, epoch, &next.line)?;
                Ok(next.line.granted_minor)
            })
            .unwrap();
        self.change(to, card.account, StoreEvent::Adopt { granted_minor });
        self.report(to);
    }

    /// Says what the store's counters are.
    pub(crate) fn report(&self, shop: &Shop) {
        let now = self.now();
        let stamp = Stamp(now.0);
        let counters = shop
            .counters
            .iter()
            .map(|(&account, &counters)| ReportLine { account, unit: CNY, counters, stamp })
            .collect();
        let report = Report {
            epoch: shop.place.epoch,
            head: shop.head,
            end: shop.head,
            since_no: 0,
            through_no: shop.head.seq.0,
            stamp,
            counters,
            cards: Vec::new(),
        };
        let (hub, caller) = (
            self.hub.clone(),
            Caller { store: shop.place.store, epoch: shop.place.epoch, hello: Hash([0; 32]), life: 1, head: Seq::ZERO },
        );
        let taken = self.store.write_blocking(move |tx| report::take(tx, &hub, caller, &report, now)).unwrap();
        assert!(taken.refused.is_empty(), "{:?}", taken.refused);
    }

    pub(crate) fn seal(&self, shop: &mut Shop) {
        self.seal_entries(shop, 0);
    }

    /// Seals with one entry more than there are.
    pub(crate) fn seal_differently(&self, shop: &mut Shop) {
        self.seal_entries(shop, 1);
    }

    fn seal_entries(&self, shop: &mut Shop, more: u64) {
        let mut totals = shop.tally.totals();
        totals.entries += more;
        let seal = Seal { business_day: shop.day.unwrap(), first_seq: shop.sealed.next(), last: shop.head, totals };
        self.append(shop, shop.day, Body::Seal(seal));
        // The next seal begins after this one.
        shop.tally = Tally::default();
        shop.sealed = shop.head.seq;
    }

    /// Sets value aside, and lets it go.
    pub(crate) fn hold_and_release(&self, shop: &mut Shop, card: &Card, amount_minor: i64) {
        let (account, currency, expires_at_ms) = (card.account, Currency::CNY, self.now().plus_ms(900_000));
        let hold = Hold { card: card.number, account, currency, amount_minor, expires_at_ms };
        let of = self.append(shop, shop.day, Body::Hold(hold));
        let placed = Entry::decode(shop.unsent.last().unwrap()).unwrap();
        let (hold, reason, note) = (placed.header.operation, HoldEndReason::Released, String::new());
        self.append(shop, shop.day, Body::HoldEnd(HoldEnd { of, hold, account, currency, amount_minor, reason, note }));
    }

    /// Packs what was not sent yet.
    pub(crate) fn segment(&self, shop: &mut Shop) -> Segment {
        let entries: Vec<_> = shop.unsent.drain(..).map(serde_bytes::ByteBuf::from).collect();
        let packed = to_msgpack(&SegmentEntries(entries));
        let segment = Segment {
            epoch: shop.place.epoch,
            previous: shop.sent,
            last: shop.head,
            raw_bytes: packed.len() as u64,
            entries_zstd: zstd::bulk::compress(&packed, 1).unwrap(),
            heard: HeardEntry::Unsaid,
        };
        shop.sent = shop.head;
        segment
    }

    pub(crate) fn deliver(&self, shop: &Shop, segment: &Segment) {
        let (place, segment, now) = (shop.place, segment.clone(), self.now());
        let unpacked = ingest::unpack(&place, &segment).unwrap();
        let taken = self
            .store
            .write_blocking(move |tx| {
                ingest::take(tx, &place, &segment, &unpacked, &ingest::CountedAhead::default(), now)
            })
            .unwrap();
        assert!(matches!(taken, Taken::Uploaded { .. }), "{taken:?}");
    }

    pub(crate) fn upload(&self, shop: &mut Shop) {
        let segment = self.segment(shop);
        self.deliver(shop, &segment);
    }

    /// Reports, seals and uploads.
    pub(crate) fn close(&self, shop: &mut Shop) {
        self.seal(shop);
        self.report(shop);
        self.upload(shop);
    }

    pub(crate) fn settle(
        &self,
        scheme: Scheme,
        standing: Standing,
        finality: Finality,
        to: Option<&str>,
    ) -> Result<RunReport, SettleError> {
        let request = RunRequest { scheme, standing, finality, day_to: to.map(day) };
        settle::run(&self.store, self.now(), request, &ProgressBar::hidden())
    }

    pub(crate) fn verify(&self) -> verify::Report {
        self.store.read_blocking(verify::run).unwrap()
    }

    /// What verification finds, a line each.
    pub(crate) fn findings(&self) -> Vec<String> {
        let report = self.verify();
        let findings =
            report.checks.iter().flat_map(|check| check.findings.iter().map(move |finding| (check.name, finding)));
        findings
            .map(|(name, finding)| format!("{name}: {} {}: {}", finding.table, finding.row, finding.fault))
            .collect()
    }
}
