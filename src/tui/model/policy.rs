//! Manual breaker overrides, fault injection, cache clearing, and the pages of the health view that show them.

use std::time::Duration;

use crate::{
    control::Command,
    domain::{
        event::NoticeLevel,
        plural::counted,
        policy::{
            breaker::{BreakerOverride, BreakerView, State},
            fault::Fault,
            pattern::Pattern,
        },
    },
    tui::{
        action::Action,
        layout::Focus,
        msg::Cmd,
        overlay::text_prompt::TextPrompt,
        pane::{
            banner, breaker,
            health::{Page, Subject},
        },
        tree::Node,
        view::{Part, ViewId},
    },
};

use super::Model;

/// The default text of the fault prompt.
const EXAMPLE: &str = "latency=200ms,fail=30%";

impl Model {
    /// Performs an action about breakers, faults, the cache or the pages of the health view; `None` for any other action.
    pub(super) fn policy_act(&mut self, action: Action) -> Option<Vec<Cmd>> {
        Some(match action {
            Action::BreakerTrip => self.override_breaker(BreakerOverride::Trip),
            Action::BreakerHoldOpen => self.override_breaker(BreakerOverride::HoldOpen),
            Action::BreakerHoldClosed => self.override_breaker(BreakerOverride::HoldClosed),
            Action::BreakerReset => self.override_breaker(BreakerOverride::Reset),
            Action::Inject => self.ask_fault(),
            Action::StopFaults => self.end_faults(),
            Action::ClearCache => self.ask_purge(),
            Action::Breakers => self.show_page(Page::Breakers),
            Action::Routes => self.show_page(Page::Routes),
            Action::Clients => self.show_page(Page::Clients),
            _ => return None,
        })
    }

    /// Returns whether such an action would have an effect now.
    pub(super) fn policy_enabled(&self, action: Action) -> Option<bool> {
        let subject = || self.meant_subject();
        Some(match action {
            Action::BreakerTrip | Action::BreakerHoldOpen | Action::BreakerHoldClosed | Action::BreakerReset => {
                let Some(subject) = subject() else { return Some(false) };
                let Some(server) = self.session.read_model().server(&subject.server) else { return Some(false) };
                if !breaker::owns(&subject, server, self.session.read_model())
                    || !breaker::policy_of(&subject, server, self.session.read_model()).enabled
                {
                    return Some(false);
                }
                let quiet = BreakerView::default();
                let view = breaker::view_of(&subject, server).map_or(&quiet, |view| view);
                match action {
                    Action::BreakerHoldOpen => view.held != Some(BreakerOverride::HoldOpen),
                    Action::BreakerHoldClosed => view.held != Some(BreakerOverride::HoldClosed),
                    Action::BreakerReset => view.held.is_some() || view.state != State::Closed || !view.cells.is_empty(),
                    _ => view.state != State::Open,
                }
            }
            Action::Inject => subject().is_some(),
            Action::ClearCache => !self.session.read_model().servers.is_empty(),
            Action::StopFaults => banner::faults(self.session.read_model()) > 0,
            Action::Breakers => !(self.views.current == ViewId::Health && self.views.health.page == Page::Breakers),
            Action::Routes => !(self.views.current == ViewId::Health && self.views.health.page == Page::Routes),
            Action::Clients => !(self.views.current == ViewId::Health && self.views.health.page == Page::Clients),
            _ => return None,
        })
    }

    /// Returns the selected server or tool: under the cursor of the tree, or of a page of the health view.
    pub(super) fn meant_subject(&self) -> Option<Subject> {
        if self.in_view() {
            return (self.views.current == ViewId::Health).then(|| self.views.health.subject()).flatten();
        }
        let node = self.console.tree.selected()?;
        let server = node.server().filter(|id| self.session.read_model().server(id).is_some())?.clone();
        let tool = match node {
            Node::Tool(tool) | Node::Saved(tool, _) => Some(tool.name.clone()),
            _ => None,
        };
        Some(Subject { server, tool })
    }

    fn override_breaker(&mut self, order: BreakerOverride) -> Vec<Cmd> {
        let Some(subject) = self.meant_subject() else {
            self.toast(NoticeLevel::Info, "Select a server first, or a tool with its own breaker.");
            return vec![];
        };
        let Some(server) = self.session.read_model().server(&subject.server) else { return vec![] };
        if !breaker::owns(&subject, server, self.session.read_model()) {
            let tool = subject.tool.as_deref().unwrap_or_default();
            let text = format!("{tool} has no breaker of its own; select {} for the breaker of the server.", subject.server);
            self.toast(NoticeLevel::Info, text);
            return vec![];
        }
        if !breaker::policy_of(&subject, server, self.session.read_model()).enabled {
            self.toast(NoticeLevel::Info, format!("The breaker of {} is disabled in the configuration.", display_name(&subject)));
            return vec![];
        }
        vec![Cmd::Command(Command::Breaker { server: subject.server, tool: subject.tool.map(|t| t.to_string()), order })]
    }

    fn ask_fault(&mut self) -> Vec<Cmd> {
        let Some(subject) = self.meant_subject() else {
            self.toast(NoticeLevel::Info, "Select a server or a tool first.");
            return vec![];
        };
        let present = self.session.read_model().server(&subject.server).and_then(|s| s.faults.get(&subject.tool));
        let text = present.map_or_else(|| EXAMPLE.to_owned(), format_fault);
        let note = "Comma-separated: latency=200ms, fail=30%, drop=10%, cut=5%, corrupt=5%. fail returns an error, drop discards the \
                    response, cut closes the connection, corrupt damages the response. Calls of every origin are affected. Empty stops the fault.";
        let entry = TextPrompt::new(format!("Inject a fault into {}", display_name(&subject)), note, &[("fault", &text)]);
        self.dialogs.push(entry.on_submit(move |model, prompt| model.fault_entered(&subject, prompt.text(0))));
        vec![]
    }

