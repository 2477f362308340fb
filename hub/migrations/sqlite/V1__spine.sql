-- The spine of money at the hub, for SQLite (INTEGER here is BIGINT on PostgreSQL). Money in minor units, time in epoch milliseconds, enums as TEXT with CHECK.
-- The journal is the truth; movement, funding, balances, positions and runs are projections of it.

CREATE TABLE hub (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    group_id TEXT NOT NULL,
    currency TEXT NOT NULL,
    incarnation INTEGER NOT NULL,
    -- When that life began; 0 of the first.
    life_began_ms INTEGER NOT NULL DEFAULT 0,
    next_account INTEGER NOT NULL,
    next_member INTEGER NOT NULL,
    next_ingested_no INTEGER NOT NULL,
    next_run INTEGER NOT NULL,
    next_exception INTEGER NOT NULL,
    -- Entries up to this one were reviewed.
    reviewed_no INTEGER NOT NULL,
    -- When a store first proved that this database is older than it was; nothing is granted or paid back then until another life begins.
    must_recover_ms INTEGER,
    -- Which epoch did.
    must_recover_store TEXT,
    must_recover_epoch INTEGER,
    -- When what a restored backup would have forgotten was last written down outside the database.
    remembered_at_ms INTEGER,
    CHECK ((must_recover_store IS NOT NULL) = (must_recover_ms IS NOT NULL)),
    CHECK ((must_recover_epoch IS NOT NULL) = (must_recover_ms IS NOT NULL))
) STRICT;

CREATE TABLE dataset (
    name TEXT PRIMARY KEY,
    version INTEGER NOT NULL,
    -- Of cards: the version of the last that was stopped or given free again, which stores are told of at once.
    urgent_version INTEGER NOT NULL DEFAULT 0
) STRICT;
INSERT INTO dataset (name, version) VALUES ('policies', 0), ('legal_entities', 0), ('stores', 0), ('items', 0), ('members', 0), ('cards', 0),
    ('member_drafts', 0), ('parking', 0), ('overdrafts', 0);

CREATE TABLE legal_entity (
    legal_entity_id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    register_number TEXT NOT NULL,
    taxpayer_kind TEXT NOT NULL,
    bank_account TEXT NOT NULL,
    version INTEGER NOT NULL
) STRICT;
CREATE INDEX legal_entity_by_version ON legal_entity (version);

CREATE TABLE store (
    store_id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    legal_entity_id TEXT NOT NULL REFERENCES legal_entity (legal_entity_id),
    time_zone TEXT NOT NULL,
    currency TEXT NOT NULL,
    rollover_hour INTEGER NOT NULL,
    opened_on TEXT,
    closed_on TEXT,
    version INTEGER NOT NULL
) STRICT;
CREATE INDEX store_by_version ON store (version);

CREATE TABLE item (
    sku TEXT PRIMARY KEY,
    -- Separated by spaces, which no code has.
    barcodes TEXT NOT NULL,
    name TEXT NOT NULL,
    category_path TEXT NOT NULL,
    brand TEXT NOT NULL,
    counter TEXT,
    supplier TEXT,
    legal_entity_id TEXT REFERENCES legal_entity (legal_entity_id),
    tax_code TEXT NOT NULL,
    tax_ppm INTEGER NOT NULL,
    list_price_minor INTEGER,
    member_price_minor INTEGER,
    no_discount INTEGER NOT NULL CHECK (no_discount IN (0, 1)),
    no_points INTEGER NOT NULL CHECK (no_points IN (0, 1)),
    no_coupon INTEGER NOT NULL CHECK (no_coupon IN (0, 1)),
    no_stored_value INTEGER NOT NULL CHECK (no_stored_value IN (0, 1)),
    active INTEGER NOT NULL CHECK (active IN (0, 1)),
    version INTEGER NOT NULL
) STRICT;
CREATE INDEX item_by_version ON item (version);

-- The barcodes of item, to be found. Unique over the group, which the import proves when it has written all its lines.
CREATE TABLE item_barcode (
    barcode TEXT NOT NULL,
    sku TEXT NOT NULL REFERENCES item (sku),
    PRIMARY KEY (barcode, sku)
) STRICT, WITHOUT ROWID;
CREATE INDEX item_barcode_by_sku ON item_barcode (sku);

CREATE TABLE member (
    member_id INTEGER PRIMARY KEY,
    number TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    -- How the name is read, separated by semicolons; made from the name.
    pinyin TEXT NOT NULL,
    tier TEXT NOT NULL,
    tier_valid_from TEXT,
    tier_valid_to TEXT,
    birthday TEXT,
    -- Separated by semicolons, which no segment has.
    segments TEXT NOT NULL,
    phone TEXT,
    -- Both made from the phone.
    phone_hash BLOB,
    phone_masked TEXT NOT NULL,
    active INTEGER NOT NULL CHECK (active IN (0, 1)),
    version INTEGER NOT NULL
) STRICT;
CREATE INDEX member_by_version ON member (version);
CREATE INDEX member_by_phone ON member (phone_hash) WHERE phone_hash IS NOT NULL;

