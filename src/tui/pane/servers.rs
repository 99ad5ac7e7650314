//! The server tree: groups, servers, tools, resources and prompts, with live state and statistics.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    style::{Modifier, Style},
};

use crate::{
    domain::{
        catalog::Change,
        id::ToolId,
        plural::counted,
        policy::breaker::BreakerView,
        server::{Phase, Step},
        stats::Stats,
        time::short,
    },
    state::{ConsoleState, ServerView},
    tui::{
        action::Action,
        hits::Hit,
        keymap::Context,
        tree::{Node, Row, Section, Tree, other_name},
        widget::paint::{self, Pen, padded, pane, wrap},
    },
};

use super::{DrawContext, breaker, columns::ServerColumns, replicas, status_dot};

/// Returns the rows above the list: the filter line, which a low screen shows only while a filter is active.
fn head(tree: &Tree, area: Rect) -> u16 {
    u16::from(area.height > 5 || tree.filter().is_some())
}

/// Returns how many rows fit, without the borders and the filter line.
pub fn rows_height(tree: &Tree, area: Rect) -> usize {
    usize::from(area.height.saturating_sub(2 + head(tree, area)))
}

/// Draws the pane.
pub fn draw(tree: &Tree, ctx: DrawContext, area: Rect, buf: &mut Buffer) {
    let theme = ctx.theme;
    let title = if ctx.focused { theme.focus } else { theme.text };
    let count = counted(ctx.read_model.names.len(), "tool");
    let right = [(count.as_str(), theme.muted)];
    let inner = pane(buf, area, &[("Servers", title)], if ctx.read_model.names.is_empty() { &[] } else { &right }, ctx.focused, theme);
    let head = head(tree, area);
    if head > 0 {
        draw_filter(tree, ctx, inner, buf);
    }
    let list = Rect { y: inner.y.saturating_add(head), height: inner.height.saturating_sub(head), ..inner };
    if tree.rows().is_empty() {
        return draw_empty(tree, ctx, list, buf);
    }
    let height = usize::from(list.height);
    for (y, index) in tree.window.rows(tree.rows().len(), height).enumerate() {
        let selected = index == tree.window.cursor;
        let place = Rect { y: list.y + y as u16, height: 1, ..list };
        ctx.hits.add(place, Hit::Row(index));
        draw_row(tree, (index, selected), ctx, place, buf);
    }
    paint::scroll_bar(buf, list, (tree.window.top, height, tree.rows().len()), theme.muted);
}

fn draw_filter(tree: &Tree, ctx: DrawContext, inner: Rect, buf: &mut Buffer) {
    let mut pen = Pen::new(buf, inner, 0);
    pen.skip(1);
    match tree.filter() {
        Some(filter) => {
            let found = format!("{} ", tree.rows().len());
            pen.right(&[(&found, ctx.theme.muted)]).put("/", ctx.theme.key).put(filter, ctx.theme.text).put("▏", ctx.theme.focus);
        }
        None => {
            let key = ctx.keys.key(&[Context::Global], Action::Filter).unwrap_or_default();
            ctx.put_key(&mut pen, Action::Filter, &key, " find a tool");
            if !ctx.read_model.servers.is_empty() {
                ServerColumns::for_room(room_for_columns(ctx.read_model, inner.width)).heads(ctx.theme, &mut pen);
            }
        }
    }
}

fn draw_empty(tree: &Tree, ctx: DrawContext, area: Rect, buf: &mut Buffer) {
    let text = match tree.filter() {
        Some(_) => "No matches\n\nEsc ends the search",
        None => {
            let key = ctx.keys.key(&[Context::Global], Action::Welcome).unwrap_or_default();
            return draw_no_servers(&key, ctx, area, buf);
        }
    };
    let room = padded(area);
    for (y, row) in wrap(text, room.width).iter().enumerate().take(usize::from(room.height)) {
        Pen::new(buf, room, y as u16).put(row, ctx.theme.muted);
    }
}

fn draw_no_servers(key: &str, ctx: DrawContext, area: Rect, buf: &mut Buffer) {
    let room = padded(area);
    Pen::new(buf, room, 0).put("No servers yet", ctx.theme.text);
    ctx.put_key(&mut Pen::new(buf, room, 2), Action::Welcome, key, " to add servers");
    let text = "Or run switchboard --demo for built-in servers, or list your own in switchboard.toml (see the README).";
    for (y, row) in wrap(text, room.width).iter().enumerate() {
        Pen::new(buf, room, y as u16 + 4).put(row, ctx.theme.muted);
    }
}

