//! The welcome dialog: ways to add the first servers, and more servers later.
//!
//! The choices come from the workspace as plain data. Nothing is started or written before the dialog has shown
//! the exact lines and the user has confirmed them.

use crossterm::event::KeyEvent;
use ratatui::{buffer::Buffer, layout::Rect};

use super::{LastSize, edit_line};

use crate::domain::plural::counted;
pub use crate::domain::workspace::{Chosen, FoundConfig, WelcomeState};
use crate::tui::{
    action::Action,
    dialog::{Dialog, DialogOutcome},
    hits::Hit,
    keymap::Context,
    pane::{DrawContext, text_view::TextView},
    theme::Theme,
    widget::{
        paint::{Pen, dialog, width, wrap},
        window::{Move, Window},
    },
};

#[derive(Clone, Debug, PartialEq)]
enum Page {
    List,
    Lines(usize),
    Typing(String),
}

/// The dialog.
pub struct Welcome {
    offer: WelcomeState,
    cursor: usize,
    page: Page,
    /// The scroll of the exact lines.
    window: Window,
    last_size: LastSize,
}

impl Welcome {
    /// Creates the dialog.
    pub fn new(offer: WelcomeState) -> Welcome {
        Welcome { offer, cursor: 0, page: Page::List, window: Window::default(), last_size: LastSize::default() }
    }

    /// Goes one step forward. Returns the choice after the last step.
    fn choose(&mut self) -> Option<Chosen> {
        let found = self.offer.found.len();
        match &self.page {
            Page::List if self.cursor < found => {
                (self.page, self.window) = (Page::Lines(self.cursor), Window::default());
                None
            }
            Page::List if self.cursor == found => Some(Chosen::Demo).filter(|_| !self.offer.demo),
            Page::List => {
                self.page = Page::Typing(String::new());
                None
            }
            Page::Lines(_) => None,
            Page::Typing(text) => Some(text.trim()).filter(|t| !t.is_empty()).map(|t| Chosen::Open(t.to_owned())),
        }
    }

    /// Confirms the import of the lines that are shown.
    fn yes(&self) -> Option<Chosen> {
        match self.page {
            Page::Lines(index) => Some(Chosen::Import(index)).filter(|_| self.adds(index)),
            _ => None,
        }
    }

    /// Returns whether a configuration has servers that are not configured yet.
    fn adds(&self, index: usize) -> bool {
        self.offer.found.get(index).is_some_and(|found| !found.in_use())
    }

    /// Goes one step back. Returns whether there was one.
    fn back(&mut self) -> bool {
        let inner = self.page != Page::List;
        self.page = Page::List;
        inner
    }

