//! Spelling suggestions: the edit distance behind every "did you mean".

use super::fold::fold;

/// Characters of a word that are compared; longer words differ enough in these.
const COMPARED: usize = 64;

/// Returns the edit distance of two words (optimal string alignment: insert, delete, replace, swap neighbours), comparing
/// their first 64 characters.
pub fn edit_distance(a: &str, b: &str) -> usize {
    let start = |text: &str| text.char_indices().nth(COMPARED).map_or(text.len(), |(at, _)| at);
    strsim::osa_distance(&a[..start(a)], &b[..start(b)])
}

/// Returns up to `most` names similar to `word`, closest first.
pub fn similar<'a>(word: &str, names: impl Iterator<Item = &'a str>, most: usize) -> Vec<&'a str> {
    let word = fold(word);
    let mut close: Vec<(usize, &str)> = names
        .filter_map(|name| {
            let lower = fold(name);
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
    fn counts_edits_of_the_first_characters() {
        for (a, b, distance) in [("kitten", "sitting", 3), ("agrs", "args", 1), ("", "abc", 3), ("é", "e", 1)] {
            assert_eq!(edit_distance(a, b), distance, "{a} {b}");
        }
        let long = "é".repeat(1000);
        assert_eq!(edit_distance(&long, ""), COMPARED);
    }
}