-- The words under which a member is found, made from the row of member. Ordered by bytes.
CREATE TABLE member_word (
    word TEXT NOT NULL,
    member_id INTEGER NOT NULL REFERENCES member (member_id),
    PRIMARY KEY (word, member_id)
) STRICT, WITHOUT ROWID;

-- The key of the phone hashes. Stores get it with the members; it is in no log and in no output.
CREATE TABLE phone_key (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    bytes BLOB NOT NULL
) STRICT;

-- The pair to which stores seal members' forms. The secret half is in no log and in no output.
CREATE TABLE sealing_key (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    secret BLOB NOT NULL
) STRICT;

-- What stores ask head office about members: enrolments and changes, in the order in which they came. The form stays sealed.
CREATE TABLE member_request (
    -- The ingested_no of its entry.
    request_no INTEGER PRIMARY KEY,
    kind TEXT NOT NULL CHECK (kind IN ('enrolment', 'change')),
    store_id TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    asked_at_ms INTEGER NOT NULL,
    -- Of an enrolment.
    draft BLOB UNIQUE,
    name_masked TEXT NOT NULL,
    phone_masked TEXT NOT NULL,
    card TEXT,
    consent_version TEXT NOT NULL,
    consent_at_ms INTEGER,
    -- Of a change: fields separated by semicolons.
    fields TEXT NOT NULL,
    -- Whom a change is of; whom an enrolment has become, or should be merged into.
    member_id INTEGER,
    sealed_key TEXT NOT NULL,
    sealed BLOB NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('waiting', 'reviewed', 'accepted', 'refused')),
    reviewed_by TEXT,
    reviewed_at_ms INTEGER,
    reviewed_note TEXT,
    decided_by TEXT,
    decided_at_ms INTEGER,
    decided_note TEXT,
    -- In the dataset of drafts, once an enrolment is decided.
    version INTEGER,
    CHECK ((kind = 'enrolment') = (draft IS NOT NULL)),
    CHECK ((state = 'reviewed') <= (reviewed_by IS NOT NULL)),
    CHECK ((state IN ('accepted', 'refused')) = (decided_by IS NOT NULL))
) STRICT;
CREATE INDEX member_request_open ON member_request (request_no) WHERE state IN ('waiting', 'reviewed');
CREATE INDEX member_request_by_card ON member_request (card) WHERE card IS NOT NULL;
CREATE INDEX member_request_by_version ON member_request (version) WHERE version IS NOT NULL;

-- Documents that members showed. Stores never get them.
CREATE TABLE member_document (
    member_id INTEGER PRIMARY KEY REFERENCES member (member_id),
    kind TEXT NOT NULL,
    number TEXT NOT NULL
) STRICT;

CREATE TABLE card (
    number TEXT PRIMARY KEY,
    product TEXT NOT NULL,
    account_id INTEGER NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('blank', 'active', 'frozen', 'lost', 'replaced', 'refunded', 'destroyed', 'withdrawn')),
    status_stamp INTEGER NOT NULL,
    -- The largest stamp of a freeze or loss that was taken: an older one says nothing new.
    stop_stamp INTEGER NOT NULL DEFAULT 0,
    -- The version with which a card that is frozen or lost became so: a store that has it knows.
    stop_version INTEGER,
    -- Of a card that a store has sold: the stamp of that sale, by what was reported, or an earlier one. Null while nobody has it, and when it came in use at
    -- head office.
    sold_stamp INTEGER,
    allocated_store TEXT REFERENCES store (store_id),
    member_id INTEGER REFERENCES member (member_id),
    expires_on TEXT,
    version INTEGER NOT NULL,
    CHECK ((stop_version IS NOT NULL) = (status IN ('frozen', 'lost')))
) STRICT;
CREATE INDEX card_by_version ON card (version);
CREATE INDEX card_stopped ON card (stop_version) WHERE stop_version IS NOT NULL;
CREATE INDEX card_by_account ON card (account_id);
CREATE INDEX card_by_member ON card (member_id, number) WHERE member_id IS NOT NULL;
CREATE INDEX card_withdrawn ON card (number) WHERE status = 'withdrawn';
CREATE INDEX card_by_last_four ON card (substr(number, length(number) - 3)) WHERE member_id IS NOT NULL;

-- The bundle is the byte string that the signature covers; effective_from is read from it.
CREATE TABLE policy (
    version INTEGER PRIMARY KEY,
    effective_from TEXT NOT NULL,
    bundle BLOB NOT NULL,
    signature BLOB NOT NULL,
    published_at_ms INTEGER NOT NULL
) STRICT;

-- Public halves only. A key signs from its version to the next key's; all but the first are announced by the one before.
CREATE TABLE policy_key (
    from_version INTEGER PRIMARY KEY,
    public_key BLOB NOT NULL,
    announcement BLOB,
    signature BLOB
) STRICT;

-- What each store says of its policies.
CREATE TABLE policy_state (
    store_id TEXT PRIMARY KEY REFERENCES store (store_id),
    epoch INTEGER NOT NULL,
    held INTEGER NOT NULL,
    in_force INTEGER NOT NULL,
    held_since_ms INTEGER NOT NULL,
    in_force_since_ms INTEGER NOT NULL,
    stated_at_ms INTEGER NOT NULL
) STRICT;

