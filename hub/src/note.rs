//! Note: the words that a person leaves beside what they did, for whoever asks in a year. What they did it to is not here.

/// The longest note, in bytes.
pub const NOTE_BYTES_MAX: usize = 2_000;

/// Why a text is no note.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoteFault {
    /// It says nothing.
    #[error("is empty; say why, for whoever asks in a year")]
    Empty,
    /// It says too much.
    #[error("has {0} bytes; at most {NOTE_BYTES_MAX} are allowed")]
    Long(usize),
    /// It moves the cursor of whoever reads it.
    #[error("has a control character; write plain text")]
    Control,
}

/// A note that must say something, without the space around it.
///
/// # Errors
/// [`NoteFault`].
pub fn needed(text: &str) -> Result<&str, NoteFault> {
    match optional(text)? {
        "" => Err(NoteFault::Empty),
        note => Ok(note),
    }
}

/// A note that may be empty, without the space around it.
///
/// # Errors
/// [`NoteFault`].
pub fn optional(text: &str) -> Result<&str, NoteFault> {
    let note = text.trim();
    if note.len() > NOTE_BYTES_MAX {
        return Err(NoteFault::Long(note.len()));
    }
    if note.chars().any(|c| c.is_control() && c != '\n') {
        return Err(NoteFault::Control);
    }
    Ok(note)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_plain_words_and_not_too_many() {
        assert_eq!(needed("  compared with the bank\nand the Z \n"), Ok("compared with the bank\nand the Z"));
        assert_eq!((optional(" "), needed(" \t")), (Ok(""), Err(NoteFault::Empty)));
        for (text, fault) in [
            ("x\u{1b}[2Jy", NoteFault::Control),
            ("x\ry", NoteFault::Control),
            ("x\u{9b}y", NoteFault::Control),
            (&"字".repeat(667), NoteFault::Long(2_001)),
        ] {
            assert_eq!((needed(text), optional(text)), (Err(fault), Err(fault)), "{text:?}");
        }
    }
}
