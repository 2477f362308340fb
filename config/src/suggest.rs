//! What the operator probably meant. Pure text; a suggestion is a help, never a correction that is applied.

use strsim::damerau_levenshtein;

/// The word of `choices` nearest to `given`, when it is near enough to be a slip of the hand.
pub(crate) fn nearest<'a>(given: &str, choices: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // One slip in three letters is as far as a reader still recognises the word.
    let slips_max = (given.chars().count() / 3).max(1);
    choices
        .into_iter()
        .map(|choice| (damerau_levenshtein(&folded(given), &folded(choice)), choice))
        .filter(|(slips, _)| *slips <= slips_max)
        .min_by_key(|(slips, _)| *slips)
        .map(|(_, choice)| choice)
}

/// The known dotted key that `given` most likely stands for: first a neighbour in the same table, then the same word
/// in another table, then the whole path however it was punctuated (`sync_hub_url` for `sync.hub_url`).
pub(crate) fn key(given: &str, siblings: &[&str], known: &[String]) -> Option<String> {
    let (table, word) = given.rsplit_once('.').unwrap_or(("", given));
    if let Some(sibling) = nearest(word, siblings.iter().copied()) {
        return Some(if table.is_empty() { sibling.to_owned() } else { format!("{table}.{sibling}") });
    }
    let mut elsewhere = known.iter().filter(|key| last_word(key) == word);
    if let (Some(only), None) = (elsewhere.next(), elsewhere.next()) {
        return Some(only.clone());
    }
    nearest(given, known.iter().map(String::as_str)).map(str::to_owned)
}

fn last_word(key: &str) -> &str {
    key.rsplit_once('.').map_or(key, |(_, word)| word)
}

/// Case and punctuation are the commonest slips and cost nothing.
fn folded(text: &str) -> String {
    text.to_lowercase().replace(['.', '-'], "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known() -> Vec<String> {
        ["sync", "sync.hub_url", "sync.poll", "api", "api.listen"].map(str::to_owned).to_vec()
    }

    #[test]
    fn a_neighbour_comes_first() {
        assert_eq!(key("sync.hub_ur", &["hub_url", "poll"], &known()), Some("sync.hub_url".to_owned()));
        assert_eq!(key("snyc", &["sync", "api"], &known()), Some("sync".to_owned()));
    }

    #[test]
    fn the_same_word_is_found_in_another_table() {
        assert_eq!(key("hub_url", &["sync", "api"], &known()), Some("sync.hub_url".to_owned()));
        assert_eq!(key("api.poll", &["listen"], &known()), Some("sync.poll".to_owned()));
    }

    #[test]
    fn punctuation_is_forgiven() {
        assert_eq!(key("sync_hub-url", &["sync", "api"], &known()), Some("sync.hub_url".to_owned()));
    }

    #[test]
    fn what_resembles_nothing_gets_no_suggestion() {
        assert_eq!(key("colour_of_the_door", &["sync", "api"], &known()), None);
    }
}
