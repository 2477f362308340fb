//! Wire vectors: messages and entries as bytes, kept for ever under `protocol/vectors/<version>/`.
//!
//! A journal written today is read in ten years, and a store one version behind is served: so the bytes of each version stay here and are replayed. A
//! failing comparison is a protocol review. After one, `UPDATE_VECTORS=1 cargo test -p huitong-protocol --test vectors` writes new ones.

#![expect(clippy::unwrap_used, reason = "a test that unwraps says what it needs")]

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::fmt::Write as _;
use std::path::PathBuf;

use huitong_protocol::allotment::{Purse, StoreCounters};
use huitong_protocol::bundle::{
    Bundle, KeyAnnouncement, KeyId, PolicyFault, PolicyKey, PolicyState, RefusedPolicy, Signed,
};
use huitong_protocol::card::{Card, CardChange, CardNumber, CardStatus};
use huitong_protocol::decline::{Elsewhere, PlaceState};
use huitong_protocol::entry::{
    Allotment, AllotmentChange, BODY_VERSION, Body, CardSale, CardStatusChange, DayOpen, DeferredEarning, Earned,
    Entry, HEADER_VERSION, Header, Hold, HoldEnd, HoldEndReason, HubPosting, Invoice, Invoiceable, LineFlags, Markdown,
    MemberChangeRequested, MemberEnrolled, Origin, Payment, RedLetter, ReplicaVersions, Return, ReturnLine, Sale,
    SaleLine, TenderLine, UnreferencedReturn, Void,
};
use huitong_protocol::id::{AccountId, EntryId, Epoch, Hash, MemberId, OperationId, Seq};
use huitong_protocol::item::Item;
use huitong_protocol::journal::{Head, Range};
use huitong_protocol::member::{Consent, DraftOutcome, Member, MemberKeys, PersonField, PhoneKey, Sealed, SealingKey};
use huitong_protocol::money::Currency;
use huitong_protocol::movement::{Movement, MovementKind, MovementRef};
use huitong_protocol::organisation::{LegalEntity, Store};
use huitong_protocol::party::Party;
use huitong_protocol::pricing::{Discount, DiscountSource, FundedPart, Shopper};
use huitong_protocol::seal::{ControlTotals, KindTotal, MovementTotal, Seal, TenderTotal};
use huitong_protocol::tenure::{Assured, HeardEntry};
use huitong_protocol::till::TotalBalance;
use huitong_protocol::time::{CivilOffset, Instant, Stamp};
use huitong_protocol::unit::Unit;
use huitong_protocol::wire::{
    Answer, AskParameters, AskParked, Cleared, DatasetKind, DatasetPage, DatasetRequest, DatasetRow, DatasetVersion,
    DayVerdict, Enrol, Enrolled, Grant, GrantAnswer, GrantRequest, Hello, Need, Nothing, ParametersAnswer, Parked,
    Poll, Polled, Proposal, ProposalState, ProposeParameters, Purpose, Quarantined, Recall, Refused, RefusedLine,
    Report, ReportLine, ReportOnly, Request, Segment, SegmentEntries, SyncFault, Uploaded, Welcome, from_msgpack,
    to_msgpack,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

fn text<T: std::str::FromStr>(text: &str) -> T
where
    T::Err: Debug,
{
    text.parse().unwrap()
}

fn card() -> CardNumber {
    CardNumber::new("660100000017").unwrap()
}

fn account() -> AccountId {
    AccountId::new(17).unwrap()
}

fn head() -> Head {
    Head { seq: Seq(88), hash: Hash::of(b"88") }
}

fn entry_id() -> EntryId {
    text("S1-1-87")
}

const CNY: Unit = Unit::Money(Currency::CNY);

fn movement(kind: MovementKind) -> Movement {
    Movement {
        account: account(),
        unit: CNY,
        kind,
        amount_minor: 12_345,
        of: None,
        origin_store: None,
        shortfall_minor: 0,
        owed_by: None,
    }
}

fn undoing(kind: MovementKind) -> Movement {
    Movement { of: Some(MovementRef { entry: entry_id(), index: 1 }), shortfall_minor: 5, ..movement(kind) }
}

fn tender(code: &str) -> TenderLine {
    TenderLine {
        tender: text(code),
        amount_minor: 12_345,
        card: Some(card()),
        reference: Some("4200001".to_owned()),
        hold: None,
    }
}

fn bodies() -> Vec<Body> {
    let load = CardSale {
        card: card(),
        account: account(),
        product: text("SV"),
        currency: Currency::CNY,
        principal_minor: 12_345,
        bonus_minor: 100,
        tenders: vec![tender("cash")],
        invoiceable: vec![Invoiceable { tax_code: Some("601".to_owned()), tax_ppm: 0, invoiceable_minor: 12_345 }],
        member: Some(MemberId::new(7).unwrap()),
        draft: Some(text("01935000-0000-7000-8000-000000000001")),
        movements: vec![movement(MovementKind::CardSale), movement(MovementKind::Bonus)],
    };
    let line = SaleLine {
        sku: "6901234567892".to_owned(),
        name: "乌龙茶".to_owned(),
        category_path: "食品/饮料".to_owned(),
        brand: "汇".to_owned(),
        counter: Some(text("C7")),
        supplier: Some(text("SUP1")),
        clerk: Some(text("K9")),
        quantity_thousandths: 1_500,
        list_price_minor: Some(8_500),
        gross_minor: 12_750,
        markdowns: vec![Markdown {
            amount_minor: 405,
            reason: "near its date".to_owned(),
            funder: Some(Party::Store(text("S1"))),
        }],
        discounts: vec![Discount {
            source: DiscountSource::Promotion { promotion: text("P-1001") },
            amount_minor: 100,
            funders: vec![
                FundedPart { party: Party::Hub, amount_minor: 60 },
                FundedPart { party: Party::Store(text("S1")), amount_minor: 40 },
            ],
            coupon: Some(text("TEA15")),
        }],
        net_minor: 12_245,
        member_price_minor: Some(8_400),
        known: true,
        tax_code: "1030307".to_owned(),
        tax_ppm: 130_000,
        flags: LineFlags { no_points: true, ..LineFlags::default() },
    };
    let totals = ControlTotals {
        entries: 3,
        kinds: vec![KindTotal { kind: "sale".to_owned(), count: 3 }],
        tenders: vec![TenderTotal { tender: text("cash"), count: 1, in_minor: 5, out_minor: 2 }],
        movements: vec![MovementTotal { unit: CNY, kind: MovementKind::Spend, count: 2, amount_minor: 7 }],
    };
    vec![
        Body::CardSale(load.clone()),
        Body::CardReload(CardSale { member: None, draft: None, ..load }),
        Body::CardStatus(CardStatusChange {
            card: card(),
            account: account(),
            status: CardStatus::Frozen,
            reason: "found in the street".to_owned(),
        }),
        Body::Sale(Sale {
            currency: Currency::CNY,
            member: Some(MemberId::new(3).unwrap()),
            shopper: Some(Shopper {
                member: MemberId::new(3).ok(),
                tier: Some(text("gold")),
                segments: vec![text("新客")],
                birthday_month: true,
            }),
            coupons: vec![text("TEA15")],
            markdowns: vec![Markdown { amount_minor: 5, reason: "抹零".to_owned(), funder: Some(Party::Hub) }],
            policy_version: 4,
            priced_at_ms: Instant(1_795_299_900_000),
            priced_offset_minutes: CivilOffset::new(480).unwrap(),
            budgets_spent: vec![text("S1-TEA")],
            invoiceable_tenders: vec![0],
            lines: vec![line],
            tenders: vec![TenderLine {
                hold: Some(text("01935000-0000-7000-8000-000000000002")),
                ..tender("stored_value")
            }],
            total_minor: 12_345,
            allocation: vec![vec![12_345]],
            invoiceable: vec![Invoiceable { tax_code: None, tax_ppm: 130_000, invoiceable_minor: 0 }],
            payment_unknown: Some(0),
            taken_at_ms: None,
            deferred: Some(Box::new(DeferredEarning {
                card: card(),
                base_minor: 9_900,
                points: 99,
                lines: vec![0],
                tenders: vec![0],
            })),
            earned: Some(Earned {
                card: card(),
                account: account(),
                base_minor: 12_245,
                points: 122,
                lines: vec![0],
                tenders: vec![0],
            }),
            movements: vec![movement(MovementKind::Spend)],
        }),
        Body::Void(Void {
            of: entry_id(),
            of_kind: "sale".to_owned(),
            reason: "typed twice".to_owned(),
            currency: Currency::CNY,
            tenders: vec![tender("stored_value")],
            refunds: vec![tender("stored_value")],
            red_letter: None,
            funded: vec![FundedPart { party: Party::Hub, amount_minor: 20 }],
            movements: vec![undoing(MovementKind::SpendVoid)],
        }),
        Body::Return(Return {
            of: entry_id(),
            reason: "broken".to_owned(),
            currency: Currency::CNY,
            lines: vec![ReturnLine {
                line: 0,
                quantity_thousandths: 500,
                amount_minor: 12_345,
                funded: vec![FundedPart { party: Party::Hub, amount_minor: 20 }],
            }],
            tenders: vec![tender("stored_value")],
            refunds: vec![tender("stored_value")],
            total_minor: 12_345,
            red_letter: Some(RedLetter {
                invoice: "04400201".to_owned(),
                invoiceable: vec![Invoiceable { tax_code: None, tax_ppm: 130_000, invoiceable_minor: 12_345 }],
            }),
            deferred_points: 5,
            movements: vec![undoing(MovementKind::SpendReturn)],
        }),
        Body::Payment(Payment {
            of: entry_id(),
            currency: Currency::CNY,
            tender: tender("bank_card"),
            movements: Vec::new(),
        }),
        Body::Invoice(Invoice {
            of: entry_id(),
            number: "04400201".to_owned(),
            currency: Currency::CNY,
            invoiceable: vec![Invoiceable { tax_code: None, tax_ppm: 130_000, invoiceable_minor: 24_690 }],
        }),
        Body::UnreferencedReturn(UnreferencedReturn {
            card: card(),
            account: account(),
            reason: "no receipt".to_owned(),
            currency: Currency::CNY,
            amount_minor: 12_345,
            movements: vec![movement(MovementKind::UnreferencedReturn)],
        }),
        Body::Hold(Hold {
            card: card(),
            account: account(),
            currency: Currency::CNY,
            amount_minor: 12_345,
            expires_at_ms: Instant(1_795_303_500_000),
        }),
        Body::HoldEnd(HoldEnd {
            of: entry_id(),
            hold: text("01935000-0000-7000-8000-000000000002"),
            account: account(),
            currency: Currency::CNY,
            amount_minor: 12_345,
            reason: HoldEndReason::Released,
            note: "changed their mind".to_owned(),
        }),
        Body::MemberEnrolled(MemberEnrolled {
            draft: text("01935000-0000-7000-8000-000000000001"),
            consent: Consent { version: "2026-1".to_owned(), given_at_ms: Instant(1_795_299_900_000) },
            name_masked: "张*".to_owned(),
            phone_masked: "138****5678".to_owned(),
            phone_hash: Some(Hash([4; 32])),
            card: Some(card()),
            sealed: Sealed { key: KeyId::of(&[6; 32]), bytes: vec![1, 2, 3] },
        }),
        Body::MemberChangeRequested(MemberChangeRequested {
            member: MemberId::new(3).unwrap(),
            number: text("8800003"),
            fields: vec![PersonField::Name, PersonField::Phone],
            sealed: Sealed { key: KeyId::of(&[6; 32]), bytes: vec![4, 5, 6] },
        }),
        Body::Allotment(Allotment {
            changes: vec![AllotmentChange {
                account: account(),
                unit: Unit::Points,
                adopted_minor: Some(10),
                released_minor: Some(5),
            }],
        }),
        Body::DayOpen(DayOpen { time_zone: "Asia/Shanghai".to_owned(), currency: Currency::CNY }),
        Body::Seal(Seal { business_day: text("2026-11-22"), first_seq: Seq(1), last: head(), totals }),
        Body::HubPosting(HubPosting {
            reference: "opening.csv".to_owned(),
            movements: vec![Movement { origin_store: Some(text("S2")), ..movement(MovementKind::Opening) }],
        }),
    ]
}

fn entry(body: Body) -> Entry {
    let header = Header {
        header_version: HEADER_VERSION,
        body_version: BODY_VERSION,
        kind: body.kind().to_owned(),
        group: text("HT"),
        store: text("S1"),
        epoch: Epoch(1),
        seq: Seq(88),
        operation: OperationId(uuid::Uuid::from_u128(0x0193_5000_0000_7000_8000_0000_0000_0001)),
        stamp: Stamp(1_795_300_000_001),
        at_ms: Instant(1_795_300_000_000),
        offset_minutes: CivilOffset::new(480).unwrap(),
        business_day: Some(text("2026-11-22")),
        terminal: Some(text("T1")),
        terminal_seq: Some(9),
        operator: Some(text("1001")),
        approver: Some(text("1002")),
        origin: Origin::Edge,
        replica: ReplicaVersions { policy: 4, items: 3, members: 2, cards: 1 },
    };
    Entry { header, body }
}

/// All vectors of a run: name to bytes. Each message is read back before it is kept.
#[derive(Default)]
struct Vectors(BTreeMap<String, Vec<u8>>);

impl Vectors {
    fn add<T: Serialize + DeserializeOwned + PartialEq + Debug>(&mut self, name: &str, message: &T) {
        let bytes = to_msgpack(message);
        assert_eq!(&from_msgpack::<T>(&bytes).unwrap(), message, "{name} reads back");
        if let Ok(kept) = std::fs::read_to_string(path(name)) {
            assert_eq!(
                &from_msgpack::<T>(&unhex(&kept)).unwrap(),
                message,
                "the kept bytes of {name} still say the same"
            );
        }
        assert!(self.0.insert(name.to_owned(), bytes).is_none(), "{name} is there twice");
    }
}

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("vectors/1.0").join(format!("{name}.hex"))
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    for line in bytes.chunks(40) {
        line.iter().for_each(|byte| write!(text, "{byte:02x}").unwrap());
        text.push('\n');
    }
    text
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: String = text.split_whitespace().collect();
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}

