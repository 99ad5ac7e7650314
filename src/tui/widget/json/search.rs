//! Finds text in a document a piece at a time, so that no frame waits for a long one.

use memchr::{memchr2_iter, memmem};

/// How many matches are kept.
const MOST: usize = 500_000;

/// How far a search has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Nothing is searched for, or everything has been looked at: how many matches there are.
    Done(usize),
    /// There is more to look at: matches so far.
    More(usize),
}

/// A search. Small letters in what is searched for match capitals too.
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

    /// Looks at up to `budget` more bytes.
    pub fn step(&mut self, bytes: &[u8], budget: usize) -> Progress {
        if self.done {
            return self.progress();
        }
        let needle = self.needle.as_bytes();
        let end = bytes.len().min(self.at.saturating_add(budget.max(1)));
        // A match may begin in this piece and end in the next one.
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

    /// The places of matches in shown text, as byte ranges.
    pub fn places(&self, shown: &str) -> Vec<std::ops::Range<usize>> {
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
        fn pieces_find_what_one_look_finds(text in "[abA]{0,60}", needle in "[abA]{1,3}", budget in 1usize..9) {
            let mut search = Search::new(&needle);
            let mut steps = 0;
            while let Progress::More(_) = search.step(text.as_bytes(), budget) {
                steps += 1;
                prop_assert!(steps <= 60);
            }
            let fold = |s: &str| if needle.contains('A') { s.to_owned() } else { s.to_lowercase() };
            let (text, needle) = (fold(&text), fold(&needle));
            let all: Vec<u32> = (0..text.len()).filter(|at| text[*at..].starts_with(&needle)).map(|at| at as u32).collect();
            // Overlapping matches may be told as one.
            prop_assert_eq!(search.matches().is_empty(), all.is_empty());
            prop_assert!(search.matches().iter().all(|hit| all.contains(hit)));
            prop_assert!(search.matches().windows(2).all(|pair| pair[0] < pair[1]));
        }
    }
}
