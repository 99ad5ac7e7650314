//! Folding: the form of a text in which searches compare it, without case and diacritics.

use unicode_normalization::UnicodeNormalization;

/// Returns a text in lower case without diacritics and compatibility forms: `Café` is `cafe`, `Ａ` is `a`.
pub fn fold(text: &str) -> String {
    if text.is_ascii() { text.to_ascii_lowercase() } else { without_diacritics(&text.to_lowercase()) }
}

/// Returns a text without diacritics and compatibility forms. Marks that belong to a script, such as the voicing of kana, stay.
pub fn without_diacritics(text: &str) -> String {
    if text.is_ascii() {
        return text.to_owned();
    }
    text.nfkd().filter(|c| !is_diacritic(*c)).nfc().collect()
}

/// Returns whether a character is in one of the blocks of combining diacritical marks, which no script owns.
fn is_diacritic(c: char) -> bool {
    matches!(c, '\u{300}'..='\u{36f}' | '\u{1ab0}'..='\u{1aff}' | '\u{1dc0}'..='\u{1dff}' | '\u{20d0}'..='\u{20ff}' | '\u{fe20}'..='\u{fe2f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_diacritics_and_widths_do_not_matter() {
        for (text, folded) in [
            ("Database_QUERY", "database_query"),
            ("Café", "cafe"),
            ("Cafe\u{301}", "cafe"),
            ("ÅNGSTRÖM", "angstrom"),
            ("İstanbul", "istanbul"),
            ("ＡＢＣ", "abc"),
            ("Ёлка", "елка"),
            ("ΆΛΦΑ", "αλφα"),
            ("が", "が"),
            ("寸止", "寸止"),
            ("한국어", "한국어"),
            ("हिन्दी", "हिन्दी"),
        ] {
            assert_eq!(fold(text), folded, "{text}");
            assert_eq!(fold(&fold(text)), folded, "{text}");
        }
    }
}