fn counters() -> StoreCounters {
    StoreCounters { adopted_minor: 50, loaded_minor: 100, spent_minor: 30, released_minor: 20 }
}

fn report() -> Report {
    Report {
        epoch: Epoch(1),
        head: head(),
        end: head(),
        since_no: 41,
        through_no: 43,
        stamp: Stamp(9),
        counters: vec![ReportLine { account: account(), unit: CNY, counters: counters(), stamp: Stamp(8) }],
        cards: vec![CardChange { number: card(), status: CardStatus::Active, stamp: Stamp(7) }],
    }
}

fn policy_state() -> PolicyState {
    let refused = RefusedPolicy::new(5, PolicyFault::PolicySignature, "the signature is not of key 00");
    PolicyState { held: 4, in_force: 3, refused: vec![refused] }
}

fn request<T>(body: T) -> Request<T> {
    Request { report: Some(report()), policy: Some(policy_state()), body }
}

fn answer<T>(body: T) -> Answer<T> {
    Answer {
        server_time_ms: Instant(10),
        grants: vec![Grant { account: account(), unit: CNY, granted_minor: 50, stamp: Stamp(6) }],
        refused: vec![RefusedLine {
            account: account(),
            unit: CNY,
            reason: "a reported counter went backwards".to_owned(),
        }],
        untold: false,
        body,
    }
}

