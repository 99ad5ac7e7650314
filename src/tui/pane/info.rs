//! The info pane: details of the selected server, group or section, with the failure report of a failed server.

use std::time::Duration;

use ratatui::{buffer::Buffer, layout::Rect};

use crate::{
    domain::{
        call::Label,
        plural::counted,
        server::{Era, Phase, Step},
        text::{middle, visible},
        time::short,
    },
    state::ServerView,
    tui::{
        action::Action,
        keymap::Context,
        tree::Node,
        widget::{
            paint::{self, padded, pane},
            window::Window,
        },
    },
};

use super::{DrawContext, breaker, columns::ServerColumns, replicas, servers::section_title, state_words, status_dot, text_view::TextView};

/// Cells of the label column. The longest label is `capabilities`.
const LABEL: u16 = 13;
/// The most lines of stderr and of the log.
const LINES: usize = 200;
/// The lines of stderr of a failed server.
const STDERR: usize = 5;

/// The pane's scroll.
#[derive(Default)]
pub struct InfoPane {
    /// Scroll.
    pub window: Window,
    shown: Option<Node>,
}

impl InfoPane {
    /// Scrolls to the top when the node changes.
    pub fn show(&mut self, node: Option<&Node>) {
        if self.shown.as_ref() != node {
            self.shown = node.cloned();
            self.window = Window::default();
        }
    }

    /// Draws the pane for the selected node.
    pub fn draw(&self, node: Option<&Node>, ctx: DrawContext, area: Rect, buf: &mut Buffer) {
        let title_style = if ctx.focused { ctx.theme.focus } else { ctx.theme.accent };
        let server = node.and_then(Node::server).and_then(|id| ctx.read_model.server(id));
        let (title, right) = match (node, server) {
            (Some(Node::Group(name)), _) => (name.to_string(), vec![]),
            (Some(Node::Replicas(id)), _) => (format!("{id} › replicas"), vec![]),
            (Some(Node::Section(id, section)), _) => (format!("{id} › {}", section_title(*section)), vec![]),
            (_, Some(server)) => {
                let (glyph, style) = status_dot(&server.phase, ctx.theme);
                (server.id().to_string(), vec![(glyph, style), (" ", style), (server.phase.word(), style)])
            }
            _ => ("Switchboard".to_owned(), vec![]),
        };
        let inner = pane(buf, area, &[(&title, title_style)], &right, ctx.focused, ctx.theme);
        let inner = padded(inner);
        let text = text_view(node, ctx, inner.width);
        text.draw(buf, inner, self.window);
        text.record(ctx.hits, inner, self.window);
    }
}

/// Lays out the pane at a width.
pub fn text_view<'t>(node: Option<&Node>, ctx: DrawContext<'t>, width: u16) -> TextView<'t> {
    let mut out = TextView::new(ctx.theme, width).with_label_width(LABEL);
    match (node, node.and_then(Node::server).and_then(|id| ctx.read_model.server(id))) {
        (Some(Node::Section(_, section)), Some(server)) => section_rows(&mut out, server, *section, ctx),
        (Some(Node::Replicas(id)), _) => replicas::group_rows(&mut out, id, ctx),
        (Some(Node::Group(name)), _) => group_rows(&mut out, name, ctx, width),
        (_, Some(server)) => server_rows(&mut out, server, ctx),
        _ => {
            out.text("Select a tool on the left", ctx.theme.muted);
        }
    }
    out
}

fn group_rows(out: &mut TextView, name: &str, ctx: DrawContext, width: u16) {
    let members = || ctx.read_model.servers.iter().filter(|s| s.spec.group.as_deref() == Some(name));
    let names = members().map(|s| paint::width(s.id().as_str())).max().unwrap_or(0).clamp(6, 24);
    let columns = ServerColumns::for_room(width.saturating_sub(names + 2 + 24));
    let mut head = vec![(" ".repeat(usize::from(names) + 2), ctx.theme.muted)];
    head.extend(columns.head_pieces(ctx.theme));
    out.row(head);
    for server in members() {
        let (glyph, style) = status_dot(&server.phase, ctx.theme);
        let name = middle(&visible(server.id().as_str()), usize::from(names)).into_owned();
        let spare = usize::from(names - paint::width(&name).min(names));
        let mut row = vec![(format!("{glyph} "), style), (format!("{name}{}", " ".repeat(spare)), ctx.theme.accent)];
        row.extend(columns.pieces(server, ctx.now, ctx.theme));
        row.push((format!("  {}", state_words(server, ctx.now)), style));
        row.extend(breaker::badge(&server.breaker, ctx.now, ctx.theme).map(|(words, style)| (format!("  {words}"), style)));
        out.row(row);
    }
    let (running, tools) = (members().map(|s| s.stats.in_flight).sum::<u32>(), members().map(|s| s.catalog.tools.len()).sum::<usize>());
    out.gap().text(&format!("{} · {running} running", counted(tools, "tool")), ctx.theme.muted);
}

