//! Input that is not a message: noise, broken and oversized messages, and the requests that they fail.

use super::{Arrival, Connection, RESPONSE_HINT};
use crate::{
    domain::{
        body::Body,
        bounds,
        call::{Failure, FailureKind},
        frame::{AnomalyKind, Direction, FrameDraft, FrameKind},
        time::size,
    },
    protocol::wire::{self, Bad, Parsed, Seems},
};

/// Bytes of a line of noise that a report quotes from.
pub(super) const NOISE: usize = 1024;

impl Connection {
    /// Turns a line that is not a message into noise, unless it names a request of this end: programs also log lines that begin
    /// with `{` or `[`, and such a line must not end a request.
    pub(super) fn recognise_noise(&self, line: &Body, parsed: &mut Parsed) {
        let names_request = |bad: &Bad| bad.id.as_deref().and_then(wire::our_id).is_some_and(|id| self.known(id).is_some());
        let why = match parsed {
            Parsed::Message(_) => return,
            // An answer or an error without an id is a message.
            Parsed::Bad(bad) if names_request(bad) || (bad.kind == AnomalyKind::NotRpc && bad.seems != Seems::Nothing) => return,
            Parsed::Bad(bad) if matches!(bad.kind, AnomalyKind::BadJson | AnomalyKind::NotRpc | AnomalyKind::Noise) => {
                std::mem::take(&mut bad.detail)
            }
            Parsed::Bad(_) => return,
            Parsed::Batch(members, _) => {
                let is_message = |member: &Body| match wire::parse(member) {
                    Parsed::Message(_) => true,
                    Parsed::Bad(bad) => names_request(&bad) || bad.seems != Seems::Nothing,
                    Parsed::Batch(..) => false,
                };
                if members.is_empty() || members.iter().any(is_message) {
                    return;
                }
                "a JSON array without a message".to_owned()
            }
        };
        let detail = format!("{}: {why}", wire::shorten(&line.front(NOISE).text()));
        *parsed = Parsed::Bad(Bad { kind: AnomalyKind::Noise, detail, id: None, seems: Seems::Nothing });
    }

    /// Reports a protocol fault, and fails the request that it answers, if that is known.
    pub fn bad(&self, mut bad: Bad, arrival: &Arrival, frame: Option<u64>) {
        bounds::shorten(&mut bad.detail, bounds::LINE);
        let own = bad.id.as_deref().and_then(wire::our_id).filter(|id| self.pending.lock().slots.contains_key(id));
        let blamed = match bad.seems {
            _ if own.is_some() => own,
            // A response, but to no pending request.
            _ if bad.id.is_some() => None,
            Seems::Nothing => None,
            // Invalid JSON cannot be about a notification: our notifications are valid and all alike.
            Seems::Error(code) if code != wire::PARSE_ERROR && self.take_notification() => {
                bad.detail.push_str("; it seems to be about a notification, which has no answer");
                None
            }
            Seems::Answer | Seems::Error(_) => self.only_pending(),
        };
        let call = blamed.and_then(|id| self.call_of(id));
        self.anomaly(bad.kind, bad.detail.clone(), call.or(arrival.call), frame);
        if let Some(id) = blamed {
            let kind = if bad.kind == AnomalyKind::TooLarge { FailureKind::TooLarge } else { FailureKind::Protocol };
            let failure = Failure::after_send(kind, format!("{}: {}", bad.kind.words(), bad.detail)).hint(RESPONSE_HINT);
            self.fail(id, failure);
        }
    }

    /// Handles a message over the limit; `tail` is its end, once known.
    pub fn too_large(&self, head: &Body, tail: Option<&Body>, seen: u64, arrival: &Arrival) -> bool {
        let salvaged = || tail.and_then(|t| wire::salvage_id(t.bytes())).or_else(|| wire::salvage_id(head.bytes()));
        let id = wire::begins_like_message(head.bytes()).then(salvaged).flatten();
        let id = id.as_deref().and_then(wire::our_id).filter(|id| self.known(*id).is_some());
        let own = match id {
            // A late response to a cancelled request must not count as the response to another one.
            Some(id) => Some(id).filter(|id| self.pending.lock().slots.contains_key(id)),
            // On stdout it may be a line of a log.
            None if arrival.http.is_none() => None,
            None => self.only_pending(),
        };
        let (Some(id), limit) = (own, self.limits.message_bytes) else { return false };
        let detail = format!("the answer is over the limit of {} ({} seen so far)", size(limit as u64), size(seen));
        let call = self.call_of(id);
        let frame = self.handler.frame(FrameDraft {
            at: arrival.last,
            direction: Direction::In,
            kind: FrameKind::Noise,
            body: head.clone(),
            size: seen,
            call,
            method: None,
            rpc_id: Some(id.to_string().into()),
            http: arrival.http.clone(),
        });
        self.anomaly(AnomalyKind::TooLarge, detail.clone(), call, Some(frame));
        self.fail(id, Failure::after_send(FailureKind::TooLarge, detail).hint("raise limits.message_bytes of this server"));
        true
    }
}