/// Draws the row at this index of the tree.
fn draw_row(tree: &Tree, (index, selected): (usize, bool), ctx: DrawContext, area: Rect, buf: &mut Buffer) {
    let row = &tree.rows()[index];
    let mut pen = Pen::new(buf, area, 0);
    pen.skip(1 + row.depth * 2);
    if row.open.is_some() {
        ctx.hits.add(Rect { width: pen.left().min(1), ..pen.rest() }, Hit::FoldSign(index));
    }
    let fold = match row.open {
        Some(true) => "▾ ",
        Some(false) => "▸ ",
        None => "  ",
    };
    if let Node::Saved(tool, name) = &row.node {
        draw_saved(tree, (row, tool, name), ctx, &mut pen);
        if selected {
            buf.set_style(area.intersection(buf.area), ctx.selection());
        }
        return;
    }
    if replicas::owns(row, ctx.read_model) {
        replicas::draw_row(row, fold, ctx, &mut pen);
        if selected {
            buf.set_style(area.intersection(buf.area), ctx.selection());
        }
        return;
    }
    let Some(server) = ctx.read_model.servers.get(row.server) else { return };
    let base = ctx.theme.text;
    match &row.node {
        Node::Group(name) => draw_group(name, row.open == Some(true), fold, ctx, &mut pen),
        Node::Server(id) if tree.marked().contains(id) => {
            pen.put(fold.trim_end(), ctx.theme.muted).put(if row.open.is_some() { "◆" } else { " ◆" }, ctx.theme.key);
            draw_server(server, row.depth, "", area.width, ctx, &mut pen);
        }
        Node::Server(_) => draw_server(server, row.depth, fold, area.width, ctx, &mut pen),
        Node::Tool(tool) => {
            let change = server.catalog.tools.get(row.item).map_or(Change::Same, |t| t.change);
            if let Some(stats) = server.tools.get(&tool.name) {
                draw_tool_stats(stats, ctx, &mut pen);
            }
            let quiet = BreakerView::default();
            let own = server.tool_breakers.get(&tool.name).map_or(&quiet, |view| view);
            for (text, style) in marks(own, usize::from(server.faults.contains_key(&Some(tool.name.clone()))), ctx) {
                pen.right(&[(&text, style), (" ", style.remove_modifier(Modifier::REVERSED))]);
            }
            if tree.is_favourite(&row.node) {
                pen.right(&[("★ ", ctx.theme.warn)]);
            } else if tree.filter().is_some() && tree.is_recent(&row.node) {
                pen.right(&[("recent ", ctx.theme.muted)]);
            }
            if !server.spec.tools.allows(&tool.name) {
                pen.right(&[("filtered ", ctx.theme.muted)]);
            }
            if server.catalog.pin_changes.contains(&tool.name) {
                let word = if server.entry().holds(&tool.name) { "held " } else { "unpinned " };
                pen.right(&[(word, ctx.theme.warn)]);
            }
            if row.marks.is_empty() {
                put_name(&mut pen, &tool.name, change, if server.phase.usable() { base } else { ctx.theme.muted }, ctx);
            } else {
                let exposed = ctx.read_model.names.exposed(tool).map_or(&*tool.name, |n| n);
                let (glyph, style) = status_dot(&server.phase, ctx.theme);
                pen.put(glyph, style).skip(1).put_marked(exposed, &row.marks, base, ctx.theme.found);
                // The description follows where there is room.
                let about = server.catalog.tools.get(row.item).and_then(|t| t.description.as_deref()).unwrap_or_default();
                if pen.left() > 16 {
                    pen.skip(2).cut(about.lines().next().unwrap_or_default(), ctx.theme.muted);
                }
            }
        }
        Node::Replicas(_) | Node::Member(..) | Node::Saved(..) => {}
        Node::Section(_, section) => {
            pen.put(fold, ctx.theme.muted).put(section.word(), ctx.theme.muted).skip(1).put(&row.item.to_string(), ctx.theme.muted);
        }
        Node::Resource(..) | Node::Template(..) | Node::Prompt(..) => {
            let (name, change, right) = item(server, row);
            pen.right(&[(&right, ctx.theme.muted)]);
            if tree.is_favourite(&row.node) {
                pen.right(&[("★ ", ctx.theme.warn)]);
            }
            if let Node::Resource(_, uri) = &row.node
                && let Some((count, _)) = server.subscriptions.get(&**uri)
            {
                let (changes, style) = match count {
                    0 => ("◉ ".to_owned(), ctx.theme.ok),
                    times => (format!("◉ changed {times}× "), ctx.theme.warn),
                };
                pen.right(&[(&changes, style)]);
            }
            if row.marks.is_empty() {
                put_name(&mut pen, &name, change, base, ctx);
            } else {
                let word = match &row.node {
                    Node::Template(..) => "template ",
                    Node::Prompt(..) => "prompt ",
                    _ => "resource ",
                };
                let (glyph, style) = status_dot(&server.phase, ctx.theme);
                let shown = other_name(server.id().as_str(), &name);
                pen.right(&[(word, ctx.theme.muted)]).put(glyph, style).skip(1);
                pen.put_marked(&shown, &row.marks, base, ctx.theme.found);
            }
        }
    }
    if selected {
        buf.set_style(area.intersection(buf.area), ctx.selection());
    }
}

