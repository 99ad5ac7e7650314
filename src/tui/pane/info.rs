//! What is known of a server: its report when it failed, what it said of itself when it is well.

use ratatui::{buffer::Buffer, layout::Rect};

use crate::{
    domain::{
        read_model::ServerView,
        server::{Era, Phase},
        text::{middle, visible},
        time::short,
    },
    tui::{
        action::Action,
        keymap::Context,
        tree::Node,
        widget::{
            paint::{self, pane},
            window::Window,
        },
    },
};

use super::{DrawContext, columns::Figures, lamp, replicas, servers::section_title, state_words, text_view::Sheet};

/// How many of the last lines of stderr and of the log are shown.
const LINES: usize = 200;

/// The scroll of the pane.
#[derive(Default)]
pub struct InfoPane {
    /// Scroll.
    pub window: Window,
    shown: Option<Node>,
}

impl InfoPane {
    /// Starts at the top for another node.
    pub fn show(&mut self, node: Option<&Node>) {
        if self.shown.as_ref() != node {
            self.shown = node.cloned();
            self.window = Window::default();
        }
    }

    /// Draws the pane for what is selected.
    pub fn draw(&self, node: Option<&Node>, look: DrawContext, area: Rect, buf: &mut Buffer) {
        let title_style = if look.focused { look.theme.focus } else { look.theme.accent };
        let server = node.and_then(Node::server).and_then(|id| look.read_model.server(id));
        let (title, right) = match (node, server) {
            (Some(Node::Group(name)), _) => (name.to_string(), vec![]),
            (Some(Node::Replicas(id)), _) => (format!("{id} › replicas"), vec![]),
            (Some(Node::Section(id, section)), _) => (format!("{id} › {}", section_title(*section)), vec![]),
            (_, Some(server)) => {
                let (glyph, style) = lamp(&server.phase, look.theme);
                (server.id().to_string(), vec![(glyph, style), (" ", style), (server.phase.word(), style)])
            }
            _ => ("Switchboard".to_owned(), vec![]),
        };
        let inner = pane(buf, area, &[(&title, title_style)], &right, look.focused, look.theme);
        let inner = Rect { x: inner.x.saturating_add(1), width: inner.width.saturating_sub(2), ..inner };
        sheet(node, look, inner.width).draw(buf, inner, self.window);
    }
}

/// The rows of the pane at a width.
pub fn sheet<'t>(node: Option<&Node>, look: DrawContext<'t>, width: u16) -> Sheet<'t> {
    let mut sheet = Sheet::new(look.theme, width);
    match (node, node.and_then(Node::server).and_then(|id| look.read_model.server(id))) {
        (Some(Node::Section(_, section)), Some(server)) => section_rows(&mut sheet, server, *section, look),
        (Some(Node::Replicas(id)), _) => replicas::sheet(&mut sheet, id, look),
        (Some(Node::Group(name)), _) => group_rows(&mut sheet, name, look, width),
        (_, Some(server)) => server_rows(&mut sheet, server, look),
        _ => {
            sheet.text("Servers and their tools stand at the left as soon as there are some.", look.theme.muted);
        }
    }
    sheet
}

fn group_rows(sheet: &mut Sheet, name: &str, look: DrawContext, width: u16) {
    let mine = || look.read_model.servers.iter().filter(|s| s.spec.group.as_deref() == Some(name));
    let names = mine().map(|s| paint::width(s.id().as_str())).max().unwrap_or(0).clamp(6, 24);
    let figures = Figures::for_room(width.saturating_sub(names + 2 + 24));
    let mut head = vec![(" ".repeat(usize::from(names) + 2), look.theme.muted)];
    head.extend(figures.head_pieces(look.theme));
    sheet.row(head);
    for server in mine() {
        let (glyph, style) = lamp(&server.phase, look.theme);
        let name = middle(&visible(server.id().as_str()), usize::from(names)).into_owned();
        let spare = usize::from(names - paint::width(&name).min(names));
        let mut row = vec![(format!("{glyph} "), style), (format!("{name}{}", " ".repeat(spare)), look.theme.accent)];
        row.extend(figures.pieces(server, look.now, look.theme));
        row.push((format!("  {}", state_words(server, look.now)), style));
        sheet.row(row);
    }
    let (running, tools) = (mine().map(|s| s.stats.in_flight).sum::<u32>(), mine().map(|s| s.catalog.tools.len()).sum::<usize>());
    sheet.gap().text(&format!("{tools} tools · {running} running"), look.theme.muted);
}

fn section_rows(sheet: &mut Sheet, server: &ServerView, section: crate::tui::tree::Section, look: DrawContext) {
    use crate::tui::tree::Section;
    let rows: Vec<(String, Option<String>)> = match section {
        Section::Resources => server.catalog.resources.iter().map(|r| (r.uri.clone(), r.description.clone())).collect(),
        Section::Templates => server.catalog.templates.iter().map(|r| (r.uri.clone(), r.description.clone())).collect(),
        Section::Prompts => server.catalog.prompts.iter().map(|p| (p.name.to_string(), p.description.clone())).collect(),
    };
    for (name, description) in rows {
        sheet.text(&name, look.theme.accent);
        if let Some(description) = description {
            sheet.text(&description, look.theme.muted);
        }
    }
}

