//! The live tree: groups, servers and what they offer, with what is going on at each.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    style::{Modifier, Style},
};

use crate::{
    domain::{
        catalog::Change,
        policy::breaker::BreakerView,
        read_model::{ConsoleState, ServerView},
        server::{Phase, Step},
        stats::Stats,
        time::short,
    },
    tui::{
        action::Action,
        keymap::Context,
        tree::{Node, Row, Section, Tree, other_name},
        widget::paint::{self, Pen, pane, wrap},
    },
};

use super::{DrawContext, breaker, columns::Figures, lamp, replicas};

/// The rows above the list: the filter's line, but on a low screen only while it is used.
fn head(tree: &Tree, area: Rect) -> u16 {
    u16::from(area.height > 5 || tree.filter().is_some())
}

/// The room for rows in a pane of this height: borders, and the filter line.
pub fn rows_height(tree: &Tree, area: Rect) -> usize {
    usize::from(area.height.saturating_sub(2 + head(tree, area)))
}

/// The row of the tree at a cell of the pane, if there is one.
pub fn row_at(tree: &Tree, area: Rect, y: u16) -> Option<usize> {
    let inside = y.checked_sub(area.y + 1 + head(tree, area))?;
    let row = tree.window.top + usize::from(inside);
    (usize::from(inside) < rows_height(tree, area) && row < tree.rows().len()).then_some(row)
}

/// Draws the pane.
pub fn draw(tree: &Tree, look: DrawContext, area: Rect, buf: &mut Buffer) {
    let theme = look.theme;
    let title = if look.focused { theme.focus } else { theme.text };
    let count = format!("{} tools", look.read_model.names.len());
    let right = [(count.as_str(), theme.muted)];
    let inner = pane(buf, area, &[("Servers", title)], if look.read_model.names.is_empty() { &[] } else { &right }, look.focused, theme);
    let head = head(tree, area);
    if head > 0 {
        draw_filter(tree, look, inner, buf);
    }
    let list = Rect { y: inner.y.saturating_add(head), height: inner.height.saturating_sub(head), ..inner };
    if tree.rows().is_empty() {
        return draw_empty(tree, look, list, buf);
    }
    let height = usize::from(list.height);
    for (y, index) in tree.window.rows(tree.rows().len(), height).enumerate() {
        let selected = index == tree.window.cursor;
        draw_row(&tree.rows()[index], selected, look, Rect { y: list.y + y as u16, height: 1, ..list }, buf);
    }
}

fn draw_filter(tree: &Tree, look: DrawContext, inner: Rect, buf: &mut Buffer) {
    let mut pen = Pen::new(buf, inner, 0);
    pen.skip(1);
    match tree.filter() {
        Some(filter) => {
            let found = format!("{} ", tree.rows().len());
            pen.right(&[(&found, look.theme.muted)]).put("/", look.theme.key).put(filter, look.theme.text).put("▏", look.theme.focus);
        }
        None => {
            let key = look.keys.key(&[Context::Global], Action::Filter).unwrap_or_default();
            pen.put(&key, look.theme.key).put(" find a tool", look.theme.muted);
            if !look.read_model.servers.is_empty() {
                Figures::for_room(room_for_figures(look.read_model, inner.width)).heads(look.theme, &mut pen);
            }
        }
    }
}

fn draw_empty(tree: &Tree, look: DrawContext, area: Rect, buf: &mut Buffer) {
    let text = match tree.filter() {
        Some(_) => "No tool of any server has a name like this.\n\nEsc ends the search.",
        None => {
            let key = look.keys.key(&[Context::Global], Action::Welcome).unwrap_or_default();
            return draw_none(&key, look, area, buf);
        }
    };
    let room = Rect { x: area.x.saturating_add(1), width: area.width.saturating_sub(2), ..area };
    for (y, row) in wrap(text, room.width).iter().enumerate().take(usize::from(room.height)) {
        Pen::new(buf, room, y as u16).put(row, look.theme.muted);
    }
}

fn draw_none(key: &str, look: DrawContext, area: Rect, buf: &mut Buffer) {
    let room = Rect { x: area.x.saturating_add(1), width: area.width.saturating_sub(2), ..area };
    Pen::new(buf, room, 0).put("No servers yet.", look.theme.text);
    Pen::new(buf, room, 2).put(key, look.theme.key).put(" shows ways to get some", look.theme.muted);
    let text = "switchboard --demo starts with built-in ones. Or describe yours in switchboard.toml; the README has an example.";
    for (y, row) in wrap(text, room.width).iter().enumerate() {
        Pen::new(buf, room, y as u16 + 4).put(row, look.theme.muted);
    }
}

