//! The redactor: masks known secret values in text.

use std::{fmt, ops::Range, sync::Arc};

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use serde::de::IgnoredAny;

use super::{
    super::{body::Body, bounds},
    MASK, Secret,
    beginnings::Beginnings,
    forms::{self, BACKSLASH, Decoder, PERCENT},
};

/// Values shorter than this, in bytes, are never masked: that would hide ordinary words.
pub const SHORTEST: usize = 6;

/// Number of decoded layers of escapes: JSON inside a JSON string has two.
const LAYERS: usize = 3;

/// Minimum length of a partial value that is masked at the beginning or end of a text, in bytes.
const SHORTEST_PART: usize = 12;

/// Replaces known secret values in text by [`MASK`], before it is displayed or stored.
///
/// Finds a value as is, with JSON escapes (up to three layers) or percent encoding, as base64 (also as part of a
/// longer value, as in `Authorization: Basic`), in hexadecimal, and with HTML entities, ignoring case. If a text cuts
/// off a value at its beginning or end, a part of at least 12 bytes and half of the value is masked. Values shorter
/// than six bytes are not masked. Cheap to clone.
#[derive(Clone, Default)]
pub struct Redactor(Option<Arc<Known>>);

struct Known {
    finder: AhoCorasick,
    /// Values that a text may cut off at its end.
    long: Beginnings,
    /// The same with their bytes reversed, for the beginning of a text.
    reversed: Beginnings,
    /// The searched patterns, in lower case: every spelling of every value.
    patterns: Beginnings,
    /// Length of the longest pattern, in bytes.
    reach: usize,
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Redactor")
    }
}

