//! Actions on the selected server.

use crate::{
    control::Command,
    domain::{
        call::Outcome,
        event::{LogLevel, NoticeLevel},
        id::ServerId,
        server::Phase,
        workspace::{LoginStarted, WorkspaceRequest},
    },
    tui::{action::Action, msg::Cmd, overlay::login::LoginDialog, view::ViewId},
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

    /// Returns the server of the call or row under the cursor, if it wants a login, with the scopes to ask for.
    pub(super) fn wants_login(&self) -> Option<(ServerId, Vec<String>)> {
        self.refused_call().or_else(|| {
            let server = self.meant_server()?;
            let Phase::NeedsLogin { why } = &*self.session.read_model().server(&server)?.phase else { return None };
            let scopes = why.login.as_ref().map(|login| login.scopes.clone());
            Some((server, scopes.unwrap_or_default()))
        })
    }

    /// Returns the server of the call under the cursor, if it refused the call for lack of a scope, and the scopes.
    fn refused_call(&self) -> Option<(ServerId, Vec<String>)> {
        let call = self.session.read_model().call(self.meant_call()?)?;
        let settled = call.settled.as_ref()?;
        let Outcome::Failed { failure } = &settled.outcome else { return None };
        let server = settled.by.clone().unwrap_or_else(|| call.spec.operation.server().clone());
        Some((server, failure.login.as_ref()?.scopes.clone()))
    }

    /// Starts a login at the selected server. The dialog opens when the address is known.
    pub(super) fn log_in(&mut self) -> Vec<Cmd> {
        let Some((server, scopes)) = self.wants_login() else {
            self.toast(NoticeLevel::Info, "Select a server that needs a login, or a call that was refused for lack of one.");
            return vec![];
        };
        Self::request(WorkspaceRequest::Login { server, scopes })
    }

    /// Shows the login that began, and waits for its end.
    pub(super) fn login_began(&mut self, login: LoginStarted) -> Vec<Cmd> {
        let server = login.server.clone();
        let connected = self.session.read_model().server(&server).is_some_and(|view| view.phase.usable());
        self.dialogs.push(LoginDialog::new(login, connected));
        Self::request(WorkspaceRequest::LoginEnd { server })
    }

    pub(super) fn meant_server(&self) -> Option<ServerId> {
        if self.in_view() {
            return self.views.health.subject().filter(|_| self.views.current == ViewId::Health).map(|s| s.server);
        }
        self.console.tree.selected()?.server().cloned()
    }
}
