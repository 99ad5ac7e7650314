//! The capabilities that a client declares to servers. Pure.

use super::{body::Body, raw_object::RawObject, server::Era};

/// The capabilities of a client. Members of vendors and of extensions survive.
///
/// Declared in `initialize` (MCP 2025-11-25, lifecycle, "Capability Negotiation") or in `_meta` of each request (MCP 2026-07-28,
/// basic, "Request metadata").
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCapabilities(RawObject);

impl Default for ClientCapabilities {
    /// The capabilities of the console and of the headless commands.
    fn default() -> Self {
        Self::none()
            .with("roots", Body::from(r#"{"listChanged":true}"#))
            .with("sampling", Body::from("{}"))
            .with("elicitation", Body::from(r#"{"form":{},"url":{}}"#))
    }
}

impl ClientCapabilities {
    /// Returns the capabilities of a client that answers no requests of servers.
    pub fn none() -> Self {
        Self(RawObject::default())
    }

    /// Reads a JSON object; `None` if `json` is something else.
    pub fn parse(json: &Body) -> Option<Self> {
        RawObject::parse(json).map(Self)
    }

    /// Returns the capabilities with one more, or with another value of it.
    #[must_use]
    pub fn with(self, name: &str, value: Body) -> Self {
        Self(self.0.with(name.to_owned(), value))
    }

    /// Returns whether a capability is declared.
    pub fn declares(&self, name: &str) -> bool {
        self.0.get(name).is_some_and(|value| value.bytes() != "null")
    }

    /// Returns the JSON object to declare in an era. The modern era has no `roots.listChanged`.
    pub fn declared(&self, era: Era) -> Body {
        self.0
            .map(|name, value| match (era, name) {
                (Era::Modern, "roots") => RawObject::parse(value).map(|roots| roots.without("listChanged").to_body()),
                _ => None,
            })
            .to_body()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_declared_in_both_eras() {
        let declared = |era| ClientCapabilities::default().declared(era).text().into_owned();
        assert_eq!(declared(Era::Legacy), r#"{"roots":{"listChanged":true},"sampling":{},"elicitation":{"form":{},"url":{}}}"#);
        assert_eq!(declared(Era::Modern), r#"{"roots":{},"sampling":{},"elicitation":{"form":{},"url":{}}}"#);
    }

    #[test]
    fn members_of_vendors_survive() {
        let raw = r#"{"experimental":{"vendor/x":{"n":1.00}},"roots":{"listChanged":true,"vendor":2.50},"extensions":{}}"#;
        let read = ClientCapabilities::parse(&Body::from(raw)).unwrap();
        assert_eq!(read.declared(Era::Legacy).text(), raw);
        assert_eq!(read.declared(Era::Modern).text(), raw.replace(r#""listChanged":true,"#, ""));
        assert!(read.declares("roots") && !read.declares("sampling"));
        assert_eq!(ClientCapabilities::none().declared(Era::Modern).text(), "{}");
        assert_eq!(ClientCapabilities::parse(&Body::from("[]")), None);
    }
}