impl Redactor {
    /// Creates a redactor for `secrets`.
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a Secret>) -> Self {
        Self::with(secrets, None)
    }

    /// Creates a redactor for a few short texts: it is made in a fraction of the time, and searches slower.
    pub fn brief<'a>(secrets: impl IntoIterator<Item = &'a Secret>) -> Self {
        Self::with(secrets, Some(AhoCorasickKind::NoncontiguousNFA))
    }

    fn with<'a>(secrets: impl IntoIterator<Item = &'a Secret>, kind: Option<AhoCorasickKind>) -> Self {
        let mut values: Vec<&str> = secrets.into_iter().map(|secret| secret.value.as_str()).filter(|v| v.len() >= SHORTEST).collect();
        values.sort_unstable();
        values.dedup();
        if values.is_empty() {
            return Self(None);
        }
        let patterns: Vec<String> = values.iter().flat_map(|value| forms::patterns(value)).collect();
        // Leftmost-longest matches do not overlap: of two values that do, the end of the second one would stay.
        let finder = AhoCorasick::builder().match_kind(MatchKind::Standard).ascii_case_insensitive(true).kind(kind).build(&patterns);
        let reach = patterns.iter().map(String::len).max().unwrap_or(0);
        let long = || values.iter().filter(|value| value.len() >= SHORTEST_PART).map(|value| value.as_bytes());
        let known = |finder| Known {
            finder,
            long: Beginnings::new(long().map(<[u8]>::to_vec)),
            reversed: Beginnings::new(long().map(|value| value.iter().rev().copied().collect())),
            patterns: Beginnings::new(patterns.into_iter().map(|pattern| pattern.to_ascii_lowercase().into_bytes())),
            reach,
        };
        // Fails only if there are more patterns than fit into 32 bits.
        Self(finder.ok().map(|finder| Arc::new(known(finder))))
    }

    /// Returns whether the redactor knows no values.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Returns whether `bytes` contain a known value.
    pub fn finds(&self, bytes: &[u8]) -> bool {
        let Some(known) = &self.0 else { return false };
        known.cut(bytes).next().is_some() || layers(bytes, &mut |view, _| known.finder.is_match(view))
    }

    /// Replaces every known value by [`MASK`].
    pub fn redact(&self, text: &str) -> String {
        let ranges = self.ranges(text.as_bytes());
        if ranges.is_empty() { text.to_owned() } else { replaced(text.as_bytes(), &ranges, |_| MASK) }
    }

    /// Masks `text` in place.
    pub fn redact_in(&self, text: &mut String) {
        let ranges = self.ranges(text.as_bytes());
        if !ranges.is_empty() {
            *text = replaced(text.as_bytes(), &ranges, |_| MASK);
        }
    }

    /// Masks JSON text, which stays valid JSON. A number that contains a known value becomes a string.
    pub fn redact_json(&self, text: &str) -> String {
        let mut ranges = self.ranges(text.as_bytes());
        if ranges.is_empty() {
            return text.to_owned();
        }
        let inside = within_strings(text.as_bytes(), &mut ranges);
        let mut inside = inside.into_iter();
        let quoted = format!("\"{MASK}\"");
        let shown = replaced(text.as_bytes(), &ranges, |_| if inside.next().unwrap_or(false) { MASK } else { &quoted });
        let is_json = |text: &str| serde_json::from_str::<IgnoredAny>(text).is_ok();
        // A value with quotation marks may extend past the end of a string.
        if is_json(text) && !is_json(&shown) { quoted } else { shown }
    }

    /// Masks bytes; returns `None` if they contain no known value.
    pub fn redact_bytes(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        let ranges = self.ranges(bytes);
        (!ranges.is_empty()).then(|| replaced_bytes(bytes, &ranges, |_| MASK))
    }

    /// Masks and cuts to `limit` bytes as [`bounds::cut`] does. No beginning of a value is left at the cut.
    pub fn redact_cut(&self, text: &str, limit: usize) -> String {
        self.redact_front_of(text, limit, text.len())
    }

    /// Masks and cuts a text that is the beginning of `whole` bytes, as [`Redactor::redact_cut`] does.
    pub fn redact_front_of(&self, text: &str, limit: usize, whole: usize) -> String {
        let window = bounds::boundary(text, limit.saturating_add(self.reach()));
        let mut masked = self.redact(&text[..window]);
        if window == whole {
            bounds::shorten(&mut masked, limit);
            return masked;
        }
        masked.truncate(bounds::boundary(&masked, masked.len() - self.begun(masked.as_bytes())));
        bounds::cut_of(&masked, limit, whole).into_owned()
    }

    /// Returns at most the first `limit` bytes of a body, masked, with no beginning of a value left at the cut.
    /// Shares the memory of `body` if nothing changes.
    pub fn redact_front(&self, body: &Body, limit: usize) -> Body {
        if body.len() <= limit {
            return body.redacted(self);
        }
        let window = body.front(limit.saturating_add(self.reach()));
        let masked = if self.finds(window.bytes()) { Body::from(self.redact(&window.text())) } else { window };
        masked.front(limit.min(masked.len() - self.begun(masked.bytes())))
    }

    fn reach(&self) -> usize {
        self.0.as_ref().map_or(0, |known| known.reach)
    }

    /// Returns how many bytes at the end of `text` are the beginning of a known value.
    fn begun(&self, text: &[u8]) -> usize {
        let Some(known) = &self.0 else { return 0 };
        let end = &text[text.len().saturating_sub(known.reach)..];
        known.patterns.at_end(&end.to_ascii_lowercase(), |_, _| true).unwrap_or(0)
    }

    /// Returns the ranges of known values, ascending, merged if they touch.
    fn ranges(&self, bytes: &[u8]) -> Vec<Range<usize>> {
        let Some(known) = &self.0 else { return vec![] };
        let mut found: Vec<Range<usize>> = known.cut(bytes).collect();
        layers(bytes, &mut |view, path| {
            let ranges = merged(known.finder.find_overlapping_iter(view).map(|m| m.range()));
            if !ranges.is_empty() {
                found.extend(original(bytes, path, ranges));
            }
            false
        });
        found.sort_by_key(|range| range.start);
        merged(found)
    }
}

impl Known {
    /// Returns the beginning of a value at the end of `bytes`, and the end of a value at their beginning: texts may
    /// have been cut by length.
    fn cut(&self, bytes: &[u8]) -> impl Iterator<Item = Range<usize>> {
        let body = bytes.strip_suffix("…".as_bytes()).unwrap_or(bytes);
        let long_enough = |length: usize, of: usize| length >= SHORTEST_PART && length >= of.div_ceil(2);
        let tail = self.long.at_end(body, long_enough).map(|length| body.len() - length..body.len());
        let front: Vec<u8> = body.iter().take(self.reach).rev().copied().collect();
        let head = self.reversed.at_end(&front, long_enough).map(|length| 0..length);
        tail.into_iter().chain(head)
    }
}

/// A decoding step from a text to a view of it.
type Step = (u8, Decoder);

