//! English plurals: counted nouns in texts for users.

use std::fmt::Display;

/// Formats a count with its noun: `1 call`, `2 calls`, `0 matches`, `3 entries`.
pub fn counted<N: Display + PartialEq + From<u8>>(n: N, noun: &str) -> String {
    if n == N::from(1) { format!("{n} {noun}") } else { format!("{n} {}", plural(noun)) }
}

/// Returns the regular plural of a noun.
fn plural(noun: &str) -> String {
    match noun.strip_suffix('y') {
        Some(stem) if !stem.ends_with(['a', 'e', 'i', 'o', 'u']) => format!("{stem}ies"),
        _ if noun.ends_with(['s', 'x']) || noun.ends_with("ch") || noun.ends_with("sh") => format!("{noun}es"),
        _ => format!("{noun}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::counted;

    #[test]
    fn only_one_is_singular() {
        assert_eq!([0, 1, 2].map(|n| counted(n, "call")), ["0 calls", "1 call", "2 calls"]);
        assert_eq!(counted(1_u64, "match"), "1 match");
    }

    #[test]
    fn nouns_have_their_regular_plural() {
        let nouns = ["match", "miss", "entry", "reply", "day", "server"];
        assert_eq!(nouns.map(|noun| counted(2_usize, noun)), ["2 matches", "2 misses", "2 entries", "2 replies", "2 days", "2 servers"]);
    }
}