CREATE TABLE policy_refused (
    store_id TEXT NOT NULL REFERENCES store (store_id),
    position INTEGER NOT NULL,
    version INTEGER NOT NULL,
    fault TEXT NOT NULL,
    detail TEXT NOT NULL,
    PRIMARY KEY (store_id, position)
) STRICT;

-- The policy of each store's last sale. A projection of the entries.
CREATE TABLE policy_used (
    store_id TEXT PRIMARY KEY,
    epoch INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    version INTEGER NOT NULL,
    since_ms INTEGER NOT NULL,
    at_ms INTEGER NOT NULL
) STRICT;

-- What stores would set for themselves, all of it each time. The newest that was approved holds, from the policy that it was published with.
CREATE TABLE parameter_proposal (
    proposal_no INTEGER PRIMARY KEY,
    store_id TEXT NOT NULL REFERENCES store (store_id),
    document TEXT NOT NULL,
    proposed_by TEXT NOT NULL,
    proposed_at_ms INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('proposed', 'approved', 'refused', 'superseded')),
    decided_by TEXT,
    decided_at_ms INTEGER CHECK ((decided_at_ms IS NULL) = (decided_by IS NULL)),
    note TEXT NOT NULL,
    published_version INTEGER
) STRICT;
CREATE INDEX parameter_proposal_by_store ON parameter_proposal (store_id, proposal_no);

CREATE TABLE agreement (
    effective_from TEXT PRIMARY KEY,
    document TEXT NOT NULL,
    published_at_ms INTEGER NOT NULL
) STRICT;

-- Enrolment: a one-time token becomes a device with a key.
CREATE TABLE enrolment_token (
    token_hash BLOB PRIMARY KEY,
    store_id TEXT NOT NULL REFERENCES store (store_id),
    created_at_ms INTEGER NOT NULL,
    expires_at_ms INTEGER NOT NULL,
    used_at_ms INTEGER,
    -- The store's epoch when the token was made, 0 before the first: once there is another, it enrols nobody.
    after_epoch INTEGER NOT NULL
) STRICT;

