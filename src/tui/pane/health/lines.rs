//! What a server writes: its stderr and its log messages, followed, scrolled or filtered.

use crossterm::event::KeyEvent;
use ratatui::{buffer::Buffer, layout::Rect, style::Style};

use crate::{
    domain::{
        event::LogLevel,
        id::ServerId,
        read_model::{ConsoleState, ServerView},
        server::Transport,
    },
    tui::{
        action::Action,
        keymap::Context,
        pane::DrawContext,
        theme::Theme,
        widget::{
            field::{FieldEvent, TextField},
            paint::{Pen, lower, pane},
            window::{Move, Window},
        },
    },
};

/// Which of the two is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Source {
    #[default]
    Stderr,
    Log,
}

/// Source, filter and scroll.
#[derive(Default)]
pub struct Lines {
    source: Source,
    /// The first visible line while it does not follow.
    top: Option<usize>,
    field: TextField,
    editing: bool,
}

impl Lines {
    /// Shows the other source.
    pub fn turn(&mut self) {
        self.source = if self.source == Source::Stderr { Source::Log } else { Source::Stderr };
        self.top = None;
    }

    /// Keeps the newest line in view.
    pub fn follow(&mut self) {
        self.top = None;
    }

    /// Whether the newest line is kept in view.
    pub fn following(&self) -> bool {
        self.top.is_none()
    }

    /// Whether the filter is being written.
    pub fn editing(&self) -> bool {
        self.editing
    }

    /// Begins to write the filter.
    pub fn edit(&mut self) {
        self.editing = true;
        self.field.select_all();
    }

    /// Ends it; without `keep` the filter is taken away.
    pub fn end_edit(&mut self, keep: bool) {
        self.editing = false;
        self.field.deselect();
        if !keep {
            self.field.set("");
        }
    }

    /// Takes the filter away; whether there was one.
    pub fn clear(&mut self) -> bool {
        let was = !self.field.is_empty();
        self.field.set("");
        was
    }

    /// Takes a key into the filter.
    pub fn key(&mut self, key: KeyEvent) {
        if self.field.handle(key) == FieldEvent::Changed {
            self.top = None;
        }
    }

    /// Takes pasted text into the filter.
    pub fn paste(&mut self, text: &str) {
        let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        self.field.paste(&line);
    }

    /// Scrolls; reaching the end follows again.
    pub fn go(&mut self, to: Move, server: Option<&ServerId>, read_model: &ConsoleState, area: Rect) {
        let len = server.and_then(|id| read_model.server(id)).map_or(0, |s| self.count(s));
        let height = rows_height(area);
        let last = len.saturating_sub(height);
        let mut window = Window { cursor: 0, top: self.top.unwrap_or(last) };
        window.scroll(to, len, height);
        self.top = (window.top < last).then_some(window.top);
    }

    fn count(&self, server: &ServerView) -> usize {
        match (self.source, self.field.is_empty()) {
            (Source::Stderr, true) => server.stderr.len(),
            (Source::Log, true) => server.logs.len(),
            _ => self.found(server).len(),
        }
    }

    /// Places of the lines that pass the filter.
    fn found(&self, server: &ServerView) -> Vec<usize> {
        let needle = self.field.text().to_lowercase();
        let has = |text: &str| text.to_lowercase().contains(&needle);
        match self.source {
            Source::Stderr => (0..server.stderr.len()).filter(|i| has(&server.stderr[*i])).collect(),
            Source::Log => {
                let passes = |i: &usize| {
                    let log = &server.logs[*i].1;
                    has(&log.text) || has(log.level.word()) || log.logger.as_deref().is_some_and(has)
                };
                (0..server.logs.len()).filter(passes).collect()
            }
        }
    }

