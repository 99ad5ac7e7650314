//! The clients page: a row for each client of the gateway, connected ones first, with its calls and its own sessions at servers.

use ratatui::{buffer::Buffer, layout::Rect, style::Style};

use crate::{
    domain::{
        client::ClientSession,
        id::{ClientId, ServerId},
        plural::counted,
        server::Era,
        time::short,
    },
    state::{ClientView, ConsoleState},
    tui::{
        hits::Hit,
        pane::{DrawContext, table::grouped},
        widget::{
            paint::{Pen, pane, scroll_bar, wrap},
            window::{Move, Window},
        },
    },
};

/// What the empty page says.
const EMPTY: &str = "No client has connected. A program connects when its MCP configuration starts `switchboard serve`, or names \
                     the address of `switchboard serve --http` or `switchboard --serve`. Run `switchboard install` to write it there.";

/// Cursor and scroll of the page.
#[derive(Default)]
pub struct ClientTable {
    rows: Vec<ClientId>,
    cursor: Option<ClientId>,
    window: Window,
}

impl ClientTable {
    /// Returns the client under the cursor.
    pub fn selected(&self) -> Option<ClientId> {
        self.rows.get(self.window.cursor).copied()
    }

    /// Moves the cursor.
    pub fn go(&mut self, to: Move) {
        self.window.go(to, self.rows.len());
        self.cursor = self.selected();
    }

    /// Puts the cursor on a row. Returns whether it was there already.
    pub fn click(&mut self, row: usize) -> bool {
        if row >= self.rows.len() {
            return false;
        }
        let same = std::mem::replace(&mut self.window.cursor, row) == row;
        self.cursor = self.selected();
        same
    }

    /// Rebuilds the rows. The cursor stays on its client.
    pub fn fit(&mut self, read_model: &ConsoleState) {
        let (connected, gone): (Vec<&ClientView>, Vec<&ClientView>) = read_model.clients.iter().partition(|client| client.until.is_none());
        self.rows = connected.into_iter().chain(gone.into_iter().rev()).map(|client| client.id).collect();
        if let Some(at) = self.cursor.and_then(|cursor| self.rows.iter().position(|row| *row == cursor)) {
            self.window.cursor = at;
        }
        self.window.cursor = self.window.cursor.min(self.rows.len().saturating_sub(1));
        self.cursor = self.selected();
    }

    /// Draws the page.
    pub fn draw(&mut self, ctx: DrawContext, area: Rect, buf: &mut Buffer) {
        let theme = ctx.theme;
        let title = if ctx.focused { theme.focus } else { theme.text };
        let right = format!("{} connected", counted(ctx.read_model.clients.connected(), "client"));
        let inner = pane(buf, area, &[("Clients", title)], &[(&right, theme.muted)], ctx.focused, theme);
        if self.rows.is_empty() {
            for (y, text) in wrap(EMPTY, inner.width.saturating_sub(2)).iter().take(usize::from(inner.height)).enumerate() {
                Pen::new(buf, inner, y as u16).skip(1).put(text, theme.muted);
            }
            return;
        }
        let columns = Columns::for_width(inner.width);
        columns.head(ctx, inner, buf);
        let list = Rect { y: inner.y.saturating_add(1), height: inner.height.saturating_sub(1), ..inner };
        let height = usize::from(list.height);
        self.window.fit(self.rows.len(), height);
        scroll_bar(buf, list, (self.window.top, height, self.rows.len()), theme.muted);
        for (y, index) in self.window.rows(self.rows.len(), height).enumerate() {
            let Some(client) = self.rows.get(index).and_then(|id| ctx.read_model.clients.get(*id)) else { continue };
            let line = Rect { y: list.y + y as u16, height: 1, ..list };
            ctx.hits.add(line, Hit::Row(index));
            columns.row(client, ctx, line, buf);
            if index == self.window.cursor {
                buf.set_style(line.intersection(buf.area), ctx.selection());
            }
        }
    }
}

/// Returns the servers at which a client has sessions of its own.
fn session_servers(read_model: &ConsoleState, client: ClientId) -> Vec<&ServerId> {
    let has_own = |sessions: &[ClientSession]| sessions.iter().any(|session| session.client == client);
    read_model.servers.iter().filter(|server| has_own(&server.client_sessions)).map(|server| server.id()).collect()
}

/// The columns that fit, with their widths. A width of zero hides a column.
struct Columns {
    name: u16,
    version: u16,
    protocol: u16,
    transport: u16,
    profile: u16,
    running: bool,
    since: u16,
    last: u16,
    sessions: u16,
}

