//! Bundle: a published policy as one byte string, and the keys that a store trusts to sign one.
//!
//! The signature covers exactly the bytes that are sent and kept; nothing beside them (a version, a day) is believed. Checking a signature is the
//! caller's, and is passed in. A key signs for the versions from its own on, until the next key's: a newer one is announced by the one before it.
//! Invariant: nothing of a bundle is given out before its signature, its group and its key were found right.

use serde::{Deserialize, Serialize};

use crate::id::{GroupId, Hash};
use crate::time::BusinessDay;
use crate::wire::{from_msgpack, to_msgpack};

/// The longest document. Ten thousand promotions are about half of it, and a page of one policy still fits a sync message.
pub const DOCUMENT_BYTES_MAX: usize = 4 << 20;
/// What the fields around a document take at most.
const ENVELOPE_BYTES_MAX: usize = 1024;
/// The longest parameters of all stores together: two thousand stores with a few promotions each. Document and parameters still fit a sync message.
pub const PARAMETERS_BYTES_MAX: usize = 2 << 20;
/// What a signature of a policy says that it signs, so that no signature made for another purpose fits.
const POLICY_KIND: &str = "huitong-policy-1";
/// As [`POLICY_KIND`], of a key.
const KEY_KIND: &str = "huitong-policy-key-1";

/// The short name of a key: the first eight bytes of the hash of its public half, in hexadecimal. For people to compare; never a proof.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(transparent)]
pub struct KeyId(String);

impl KeyId {
    /// The name of a public key.
    #[must_use]
    pub fn of(public_key: &[u8]) -> Self {
        Self(Hash::of(public_key).0.iter().take(8).map(|byte| format!("{byte:02x}")).collect())
    }

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for KeyId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(&self.0)
    }
}

/// A key that may sign policies.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyKey {
    /// The first version that it signs. It ends where the next key begins.
    pub from_version: u64,
    /// The Ed25519 public key, 32 bytes.
    #[serde(with = "serde_bytes")]
    pub public_key: Vec<u8>,
}

impl PolicyKey {
    /// Its name.
    #[must_use]
    pub fn id(&self) -> KeyId {
        KeyId::of(&self.public_key)
    }
}

/// A signed byte string as it is sent and kept.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signed {
    /// A packed [`Bundle`] or [`KeyAnnouncement`].
    #[serde(with = "serde_bytes")]
    pub bytes: Vec<u8>,
    /// Ed25519 over `bytes`.
    #[serde(with = "serde_bytes")]
    pub signature: Vec<u8>,
}

/// A published policy.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bundle {
    kind: String,
    /// The retail group that it is for.
    pub group: GroupId,
    /// Its version; only rises.
    pub version: u64,
    /// The first business day on which it is in force.
    pub effective_from: BusinessDay,
    /// The key that signs it.
    pub key: KeyId,
    /// The TOML document, byte by byte as its author wrote it.
    pub document: String,
    /// What stores have set for themselves and head office approved: TOML, a table for each store; empty when there is none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub parameters: String,
}

impl Bundle {
    /// A bundle to be packed and signed.
    #[must_use]
    pub fn new(group: GroupId, version: u64, effective_from: BusinessDay, key: KeyId, document: String) -> Self {
        let (kind, parameters) = (POLICY_KIND.to_owned(), String::new());
        Self { kind, group, version, effective_from, key, document, parameters }
    }

    /// The bundle with the parameters of stores.
    #[must_use]
    pub fn with_parameters(self, parameters: String) -> Self {
        Self { parameters, ..self }
    }

    /// The bytes to sign.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        to_msgpack(self)
    }

    /// Reads bytes whose signature was checked when they were taken.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn decode(bytes: &[u8]) -> Result<Self, String> {
        const BYTES_MAX: usize = DOCUMENT_BYTES_MAX + PARAMETERS_BYTES_MAX + ENVELOPE_BYTES_MAX;
        if bytes.len() > BYTES_MAX {
            return Err(format!("has {} bytes; a policy has at most {BYTES_MAX}", bytes.len()));
        }
        let bundle: Self = from_msgpack(bytes)?;
        counted("version", bundle.version)?;
        if bundle.kind == POLICY_KIND { Ok(bundle) } else { Err(format!("kind: is {:?}", bundle.kind)) }
    }
}

/// The word of a key that another signs from a version on.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyAnnouncement {
    kind: String,
    /// The retail group that it is for.
    pub group: GroupId,
    /// The key that signs this: the one in force before.
    pub key: KeyId,
    /// The new key and its first version.
    pub new: PolicyKey,
}

