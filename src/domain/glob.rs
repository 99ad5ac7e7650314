//! Globs: names with the wildcards `*` (any characters) and `?` (one character).
//!
//! The only glob matcher. Policies use it by [`super::policy::pattern::Pattern`], which also has regular expressions; the
//! filter of the traffic view and the patterns of the command line use [`matches_or_contains`].

/// Returns whether a text has wildcards.
pub fn is_glob(text: &str) -> bool {
    text.contains(['*', '?'])
}

/// Returns whether the whole `name` matches `pattern`. Case-sensitive.
pub fn matches(pattern: &str, name: &str) -> bool {
    let (mut pattern, mut rest) = (pattern.chars(), name.chars());
    // Greedy with one backtracking point, the last `*`: at most the product of both lengths, never exponential.
    let mut star = None;
    loop {
        match pattern.next() {
            Some('*') => {
                star = Some((pattern.clone(), rest.clone()));
                continue;
            }
            Some(c) if rest.next().is_some_and(|found| c == '?' || c == found) => continue,
            None if rest.as_str().is_empty() => return true,
            _ => {}
        }
        // The last `*` takes one more character.
        let Some((after, from)) = &mut star else { return false };
        if from.next().is_none() {
            return false;
        }
        (pattern, rest) = (after.clone(), from.clone());
    }
}

/// Returns whether the whole `name` matches `pattern`, or contains it if `pattern` has no wildcards. Case-sensitive.
pub fn matches_or_contains(pattern: &str, name: &str) -> bool {
    if is_glob(pattern) { matches(pattern, name) } else { name.contains(pattern) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn wildcards_match_the_whole_name_and_words_a_part() {
        for (pattern, name, expected) in [
            ("data", "database", true),
            ("query*", "db_query", false),
            ("*query", "db_query", true),
            ("c*t*r", "create_user", true),
            ("d?_*y", "db_query", true),
            ("a*a", "a", false),
            ("a**b", "ab", true),
            ("*", "", true),
            ("?", "", false),
            ("?", "é", true),
            ("*é?", "caféé", true),
            ("a\n*", "a\nb", true),
            ("*a*a*a*a*b", &"a".repeat(500), false),
        ] {
            assert_eq!(matches_or_contains(pattern, name), expected, "{pattern} {name}");
        }
        assert!(!matches("data", "database") && matches("data", "data") && matches("", ""));
    }

    proptest! {
        #[test]
        fn a_glob_matches_as_its_regular_expression(pattern in "[ab*?é.]{0,8}", name in "[abé.]{0,10}") {
            let source = regex::escape(&pattern).replace(r"\*", ".*").replace(r"\?", ".");
            let regex = regex::Regex::new(&format!("^(?s){source}$")).unwrap();
            prop_assert_eq!(matches(&pattern, &name), regex.is_match(&name));
        }
    }
}