    fn text_view<'t>(&self, index: usize, theme: &'t Theme, width: u16) -> TextView<'t> {
        let mut out = TextView::new(theme, width);
        let Some(found) = self.offer.found.get(index) else { return out };
        let (client, path) = (&found.client, &found.path);
        let intro = match found.used {
            0 => format!("Servers of {client} in {path}. Nothing has been started yet. This would run:"),
            _ if found.in_use() => format!("Servers of {client} in {path}. All of them are configured already:"),
            used => format!("Servers of {client} in {path}. {used} of them are configured already; yes adds the others:"),
        };
        out.text(&intro, theme.text);
        out.gap();
        for line in &found.lines {
            let style = if line.starts_with(' ') { theme.muted } else { theme.accent };
            out.text(line, style);
        }
        if !found.problems.is_empty() {
            out.gap();
        }
        for problem in &found.problems {
            out.text(&format!("! {problem}"), theme.warn);
        }
        if !found.in_use() {
            let outro = format!("The servers are written to {}. The configuration of {client} does not change.", self.offer.target);
            out.gap().text(&outro, theme.muted);
        }
        out
    }

    fn draw_keys(&self, ctx: DrawContext, area: Rect, buf: &mut Buffer) {
        let theme = ctx.theme;
        let context = if matches!(self.page, Page::Typing(_)) { Context::WelcomeText } else { Context::Welcome };
        let hints: &[(Action, &str)] = match self.page {
            Page::List if self.cursor < self.offer.found.len() && self.adds(self.cursor) => {
                &[(Action::Choose, "review"), (Action::Back, "not now"), (Action::Quit, "quit")]
            }
            Page::List if self.cursor < self.offer.found.len() => {
                &[(Action::Choose, "view"), (Action::Back, "not now"), (Action::Quit, "quit")]
            }
            Page::List if self.cursor == self.offer.found.len() && self.offer.demo => &[(Action::Back, "not now"), (Action::Quit, "quit")],
            Page::List => &[(Action::Choose, "select"), (Action::Back, "not now"), (Action::Quit, "quit")],
            Page::Lines(index) if self.adds(index) => &[(Action::Yes, "write and start"), (Action::Back, "back")],
            Page::Lines(_) => &[(Action::Back, "back")],
            Page::Typing(_) => &[(Action::Choose, "start"), (Action::Back, "back")],
        };
        let mut pen = Pen::new(buf, area, 0);
        pen.skip(2);
        for (action, label) in hints {
            let key = ctx.keys.key(&[context], *action).unwrap_or_default();
            let start = pen.x();
            pen.put(&key, theme.key).skip(1).put(label, theme.muted);
            ctx.hits.add(pen.since(start), Hit::Key(*action));
            pen.skip(3);
        }
    }

    fn draw_list(&self, ctx: DrawContext, area: Rect, buf: &mut Buffer) {
        let theme = ctx.theme;
        let found = &self.offer.found;
        let mut y = 0;
        let line = |y: &mut u16| {
            let row = Rect { y: area.y.saturating_add(*y), height: u16::from(*y < area.height), ..area };
            *y += 1;
            row
        };
        // On a low screen the choices come first.
        let tall = area.height as usize >= found.len() + 11;
        if tall {
            y += 1;
            let text = match self.offer.more {
                true => "New servers are added to the configured ones.",
                false => "One console for all your MCP servers: browse, call and watch them.",
            };
            Pen::new(buf, line(&mut y), 0).put(text, theme.text);
            y += 1;
        }
        let name = found.iter().map(|f| width(&f.client)).max().unwrap_or(0).clamp(16, 28);
        if tall {
            let head =
                if found.is_empty() { "No other MCP client's configuration was found on this machine." } else { "Found on this machine" };
            Pen::new(buf, line(&mut y), 0).put(head, theme.muted);
        }
        for (index, config) in found.iter().enumerate() {
            let count = counted(config.servers, "server");
            let bad = if config.problems.is_empty() { "" } else { " !" };
            let row = line(&mut y);
            let mut pen = Pen::new(buf, row, 0);
            pen.skip(1)
                .put_middle(&config.client, name, theme.accent)
                .to(row.x + 3 + name)
                .put(&format!("{count:>10}"), theme.text)
                .put(bad, theme.warn)
                .skip(2);
            let used = match config.used {
                _ if config.in_use() => "✓ in use".to_owned(),
                0 => String::new(),
                used => format!("{used} in use"),
            };
            if found.iter().any(|config| config.used > 0) {
                pen.put(&format!("{used:<10}"), if config.in_use() { theme.ok } else { theme.muted });
            }
            let rest = pen.left().saturating_sub(1);
            pen.put_middle(&config.path, rest, theme.muted);
            self.finish_row(index, row, ctx, buf);
        }
        if tall {
            y += 1;
            Pen::new(buf, line(&mut y), 0).put("Get started with", theme.muted);
        }
        let demo = if self.offer.demo { "✓ running" } else { "built-in servers to try everything" };
        for (index, (word, what)) in [("The demo", demo), ("Something else…", "a file, a URL or a command")].into_iter().enumerate() {
            let row = line(&mut y);
            let mut pen = Pen::new(buf, row, 0);
            pen.skip(1).put(word, theme.accent).to(row.x + 3 + name).skip(2).put(what, theme.muted);
            self.finish_row(found.len() + index, row, ctx, buf);
        }
    }

    /// Highlights a row if it is under the cursor, and records its area.
    fn finish_row(&self, index: usize, row: Rect, ctx: DrawContext, buf: &mut Buffer) {
        ctx.hits.add(row, Hit::Row(index));
        if index == self.cursor {
            buf.set_style(row.intersection(buf.area), ctx.theme.selection);
        }
    }
}

