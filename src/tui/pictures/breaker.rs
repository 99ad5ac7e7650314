//! The events of a minute in which a breaker opens, sends a probe and closes, while a fallback answers. The breaker
//! itself decides.

use std::{sync::Arc, time::Duration};

use serde_json::json;

use crate::{
    domain::{
        body::Body,
        call::{CallSpec, Failure, FailureKind, Origin, Outcome, Timings},
        catalog::{RawLists, ServerCatalog},
        event::{Event, EventKind, Settled},
        id::{CallId, ServerId},
        policy::{
            Fallback, Rules, ToolRule,
            breaker::{Breaker, BreakerPolicy},
            call_event::{AttemptEnd, CallEvent, Cause},
            pattern::Pattern,
            verdict::Verdict,
        },
        server::Phase,
        time::Stamp,
    },
    tui::test_support::{self, Script, at},
};

const FALLBACK: &str = "database_insert_record";

/// How calls of the flaky server end.
#[derive(Clone, Copy, PartialEq)]
enum Mood {
    Well,
    Failing,
}

/// The events of the flaky server.
pub struct Story {
    script: Script,
    breaker: Breaker,
    call: u64,
    first: u64,
}

impl Story {
    /// Adds the flaky server, with a fallback for its charges.
    pub fn after(seq: u64) -> Story {
        // The values of the demo: short, so that the breaker opens and closes within the minute.
        let policy = BreakerPolicy {
            consecutive: 3,
            open_for: Duration::from_secs(5),
            open_for_max: Duration::from_secs(20),
            ..BreakerPolicy::default()
        };
        let mut script = Script::after(seq);
        let mut spec = test_support::spec("flaky", None);
        spec.policy.breaker = policy.clone();
        script.server(9_000, spec, Phase::Ready);
        let tool = |name: &str, reads: bool| {
            Body::json(&json!({"name": name, "inputSchema": {"type": "object"}, "annotations": {"readOnlyHint": reads}}))
        };
        let raw = RawLists { tools: vec![tool("charge", false), tool("quote", true)], ..RawLists::default() };
        script.push(9_001, EventKind::ServerListed { server: "flaky".into(), catalog: Arc::new(ServerCatalog::read(raw, None)) });
        let rule = ToolRule {
            matches: Pattern::parse("flaky_charge").unwrap(),
            fallback: vec![Fallback::Tool { tool: FALLBACK.into(), arguments: None }],
            ..ToolRule::default()
        };
        script.push(9_002, EventKind::Rules { rules: Arc::new(Rules { tools: vec![rule], ..Rules::default() }) });
        Story { script, breaker: Breaker::new(policy), call: 1_000, first: seq + 1 }
    }

    /// Returns the events up to `until`: a charge every 700 ms, which fails between 52 s and 57 s, and calls of other servers.
    pub fn events_until(mut self, until: u64) -> Vec<Arc<Event>> {
        for (turn, ms) in (12_000..until).step_by(700).enumerate() {
            let mood = if (52_000..57_000).contains(&ms) { Mood::Failing } else { Mood::Well };
            if ms > 44_000 {
                self.charge(ms, mood, until);
            }
            self.quick_call(ms + 310, "database", "query_users", 2 + turn as u64 % 4);
            match turn % 5 {
                1 | 3 => self.quick_call(ms + 420, "email", "send_email", 12 + turn as u64 % 9),
                4 => self.quick_call(ms + 450, "analytics", "track_event", 500 + turn as u64 * 11),
                _ => {}
            }
        }
        let (mut events, last) = (self.script.events, Stamp(until * 1_000_000));
        events.sort_by_key(|event| event.at);
        events.retain(|event| event.at <= last);
        (self.first..).zip(&events).map(|(seq, event)| Arc::new(Event { seq, ..Event::clone(event) })).collect()
    }

