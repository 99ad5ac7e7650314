//! Resolves the references of a schema: pointers, anchors and embedded documents.

use std::collections::HashMap;

use serde_json::Value;

/// The names that references can use, collected in one walk.
pub struct Index<'a> {
    root: &'a Value,
    /// Embedded documents by their `$id` as written, the root's first.
    documents: Vec<(&'a str, &'a Value)>,
    /// Subschemas by anchor name.
    anchors: HashMap<&'a str, Vec<&'a Value>>,
    /// By address, the document that a value belongs to. Empty if there is only the root.
    belongs: HashMap<*const Value, &'a Value>,
    /// Remaining comparisons for references that name a document.
    left: usize,
}

/// The schema has too many names to look up references.
#[derive(Debug, PartialEq, Eq)]
pub struct TooMany;

impl<'a> Index<'a> {
    /// Collects the names in `root`.
    pub fn of(root: &'a Value) -> Index<'a> {
        let mut index = Index { root, documents: vec![], anchors: HashMap::new(), belongs: HashMap::new(), left: 1_000_000 };
        let embedded = |at: &Value| !std::ptr::eq(at, root) && id(at).is_some_and(|id| !id.starts_with('#'));
        let mut open = vec![(root, root)];
        let mut several = vec![];
        while let Some((at, document)) = open.pop() {
            let document = if embedded(at) { at } else { document };
            if let Value::Object(fields) = at {
                index.documents.extend(id(at).filter(|id| !id.starts_with('#')).map(|id| (id, at)));
                let names = ["$anchor", "$dynamicAnchor"].into_iter().filter_map(|key| fields.get(key)?.as_str());
                for name in names.chain(id(at).and_then(|id| id.strip_prefix('#'))) {
                    index.anchors.entry(name).or_default().push(at);
                }
                if !std::ptr::eq(document, root) {
                    several.push((at, document));
                }
            }
            open.extend(parts(at).map(|part| (part, document)));
        }
        index.belongs = several.into_iter().map(|(at, document)| (at as *const Value, document)).collect();
        index
    }

    /// Returns the possible targets of a reference in subschema `from`. Several if only validation decides, or if the
    /// reference is ambiguous; none for another document, which is never fetched.
    pub fn targets(&mut self, reference: &str, from: &'a Value) -> Result<Vec<&'a Value>, TooMany> {
        let (document, fragment) = reference.split_once('#').unwrap_or((reference, ""));
        let own = self.belongs.get(&(from as *const Value)).copied().unwrap_or(self.root);
        let bases = if document.is_empty() {
            vec![own]
        } else {
            self.left = self.left.checked_sub(self.documents.len()).ok_or(TooMany)?;
            let named = |id: &str| id.trim_end_matches('#').ends_with(document);
            self.documents.iter().filter(|(id, _)| named(id)).map(|(_, at)| *at).collect()
        };
        if fragment.is_empty() {
            return Ok(bases);
        }
        if fragment.starts_with('/') {
            let decoded = unpercent(fragment);
            return Ok(bases.into_iter().filter_map(|base| base.pointer(&decoded).or_else(|| base.pointer(fragment))).collect());
        }
        let found = self.anchors.get(fragment).map(Vec::as_slice).unwrap_or_default();
        self.left = self.left.checked_sub(found.len()).ok_or(TooMany)?;
        Ok(found.to_vec())
    }
}

fn id(at: &Value) -> Option<&str> {
    ["$id", "id"].iter().find_map(|key| at.get(key)?.as_str())
}

/// Returns the direct children of an array or object.
pub fn parts(value: &Value) -> impl Iterator<Item = &Value> {
    let items = value.as_array().into_iter().flatten();
    items.chain(value.as_object().into_iter().flat_map(serde_json::Map::values))
}

/// Percent-decodes a fragment (RFC 3986, section 2.1).
pub(in crate::domain) fn unpercent(text: &str) -> String {
    let (bytes, mut out, mut at) = (text.as_bytes(), vec![], 0);
    while at < bytes.len() {
        let digits = bytes.get(at + 1..at + 3).and_then(|digits| std::str::from_utf8(digits).ok());
        match (bytes[at], digits.and_then(|digits| u8::from_str_radix(digits, 16).ok())) {
            (b'%', Some(byte)) => {
                out.push(byte);
                at += 3;
            }
            (byte, _) => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}
