//! Which keys hold secrets. Keeping them out of a file's permissions is the operator's; keeping them off the screen is ours.
//!
//! Invariant: no text that this package makes for people or logs contains the value of such a key. The one exception says
//! so in its name and comment: [`crate::file_text`] writes a configuration that can be loaded again.

/// What is shown in place of a secret.
pub const MASK: &str = "***";

/// Endings of a key's last word that make it a secret.
const ENDINGS: [&str; 3] = ["token", "secret", "password"];

/// Whether the dotted path `key` names a secret: one of its words is, or ends in `_` and, `token`, `secret` or `password`.
///
/// Every word of the path counts, so that whatever is nested below a secret is one as well.
#[must_use]
pub fn is_secret(key: &str) -> bool {
    key.split(['.', '[', ']']).any(|word| {
        ENDINGS
            .iter()
            .any(|ending| word.strip_suffix(ending).is_some_and(|rest| rest.is_empty() || rest.ends_with('_')))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endings_count_whole_words_only() {
        for key in ["token", "sync.enrol_token", "a.db_password", "tills[2].client_secret", "token.inner"] {
            assert!(is_secret(key), "{key}");
        }
        for key in ["sync.hub_url", "tokens", "broken", "sync.token_ttl", "nonsecret"] {
            assert!(!is_secret(key), "{key}");
        }
    }
}
