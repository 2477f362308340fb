//! `till`: which tills may use this store. Works on the database, beside a running daemon or without one; a till is excused in the running daemon, as it
//! is about this start of it.

use anyhow::anyhow;
use clap::Subcommand;
use huitong_protocol::id::TerminalId;
use serde_json::{Value, json};

use super::api_client::ApiClient;
use super::{Done, Failure, Shell, render};
use crate::clock::Clock as _;
use crate::identity::StoreKey;
use crate::run::{LOCAL_TERMINAL, open_store, pair};
use crate::store::{StoreError, till};
use crate::till::Permissions;

/// Pairs and revokes tills.
#[derive(Subcommand, Debug)]
pub(super) enum Till {
    /// Pairs a till and prints its token, once; a token that it had before ends, and a till from another store begins with the witness `none`
    Pair {
        /// The till's code
        #[arg(long, value_name = "CODE")]
        terminal: TerminalId,
        /// What it may do beyond selling: return_without_receipt, day, excuse; may be repeated
        #[arg(long, value_name = "PERMISSION")]
        permit: Vec<String>,
    },
    /// Lists the tills
    List,
    /// Answers for a till that is gone: stored value does not wait any more for what it saw. The running store is told
    Excuse {
        /// The till's code
        #[arg(long, value_name = "CODE")]
        terminal: TerminalId,
        /// Who answers for it and why; stands in the log and in the status
        #[arg(long, value_name = "WORDS")]
        reason: String,
    },
    /// Ends a till's token
    Revoke {
        /// The till's code
        #[arg(long, value_name = "CODE")]
        terminal: TerminalId,
    },
}

impl Till {
    pub(super) async fn execute(self, shell: &mut Shell<'_>) -> Done {
        if let Self::Excuse { terminal, reason } = self {
            let path = format!("/v1/tills/{terminal}/excuse");
            let done = ApiClient::of(shell)?.post(&path, &json!({ "reason": reason })).await?;
            return shell.print(&done, |done| match done["was_awaited"].as_bool() {
                Some(true) => format!("stored value waits no more for {terminal}"),
                _ => format!("stored value does not wait for {terminal}"),
            });
        }
        let config = shell.load()?.value;
        let store = open_store(&config.data_dir, &config.store)?;
        match self {
            Self::Pair { terminal, permit } => {
                if terminal.as_str() == LOCAL_TERMINAL {
                    return Err(Failure::Refused(format!("{LOCAL_TERMINAL} is this machine's own terminal"), None));
                }
                let permissions = permit
                    .iter()
                    .try_fold(Permissions::default(), |held, name| held.with(name))
                    .map_err(|fault| anyhow!("--permit {fault}"))?;
                let key = StoreKey::open_or_make(&config.data_dir)?;
                let token = pair((&store, key.tokens()), &shell.clock, terminal, permissions).await?;
                let value =
                    json!({ "terminal": terminal, "permissions": permissions.to_string(), "token": token.reveal() });
                shell.print(&value, |_| {
                    format!("paired {terminal}; put this token into the till now, it is not kept:\n{}", token.reveal())
                })
            }
            Self::Excuse { .. } => Ok(()),
            Self::List => {
                let tills = store.read(till::list)?;
                let rows: Vec<Value> = tills
                    .iter()
                    .map(|till| {
                        json!({
                            "terminal": till.terminal,
                            "permissions": till.permissions.to_string(),
                            "paired": till.paired_at_ms.to_string(),
                            "revoked": till.revoked_at_ms.map(|at| at.to_string()),
                        })
                    })
                    .collect();
                shell.print(&Value::Array(rows), render::lines)
            }
            Self::Revoke { terminal } => {
                let now = shell.clock.now();
                let revoked: Result<bool, StoreError> = store.write(move |tx| till::revoke(tx, now, terminal)).await;
                if !revoked? {
                    return Err(Failure::Refused(format!("{terminal} is not paired"), None));
                }
                shell.print(&json!({ "revoked": terminal }), |_| format!("revoked {terminal}"))
            }
        }
    }
}
