//! The list of the history's sessions, newest first: one run of the program per row. Enter shows the traffic of one.

use ratatui::{buffer::Buffer, layout::Rect};

use crate::{
    domain::{
        id::InstanceId,
        plural::counted,
        program_session::SessionSummary,
        time::{Epoch, date, short},
    },
    tui::{
        action::Action,
        dialog::{Dialog, DialogOutcome},
        hits::Hit,
        keymap::Context,
        pane::{DrawContext, table::grouped},
        widget::{
            paint::{Pen, dialog, scroll_bar},
            window::{Move, Window},
        },
    },
};

/// The width of the dialog, where there is room.
const WIDE: u16 = 76;
/// The least width with the column of ids.
const ID_FROM: u16 = 70;
/// The least width with the column of durations.
const LASTED_FROM: u16 = 56;

/// The list of sessions.
pub struct Sessions {
    rows: Vec<SessionSummary>,
    /// The session of this console.
    current: Option<InstanceId>,
    window: Window,
}

impl Sessions {
    /// Creates the list with the cursor on the newest session. `current` is that of this console.
    pub fn new(rows: Vec<SessionSummary>, current: Option<InstanceId>) -> Sessions {
        Sessions { rows, current, window: Window::default() }
    }

    fn choose(&self) -> DialogOutcome {
        match self.rows.get(self.window.cursor) {
            Some(row) => {
                let session = row.start.session;
                DialogOutcome::close_and(move |model| model.show_session(session))
            }
            None => DialogOutcome::Close,
        }
    }

    fn draw_row(&self, session: &SessionSummary, ctx: DrawContext, place: Rect, buf: &mut Buffer) {
        let theme = ctx.theme;
        let SessionSummary { start, last_ms, ended_ms, calls, failures } = *session;
        let current = self.current == Some(start.session);
        let mut pen = Pen::new(buf, place, 0);
        pen.skip(1).put(&moment(start.started_ms, &ctx.read_model.epoch), theme.text).skip(2);
        let from = pen.x();
        let words = if current { "this session" } else { start.kind.word() };
        pen.put(words, if current { theme.accent } else { theme.text }).to(from + 13);
        if place.width >= LASTED_FROM {
            // A session that was killed has no end: its last call is the latest that is known.
            let until = if current { ctx.read_model.epoch.unix_ms(ctx.now) } else { ended_ms.unwrap_or(last_ms) };
            let lasted = short(std::time::Duration::from_millis(until.saturating_sub(start.started_ms)));
            pen.put(&format!("{lasted:>9}"), theme.muted);
        }
        pen.put(&format!("{:>8}", grouped(usize::try_from(calls).unwrap_or(usize::MAX))), theme.text);
        let failed = grouped(usize::try_from(failures).unwrap_or(usize::MAX));
        match failures {
            0 => pen.put(&format!("{failed:>9}"), theme.muted),
            _ => pen.put(&format!("{:>9}", format!("✕ {failed}")), theme.fail),
        };
        if place.width >= ID_FROM {
            pen.skip(2).put(&start.session.to_string(), theme.muted);
        }
    }
}

/// Formats a local time: `2026-11-30 14:02:11`.
fn moment(unix_ms: u64, epoch: &Epoch) -> String {
    let seconds = i64::try_from(unix_ms / 1_000).unwrap_or_default() + i64::from(epoch.utc_offset_s);
    let seconds = u64::try_from(seconds).unwrap_or_default();
    format!("{} {:02}:{:02}:{:02}", date(seconds), seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60)
}

fn head(width: u16) -> String {
    let mut head = format!(" {:<19}  {:<13}", "started", "kind");
    if width >= LASTED_FROM {
        head.push_str(&format!("{:>9}", "lasted"));
    }
    head.push_str(&format!("{:>8}{:>9}", "calls", "failed"));
    if width >= ID_FROM {
        head.push_str("  id");
    }
    head
}

impl Dialog for Sessions {
    fn contexts(&self) -> &'static [Context] {
        &[Context::Menu]
    }

    fn go(&mut self, to: Move, _ctx: DrawContext) {
        self.window.go(to, self.rows.len());
    }

    fn act(&mut self, action: Action, _ctx: DrawContext) -> DialogOutcome {
        match action {
            Action::Choose => self.choose(),
            Action::Back => DialogOutcome::Close,
            _ => DialogOutcome::Open,
        }
    }

    fn click(&mut self, hit: &Hit, _ctx: DrawContext) -> DialogOutcome {
        match hit {
            Hit::Row(row) if *row < self.rows.len() => {
                self.window.cursor = *row;
                self.choose()
            }
            _ => DialogOutcome::Open,
        }
    }

    fn draw(&mut self, ctx: DrawContext, area: Rect, buf: &mut Buffer) {
        let theme = ctx.theme;
        let rows = u16::try_from(self.rows.len()).unwrap_or(u16::MAX).max(1);
        let right = counted(self.rows.len(), "session");
        let wish = (WIDE, rows.saturating_add(3));
        let inner = dialog(buf, area, wish, &[("Sessions", theme.focus)], &[(&right, theme.muted)], theme);
        Pen::new(buf, inner, 0).put(&head(inner.width), theme.muted);
        let list = Rect { y: inner.y.saturating_add(1), height: inner.height.saturating_sub(1), ..inner };
        if self.rows.is_empty() {
            Pen::new(buf, list, 0).skip(1).put("The history has no sessions", theme.muted);
        }
        let height = usize::from(list.height);
        self.window.fit(self.rows.len(), height);
        scroll_bar(buf, list, (self.window.top, height, self.rows.len()), theme.muted);
        for (y, index) in self.window.rows(self.rows.len(), height).enumerate() {
            let place = Rect { y: list.y + y as u16, height: 1, ..list };
            self.draw_row(&self.rows[index], ctx, place, buf);
            ctx.hits.add(place, Hit::Row(index));
            if index == self.window.cursor {
                buf.set_style(place.intersection(buf.area), theme.selection);
            }
        }
    }
}
