//! Names typed by users: patterns and suggestions.

pub use crate::domain::spelling::similar;
use crate::domain::{
    fold::fold,
    glob::{is_glob, matches_or_contains},
};

/// A pattern for names, compared without case and diacritics.
pub struct NamePattern {
    folded: String,
}

impl NamePattern {
    /// Creates a pattern: with `*` or `?` for a whole name, else for a part of it.
    pub fn new(pattern: &str) -> NamePattern {
        NamePattern { folded: fold(pattern) }
    }

    /// Returns whether the pattern matches a name.
    pub fn fits(&self, name: &str) -> bool {
        matches_or_contains(&self.folded, &fold(name))
    }

    /// Returns whether a text such as a description contains the pattern. A pattern with `*` or `?` is only for names.
    pub fn is_in(&self, text: &str) -> bool {
        !is_glob(&self.folded) && fold(text).contains(&self.folded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_names_and_words_match_parts() {
        for (pattern, name, expected) in
            [("db", "my_db_query", true), ("DB_*", "db_query", true), ("*query", "db_query", true), ("query*", "db_query", false)]
        {
            assert_eq!(NamePattern::new(pattern).fits(name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn case_and_diacritics_do_not_matter_and_wildcards_are_for_names() {
        for (pattern, text) in [("cafe", "Un CAFÉ"), ("CAFÉ", "un cafe"), ("поиск", "ПОИСК файлов"), ("検索", "ファイル検索")]
        {
            assert!(NamePattern::new(pattern).is_in(text) && NamePattern::new(pattern).fits(text), "{pattern} {text}");
        }
        assert!(!NamePattern::new("*").is_in("any text") && !NamePattern::new("q*y").is_in("query"));
    }

    #[test]
    fn close_names_come_first() {
        let names = ["db_query", "db_insert", "files_read"];
        assert_eq!(similar("db_qery", names.into_iter(), 3), ["db_query"]);
        assert_eq!(similar("query", names.into_iter(), 3), ["db_query"]);
        assert!(similar("zzz", names.into_iter(), 3).is_empty());
    }
}