fn sync_messages(vectors: &mut Vectors) {
    let store = Store {
        id: text("S1"),
        name: "一店".to_owned(),
        legal_entity: text("E1"),
        time_zone: "Asia/Shanghai".to_owned(),
        currency: Currency::CNY,
        rollover_hour: 4,
        opened_on: Some(text("2020-01-01")),
        closed_on: None,
    };
    let entity = LegalEntity {
        id: text("E1"),
        name: "汇通商贸有限公司".to_owned(),
        register_number: "91310000X".to_owned(),
        taxpayer_kind: "一般纳税人".to_owned(),
        bank_account: "6222".to_owned(),
    };
    let item = Item {
        sku: "A-1".to_owned(),
        barcodes: vec!["6901234567892".to_owned()],
        name: "青岛啤酒".to_owned(),
        category_path: "食品/饮料".to_owned(),
        brand: "青岛".to_owned(),
        counter: Some(text("C1")),
        supplier: Some(text("V1")),
        legal_entity: Some(text("E1")),
        tax_code: "1030301".to_owned(),
        tax_ppm: 130_000,
        list_price_minor: Some(600),
        member_price_minor: Some(550),
        flags: LineFlags { no_points: true, ..LineFlags::default() },
        active: true,
    };
    let member = Member {
        id: MemberId::new(3).unwrap(),
        number: text("M3"),
        name: "王小明".to_owned(),
        pinyin: Vec::new(),
        tier: Some(text("gold")),
        tier_valid_from: None,
        tier_valid_to: None,
        birthday: None,
        segments: Vec::new(),
        phone_hash: None,
        phone_masked: String::new(),
        active: true,
    };
    let known_well = Member {
        pinyin: vec!["wang xiao ming".to_owned()],
        tier_valid_from: Some(text("2026-01-01")),
        tier_valid_to: Some(text("2026-12-31")),
        birthday: Some(text("05-17")),
        segments: vec![text("新客")],
        phone_hash: Some(Hash::of(b"phone")),
        phone_masked: "138****5678".to_owned(),
        ..member.clone()
    };
    let card_row = Card {
        number: card(),
        product: text("SV"),
        account: account(),
        status: CardStatus::Blank,
        status_stamp: Stamp(1),
        allocated_store: Some(text("S1")),
        member: Some(MemberId::new(3).unwrap()),
        expires_on: Some(text("2029-12-31")),
    };
    let policy_key = PolicyKey { from_version: 1, public_key: vec![8; 32] };
    let bundle = Bundle::new(text("HT"), 4, text("2026-11-22"), policy_key.id(), "name = \"x\"\n".to_owned());
    let policy = Signed { bytes: bundle.encode(), signature: vec![1, 2, 3] };
    let new = PolicyKey { from_version: 5, public_key: vec![9; 32] };
    let announcement = KeyAnnouncement::new(text("HT"), policy_key.id(), new).encode();
    let announcement = Signed { bytes: announcement, signature: vec![4, 5, 6] };
    let need = Need { card: card(), unit: CNY, missing_minor: 20, purpose: Purpose::Spend };
    let elsewhere = Elsewhere {
        card: card(),
        store: text("S2"),
        held_minor: 30,
        last_seen_ms: Instant(5),
        state: PlaceState::Silent,
    };
    let total = TotalBalance { unit: CNY, balance_minor: 100, elsewhere: vec![elsewhere], as_of_ms: Instant(10) };
    let versions = vec![DatasetVersion { dataset: DatasetKind::Cards, version: 12 }];
    vectors.add("enrol", &Enrol { protocol: (1, 0), token: "t".to_owned(), public_key: vec![7; 32] });
    vectors.add(
        "enrolled",
        &Enrolled {
            group: text("HT"),
            store: store.clone(),
            epoch: Epoch(1),
            policy_keys: vec![policy_key],
            member_keys: MemberKeys { phone: PhoneKey::new([9; 32]), sealing: SealingKey::new([6; 32]) },
        },
    );
    vectors.add(
        "hello",
        &Hello {
            protocol: (1, 0),
            group: text("HT"),
            store: text("S1"),
            epoch: Epoch(1),
            head: head(),
            turn: 3,
            turn_nonce: 77,
            life: 1,
            assured: Assured { journal: head(), reported: head() },
        },
    );
    vectors.add(
        "welcome",
        &Welcome {
            session: "s".to_owned(),
            hub_incarnation: 1,
            server_time_ms: Instant(10),
            journal_head: head(),
            turn: 4,
            heard: head(),
            tells_all: false,
            recovers: false,
            datasets: versions.clone(),
        },
    );
    vectors.add("report_request", &request(ReportOnly {}));
    vectors.add("report_answer", &Answer { untold: true, ..answer(Nothing {}) });
    vectors.add("grant_request", &request(GrantRequest { needs: vec![need], totals: true }));
    vectors.add(
        "grant_answer",
        &answer(GrantAnswer {
            cards: vec![card_row.clone()],
            elsewhere: vec![elsewhere],
            totals: vec![total],
            is_closed: false,
        }),
    );
    vectors.add("poll_request", &request(Poll { wait_ms: 25_000, recalls_through: 3, cards_version: 12 }));
    vectors.add(
        "poll_answer",
        &answer(Polled {
            recalls: vec![Recall { account: account(), unit: CNY }],
            recalls_through: 4,
            recovers: false,
            datasets: versions,
        }),
    );
    vectors.add("parked_request", &request(AskParked { purses: vec![Purse { account: account(), unit: CNY }] }));
    let parked = Parked { account: account(), unit: CNY, target_minor: Some(4_550) };
    let withdrawn = Parked { target_minor: None, ..parked };
    vectors.add(
        "parking_page",
        &answer(DatasetPage {
            dataset: DatasetKind::Parking,
            through_version: 7,
            more: false,
            recovers: false,
            rows: vec![DatasetRow::Parked(parked), DatasetRow::Parked(withdrawn)],
            phone_key: None,
        }),
    );
    let cleared = Cleared { account: account(), unit: CNY, cleared_minor: 1_250 };
    vectors.add(
        "overdrafts_page",
        &answer(DatasetPage {
            dataset: DatasetKind::Overdrafts,
            through_version: 3,
            more: false,
            recovers: false,
            rows: vec![DatasetRow::Cleared(cleared)],
            phone_key: None,
        }),
    );
    let propose = ProposeParameters { by: "wang".to_owned(), document: "no_points_skus = [\"1\"]\n".to_owned() };
    vectors.add("parameters_request", &request(AskParameters { propose: Some(propose) }));
    vectors.add(
        "parameters_answer",
        &answer(ParametersAnswer {
            taken: Some(3),
            faults: vec!["points: is set".to_owned()],
            proposals: vec![Proposal {
                number: 3,
                store: text("S1"),
                state: ProposalState::Approved,
                proposed_by: "wang@S1".to_owned(),
                proposed_at_ms: Instant(8),
                decided_by: Some("li".to_owned()),
                decided_at_ms: Some(Instant(9)),
                note: "fine".to_owned(),
                published_version: Some(4),
            }],
        }),
    );
    vectors.add(
        "upload_request",
        &request(Segment {
            epoch: Epoch(1),
            previous: Head::START,
            last: head(),
            raw_bytes: 5,
            entries_zstd: vec![1, 2],
            heard: HeardEntry::Contained(head()),
        }),
    );
    vectors.add(
        "upload_answer",
        &answer(Uploaded {
            journal_head: head(),
            missing: Some(Range { first: Seq(89), last: Seq(90) }),
            quarantined: vec![Quarantined { seq: Seq(5), reason: "unknown kind".to_owned() }],
            days: vec![DayVerdict {
                business_day: text("2026-11-22"),
                seal_seq: Seq(88),
                differences: vec!["entries: sealed 3, counted 2".to_owned()],
            }],
            heard: Some(head()),
        }),
    );
    vectors.add(
        "segment_entries",
        &SegmentEntries(vec![serde_bytes::ByteBuf::from(vec![1, 2]), serde_bytes::ByteBuf::from(vec![3])]),
    );
    vectors.add(
        "dataset_request",
        &request(DatasetRequest { dataset: DatasetKind::Cards, after_version: 11, limit: 5_000 }),
    );
    let rows = vec![
        DatasetRow::LegalEntity(entity),
        DatasetRow::Store(store),
        DatasetRow::Member(member),
        DatasetRow::Card(card_row),
        DatasetRow::Policy(policy),
        DatasetRow::PolicyKey(announcement),
        DatasetRow::MemberDraft(DraftOutcome {
            draft: text("01935000-0000-7000-8000-000000000001"),
            member: MemberId::new(3).ok(),
        }),
    ];
    vectors.add(
        "dataset_answer",
        &answer(DatasetPage {
            dataset: DatasetKind::Cards,
            through_version: 12,
            more: false,
            recovers: false,
            rows,
            phone_key: None,
        }),
    );
    vectors.add(
        "dataset_answer_items",
        &answer(DatasetPage {
            dataset: DatasetKind::Items,
            through_version: 7,
            more: true,
            recovers: false,
            rows: vec![DatasetRow::Item(item)],
            phone_key: None,
        }),
    );
    vectors.add(
        "dataset_answer_members",
        &answer(DatasetPage {
            dataset: DatasetKind::Members,
            through_version: 3,
            more: false,
            recovers: false,
            rows: vec![DatasetRow::Member(known_well)],
            phone_key: Some(PhoneKey::new([9; 32])),
        }),
    );
    vectors.add("refused", &Refused { fault: SyncFault::Replayed, message: "the nonce was used before".to_owned() });
}