impl Columns {
    fn for_width(width: u16) -> Columns {
        let (version, protocol, transport, profile, running, since, last, sessions) = match width {
            0..=49 => (0, 0, 0, 0, false, 0, 0, 0),
            50..=77 => (0, 11, 6, 0, false, 11, 0, 0),
            78..=99 => (9, 11, 6, 0, false, 11, 0, 0),
            100..=139 => (10, 18, 6, 10, true, 9, 11, 0),
            _ => (12, 18, 7, 14, true, 9, 11, 32),
        };
        let counts = 9 + 9 + if running { 8 } else { 0 };
        let fixed = 2 + version + protocol + transport + profile + counts + since + last + sessions + 1;
        Columns { name: width.saturating_sub(fixed).min(44), version, protocol, transport, profile, running, since, last, sessions }
    }

    fn head(&self, ctx: DrawContext, area: Rect, buf: &mut Buffer) {
        let style = ctx.theme.muted;
        let mut pen = Pen::new(buf, area, 0);
        pen.skip(3);
        let texts = [
            ("client", self.name),
            ("version", self.version),
            ("protocol", self.protocol),
            ("over", self.transport),
            ("profile", self.profile),
        ];
        for (text, width) in texts {
            cell(&mut pen, text, width, style);
        }
        pen.put(&format!("{:>8} ", "calls"), style);
        if self.running {
            pen.put(&format!("{:>7} ", "running"), style);
        }
        pen.put(&format!("{:>8} ", "failed"), style);
        cell(&mut pen, "since", self.since, style);
        cell(&mut pen, "last call", self.last, style);
        cell(&mut pen, "own sessions", self.sessions, style);
    }

    fn row(&self, client: &ClientView, ctx: DrawContext, area: Rect, buf: &mut Buffer) {
        let theme = ctx.theme;
        let gone = client.until.is_some();
        let (glyph, state, text) = if gone { ("○", theme.muted, theme.muted) } else { ("●", theme.ok, theme.text) };
        let mut pen = Pen::new(buf, area, 0);
        pen.skip(1).put(glyph, state).skip(1);
        let info = &client.info;
        cell(&mut pen, &client.label(), self.name, if gone { theme.muted } else { theme.accent });
        cell(&mut pen, info.version.as_deref().unwrap_or("·"), self.version, text);
        let era = match info.era {
            Era::Legacy => "legacy",
            Era::Modern => "modern",
        };
        let protocol = if self.protocol > 12 { format!("{} {era}", info.protocol) } else { info.protocol.to_string() };
        cell(&mut pen, &protocol, self.protocol, text);
        cell(&mut pen, info.transport.word(), self.transport, text);
        cell(&mut pen, &info.profile, self.profile, text);
        pen.put(&format!("{:>8} ", grouped(client.calls as usize)), text);
        if self.running {
            let style = if client.in_flight > 0 { theme.running } else { theme.muted };
            pen.put(&format!("{:>7} ", client.in_flight), style);
        }
        match client.failed {
            0 => pen.put(&format!("{:>8} ", 0), theme.muted),
            failed => pen.put(&format!("{:>8} ", format!("✕ {}", grouped(failed as usize))), theme.fail),
        };
        let time = |at, cells: usize| ctx.read_model.epoch.time_of_day(at)[..cells].to_owned();
        let gone = client.until.map(|until| format!("gone {}", time(until, 5)));
        let since = time(client.since, 8);
        // In a narrow table the end replaces the beginning.
        cell(&mut pen, gone.as_deref().filter(|_| self.last == 0).unwrap_or(&since), self.since, text);
        let last = gone.unwrap_or_else(|| client.last_call.map_or("·".to_owned(), |at| short(ctx.now.since(at))));
        cell(&mut pen, &last, self.last, text);
        if self.sessions > 0 {
            let servers = session_servers(ctx.read_model, client.id);
            let words = match servers.len() {
                0 => "·".to_owned(),
                count => format!("{count} · {}", servers.iter().map(|server| server.as_str()).collect::<Vec<_>>().join(", ")),
            };
            cell(&mut pen, &words, self.sessions, text);
        }
    }
}

/// Writes a text into a column that ends with a blank cell.
fn cell(pen: &mut Pen, text: &str, width: u16, style: Style) {
    let start = pen.x();
    if width > 0 {
        pen.put_middle(text, width - 1, style).to(start + width);
    }
}
