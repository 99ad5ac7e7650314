//! Gentle background calls that keep the demo alive. Pure: the composition root waits and submits.

use std::time::Duration;

use serde_json::{Value, json};

use super::store::user_id;
use crate::domain::{
    call::{CallSpec, Operation, Origin},
    id::{ServerId, ToolId},
};

/// The users that are there from the start (`schema.sql`).
const FIRST: i64 = 1001;
/// The number of users that are there from the start.
const SEEDED: i64 = 6;
/// Users of ours that may not be made yet: their calls may still be under way.
const UNDER_WAY: i64 = 2;
/// No more users than this are made, so that a demo that runs for days stays small.
const MOST_USERS: i64 = 200;

/// Shortest and longest pause between two calls, in milliseconds.
const PAUSE_MS: std::ops::RangeInclusive<u64> = 300..=2000;

const FIRST_NAMES: [&str; 8] = ["Mary", "Donald", "Radia", "Ken", "Frances", "Tim", "Sophie", "Niklaus"];
const LAST_NAMES: [&str; 8] = ["Allen", "Perlman", "Knuth", "Wilson", "Thompson", "Wirth", "Hamilton", "Rivest"];

/// The background traffic for `seed`; equal seeds give equal calls.
pub fn plan(seed: u64) -> Traffic {
    Traffic { rng: fastrand::Rng::with_seed(seed), made: 0 }
}

/// The call that the console opens with, if the demo makes traffic.
pub fn opening() -> Operation {
    let tool = ToolId::new(ServerId::from("database"), "query_users");
    Operation::Tool { tool, arguments: json!({"role": "admin", "limit": 3}).to_string().into() }
}

/// An endless row of pauses and calls over all demo servers.
///
/// It starts by creating users, then mixes reads, writes, a few calls that the tools refuse, and now and then a
/// report that takes seconds. Users are the seeded ones and its own.
pub struct Traffic {
    rng: fastrand::Rng,
    made: i64,
}

impl Traffic {
    /// The next call, and how long to wait before it.
    #[expect(clippy::should_implement_trait, reason = "it never ends, so there is no Option to unwrap")]
    pub fn next(&mut self) -> (Duration, CallSpec) {
        let pause = Duration::from_millis(self.rng.u64(PAUSE_MS));
        let (server, tool, arguments) = if self.made < 3 { self.create_user() } else { self.pick() };
        let tool = ToolId::new(ServerId::from(server), tool);
        (pause, CallSpec::tool(tool, arguments.to_string(), Origin::Demo))
    }

    fn pick(&mut self) -> (&'static str, &'static str, Value) {
        match self.rng.u32(0..100) {
            0..4 if self.made < MOST_USERS => self.create_user(),
            0..12 => ("database", "query_users", self.query()),
            12..26 => ("database", "get_user_profile", json!({"userId": self.user()})),
            26..32 => {
                let quantity = self.rng.u32(1..5);
                ("database", "insert_record", json!({"table": "orders", "record": {"userId": self.user(), "quantity": quantity}}))
            }
            // Refused by the tool: such answers are part of every day.
            32..34 => ("database", "get_user_profile", json!({"userId": "u_404"})),
            34..44 => ("email", "send_email", self.email()),
            44..50 => ("email", "get_inbox", json!({"address": "ada@example.com", "limit": 5})),
            50..66 => ("analytics", "track_event", self.event()),
            66..73 => ("analytics", "get_user_activity", json!({"userId": self.user(), "days": 7})),
            73..75 => ("analytics", "report", json!({"seconds": self.rng.u32(1..4)})),
            75..82 => ("preferences", "get_preferences", json!({"userId": self.user()})),
            82..86 => {
                ("preferences", "set_preferences", json!({"userId": self.user(), "theme": self.one_of(&["light", "dark", "system"])}))
            }
            86..93 => ("flaky", "quote", json!({"amount": self.amount(), "currency": "EUR", "to": self.one_of(&["USD", "GBP"])})),
            93..97 => ("flaky", "charge", json!({"amount": self.amount(), "currency": self.one_of(&["EUR", "USD", "GBP"])})),
            _ => ("flaky", "status", json!({})),
        }
    }

    fn create_user(&mut self) -> (&'static str, &'static str, Value) {
        self.made += 1;
        let name = format!("{} {}", self.one_of(&FIRST_NAMES), self.one_of(&LAST_NAMES));
        // Random as well as counted: another console may run its traffic on the same servers.
        let email = format!("{}.{}.{:06x}@example.org", name.to_lowercase().replace(' ', "."), self.made, self.rng.u32(..1 << 24));
        let role = self.one_of(&["developer", "viewer", "viewer", "admin"]);
        ("database", "create_user", json!({"email": email, "name": name, "role": role, "tags": ["demo"]}))
    }

