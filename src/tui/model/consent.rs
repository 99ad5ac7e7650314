//! Confirmations before calls and runs that may modify data, and the answers of this session.
//!
//! An answer applies to the tool definitions shown with it: when a server changes a tool, the user is asked again.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use crate::{
    domain::{
        call::Operation,
        catalog::{ConfirmPolicy, Definition, Hints},
        directory::Directory,
        event::NoticeLevel,
        id::{ServerId, ToolId},
        run::RunSpec,
        workflow::{catalog_lookup, plan::Plan},
    },
    state::ConsoleState,
    tui::{
        action::Action,
        msg::Cmd,
        overlay::confirm::Confirm,
        pane::call::{needs_confirmation, trusted},
    },
};

use super::Model;

/// The most characters of arguments in a confirmation.
const ARGUMENTS: usize = 300;
/// The most tools that the confirmation of a run lists.
const LISTED: usize = 8;

/// The user's answers, until the end of the session.
#[derive(Default)]
pub(super) struct Consent {
    /// Tools that may be called without a confirmation, with their definitions at that time.
    allowed: HashMap<ToolId, Option<Definition>>,
    /// Servers whose annotations are trusted, with the definitions of their tools at that time.
    trusted_for_session: HashMap<ServerId, HashMap<Arc<str>, Definition>>,
    /// Servers of which a tool declared as read-only was allowed, with the definitions of their tools at that time: their other
    /// read-only tools need no confirmation.
    read_only: HashMap<ServerId, HashMap<Arc<str>, Definition>>,
}

/// A tool that needs a confirmation.
struct Concern {
    hints: Hints,
    /// Whether the server's annotations decide whether it needs one.
    relied_upon: bool,
    /// Whether the user answered for an earlier definition of it.
    changed: bool,
}

fn definition(read_model: &ConsoleState, tool: &ToolId) -> Option<Definition> {
    read_model.tool(tool).map(|tool| tool.definition())
}

/// Returns the definitions of all tools of a server, or of a group.
fn definitions(read_model: &ConsoleState, server: &ServerId) -> HashMap<Arc<str>, Definition> {
    let own = read_model.server(server).into_iter().chain(read_model.members(server));
    let names: BTreeSet<Arc<str>> = own.flat_map(|server| server.catalog.tools.iter().map(|tool| tool.name.clone())).collect();
    let with_definition = |name: Arc<str>| Some((name.clone(), definition(read_model, &ToolId::new(server.clone(), name))?));
    names.into_iter().filter_map(with_definition).collect()
}

/// Returns the arguments of a call, cut after `ARGUMENTS` characters.
fn shortened(operation: &Operation) -> String {
    let Operation::Tool { arguments, .. } = operation else { return String::new() };
    let text = arguments.text();
    match text.char_indices().nth(ARGUMENTS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.into_owned(),
    }
}

impl Model {
    /// Returns why a tool needs a confirmation, by the rule of the configuration; `None` if it does not.
    fn concern(&self, tool: &ToolId) -> Option<Concern> {
        let read_model = self.session.read_model();
        let now = definition(read_model, tool);
        let allowed = self.consent.allowed.get(tool);
        if allowed.is_some_and(|then| *then == now) {
            return None;
        }
        let then = self.consent.trusted_for_session.get(&tool.server).map(|known| known.get(&tool.name).copied());
        let trusted_for_session = then.is_some_and(|then| then.is_some() && then == now);
        let policy = match self.confirm {
            ConfirmPolicy::Untrusted if trusted_for_session => ConfirmPolicy::Destructive,
            policy => policy,
        };
        let hints = needs_confirmation(tool, read_model, policy)?;
        let relied_upon = policy == ConfirmPolicy::Destructive || trusted(&tool.server, read_model);
        let known = self.consent.read_only.get(&tool.server).and_then(|known| known.get(&tool.name).copied());
        if hints.read_only == Some(true) && allowed.is_none() && known.is_some() && known == now {
            return None;
        }
        Some(Concern { hints, relied_upon, changed: allowed.is_some() || (then.is_some() && !trusted_for_session) })
    }

