//! Search for tools, resources and prompts: fuzzy in their names, literal in their real names, titles and descriptions. Without
//! case and diacritics in every script. Used by the tree and the palette.

use nucleo_matcher::{
    Config, Matcher, Utf32Str,
    pattern::{CaseMatching, Normalization, Pattern},
};

use crate::domain::fold::fold;

/// Bytes of a description that are searched, so that a key never waits for the texts of thousands of tools.
const SEARCHED: usize = 400;

/// A search. Create one for each text.
pub struct NameSearch {
    pattern: Pattern,
    /// The words that a text has to contain; none if the search uses the syntax of patterns.
    words: Vec<String>,
    matcher: Matcher,
    buffer: Vec<char>,
}

/// A match in a name: its score, higher is better, and the positions of the matched characters.
pub struct Found {
    pub score: u32,
    pub marks: Vec<u32>,
}

impl NameSearch {
    /// Creates a search for what the user typed.
    pub fn new(typed: &str) -> NameSearch {
        let typed = fold(typed);
        let syntax = |word: &str| word.starts_with(['!', '^', '\'']) || word.ends_with('$');
        let words: Vec<String> = typed.split_whitespace().map(str::to_owned).collect();
        NameSearch {
            pattern: Pattern::parse(&typed, CaseMatching::Ignore, Normalization::Smart),
            words: if words.iter().any(|word| syntax(word)) { vec![] } else { words },
            matcher: Matcher::new(Config::DEFAULT),
            buffer: vec![],
        }
    }

    /// Searches a name as it is shown.
    pub fn in_name(&mut self, name: &str) -> Option<Found> {
        let mut marks = vec![];
        // Folding may change the number of characters, so a name is folded only if it is not found otherwise; then nothing is marked.
        if let Some(score) = self.pattern.indices(Utf32Str::new(name, &mut self.buffer), &mut self.matcher, &mut marks) {
            marks.sort_unstable();
            return Some(Found { score, marks });
        }
        let folded = (!name.is_ascii()).then(|| fold(name))?;
        let score = self.pattern.score(Utf32Str::new(&folded, &mut self.buffer), &mut self.matcher)?;
        Some(Found { score, marks: vec![] })
    }

    /// Returns whether these texts contain every word of the search.
    pub fn in_texts<'t>(&self, texts: impl IntoIterator<Item = Option<&'t str>>) -> bool {
        if self.words.is_empty() {
            return false;
        }
        let all: Vec<String> = texts.into_iter().flatten().map(|text| fold(start_of(text, SEARCHED))).collect();
        self.words.iter().all(|word| all.iter().any(|text| text.contains(word)))
    }
}

/// Returns at most the first `limit` bytes of a text.
fn start_of(text: &str, limit: usize) -> &str {
    let mut end = limit.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_match_loosely_and_texts_literally() {
        let mut search = NameSearch::new("DBq");
        assert_eq!(search.in_name("db_query").unwrap().marks, [0, 1, 3]);
        assert!(search.in_name("files_read").is_none() && !search.in_texts([Some("does big queries")]));
        for (typed, text) in [("cafe bar", "Bär im Café"), ("Поиск", "поиск файлов"), ("検索", "ファイルを検索する"), ("ΑΛΦΑ", "άλφα")]
        {
            let search = NameSearch::new(typed);
            assert!(search.in_texts([None, Some(text)]), "{typed} {text}");
        }
        let mut search = NameSearch::new("елка");
        assert!(search.in_name("server Ёлка").is_some());
        assert!(!NameSearch::new("").in_texts([Some("x")]) && !NameSearch::new("!x").in_texts([Some("x")]));
    }
}
