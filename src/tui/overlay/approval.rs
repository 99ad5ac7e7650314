//! The approval dialog of a project's configuration file: shows what the file would start before anything starts.

use std::time::Duration;

use ratatui::{buffer::Buffer, layout::Rect};

use crate::{
    domain::time::Stamp,
    tui::{
        ApprovalPrompt, WorkspaceRequest,
        action::Action,
        dialog::{Dialog, DialogOutcome, Guard},
        keymap::Context,
        msg::Cmd,
        pane::{DrawContext, text_view::TextView},
        theme::Theme,
        widget::{
            paint::{dialog, padded},
            window::{Move, Window},
        },
    },
};

use super::{LastSize, key_row};

/// The approval dialog.
pub struct Approval {
    /// The file and the commands that it would start.
    prompt: ApprovalPrompt,
    window: Window,
    last_size: LastSize,
    guard: Guard,
}

impl Approval {
    /// Creates the dialog, which opens without a key press.
    pub fn new(prompt: ApprovalPrompt, now: Stamp) -> Approval {
        Approval { prompt, window: Window::default(), last_size: LastSize::default(), guard: Guard::new(now) }
    }

    fn text_view<'t>(&self, theme: &'t Theme, width: u16) -> TextView<'t> {
        let mut out = TextView::new(theme, width);
        out.text(
            "This file came with the project and would start programs on this machine. Nothing has been started yet. Read it, then decide. \
             Files that these programs read later are covered by the approval only if their content is listed here.",
            theme.text,
        );
        out.gap().field("file", &self.prompt.path, theme.accent).field("sha-256", &self.prompt.hash, theme.muted).gap();
        for line in &self.prompt.lines {
            out.text(line, theme.warn);
        }
        out
    }
}

impl Dialog for Approval {
    fn contexts(&self) -> &'static [Context] {
        &[Context::Approval]
    }

    fn shows_keys(&self) -> bool {
        true
    }

    fn guard_left(&self, now: Stamp) -> Option<Duration> {
        self.guard.left(now)
    }

    fn go(&mut self, to: Move, ctx: DrawContext) {
        let rows = self.text_view(ctx.theme, self.last_size.width()).len();
        self.window.scroll(to, rows, self.last_size.rows());
    }

    fn act(&mut self, action: Action, ctx: DrawContext) -> DialogOutcome {
        if self.guard.locks(ctx.now) {
            return DialogOutcome::Open;
        }
        match action {
            Action::Approve => {
                let request = WorkspaceRequest::Approve(self.prompt.hash.clone());
                DialogOutcome::close_and(|_| vec![Cmd::Request(request)])
            }
            Action::Reject => {
                let prompt = self.prompt.clone();
                DialogOutcome::close_and(|model| model.reject_project(prompt))
            }
            _ => DialogOutcome::Open,
        }
    }

    fn draw(&mut self, ctx: DrawContext, area: Rect, buf: &mut Buffer) {
        let theme = ctx.theme;
        let wish = (100, area.height.saturating_sub(2));
        let inner = dialog(buf, area, wish, &[("Start this project's servers?", theme.warn)], &[], theme);
        let room = Rect { height: inner.height.saturating_sub(1), ..padded(inner) };
        self.last_size.note(room);
        self.text_view(theme, room.width).draw(buf, room, self.window);
        // The keys are shown when they work.
        key_row(ctx, Context::Approval, |_| self.guard.left(ctx.now).is_none(), inner, buf);
    }
}
