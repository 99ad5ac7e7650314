//! Index of a text: lines, columns and characters by byte offset, without scanning the text for each of them.

/// Bytes between two entries of the index. A look-up scans at most this much.
const STRIDE: usize = 512;

/// Line, column and number of characters at a byte offset, all from 0.
#[derive(Clone, Copy, Debug, Default)]
struct Mark {
    byte: usize,
    line: usize,
    column: usize,
    chars: usize,
}

/// The index of one text.
#[derive(Debug, Default)]
pub(super) struct Places(Vec<Mark>);

impl Places {
    /// Indexes a text in one pass.
    pub fn of(text: &str) -> Places {
        let (mut marks, mut mark) = (vec![], Mark::default());
        for c in text.chars() {
            if marks.last().is_none_or(|last: &Mark| mark.byte >= last.byte + STRIDE) {
                marks.push(mark);
            }
            mark = mark.after(c);
        }
        marks.push(mark);
        Places(marks)
    }

    /// Returns line and column (in characters) of a byte offset in `text`, both from 1.
    pub fn place(&self, text: &str, at: usize) -> (u32, u32) {
        let near = self.0.partition_point(|mark| mark.byte <= at);
        let mark = self.walk(text, near, |mark| mark.byte >= at);
        let number = |n: usize| u32::try_from(n + 1).unwrap_or(u32::MAX);
        (number(mark.line), number(mark.column))
    }

    /// Returns the byte offset of the character at `index` in `text`.
    pub fn byte_of_char(&self, text: &str, index: usize) -> usize {
        let near = self.0.partition_point(|mark| mark.chars <= index);
        if let Some([before, after]) = near.checked_sub(1).and_then(|first| self.0.get(first..=near))
            && after.byte - before.byte == after.chars - before.chars
        {
            // Only ASCII in between.
            return before.byte + (index - before.chars);
        }
        self.walk(text, near, |mark| mark.chars >= index).byte
    }

    /// Walks from the entry before `near` until `reached`, or to the end of the text.
    fn walk(&self, text: &str, near: usize, reached: impl Fn(&Mark) -> bool) -> Mark {
        let mut mark = near.checked_sub(1).and_then(|index| self.0.get(index)).copied().unwrap_or_default();
        for c in text.get(mark.byte..).unwrap_or_default().chars() {
            if reached(&mark) {
                break;
            }
            mark = mark.after(c);
        }
        mark
    }
}

impl Mark {
    fn after(self, c: char) -> Mark {
        let (line, column) = if c == '\n' { (self.line + 1, 0) } else { (self.line, self.column + 1) };
        Mark { byte: self.byte + c.len_utf8(), line, column, chars: self.chars + 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_agree_with_counting() {
        let text: String = (0..3000)
            .map(|n| {
                if n > 1500 {
                    "plain\n"
                } else if n % 7 == 0 {
                    "ü\n"
                } else {
                    "ab€"
                }
            })
            .collect();
        let places = Places::of(&text);
        for (index, (byte, _)) in text.char_indices().enumerate().step_by(37) {
            let before = &text[..byte];
            let line = before.matches('\n').count() + 1;
            let column = before.rsplit('\n').next().unwrap().chars().count() + 1;
            assert_eq!(places.place(&text, byte), (line as u32, column as u32));
            assert_eq!(places.byte_of_char(&text, index), byte);
        }
        assert_eq!(places.byte_of_char(&text, usize::MAX), text.len());
        assert_eq!(Places::of("").place("", 5), (1, 1));
    }
}