fn section_rows(out: &mut TextView, server: &ServerView, section: crate::tui::tree::Section, ctx: DrawContext) {
    use crate::tui::tree::Section;
    let rows: Vec<(String, Option<String>)> = match section {
        Section::Resources => server.catalog.resources.iter().map(|r| (r.uri.clone(), r.description.clone())).collect(),
        Section::Templates => server.catalog.templates.iter().map(|r| (r.uri.clone(), r.description.clone())).collect(),
        Section::Prompts => server.catalog.prompts.iter().map(|p| (p.name.to_string(), p.description.clone())).collect(),
    };
    for (name, description) in rows {
        out.text(&name, ctx.theme.accent);
        if let Some(description) = description {
            out.text(&description, ctx.theme.muted);
        }
    }
}

fn server_rows(out: &mut TextView, server: &ServerView, ctx: DrawContext) {
    let theme = ctx.theme;
    let (glyph, style) = status_dot(&server.phase, theme);
    let since = super::lasting(&server.phase, server.phase_since, ctx);
    out.row(vec![(format!("{glyph} "), style), (state_words(server, ctx.now), style), (format!("  {since}"), theme.muted)]);
    out.gap();
    if let Some(failure) = server.phase.failure() {
        // What to do comes before the last lines of a long stderr.
        let (stderr, report): (Vec<_>, Vec<_>) = failure.report().into_iter().partition(|(label, _)| *label == Label::Stderr);
        out.report(&report);
        next_step(out, server, ctx);
        let hidden = stderr.len().saturating_sub(STDERR);
        out.report(&stderr[hidden..]);
        if hidden > 0 {
            let key = ctx.keys.key(&[Context::Global], Action::Describe).unwrap_or_default();
            out.field("", &format!("{} before: {key} shows all", counted(hidden, "line")), theme.muted).does(Action::Describe);
        }
        out.gap();
    } else if let Phase::Disabled = *server.phase {
        next_step(out, server, ctx);
        out.gap();
    }
    identity_rows(out, server, ctx);
    stats_rows(out, server, ctx);
    diagnostic_rows(out, server, ctx);
}

/// Adds the next step with its key.
fn next_step(out: &mut TextView, server: &ServerView, ctx: DrawContext) {
    let key = |action| ctx.keys.key(&[Context::Servers], action).unwrap_or_default();
    let text = match &*server.phase {
        Phase::Disabled => format!("{} start", key(Action::Disable)),
        Phase::Reconnecting { .. } => {
            format!("reconnects automatically · {} restart now · {} disable", key(Action::Restart), key(Action::Disable))
        }
        Phase::NeedsLogin { .. } => format!("{} log in · {} restart", key(Action::Login), key(Action::Restart)),
        Phase::Failed { why } if why.step == Step::Configure => "edit the file: it is read again when it is saved".to_owned(),
        _ => format!("{} restart", key(Action::Restart)),
    };
    out.field("next", &text, ctx.theme.key);
    match &*server.phase {
        Phase::Disabled => drop(out.does(Action::Disable)),
        // Names two keys.
        Phase::Reconnecting { .. } => {}
        Phase::NeedsLogin { .. } => drop(out.does(Action::Login)),
        _ => drop(out.does(Action::Restart)),
    }
}

