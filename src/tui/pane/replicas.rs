//! Groups of replicas: their rows in the tree, and what the info pane says of them.

use std::sync::Arc;

use crate::{
    domain::{
        id::ServerId,
        policy::route::{Group, Strategy},
        read_model::ConsoleState,
        time::short,
    },
    tui::{
        theme::Theme,
        tree::{Node, Row},
        widget::paint::{self, Pen},
    },
};

use super::{DrawContext, breaker, lamp, state_words, text_view::Sheet};

/// Whether a row belongs to a group of replicas.
pub fn owns(row: &Row, read_model: &ConsoleState) -> bool {
    match &row.node {
        Node::Replicas(_) | Node::Member(..) => true,
        Node::Tool(tool) => read_model.server(&tool.server).is_none() && read_model.group(&tool.server).is_some(),
        _ => false,
    }
}

/// Draws a row of a group: itself, a member, a tool of it.
pub fn draw_row(row: &Row, fold: &str, look: DrawContext, pen: &mut Pen) {
    let theme = look.theme;
    match &row.node {
        Node::Replicas(id) => draw_group(id, fold, look, pen),
        Node::Member(_, server) => draw_member(server, look, pen),
        Node::Tool(tool) => {
            let tools = look.read_model.group_tools(&tool.server);
            let found = tools.iter().find(|(known, ..)| known.name == tool.name);
            let members = look.read_model.members(&tool.server).count();
            if let Some((_, of, differ)) = found {
                if of.len() < members {
                    let count = format!("{} of {members} ", of.len());
                    pen.right(&[(&count, theme.muted)]);
                }
                if *differ {
                    pen.right(&[("≠ schemas ", theme.warn)]);
                }
            }
            pen.skip(2);
            if row.marks.is_empty() {
                let room = pen.left();
                pen.put_middle(&tool.name, room, theme.text);
            } else {
                let exposed = look.read_model.names.exposed(tool).cloned().unwrap_or_else(|| tool.name.clone());
                pen.put_marked(&exposed, &row.marks, theme.text, theme.found).skip(1).right(&[("⊞ ", theme.muted)]);
            }
        }
        _ => {}
    }
}

fn draw_group(id: &ServerId, fold: &str, look: DrawContext, pen: &mut Pen) {
    let theme = look.theme;
    let Some(group) = look.read_model.group(id) else { return };
    pen.put(fold, theme.muted).put("⊞ ", theme.accent);
    let (lamps, strategy) = (lamps(group, look), group.strategy.word());
    let pieces: Vec<(&str, ratatui::style::Style)> = lamps.iter().map(|(t, s)| (t.as_str(), *s)).collect();
    pen.right(&pieces);
    let room = pen.left().saturating_sub(paint::width(strategy) + 2).max(pen.left().min(8));
    pen.put_middle(id.as_str(), room, theme.accent).skip(1);
    if paint::width(strategy) <= pen.left() {
        pen.put(strategy, theme.muted);
    }
}

/// The members' lamps; one with a breaker that does not let calls through shows that instead.
fn lamps(group: &Group, look: DrawContext) -> Vec<(String, ratatui::style::Style)> {
    let mut pieces: Vec<(String, ratatui::style::Style)> = vec![];
    for member in group.members.iter().filter_map(|m| look.read_model.server(&m.server)).take(12) {
        let open = breaker::badge(&member.breaker, look.now, look.theme).filter(|_| member.phase.usable());
        let (glyph, style) = match open {
            Some(_) => breaker::glyph(member.breaker.state, look.theme),
            None => lamp(&member.phase, look.theme),
        };
        pieces.push((format!("{glyph} "), style));
    }
    pieces
}

fn draw_member(id: &ServerId, look: DrawContext, pen: &mut Pen) {
    let theme = look.theme;
    let Some(server) = look.read_model.server(id) else {
        pen.put("? ", theme.warn).put(id.as_str(), theme.muted).put(" is no server", theme.warn);
        return;
    };
    let (glyph, style) = lamp(&server.phase, theme);
    let p95 = server.stats.percentile(95.0).map_or_else(|| "·".to_owned(), short);
    let busy = if server.stats.in_flight > 0 { format!("{}▸ ", server.stats.in_flight) } else { String::new() };
    let figures = format!("{p95:>7} ");
    pen.right(&[(&busy, theme.running), (&figures, theme.text)]);
    pen.put("↳ ", theme.muted).put(glyph, style).skip(1);
    let badge = breaker::badge(&server.breaker, look.now, theme);
    let taken = badge.as_ref().map_or(0, |(words, _)| paint::width(words) + 1);
    let room = pen.left().saturating_sub(taken);
    pen.put_middle(id.as_str(), room, theme.accent).skip(1);
    if let Some((words, style)) = badge {
        pen.put(&words, style);
    }
}

