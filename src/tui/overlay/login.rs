//! The dialog of a login: the address to open, and a field for the one that the browser was sent to.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::{buffer::Buffer, layout::Rect};

use crate::{
    domain::{
        config_input::InputValue,
        event::NoticeLevel,
        id::ServerId,
        login::LOGIN_LIMIT,
        time::Stamp,
        workspace::{LoginEnd, LoginStarted},
    },
    tui::{
        WorkspaceRequest,
        action::Action,
        dialog::{Dialog, DialogOutcome},
        keymap::Context,
        msg::Cmd,
        pane::DrawContext,
        widget::{
            field::{FieldEvent, TextField},
            paint::{Pen, dialog, padded, wrap},
        },
    },
};

use super::key_row;

/// The dialog.
pub struct LoginDialog {
    login: LoginStarted,
    field: TextField,
    /// Whether the address was copied: a dialog hides the message about it.
    copied: bool,
    /// Whether the server was connected when the login began: the login adds scopes.
    connected: bool,
    /// How the login ended; `None` while it waits.
    end: Option<LoginEnd>,
    /// When the login ends if its user does not finish it; known from the first time that it is drawn.
    until: Option<Stamp>,
}

impl LoginDialog {
    /// Creates the dialog of a login that waits for the browser.
    pub fn new(login: LoginStarted, connected: bool) -> LoginDialog {
        LoginDialog { login, field: TextField::proposed(""), copied: false, connected, end: None, until: None }
    }

    /// Sets how the login at a server ended.
    pub fn ended(&mut self, server: &ServerId, end: LoginEnd) {
        if *server == self.login.server {
            self.end = Some(end);
        }
    }

    /// Returns whether the user is logged in: by this login, or by another one that connected the server.
    fn is_over(&self, ctx: DrawContext) -> bool {
        self.end == Some(LoginEnd::LoggedIn) || !self.connected && connected(&self.login.server, ctx)
    }
}

fn connected(server: &ServerId, ctx: DrawContext) -> bool {
    ctx.read_model.server(server).is_some_and(|view| view.phase.usable())
}

impl Dialog for LoginDialog {
    fn contexts(&self) -> &'static [Context] {
        &[Context::Entry]
    }

    fn act(&mut self, action: Action, ctx: DrawContext) -> DialogOutcome {
        match action {
            Action::Choose if self.is_over(ctx) || self.field.text().trim().is_empty() => DialogOutcome::Close,
            Action::Choose => {
                let address = InputValue(self.field.text().trim().to_owned());
                let request = WorkspaceRequest::FinishLogin { server: self.login.server.clone(), address };
                DialogOutcome::run(|_| vec![Cmd::Request(request)])
            }
            Action::Back => DialogOutcome::Close,
            _ => DialogOutcome::Open,
        }
    }

    fn key(&mut self, key: KeyEvent, _ctx: DrawContext) -> DialogOutcome {
        if key.code == KeyCode::Char('y') && key.modifiers.contains(KeyModifiers::CONTROL) {
            let address = self.login.address.clone();
            self.copied = true;
            return DialogOutcome::run(move |model| {
                model.toast(NoticeLevel::Info, "The address is copied.");
                vec![Cmd::Copy(address)]
            });
        }
        let _: FieldEvent = self.field.handle(key);
        DialogOutcome::Open
    }

    fn paste(&mut self, text: &str, _ctx: DrawContext) -> DialogOutcome {
        let _: FieldEvent = self.field.paste(text);
        DialogOutcome::Open
    }

    fn draw(&mut self, ctx: DrawContext, area: Rect, buf: &mut Buffer) {
        let theme = ctx.theme;
        let wide = 100.min(area.width);
        let room = wide.saturating_sub(4);
        let until = *self.until.get_or_insert(ctx.now.plus(LOGIN_LIMIT));
        let time = &ctx.read_model.epoch.time_of_day(until)[..5];
        let intro = match &self.end {
            _ if self.is_over(ctx) && self.connected => "You are logged in with the further scopes. Send the call again.".to_owned(),
            _ if self.is_over(ctx) => "You are logged in.".to_owned(),
            Some(LoginEnd::Failed(why)) => format!("The login failed: {why}."),
            Some(_) => "Another login at this server began. Close this one.".to_owned(),
            None if self.login.opened => {
                format!("The browser was opened at this address; Switchboard waits for its redirect until {time}.")
            }
            None => format!("Open this address in a browser; Switchboard waits for its redirect until {time}."),
        };
        let hint = match self.copied {
            false => "If the browser is on another machine, paste the address that it was sent to (Ctrl-Y copies the one above):",
            true => "The address is copied. If the browser is on another machine, paste the address that it was sent to:",
        };
        let (intro, address, hint) = (wrap(&intro, room), wrap(&self.login.address, room), wrap(hint, room));
        let height = (intro.len() + address.len() + hint.len()) as u16 + 6;
        let title = format!("Log in to {}", self.login.server);
        let inner = dialog(buf, area, (wide, height), &[(&title, theme.focus)], &[], theme);
        let inner = padded(inner);
        let lines = intro
            .into_iter()
            .map(|line| (line, theme.text))
            .chain(address.into_iter().map(|line| (line, theme.accent)))
            .chain(std::iter::once((String::new(), theme.text)))
            .chain(hint.into_iter().map(|line| (line, theme.muted)));
        let mut y = 0;
        for (line, style) in lines.take(usize::from(inner.height.saturating_sub(3))) {
            Pen::new(buf, inner, y).put(&line, style);
            y += 1;
        }
        let place = Rect { y: inner.y + y.min(inner.height.saturating_sub(1)), height: 1, ..inner };
        self.field.draw(place, buf, theme.text, theme, true);
        key_row(ctx, Context::Entry, |_| true, inner, buf);
    }
}