/// Draws a saved call. In a search it shows its tool, otherwise its tool is the row above.
fn draw_saved(tree: &Tree, (row, tool, name): (&Row, &ToolId, &str), ctx: DrawContext, pen: &mut Pen) {
    let theme = ctx.theme;
    let label = tree.saved_call(name).map_or(name, |call| &*call.label);
    if tree.filter().is_none() {
        pen.put("  » ", theme.accent);
        let room = pen.left();
        pen.put_middle(label, room, theme.text);
        return;
    }
    pen.right(&[("saved ", theme.muted)]).put("» ", theme.accent);
    pen.put_marked(label, &row.marks, theme.text, theme.found);
    if pen.left() > 16 {
        pen.skip(2).cut(ctx.read_model.names.exposed(tool).map_or(&*tool.name, |exposed| exposed), theme.muted);
    }
}

fn item(server: &ServerView, row: &Row) -> (String, Change, String) {
    let resource = |list: &[std::sync::Arc<crate::domain::catalog::Resource>]| {
        list.get(row.item).map(|r| (r.name.clone(), r.change, r.mime_type.clone().unwrap_or_default() + " "))
    };
    let found = match &row.node {
        Node::Resource(..) => resource(&server.catalog.resources),
        Node::Template(..) => resource(&server.catalog.templates),
        Node::Prompt(..) => server.catalog.prompts.get(row.item).map(|p| (p.name.to_string(), p.change, String::new())),
        _ => None,
    };
    found.unwrap_or_default()
}

fn put_name(pen: &mut Pen, name: &str, change: Change, style: Style, ctx: DrawContext) {
    match change {
        Change::Same => pen.put("  ", style),
        Change::Added => pen.put("+ ", ctx.theme.ok),
        Change::Changed => pen.put("~ ", ctx.theme.warn),
    };
    let room = pen.left();
    pen.put_middle(name, room, style);
}

fn draw_group(name: &str, open: bool, fold: &str, ctx: DrawContext, pen: &mut Pen) {
    pen.put(fold, ctx.theme.muted).put(name, ctx.theme.accent);
    if !open {
        // A folded group shows the status dots of its servers.
        pen.skip(2);
        for server in ctx.read_model.servers.iter().filter(|s| s.spec.group.as_deref() == Some(name)) {
            let (glyph, style) = status_dot(&server.phase, ctx.theme);
            pen.put(glyph, style).skip(1);
        }
    }
}

