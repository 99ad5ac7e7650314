//! Completions from servers for arguments of prompts and templates (MCP, `completion/complete`): requested
//! shortly after typing, and dropped when the user types on.

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

/// How long typing must pause before the server is asked.
const REST: Duration = Duration::from_millis(150);
/// The timeout of a completion request.
const PATIENCE: Duration = Duration::from_secs(5);

/// The state of a completion request.
#[derive(Default)]
pub(super) struct Completing {
    /// The text under the cursor.
    typed: Option<CompletionRequest>,
    /// When to send the request.
    due: Option<Stamp>,
    /// The token of the request, until its call id is known.
    token: Option<(u64, CompletionRequest)>,
    /// The call id of the request, and the text that it completes.
    call: Option<(CallId, CompletionRequest)>,
}

impl Completing {
    /// Returns whether a timer is running.
    pub(super) fn waiting(&self) -> bool {
        self.due.is_some()
    }
}

impl Model {
    /// Notes the typed text; a change is sent to the server after a pause.
    pub(super) fn note_typing(&mut self) {
        let here = self.dialogs.is_empty() && self.console.focus == Focus::Call && self.console.tree.filter().is_none();
        let typed = if here { self.console.call.completion_request() } else { None };
        let typed = typed.filter(|typed| {
            let info = self.session.read_model().server(&typed.server).and_then(|s| s.info.as_ref());
            info.is_some_and(|info| info.declares(&["completions"]))
        });
        if typed == self.completing.typed {
            return;
        }
        let same_place = matches!((&typed, &self.completing.typed), (Some(a), Some(b)) if a.argument == b.argument && a.node == b.node);
        if !same_place {
            self.console.call.suggest(vec![]);
        }
        self.completing.due = typed.as_ref().map(|_| self.session.time().plus(REST));
        self.completing.typed = typed;
    }

    /// Sends the request after a pause in typing.
    pub(super) fn complete(&mut self) -> Vec<Cmd> {
        if self.completing.due.is_none_or(|due| due > self.session.now) || self.engine_gone {
            return vec![];
        }
        self.completing.due = None;
        let Some(typed) = self.completing.typed.clone() else { return vec![] };
        let spec = CallSpec { timeout: Some(PATIENCE), ..CallSpec::new(typed.request(), Origin::Console) };
        let token = self.next_token;
        self.next_token += 1;
        self.completing.token = Some((token, typed));
        self.completing.call = None;
        vec![Cmd::Submit { token, spec }]
    }

    /// Records the call id of the request; returns whether the token belongs to it.
    pub(super) fn completion_submitted(&mut self, token: u64, call: CallId) -> bool {
        let Some((_, typed)) = self.completing.token.take_if(|(asked, _)| *asked == token) else { return false };
        self.completing.call = Some((call, typed));
        true
    }

    /// Forgets the request if it has this token: it was not sent.
    pub(super) fn completion_refused(&mut self, token: u64) {
        self.completing.token.take_if(|(asked, _)| *asked == token);
    }

    /// Shows the completions of the server, unless the user typed on meanwhile.
    pub(super) fn suggestions(&mut self, calls: &HashSet<CallId>) {
        let Some((call, asked)) = self.completing.call.take_if(|(call, _)| calls.contains(call)) else { return };
        let Some(settled) = self.session.read_model().call(call).map(|c| c.settled.clone()) else { return };
        let Some(settled) = settled else {
            self.completing.call = Some((call, asked));
            return;
        };
        if self.completing.typed.as_ref() != Some(&asked) {
            return;
        }
        self.console.call.suggest(settled.outcome.result().map(suggestions).unwrap_or_default());
    }

    /// Inserts the next completion into the field, without another request.
    pub(super) fn take_suggestion(&mut self) {
        if self.console.call.take_suggestion() {
            self.completing.typed = self.console.call.completion_request();
            self.completing.due = None;
        }
    }
}

/// Returns the values of a `completion/complete` result. The specification limits them to 100; a server may send more.
fn suggestions(result: &Body) -> Vec<String> {
    let completion = result.fields(["completion"]).and_then(|[completion]| completion);
    let values = completion.and_then(|c| body::fields(c.get().as_bytes(), ["values"])).and_then(|[values]| values);
    let values = values.and_then(|list| body::members(list.get().as_bytes(), 100).ok()).unwrap_or_default().0;
    values.into_iter().filter_map(|value| bounds::json_text(value.get(), bounds::LINE)).collect()
}
