//! Policies as they arrive: what is not the group's own changes nothing, is named, and head office hears of it.

use huitong_protocol::bundle::{Bundle, KeyAnnouncement, KeyId, PolicyFault, PolicyKey, PolicyState, Signed};
use huitong_protocol::wire::{DatasetKind, DatasetPage, DatasetRow, path};
use ring::signature::{Ed25519KeyPair, KeyPair};

use super::testing::{MORNING, Shop, card};
use crate::ledger::testing::{POLICY, policy_key, sign, signed_policy};
use crate::store::replica;

const AT_CLOSE: &str = r#"{ when = "at_close" }"#;
/// More than `policy_stale_after`.
const TWO_DAYS_MS: i64 = 48 * 3_600_000;

fn bundle(group: &str, version: u64, key: KeyId) -> Vec<u8> {
    Bundle::new(group.parse().unwrap(), version, "2026-01-01".parse().unwrap(), key, POLICY.to_owned()).encode()
}

fn pair(seed: u8) -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap()
}

fn key_of(pair: &Ed25519KeyPair, from_version: u64) -> PolicyKey {
    PolicyKey { from_version, public_key: pair.public_key().as_ref().to_vec() }
}

fn signed_by(pair: &Ed25519KeyPair, bytes: Vec<u8>) -> Signed {
    let signature = pair.sign(&bytes).as_ref().to_vec();
    Signed { bytes, signature }
}

fn last_told(shop: &Shop) -> PolicyState {
    shop.office.with(|office| office.policy_states.last().cloned().unwrap())
}

fn publish(shop: &Shop, signed: Signed) {
    shop.office.with(|office| office.publish(DatasetKind::Policies, DatasetRow::Policy(signed)));
}

#[tokio::test]
async fn what_is_not_the_groups_own_changes_nothing_and_is_told() {
    let ours = policy_key().id();
    let thief = pair(66);
    let good = signed_policy(2, "2026-01-01", &POLICY.replace("test", "winter"));
    let mut changed = good.clone();
    let at = changed.bytes.windows(6).position(|window| window == b"500000").unwrap();
    changed.bytes[at] = b'9';
    let no_signature = Signed { signature: Vec::new(), ..good };
    let cases = [
        (changed, PolicyFault::PolicySignature),
        (no_signature, PolicyFault::PolicySignature),
        (signed_by(&thief, bundle("G1", 2, ours.clone())), PolicyFault::PolicySignature),
        (signed_by(&thief, bundle("G1", 2, key_of(&thief, 1).id())), PolicyFault::PolicyKey),
        (sign(bundle("G2", 2, ours)), PolicyFault::PolicyGroup),
        (sign(b"no bundle".to_vec()), PolicyFault::PolicyUnreadable),
    ];
    for (row, fault) in cases {
        let shop = Shop::new(AT_CLOSE, 0).await;
        publish(&shop, row);
        let done = shop.edge.download().await.unwrap();
        assert!(done.policy_faults.len() == 1 && done.policy_faults[0].contains(fault.as_str()), "{done:?}");
        assert_eq!((done.versions[0].dataset, done.versions[0].version), (DatasetKind::Policies, 1), "asked for again");
        let told = last_told(&shop);
        assert_eq!((told.held, told.in_force), (1, 1));
        let why: Vec<(u64, PolicyFault)> =
            told.refused.iter().map(|refused| (refused.version, refused.fault)).collect();
        assert_eq!(why, [(2, fault)]);
        shop.reload(1, 100).await;
        let status = shop.status().await;
        assert_eq!(
            (&status["policy"]["version"], &status["policy"]["refused"][0]["fault"]),
            (&1.into(), &fault.as_str().into())
        );
        assert!(status["alarms"][0].as_str().unwrap().contains("policy version 2 cannot be used"), "{status}");
        shop.edge.close().await;
    }
}

