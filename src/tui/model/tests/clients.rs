//! The clients of the gateway: their page, the filter of their calls, their lanes, their sessions at servers.

use super::*;
use crate::{
    domain::{
        call::Origin,
        client::{ClientInfo, ClientSession, ClientTransport, Principal},
        id::ClientId,
        server::Era,
    },
    tui::{pane::health::Page, view::ViewId},
};

fn info(name: &str, era: Era, transport: ClientTransport) -> Arc<ClientInfo> {
    let protocol = if era == Era::Legacy { "2025-11-25" } else { "2026-07-28" };
    Arc::new(ClientInfo {
        name: Some(name.into()),
        version: Some("2.1.0".into()),
        era,
        protocol: protocol.into(),
        transport,
        principal: Principal::local(),
        profile: "default".into(),
    })
}

/// A console with three clients, of which one is gone, and calls of two.
fn harness(width: u16, height: u16) -> Harness {
    let mut harness = Harness::new(width, height);
    let mut script = test_support::Script::after(harness.model.read_model().seq);
    let connected = |client, info| EventKind::ClientConnected { client: ClientId(client), info };
    script.push(3000, connected(1, info("claude-code", Era::Legacy, ClientTransport::Http)));
    script.push(3100, connected(2, info("agent \u{202e}x", Era::Modern, ClientTransport::Unix)));
    script.push(3200, connected(3, info("gone", Era::Legacy, ClientTransport::Stdio)));
    script.push(3300, EventKind::ClientDisconnected { client: ClientId(3) });
    for (number, client, name) in [(900, 1, "claude-code"), (901, 1, "claude-code"), (902, 2, "agent \u{202e}x")] {
        let spec = CallSpec {
            client: ClientId(client),
            client_name: Some(name.into()),
            ..CallSpec::new(test_support::tool_call("database", "query_users", "{}"), Origin::Client(ClientId(client)))
        };
        script.push(4000 + number, EventKind::CallQueued { call: CallId(number), spec: Arc::new(spec) });
        script.settled(4000 + number, 5, number, test_support::text_result("x"));
    }
    let sessions = Arc::from([ClientSession { client: ClientId(1), since: test_support::at(3000) }]);
    script.push(5000, EventKind::ClientSessions { server: "database".into(), sessions });
    harness.send(Msg::Events(script.events));
    harness
}

#[test]
fn a_row_per_client_leads_to_its_calls() {
    let mut harness = harness(150, 40);
    let frame = harness.keys("4 c").frame();
    assert!(harness.model.views.health.page == Page::Clients && frame.contains("2 clients connected"), "{frame}");
    let row = |name: &str| frame.lines().find(|line| line.contains(name)).unwrap_or_else(|| panic!("{name}: {frame}")).to_owned();
    for part in ["● claude-code", "2.1.0", "2025-11-25 legacy", "http", "default", " 2 ", "1 · database"] {
        assert!(row("claude-code").contains(part), "{part}: {frame}");
    }
    assert!(row("agent").contains("2026-07-28 modern") && row("agent").contains("\\u{202e}"), "{frame}");
    assert_eq!(row("○ gone").matches("gone").count(), 2, "{frame}");
    let frame = harness.keys("enter").frame();
    assert_eq!(harness.model.views.current, ViewId::Traffic);
    assert!(frame.contains("client:claude-code") && frame.matches("query_users").count() == 2, "{frame}");
    // A name with a space is not a word of the filter language.
    let frame = harness.keys("4 j enter").frame();
    assert!(frame.contains("client:2") && frame.matches("query_users").count() == 1, "{frame}");
    for (width, height) in [(80, 24), (120, 40), (200, 60)] {
        assert_boxes(&self::harness(width, height).keys("4 c").frame());
    }
    assert!(Harness::new(80, 24).keys("4 c").frame().contains("switchboard install"));
}

#[test]
fn lanes_are_of_clients_and_sessions_are_described() {
    let mut harness = harness(120, 40);
    let frame = harness.keys("3 c").frame();
    assert!(frame.contains("by client") && frame.contains("this process"), "{frame}");
    assert!(frame.contains("⇥ claude-code") && frame.contains("▸⇥ this process"), "{frame}");
    assert!(!harness.keys("c").frame().contains("⇥"));
    let frame = harness.keys("4 home tab end").frame();
    assert!(frame.contains("1 session of clients, in addition to the shared one") && frame.contains("claude-code  client 1"), "{frame}");
}
