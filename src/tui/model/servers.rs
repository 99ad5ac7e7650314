//! Actions on the selected server.

use crate::{
    control::Command,
    domain::{
        event::{LogLevel, NoticeLevel},
        id::ServerId,
        server::Phase,
        workspace::WorkspaceRequest,
    },
    tui::{action::Action, msg::Cmd, view::ViewId},
};

use super::Model;

impl Model {
    pub(super) fn server_act(&mut self, action: Action) -> Vec<Cmd> {
        let Some(server) = self.meant_server() else {
            self.toast(NoticeLevel::Info, "Select a server first.");
            return vec![];
        };
        let off = self.session.read_model().server(&server).is_some_and(|s| matches!(*s.phase, Phase::Disabled));
        let level = |level| Command::LogLevel { server: server.clone(), level };
        let command = match action {
            Action::Restart => Command::Restart { server },
            Action::Disable if off => Command::Restart { server },
            Action::Disable => Command::Disable { server },
            Action::LogDebug => level(LogLevel::Debug),
            Action::LogInfo => level(LogLevel::Info),
            _ => Command::Refresh { server },
        };
        vec![Cmd::Command(command)]
    }

    /// Returns the selected server, if it waits for a login.
    pub(super) fn wants_login(&self) -> Option<ServerId> {
        let server = self.meant_server()?;
        let phase = &self.session.read_model().server(&server)?.phase;
        matches!(**phase, Phase::NeedsLogin { .. }).then_some(server)
    }

    /// Starts a login at the selected server. The dialog opens when the address is known.
    pub(super) fn log_in(&mut self) -> Vec<Cmd> {
        let Some(server) = self.wants_login() else {
            self.toast(NoticeLevel::Info, "Select a server that needs a login.");
            return vec![];
        };
        Self::request(WorkspaceRequest::Login { server })
    }

    pub(super) fn meant_server(&self) -> Option<ServerId> {
        if self.in_view() {
            return self.views.health.subject().filter(|_| self.views.current == ViewId::Health).map(|s| s.server);
        }
        self.console.tree.selected()?.server().cloned()
    }
}
