//! Suggestions of servers for arguments of prompts and templates (MCP, `completion/complete`): asked
//! for a moment after typing, and dropped when one has typed on.

use std::{collections::HashSet, time::Duration};

use crate::{
    domain::{
        body::{self, Body},
        bounds,
        call::{CallSpec, Origin},
        id::CallId,
        time::Stamp,
    },
    tui::{layout::Focus, msg::Cmd, pane::call::CompletionRequest},
};

use super::Model;

/// How long typing must rest before the server is asked.
const REST: Duration = Duration::from_millis(150);
/// How long an answer may take before it is of no use.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is being asked for.
#[derive(Default)]
pub(super) struct Completing {
    /// What stands under the cursor.
    typed: Option<CompletionRequest>,
    /// When to ask for it.
    due: Option<Stamp>,
    /// The token of the call that asks, until its id is known.
    token: Option<(u64, CompletionRequest)>,
    /// The call that asks, and what it asks for.
    call: Option<(CallId, CompletionRequest)>,
}

impl Completing {
    /// Whether time has to pass.
    pub(super) fn waiting(&self) -> bool {
        self.due.is_some()
    }
}

impl Model {
    /// Notes what is typed; a change is asked about after a rest.
    pub(super) fn note_typing(&mut self) {
        let here = self.modals.is_empty() && self.focus == Focus::Call && self.tree.filter().is_none();
        let typed = if here { self.call.completion_request() } else { None };
        let typed = typed.filter(|typed| {
            let info = self.feed.read_model.server(&typed.server).and_then(|s| s.info.as_ref());
            info.is_some_and(|info| info.declares(&["completions"]))
        });
        if typed == self.completing.typed {
            return;
        }
        let same_place = matches!((&typed, &self.completing.typed), (Some(a), Some(b)) if a.argument == b.argument && a.node == b.node);
        if !same_place {
            self.call.suggest(vec![]);
        }
        self.completing.due = typed.as_ref().map(|_| self.now.max(self.feed.last).plus(REST));
        self.completing.typed = typed;
    }

    /// Asks the server when typing has rested.
    pub(super) fn complete(&mut self) -> Vec<Cmd> {
        if self.completing.due.is_none_or(|due| due > self.now) || self.engine_gone {
            return vec![];
        }
        self.completing.due = None;
        let Some(typed) = self.completing.typed.clone() else { return vec![] };
        let spec = CallSpec { operation: typed.request(), origin: Origin::Console, timeout: Some(PATIENCE), run: None };
        let token = self.next_token;
        self.next_token += 1;
        self.completing.token = Some((token, typed));
        self.completing.call = None;
        vec![Cmd::Submit { token, spec }]
    }

    /// Notes the id of the call that asks; whether the token is its.
    pub(super) fn completion_submitted(&mut self, token: u64, call: CallId) -> bool {
        let Some((_, typed)) = self.completing.token.take_if(|(asked, _)| *asked == token) else { return false };
        self.completing.call = Some((call, typed));
        true
    }

    /// Shows what the server suggests, unless one has typed on meanwhile.
    pub(super) fn suggestions(&mut self, calls: &HashSet<CallId>) {
        let Some((call, asked)) = self.completing.call.take_if(|(call, _)| calls.contains(call)) else { return };
        let Some(settled) = self.feed.read_model.call(call).map(|c| c.settled.clone()) else { return };
        let Some(settled) = settled else {
            self.completing.call = Some((call, asked));
            return;
        };
        if self.completing.typed.as_ref() != Some(&asked) {
            return;
        }
        self.call.suggest(settled.outcome.result().map(suggestions).unwrap_or_default());
    }

    /// Takes the next suggestion into the field, without asking about it again.
    pub(super) fn take_suggestion(&mut self) {
        if self.call.take_suggestion() {
            self.completing.typed = self.call.completion_request();
            self.completing.due = None;
        }
    }
}

/// The values of a result of `completion/complete`. The specification allows a hundred; a server may not keep to it.
fn suggestions(result: &Body) -> Vec<String> {
    let completion = result.fields(["completion"]).and_then(|[completion]| completion);
    let values = completion.and_then(|c| body::fields(c.get().as_bytes(), ["values"])).and_then(|[values]| values);
    let values = values.and_then(|list| body::members(list.get().as_bytes(), 100).ok()).unwrap_or_default().0;
    values.into_iter().filter_map(|value| bounds::json_text(value.get(), bounds::LINE)).collect()
}
