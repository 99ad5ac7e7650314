//! Finds the values whose beginning a text ends with, in a time that hardly depends on their number.

/// Values by their beginnings.
pub(super) struct Beginnings {
    /// Sorted, so that those with the same beginning are neighbours.
    values: Vec<Vec<u8>>,
    /// Length of the longest value, in bytes.
    longest: usize,
    /// One bit for each pair of bytes: whether a value begins with it. Nearly all places of a text are rejected by it.
    pairs: Vec<u64>,
}

impl Beginnings {
    pub fn new(values: impl IntoIterator<Item = Vec<u8>>) -> Self {
        let mut values: Vec<Vec<u8>> = values.into_iter().collect();
        values.sort_unstable();
        values.dedup();
        let longest = values.iter().map(Vec::len).max().unwrap_or(0);
        let mut pairs = vec![0; 1 << 10];
        for pair in values.iter().filter_map(|value| value.first_chunk()) {
            let (word, bit) = bit_of(*pair);
            pairs[word] |= bit;
        }
        Self { values, longest, pairs }
    }

    /// Returns the length of the longest end of `text` with which a longer value begins. `long_enough` gets the lengths of the end
    /// and of the value.
    pub fn at_end(&self, text: &[u8], long_enough: impl Fn(usize, usize) -> bool) -> Option<usize> {
        let most = self.longest.saturating_sub(1).min(text.len());
        (1..=most).rev().find(|length| {
            let end = &text[text.len() - length..];
            let possible = end.first_chunk().is_none_or(|pair| {
                let (word, bit) = bit_of(*pair);
                self.pairs[word] & bit != 0
            });
            possible && self.beginning_with(end).any(|value| value.len() > *length && long_enough(*length, value.len()))
        })
    }

    fn beginning_with<'a>(&'a self, beginning: &'a [u8]) -> impl Iterator<Item = &'a Vec<u8>> {
        let first = self.values.partition_point(|value| value.as_slice() < beginning);
        self.values[first..].iter().take_while(move |value| value.starts_with(beginning))
    }
}

fn bit_of(pair: [u8; 2]) -> (usize, u64) {
    let number = u16::from_be_bytes(pair);
    (usize::from(number >> 6), 1 << (number & 63))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_longest_end_is_that_of_a_search_through_all(values in prop::collection::vec("[ab]{0,6}", 0..6), text in "[abc]{0,9}") {
            let ends = (1..=text.len()).rev().find(|length| {
                values.iter().any(|value| value.len() > *length && *length >= value.len() / 2 && value.starts_with(&text[text.len() - length..]))
            });
            let found = Beginnings::new(values.iter().map(|value| value.clone().into_bytes()));
            prop_assert_eq!(found.at_end(text.as_bytes(), |length, of| length >= of / 2), ends);
        }
    }
}
