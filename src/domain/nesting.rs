//! Nesting limits for text before it is parsed: expressions and TOML.
//!
//! Every later walk over a parsed tree is recursive, and so is its destructor. A limit on the depth, computed from
//! the text alone, protects all of them. The computed depth is never below the real one.

/// Maximum depth of an expression: nested operators, filters, keys and brackets.
pub const EXPRESSION: usize = 300;
/// Maximum length of an expression, in bytes.
pub const EXPRESSION_BYTES: usize = 64 << 10;
/// Maximum depth of a TOML value: nested tables and arrays.
pub const TOML: usize = 100;

/// An open pair of brackets.
#[derive(Clone, Copy, Default)]
struct Level {
    /// Chain length since the last separator: `a.b|c + d` has three.
    chain: usize,
    /// Deepest operand since the last separator.
    operand: usize,
    /// Deepest member before the last separator.
    before: usize,
}

impl Level {
    fn depth(self) -> usize {
        self.before.max(self.chain + self.operand)
    }

    fn separate(self) -> Level {
        Level { before: self.depth(), ..Level::default() }
    }
}

/// The open levels, with the depth around the last one.
struct Levels {
    open: Vec<Level>,
    around: usize,
}

impl Levels {
    fn new() -> Levels {
        Levels { open: vec![Level::default()], around: 0 }
    }

    fn last(&mut self) -> &mut Level {
        if self.open.is_empty() {
            self.open.push(Level::default());
        }
        let last = self.open.len() - 1;
        &mut self.open[last]
    }

    fn push(&mut self) {
        self.last().chain += 1;
        self.around += self.last().chain;
        self.open.push(Level::default());
    }

    fn pop(&mut self) {
        if self.open.len() < 2 {
            return;
        }
        let inner = self.open.pop().unwrap_or_default().depth();
        let outer = self.last();
        outer.operand = outer.operand.max(inner);
        let chain = outer.chain;
        self.around = self.around.saturating_sub(chain);
    }

    fn depth(&mut self) -> usize {
        self.around + self.last().depth()
    }
}

/// Returns the byte offset at which an expression (without its braces) becomes deeper than [`EXPRESSION`].
pub fn deep_expression(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut levels = Levels::new();
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let start = at;
        at += 1;
        match byte {
            b'"' | b'\'' => at = string_end(bytes, start),
            b'(' | b'[' | b'{' => levels.push(),
            b')' | b']' | b'}' => levels.pop(),
            b',' | b':' => {
                let level = levels.last();
                *level = level.separate();
            }
            // The point of a number counts too, which overestimates.
            b'.' | b'|' | b'~' | b'+' | b'-' | b'*' | b'/' | b'%' | b'<' | b'>' | b'=' | b'!' => levels.last().chain += 1,
            byte if byte.is_ascii_alphabetic() || *byte == b'_' || !byte.is_ascii() => {
                while bytes.get(at).is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'_' || !b.is_ascii()) {
                    at += 1;
                }
                if ["and", "or", "not", "in", "is", "if", "else"].contains(&&text[start..at]) {
                    levels.last().chain += 1;
                }
            }
            _ => {}
        }
        if levels.depth() > EXPRESSION {
            return Some(start);
        }
    }
    None
}

/// Returns the offset after a string that starts at `start`.
fn string_end(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'\\' => at += 2,
            byte if *byte == bytes[start] => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// Returns the byte offset at which TOML becomes deeper than [`TOML`].
pub fn deep_toml(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut levels = Levels::new();
    // The depth of the table in the last header, and whether a header is being read.
    let (mut header, mut heading, mut line_start) = (0, false, true);
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let start = at;
        at += 1;
        let outermost = levels.open.len() == 1;
        match byte {
            b' ' | b'\t' => continue,
            b'\n' | b'\r' => {
                if heading {
                    header = levels.depth();
                    (levels, heading) = (Levels::new(), false);
                } else if outermost {
                    levels = Levels::new();
                }
                line_start = true;
                continue;
            }
            b'#' => {
                at = bytes[start..].iter().position(|b| *b == b'\n').map_or(bytes.len(), |end| start + end);
                continue;
            }
            b'"' | b'\'' => at = toml_string_end(bytes, start),
            b'[' if outermost && line_start => (heading, header) = (true, 0),
            b'[' if heading => {}
            b']' if heading => {}
            b'[' | b'{' => levels.push(),
            b']' | b'}' => levels.pop(),
            b',' => {
                let level = levels.last();
                *level = level.separate();
            }
            b'.' => levels.last().chain += 1,
            _ => {}
        }
        line_start = false;
        if header + levels.depth() > TOML {
            return Some(start);
        }
    }
    None
}

