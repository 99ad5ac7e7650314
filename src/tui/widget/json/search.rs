//! Incremental text search in a document, so that a long document does not block a frame.

use memchr::{memchr2_iter, memmem};

/// The most matches.
const MOST: usize = 500_000;

/// The progress of a search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The search is complete, or nothing is searched for: the number of matches.
    Done(usize),
    /// The search continues: the number of matches so far.
    More(usize),
}

/// A search. Case-insensitive unless the search text has a capital.
#[derive(Clone, Debug)]
pub(super) struct Search {
    needle: String,
    any_case: bool,
    at: usize,
    done: bool,
    matches: Vec<u32>,
}

impl Search {
    pub fn new(needle: &str) -> Search {
        let any_case = !needle.chars().any(char::is_uppercase);
        Search { needle: needle.to_owned(), any_case, at: 0, done: needle.is_empty(), matches: vec![] }
    }

    pub fn needle(&self) -> &str {
        &self.needle
    }

    pub fn matches(&self) -> &[u32] {
        &self.matches
    }

    pub fn progress(&self) -> Progress {
        if self.done { Progress::Done(self.matches.len()) } else { Progress::More(self.matches.len()) }
    }

    /// Searches up to `budget` more bytes.
    pub fn step(&mut self, bytes: &[u8], budget: usize) -> Progress {
        if self.done {
            return self.progress();
        }
        let needle = self.needle.as_bytes();
        let end = bytes.len().min(self.at.saturating_add(budget.max(1)));
        // A match may start in this piece and end in the next one.
        let piece = &bytes[self.at.min(end)..bytes.len().min(end + needle.len() - 1)];
        let at = self.at;
        let room = MOST.saturating_sub(self.matches.len());
        if self.any_case {
            let (low, high) = (needle[0].to_ascii_lowercase(), needle[0].to_ascii_uppercase());
            let hits = memchr2_iter(low, high, piece)
                .filter(|from| piece.get(*from..from + needle.len()).is_some_and(|part| part.eq_ignore_ascii_case(needle)));
            self.matches.extend(hits.take(room).map(|hit| (at + hit) as u32));
        } else {
            self.matches.extend(memmem::find_iter(piece, needle).take(room).map(|hit| (at + hit) as u32));
        }
        self.at = end;
        self.done = end >= bytes.len() || self.matches.len() >= MOST;
        self.progress()
    }

    /// Returns the byte ranges of the matches in shown text.
    pub fn ranges_in(&self, shown: &str) -> Vec<std::ops::Range<usize>> {
        let needle = self.needle.as_bytes();
        let (mut out, mut at) = (vec![], 0);
        while !needle.is_empty() && at + needle.len() <= shown.len() {
            let part = &shown.as_bytes()[at..at + needle.len()];
            let hit = if self.any_case { part.eq_ignore_ascii_case(needle) } else { part == needle };
            if hit && shown.is_char_boundary(at) && shown.is_char_boundary(at + needle.len()) {
                out.push(at..at + needle.len());
                at += needle.len();
            } else {
                at += 1;
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_search_in_pieces_finds_the_same_matches(text in "[abA]{0,60}", needle in "[abA]{1,3}", budget in 1usize..9) {
            let mut search = Search::new(&needle);
            let mut steps = 0;
            while let Progress::More(_) = search.step(text.as_bytes(), budget) {
                steps += 1;
                prop_assert!(steps <= 60);
            }
            let fold = |s: &str| if needle.contains('A') { s.to_owned() } else { s.to_lowercase() };
            let (text, needle) = (fold(&text), fold(&needle));
            let all: Vec<u32> = (0..text.len()).filter(|at| text[*at..].starts_with(&needle)).map(|at| at as u32).collect();
            // Overlapping matches may count as one.
            prop_assert_eq!(search.matches().is_empty(), all.is_empty());
            prop_assert!(search.matches().iter().all(|hit| all.contains(hit)));
            prop_assert!(search.matches().windows(2).all(|pair| pair[0] < pair[1]));
        }
    }
}