    /// Returns the confirmation of a call that may modify data, if one is needed; `times` says how
    /// often it would be sent, if more than once.
    pub(super) fn destroy_question(&self, operation: &Operation, times: &str) -> Option<Confirm> {
        let Operation::Tool { tool, .. } = operation else { return None };
        let Concern { hints, relied_upon, changed } = self.concern(tool)?;
        let claim = if relied_upon {
            format!("The server calls it {}.", hints.words())
        } else {
            format!("The server calls it {}, but you have not marked the server as trusted (`trusted = true`).", hints.words())
        };
        let changed_note = if changed { "The server has changed it since you answered. " } else { "" };
        let name = self.session.read_model().call_name(operation);
        let (title, once) = if times.is_empty() {
            (format!("Call {name}?"), "call once".to_owned())
        } else {
            (format!("Call {name} {times}?"), format!("call {times}"))
        };
        let trust = format!("call, and trust {} for this session", tool.server);
        let mut choices = vec![(Action::Yes, once.as_str()), (Action::Always, "call, and do not ask again for this tool")];
        if !relied_upon {
            choices.push((Action::TrustServer, &trust));
        }
        choices.push((Action::No, "do not call"));
        let read_only = match hints.read_only {
            Some(true) if !relied_upon => format!(" Your answer holds for all tools of {} that it calls read-only.", tool.server),
            _ => String::new(),
        };
        let sent = format!("server     {}\narguments  {}", tool.server, shortened(operation));
        let confirm = Confirm::new(title, format!("{changed_note}This tool may modify data. {claim}{read_only}\n\n{sent}"), &choices)
            .about(vec![(tool.clone(), definition(self.session.read_model(), tool))]);
        // The cursor is on "no": an extra Enter must not start what the server itself calls destructive.
        Some(if hints.may_destroy(true) { confirm.on_last() } else { confirm })
    }

    /// Returns the confirmation of a run whose tools need one.
    fn run_question(&self, name: &str, plan: &Plan) -> Option<Confirm> {
        let read_model = self.session.read_model();
        let names: BTreeSet<String> = catalog_lookup::tools_of(plan).into_iter().collect();
        let (mut lines, mut about, mut changed, mut destroys) = (vec![], vec![], false, false);
        for tool in names {
            let Some(target) = catalog_lookup::find_tool(read_model, &tool) else {
                // Not listed yet; the run may find it.
                if self.confirm != ConfirmPolicy::Never {
                    lines.push(format!("{tool} (not listed now)"));
                    destroys = true;
                }
                continue;
            };
            if let Some(concern) = self.concern(&target.tool) {
                lines.push(format!("{tool} of {} ({})", target.tool.server, concern.hints.words()));
                changed |= concern.changed;
                destroys |= concern.hints.may_destroy(true);
                about.push((target.tool.clone(), definition(read_model, &target.tool)));
            }
        }
        if lines.is_empty() {
            return None;
        }
        let more = lines.len().saturating_sub(LISTED);
        lines.truncate(LISTED);
        let more = if more > 0 { format!(", and {more} more") } else { String::new() };
        let changed_note = if changed { "A server has changed its tools since you answered. " } else { "" };
        let text = format!("{changed_note}This run may modify data. It may call {}{more}.", lines.join(", "));
        let choices =
            [(Action::Yes, "run once"), (Action::Always, "run, and do not ask again for these tools"), (Action::No, "do not run")];
        let confirm = Confirm::new(format!("Run {name}?"), text, &choices).about(about);
        Some(if destroys { confirm.on_last() } else { confirm })
    }

    /// Starts a run, after a confirmation if its tools need one.
    pub(super) fn ask_or_run(&mut self, plan: &Plan, spec: Arc<RunSpec>) -> Vec<Cmd> {
        let Some(confirm) = self.run_question(&spec.workflow, plan) else { return self.begin_run(spec) };
        self.dialogs.push(confirm.then(move |model| model.begin_run(spec)));
        vec![]
    }

    /// Handles an agreement about tools as they were defined when the question opened. Returns whether it still applies, and
    /// remembers its "always" part until the end of the session.
    pub(in crate::tui) fn agree(&mut self, answer: Action, about: &[(ToolId, Option<Definition>)]) -> bool {
        if about.iter().any(|(tool, then)| definition(self.session.read_model(), tool) != *then) {
            self.toast(NoticeLevel::Warn, "The server changed the tool while the question was open: nothing was sent. Check it again.");
            return false;
        }
        for (tool, _) in about {
            let read_only = self.session.read_model().tool(tool).is_some_and(|tool| tool.hints.read_only == Some(true));
            if read_only {
                let known = definitions(self.session.read_model(), &tool.server);
                self.consent.read_only.insert(tool.server.clone(), known);
            }
        }
        match answer {
            Action::Always => self.consent.allowed.extend(about.iter().cloned()),
            Action::TrustServer => {
                for (tool, _) in about {
                    let known = definitions(self.session.read_model(), &tool.server);
                    self.consent.trusted_for_session.insert(tool.server.clone(), known);
                }
            }
            _ => {}
        }
        true
    }
}
