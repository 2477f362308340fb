-- The spine of money at a store. Money in minor units, time in epoch milliseconds, enums as TEXT with CHECK.
-- The journal (entry) is the truth of what the store did; allotment, card status, receipt and day follow from it in the same transaction.

CREATE TABLE setting (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT;

-- Who this store is. One row, written by enrolment.
CREATE TABLE identity (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    group_id TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    store TEXT NOT NULL
) STRICT;

CREATE TABLE entry (
    seq INTEGER PRIMARY KEY,
    hash BLOB NOT NULL,
    kind TEXT NOT NULL,
    operation BLOB NOT NULL,
    business_day TEXT,
    stamp INTEGER NOT NULL,
    at_ms INTEGER NOT NULL,
    bytes BLOB NOT NULL
) STRICT;

-- available_minor is what the counters leave, as the pure core computed it; SQL never adds counters.
CREATE TABLE allotment (
    account INTEGER NOT NULL,
    unit TEXT NOT NULL,
    adopted_minor INTEGER NOT NULL,
    loaded_minor INTEGER NOT NULL,
    spent_minor INTEGER NOT NULL,
    released_minor INTEGER NOT NULL,
    -- What open holds set aside; it is not in available_minor.
    held_minor INTEGER NOT NULL DEFAULT 0 CHECK (held_minor >= 0),
    available_minor INTEGER NOT NULL CHECK (available_minor >= 0),
    stamp INTEGER NOT NULL,
    change_no INTEGER NOT NULL,
    last_move_ms INTEGER NOT NULL,
    PRIMARY KEY (account, unit)
) STRICT, WITHOUT ROWID;
CREATE INDEX allotment_held ON allotment (account) WHERE held_minor > 0;
CREATE INDEX allotment_by_change ON allotment (change_no);
CREATE INDEX allotment_idle ON allotment (last_move_ms) WHERE available_minor > 0;

-- What was set aside of accounts, by the entry that placed it, and what became of each. One that is not open never changes again.
CREATE TABLE hold (
    seq INTEGER PRIMARY KEY,
    entry TEXT NOT NULL,
    operation BLOB NOT NULL UNIQUE,
    card TEXT NOT NULL,
    account INTEGER NOT NULL,
    currency TEXT NOT NULL,
    amount_minor INTEGER NOT NULL CHECK (amount_minor > 0),
    placed_at_ms INTEGER NOT NULL,
    expires_at_ms INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('open', 'captured', 'released', 'expired')),
    captured_minor INTEGER,
    ended_by TEXT
) STRICT;
CREATE INDEX hold_by_account ON hold (account, seq);
CREATE INDEX hold_open_by_expiry ON hold (expires_at_ms, seq) WHERE state = 'open';

-- What head office wants kept here of accounts while their members are not here. Others are kept by the policy's park_minor.
CREATE TABLE parking (
    account INTEGER NOT NULL,
    unit TEXT NOT NULL,
    target_minor INTEGER NOT NULL CHECK (target_minor >= 0),
    PRIMARY KEY (account, unit)
) STRICT, WITHOUT ROWID;

CREATE TABLE card (
    number TEXT PRIMARY KEY,
    product TEXT NOT NULL,
    account INTEGER NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('blank', 'active', 'frozen', 'lost', 'replaced', 'refunded', 'destroyed', 'withdrawn')),
    status_stamp INTEGER NOT NULL,
    allocated_store TEXT,
    member INTEGER,
    expires_on TEXT,
    version INTEGER NOT NULL,
    local_change_no INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX card_by_member ON card (member, number) WHERE member IS NOT NULL;
CREATE INDEX card_by_last_four ON card (substr(number, length(number) - 3)) WHERE member IS NOT NULL;
CREATE INDEX card_by_local_change ON card (local_change_no) WHERE local_change_no IS NOT NULL;
-- Cards that a life of the hub before the present one had said are stopped. The present one may have forgotten it, and is told with all else.
CREATE TABLE heard_stop (
    change_no INTEGER PRIMARY KEY,
    number TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('frozen', 'lost')),
    status_stamp INTEGER NOT NULL
) STRICT;

