//! Differences between two JSON values, such as an expected and a current result, without members that always differ. Pure.

use super::{glob, json::Json};

/// Differences that are reported at most.
const MOST: usize = 50;

/// A difference between two values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValueDifference {
    /// Where: `structuredContent.users[0].id`; empty for the value itself.
    pub path: String,
    /// The expected value, JSON; `None` if there is none.
    pub expected: Option<String>,
    /// The current value, JSON; `None` if there is none.
    pub found: Option<String>,
}

/// Returns the differences between two values, the first 50 of them. The order of members does not matter. Paths that match one
/// of the patterns in `ignored` (`*` for any characters) are left out with everything below them.
pub fn differences(expected: &Json, found: &Json, ignored: &[String]) -> Vec<ValueDifference> {
    let mut differences = vec![];
    walk("", Some(expected), Some(found), ignored, &mut differences);
    differences
}

fn walk(path: &str, expected: Option<&Json>, found: Option<&Json>, ignored: &[String], out: &mut Vec<ValueDifference>) {
    if out.len() >= MOST || expected == found || ignored.iter().any(|pattern| glob::matches(pattern, path)) {
        return;
    }
    match (expected, found) {
        (Some(Json::Object(before)), Some(Json::Object(after))) => {
            let place = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
            let value = |members: &'_ [(String, Json)], key: &str| members.iter().position(|(name, _)| name == key);
            for (key, old) in before {
                let new = value(after, key).map(|at| &after[at].1);
                walk(&place(key), Some(old), new, ignored, out);
            }
            for (key, new) in after.iter().filter(|(key, _)| value(before, key).is_none()) {
                walk(&place(key), None, Some(new), ignored, out);
            }
        }
        (Some(Json::Array(before)), Some(Json::Array(after))) => {
            for index in 0..before.len().max(after.len()) {
                walk(&format!("{path}[{index}]"), before.get(index), after.get(index), ignored, out);
            }
        }
        (expected, found) => {
            let text = |json: Option<&Json>| json.map(Json::text);
            out.push(ValueDifference { path: path.to_owned(), expected: text(expected), found: text(found) });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(expected: &str, found: &str, ignored: &[&str]) -> Vec<String> {
        let ignored: Vec<String> = ignored.iter().map(|pattern| (*pattern).to_owned()).collect();
        let found = differences(&Json::parse(expected).unwrap(), &Json::parse(found).unwrap(), &ignored);
        found.into_iter().map(|difference| difference.path).collect()
    }

    #[test]
    fn values_differ_by_their_members_and_not_by_their_order() {
        let base = r#"{"a":1,"list":[{"id":1,"at":"x"},{"id":2,"at":"y"}]}"#;
        assert_eq!(paths(base, r#"{"list":[{"at":"x","id":1},{"id":2,"at":"y"}],"a":1}"#, &[]), Vec::<String>::new());
        let other = r#"{"a":1,"list":[{"id":1,"at":"z"},{"id":3,"at":"z"}],"b":null}"#;
        assert_eq!(paths(base, other, &[]), ["list[0].at", "list[1].id", "list[1].at", "b"]);
        assert_eq!(paths(base, other, &["list[*].at", "b"]), ["list[1].id"]);
        assert_eq!(paths(base, other, &["*"]), Vec::<String>::new());
        assert_eq!(paths("[1]", "[1,2]", &[]), ["[1]"]);
        assert_eq!(paths("1.0", "1", &[]), [""], "numbers as written");
        let many = format!("[{}1]", "1,".repeat(200));
        assert_eq!(paths(&many, "[]", &[]).len(), MOST);
    }
}