impl KeyAnnouncement {
    /// An announcement to be packed and signed.
    #[must_use]
    pub fn new(group: GroupId, key: KeyId, new: PolicyKey) -> Self {
        Self { kind: KEY_KIND.to_owned(), group, key, new }
    }

    /// The bytes to sign.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        to_msgpack(self)
    }

    fn decode(bytes: &[u8]) -> Result<Self, String> {
        let announcement: Self = from_msgpack(bytes)?;
        counted("new.from_version", announcement.new.from_version)?;
        if announcement.kind == KEY_KIND { Ok(announcement) } else { Err(format!("kind: is {:?}", announcement.kind)) }
    }
}

/// Versions are kept as signed integers.
fn counted(field: &str, version: u64) -> Result<(), String> {
    i64::try_from(version).map(drop).map_err(|_| format!("{field}: {version} is no version"))
}

/// Why a store refuses what was published. The text form is stable: status shows it and `explain` knows it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PolicyFault {
    /// The signature is of no key that the store trusts.
    PolicySignature,
    /// It names, or is signed by, another key than the one in force at its version.
    PolicyKey,
    /// It is for another group.
    PolicyGroup,
    /// Its version does not rise.
    PolicyVersion,
    /// The signature is right, and the bytes are not a bundle that this program reads.
    PolicyUnreadable,
    /// The document has faults.
    PolicyDocument,
}

impl PolicyFault {
    /// The text form.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PolicySignature => "policy_signature",
            Self::PolicyKey => "policy_key",
            Self::PolicyGroup => "policy_group",
            Self::PolicyVersion => "policy_version",
            Self::PolicyUnreadable => "policy_unreadable",
            Self::PolicyDocument => "policy_document",
        }
    }
}

impl std::fmt::Display for PolicyFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

impl std::str::FromStr for PolicyFault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let all = [
            Self::PolicySignature,
            Self::PolicyKey,
            Self::PolicyGroup,
            Self::PolicyVersion,
            Self::PolicyUnreadable,
            Self::PolicyDocument,
        ];
        all.into_iter().find(|fault| fault.as_str() == text).ok_or_else(|| format!("{text:?} is no fault of a policy"))
    }
}

/// A published policy, or key, that a store refused.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RefusedPolicy {
    /// The version that it claims; that of the page when it cannot be read.
    pub version: u64,
    /// Why.
    pub fault: PolicyFault,
    /// In words, at most [`RefusedPolicy::DETAIL_CHARS_MAX`] characters.
    pub detail: String,
}

impl RefusedPolicy {
    /// The longest words: enough for the first faults of a document.
    pub const DETAIL_CHARS_MAX: usize = 500;

    /// A refusal; longer words are cut.
    #[must_use]
    pub fn new(version: u64, fault: PolicyFault, detail: &str) -> Self {
        Self { version, fault, detail: detail.chars().take(Self::DETAIL_CHARS_MAX).collect() }
    }
}

impl std::fmt::Display for RefusedPolicy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "policy version {} cannot be used ({}): {}", self.version, self.fault, self.detail)
    }
}

/// Checks an Ed25519 signature: public key, message, signature.
pub type Verify<'a> = &'a dyn Fn(&[u8], &[u8], &[u8]) -> bool;

/// Whom a store trusts.
#[derive(Clone, Copy, Debug)]
pub struct Trust<'a> {
    /// Its group.
    pub group: GroupId,
    /// The keys it was given at enrolment, and those announced since.
    pub keys: &'a [PolicyKey],
}