#[test]
fn the_bytes_of_every_message_and_entry_stay_what_they_were() {
    let mut vectors = Vectors::default();
    sync_messages(&mut vectors);
    for body in bodies() {
        let (name, entry) = (format!("entry_{}", body.kind()), entry(body));
        let bytes = entry.encode();
        assert_eq!(Entry::decode(&bytes).unwrap(), entry, "{name} reads back");
        if let Ok(kept) = std::fs::read_to_string(path(&name)) {
            assert_eq!(Entry::decode(&unhex(&kept)).unwrap(), entry, "the kept bytes of {name} still say the same");
        }
        vectors.0.insert(name, bytes);
    }
    assert_eq!(Body::KINDS.len(), bodies().len(), "every kind of entry has its vector");
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("vectors/1.0");
    if std::env::var_os("UPDATE_VECTORS").is_some() {
        vectors.0.iter().for_each(|(name, bytes)| std::fs::write(path(name), hex(bytes)).unwrap());
    }
    for (name, bytes) in &vectors.0 {
        let kept = std::fs::read_to_string(path(name))
            .unwrap_or_else(|_| panic!("{name} has no vector; see the head of this file"));
        assert_eq!(kept, hex(bytes), "the bytes of {name} changed: a protocol review");
    }
    let kept = std::fs::read_dir(folder).unwrap().count();
    assert_eq!(kept, vectors.0.len(), "a vector whose message is gone: old bytes must stay readable");
}

