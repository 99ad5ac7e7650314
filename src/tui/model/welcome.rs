//! The welcome: ways to add servers, at the start and later.

use crate::{
    domain::event::NoticeLevel,
    tui::{
        ConsoleRequest,
        action::Action,
        keymap::Context,
        msg::Cmd,
        overlay::welcome::{Welcome, WelcomeState},
    },
};

use super::{Modal, Model};

impl Model {
    /// Opens the welcome again; while servers run, after a search for what there is now and what is in use.
    pub(super) fn welcome(&mut self) -> Vec<Cmd> {
        match &self.welcome_state {
            Some(offer) if self.mirror.read_model.servers.is_empty() => {
                self.modals.push(Modal::Welcome(Welcome::new(offer.clone())));
                vec![]
            }
            _ => Self::request(ConsoleRequest::FindServers),
        }
    }

    /// Shows what was found on this machine, unless another dialog was opened meanwhile.
    pub(super) fn show_welcome(&mut self, offer: WelcomeState) {
        // A list that is open was not found now: its rows may be outdated.
        self.modals.retain(|modal| !matches!(modal, Modal::Welcome(_)));
        if self.modals.is_empty() && !self.typing() {
            self.modals.push(Modal::Welcome(Welcome::new(offer.clone())));
        }
        self.welcome_state = Some(offer);
    }

    pub(super) fn welcome_act(&mut self, action: Action) -> Vec<Cmd> {
        let Some(Modal::Welcome(welcome)) = self.modals.last_mut() else { return vec![] };
        let chosen = match action {
            Action::Choose => welcome.choose(),
            Action::Yes => welcome.yes(),
            Action::Back if welcome.back() => None,
            Action::Back => {
                self.modals.pop();
                return vec![];
            }
            _ => None,
        };
        let Some(chosen) = chosen else { return vec![] };
        self.modals.pop();
        let key = self.keymap.key(&[Context::Global], Action::Filter).unwrap_or_default();
        self.toast(NoticeLevel::Info, format!("Starting … press {key} to find a tool."));
        Self::request(ConsoleRequest::Start(chosen))
    }
}