impl Trust<'_> {
    /// The key that signs a version.
    #[must_use]
    pub fn key_at(&self, version: u64) -> Option<&PolicyKey> {
        self.keys.iter().filter(|key| key.from_version <= version).max_by_key(|key| key.from_version)
    }

    /// Opens a published policy. `claimed` stands for a version that cannot be read.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn open_policy(&self, signed: &Signed, claimed: u64, verify: Verify<'_>) -> Result<Bundle, RefusedPolicy> {
        let read = Bundle::decode(&signed.bytes);
        let named = read.as_ref().map(|bundle| (bundle.version, bundle.key.clone())).ok();
        let signer = self.signer(signed, named, claimed, verify)?;
        let bundle = read.map_err(|why| RefusedPolicy::new(claimed, PolicyFault::PolicyUnreadable, &why))?;
        self.fits(bundle.version, bundle.group, &bundle.key, &signer)?;
        Ok(bundle)
    }

    /// Opens the announcement of a key.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn open_key(&self, signed: &Signed, claimed: u64, verify: Verify<'_>) -> Result<PolicyKey, RefusedPolicy> {
        let read = KeyAnnouncement::decode(&signed.bytes);
        let named = read.as_ref().map(|word| (word.new.from_version, word.key.clone())).ok();
        let signer = self.signer(signed, named, claimed, verify)?;
        let KeyAnnouncement { group, key, new, .. } =
            read.map_err(|why| RefusedPolicy::new(claimed, PolicyFault::PolicyUnreadable, &why))?;
        // The key before is the one that signs: at the version itself the new one may be known already.
        self.fits(new.from_version.saturating_sub(1), group, &key, &signer)
            .map_err(|refused| RefusedPolicy { version: new.from_version, ..refused })?;
        Ok(new)
    }

    /// The trusted key that made the signature. What the bytes name is used for words only.
    fn signer(
        &self,
        signed: &Signed,
        named: Option<(u64, KeyId)>,
        claimed: u64,
        verify: Verify<'_>,
    ) -> Result<PolicyKey, RefusedPolicy> {
        if let Some(key) = self.keys.iter().find(|key| verify(&key.public_key, &signed.bytes, &signed.signature)) {
            return Ok(key.clone());
        }
        let trusted = self.keys.iter().map(|key| key.id().to_string()).collect::<Vec<_>>().join(", ");
        Err(match named {
            Some((version, key)) if !self.keys.iter().any(|known| known.id() == key) => RefusedPolicy::new(
                version,
                PolicyFault::PolicyKey,
                &format!("names key {key}; this store trusts {trusted}"),
            ),
            named => RefusedPolicy::new(
                named.map_or(claimed, |(version, _)| version),
                PolicyFault::PolicySignature,
                &format!("the signature is not of key {trusted}"),
            ),
        })
    }

    fn fits(&self, version: u64, group: GroupId, named: &KeyId, signer: &PolicyKey) -> Result<(), RefusedPolicy> {
        if group != self.group {
            let words = format!("is for group {group}, this store belongs to {}", self.group);
            return Err(RefusedPolicy::new(version, PolicyFault::PolicyGroup, &words));
        }
        let expected = self.key_at(version).map(PolicyKey::id);
        if *named != signer.id() || expected.as_ref() != Some(named) {
            let expected = expected.map_or_else(|| "none".to_owned(), |key| key.to_string());
            let words =
                format!("names key {named} and is signed by {}; version {version} is {expected}'s", signer.id());
            return Err(RefusedPolicy::new(version, PolicyFault::PolicyKey, &words));
        }
        Ok(())
    }
}

/// What a store says of its policies. Rides on a call whenever it has changed.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyState {
    /// The newest version that it holds and trusts, 0 when there is none.
    pub held: u64,
    /// The version in force on its business day, 0 when there is none.
    pub in_force: u64,
    /// What it refused since it last took a policy, at most [`PolicyState::REFUSED_MAX`].
    pub refused: Vec<RefusedPolicy>,
}

impl PolicyState {
    /// The most refusals that are kept and told; the newest stay.
    pub const REFUSED_MAX: usize = 16;

