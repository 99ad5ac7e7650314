//! The welcome: ways to add servers, at the start and later.

use crate::{
    domain::event::NoticeLevel,
    tui::{
        WorkspaceRequest,
        action::Action,
        keymap::Context,
        msg::Cmd,
        overlay::welcome::{Chosen, Welcome, WelcomeState},
    },
};

use super::Model;

impl Model {
    /// Opens the welcome again; while servers run, after a search for what there is now and what is in use.
    pub(super) fn welcome(&mut self) -> Vec<Cmd> {
        match &self.welcome_state {
            Some(offer) if self.session.read_model().servers.is_empty() => {
                self.dialogs.push(Welcome::new(offer.clone()));
                vec![]
            }
            _ => Self::request(WorkspaceRequest::FindServers),
        }
    }

    /// Shows what was found on this machine, unless another dialog was opened meanwhile.
    pub(super) fn show_welcome(&mut self, offer: WelcomeState) {
        // A list that is open was not found now: its rows may be outdated.
        self.dialogs.close::<Welcome>();
        if self.dialogs.is_empty() && !self.typing() {
            self.dialogs.push(Welcome::new(offer.clone()));
        }
        self.welcome_state = Some(offer);
    }

    /// Starts the servers chosen in the welcome.
    pub(in crate::tui) fn start_servers(&mut self, chosen: Chosen) -> Vec<Cmd> {
        let key = self.session.keymap.key(&[Context::Global], Action::Filter).unwrap_or_default();
        self.toast(NoticeLevel::Info, format!("Starting … press {key} to find a tool."));
        Self::request(WorkspaceRequest::Start(chosen))
    }
}