-- The item master. record is the JSON of what head office published; only its codes are asked for.
CREATE TABLE item (
    sku TEXT PRIMARY KEY,
    record TEXT NOT NULL
) STRICT;

CREATE TABLE item_barcode (
    barcode TEXT PRIMARY KEY,
    sku TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX item_barcode_by_sku ON item_barcode (sku);

-- Members as head office published them: personal data. record is JSON; what is asked for has a column.
CREATE TABLE member (
    member INTEGER PRIMARY KEY,
    number TEXT NOT NULL UNIQUE,
    phone_hash BLOB,
    active INTEGER NOT NULL CHECK (active IN (0, 1)),
    record TEXT NOT NULL
) STRICT;
CREATE INDEX member_by_phone ON member (phone_hash) WHERE phone_hash IS NOT NULL;

-- The words under which a desk finds a member, made from the record. Ordered by bytes.
CREATE TABLE member_word (
    word TEXT NOT NULL,
    member INTEGER NOT NULL,
    PRIMARY KEY (word, member)
) STRICT, WITHOUT ROWID;

-- People enrolled here whom head office has not made members yet: masked texts, and what look-ups ask for. The form is sealed in the journal.
-- What head office has decided leaves the id and the decision.
CREATE TABLE member_draft (
    draft BLOB PRIMARY KEY,
    name_masked TEXT NOT NULL,
    phone_masked TEXT NOT NULL,
    -- Month and day.
    birthday TEXT,
    phone_hash BLOB,
    card TEXT,
    state TEXT NOT NULL CHECK (state IN ('waiting', 'accepted', 'refused')),
    member INTEGER
) STRICT;
CREATE INDEX member_draft_by_phone ON member_draft (phone_hash) WHERE phone_hash IS NOT NULL;
CREATE INDEX member_draft_by_card ON member_draft (card) WHERE card IS NOT NULL;

CREATE TABLE legal_entity (
    legal_entity TEXT PRIMARY KEY,
    record TEXT NOT NULL
) STRICT;

CREATE TABLE store (
    store TEXT PRIMARY KEY,
    record TEXT NOT NULL
) STRICT;

-- The bundle is the signed byte string as it came; effective_from is read from it.
CREATE TABLE policy (
    version INTEGER PRIMARY KEY,
    effective_from TEXT NOT NULL,
    bundle BLOB NOT NULL,
    signature BLOB NOT NULL
) STRICT;

-- Whose policies are believed: given at enrolment, then announced by the key before. A key signs from its version to the next key's.
CREATE TABLE policy_key (
    from_version INTEGER PRIMARY KEY,
    public_key BLOB NOT NULL
) STRICT;

-- What was refused since a policy was last taken.
CREATE TABLE policy_refusal (
    version INTEGER NOT NULL,
    fault TEXT NOT NULL,
    detail TEXT NOT NULL,
    UNIQUE (version, fault, detail)
) STRICT;

CREATE TABLE dataset (
    name TEXT PRIMARY KEY,
    version INTEGER NOT NULL
) STRICT;

-- What each operation of a till was answered, for replay. entry_seq is NULL for declines.
CREATE TABLE operation (
    operation BLOB PRIMARY KEY,
    terminal TEXT NOT NULL,
    body_hash BLOB NOT NULL,
    status INTEGER NOT NULL,
    answer BLOB NOT NULL,
    entry_seq INTEGER,
    at_ms INTEGER NOT NULL
) STRICT;

-- What the store remembers of a receipt, so that nothing comes back twice.
CREATE TABLE receipt (
    seq INTEGER PRIMARY KEY,
    parked INTEGER NOT NULL CHECK (parked IN (0, 1)),
    state BLOB NOT NULL
) STRICT;
CREATE INDEX receipt_parked ON receipt (seq) WHERE parked = 1;

-- What this store gave of points and what of it may still come back, by the entry that gave it, as the policy said that priced the purchase.
CREATE TABLE points_pending (
    seq INTEGER PRIMARY KEY,
    account INTEGER NOT NULL,
    confirmed_on TEXT NOT NULL,
    may_burn INTEGER NOT NULL CHECK (may_burn IN (0, 1)),
    points INTEGER NOT NULL CHECK (points >= 0)
) STRICT;
CREATE INDEX points_pending_by_account ON points_pending (account, confirmed_on);
CREATE INDEX points_pending_by_day ON points_pending (confirmed_on);

-- References of payments outside that may be used once only, each with the receipts that used it: a receipt that a till took on its own is never refused,
-- so there may be several.
CREATE TABLE tender_reference (
    tender TEXT NOT NULL,
    reference TEXT NOT NULL COLLATE NOCASE,
    receipt_seq INTEGER NOT NULL,
    PRIMARY KEY (tender, reference, receipt_seq)
) STRICT, WITHOUT ROWID;

-- What the store's own promotions have given away, less what came back.
CREATE TABLE promotion_given (
    promotion TEXT PRIMARY KEY,
    given_minor INTEGER NOT NULL CHECK (given_minor >= 0)
) STRICT, WITHOUT ROWID;

-- What accounts overdrew here, less what came back, and how much of it head office says does not count any more.
CREATE TABLE overdraft (
    account INTEGER NOT NULL,
    unit TEXT NOT NULL,
    drawn_minor INTEGER NOT NULL,
    cleared_minor INTEGER NOT NULL,
    PRIMARY KEY (account, unit)
) STRICT, WITHOUT ROWID;

-- What was overdrawn here on a business day. Days before the open one are forgotten.
CREATE TABLE day_overdraft (
    business_day TEXT NOT NULL,
    unit TEXT NOT NULL,
    drawn_minor INTEGER NOT NULL CHECK (drawn_minor >= 0),
    PRIMARY KEY (business_day, unit)
) STRICT, WITHOUT ROWID;

-- What accounts have paid here on a business day, of products with a limit per day. Days before the open one are forgotten.
CREATE TABLE day_spend (
    business_day TEXT NOT NULL,
    account INTEGER NOT NULL,
    spent_minor INTEGER NOT NULL CHECK (spent_minor >= 0),
    PRIMARY KEY (business_day, account)
) STRICT, WITHOUT ROWID;

CREATE TABLE day (
    business_day TEXT PRIMARY KEY,
    opened_seq INTEGER NOT NULL,
    closed_seq INTEGER,
    seal BLOB,
    verdict BLOB
) STRICT;

CREATE TABLE till (
    token_hash BLOB PRIMARY KEY,
    terminal TEXT NOT NULL,
    permissions TEXT NOT NULL,
    paired_at_ms INTEGER NOT NULL,
    revoked_at_ms INTEGER
) STRICT;

-- What the hub holds of us, as it said. One row.
CREATE TABLE sync_state (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    acknowledged_seq INTEGER NOT NULL,
    acknowledged_hash BLOB NOT NULL,
    reported_change_no INTEGER NOT NULL,
    -- The end of the journal of the last report that the hub took.
    reported_seq INTEGER NOT NULL DEFAULT 0,
    reported_hash BLOB NOT NULL DEFAULT (zeroblob(32)),
    -- When the store last knew that the hub had no newer policies, and no newer cards, as far as it is written down.
    policies_confirmed_ms INTEGER,
    cards_confirmed_ms INTEGER
) STRICT;
INSERT INTO sync_state (id, acknowledged_seq, acknowledged_hash, reported_change_no) VALUES (1, 0, zeroblob(32), 0);

CREATE TABLE schedule (
    name TEXT PRIMARY KEY,
    spec TEXT NOT NULL,
    next_due_ms INTEGER NOT NULL,
    policy TEXT NOT NULL,
    lease_until_ms INTEGER,
    last_started_ms INTEGER,
    last_finished_ms INTEGER,
    last_outcome TEXT,
    runs INTEGER NOT NULL DEFAULT 0,
    failures INTEGER NOT NULL DEFAULT 0
) STRICT;