fn identity_rows(out: &mut TextView, server: &ServerView, ctx: DrawContext) {
    let (theme, spec) = (ctx.theme, &server.spec);
    let style = theme.text;
    for (label, value) in [("about", &spec.description), ("owner", &spec.owner)] {
        if let Some(value) = value {
            out.field(label, value, style);
        }
    }
    if server.phase.failure().is_none() {
        out.field(spec.launch.transport(), &spec.summary(), style);
    }
    if let Some(file) = &spec.origin.file {
        let line = spec.origin.line.map(|l| format!(":{l}")).unwrap_or_default();
        out.field("from", &format!("{}{line}", file.display()), theme.muted);
    }
    if let Some(info) = &server.info {
        let name = info.title.as_ref().or(info.name.as_ref()).cloned().unwrap_or_else(|| "unnamed".into());
        out.field("server", &format!("{name} {}", info.version.as_deref().unwrap_or("")), style);
        let era = match info.era {
            Era::Legacy => "sessions",
            Era::Modern => "stateless",
        };
        out.field("protocol", &format!("{} · {era} · ready after {}", info.protocol, short(info.took)), style);
        if let Some(pid) = info.pid.filter(|_| !matches!(*server.phase, Phase::Disabled)) {
            out.field("pid", &pid.to_string(), style);
        }
        let capabilities = info.capabilities.value().and_then(|v| v.as_object().map(|o| o.keys().cloned().collect::<Vec<_>>().join(", ")));
        out.field("capabilities", capabilities.as_deref().filter(|c| !c.is_empty()).unwrap_or("none"), style);
    }
    let c = &server.catalog;
    if let Some(read_ms) = c.stored_ms {
        let now_ms = ctx.read_model.epoch.unix_ms(ctx.now);
        let age = short(Duration::from_millis(now_ms.saturating_sub(read_ms)));
        out.field("last known", &format!("lists of {age} ago, until the server answers"), theme.warn);
    }
    if c.revision > 0 || c.stored_ms.is_some() {
        let counts =
            [(c.tools.len(), "tool"), (c.resources.len(), "resource"), (c.templates.len(), "template"), (c.prompts.len(), "prompt")];
        let counts: Vec<String> = counts.iter().map(|(count, noun)| counted(*count, noun)).collect();
        out.field("provides", &counts.join(" · "), style);
    }
    if !c.changes.is_empty() {
        out.field("changed", &c.changes, theme.warn);
    }
    for warning in &c.warnings {
        out.field("warning", warning, theme.warn);
    }
    let trust = if spec.trusted { "trusted: its annotations are used" } else { "not trusted: asks before each call" };
    out.field("trust", trust, theme.muted);
    if spec.tls.insecure {
        out.field("insecure", "its certificate is not checked: another computer can pose as the server", theme.fail);
    }
    if let Some(text) = server.info.as_ref().and_then(|i| i.instructions.as_ref()) {
        out.gap().text("Instructions", theme.accent).text(text, style);
    }
}

fn stats_rows(out: &mut TextView, server: &ServerView, ctx: DrawContext) {
    let stats = &server.stats;
    if stats.settled == 0 && stats.in_flight == 0 {
        return;
    }
    let percentile = |p| stats.percentile(p).map(short).unwrap_or_else(|| "·".into());
    out.gap();
    out.field(
        "calls",
        &format!(
            "{} running · {} answered · {} · {} failed · {} cancelled",
            stats.in_flight,
            stats.answered,
            counted(stats.tool_errors, "tool error"),
            stats.failed,
            stats.cancelled
        ),
        ctx.theme.text,
    );
    out.field("latency", &format!("p50 {} · p95 {} · p99 {}", percentile(50.0), percentile(95.0), percentile(99.0)), ctx.theme.text);
}

fn diagnostic_rows(out: &mut TextView, server: &ServerView, ctx: DrawContext) {
    let (theme, epoch) = (ctx.theme, ctx.read_model.epoch);
    if !server.anomalies.is_empty() {
        out.gap().text("Protocol violations", theme.accent);
        for (kind, count) in &server.anomaly_counts {
            out.field(&format!("{count} ×"), kind.words(), theme.warn);
        }
        for (at, anomaly) in server.anomalies.iter().rev().take(LINES / 4) {
            out.field(&epoch.time_of_day(*at)[..8], &format!("{}: {}", anomaly.kind.words(), anomaly.detail), theme.text);
        }
    }
    if !server.logs.is_empty() {
        out.gap().text("Log messages (newest first)", theme.accent);
        for (at, log) in server.logs.iter().rev().take(LINES) {
            out.field(&epoch.time_of_day(*at)[..8], &format!("{} {}", log.level, log.text), theme.text);
        }
    }
    if server.phase.failure().is_none() && !server.stderr.is_empty() {
        out.gap().text("stderr (newest last)", theme.accent);
        let skip = server.stderr.len().saturating_sub(LINES);
        for (_, line) in server.stderr.iter().skip(skip) {
            out.text(line, theme.muted);
        }
    }
}