#[test]
fn an_entry_of_another_time_is_kept_and_its_header_read() {
    let known = entry(bodies().remove(0)).encode();
    let mut value: BTreeMap<String, rmpv_lite::Value> = from_msgpack(&known).unwrap();
    let rmpv_lite::Value::Map(header) = value.get_mut("header").unwrap() else { panic!("a header") };
    header.insert("kind".to_owned(), rmpv_lite::Value::Text("hologram".to_owned()));
    header.insert("new_field".to_owned(), rmpv_lite::Value::Text("of tomorrow".to_owned()));
    let bytes = to_msgpack(&value);
    let view = huitong_protocol::entry::EntryView::decode(&bytes).unwrap();
    assert_eq!(view.header.seq, Seq(88));
    assert_eq!(view.body().unwrap_err().to_string(), "unknown kind hologram in version 1");
}

#[test]
fn malformed_bytes_name_the_field() {
    let check = |bytes: &[u8], says: &str| {
        let error = from_msgpack::<Request<Poll>>(bytes).unwrap_err();
        assert!(error.contains(says), "{error}");
    };
    let poll = Poll { wait_ms: 1, recalls_through: 0, cards_version: 0 };
    let good = to_msgpack(&Request { report: None, policy: None, body: poll });
    check(&good[..good.len() - 1], "body.cards_version");
    check(&[&good[..], &[0xc0]].concat(), "1 bytes follow");
    check(&[], "body");
    // The same key twice.
    let twice = [&[0x82, 0xa4][..], b"body", &good[6..], &[0xa4], b"body", &good[6..]].concat();
    check(&twice, "duplicate field `body`");
    // A negative number where none may be, and one that does not fit.
    let nested = |value: &[u8]| {
        [&[0x81, 0xa4][..], b"body", &[0x82, 0xa7], b"wait_ms", value, &[0xaf], b"recalls_through", &[0]].concat()
    };
    check(&nested(&[0xff]), "body.wait_ms");
    check(&nested(&[0xcb, 0x3f, 0xf0, 0, 0, 0, 0, 0, 0]), "body.wait_ms");
    // Nesting that would exhaust a stack.
    check(&[0x91; 5_000], "");
}

/// Just enough of a dynamic value to change a header.
mod rmpv_lite {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Serialize};

    #[derive(Serialize, Deserialize)]
    #[serde(untagged)]
    pub(super) enum Value {
        Map(BTreeMap<String, Value>),
        Text(String),
        Integer(i64),
        Bytes(serde_bytes::ByteBuf),
        None(()),
    }
}