    /// Draws the pane.
    pub fn draw(&mut self, server: Option<&ServerId>, look: DrawContext, area: Rect, buf: &mut Buffer) {
        let theme = look.theme;
        let style = if look.focused { theme.focus } else { theme.text };
        let server = server.and_then(|id| look.read_model.server(id));
        let title = match (self.source, server) {
            (Source::Stderr, Some(server)) => format!("stderr of {}", server.id()),
            (Source::Log, Some(server)) => format!("log of {}", server.id()),
            _ => "Output".into(),
        };
        let key = look.keys.key(&[Context::Lines], Action::Follow).unwrap_or_default();
        let right = if self.following() { "following".to_owned() } else { format!("stopped, {key} follows") };
        let inner = pane(buf, area, &[(&title, style)], &[(&right, theme.muted)], look.focused, theme);
        self.tabs(look, area, buf);
        let Some(server) = server else { return };
        let shown = (!self.field.is_empty()).then(|| self.found(server));
        let len = shown.as_ref().map_or_else(|| self.count(server), Vec::len);
        let mut list = Rect { x: inner.x.saturating_add(1), width: inner.width.saturating_sub(2), ..inner };
        if self.editing || !self.field.is_empty() {
            let key = look.keys.key(&[Context::Global], Action::Filter).unwrap_or_default();
            Pen::new(buf, list, 0).put(&key, theme.key);
            let field = Rect { x: list.x + 2, width: list.width.saturating_sub(2), height: list.height.min(1), ..list };
            self.field.draw(field, buf, theme.text, theme, self.editing && look.focused);
            list = Rect { y: list.y.saturating_add(1), height: list.height.saturating_sub(1), ..list };
        }
        if len == 0 {
            Pen::new(buf, list, 0).put(self.nothing(server), theme.muted);
            return;
        }
        let height = usize::from(list.height);
        let top = self.top.unwrap_or(len).min(len.saturating_sub(height));
        for (y, place) in (top..(top + height).min(len)).enumerate() {
            let index = shown.as_ref().map_or(place, |found| found[place]);
            self.line(server, index, look, Rect { y: list.y + y as u16, height: 1, ..list }, buf);
        }
    }

    fn nothing(&self, server: &ServerView) -> &'static str {
        match (self.source, self.field.is_empty()) {
            (_, false) => "No line passes the filter.",
            (Source::Stderr, _) if matches!(server.spec.launch, Transport::Http { .. }) => "A server reached over HTTP has no stderr here.",
            (Source::Stderr, _) => "It wrote nothing to stderr.",
            (Source::Log, _) => "It sent no log messages; the palette has \"debug logs\", which asks for them.",
        }
    }

    fn line(&self, server: &ServerView, index: usize, look: DrawContext, area: Rect, buf: &mut Buffer) {
        let theme = look.theme;
        let mut pen = Pen::new(buf, area, 0);
        match self.source {
            Source::Stderr => {
                if let Some(line) = server.stderr.get(index) {
                    pen.put(line, tone(line, theme));
                }
            }
            Source::Log => {
                if let Some((at, log)) = server.logs.get(index) {
                    pen.put(&look.read_model.epoch.time_of_day(*at)[..8], theme.muted).skip(1);
                    pen.put(&format!("{:<9}", log.level), level_style(&log.level, theme));
                    if let Some(logger) = &log.logger {
                        pen.put(logger, theme.accent).skip(1);
                    }
                    pen.put(&log.text, theme.text);
                }
            }
        }
    }

    fn tabs(&self, look: DrawContext, area: Rect, buf: &mut Buffer) {
        let theme = look.theme;
        let style = |source| if self.source == source { theme.focus } else { theme.muted };
        let word = |source, word: &str| if self.source == source && theme.mono { format!("[{word}]") } else { word.to_owned() };
        let (stderr, log) = (word(Source::Stderr, "stderr"), word(Source::Log, "log"));
        let border = if look.focused { theme.focus } else { theme.border };
        lower(buf, area, &[(&stderr, style(Source::Stderr)), (" │ ", theme.border), (&log, style(Source::Log))], border);
    }
}

fn rows_height(area: Rect) -> usize {
    usize::from(area.height.saturating_sub(2))
}

/// Lines that speak of errors stand out.
fn tone(line: &str, theme: &Theme) -> Style {
    let has = |words: &[&str]| words.iter().any(|w| line.contains(w));
    if has(&["error", "Error", "ERROR", "panic", "fatal", "FATAL", "Traceback"]) {
        theme.fail
    } else if has(&["warn", "Warn", "WARN"]) {
        theme.warn
    } else {
        theme.text
    }
}

fn level_style(level: &LogLevel, theme: &Theme) -> Style {
    match level {
        LogLevel::Error | LogLevel::Critical | LogLevel::Alert | LogLevel::Emergency => theme.fail,
        LogLevel::Warning => theme.warn,
        LogLevel::Debug => theme.muted,
        LogLevel::Info | LogLevel::Notice | LogLevel::Unknown(_) => theme.text,
    }
}