/// Passes `bytes`, and what they contain behind escapes, to `look` with the steps that lead there, until it returns
/// true. Returns whether it did.
fn layers(bytes: &[u8], look: &mut impl FnMut(&[u8], &[Step]) -> bool) -> bool {
    let mut path: Vec<Step> = vec![];
    let mut layer: Option<Vec<u8>> = None;
    for _ in 0..=LAYERS {
        let view = layer.as_deref().unwrap_or(bytes);
        if look(view, &path) {
            return true;
        }
        if let Some(plain) = forms::decoded(view, PERCENT, forms::percent) {
            path.push((PERCENT, forms::percent));
            let enough = look(&plain, &path);
            path.pop();
            if enough {
                return true;
            }
        }
        let Some(next) = forms::decoded(view, BACKSLASH, forms::backslash) else { return false };
        path.push((BACKSLASH, forms::backslash));
        layer = Some(next);
    }
    false
}

/// Maps ranges of a view to ranges of the original bytes. Views in between are recomputed: matches are rare, and
/// storing all views would cost memory for every text.
fn original(bytes: &[u8], path: &[Step], ranges: Vec<Range<usize>>) -> Vec<Range<usize>> {
    let Some(((mark, decoder), before)) = path.split_last() else { return ranges };
    let mut layer: Option<Vec<u8>> = None;
    for (mark, decoder) in before {
        let view = layer.as_deref().unwrap_or(bytes);
        layer = forms::decoded(view, *mark, *decoder).or(layer);
    }
    let view = layer.as_deref().unwrap_or(bytes);
    let positions: Vec<usize> = ranges.iter().flat_map(|range| [range.start, range.end]).collect();
    let origins = forms::origins(view, *mark, *decoder, &positions);
    original(bytes, before, origins.chunks_exact(2).map(|pair| pair[0]..pair[1]).collect())
}

/// Merges overlapping or touching ranges, which are ordered by start or by end.
fn merged(ranges: impl IntoIterator<Item = Range<usize>>) -> Vec<Range<usize>> {
    let mut out: Vec<Range<usize>> = vec![];
    for mut range in ranges {
        while let Some(last) = out.pop_if(|last| last.end >= range.start) {
            range = last.start.min(range.start)..last.end.max(range.end);
        }
        out.push(range);
    }
    out
}

fn replaced_bytes<'m>(bytes: &[u8], ranges: &[Range<usize>], mut mask: impl FnMut(&Range<usize>) -> &'m str) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    for range in ranges {
        out.extend_from_slice(&bytes[at..range.start.max(at)]);
        out.extend_from_slice(mask(range).as_bytes());
        at = range.end.max(at);
    }
    out.extend_from_slice(&bytes[at..]);
    out
}