    /// What is wrong with a state that somebody sent, naming the field.
    #[must_use]
    pub fn fault(&self) -> Option<String> {
        let is_version = |version: u64| i64::try_from(version).is_ok();
        if !is_version(self.held) || !is_version(self.in_force) {
            return Some("policy: a version is too large".to_owned());
        }
        if self.refused.len() > Self::REFUSED_MAX {
            return Some(format!("policy.refused: has {} rows; at most {}", self.refused.len(), Self::REFUSED_MAX));
        }
        self.refused.iter().enumerate().find_map(|(index, refused)| {
            let long = refused.detail.chars().count() > RefusedPolicy::DETAIL_CHARS_MAX;
            (long || !is_version(refused.version)).then(|| format!("policy.refused[{index}]: is too large"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A stand-in for a signature: the hash of key and message.
    fn sign(public_key: &[u8], bytes: Vec<u8>) -> Signed {
        let signature = Hash::of(&[public_key, &bytes].concat()).0.to_vec();
        Signed { bytes, signature }
    }

    fn verify(public_key: &[u8], message: &[u8], signature: &[u8]) -> bool {
        Hash::of(&[public_key, message].concat()).0 == *signature
    }

    fn group() -> GroupId {
        "G1".parse().unwrap()
    }

    fn key(seed: u8, from_version: u64) -> PolicyKey {
        PolicyKey { from_version, public_key: vec![seed; 32] }
    }

    fn bundle(group: &str, version: u64, key: &PolicyKey) -> Bundle {
        let day = "2026-11-22".parse().unwrap();
        Bundle::new(group.parse().unwrap(), version, day, key.id(), "name = \"x\"\n".to_owned())
    }

    fn opened(keys: &[PolicyKey], signed: &Signed) -> Result<u64, PolicyFault> {
        let trust = Trust { group: group(), keys };
        trust.open_policy(signed, 99, &verify).map(|bundle| bundle.version).map_err(|refused| refused.fault)
    }

    #[test]
    fn only_the_groups_own_key_publishes() {
        let (ours, theirs) = (key(1, 1), key(2, 1));
        let keys = std::slice::from_ref(&ours);
        let check = |signed: &Signed, expected| assert_eq!(opened(keys, signed), expected);
        check(&sign(&ours.public_key, bundle("G1", 4, &ours).encode()), Ok(4));
        check(&sign(&theirs.public_key, bundle("G1", 4, &theirs).encode()), Err(PolicyFault::PolicyKey));
        check(&sign(&theirs.public_key, bundle("G1", 4, &ours).encode()), Err(PolicyFault::PolicySignature));
        check(&sign(&ours.public_key, bundle("G2", 4, &ours).encode()), Err(PolicyFault::PolicyGroup));
        check(&sign(&ours.public_key, bundle("G1", 4, &theirs).encode()), Err(PolicyFault::PolicyKey));
        check(&sign(&ours.public_key, b"\x80".to_vec()), Err(PolicyFault::PolicyUnreadable));
        // What is signed as a key is not a policy, and the other way round.
        let word = KeyAnnouncement::new(group(), ours.id(), key(3, 5)).encode();
        check(&sign(&ours.public_key, word), Err(PolicyFault::PolicyUnreadable));
        let policy = sign(&ours.public_key, bundle("G1", 4, &ours).encode());
        let refused = Trust { group: group(), keys }.open_key(&policy, 4, &verify).unwrap_err();
        assert_eq!(refused.fault, PolicyFault::PolicyUnreadable);
    }

    #[test]
    fn a_key_has_a_short_name() {
        let (one, other) = (KeyId::of(&[1; 32]), KeyId::of(&[2; 32]));
        assert!(one.as_str().len() == 16 && one.as_str().bytes().all(|byte| byte.is_ascii_hexdigit()), "{one}");
        assert_ne!(one, other);
    }

    #[test]
    fn every_changed_byte_is_noticed() {
        let ours = key(1, 1);
        let good = sign(&ours.public_key, bundle("G1", 4, &ours).encode());
        for at in 0..good.bytes.len() {
            let mut forged = good.clone();
            forged.bytes[at] ^= 1;
            assert!(opened(std::slice::from_ref(&ours), &forged).is_err(), "byte {at}");
        }
    }

    #[test]
    fn a_key_signs_from_its_version_to_the_next_keys() {
        let (old, new) = (key(1, 1), key(2, 5));
        let trust = Trust { group: group(), keys: std::slice::from_ref(&old) };
        let word = sign(&old.public_key, KeyAnnouncement::new(group(), old.id(), new.clone()).encode());
        assert_eq!(trust.open_key(&word, 5, &verify), Ok(new.clone()));
        let forged = sign(&new.public_key, KeyAnnouncement::new(group(), old.id(), new.clone()).encode());
        assert_eq!(trust.open_key(&forged, 5, &verify).unwrap_err().fault, PolicyFault::PolicySignature);
        let keys = [old.clone(), new.clone()];
        let check = |signer: &PolicyKey, version, expected| {
            let signed = sign(&signer.public_key, bundle("G1", version, signer).encode());
            assert_eq!(opened(&keys, &signed), expected, "version {version}");
        };
        check(&old, 4, Ok(4));
        check(&old, 5, Err(PolicyFault::PolicyKey));
        check(&new, 6, Ok(6));
        check(&new, 4, Err(PolicyFault::PolicyKey));
        // A store that was given both keys reads the announcement as well.
        assert_eq!(Trust { group: group(), keys: &keys }.open_key(&word, 5, &verify), Ok(new));
    }
}