fn draw_server(server: &ServerView, depth: u16, fold: &str, width: u16, ctx: DrawContext, pen: &mut Pen) {
    let theme = ctx.theme;
    let (glyph, style) = status_dot(&server.phase, theme);
    pen.put(fold, theme.muted).put(glyph, style).skip(1);
    // Columns line up over servers inside and outside of groups.
    let inset = if depth == 0 && grouped(ctx.read_model) { 2 } else { 0 };
    let name_room = (name_column(ctx.read_model) + inset).min(pen.left());
    let name_style = if matches!(*server.phase, Phase::Disabled) { theme.muted } else { theme.accent };
    let start = pen.x();
    pen.put_middle(server.id().as_str(), name_room, name_style).to(start + name_room);
    let words = match &*server.phase {
        Phase::Starting { step } => format!("starting · {}", step_word(*step)),
        Phase::Reconnecting { attempt, until, .. } => format!("retry {attempt} in {}", short(until.since(ctx.now))),
        other => other.word().to_owned(),
    };
    let columns = ServerColumns::for_room(room_for_columns(ctx.read_model, width));
    let mut marks = marks(&server.breaker, server.faults.len(), ctx);
    if server.spec.tls.insecure {
        marks.insert(0, (" INSECURE ".to_owned(), emphasis(ctx)));
    }
    // A ready server needs no word, because its dot has its own shape. Any other state comes before the statistics.
    let ready = matches!(*server.phase, Phase::Ready);
    let marked: u16 = marks.iter().map(|(text, _)| paint::width(text) + 1).sum();
    let needed = marked + if ready { 0 } else { paint::width(&words) + 1 };
    columns.row(server, ctx.now, needed, theme, pen);
    pen.skip(1);
    for (text, style) in &marks {
        pen.put(text, *style).skip(1);
    }
    if ready && marked > 0 {
        return;
    }
    let faults = server.anomaly_total();
    let badge = if faults > 0 { format!("⚠{faults} ") } else { String::new() };
    if pen.left() > paint::width(&words) + paint::width(&badge) || needed > 0 {
        pen.cut(&words, style);
        pen.skip(1);
    }
    if paint::width(&badge) <= pen.left() {
        pen.put(&badge, theme.warn);
    }
}

/// Returns the style of a mark that must not be overlooked.
fn emphasis(ctx: DrawContext) -> Style {
    ctx.theme.fail.add_modifier(Modifier::REVERSED | Modifier::BOLD)
}

/// Returns the marks of injected faults and of a breaker that is overridden or not closed. A row always shows them.
fn marks(breaker: &BreakerView, faults: usize, ctx: DrawContext) -> Vec<(String, Style)> {
    let fault = match faults {
        0 => None,
        1 => Some((" ‼ FAULT ".to_owned(), emphasis(ctx))),
        n => Some((format!(" ‼ {n} FAULTS "), emphasis(ctx))),
    };
    fault.into_iter().chain(breaker::badge(breaker, ctx.now, ctx.theme)).collect()
}

/// Returns whether any server is in a group.
fn grouped(read_model: &ConsoleState) -> bool {
    read_model.servers.iter().any(|s| s.spec.group.is_some())
}

/// Returns the cells for statistics. A wide row keeps some cells free for the state of a server that is not ready.
fn room_for_columns(read_model: &ConsoleState, width: u16) -> u16 {
    let names = 1 + 2 + 2 + name_column(read_model) + if grouped(read_model) { 2 } else { 0 };
    let room = width.saturating_sub(names);
    if room > 44 { room - 18 } else { room }
}

/// Returns the step of a start in one word. The info pane shows the full text.
fn step_word(step: Step) -> &'static str {
    match step {
        Step::Configure => "config",
        Step::Spawn => "spawn",
        Step::Dial => "connect",
        Step::Discover => "discover",
        Step::Initialize => "initialize",
        Step::List => "lists",
        Step::Run => "run",
    }
}

/// Returns the width of the name column, which is the same for all servers.
fn name_column(read_model: &ConsoleState) -> u16 {
    read_model.servers.iter().map(|s| paint::width(s.id().as_str())).max().unwrap_or(0).clamp(6, 16)
}

fn draw_tool_stats(stats: &Stats, ctx: DrawContext, pen: &mut Pen) {
    let theme = ctx.theme;
    let last = stats.recent.back().map(|(us, _)| short(std::time::Duration::from_micros(*us))).unwrap_or_default();
    let failed = if stats.failed > 0 { format!("✕{} ", stats.failed) } else { String::new() };
    let running = if stats.in_flight > 0 { format!("▸{} ", stats.in_flight) } else { String::new() };
    pen.right(&[(&running, theme.running), (&failed, theme.fail), (&last, theme.muted), (" ", theme.muted)]);
}

/// Returns the title of a section for the info pane.
pub fn section_title(section: Section) -> &'static str {
    match section {
        Section::Resources => "Resources",
        Section::Templates => "Resource templates",
        Section::Prompts => "Prompts",
    }
}
