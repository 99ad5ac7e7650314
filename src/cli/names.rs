//! Names typed by users: patterns and suggestions.

use crate::domain::{glob::matches_or_contains, spelling::edit_distance};

/// Returns whether `name` matches `pattern`: with `*` or `?` the whole name, else a part of it. Case-insensitive.
pub fn fits(pattern: &str, name: &str) -> bool {
    matches_or_contains(&pattern.to_lowercase(), &name.to_lowercase())
}

/// Returns up to `most` names similar to `word`, closest first.
pub fn similar<'a>(word: &str, names: impl Iterator<Item = &'a str>, most: usize) -> Vec<&'a str> {
    let word = word.to_lowercase();
    let mut close: Vec<(usize, &str)> = names
        .filter_map(|name| {
            let lower = name.to_lowercase();
            let within = word.len() >= 3 && (lower.contains(&word) || (lower.len() >= 3 && word.contains(&lower)));
            let distance = edit_distance(&word, &lower);
            (within || distance <= word.chars().count().div_ceil(3)).then_some((if within { distance.min(2) } else { distance }, name))
        })
        .collect();
    close.sort();
    close.into_iter().take(most).map(|(_, name)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_names_and_words_match_parts() {
        for (pattern, name, expected) in
            [("db", "my_db_query", true), ("DB_*", "db_query", true), ("*query", "db_query", true), ("query*", "db_query", false)]
        {
            assert_eq!(fits(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn close_names_come_first() {
        let names = ["db_query", "db_insert", "files_read"];
        assert_eq!(similar("db_qery", names.into_iter(), 3), ["db_query"]);
        assert_eq!(similar("query", names.into_iter(), 3), ["db_query"]);
        assert!(similar("zzz", names.into_iter(), 3).is_empty());
    }
}
