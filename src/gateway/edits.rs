//! What a profile demands of a call of an edited tool: a confirmation of the user, and a rate.

use std::{collections::HashMap, sync::Arc, time::Duration};

use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::{sync::mpsc, time::Instant};

use super::{
    Gateway,
    calls::STATE,
    failure::{self, INTERNAL, invalid},
    park,
    request::Request,
    sealed::LIFETIME,
};
use crate::{
    domain::{
        body::Body,
        call::{Operation, RpcError},
        profile::{Profile, ToolEdit},
        raw_object::RawObject,
        server::Era,
        time::short,
    },
    engine::passage::Desk,
    protocol::splice,
};

/// The state of a call that waits for its confirmation, JSON text.
const CONFIRMING: &str = "\"switchboard:confirming\"";
/// The key of the question in `inputRequests`, and the property of its form.
const CONFIRM: &str = "confirm";
/// The request for a confirmation.
pub const ELICIT: &str = "elicitation/create";

/// Whether a call was confirmed.
pub enum Confirmed {
    /// Yes, or no confirmation is demanded. The further params of the call without what belongs to the confirmation.
    Yes(Body),
    /// Not, or not yet: the result of the request.
    No(Body),
}

impl Gateway {
    /// Asks the user of a client whether a call is made, if the profile demands it.
    pub(super) async fn confirmed(
        &self,
        request: &Request,
        edit: &ToolEdit,
        operation: &Operation,
        extra: Body,
    ) -> Result<Confirmed, RpcError> {
        if !edit.confirm {
            return Ok(Confirmed::Yes(extra));
        }
        if !matches!(request.face.capabilities.fields(["elicitation"]), Some([Some(_)])) {
            return Ok(Confirmed::No(refusal(edit, "needs a confirmation, and this client cannot ask its user for one")));
        }
        let form = json!({
            "message": format!("Call {} with these arguments?\n{}", edit.rename.as_ref().unwrap_or(&edit.tool), arguments(operation)),
            "requestedSchema": {
                "type": "object",
                "properties": {CONFIRM: {"type": "boolean", "title": "Make the call", "default": false}},
                "required": [CONFIRM],
            },
        });
        if request.era == Era::Legacy {
            let (asked, _) = mpsc::channel(1);
            let answer = self.desk(request, asked).ask(ELICIT, Body::json(&form)).await?;
            return Ok(match is_yes(&answer) {
                true => Confirmed::Yes(extra),
                false => Confirmed::No(refusal(edit, "was not confirmed by the user")),
            });
        }
        let [state, responses] = extra.fields([STATE, "inputResponses"]).unwrap_or_default();
        let Some(state) = state.filter(|state| state.get() != "null") else {
            let state = self.seal.close(&request.client.principal, operation, CONFIRMING, self.upstream.unix_ms(), LIFETIME);
            let state = state.ok_or_else(|| failure::error(INTERNAL, "no random numbers"))?;
            let result = json!({
                "resultType": "input_required",
                "inputRequests": {CONFIRM: {"method": ELICIT, "params": form}},
                STATE: state,
            });
            return Ok(Confirmed::No(Body::json(&result)));
        };
        let text = serde_json::from_str::<String>(state.get()).unwrap_or_default();
        // A parked call has begun, and a state of the server is sealed after the confirmation only.
        if text.starts_with(park::STATE) {
            return Ok(Confirmed::Yes(extra));
        }
        let opened = self.seal.open(&request.client.principal, operation, &text, self.upstream.unix_ms());
        let opened = opened.ok_or_else(|| invalid("requestState is not valid for this request; start the call again"))?;
        if opened != CONFIRMING {
            return Ok(Confirmed::Yes(extra));
        }
        let answer = responses.and_then(|responses| RawObject::parse(&Body::from(responses.get()))?.get(CONFIRM).cloned());
        Ok(match answer.is_some_and(|answer| is_yes(&answer)) {
            true => Confirmed::Yes(without(&extra)),
            false => Confirmed::No(refusal(edit, "was not confirmed by the user")),
        })
    }
}

/// Returns the further params without the state and the answer of a confirmation; empty if nothing is left.
fn without(extra: &Body) -> Body {
    let rest = splice::remove(extra, &[STATE, "inputResponses"]);
    if rest.bytes().trim_ascii() == b"{}" { Body::default() } else { rest }
}

fn arguments(operation: &Operation) -> String {
    match operation {
        Operation::Tool { arguments, .. } => arguments.text().into_owned(),
        _ => String::new(),
    }
}

fn is_yes(answer: &Body) -> bool {
    let answer = answer.value().unwrap_or(Value::Null);
    answer["action"] == "accept" && answer["content"][CONFIRM] == true
}

/// Returns the result of a call that is refused: an error of the tool, which the model of the client can explain to its user.
fn refusal(edit: &ToolEdit, why: &str) -> Body {
    let text = format!("{} {why}; the call was not made", edit.rename.as_ref().unwrap_or(&edit.tool));
    Body::json(&json!({"content": [{"type": "text", "text": text}], "isError": true}))
}

/// The rates of edited tools: how many calls each may still get, and since when.
#[derive(Default)]
pub struct Rates(Mutex<HashMap<RatedTool, (f64, Instant)>>);

/// A profile and the exposed name of its tool.
type RatedTool = (Arc<str>, Arc<str>);

impl Rates {
    /// Takes one call from the rate of a tool. Fails if there is none left.
    pub fn take(&self, profile: &Profile, edit: &ToolEdit) -> Result<(), RpcError> {
        let Some(per_minute) = edit.per_minute.map(f64::from) else { return Ok(()) };
        let (now, mut rates) = (Instant::now(), self.0.lock());
        let (left, since) = rates.entry((profile.name.clone(), edit.tool.clone())).or_insert((per_minute, now));
        *left = (*left + now.duration_since(*since).as_secs_f64() * per_minute / 60.0).min(per_minute);
        *since = now;
        if *left >= 1.0 {
            *left -= 1.0;
            return Ok(());
        }
        let wait = Duration::from_secs_f64((1.0 - *left) * 60.0 / per_minute);
        let name = edit.rename.as_ref().unwrap_or(&edit.tool);
        let message = format!("{name} is limited to {per_minute} calls a minute; try again in {}", short(wait));
        let data = json!({"switchboard": {
            "class": "overloaded",
            "retry_after_ms": u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
            "may_have_run": false,
        }});
        Err(RpcError { data: Some(Body::json(&data)), ..failure::error(INTERNAL, message) })
    }
}