fn draw_row(row: &Row, selected: bool, look: DrawContext, area: Rect, buf: &mut Buffer) {
    let mut pen = Pen::new(buf, area, 0);
    pen.skip(1 + row.depth * 2);
    let fold = match row.open {
        Some(true) => "▾ ",
        Some(false) => "▸ ",
        None => "  ",
    };
    if replicas::owns(row, look.read_model) {
        replicas::draw_row(row, fold, look, &mut pen);
        if selected {
            buf.set_style(area.intersection(buf.area), look.selection());
        }
        return;
    }
    let Some(server) = look.read_model.servers.get(row.server) else { return };
    let base = look.theme.text;
    match &row.node {
        Node::Group(name) => draw_group(name, row.open == Some(true), fold, look, &mut pen),
        Node::Server(_) => draw_server(server, row.depth, fold, area.width, look, &mut pen),
        Node::Tool(tool) => {
            let change = server.catalog.tools.get(row.item).map_or(Change::Same, |t| t.change);
            if let Some(stats) = server.tools.get(&tool.name) {
                draw_tool_figures(stats, look, &mut pen);
            }
            let quiet = BreakerView::default();
            let own = server.tool_breakers.get(&tool.name).map_or(&quiet, |view| view);
            for (text, style) in marks(own, usize::from(server.faults.contains_key(&Some(tool.name.clone()))), look) {
                pen.right(&[(&text, style), (" ", style.remove_modifier(Modifier::REVERSED))]);
            }
            if row.marks.is_empty() {
                put_name(&mut pen, &tool.name, change, if server.phase.usable() { base } else { look.theme.muted }, look);
            } else {
                let exposed = look.read_model.names.exposed(tool).map_or(&*tool.name, |n| n);
                let (glyph, style) = lamp(&server.phase, look.theme);
                pen.put(glyph, style).skip(1).put_marked(exposed, &row.marks, base, look.theme.found);
                // What it does tells more than its name, where there is room for some words of it.
                let about = server.catalog.tools.get(row.item).and_then(|t| t.description.as_deref()).unwrap_or_default();
                if pen.left() > 16 {
                    pen.skip(2).cut(about.lines().next().unwrap_or_default(), look.theme.muted);
                }
            }
        }
        Node::Replicas(_) | Node::Member(..) => {}
        Node::Section(_, section) => {
            pen.put(fold, look.theme.muted).put(section.word(), look.theme.muted).skip(1).put(&row.item.to_string(), look.theme.muted);
        }
        Node::Resource(..) | Node::Template(..) | Node::Prompt(..) => {
            let (name, change, right) = item(server, row);
            pen.right(&[(&right, look.theme.muted)]);
            if let Node::Resource(_, uri) = &row.node
                && let Some((count, _)) = server.subscriptions.get(&**uri)
            {
                let (told, style) = match count {
                    0 => ("◉ ".to_owned(), look.theme.ok),
                    times => (format!("◉ changed {times}× "), look.theme.warn),
                };
                pen.right(&[(&told, style)]);
            }
            if row.marks.is_empty() {
                put_name(&mut pen, &name, change, base, look);
            } else {
                let word = match &row.node {
                    Node::Template(..) => "template ",
                    Node::Prompt(..) => "prompt ",
                    _ => "resource ",
                };
                let (glyph, style) = lamp(&server.phase, look.theme);
                let shown = other_name(server.id().as_str(), &name);
                pen.right(&[(word, look.theme.muted)]).put(glyph, style).skip(1);
                pen.put_marked(&shown, &row.marks, base, look.theme.found);
            }
        }
    }
    if selected {
        buf.set_style(area.intersection(buf.area), look.selection());
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

fn put_name(pen: &mut Pen, name: &str, change: Change, style: Style, look: DrawContext) {
    match change {
        Change::Same => pen.put("  ", style),
        Change::Added => pen.put("+ ", look.theme.ok),
        Change::Changed => pen.put("~ ", look.theme.warn),
    };
    let room = pen.left();
    pen.put_middle(name, room, style);
}

fn draw_group(name: &str, open: bool, fold: &str, look: DrawContext, pen: &mut Pen) {
    pen.put(fold, look.theme.muted).put(name, look.theme.accent);
    if !open {
        // What is folded away still shows how it stands.
        pen.skip(2);
        for server in look.read_model.servers.iter().filter(|s| s.spec.group.as_deref() == Some(name)) {
            let (glyph, style) = lamp(&server.phase, look.theme);
            pen.put(glyph, style).skip(1);
        }
    }
}

fn draw_server(server: &ServerView, depth: u16, fold: &str, width: u16, look: DrawContext, pen: &mut Pen) {
    let theme = look.theme;
    let (glyph, style) = lamp(&server.phase, theme);
    pen.put(fold, theme.muted).put(glyph, style).skip(1);
    // Columns line up over servers inside of groups and beside them.
    let inset = if depth == 0 && grouped(look.read_model) { 2 } else { 0 };
    let name_room = (name_column(look.read_model) + inset).min(pen.left());
    let name_style = if matches!(*server.phase, Phase::Disabled) { theme.muted } else { theme.accent };
    let start = pen.x();
    pen.put_middle(server.id().as_str(), name_room, name_style).to(start + name_room);
    let words = match &*server.phase {
        Phase::Starting { step } => format!("starting · {}", step_word(*step)),
        Phase::Reconnecting { attempt, until, .. } => format!("retry {attempt} in {}", short(until.since(look.now))),
        other => other.word().to_owned(),
    };
    let figures = Figures::for_room(room_for_figures(look.read_model, width));
    let marks = marks(&server.breaker, server.faults.len(), look);
    // A server that is well needs no word, the lamp has its own shape; one that is not says so before its figures.
    let well = matches!(*server.phase, Phase::Ready);
    let marked: u16 = marks.iter().map(|(text, _)| paint::width(text) + 1).sum();
    let needed = marked + if well { 0 } else { paint::width(&words) + 1 };
    figures.row(server, look.now, needed, theme, pen);
    pen.skip(1);
    for (text, style) in &marks {
        pen.put(text, *style).skip(1);
    }
    if well && marked > 0 {
        return;
    }
    let faults = server.anomaly_total();
    let badge = if faults > 0 { format!("⚠{faults} ") } else { String::new() };
    if pen.left() > paint::width(&words) + paint::width(&badge) || needed > 0 {
        pen.put(&words, style).skip(1);
    }
    if paint::width(&badge) <= pen.left() {
        pen.put(&badge, theme.warn);
    }
}

/// What a row must not hide: faults made by hand, a breaker that is held or not closed.
fn marks(breaker: &BreakerView, faults: usize, look: DrawContext) -> Vec<(String, Style)> {
    let loud = look.theme.fail.add_modifier(Modifier::REVERSED | Modifier::BOLD);
    let fault = match faults {
        0 => None,
        1 => Some((" ‼ FAULT ".to_owned(), loud)),
        n => Some((format!(" ‼ {n} FAULTS "), loud)),
    };
    fault.into_iter().chain(breaker::badge(breaker, look.now, look.theme)).collect()
}

/// Whether servers stand in folders.
fn grouped(read_model: &ConsoleState) -> bool {
    read_model.servers.iter().any(|s| s.spec.group.is_some())
}

/// The cells beside the names; of a wide row, some stay free for the words of a server that is not well.
fn room_for_figures(read_model: &ConsoleState, width: u16) -> u16 {
    let names = 1 + 2 + 2 + name_column(read_model) + if grouped(read_model) { 2 } else { 0 };
    let room = width.saturating_sub(names);
    if room > 44 { room - 18 } else { room }
}

/// The step of a start in one word; the info pane says it in full.
fn step_word(step: Step) -> &'static str {
    match step {
        Step::Spawn => "program",
        Step::Dial => "connect",
        Step::Discover => "discover",
        Step::Initialize => "initialize",
        Step::List => "lists",
        Step::Run => "run",
    }
}

/// Names line up over all servers, within reason.
fn name_column(read_model: &ConsoleState) -> u16 {
    read_model.servers.iter().map(|s| paint::width(s.id().as_str())).max().unwrap_or(0).clamp(6, 16)
}

fn draw_tool_figures(stats: &Stats, look: DrawContext, pen: &mut Pen) {
    let theme = look.theme;
    let last = stats.recent.back().map(|(us, _)| short(std::time::Duration::from_micros(*us))).unwrap_or_default();
    let failed = if stats.failed > 0 { format!("✕{} ", stats.failed) } else { String::new() };
    let running = if stats.in_flight > 0 { format!("▸{} ", stats.in_flight) } else { String::new() };
    pen.right(&[(&running, theme.running), (&failed, theme.fail), (&last, theme.muted), (" ", theme.muted)]);
}

/// The word of a section with its article, for the info pane.
pub fn section_title(section: Section) -> &'static str {
    match section {
        Section::Resources => "Resources",
        Section::Templates => "Resource templates",
        Section::Prompts => "Prompts",
    }
}
