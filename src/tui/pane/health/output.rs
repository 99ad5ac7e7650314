//! The output of a server: its stderr and its log messages, with follow, scroll and filter.

use crossterm::event::KeyEvent;
use ratatui::{buffer::Buffer, layout::Rect, style::Style};

use crate::{
    domain::{event::LogLevel, id::ServerId, server::Transport},
    state::{ConsoleState, ServerView},
    tui::{
        action::Action,
        hits::Hit,
        keymap::Context,
        pane::DrawContext,
        theme::Theme,
        widget::{
            field::{FieldEvent, TextField},
            paint::{Pen, lower, pane, width},
            window::{Move, Window},
        },
    },
};

/// The source of the lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Source {
    #[default]
    Stderr,
    Log,
}

/// The pane's source, filter and scroll.
#[derive(Default)]
pub struct ServerOutput {
    source: Source,
    /// The first visible line; `None` follows.
    top: Option<usize>,
    field: TextField,
    editing: bool,
}

impl ServerOutput {
    /// Switches between stderr and log.
    pub fn switch_source(&mut self) {
        self.source = if self.source == Source::Stderr { Source::Log } else { Source::Stderr };
        self.top = None;
    }

    /// Shows a source by the index of its tab.
    pub fn set_tab(&mut self, tab: usize) {
        if (self.source == Source::Log) != (tab == 1) {
            self.switch_source();
        }
    }

    /// Keeps the newest line in view.
    pub fn follow(&mut self) {
        self.top = None;
    }

    /// Returns whether the view follows the newest line.
    pub fn following(&self) -> bool {
        self.top.is_none()
    }

    /// Returns whether the filter is being edited.
    pub fn editing(&self) -> bool {
        self.editing
    }

    /// Starts editing the filter.
    pub fn edit(&mut self) {
        self.editing = true;
        self.field.select_all();
    }

    /// Ends editing and keeps the filter.
    pub fn finish_edit(&mut self) {
        self.editing = false;
        self.field.deselect();
    }

    /// Ends editing and clears the filter.
    pub fn cancel_edit(&mut self) {
        self.finish_edit();
        self.field.set("");
    }

    /// Clears the filter. Returns whether there was one.
    pub fn clear(&mut self) -> bool {
        let filtered = !self.field.is_empty();
        self.field.set("");
        filtered
    }

    /// Passes a key to the filter.
    pub fn key(&mut self, key: KeyEvent) {
        if self.field.handle(key) == FieldEvent::Changed {
            self.top = None;
        }
    }

    /// Inserts pasted text into the filter.
    pub fn paste(&mut self, text: &str) {
        let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        self.field.paste(&line);
    }

    /// Scrolls. Reaching the end follows again.
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
            _ => self.matching(server).len(),
        }
    }

    /// Returns the indexes of the lines that match the filter.
    fn matching(&self, server: &ServerView) -> Vec<usize> {
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
    pub fn draw(&mut self, server: Option<&ServerId>, ctx: DrawContext, area: Rect, buf: &mut Buffer) {
        let theme = ctx.theme;
        let style = if ctx.focused { theme.focus } else { theme.text };
        let server = server.and_then(|id| ctx.read_model.server(id));
        let title = match (self.source, server) {
            (Source::Stderr, Some(server)) => format!("stderr of {}", server.id()),
            (Source::Log, Some(server)) => format!("log of {}", server.id()),
            _ => "Output".into(),
        };
        let key = ctx.keys.key(&[Context::Lines], Action::Follow).unwrap_or_default();
        let right = if self.following() { "following".to_owned() } else { format!("paused, {key} to follow") };
        let inner = pane(buf, area, &[(&title, style)], &[(&right, theme.muted)], ctx.focused, theme);
        self.tabs(ctx, area, buf);
        let Some(server) = server else { return };
        let shown = (!self.field.is_empty()).then(|| self.matching(server));
        let len = shown.as_ref().map_or_else(|| self.count(server), Vec::len);
        let mut list = Rect { x: inner.x.saturating_add(1), width: inner.width.saturating_sub(2), ..inner };
        if self.editing || !self.field.is_empty() {
            let key = ctx.keys.key(&[Context::Global], Action::Filter).unwrap_or_default();
            Pen::new(buf, list, 0).put(&key, theme.key);
            ctx.hits.add(Rect { height: list.height.min(1), ..list }, Hit::Query);
            let field = Rect { x: list.x + 2, width: list.width.saturating_sub(2), height: list.height.min(1), ..list };
            self.field.draw(field, buf, theme.text, theme, self.editing && ctx.focused);
            list = Rect { y: list.y.saturating_add(1), height: list.height.saturating_sub(1), ..list };
        }
        if len == 0 {
            Pen::new(buf, list, 0).put(self.empty_text(server), theme.muted);
            return;
        }
        let height = usize::from(list.height);
        let top = self.top.unwrap_or(len).min(len.saturating_sub(height));
        for (y, place) in (top..(top + height).min(len)).enumerate() {
            let index = shown.as_ref().map_or(place, |found| found[place]);
            self.line(server, index, ctx, Rect { y: list.y + y as u16, height: 1, ..list }, buf);
        }
    }

    fn empty_text(&self, server: &ServerView) -> &'static str {
        match (self.source, self.field.is_empty()) {
            (_, false) => "No lines match. Esc clears the filter.",
            (Source::Stderr, _) if matches!(server.spec.launch, Transport::Http { .. }) => "An HTTP server has no stderr",
            (Source::Stderr, _) => "No output on stderr",
            (Source::Log, _) => "No log messages. Run \"debug logs\" in the palette to request them.",
        }
    }

    fn line(&self, server: &ServerView, index: usize, ctx: DrawContext, area: Rect, buf: &mut Buffer) {
        let theme = ctx.theme;
        let mut pen = Pen::new(buf, area, 0);
        match self.source {
            Source::Stderr => {
                if let Some(line) = server.stderr.get(index) {
                    pen.put(line, severity_style(line, theme));
                }
            }
            Source::Log => {
                if let Some((at, log)) = server.logs.get(index) {
                    pen.put(&ctx.read_model.epoch.time_of_day(*at)[..8], theme.muted).skip(1);
                    pen.put(&format!("{:<9}", log.level), level_style(&log.level, theme));
                    if let Some(logger) = &log.logger {
                        pen.put(logger, theme.accent).skip(1);
                    }
                    pen.put(&log.text, theme.text);
                }
            }
        }
    }

    fn tabs(&self, ctx: DrawContext, area: Rect, buf: &mut Buffer) {
        let theme = ctx.theme;
        let style = |source| if self.source == source { theme.focus } else { theme.muted };
        let word = |source, word: &str| if self.source == source && theme.mono { format!("[{word}]") } else { word.to_owned() };
        let (stderr, log) = (word(Source::Stderr, "stderr"), word(Source::Log, "log"));
        let border = if ctx.focused { theme.focus } else { theme.border };
        let gap = " │ ";
        let pieces = [(stderr.as_str(), style(Source::Stderr)), (gap, theme.border), (&log, style(Source::Log))];
        if let Some(place) = lower(buf, area, &pieces, border) {
            ctx.hits.add(Rect { width: width(&stderr), ..place }, Hit::Tab(0));
            ctx.hits.add(Rect { x: place.x + width(&stderr) + width(gap), width: width(&log), ..place }, Hit::Tab(1));
        }
    }
}

fn rows_height(area: Rect) -> usize {
    usize::from(area.height.saturating_sub(2))
}

/// Returns the style of a stderr line, by the severity words in it.
fn severity_style(line: &str, theme: &Theme) -> Style {
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
