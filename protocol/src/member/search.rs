//! Search: the words under which a desk finds a member, and how a question is made comparable with them.
//!
//! A question finds what begins with it: the name, its reading (`zhangsan`), the initials (`zs`), the last four digits of the phone. Head office and
//! stores make the same words of the same record here, so both find the same members; the readings are in the record, since only head office has a
//! dictionary. Given names alone are not found: a store keeps one range of an index per question, not a scan over a million names.

use super::Member;

/// The most readings that are kept of a name: surnames that are read in two ways with given names that are.
pub const READINGS_MAX: usize = 4;
/// The most words of a member: name, last four digits, and two of each reading. Who reads so many words of a range per member misses none.
pub const WORDS_PER_MEMBER_MAX: usize = 2 + 2 * READINGS_MAX;
/// The longest question in bytes: longer than any name that is typed.
pub const SEARCH_BYTES_MAX: usize = 100;
/// The most members of an answer: a desk that gets more should ask more precisely.
pub const SEARCH_RESULTS_MAX: usize = 20;

/// Whether a character only stands between the parts of a name.
pub(super) const fn separates(c: char) -> bool {
    c.is_whitespace() || matches!(c, '·' | '•' | '‧' | '・' | '･' | '.' | '-' | '\'' | '’')
}

/// A text made comparable: full-width letters and digits become narrow, letters small; spaces, dots and dashes go.
#[must_use]
pub fn fold(text: &str) -> String {
    let narrow = |c: char| match c {
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(u32::from(c) - 0xfee0).unwrap_or(c),
        // As input methods have it: 吕 is typed lv.
        'ü' | 'Ü' => 'v',
        other => other,
    };
    text.chars().map(narrow).filter(|&c| !separates(c)).flat_map(char::to_lowercase).collect()
}

/// The words under which a member is found, without doubles. All are folded.
#[must_use]
pub fn search_keys(member: &Member) -> Vec<String> {
    let mut keys = vec![fold(&member.name)];
    for reading in member.pinyin.iter().take(READINGS_MAX) {
        keys.push(fold(reading));
        keys.push(reading.split_whitespace().filter_map(|syllable| fold(syllable).chars().next()).collect());
    }
    let last_four = member.phone_masked.len().checked_sub(4).and_then(|at| member.phone_masked.get(at..));
    keys.extend(last_four.filter(|digits| digits.bytes().all(|b| b.is_ascii_digit())).map(str::to_owned));
    keys.retain(|key| !key.is_empty());
    keys.sort_unstable();
    keys.dedup();
    keys
}

/// The end of the range of words that begin with a text, which the range itself does not contain. For an order by bytes, as databases compare.
#[must_use]
pub fn prefix_end(prefix: &str) -> String {
    format!("{prefix}{}", char::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::MemberId;

    fn member(name: &str, pinyin: &[&str], phone_masked: &str) -> Member {
        Member {
            id: MemberId::new(1).unwrap(),
            number: "1".parse().unwrap(),
            name: name.to_owned(),
            pinyin: pinyin.iter().map(|&reading| reading.to_owned()).collect(),
            tier: None,
            tier_valid_from: None,
            tier_valid_to: None,
            birthday: None,
            segments: Vec::new(),
            phone_hash: None,
            phone_masked: phone_masked.to_owned(),
            active: true,
        }
    }

    #[test]
    fn a_member_is_found_by_name_reading_initials_and_last_four_digits() {
        let check = |member: &Member, keys: &[&str]| assert_eq!(search_keys(member), keys);
        check(&member("张三", &["zhang san"], "138****5678"), &["5678", "zhangsan", "zs", "张三"]);
        check(
            &member("单雄信", &["shan xiong xin", "dan xiong xin"], ""),
            &["danxiongxin", "dxx", "shanxiongxin", "sxx", "单雄信"],
        );
        check(&member("买买提·艾力", &["mai mai ti ai li"], ""), &["maimaitiaili", "mmtal", "买买提艾力"]);
        check(&member("王㛃", &["wang 㛃"], ""), &["wang㛃", "w㛃", "王㛃"]);
        check(&member("Ann O'Neill", &[], "****"), &["annoneill"]);
    }

    #[test]
    fn a_question_is_folded_like_the_words() {
        assert_eq!(fold(" ＺＳ "), "zs");
        assert_eq!(fold("Zhang San"), "zhangsan");
        assert_eq!(fold("买买提•艾力"), fold("买买提·艾力"));
        assert_eq!(fold("５６７８"), "5678");
        assert_eq!(fold("Lü"), "lv");
        assert_eq!(fold(" · "), "");
    }

    #[test]
    fn the_end_of_a_range_is_behind_everything_that_begins_with_it() {
        for word in ["zs", "zs三", "zs𠮷", "zszzzz"] {
            assert!("zs" <= word && *word < *prefix_end("zs"), "{word}");
        }
        assert!("zt" > prefix_end("zs").as_str());
    }
}
