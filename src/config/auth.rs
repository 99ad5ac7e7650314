//! The OAuth settings of a server: `auth`.

use super::{fields::Fields, gateway::texts};
use crate::domain::{
    document::Kind,
    login::{AuthMode, AuthSettings, CallbackHost, Grant},
};

/// Reads `auth`: `"off"`, `"auto"` or a table.
pub(super) fn auth(fields: &mut Fields<'_, '_>) -> AuthSettings {
    let Some(node) = fields.node("auth") else { return AuthSettings::default() };
    if let Kind::Text(_) = &node.kind {
        let mode = fields.choice("auth", &[("auto", AuthMode::Auto), ("off", AuthMode::Off)]).unwrap_or_default();
        return AuthSettings { mode, ..AuthSettings::default() };
    }
    let Some(mut table) = fields.inner("auth") else { return AuthSettings::default() };
    let grants = [("code", Grant::Code), ("client_credentials", Grant::ClientCredentials)];
    let hosts = [("127.0.0.1", CallbackHost::Literal), ("localhost", CallbackHost::Name)];
    let settings = AuthSettings {
        mode: AuthMode::Auto,
        grant: table.choice("grant", &grants).unwrap_or_default(),
        client_id: table.text("client_id").map(str::to_owned),
        client_secret: table.expanded("client_secret"),
        client_metadata_url: table.text("client_metadata_url").map(str::to_owned),
        scopes: texts(&mut table, "scopes", "scopes = [\"files:read\"]").unwrap_or_default(),
        resource: table.text("resource").map(str::to_owned),
        callback_host: table.choice("callback_host", &hosts).unwrap_or_default(),
        callback_port: table.integer("callback_port", 1, u32::from(u16::MAX)).and_then(|port| u16::try_from(port).ok()),
        per_principal: table.boolean("per_principal").unwrap_or(false),
        allow_hosts: texts(&mut table, "allow_hosts", "allow_hosts = [\"login.intranet.example\"]").unwrap_or_default(),
    };
    check(&mut table, &settings);
    table.finish();
    settings
}

/// Reports settings that cannot work together.
fn check(table: &mut Fields<'_, '_>, settings: &AuthSettings) {
    let mut refuse = |key: &'static str, message: &str, hint: &str| {
        let at = table.node(key).map_or(0, |node| node.at);
        table.report.error(at, &table.name(key), message, hint);
    };
    if settings.client_secret.is_some() && settings.client_id.is_none() {
        refuse("client_secret", "is set without `client_id`", "set the client id that the secret belongs to");
    }
    if settings.grant == Grant::ClientCredentials && (settings.client_id.is_none() || settings.client_secret.is_none()) {
        refuse(
            "grant",
            "needs `client_id` and `client_secret`",
            "set both, the secret as a variable: client_secret = \"${CLIENT_SECRET}\"",
        );
    }
    if let Some(url) = &settings.client_metadata_url
        && !url.strip_prefix("https://").is_some_and(|rest| rest.contains('/'))
    {
        refuse("client_metadata_url", "should be an https:// address with a path", "give the address of the document that you publish");
    }
    if settings.scopes.iter().any(|scope| scope.is_empty() || !scope.bytes().all(is_scope_byte)) {
        refuse("scopes", "has an invalid scope", "a scope has no spaces, quotes or backslashes; write each in quotes of its own");
    }
}

/// Returns whether a byte may be in a scope (RFC 6749, section 3.3).
fn is_scope_byte(byte: u8) -> bool {
    matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e)
}