fn replaced<'m>(bytes: &[u8], ranges: &[Range<usize>], mask: impl FnMut(&Range<usize>) -> &'m str) -> String {
    // Values consist of whole characters, so the rest does too.
    String::from_utf8(replaced_bytes(bytes, ranges, mask)).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

/// Returns which ranges of a JSON text are inside strings. Ranges outside are widened to the whole number; ranges
/// that start inside an escape are widened to its backslash.
fn within_strings(bytes: &[u8], ranges: &mut [Range<usize>]) -> Vec<bool> {
    let mut inside = vec![];
    let (mut at, mut string, mut escaped) = (0, false, false);
    for range in ranges {
        while at < range.start {
            match bytes[at] {
                _ if escaped => escaped = false,
                b'\\' if string => escaped = true,
                b'"' => string = !string,
                _ => {}
            }
            at += 1;
        }
        inside.push(string);
        let number = |byte: &u8| byte.is_ascii_digit() || b"+-.eE".contains(byte);
        if !string {
            range.start -= bytes[..range.start].iter().rev().take_while(|byte| number(byte)).count();
            range.end += bytes[range.end..].iter().take_while(|byte| number(byte)).count();
        } else if escaped {
            range.start -= 1;
        }
    }
    inside
}

#[cfg(test)]
mod tests {
    use base64::{Engine, engine::general_purpose::STANDARD};

    use super::*;

    fn redactor(values: &[&str]) -> Redactor {
        let secrets: Vec<Secret> = values.iter().map(|value| Secret::literal(*value)).collect();
        Redactor::new(&secrets)
    }

    #[test]
    fn every_spelling_of_a_value_is_found() {
        let value = "p/w \"é😀\\ <x>&1";
        let known = redactor(&[value]);
        let json = serde_json::Value::from(value).to_string();
        let ascii: String = json.chars().map(|c| if c.is_ascii() { c.to_string() } else { escapes(c) }).collect();
        let spellings = [
            value.to_owned(),
            json.clone(),
            ascii,
            json.replace('/', "\\/"),
            serde_json::Value::from(format!("{{\"a\":{json}}}")).to_string(),
            serde_json::Value::from(serde_json::Value::from(json.as_str()).to_string()).to_string(),
            "p%2Fw%20%22%C3%A9%F0%9F%98%80%5C%20%3Cx%3E%261".into(),
            "p%2fw%20%22%c3%a9%f0%9f%98%80%5c%20%3cx%3e&1".into(),
            "p/w+\"é😀\\+<x>&1".into(),
            "p/w &quot;é😀\\ &lt;x&gt;&amp;1".into(),
            STANDARD.encode(value),
            STANDARD.encode(format!("user:{value}")),
            STANDARD.encode(format!("a{value}")).replace('+', "-").replace('/', "_"),
            value.bytes().map(|b| format!("{b:02X}")).collect(),
            value.to_uppercase(),
        ];
        for text in spellings {
            let text = format!("before {text} after");
            assert!(known.finds(text.as_bytes()), "{text}");
            let shown = known.redact(&text);
            assert!(shown.starts_with("before ") && shown.ends_with(" after") && shown.contains(MASK), "{text}: {shown}");
            assert!(!known.finds(shown.as_bytes()), "{shown}");
        }
        assert_eq!(known.redact("nothing \\ % here"), "nothing \\ % here");
    }

    fn escapes(c: char) -> String {
        let mut units = [0; 2];
        c.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")).collect()
    }

    #[test]
    fn overlapping_values_are_masked_completely() {
        let known = redactor(&["abcdef", "defghi", "abcdefghijkl"]);
        assert_eq!(known.redact("abcdefghi"), MASK);
        assert_eq!(known.redact("abcdefghijkl abcdef"), format!("{MASK} {MASK}"));
        assert_eq!(redactor(&["aaaaaa"]).redact(&"a".repeat(10_000)), MASK);
        assert_eq!(redactor(&["short"]).redact("short"), "short");
        assert!(Redactor::default().is_empty() && redactor(&["short"]).is_empty());
    }

    #[test]
    fn values_that_a_text_cuts_are_masked() {
        let known = redactor(&["0123456789abcdefghij"]);
        assert_eq!(known.redact("x 0123456789abc"), format!("x {MASK}"));
        assert_eq!(known.redact("x 0123456789abc…"), format!("x {MASK}…"));
        assert_eq!(known.redact("89abcdefghij x"), format!("{MASK} x"));
        assert_eq!(known.redact("x 01234567"), "x 01234567", "too little of it");
    }

    #[test]
    fn json_stays_json() {
        let known = redactor(&["12345678", "n1234567", "ab\\cdef\\", "x\",\"yz"]);
        for (text, wanted) in [
            (r#"{"n":12345678,"s":"12345678"}"#, r#"{"n":"•••","s":"•••"}"#),
            (r#"{"n":-9123456780.5e3}"#, r#"{"n":"•••"}"#),
            (r#"["a\n1234567b"]"#, r#"["a•••b"]"#),
            (r#"["ab\\cdef\\"]"#, r#"["•••"]"#),
            (r#"["x","yz"]"#, r#"["•••"]"#),
            (r#"{"x":"yz"}"#, r#"{"x":"yz"}"#),
            (r#"{"a":"x","yz":1}"#, r#""•••""#),
            (r#"{"12345678":1}"#, r#"{"•••":1}"#),
        ] {
            assert_eq!(known.redact_json(text), wanted, "{text}");
        }
    }

    #[test]
    fn hostile_texts_cost_little() {
        let known = redactor(&["s3cret-value-1", "s3cret-value-2"]);
        let backslashes = "\\".repeat(4 << 20);
        assert_eq!(known.redact(&backslashes), backslashes);
        let percents = "%25".repeat(1 << 20);
        assert_eq!(known.redact(&percents), percents);
        let near = "s3cret-value-".repeat(100_000);
        assert!(known.redact(&near).len() <= near.len());
    }
}
