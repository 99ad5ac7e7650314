//! The protocol versions of the gateway, and its method table for each era. Pure.

use crate::domain::server::Era;

/// The version of the modern era.
pub const MODERN: &str = "2026-07-28";
/// The versions of the legacy era, newest first.
pub const LEGACY: [&str; 4] = ["2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"];

/// A list of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `tools/list`.
    Tools,
    /// `resources/list`.
    Resources,
    /// `resources/templates/list`.
    Templates,
    /// `prompts/list`.
    Prompts,
}

impl Kind {
    /// All lists.
    pub const ALL: [Kind; 4] = [Kind::Tools, Kind::Resources, Kind::Templates, Kind::Prompts];

    /// Returns the member of the result that holds the list.
    pub fn member(self) -> &'static str {
        match self {
            Kind::Tools => "tools",
            Kind::Resources => "resources",
            Kind::Templates => "resourceTemplates",
            Kind::Prompts => "prompts",
        }
    }

    /// Returns the member that identifies an entry.
    pub fn key(self) -> &'static str {
        match self {
            Kind::Tools | Kind::Prompts => "name",
            Kind::Resources => "uri",
            Kind::Templates => "uriTemplate",
        }
    }

    /// Returns the capability that a server with this list declares.
    pub fn capability(self) -> &'static str {
        match self {
            Kind::Tools => "tools",
            Kind::Resources | Kind::Templates => "resources",
            Kind::Prompts => "prompts",
        }
    }

    /// Returns the notification of changes.
    pub fn changed(self) -> &'static str {
        match self {
            Kind::Tools => "notifications/tools/list_changed",
            Kind::Resources | Kind::Templates => "notifications/resources/list_changed",
            Kind::Prompts => "notifications/prompts/list_changed",
        }
    }
}

/// What a method does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// `initialize`.
    Initialize,
    /// `server/discover`.
    Discover,
    /// `ping`.
    Ping,
    /// A list.
    List(Kind),
    /// `tools/call`.
    Call,
    /// `resources/read`.
    Read,
    /// `prompts/get`.
    Prompt,
    /// `completion/complete`.
    Complete,
    /// `logging/setLevel`.
    SetLevel,
    /// `resources/subscribe`.
    Subscribe,
    /// `resources/unsubscribe`.
    Unsubscribe,
    /// `subscriptions/listen`.
    Listen,
    /// `tasks/get` of the tasks extension (SEP-2663).
    GetTask,
    /// `tasks/update`.
    UpdateTask,
    /// `tasks/cancel`.
    CancelTask,
}

impl Method {
    /// Returns the method of this name in an era; `None` if the era does not have it.
    pub fn of(era: Era, name: &str) -> Option<Method> {
        let legacy = era == Era::Legacy;
        Some(match name {
            "initialize" if legacy => Method::Initialize,
            "ping" if legacy => Method::Ping,
            "logging/setLevel" if legacy => Method::SetLevel,
            "resources/subscribe" if legacy => Method::Subscribe,
            "resources/unsubscribe" if legacy => Method::Unsubscribe,
            "server/discover" if !legacy => Method::Discover,
            "subscriptions/listen" if !legacy => Method::Listen,
            "tasks/get" if !legacy => Method::GetTask,
            "tasks/update" if !legacy => Method::UpdateTask,
            "tasks/cancel" if !legacy => Method::CancelTask,
            "tools/list" => Method::List(Kind::Tools),
            "resources/list" => Method::List(Kind::Resources),
            "resources/templates/list" => Method::List(Kind::Templates),
            "prompts/list" => Method::List(Kind::Prompts),
            "tools/call" => Method::Call,
            "resources/read" => Method::Read,
            "prompts/get" => Method::Prompt,
            "completion/complete" => Method::Complete,
            _ => return None,
        })
    }

    /// Returns the capability without which the gateway does not have the method.
    pub fn capability(self) -> Option<&'static str> {
        Some(match self {
            Method::Initialize | Method::Discover | Method::Ping | Method::Listen => return None,
            Method::List(kind) => kind.capability(),
            Method::Call => "tools",
            Method::Read | Method::Subscribe | Method::Unsubscribe => "resources",
            Method::Prompt => "prompts",
            Method::Complete => "completions",
            Method::SetLevel => "logging",
            Method::GetTask | Method::UpdateTask | Method::CancelTask => "extensions",
        })
    }

    /// Returns whether a modern result says how long it may be cached (MCP 2026-07-28, `CacheableResult`).
    pub fn is_cacheable(self) -> bool {
        matches!(self, Method::Discover | Method::List(_) | Method::Read)
    }
}

/// Returns whether a version belongs to the modern era. Versions are dates, so that they compare as text.
pub fn is_modern(version: &str) -> bool {
    version >= MODERN
}

/// Returns the version to speak with a client that requests `requested` in `initialize`: that version if it is known, else the
/// newest one of the legacy era (MCP 2025-11-25, lifecycle, "Version Negotiation").
pub fn negotiate(requested: &str) -> &'static str {
    LEGACY.into_iter().find(|known| *known == requested).unwrap_or(LEGACY[0])
}

/// Returns all versions, newest first.
pub fn versions() -> impl Iterator<Item = &'static str> {
    std::iter::once(MODERN).chain(LEGACY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_era_has_its_methods() {
        for (name, legacy, modern) in [
            ("initialize", true, false),
            ("ping", true, false),
            ("logging/setLevel", true, false),
            ("resources/subscribe", true, false),
            ("server/discover", false, true),
            ("subscriptions/listen", false, true),
            ("tools/list", true, true),
            ("completion/complete", true, true),
            ("tools/rename", false, false),
        ] {
            assert_eq!(Method::of(Era::Legacy, name).is_some(), legacy, "{name}");
            assert_eq!(Method::of(Era::Modern, name).is_some(), modern, "{name}");
        }
    }

    #[test]
    fn a_known_version_is_spoken_and_for_others_the_newest_legacy_one() {
        for (requested, spoken) in
            [("2025-06-18", "2025-06-18"), ("2024-11-05", "2024-11-05"), ("1999-01-01", LEGACY[0]), (MODERN, LEGACY[0])]
        {
            assert_eq!(negotiate(requested), spoken);
        }
        assert!(is_modern("2026-07-28") && is_modern("2027-01-01") && !is_modern("2025-11-25"));
    }
}