/// Returns the offset after a TOML string that starts at `start`.
fn toml_string_end(bytes: &[u8], start: usize) -> usize {
    let quote = bytes[start];
    let long = bytes.get(start..start + 3).is_some_and(|three| three.iter().all(|b| *b == quote));
    let mut at = start + if long { 3 } else { 1 };
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'\\' if quote == b'"' => at += 2,
            // An unclosed string ends with its line; the parser reports it with its position.
            b'\n' if !long => return at,
            byte if *byte == quote && (!long || bytes[at..].starts_with(&[quote; 3])) => {
                at += if long { 3 } else { 1 };
                // A long string may end with two more quotation marks.
                while long && bytes.get(at) == Some(&quote) {
                    at += 1;
                }
                return at;
            }
            _ => at += 1,
        }
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_expressions_are_shallow_and_chains_of_every_kind_are_found() {
        for text in [
            "input.users | selectattr('role', 'eq', \"admin.(\") | map(attribute='email') | join(', ')",
            "{'a': [1, 2, {'b': steps.x.result.y[0].z}], 'c': not (a and b) or c}",
            "1.5 + 2",
            "",
            "'unclosed",
            ")))",
        ] {
            assert_eq!(deep_expression(text), None, "{text}");
        }
        assert_eq!(deep_expression(&format!("[{}]", vec!["input.a + 1"; 3000].join(", "))), None, "siblings add no depth");
        let n = 20_000;
        let chains = [
            format!("a{}", " or a".repeat(n)),
            format!("{}a", "not ".repeat(n)),
            format!("{}a", "-".repeat(n)),
            format!("a{}", "|b".repeat(n)),
            format!("a{}", ".b".repeat(n)),
            format!("a{}", "[0]".repeat(n)),
            format!("a{}", "()".repeat(n)),
            format!("a{}", " if b else a".repeat(n)),
            format!("a{}", " is b".repeat(n)),
            format!("a{}", " ~ a".repeat(n)),
            format!("{}1{}", "(".repeat(n), ")".repeat(n)),
            format!("{}1{}", "[".repeat(n), "]".repeat(n)),
            format!("{}1{}", "{'a':".repeat(n), "}".repeat(n)),
            // Deep on the left, although no bracket is open there.
            (0..40).fold("a".to_owned(), |text, _| format!("({text}{})", "|b".repeat(20))),
            (0..400).fold("a".to_owned(), |text, _| format!("[1, {text}]")),
        ];
        for text in chains {
            assert!(deep_expression(&text).is_some(), "{}", &text[..20]);
        }
    }

    #[test]
    fn toml_is_measured_with_headers_dotted_keys_and_inline_tables_together() {
        for text in [
            include_str!("../../config.example.toml"),
            "[a.b.c]\nd.e = { f = [1.5, 2.5, \"}}..[[\"] } # ....[[[[\n[[x]]\ny = '''\n[[[[[\n...''''\n",
            "a = 1979-05-27T07:32:00.999\nb = \"\"\"\n\\\"\"\"\"\"\"\n",
        ] {
            assert_eq!(deep_toml(text), None, "{text}");
        }
        let many = (0..5000).map(|n| format!("[t.a.b.k{n}]\nx.y = [{{ z = 1 }}, {{ z = 2 }}]\n")).collect::<String>();
        assert_eq!(deep_toml(&many), None, "siblings add no depth");
        let dotted = vec!["a"; 60].join(".");
        let chains = [
            format!("{} = 1", vec!["a"; 20_000].join(".")),
            format!("[{}]\n", vec!["a"; 20_000].join(".")),
            format!("[[{}]]\n", vec!["a"; 20_000].join(" . ")),
            format!("{} = 1", vec!["\"a\""; 20_000].join(".")),
            format!("a = {}", "[".repeat(20_000)),
            format!("a = {}", "[\n".repeat(20_000)),
            format!("[{dotted}]\n{dotted} = 1\n"),
            format!("[{dotted}]\nx = {{ {dotted} = 1 }}\n"),
            format!("{dotted} = {{ {dotted} = 1 }}"),
        ];
        for text in chains {
            assert!(deep_toml(&text).is_some(), "{}", &text[..40]);
        }
    }
}