    fn quick_call(&mut self, ms: u64, server: &str, tool: &str, took: u64) {
        self.call += 1;
        self.script.queued(ms, self.call, test_support::tool_call(server, tool, r#"{"filter":"ann"}"#));
        self.script.settled(ms, took, self.call, test_support::text_result("done"));
    }

    fn push_stage(&mut self, ms: u64, stage: CallEvent) {
        self.script.push(ms, EventKind::CallStage { call: CallId(self.call), stage: Arc::new(stage) });
    }

    fn push_breaker(&mut self, ms: u64) {
        let view = Arc::new(self.breaker.view(at(ms)));
        self.script.push(ms, EventKind::Breaker { server: "flaky".into(), tool: None, view });
    }

    /// Makes one call through the breaker.
    fn charge(&mut self, ms: u64, mood: Mood, until: u64) {
        self.call += 1;
        let operation = test_support::tool_call("flaky", "charge", r#"{"amount":20}"#);
        let spec = Arc::new(CallSpec::new(operation, Origin::Console));
        self.script.push(ms, EventKind::CallQueued { call: CallId(self.call), spec });
        let admission = match self.breaker.admit(at(ms)) {
            Ok(admission) => admission,
            Err(refusal) => {
                self.push_breaker(ms);
                let after = format!("breaker open: flaky is left alone: {}", refusal.reason);
                return self.fall_back(ms, 1, after, ms);
            }
        };
        self.push_breaker(ms);
        let mut begun = ms;
        if admission.probe.is_some() {
            self.push_stage(ms, CallEvent::Probing { server: "flaky".into() });
            begun += 120;
        }
        let attempt = CallEvent::Attempt { attempt: 1, server: "flaky".into(), subject: "charge".into(), cause: Cause::First };
        self.push_stage(begun, attempt);
        self.script.push(begun, EventKind::CallSent { call: CallId(self.call), round: 1 });
        let took = 180 + self.call * 37 % 160;
        let ended = begun + took;
        if ended > until {
            // The call is still running when the picture is taken.
            return;
        }
        let unreachable = || Arc::new(Failure::new(FailureKind::Protocol, "the payment provider is not reachable (-32603)"));
        let (end, verdict) = match mood {
            Mood::Well => (AttemptEnd::Ok, Verdict::Success),
            Mood::Failing => (AttemptEnd::Failed { failure: unreachable() }, Verdict::Failure),
        };
        let how = end.to_string();
        let took = Duration::from_millis(took);
        self.push_stage(ended, CallEvent::Ended { attempt: 1, end, verdict, took });
        let _ = self.breaker.record(admission, verdict, took, &how, at(ended));
        self.push_breaker(ended);
        match mood {
            Mood::Well => self.settle((ms, ended), 1, test_support::text_result(r#"{"charged":true}"#), None),
            Mood::Failing => {
                self.push_stage(ended, CallEvent::NotRepeated { why: "it may have run, and is not known to be safe to retry".into() });
                self.fall_back(ended, 2, how, ms);
            }
        }
    }

    fn fall_back(&mut self, ms: u64, number: u32, after: String, queued: u64) {
        self.push_stage(ms, CallEvent::Fallback { to: FALLBACK.into(), after });
        let attempt =
            CallEvent::Attempt { attempt: number, server: "database".into(), subject: "insert_record".into(), cause: Cause::First };
        self.push_stage(ms, attempt);
        let took = Duration::from_millis(4);
        self.push_stage(ms + 4, CallEvent::Ended { attempt: number, end: AttemptEnd::Ok, verdict: Verdict::Success, took });
        self.settle((queued, ms + 4), number, test_support::text_result(r#"{"noted":true}"#), Some("database".into()));
    }

    fn settle(&mut self, (from, to): (u64, u64), attempts: u32, outcome: Outcome, by: Option<ServerId>) {
        let timings =
            Timings { queued: at(from), sent: Some(at(from)), first_byte: Some(at(to)), last_byte: Some(at(to)), settled: at(to) };
        let settled = Settled { outcome, timings, rounds: 1, sent_bytes: 131, received_bytes: 96, attempts, by, cached: None };
        self.script.push(to, EventKind::CallSettled { call: CallId(self.call), settled: Arc::new(settled) });
    }
}