    /// Handles the text of the fault prompt; an error is shown in the dialog.
    fn fault_entered(&mut self, subject: &Subject, text: &str) -> Result<Vec<Cmd>, String> {
        let fault = if text.trim().is_empty() { None } else { Some(Fault::parse(text)?) };
        let text = match &fault {
            Some(fault) => format!("Fault injection started for {}: {}.", display_name(subject), fault.words()),
            None => format!("Fault injection stopped for {}.", display_name(subject)),
        };
        self.toast(if fault.is_some() { NoticeLevel::Warn } else { NoticeLevel::Info }, text);
        Ok(vec![inject(subject, fault)])
    }

    /// Stops the fault of the selected server or tool; if it has none, stops all faults.
    fn end_faults(&mut self) -> Vec<Cmd> {
        let all: Vec<Subject> = self.session.read_model().servers.iter().flat_map(of_server).collect();
        if all.is_empty() {
            self.toast(NoticeLevel::Info, "No faults are injected.");
            return vec![];
        }
        let mine: Vec<Subject> = self.meant_subject().into_iter().filter(|subject| all.contains(subject)).collect();
        let ended = if mine.is_empty() { all } else { mine };
        let names: Vec<String> = ended.iter().map(display_name).collect();
        self.toast(NoticeLevel::Info, format!("Fault injection stopped for {}.", names.join(", ")));
        ended.iter().map(|subject| inject(subject, None)).collect()
    }

    fn ask_purge(&mut self) -> Vec<Cmd> {
        let meant = self.meant_subject().map_or_else(
            || "*".to_owned(),
            |subject| match &subject.tool {
                Some(tool) => format!("{}/{tool}", subject.server),
                None => subject.server.to_string(),
            },
        );
        let cache = &self.session.read_model().cache;
        let store = if cache.store.is_empty() {
            String::new()
        } else {
            format!(" {}: {}, {}.", cache.store, counted(cache.hits, "hit"), counted(cache.misses, "miss"))
        };
        let note = format!("Clears cached results of a server, server/tool, a pattern with * or, with *, of everything.{store}");
        let entry = TextPrompt::new("Clear the cache", note, &[("pattern", &meant)]);
        self.dialogs.push(entry.on_submit(|model, prompt| model.purge_entered(prompt.text(0))));
        vec![]
    }

    /// Handles the pattern of the cache prompt; an error is shown in the dialog.
    fn purge_entered(&mut self, text: &str) -> Result<Vec<Cmd>, String> {
        let pattern = text.trim();
        if pattern.is_empty() {
            return Err("Enter a pattern; * matches everything.".into());
        }
        Pattern::parse(pattern)?;
        self.toast(NoticeLevel::Info, format!("Clearing cached results of {pattern}."));
        Ok(vec![Cmd::Command(Command::Purge { pattern: pattern.to_owned() })])
    }

    /// Switches to a page of the health view, or back from it; the cursor stays on its subject.
    fn show_page(&mut self, page: Page) -> Vec<Cmd> {
        let here = self.views.current == ViewId::Health;
        let meant = self.meant_subject();
        self.views.show(ViewId::Health);
        let page = if here && self.views.health.page == page { Page::Table } else { page };
        self.views.health.show_page(page, meant.as_ref());
        self.views.state.part = Part::Main;
        vec![]
    }

    /// Returns the time until a countdown on the screen shows another number; `None` if none is visible.
    pub(super) fn countdown(&self) -> Option<Duration> {
        let shown = match self.views.current {
            ViewId::Console => self.layout.place(Focus::Servers).is_some() || self.layout.place(Focus::Info).is_some(),
            ViewId::Health => true,
            _ => false,
        };
        if !shown || self.layout.too_small {
            return None;
        }
        let now = self.session.time();
        let views = self.session.read_model().servers.iter().flat_map(|s| std::iter::once(&s.breaker).chain(s.tool_breakers.values()));
        views.filter_map(|view| breaker::due(view, now)).min()
    }
}

/// Returns the display name of a server or a tool.
fn display_name(subject: &Subject) -> String {
    match &subject.tool {
        Some(tool) => format!("{} › {tool}", subject.server),
        None => subject.server.to_string(),
    }
}

fn of_server(server: &crate::state::ServerView) -> Vec<Subject> {
    server.faults.keys().map(|tool| Subject { server: server.id().clone(), tool: tool.clone() }).collect()
}

fn inject(subject: &Subject, fault: Option<Fault>) -> Cmd {
    let tool = subject.tool.as_ref().map(ToString::to_string);
    Cmd::Command(Command::Inject { server: subject.server.clone(), tool, fault })
}

/// Formats a fault as [`Fault::parse`] reads it.
fn format_fault(fault: &Fault) -> String {
    let mut parts = vec![];
    if !fault.latency.is_zero() {
        parts.push(format!("latency={}ms", fault.latency.as_millis()));
    }
    for (name, share) in [("fail", fault.fail), ("drop", fault.drop), ("cut", fault.cut), ("corrupt", fault.corrupt)] {
        if share > 0.0 {
            parts.push(format!("{name}={share}"));
        }
    }
    parts.join(",")
}
