//! Pinyin: how a name is read, so that a desk that types letters finds it. Only here is a dictionary; stores get the readings.
//!
//! Many characters are read in several ways, surnames not least (单 is Shan, 曾 is Zeng). A name gets its most likely reading first, then those in
//! which one character is read otherwise, up to `READINGS_MAX`. What has no reading stands for itself.

use huitong_protocol::member::READINGS_MAX;
use pinyin::ToPinyinMulti;

/// The most readings of one character that are looked at: what comes later in the dictionary is rare.
const READINGS_PER_CHARACTER_MAX: usize = 4;

/// The readings of a name, most likely first: syllables with spaces between them, without tones.
#[must_use]
pub fn readings(name: &str) -> Vec<String> {
    let syllables = syllables(name);
    let usual: Vec<&str> = syllables.iter().filter_map(|readings| readings.first().map(String::as_str)).collect();
    if usual.is_empty() {
        return Vec::new();
    }
    let mut found = vec![usual.join(" ")];
    for (at, readings) in syllables.iter().enumerate() {
        for other in readings.iter().skip(1) {
            let mut reading = usual.clone();
            reading[at] = other;
            found.push(reading.join(" "));
        }
    }
    found.truncate(READINGS_MAX);
    found
}

/// The readings of each part of a name: a character, or a word of letters.
fn syllables(name: &str) -> Vec<Vec<String>> {
    let mut parts: Vec<Vec<String>> = Vec::new();
    let mut in_word = false;
    for c in name.chars() {
        if let Some(multi) = c.to_pinyin_multi() {
            let mut readings: Vec<String> = Vec::new();
            for reading in multi {
                let reading = reading.plain();
                if readings.len() < READINGS_PER_CHARACTER_MAX && !readings.iter().any(|known| known == reading) {
                    readings.push(reading.to_owned());
                }
            }
            parts.push(readings);
            in_word = false;
        } else if c.is_ascii_alphanumeric() {
            let letter = c.to_ascii_lowercase();
            match parts.last_mut().and_then(|part| part.first_mut()).filter(|_| in_word) {
                Some(word) => word.push(letter),
                None => parts.push(vec![letter.to_string()]),
            }
            in_word = true;
        } else {
            if c.is_alphanumeric() {
                parts.push(vec![c.to_lowercase().collect()]);
            }
            // An apostrophe is part of a word: O'Neill.
            in_word &= matches!(c, '\'' | '’');
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_as_people_read_it() {
        let first = |name: &str| readings(name).first().cloned().unwrap_or_default();
        assert_eq!(first("张三"), "zhang san");
        assert_eq!(first("买买提·艾力"), "mai mai ti ai li");
        assert_eq!(first("John O'Neill"), "john oneill");
        assert_eq!(first("王A"), "wang a");
        assert_eq!(first("·"), "");
    }

    #[test]
    fn surnames_that_are_read_otherwise_are_found_under_both() {
        for (name, reading) in [("单雄信", "shan xiong xin"), ("曾国藩", "zeng guo fan"), ("仇和", "qiu he")] {
            let found = readings(name);
            assert!(found.iter().any(|other| other == reading), "{name}: {found:?}");
            assert!(found.len() <= READINGS_MAX, "{name}: {found:?}");
        }
    }

    #[test]
    fn a_rare_character_has_its_reading_or_stands_for_itself() {
        for name in ["王㛃", "𠮷野", "王\u{2a700}"] {
            let found = readings(name);
            assert_eq!(found[0].split(' ').count(), 2, "{found:?}");
        }
    }
}