/// What it means that members describe a tool differently.
pub fn conflict(tool: &Arc<str>, members: &[ServerId]) -> Vec<String> {
    let names: Vec<&str> = members.iter().map(ServerId::as_str).collect();
    let first = names.first().copied().unwrap_or("the first member");
    vec![
        format!("≠ {tool}: the schemas of {} differ", names.join(", ")),
        format!("  the form follows {first}; arguments that fit it may be refused by the others. Perhaps their versions differ."),
    ]
}

/// The info pane's rows for a group.
pub fn sheet(sheet: &mut Sheet, id: &ServerId, look: DrawContext) {
    let (theme, read_model) = (look.theme, look.read_model);
    let Some(group) = read_model.group(id) else {
        sheet.text("This group is no longer configured.", theme.muted);
        return;
    };
    sheet.text("Replicas: servers that offer the same. A call of a tool of the group goes to one of them.", theme.muted).gap();
    let how = match &group.strategy {
        Strategy::RoundRobin => "one after the other".to_owned(),
        Strategy::Random => "by chance".to_owned(),
        Strategy::LeastInFlight => "the one with the fewest calls in flight".to_owned(),
        Strategy::LeastLatency => "the quicker of two taken by chance".to_owned(),
        Strategy::Primary => "the first that can take it, in their order".to_owned(),
        Strategy::Weighted => "by chance, in proportion to the weights".to_owned(),
        Strategy::Sticky { argument } => format!("calls with the same {argument} to the same one"),
    };
    sheet.field("strategy", &format!("{}: {how}", group.strategy.word()), theme.text);
    let listed = if group.members_listed { "listed under their own names too" } else { "not listed under their own names" };
    sheet.field("members", &format!("their tools are {listed}"), theme.text);
    for member in &group.members {
        sheet.row(member_row(&member.server, member.weight, &group.strategy, look, theme));
    }
    let tools = read_model.group_tools(id);
    sheet.gap().text(if tools.len() == 1 { "1 tool".to_owned() } else { format!("{} tools", tools.len()) }.as_str(), theme.accent);
    for (tool, of, differ) in &tools {
        let mut row = vec![(format!("  {}", tool.name), theme.text)];
        if of.len() < read_model.members(id).count() {
            let names: Vec<&str> = of.iter().map(ServerId::as_str).collect();
            row.push((format!("  only {}", names.join(", ")), theme.muted));
        }
        if *differ {
            row.push(("  ≠ schemas differ".into(), theme.warn));
        }
        sheet.row(row);
    }
    for (tool, of, _) in tools.iter().filter(|(_, _, differ)| *differ) {
        sheet.gap();
        for text in conflict(&tool.name, of) {
            sheet.text(&text, theme.warn);
        }
    }
}

fn member_row(id: &ServerId, weight: u32, strategy: &Strategy, look: DrawContext, theme: &Theme) -> Vec<(String, ratatui::style::Style)> {
    let Some(server) = look.read_model.server(id) else {
        return vec![(format!("  ? {id}: there is no such server"), theme.warn)];
    };
    let (glyph, style) = lamp(&server.phase, theme);
    let mut row =
        vec![(format!("  {glyph} "), style), (format!("{:<16} ", id.as_str()), theme.accent), (state_words(server, look.now), style)];
    if matches!(strategy, Strategy::Weighted) {
        row.push((format!("  weight {weight}"), theme.text));
    }
    if let Some((words, style)) = breaker::badge(&server.breaker, look.now, theme) {
        row.push((format!("  {words}"), style));
    }
    if server.stats.in_flight > 0 {
        row.push((format!("  {} in flight", server.stats.in_flight), theme.running));
    }
    row
}
