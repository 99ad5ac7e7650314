//! Spelling suggestions: the edit distance behind every "did you mean".

/// Characters of a word that are compared; longer words differ enough in these.
const COMPARED: usize = 64;

/// Returns the edit distance of two words (optimal string alignment: insert, delete, replace, swap neighbours), comparing
/// their first 64 characters.
pub fn edit_distance(a: &str, b: &str) -> usize {
    let start = |text: &str| text.char_indices().nth(COMPARED).map_or(text.len(), |(at, _)| at);
    strsim::osa_distance(&a[..start(a)], &b[..start(b)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_edits_of_the_first_characters() {
        for (a, b, distance) in [("kitten", "sitting", 3), ("agrs", "args", 1), ("", "abc", 3), ("é", "e", 1)] {
            assert_eq!(edit_distance(a, b), distance, "{a} {b}");
        }
        let long = "é".repeat(1000);
        assert_eq!(edit_distance(&long, ""), COMPARED);
    }
}