-- Every epoch that was ever minted: the key it speaks with, whether it is lived, how far it was heard, and whose turn it is to speak.
CREATE TABLE tenure (
    store_id TEXT NOT NULL REFERENCES store (store_id),
    epoch INTEGER NOT NULL,
    public_key BLOB NOT NULL,
    minted_at_ms INTEGER NOT NULL,
    standing TEXT NOT NULL CHECK (standing IN ('living', 'fenced')),
    -- The end of its journal as a report named it last; it only rises.
    heard_seq INTEGER NOT NULL,
    heard_hash BLOB NOT NULL,
    -- The turn that was given last, also within the ratchet.
    turn INTEGER NOT NULL,
    ratchet BLOB NOT NULL,
    -- The life of the hub to which it told all its counters. The hub waits for a living epoch that told them to an earlier one only.
    told_life INTEGER NOT NULL,
    -- The hello whose session is heard: the hash of its signature.
    hello BLOB NOT NULL DEFAULT (zeroblob(32)) CHECK (length(hello) = 32),
    -- While it is waited for: up to which change it has told its counters in that session, without gap from the beginning and without a refusal.
    telling_through_no INTEGER NOT NULL DEFAULT 0,
    -- What of that was refused last, in words: until it is told without a refusal the hub waits.
    telling_refused TEXT NOT NULL DEFAULT '',
    -- Where its journal ended when it had told a restored hub everything: until the hub holds so much again, it gives nothing back of what it collected.
    reread_seq INTEGER NOT NULL DEFAULT 0,
    -- It has everything of the cards up to this version, as it said last.
    cards_version INTEGER NOT NULL DEFAULT 0,
    -- How far its journal had come by then.
    cards_seq INTEGER NOT NULL DEFAULT 0,
    -- An earlier word of the same, until the journal that is held reaches it.
    awaited_version INTEGER NOT NULL DEFAULT 0,
    awaited_seq INTEGER NOT NULL DEFAULT 0,
    -- What it did before it had the cards up to this version stood in the journal that was held when it said so last.
    accounted_version INTEGER NOT NULL DEFAULT 0,
    fenced_by TEXT,
    fenced_at_ms INTEGER,
    fence_note TEXT NOT NULL DEFAULT '',
    -- When it ended: the last entry up to which reports had told everything. What its journal says of cards after it nobody was told.
    told_seq INTEGER NOT NULL DEFAULT 0,
    -- It ended while the hub waited for it, or was older than it had been: it may hold grants that the hub has forgotten.
    is_unheard INTEGER NOT NULL DEFAULT 0 CHECK (is_unheard IN (0, 1)),
    PRIMARY KEY (store_id, epoch),
    CHECK ((fenced_by IS NOT NULL) = (standing = 'fenced')),
    CHECK ((fenced_at_ms IS NOT NULL) = (standing = 'fenced'))
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX tenure_living ON tenure (store_id) WHERE standing = 'living';
CREATE INDEX tenure_told ON tenure (told_life) WHERE standing = 'living';

CREATE TABLE device (
    store_id TEXT PRIMARY KEY REFERENCES store (store_id),
    epoch INTEGER NOT NULL,
    public_key BLOB NOT NULL,
    enrolled_at_ms INTEGER NOT NULL,
    last_seen_ms INTEGER,
    -- The furthest journal position of a report, and whether nothing was reported since that belongs to a later one.
    reported_seq INTEGER NOT NULL DEFAULT 0,
    reported_whole INTEGER NOT NULL DEFAULT 0 CHECK (reported_whole IN (0, 1))
) STRICT;

-- Stored value. One line per purse, store and epoch; the pool is the sum that grants are checked against.
CREATE TABLE pool (
    account_id INTEGER NOT NULL,
    unit TEXT NOT NULL,
    loaded_minor INTEGER NOT NULL,
    spent_minor INTEGER NOT NULL,
    granted_minor INTEGER NOT NULL,
    released_minor INTEGER NOT NULL,
    stamp INTEGER NOT NULL,
    PRIMARY KEY (account_id, unit)
) STRICT;

CREATE TABLE allotment (
    account_id INTEGER NOT NULL,
    unit TEXT NOT NULL,
    store_id TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    granted_minor INTEGER NOT NULL,
    adopted_minor INTEGER NOT NULL,
    loaded_minor INTEGER NOT NULL,
    spent_minor INTEGER NOT NULL,
    released_minor INTEGER NOT NULL,
    PRIMARY KEY (account_id, unit, store_id, epoch)
) STRICT;
-- What an ended epoch held is looked at whole: when its journal comes, and when people decide about it.
CREATE INDEX allotment_by_epoch ON allotment (store_id, epoch, account_id, unit);

-- Grants that the hub had forgotten after a restore, and that a store was believed to have had.
CREATE TABLE believed (
    store_id TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    account_id INTEGER NOT NULL,
    unit TEXT NOT NULL,
    granted_minor INTEGER NOT NULL CHECK (granted_minor > 0),
    PRIMARY KEY (store_id, epoch, account_id, unit)
) STRICT, WITHOUT ROWID;

-- What finance paid back for lines of epochs that ended, and what receipts prove that the line does not know yet. What still waits follows: what the line
-- holds, with what receipts loaded, less what they spent, less what was paid back.
CREATE TABLE suspense (
    store_id TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    account_id INTEGER NOT NULL,
    unit TEXT NOT NULL,
    repaid_minor INTEGER NOT NULL CHECK (repaid_minor >= 0),
    -- Σ of the receipts that count: the journal does not have their entries.
    receipt_loaded_minor INTEGER NOT NULL CHECK (receipt_loaded_minor >= 0),
    receipt_spent_minor INTEGER NOT NULL CHECK (receipt_spent_minor >= 0),
    PRIMARY KEY (store_id, epoch, account_id, unit)
) STRICT, WITHOUT ROWID;

-- Files of receipts: one person brings one, a second one says that it counts.
CREATE TABLE receipt_file (
    file_no INTEGER PRIMARY KEY,
    store_id TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    -- Over its receipts in their own order; and over what they would change, as the first person was shown it. A second person who finds other things asks anew.
    rows_hash BLOB NOT NULL CHECK (length(rows_hash) = 32),
    effect_hash BLOB NOT NULL CHECK (length(effect_hash) = 32),
    asked_by TEXT NOT NULL,
    asked_at_ms INTEGER NOT NULL,
    asked_note TEXT NOT NULL,
    applied_by TEXT,
    applied_at_ms INTEGER CHECK ((applied_at_ms IS NULL) = (applied_by IS NULL)),
    applied_note TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE UNIQUE INDEX receipt_file_open ON receipt_file (store_id, epoch, rows_hash) WHERE applied_by IS NULL;

-- What single receipts prove of an epoch that ended: they count until its journal has their entry.
CREATE TABLE receipt (
    store_id TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    account_id INTEGER NOT NULL,
    unit TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('spend', 'load', 'refund')),
    amount_minor INTEGER NOT NULL CHECK (amount_minor > 0),
    at_ms INTEGER NOT NULL,
    file_no INTEGER NOT NULL REFERENCES receipt_file (file_no),
    -- When the journal came as far, and whether it says the same.
    superseded_at_ms INTEGER,
    agrees INTEGER CHECK (agrees IN (0, 1)),
    PRIMARY KEY (store_id, epoch, seq, account_id, unit),
    CHECK ((agrees IS NULL) = (superseded_at_ms IS NULL))
) STRICT, WITHOUT ROWID;
CREATE INDEX receipt_that_counts ON receipt (store_id, epoch, seq) WHERE superseded_at_ms IS NULL;

-- Repayments: one person asks, a second one pays.
CREATE TABLE suspense_repayment (
    repayment_no INTEGER PRIMARY KEY,
    store_id TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    -- 0 for every account.
    account_id INTEGER NOT NULL,
    -- What waited when it was asked for: all lines together, money and points counted alike.
    asked_minor INTEGER NOT NULL,
    -- Over every line that waited then: account, unit and amount. A second person who finds others asks anew.
    asked_hash BLOB NOT NULL,
    asked_by TEXT NOT NULL,
    asked_at_ms INTEGER NOT NULL,
    asked_note TEXT NOT NULL,
    paid_by TEXT,
    paid_at_ms INTEGER CHECK ((paid_at_ms IS NULL) = (paid_by IS NULL)),
    paid_note TEXT NOT NULL DEFAULT '',
    -- It is paid in parts, by account and unit. Here: how far the epoch's journal was when the second person decided (what comes later they have not seen),
    -- how many parts were paid, the purse of the last line that was looked at, and when nothing was left of it.
    journal_seq INTEGER,
    parts INTEGER NOT NULL DEFAULT 0,
    through_account INTEGER NOT NULL DEFAULT 0,
    through_unit TEXT NOT NULL DEFAULT '',
    done_at_ms INTEGER,
    CHECK ((journal_seq IS NULL) = (paid_by IS NULL))
) STRICT;
CREATE UNIQUE INDEX suspense_repayment_open ON suspense_repayment (store_id, epoch, account_id) WHERE paid_by IS NULL;
CREATE UNIQUE INDEX suspense_repayment_under_way ON suspense_repayment (store_id, epoch) WHERE paid_by IS NOT NULL AND done_at_ms IS NULL;

-- What each store is to keep of an account while its member is not there. A wish: grants and releases bring it about. 0: it was withdrawn.
CREATE TABLE parking (
    account_id INTEGER NOT NULL,
    unit TEXT NOT NULL,
    store_id TEXT NOT NULL,
    target_minor INTEGER NOT NULL CHECK (target_minor >= 0),
    version INTEGER NOT NULL,
    PRIMARY KEY (account_id, unit, store_id)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX parking_by_store ON parking (store_id, version);

-- The plans that gave the targets: with which rules (JSON), how well the one before had foreseen what happened since (JSON),
-- and the version of their last one: stores are told of a plan when it is whole.
CREATE TABLE parking_plan (
    plan_no INTEGER PRIMARY KEY,
    at_ms INTEGER NOT NULL,
    rules TEXT NOT NULL,
    outcome TEXT NOT NULL,
    version INTEGER NOT NULL
) STRICT;

-- How often value moved, for people who ask whether it does.
CREATE TABLE allotment_count (
    name TEXT PRIMARY KEY CHECK (name IN ('reports', 'grants', 'releases', 'recalls', 'grant_requests', 'short')),
    count INTEGER NOT NULL
) STRICT;

-- The stores' journals, byte by byte. ingested_no is commit-ordered over all stores.
CREATE TABLE journal (
    store_id TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    hash BLOB NOT NULL,
    forked INTEGER NOT NULL CHECK (forked IN (0, 1)),
    -- The position of the last seal: the next one must begin after it.
    sealed_seq INTEGER NOT NULL DEFAULT 0,
    -- Of the last entry whose header could be read.
    stamp INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (store_id, epoch)
) STRICT;

-- The counters that the journal adds up to, to be compared with what the store reported. A projection of the entries.
CREATE TABLE journal_counter (
    account_id INTEGER NOT NULL,
    unit TEXT NOT NULL,
    store_id TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    adopted_minor INTEGER NOT NULL,
    loaded_minor INTEGER NOT NULL,
    spent_minor INTEGER NOT NULL,
    released_minor INTEGER NOT NULL,
    PRIMARY KEY (account_id, unit, store_id, epoch)
) STRICT, WITHOUT ROWID;
CREATE INDEX journal_counter_by_epoch ON journal_counter (store_id, epoch, account_id, unit);

-- What stores set aside, and the entry that ended each hold. A projection of the entries.
CREATE TABLE hold (
    store_id TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    operation BLOB NOT NULL,
    seq INTEGER NOT NULL,
    account_id INTEGER NOT NULL,
    currency TEXT NOT NULL,
    amount_minor INTEGER NOT NULL,
    ended_seq INTEGER,
    PRIMARY KEY (store_id, epoch, operation)
) STRICT, WITHOUT ROWID;

CREATE TABLE entry (
    store_id TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    hash BLOB NOT NULL,
    ingested_no INTEGER NOT NULL,
    kind TEXT NOT NULL,
    operation BLOB NOT NULL,
    business_day TEXT,
    bytes BLOB NOT NULL,
    PRIMARY KEY (store_id, epoch, seq)
) STRICT;
CREATE UNIQUE INDEX entry_by_ingested_no ON entry (ingested_no);
CREATE INDEX entry_by_operation ON entry (operation);
-- Whether an operation was undone, and what a store sold since, must not need its whole journal.
CREATE INDEX entry_void ON entry (store_id, epoch, business_day, seq) WHERE kind = 'void';
CREATE INDEX entry_card_sale ON entry (store_id, epoch, seq) WHERE kind = 'card_sale';

-- Which receipts used a payment reference that counts once: what review compares over all stores. The text is in capitals, as stores compare it.
CREATE TABLE tender_reference (
    tender TEXT NOT NULL,
    reference TEXT NOT NULL,
    store_id TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    amount_minor INTEGER NOT NULL,
    -- What went back with the same paper; a receipt that gave all of it back does not use it any more.
    refunded_minor INTEGER NOT NULL,
    PRIMARY KEY (tender, reference, store_id, epoch, seq)
) STRICT, WITHOUT ROWID;
CREATE INDEX tender_reference_by_receipt ON tender_reference (store_id, epoch, seq);

-- Segments that arrived before the ones in front of them.
CREATE TABLE waiting_segment (
    store_id TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    first_seq INTEGER NOT NULL,
    last_seq INTEGER NOT NULL,
    last_hash BLOB NOT NULL,
    segment BLOB NOT NULL,
    received_at_ms INTEGER NOT NULL,
    PRIMARY KEY (store_id, epoch, first_seq, last_seq, last_hash)
) STRICT;

CREATE TABLE movement (
    account_id INTEGER NOT NULL,
    stamp INTEGER NOT NULL,
    store_id TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    idx INTEGER NOT NULL,
    ingested_no INTEGER NOT NULL,
    business_day TEXT NOT NULL,
    unit TEXT NOT NULL,
    kind TEXT NOT NULL,
    amount_minor INTEGER NOT NULL,
    of_entry TEXT,
    of_idx INTEGER,
    origin_store TEXT,
    PRIMARY KEY (account_id, stamp, store_id, epoch, seq, idx)
) STRICT, WITHOUT ROWID;
CREATE INDEX movement_by_ingested_no ON movement (ingested_no, account_id);

-- Points that should have been taken back and were no longer there. What is kept of the entries is a projection of them; settled and waived are not.
CREATE TABLE points_claim (
    claim_no INTEGER PRIMARY KEY,
    account_id INTEGER NOT NULL,
    store_id TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    idx INTEGER NOT NULL,
    business_day TEXT NOT NULL,
    points INTEGER NOT NULL CHECK (points > 0),
    settled_points INTEGER NOT NULL CHECK (settled_points BETWEEN 0 AND points),
    -- The movement that earned them.
    of_entry TEXT,
    of_idx INTEGER,
    waived_by TEXT,
    waived_at_ms INTEGER,
    waived_note TEXT,
    UNIQUE (store_id, epoch, seq, idx)
) STRICT;
CREATE INDEX points_claim_open ON points_claim (claim_no) WHERE waived_by IS NULL AND settled_points < points;

-- What sales earned for cards that their stores did not know, and the account that head office put it on; nobody's when the card was not sold by then.
CREATE TABLE deferred_earning (
    store_id TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    stamp INTEGER NOT NULL,
    card TEXT NOT NULL,
    business_day TEXT NOT NULL,
    points INTEGER NOT NULL CHECK (points > 0),
    back_points INTEGER NOT NULL CHECK (back_points BETWEEN 0 AND points),
    is_parked INTEGER NOT NULL CHECK (is_parked IN (0, 1)),
    state TEXT NOT NULL CHECK (state IN ('waiting', 'given', 'nobodys')),
    account_id INTEGER,
    credited_entry TEXT,
    PRIMARY KEY (store_id, epoch, seq),
    CHECK ((account_id IS NOT NULL) = (state = 'given')),
    CHECK ((credited_entry IS NOT NULL) = (state = 'given'))
) STRICT, WITHOUT ROWID;
CREATE INDEX deferred_earning_waiting ON deferred_earning (store_id, epoch, seq)
    WHERE state = 'waiting' AND is_parked = 0 AND back_points < points;

-- What changed the debts of accounts to the group's risk account: a row per movement that names who owes. A projection of the entries.
CREATE TABLE overdraft (
    store_id TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    idx INTEGER NOT NULL,
    ingested_no INTEGER NOT NULL,
    -- Who owes; the movement itself is the risk account's.
    account_id INTEGER NOT NULL,
    unit TEXT NOT NULL,
    kind TEXT NOT NULL,
    amount_minor INTEGER NOT NULL CHECK (amount_minor > 0),
    PRIMARY KEY (store_id, epoch, seq, idx)
) STRICT, WITHOUT ROWID;
CREATE INDEX overdraft_by_account ON overdraft (account_id, unit, ingested_no);
CREATE INDEX overdraft_by_ingested_no ON overdraft (ingested_no);

-- The accounts that owe something now, or are owed what was collected too much: what the rows above come to, written with them. Whoever lends or collects
-- looks here, however many ever overdrew.
CREATE TABLE debt (
    account_id INTEGER NOT NULL,
    unit TEXT NOT NULL,
    owed_minor INTEGER NOT NULL CHECK (owed_minor >= 0),
    excess_minor INTEGER NOT NULL CHECK (excess_minor >= 0),
    PRIMARY KEY (account_id, unit),
    CHECK (owed_minor > 0 OR excess_minor > 0)
) STRICT, WITHOUT ROWID;
CREATE INDEX debt_excess ON debt (unit, excess_minor) WHERE excess_minor > 0;

-- What of an account's overdrafts at a store does not count any more, as that store is told.
CREATE TABLE overdraft_cleared (
    store_id TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    account_id INTEGER NOT NULL,
    unit TEXT NOT NULL,
    cleared_minor INTEGER NOT NULL CHECK (cleared_minor >= 0),
    version INTEGER NOT NULL,
    PRIMARY KEY (store_id, epoch, account_id, unit)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX overdraft_cleared_by_version ON overdraft_cleared (store_id, epoch, version);

-- What finance decides about the risk account: one person asks, a second one decides.
CREATE TABLE risk_decision (
    decision_no INTEGER PRIMARY KEY,
    kind TEXT NOT NULL CHECK (kind IN ('budget', 'write_off')),
    -- Whose debt is given up; 0 for the budget.
    account_id INTEGER NOT NULL,
    -- The budget as it is to be, or the debt as it was when it was asked. A second person who finds another debt asks anew.
    amount_minor INTEGER NOT NULL CHECK (amount_minor >= 0),
    asked_by TEXT NOT NULL,
    asked_at_ms INTEGER NOT NULL,
    asked_note TEXT NOT NULL,
    decided_by TEXT,
    decided_at_ms INTEGER CHECK ((decided_at_ms IS NULL) = (decided_by IS NULL)),
    decided_note TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE UNIQUE INDEX risk_decision_open ON risk_decision (kind, account_id) WHERE decided_by IS NULL;

-- Who bears the discounts of which entry, a row per funder. A projection of the entries; the sign is in the kind.
CREATE TABLE funding (
    store_id TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    idx INTEGER NOT NULL,
    ingested_no INTEGER NOT NULL,
    business_day TEXT NOT NULL,
    -- The store that sold: of a return, not always the one that wrote the entry.
    seller TEXT NOT NULL,
    funder TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('sale', 'void', 'return')),
    currency TEXT NOT NULL,
    amount_minor INTEGER NOT NULL CHECK (amount_minor > 0),
    PRIMARY KEY (store_id, epoch, seq, idx)
) STRICT, WITHOUT ROWID;
CREATE INDEX funding_by_ingested_no ON funding (ingested_no);

-- Business days per store. accepted: the hub's own count agrees with the seal; differs: it does not.
CREATE TABLE day (
    store_id TEXT NOT NULL,
    business_day TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    seal_seq INTEGER,
    state TEXT NOT NULL CHECK (state IN ('open', 'accepted', 'differs')),
    ingested_no INTEGER NOT NULL,
    totals BLOB,
    -- What the hub counted differently, a line each.
    differences TEXT NOT NULL DEFAULT '',
    accepted_at_ms INTEGER,
    PRIMARY KEY (store_id, business_day)
) STRICT;

-- Days that finance accepted as the hub counted them. Each is about one seal, or about none (0) when the day was never sealed; it is not the journal's word,
-- and so no part of the day's row.
CREATE TABLE day_resolution (
    store_id TEXT NOT NULL REFERENCES store (store_id),
    business_day TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    seal_seq INTEGER NOT NULL,
    -- What the hub counted differently then.
    differences TEXT NOT NULL,
    resolved_by TEXT NOT NULL,
    note TEXT NOT NULL,
    resolved_at_ms INTEGER NOT NULL,
    PRIMARY KEY (store_id, business_day, epoch, seal_seq)
) STRICT;

CREATE TABLE exception (
    exception_no INTEGER PRIMARY KEY,
    class TEXT NOT NULL,
    severity TEXT NOT NULL CHECK (severity IN ('info', 'warning', 'alarm')),
    state TEXT NOT NULL CHECK (state IN ('open', 'assigned', 'resolved')),
    store_id TEXT,
    subject TEXT NOT NULL,
    -- JSON: what was expected, what was found, and in which entries.
    evidence TEXT NOT NULL,
    raised_at_ms INTEGER NOT NULL,
    -- Who has it, or who resolved it, and since when.
    state_by TEXT CHECK ((state_by IS NULL) = (state = 'open')),
    state_at_ms INTEGER NOT NULL,
    resolution TEXT CHECK (resolution IN ('corrected', 'accepted', 'unfounded')),
    note TEXT,
    UNIQUE (class, subject)
) STRICT;
CREATE INDEX exception_by_state ON exception (state, exception_no);

-- Loads of which nobody can say yet whether the balance after them was too high: stores whose journals are behind may have spent of it. A row for each journal
-- that is waited for; the load is looked at again when one of them has come up to its stamp.
CREATE TABLE review_doubt (
    store_id TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    stamp INTEGER NOT NULL,
    behind_store TEXT NOT NULL,
    behind_epoch INTEGER NOT NULL,
    PRIMARY KEY (store_id, epoch, seq, behind_store, behind_epoch)
) STRICT, WITHOUT ROWID;
CREATE INDEX review_doubt_by_behind ON review_doubt (behind_store, behind_epoch, stamp);

-- Everything that ever happened to an exception, in order.
CREATE TABLE exception_change (
    exception_no INTEGER NOT NULL REFERENCES exception (exception_no),
    change_no INTEGER NOT NULL,
    at_ms INTEGER NOT NULL,
    changed_by TEXT NOT NULL,
    change TEXT NOT NULL CHECK (change IN ('raised', 'assigned', 'resolved', 'reopened', 'raised_again')),
    detail TEXT NOT NULL,
    PRIMARY KEY (exception_no, change_no)
) STRICT, WITHOUT ROWID;

-- What head office did: appended, never changed.
CREATE TABLE audit (
    audit_no INTEGER PRIMARY KEY,
    at_ms INTEGER NOT NULL,
    actor TEXT NOT NULL,
    via TEXT NOT NULL CHECK (via IN ('cli', 'api', 'store')),
    action TEXT NOT NULL,
    object TEXT NOT NULL,
    detail TEXT NOT NULL
) STRICT;

-- Who may ask the API of head office. Only the hash is kept.
CREATE TABLE hq_token (
    token_hash BLOB PRIMARY KEY,
    name TEXT NOT NULL,
    created_at_ms INTEGER NOT NULL,
    expires_at_ms INTEGER,
    revoked_at_ms INTEGER,
    last_used_ms INTEGER
) STRICT;
CREATE UNIQUE INDEX hq_token_by_name ON hq_token (name) WHERE revoked_at_ms IS NULL;

-- Sync requests that changed nothing because they were forged, replayed, foreign or malformed.
CREATE TABLE refused_request (
    refused_no INTEGER PRIMARY KEY,
    at_ms INTEGER NOT NULL,
    store TEXT NOT NULL,
    path TEXT NOT NULL,
    fault TEXT NOT NULL,
    message TEXT NOT NULL,
    -- How many others were refused since the row before of the same origin and only counted, as they came too fast.
    unwritten INTEGER NOT NULL,
    -- Whether the request was signed by the store that it names. Each origin has its own bound, so that strangers push out nothing that stores were told.
    proved INTEGER NOT NULL CHECK (proved IN (0, 1))
) STRICT;
CREATE INDEX refused_request_by_origin ON refused_request (proved, refused_no);

-- Settlement. A run's lines are what it added; the cumulative legs of a scheme are the sums of its runs' lines per key, and stored nowhere.
CREATE TABLE settlement_run (
    run_no INTEGER PRIMARY KEY,
    scheme TEXT NOT NULL CHECK (scheme IN ('pool', 'fifo', 'home')),
    standing TEXT NOT NULL CHECK (standing IN ('booked', 'memo')),
    finality TEXT NOT NULL CHECK (finality IN ('provisional', 'final')),
    day_from TEXT NOT NULL,
    day_to TEXT NOT NULL,
    cut_ingested_no INTEGER NOT NULL,
    previous_run_no INTEGER,
    agreements BLOB NOT NULL,
    code_version TEXT NOT NULL,
    stores_complete INTEGER NOT NULL,
    stores_late INTEGER NOT NULL,
    -- The first ingested_no that a later run must look at again: of a day after day_to, or after the cut.
    open_ingested_no INTEGER NOT NULL,
    created_at_ms INTEGER NOT NULL,
    -- Over this row and its lines in their order: a closed run never changes.
    fingerprint BLOB NOT NULL
) STRICT;

-- Who prepared a run and who approved it. Not a part of the run's own row, which never changes.
CREATE TABLE settlement_signature (
    run_no INTEGER NOT NULL REFERENCES settlement_run (run_no),
    role TEXT NOT NULL CHECK (role IN ('prepared', 'approved')),
    signed_by TEXT NOT NULL,
    signed_at_ms INTEGER NOT NULL,
    note TEXT NOT NULL,
    PRIMARY KEY (run_no, role)
) STRICT;

CREATE TABLE settlement_line (
    run_no INTEGER NOT NULL REFERENCES settlement_run (run_no),
    -- 0 for lines that goods cause, which belong to no account.
    account_id INTEGER NOT NULL,
    -- From 0 within run and account, so that a run is appended at the end of the table, in order.
    line_no INTEGER NOT NULL,
    debtor TEXT NOT NULL,
    creditor TEXT NOT NULL,
    kind TEXT NOT NULL,
    business_day TEXT NOT NULL,
    currency TEXT NOT NULL,
    amount_minor INTEGER NOT NULL,
    PRIMARY KEY (run_no, account_id, line_no),
    CHECK ((account_id = 0) = (kind IN ('discount_funding', 'discount_funding_back')))
) STRICT, WITHOUT ROWID;
-- The runs that an account has lines in: one row each, however many lines.
CREATE INDEX settlement_line_by_account ON settlement_line (account_id) WHERE line_no = 0;

-- How far the jobs that read every entry once have come, by ingested_no.
CREATE TABLE job_cursor (
    name TEXT PRIMARY KEY,
    ingested_no INTEGER NOT NULL
) STRICT;

CREATE TABLE schedule (
    name TEXT PRIMARY KEY,
    next_due_ms INTEGER NOT NULL,
    lease_until_ms INTEGER,
    last_started_ms INTEGER,
    last_finished_ms INTEGER,
    last_outcome TEXT,
    runs INTEGER NOT NULL,
    failures INTEGER NOT NULL
) STRICT;