    /// A user that exists unless somebody deleted it.
    fn user(&mut self) -> String {
        let known = SEEDED + (self.made - UNDER_WAY).max(0);
        user_id(FIRST + self.rng.i64(0..known))
    }

    fn query(&mut self) -> Value {
        match self.rng.u32(0..3) {
            0 => json!({"role": self.one_of(&["developer", "admin", "viewer"])}),
            1 => json!({"text": self.one_of(&["research", "demo", "example.org"]), "limit": 5}),
            _ => json!({"limit": 10, "offset": self.rng.u32(0..3)}),
        }
    }

    fn email(&mut self) -> Value {
        let to = self.one_of(&["ada@example.com", "grace@example.com", "alan@example.com", "barbara@example.com"]);
        let subject = self.one_of(&["Your receipt", "Weekly digest", "New sign-in", "Invoice attached"]);
        json!({"to": to, "subject": subject, "body": "Sent by the demo's background traffic.", "priority": self.one_of(&["low", "normal", "high"])})
    }

    fn event(&mut self) -> Value {
        let event = self.one_of(&["login", "search", "add_to_cart", "purchase", "logout"]);
        json!({"event": event, "userId": self.user(), "properties": {"source": self.one_of(&["web", "app"])}})
    }

    fn amount(&mut self) -> f64 {
        f64::from(self.rng.u32(100..20_000)) / 100.0
    }

    fn one_of(&mut self, words: &[&'static str]) -> &'static str {
        words[self.rng.usize(..words.len())]
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::{
        demo::{NAMES, process::Server},
        domain::{body::Body, call::Operation},
    };

    fn parts(spec: &CallSpec) -> (String, String, Value) {
        let Operation::Tool { tool, arguments } = &spec.operation else { panic!("{spec:?}") };
        (tool.server.to_string(), tool.name.to_string(), Body::value(arguments).unwrap())
    }

    #[test]
    fn every_call_fits_its_tool_and_every_server_gets_some() {
        let dir = tempfile::tempdir().unwrap();
        let build = |name| Server::build(name, dir.path(), Box::new(std::io::sink()), &CancellationToken::new()).unwrap();
        let servers: BTreeMap<&str, Server> = NAMES.into_iter().map(|name| (name, build(name))).collect();
        let mut seen = BTreeMap::new();
        let mut traffic = plan(1);
        for _ in 0..5000 {
            let (pause, spec) = traffic.next();
            assert!(PAUSE_MS.contains(&u64::try_from(pause.as_millis()).unwrap()));
            assert_eq!(spec.origin, Origin::Demo);
            let (server, tool, arguments) = parts(&spec);
            let entry = servers[server.as_str()].catalog().tool(&tool).unwrap_or_else(|| panic!("{server} has no {tool}"));
            assert_eq!(entry.check(&arguments), [""; 0], "{server} {tool} {arguments}");
            *seen.entry((server, tool)).or_insert(0) += 1;
        }
        for name in NAMES {
            assert!(seen.iter().any(|((server, _), count)| server == name && *count > 100), "{name}: {seen:?}");
        }
        assert!(!seen.keys().any(|(_, tool)| tool == "delete_user" || tool == "configure"));
    }

    #[test]
    fn users_are_made_first_with_their_own_addresses_and_only_made_ones_are_named() {
        let mut traffic = plan(2);
        let mut emails = std::collections::BTreeSet::new();
        for step in 0..20_000 {
            let (_, tool, arguments) = parts(&traffic.next().1);
            assert_eq!(step < 3, tool == "create_user" && emails.len() < 3, "{step} {tool}");
            if tool == "create_user" {
                assert!(emails.insert(arguments["email"].as_str().unwrap().to_owned()));
            }
            if let Some(user) = arguments["userId"].as_str().filter(|user| *user != "u_404") {
                let number = super::super::store::user_number(user).unwrap();
                let made = i64::try_from(emails.len()).unwrap();
                assert!((FIRST..FIRST + SEEDED + made).contains(&number), "{user}");
            }
        }
        assert_eq!(emails.len(), usize::try_from(MOST_USERS).unwrap());
    }

    #[test]
    fn equal_seeds_give_equal_traffic() {
        let calls = |seed| {
            let mut traffic = plan(seed);
            (0..50).map(|_| traffic.next()).collect::<Vec<_>>()
        };
        assert_eq!(calls(3), calls(3));
        assert_ne!(calls(3), calls(4));
    }
}