/// What stores set for themselves is judged at the store too: head office's own mistake changes no price.
#[tokio::test]
async fn parameters_outside_their_bounds_are_not_followed() {
    let shop = Shop::new(AT_CLOSE, 0).await;
    let from = "2026-01-01".parse().unwrap();
    let bundle = Bundle::new("G1".parse().unwrap(), 2, from, policy_key().id(), POLICY.replace("test", "winter"));
    publish(&shop, sign(bundle.with_parameters("[S1]\nno_points_skus = [\"1\"]\n".to_owned()).encode()));
    shop.edge.download().await.unwrap();
    let told = last_told(&shop);
    assert_eq!((told.held, told.in_force), (2, 1), "the one before stays in force");
    assert_eq!(told.refused[0].fault, PolicyFault::PolicyDocument);
    let words = "stores.S1.no_points_skus: has 1 SKUs; the bound store_parameters.no_points_skus_max is 0";
    assert!(told.refused[0].detail.contains(words), "{}", told.refused[0].detail);
    shop.edge.close().await;
}

#[tokio::test]
async fn a_policy_spoilt_on_the_way_is_taken_when_it_comes_right() {
    let shop = Shop::new(AT_CLOSE, 0).await;
    let good = signed_policy(2, "2026-01-01", &POLICY.replace("test", "winter"));
    let spoilt = Signed { signature: vec![0; 64], ..good.clone() };
    publish(&shop, spoilt);
    shop.edge.download().await.unwrap();
    assert_eq!(last_told(&shop).refused.len(), 1);
    let shop = shop.restart().await;
    assert_eq!(shop.edge.store().committed().policy_refused.len(), 1, "it is remembered");
    shop.office.with(|office| {
        let at = office.published.iter_mut().find(|(kind, version, _)| (*kind, *version) == (DatasetKind::Policies, 2));
        at.unwrap().2 = DatasetRow::Policy(good);
    });
    shop.edge.download().await.unwrap();
    assert_eq!(last_told(&shop), PolicyState { held: 2, in_force: 2, refused: Vec::new() });
}

#[tokio::test]
async fn a_version_that_does_not_rise_is_refused() {
    let shop = Shop::new(AT_CLOSE, 0).await;
    publish(&shop, signed_policy(1, "2026-01-01", &POLICY.replace("test", "again")));
    let done = shop.edge.download().await.unwrap();
    assert_eq!(done.versions[0].version, 1);
    let told = last_told(&shop);
    assert_eq!((told.held, told.refused[0].fault), (1, PolicyFault::PolicyVersion));
    assert_eq!(shop.edge.store().committed().policy.as_ref().unwrap().policy.name, "test");
    // The next one that rises is taken, and what was refused before is settled by it.
    publish(&shop, signed_policy(3, "2026-01-01", &POLICY.replace("test", "winter")));
    shop.edge.download().await.unwrap();
    assert_eq!(last_told(&shop), PolicyState { held: 3, in_force: 3, refused: Vec::new() });
}

#[tokio::test]
async fn a_bad_one_does_not_hold_up_a_good_one_after_it() {
    let shop = Shop::with(Shop::office(AT_CLOSE, 0), |config| config.sync.download_rows_max = 1).await;
    shop.office.with(|office| office.cut.insert(path::POLL));
    shop.clock.wind(1);
    publish(&shop, Signed { bytes: b"?".to_vec(), signature: Vec::new() });
    publish(&shop, signed_policy(3, "2026-01-01", &POLICY.replace("test", "winter")));
    let done = shop.edge.download().await.unwrap();
    assert_eq!(done.versions[0].version, 3);
    let told = last_told(&shop);
    assert_eq!((told.held, told.in_force), (3, 3));
    assert_eq!(shop.status().await["policy"]["confirmed_at_ms"], MORNING.0 + 1, "nothing newer is left");
    let heard = shop.office.with(|office| office.policy_states.iter().any(|state| !state.refused.is_empty()));
    assert!(heard, "the hub was told of the bad one before it was settled");
}

#[tokio::test]
async fn a_page_spoilt_on_the_way_is_asked_for_again_before_the_next_one_settles_it() {
    let shop = Shop::with(Shop::office(AT_CLOSE, 0), |config| config.sync.download_rows_max = 1).await;
    shop.office.with(|office| office.cut.insert(path::POLL));
    publish(&shop, signed_policy(2, "2026-01-01", &POLICY.replace("test", "autumn")));
    publish(&shop, signed_policy(3, "2099-01-01", &POLICY.replace("test", "winter")));
    shop.office.with(|office| office.spoil_policies = 2);
    let done = shop.edge.download().await.unwrap();
    assert_eq!((done.rows, done.versions[0].version), (2, 3));
    assert_eq!(last_told(&shop), PolicyState { held: 3, in_force: 2, refused: Vec::new() });
}