impl Dialog for Welcome {
    fn contexts(&self) -> &'static [Context] {
        if self.typing() { &[Context::WelcomeText] } else { &[Context::Welcome] }
    }

    fn typing(&self) -> bool {
        matches!(self.page, Page::Typing(_))
    }

    fn shows_keys(&self) -> bool {
        true
    }

    fn go(&mut self, to: Move, _ctx: DrawContext) {
        match self.page {
            Page::List => {
                let mut window = Window { cursor: self.cursor, top: 0 };
                window.go(to, self.offer.found.len() + 2);
                self.cursor = window.cursor;
            }
            Page::Lines(index) => {
                let rows = self.text_view(index, &Theme::mono(), self.last_size.width()).len();
                self.window.scroll(to, rows, self.last_size.rows());
            }
            Page::Typing(_) => {}
        }
    }

    fn act(&mut self, action: Action, _ctx: DrawContext) -> DialogOutcome {
        let chosen = match action {
            Action::Choose => self.choose(),
            Action::Yes => self.yes(),
            Action::Back if self.back() => None,
            Action::Back => return DialogOutcome::Close,
            _ => None,
        };
        match chosen {
            Some(chosen) => DialogOutcome::close_and(move |model| model.start_servers(chosen)),
            None => DialogOutcome::Open,
        }
    }

    fn key(&mut self, key: KeyEvent, _ctx: DrawContext) -> DialogOutcome {
        if let Page::Typing(text) = &mut self.page {
            edit_line(text, key);
        }
        DialogOutcome::Open
    }

    fn paste(&mut self, text: &str, _ctx: DrawContext) -> DialogOutcome {
        if let Page::Typing(typed) = &mut self.page {
            typed.push_str(text);
        }
        DialogOutcome::Open
    }

    fn click(&mut self, hit: &Hit, ctx: DrawContext) -> DialogOutcome {
        let Hit::Row(row) = hit else { return DialogOutcome::Open };
        self.cursor = (*row).min(self.offer.found.len() + 1);
        self.act(Action::Choose, ctx)
    }

    fn draw(&mut self, ctx: DrawContext, area: Rect, buf: &mut Buffer) {
        let theme = ctx.theme;
        let rows = match self.page {
            Page::List => self.offer.found.len() as u16 + 14,
            Page::Lines(index) => self.text_view(index, theme, 84).len() as u16 + 4,
            Page::Typing(_) => 12,
        };
        let title = match self.page {
            Page::Lines(index) if self.adds(index) => "Start these servers?",
            Page::Lines(_) => "Already configured",
            _ if self.offer.more => "Add servers",
            _ => "Welcome to Switchboard",
        };
        let inner = dialog(buf, area, (90, rows.min(area.height)), &[(title, theme.focus)], &[], theme);
        let room =
            Rect { x: inner.x.saturating_add(2), width: inner.width.saturating_sub(4), height: inner.height.saturating_sub(1), ..inner };
        let foot = Rect { y: inner.bottom().saturating_sub(1), height: inner.height.min(1), ..inner };
        match &self.page {
            Page::List => self.draw_list(ctx, room, buf),
            Page::Lines(index) => {
                self.last_size.note(room);
                self.text_view(*index, theme, room.width).draw(buf, room, self.window);
            }
            Page::Typing(text) => draw_typing(text, theme, room, buf),
        }
        self.draw_keys(ctx, foot, buf);
    }
}

fn draw_typing(text: &str, theme: &Theme, area: Rect, buf: &mut Buffer) {
    let lines = "Type or paste one of these:\n\n  ~/project/.mcp.json            a file with servers in it\n  https://example.com/mcp        a URL\n  npx -y some-mcp-server ~/dir   a command\n";
    let mut y = 0;
    for row in wrap(lines, area.width) {
        Pen::new(buf, Rect { y: area.y.saturating_add(y), height: u16::from(y < area.height), ..area }, 0).put(&row, theme.muted);
        y += 1;
    }
    let y = y.min(area.height.saturating_sub(1));
    let row = Rect { y: area.y.saturating_add(y), height: area.height.min(1), ..area };
    let room = usize::from(area.width.saturating_sub(4));
    // The end of a long text is shown, because the cursor is there.
    let tail: String = text.chars().rev().take(room).collect::<Vec<_>>().into_iter().rev().collect();
    Pen::new(buf, row, 0).put("› ", theme.key).put(&tail, theme.text).put("▏", theme.focus);
}
