//! The welcome: how to get the first servers, and more when there are some.
//!
//! What is offered comes from the composition root as plain data; nothing is started or written before its
//! exact lines were shown and the user said yes.

use ratatui::{buffer::Buffer, layout::Rect};

use super::LastSize;

use crate::tui::{
    action::Action,
    keymap::{Context, Keymap},
    pane::text_view::Sheet,
    theme::Theme,
    widget::{
        paint::{Pen, dialog, width, wrap},
        window::{Move, Window},
    },
};

/// A configuration of another program, found on this machine.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FoundConfig {
    /// Whose it is.
    pub client: String,
    /// The file, for people.
    pub path: String,
    /// How many servers are in it.
    pub servers: usize,
    /// How many of them are among the servers already, under whatever name.
    pub used: usize,
    /// What they start or contact, exactly.
    pub lines: Vec<String>,
    /// What could not be understood in it.
    pub problems: Vec<String>,
}

/// What can be offered.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WelcomeState {
    /// Configurations found.
    pub found: Vec<FoundConfig>,
    /// The user's own file, into which a choice is written.
    pub target: String,
    /// Whether there are servers already.
    pub more: bool,
    /// Whether the demo runs already.
    pub demo: bool,
}

impl FoundConfig {
    /// Whether nothing of it is left to be taken over.
    fn in_use(&self) -> bool {
        self.servers > 0 && self.used >= self.servers
    }
}

/// What was chosen.
#[derive(Clone, Debug, PartialEq)]
pub enum Chosen {
    /// Take over the configuration at this place of [`WelcomeState::found`].
    Import(usize),
    /// Start the demo.
    Demo,
    /// Open this file, address or command.
    Open(String),
}

#[derive(Clone, Debug, PartialEq)]
enum Page {
    List,
    Lines(usize),
    Typing(String),
}

/// The dialog.
#[derive(Clone, Debug)]
pub struct Welcome {
    offer: WelcomeState,
    cursor: usize,
    page: Page,
    /// Scroll of the lines.
    window: Window,
    seen: LastSize,
}

impl Welcome {
    /// The dialog with this to offer.
    pub fn new(offer: WelcomeState) -> Welcome {
        Welcome { offer, cursor: 0, page: Page::List, window: Window::default(), seen: LastSize::default() }
    }

    /// Whether letters are text.
    pub fn typing(&self) -> bool {
        matches!(self.page, Page::Typing(_))
    }

    /// The text being typed.
    pub fn text(&mut self) -> Option<&mut String> {
        match &mut self.page {
            Page::Typing(text) => Some(text),
            _ => None,
        }
    }

    /// Moves the cursor, or scrolls the lines.
    pub fn go(&mut self, to: Move) {
        match self.page {
            Page::List => {
                let mut window = Window { cursor: self.cursor, top: 0 };
                window.go(to, self.offer.found.len() + 2);
                self.cursor = window.cursor;
            }
            Page::Lines(index) => {
                let rows = self.sheet(index, &Theme::mono(), self.seen.width()).len();
                self.window.scroll(to, rows, self.seen.rows());
            }
            Page::Typing(_) => {}
        }
    }