#[tokio::test]
async fn policies_that_cannot_be_downloaded_hold_up_no_card() {
    let shop = Shop::new(AT_CLOSE, 0).await;
    shop.office.with(|office| {
        office.cut.insert(path::POLL);
        office.publish(DatasetKind::Policies, DatasetRow::Card(card(6)));
        office.publish(DatasetKind::Cards, DatasetRow::Card(card(6)));
    });
    let error = shop.edge.download().await.unwrap_err().to_string();
    assert!(error.contains("a row of another dataset is in a page of policies"), "{error}");
    let cards = shop.edge.store().read(|tx| replica::version(tx, DatasetKind::Cards)).unwrap();
    assert_eq!(cards, 6);
    shop.reload(6, 100).await;
}

#[tokio::test]
async fn a_new_key_is_believed_on_the_word_of_the_old_one() {
    let shop = Shop::new(AT_CLOSE, 0).await;
    let (group, new, thief) = ("G1".parse().unwrap(), pair(43), pair(66));
    let announce = |key: &PolicyKey| KeyAnnouncement::new(group, policy_key().id(), key.clone()).encode();
    let forged = signed_by(&thief, announce(&key_of(&thief, 2)));
    shop.office.with(|office| office.publish(DatasetKind::Policies, DatasetRow::PolicyKey(forged)));
    shop.edge.download().await.unwrap();
    assert_eq!(last_told(&shop).refused[0].fault, PolicyFault::PolicySignature);
    let key = key_of(&new, 3);
    shop.office.with(|office| office.publish(DatasetKind::Policies, DatasetRow::PolicyKey(sign(announce(&key)))));
    publish(&shop, signed_by(&new, bundle("G1", 4, key.id())));
    shop.edge.download().await.unwrap();
    assert_eq!(last_told(&shop), PolicyState { held: 4, in_force: 4, refused: Vec::new() });
    assert_eq!(shop.status().await["policy"]["key"], key.id().as_str());
    // The old key is over.
    publish(&shop, sign(bundle("G1", 5, policy_key().id())));
    shop.edge.download().await.unwrap();
    assert_eq!(last_told(&shop).refused[0].fault, PolicyFault::PolicyKey);
    assert_eq!(last_told(&shop).held, 4);
}

#[tokio::test]
async fn a_page_that_promises_more_than_it_holds_moves_nothing() {
    let shop = Shop::new(AT_CLOSE, 0).await;
    let (rows, phone_key) = (Vec::new(), None);
    let empty = DatasetPage {
        dataset: DatasetKind::Policies,
        through_version: 1_000,
        more: false,
        recovers: false,
        rows,
        phone_key,
    };
    let applied = shop.edge.store().write(move |tx| replica::apply_page(tx, &empty)).await.unwrap();
    assert!(applied.waits);
    publish(&shop, signed_policy(2, "2026-01-01", &POLICY.replace("test", "winter")));
    shop.edge.download().await.unwrap();
    assert_eq!(last_told(&shop).in_force, 2);
}

#[tokio::test]
async fn a_stale_policy_is_called_stale_and_stops_nothing() {
    let shop = Shop::new(AT_CLOSE, 0).await;
    let fresh = shop.status().await;
    assert_eq!((&fresh["policy"]["stale"], &fresh["policy"]["effective_from"]), (&false.into(), &"2026-01-01".into()));
    shop.office.with(|office| office.cut.extend([path::HELLO, path::POLL, path::DATASET, path::REPORT]));
    shop.clock.wind(TWO_DAYS_MS);
    let stale = shop.status().await;
    assert_eq!((&stale["policy"]["stale"], &stale["policy"]["age_ms"]), (&true.into(), &TWO_DAYS_MS.into()));
    assert!(stale["alarms"].to_string().contains("the policy is stale"), "{stale}");
    shop.reload(1, 100).await;
}
