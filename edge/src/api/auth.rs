//! Who asks: a till proves itself by its bearer token; what it may do was said when it was paired. One that the database does not know is refused; if this
//! store made its token all the same, what it has seen is looked at before.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use axum::extract::FromRequestParts;
use axum::http::header;
use axum::http::request::Parts;
use huitong_protocol::id::TerminalId;
use huitong_protocol::time::Instant;

use super::{Api, Code, Problem, witness};
use crate::store::{Store, StoreError, till};
use crate::till::{Permissions, TokenHash};

/// How long the list of tills is believed without looking: a till that a command line revoked beside the daemon is out after this.
const CACHE_MS_MAX: i64 = 2_000;

/// The till that asks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Till {
    /// Its code.
    pub terminal: TerminalId,
    /// What it may do.
    pub permissions: Permissions,
}

impl Till {
    /// Refuses a till without the permission for the day.
    ///
    /// # Errors
    /// The problem to answer.
    pub fn may_run_the_day(&self) -> Result<(), Problem> {
        if self.permissions.day {
            return Ok(());
        }
        Err(Problem::new(Code::Forbidden, "this needs the permission `day`; pair the till with `--permit day`"))
    }

    /// Refuses a till without the permission to answer for another.
    ///
    /// # Errors
    /// The problem to answer.
    pub fn may_excuse(&self) -> Result<(), Problem> {
        if self.permissions.excuse {
            return Ok(());
        }
        Err(Problem::new(Code::Forbidden, "this needs the permission `excuse`; pair the till with `--permit excuse`"))
    }
}

/// The paired tills, in memory.
#[derive(Default)]
pub(super) struct TillCache(RwLock<Option<Arc<Tills>>>);

struct Tills {
    version: u64,
    read_at: Instant,
    by_token: HashMap<TokenHash, Till>,
}

impl TillCache {
    fn find(&self, store: &Store, now: Instant, token: TokenHash) -> Result<Option<Till>, StoreError> {
        let version = store.committed().tills_version;
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner).clone();
        let fresh = known
            .filter(|tills| tills.version == version && now.0.abs_diff(tills.read_at.0) <= CACHE_MS_MAX.unsigned_abs());
        if let Some(till) = fresh.and_then(|tills| tills.by_token.get(&token).copied()) {
            return Ok(Some(till));
        }
        // Also when the token is not there: it may have been paired a moment ago by a command line.
        let paired = store.read(till::list)?;
        let by_token: HashMap<TokenHash, Till> = paired
            .into_iter()
            .filter(|paired| paired.revoked_at_ms.is_none())
            .map(|paired| (paired.token_hash, Till { terminal: paired.terminal, permissions: paired.permissions }))
            .collect();
        let found = by_token.get(&token).copied();
        let tills = Arc::new(Tills { version, read_at: now, by_token });
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(tills);
        Ok(found)
    }
}

impl FromRequestParts<Api> for Till {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Problem> {
        let token = parts
            .headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, token)| token.trim());
        let refused = || {
            Problem::new(Code::Unauthorized, "send `Authorization: Bearer TOKEN` with the token of the till's pairing")
        };
        let token = token.ok_or_else(refused)?;
        let (hash, now) = (TokenHash::of(token), api.clock().now());
        let Some(till) = api.shared.tills.find(api.store(), now, hash)? else {
            if let Some(terminal) = api.store().continuity().maker_of(token)
                && !api.store().read(till::list)?.iter().any(|known| known.token_hash == hash)
            {
                witness::take_unknown(api, now, terminal, &parts.headers).await?;
            }
            return Err(refused());
        };
        witness::take(api, now, &till, &parts.headers).await?;
        Ok(till)
    }
}