    /// One step on: gives what was decided, if that was the last one.
    pub fn choose(&mut self) -> Option<Chosen> {
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

    /// Yes: what was read is to be used.
    pub fn yes(&self) -> Option<Chosen> {
        match self.page {
            Page::Lines(index) => Some(Chosen::Import(index)).filter(|_| self.adds(index)),
            _ => None,
        }
    }

    /// Whether a configuration holds servers that are not here yet.
    fn adds(&self, index: usize) -> bool {
        self.offer.found.get(index).is_some_and(|found| !found.in_use())
    }

    /// One step back; whether there was one.
    pub fn back(&mut self) -> bool {
        let inner = self.page != Page::List;
        self.page = Page::List;
        inner
    }

    fn sheet<'t>(&self, index: usize, theme: &'t Theme, width: u16) -> Sheet<'t> {
        let mut sheet = Sheet::new(theme, width);
        let Some(found) = self.offer.found.get(index) else { return sheet };
        let (client, path) = (&found.client, &found.path);
        let begin = match found.used {
            0 => format!("{client} has these in {path}. Nothing of it has been started. Yes starts exactly this:"),
            _ if found.in_use() => format!("{client} has these in {path}. All of them are among your servers already:"),
            used => format!("{client} has these in {path}. {used} of them are among your servers already; yes adds the others:"),
        };
        sheet.text(&begin, theme.text);
        sheet.gap();
        for line in &found.lines {
            let style = if line.starts_with(' ') { theme.muted } else { theme.accent };
            sheet.text(line, style);
        }
        if !found.problems.is_empty() {
            sheet.gap();
        }
        for problem in &found.problems {
            sheet.text(&format!("! {problem}"), theme.warn);
        }
        if !found.in_use() {
            let end = format!("They are written into {}, where you can change them. {client} stays as it is.", self.offer.target);
            sheet.gap().text(&end, theme.muted);
        }
        sheet
    }

    /// Draws the dialog.
    pub fn draw(&self, keys: &Keymap, theme: &Theme, area: Rect, buf: &mut Buffer) {
        let rows = match self.page {
            Page::List => self.offer.found.len() as u16 + 14,
            Page::Lines(index) => self.sheet(index, theme, 84).len() as u16 + 4,
            Page::Typing(_) => 12,
        };
        let title = match self.page {
            Page::Lines(index) if self.adds(index) => "Start these servers?",
            Page::Lines(_) => "In use",
            _ if self.offer.more => "Get more servers",
            _ => "Welcome to Switchboard",
        };
        let inner = dialog(buf, area, (90, rows.min(area.height)), &[(title, theme.focus)], &[], theme);
        let room =
            Rect { x: inner.x.saturating_add(2), width: inner.width.saturating_sub(4), height: inner.height.saturating_sub(1), ..inner };
        let foot = Rect { y: inner.bottom().saturating_sub(1), height: inner.height.min(1), ..inner };
        match &self.page {
            Page::List => self.draw_list(theme, room, buf),
            Page::Lines(index) => {
                self.seen.note(room);
                self.sheet(*index, theme, room.width).draw(buf, room, self.window);
            }
            Page::Typing(text) => draw_typing(text, theme, room, buf),
        }
        self.draw_keys(keys, theme, foot, buf);
    }

    fn draw_keys(&self, keys: &Keymap, theme: &Theme, area: Rect, buf: &mut Buffer) {
        let context = if self.typing() { Context::WelcomeText } else { Context::Welcome };
        let shown: &[(Action, &str)] = match self.page {
            Page::List if self.cursor < self.offer.found.len() && self.adds(self.cursor) => {
                &[(Action::Choose, "see what it would start"), (Action::Back, "later"), (Action::Quit, "quit")]
            }
            Page::List if self.cursor < self.offer.found.len() => {
                &[(Action::Choose, "see what is in it"), (Action::Back, "later"), (Action::Quit, "quit")]
            }
            Page::List if self.cursor == self.offer.found.len() && self.offer.demo => &[(Action::Back, "later"), (Action::Quit, "quit")],
            Page::List => &[(Action::Choose, "this"), (Action::Back, "later"), (Action::Quit, "quit")],
            Page::Lines(index) if self.adds(index) => &[(Action::Yes, "yes, write and start them"), (Action::Back, "back")],
            Page::Lines(_) => &[(Action::Back, "back")],
            Page::Typing(_) => &[(Action::Choose, "start it"), (Action::Back, "back")],
        };
        let mut pen = Pen::new(buf, area, 0);
        pen.skip(2);
        for (action, label) in shown {
            let key = keys.key(&[context], *action).unwrap_or_default();
            pen.put(&key, theme.key).skip(1).put(label, theme.muted).skip(3);
        }
    }

    fn draw_list(&self, theme: &Theme, area: Rect, buf: &mut Buffer) {
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
                true => "Servers are added to those that you have.",
                false => "One console for all your MCP servers: see them, call them, watch them.",
            };
            Pen::new(buf, line(&mut y), 0).put(text, theme.text);
            y += 1;
        }
        let name = found.iter().map(|f| width(&f.client)).max().unwrap_or(0).clamp(16, 28);
        if tall {
            let head = if found.is_empty() {
                "No configuration of another program was found on this machine."
            } else {
                "Already set up on this machine"
            };
            Pen::new(buf, line(&mut y), 0).put(head, theme.muted);
        }
        for (index, config) in found.iter().enumerate() {
            let count = if config.servers == 1 { "1 server".to_owned() } else { format!("{} servers", config.servers) };
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
            self.light(index, row, theme, buf);
        }
        if tall {
            y += 1;
            Pen::new(buf, line(&mut y), 0).put("Or", theme.muted);
        }
        let demo = if self.offer.demo { "✓ runs already" } else { "built-in servers to try all of it on" };
        for (index, (word, what)) in [("The demo", demo), ("Something else…", "a file, an address, or a command")].into_iter().enumerate()
        {
            let row = line(&mut y);
            let mut pen = Pen::new(buf, row, 0);
            pen.skip(1).put(word, theme.accent).to(row.x + 3 + name).skip(2).put(what, theme.muted);
            self.light(found.len() + index, row, theme, buf);
        }
    }

    fn light(&self, index: usize, row: Rect, theme: &Theme, buf: &mut Buffer) {
        if index == self.cursor {
            buf.set_style(row.intersection(buf.area), theme.selection);
        }
    }
}

fn draw_typing(text: &str, theme: &Theme, area: Rect, buf: &mut Buffer) {
    let lines = "Type or paste one of these:\n\n  ~/project/.mcp.json            a file with servers in it\n  https://example.com/mcp        an address\n  npx -y some-mcp-server ~/dir   a command\n";
    let mut y = 0;
    for row in wrap(lines, area.width) {
        Pen::new(buf, Rect { y: area.y.saturating_add(y), height: u16::from(y < area.height), ..area }, 0).put(&row, theme.muted);
        y += 1;
    }
    let y = y.min(area.height.saturating_sub(1));
    let row = Rect { y: area.y.saturating_add(y), height: area.height.min(1), ..area };
    let room = usize::from(area.width.saturating_sub(4));
    // The end of a long text is what is being typed.
    let tail: String = text.chars().rev().take(room).collect::<Vec<_>>().into_iter().rev().collect();
    Pen::new(buf, row, 0).put("› ", theme.key).put(&tail, theme.text).put("▏", theme.focus);
}
