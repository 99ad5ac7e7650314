//! Pins: which versions of a server's tools the user accepted, and what applies to a tool that differs from its pin. Pure.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use super::{
    body::Body,
    catalog::ServerCatalog,
    drift::{Definition, DefinitionKind},
    secret::Redactor,
};

/// What applies to a tool whose definition differs from the accepted one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PinMode {
    /// Nothing.
    Off,
    /// It is marked.
    #[default]
    Warn,
    /// It is marked, not offered to clients of the gateway, and cannot be called.
    Hold,
}

/// What is known of the pins of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pins {
    /// The server was never seen: what it lists first is accepted.
    FirstContact,
    /// These definitions are accepted.
    Accepted(AcceptedTools),
    /// They cannot be read.
    Unreadable,
}

impl Pins {
    /// Returns the tools of a catalog that differ from their pins. If the pins cannot be read, none differs, but all are held.
    pub fn changed(&self, catalog: &ServerCatalog, mode: PinMode, redactor: &Redactor) -> BTreeSet<Arc<str>> {
        match (self, mode) {
            (_, PinMode::Off) | (Pins::FirstContact, _) | (Pins::Unreadable, PinMode::Warn) => BTreeSet::new(),
            (Pins::Unreadable, PinMode::Hold) => catalog.tools.iter().map(|tool| tool.name.clone()).collect(),
            (Pins::Accepted(accepted), _) => accepted.changed(catalog, redactor),
        }
    }
}

/// The hashes of the accepted definitions of a server's tools, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AcceptedTools(pub HashMap<String, [u8; 32]>);

impl AcceptedTools {
    /// Returns whether a definition as a server lists it is the accepted one. Known secrets are masked in accepted definitions.
    fn accepts(&self, name: &str, raw: &Body, redactor: &Redactor) -> bool {
        let definition = Definition::of_item(DefinitionKind::Tool, &raw.redacted(redactor), "name");
        definition.is_some_and(|definition| self.0.get(name).is_some_and(|accepted| *accepted == definition.hash()))
    }

    /// Returns the tools of a catalog that differ from the accepted ones, including new tools.
    fn changed(&self, catalog: &ServerCatalog, redactor: &Redactor) -> BTreeSet<Arc<str>> {
        let differs = |name: &str, raw: &Body| !self.accepts(name, raw, redactor);
        catalog.tools.iter().filter(|tool| differs(&tool.name, &tool.raw)).map(|tool| tool.name.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{catalog::RawLists, drift::canonical, json::Json, secret::Secret};

    #[test]
    fn a_tool_that_is_new_or_has_another_definition_differs_from_its_pin() {
        let catalog = |tools: &[&str]| {
            let tools = tools.iter().map(|tool| Body::from(*tool)).collect();
            ServerCatalog::read(RawLists { tools, ..RawLists::default() }, None)
        };
        let accepted = |tool: &str| {
            let text = canonical(&Json::parse(tool).unwrap()).text();
            Definition { kind: DefinitionKind::Tool, name: "buy".into(), text }.hash()
        };
        let pins = AcceptedTools(HashMap::from([("buy".to_owned(), accepted(r#"{"name":"buy","description":"•••"}"#))]));
        let (secret, pins) = (Secret::literal("hunter2-secret"), Pins::Accepted(pins));
        let redactor = Redactor::new([&secret]);
        let changed = |tools: &[&str]| {
            let found = pins.changed(&catalog(tools), PinMode::Warn, &redactor);
            found.iter().map(|name| name.to_string()).collect::<Vec<String>>()
        };
        // The order of members and a secret that is masked make no difference.
        assert!(changed(&[r#"{"description":"hunter2-secret","name":"buy"}"#]).is_empty());
        assert_eq!(changed(&[r#"{"description":"other","name":"buy"}"#, r#"{"name":"sell"}"#]), ["buy", "sell"]);
        assert_eq!(changed(&[r#"{"description":"•••","name":"buy","annotations":{"destructiveHint":false}}"#]), ["buy"]);
        assert!(changed(&[]).is_empty());
        let listed = catalog(&[r#"{"name":"sell"}"#]);
        let with = |pins: &Pins, mode| pins.changed(&listed, mode, &redactor).len();
        assert_eq!((with(&pins, PinMode::Off), with(&pins, PinMode::Hold), with(&Pins::FirstContact, PinMode::Hold)), (0, 1, 0));
        assert_eq!((with(&Pins::Unreadable, PinMode::Warn), with(&Pins::Unreadable, PinMode::Hold)), (0, 1));
    }
}