fn server_rows(sheet: &mut Sheet, server: &ServerView, look: DrawContext) {
    let theme = look.theme;
    let (glyph, style) = lamp(&server.phase, theme);
    let since = super::lasting(&server.phase, server.phase_since, look);
    sheet.row(vec![(format!("{glyph} "), style), (state_words(server, look.now), style), (format!("  {since}"), theme.muted)]);
    sheet.gap();
    if let Some(failure) = server.phase.failure() {
        sheet.report(&failure.report());
        next_step(sheet, server, look);
        sheet.gap();
    } else if let Phase::Disabled = *server.phase {
        next_step(sheet, server, look);
        sheet.gap();
    }
    identity_rows(sheet, server, look);
    figure_rows(sheet, server, look);
    trouble_rows(sheet, server, look);
}

/// The next step with its key.
fn next_step(sheet: &mut Sheet, server: &ServerView, look: DrawContext) {
    let key = |action| look.keys.key(&[Context::Servers], action).unwrap_or_default();
    let text = match &*server.phase {
        Phase::Disabled => format!("{} starts it", key(Action::Disable)),
        Phase::Reconnecting { .. } => {
            format!("it tries again by itself; {} restarts it at once, {} leaves it alone", key(Action::Restart), key(Action::Disable))
        }
        _ => format!("{} restarts it", key(Action::Restart)),
    };
    sheet.field("next", &text, look.theme.key);
}

fn identity_rows(sheet: &mut Sheet, server: &ServerView, look: DrawContext) {
    let (theme, spec) = (look.theme, &server.spec);
    let plain = theme.text;
    for (label, value) in [("about", &spec.description), ("owner", &spec.owner)] {
        if let Some(value) = value {
            sheet.field(label, value, plain);
        }
    }
    if server.phase.failure().is_none() {
        sheet.field(spec.launch.transport(), &spec.summary(), plain);
    }
    if let Some(file) = &spec.origin.file {
        let line = spec.origin.line.map(|l| format!(":{l}")).unwrap_or_default();
        sheet.field("from", &format!("{}{line}", file.display()), theme.muted);
    }
    if let Some(info) = &server.info {
        let name = info.title.as_ref().or(info.name.as_ref()).cloned().unwrap_or_else(|| "says no name".into());
        sheet.field("says it is", &format!("{name} {}", info.version.as_deref().unwrap_or("")), plain);
        let era = match info.era {
            Era::Legacy => "sessions",
            Era::Modern => "stateless",
        };
        sheet.field("protocol", &format!("{} · {era} · ready after {}", info.protocol, short(info.took)), plain);
        if let Some(pid) = info.pid {
            sheet.field("process", &pid.to_string(), plain);
        }
        let capabilities = info.capabilities.value().and_then(|v| v.as_object().map(|o| o.keys().cloned().collect::<Vec<_>>().join(", ")));
        sheet.field("can do", capabilities.as_deref().filter(|c| !c.is_empty()).unwrap_or("declares nothing"), plain);
    }
    let c = &server.catalog;
    if c.revision > 0 {
        let counts =
            [(c.tools.len(), "tools"), (c.resources.len(), "resources"), (c.templates.len(), "templates"), (c.prompts.len(), "prompts")];
        let counts: Vec<String> = counts.iter().map(|(count, what)| format!("{count} {what}")).collect();
        sheet.field("offers", &counts.join(" · "), plain);
    }
    if !c.changes.is_empty() {
        sheet.field("changed", &c.changes, theme.warn);
    }
    for warning in &c.warnings {
        sheet.field("warning", warning, theme.warn);
    }
    sheet.field(
        "trusted",
        if spec.trusted { "its hints are believed" } else { "no: you are asked before its tools are called" },
        theme.muted,
    );
    if let Some(text) = server.info.as_ref().and_then(|i| i.instructions.as_ref()) {
        sheet.gap().text("Instructions", theme.accent).text(text, plain);
    }
}

fn figure_rows(sheet: &mut Sheet, server: &ServerView, look: DrawContext) {
    let stats = &server.stats;
    if stats.settled == 0 && stats.in_flight == 0 {
        return;
    }
    let percentile = |p| stats.percentile(p).map(short).unwrap_or_else(|| "·".into());
    sheet.gap();
    sheet.field(
        "calls",
        &format!(
            "{} running · {} answered · {} tool errors · {} failed · {} cancelled",
            stats.in_flight, stats.answered, stats.tool_errors, stats.failed, stats.cancelled
        ),
        look.theme.text,
    );
    sheet.field("latency", &format!("p50 {} · p95 {} · p99 {}", percentile(50.0), percentile(95.0), percentile(99.0)), look.theme.text);
}

fn trouble_rows(sheet: &mut Sheet, server: &ServerView, look: DrawContext) {
    let (theme, epoch) = (look.theme, look.read_model.epoch);
    if !server.anomalies.is_empty() {
        sheet.gap().text("Against the protocol", theme.accent);
        for (kind, count) in &server.anomaly_counts {
            sheet.field(&format!("{count} ×"), kind.words(), theme.warn);
        }
        for (at, anomaly) in server.anomalies.iter().rev().take(LINES / 4) {
            sheet.field(&epoch.time_of_day(*at)[..8], &format!("{}: {}", anomaly.kind.words(), anomaly.detail), theme.text);
        }
    }
    if !server.logs.is_empty() {
        sheet.gap().text("Log messages, newest first", theme.accent);
        for (at, log) in server.logs.iter().rev().take(LINES) {
            sheet.field(&epoch.time_of_day(*at)[..8], &format!("{} {}", log.level, log.text), theme.text);
        }
    }
    if server.phase.failure().is_none() && !server.stderr.is_empty() {
        sheet.gap().text("stderr, newest last", theme.accent);
        let skip = server.stderr.len().saturating_sub(LINES);
        for line in server.stderr.iter().skip(skip) {
            sheet.text(line, theme.muted);
        }
    }
}
