//! Groups of replicas: their rows in the tree and in the info pane.

use std::sync::Arc;

use crate::{
    domain::{
        directory::Directory,
        id::ServerId,
        plural::counted,
        policy::route::{Group, Strategy},
        time::short,
    },
    state::ConsoleState,
    tui::{
        theme::Theme,
        tree::{Node, Row},
        widget::paint::{self, Pen},
    },
};

use super::{DrawContext, breaker, state_words, status_dot, text_view::TextView};

/// Returns whether a row belongs to a group of replicas.
pub fn owns(row: &Row, read_model: &ConsoleState) -> bool {
    match &row.node {
        Node::Replicas(_) | Node::Member(..) => true,
        Node::Tool(tool) => read_model.server(&tool.server).is_none() && read_model.group(&tool.server).is_some(),
        _ => false,
    }
}

/// Draws a row of a group: the group, a member or a tool.
pub fn draw_row(row: &Row, fold: &str, ctx: DrawContext, pen: &mut Pen) {
    let theme = ctx.theme;
    match &row.node {
        Node::Replicas(id) => draw_group(id, fold, ctx, pen),
        Node::Member(_, server) => draw_member(server, ctx, pen),
        Node::Tool(tool) => {
            let tools = ctx.read_model.group_tools(&tool.server);
            let found = tools.iter().find(|(known, ..)| known.name == tool.name);
            let members = ctx.read_model.members(&tool.server).count();
            if let Some((_, providers, differ)) = found {
                if providers.len() < members {
                    let count = format!("{} of {members} ", providers.len());
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
                let exposed = ctx.read_model.names.exposed(tool).cloned().unwrap_or_else(|| tool.name.clone());
                pen.put_marked(&exposed, &row.marks, theme.text, theme.found).skip(1).right(&[("⊞ ", theme.muted)]);
            }
        }
        _ => {}
    }
}

fn draw_group(id: &ServerId, fold: &str, ctx: DrawContext, pen: &mut Pen) {
    let theme = ctx.theme;
    let Some(group) = ctx.read_model.group(id) else { return };
    pen.put(fold, theme.muted).put("⊞ ", theme.accent);
    let (dots, strategy) = (dots(group, ctx), group.strategy.word());
    let pieces: Vec<(&str, ratatui::style::Style)> = dots.iter().map(|(t, s)| (t.as_str(), *s)).collect();
    pen.right(&pieces);
    let room = pen.left().saturating_sub(paint::width(strategy) + 2).max(pen.left().min(8));
    pen.put_middle(id.as_str(), room, theme.accent).skip(1);
    if paint::width(strategy) <= pen.left() {
        pen.put(strategy, theme.muted);
    }
}

/// Returns the members' status dots. A member whose breaker rejects calls shows the breaker's state instead.
fn dots(group: &Group, ctx: DrawContext) -> Vec<(String, ratatui::style::Style)> {
    let mut pieces: Vec<(String, ratatui::style::Style)> = vec![];
    for member in group.members.iter().filter_map(|m| ctx.read_model.server(&m.server)).take(12) {
        let open = breaker::badge(&member.breaker, ctx.now, ctx.theme).filter(|_| member.phase.usable());
        let (glyph, style) = match open {
            Some(_) => breaker::glyph(member.breaker.state, ctx.theme),
            None => status_dot(&member.phase, ctx.theme),
        };
        pieces.push((format!("{glyph} "), style));
    }
    pieces
}

fn draw_member(id: &ServerId, ctx: DrawContext, pen: &mut Pen) {
    let theme = ctx.theme;
    let Some(server) = ctx.read_model.server(id) else {
        pen.put("? ", theme.warn).put(id.as_str(), theme.muted).put(" unknown server", theme.warn);
        return;
    };
    let (glyph, style) = status_dot(&server.phase, theme);
    let p95 = server.stats.percentile(95.0).map_or_else(|| "·".to_owned(), short);
    let in_flight = if server.stats.in_flight > 0 { format!("{}▸ ", server.stats.in_flight) } else { String::new() };
    let latency = format!("{p95:>7} ");
    pen.right(&[(&in_flight, theme.running), (&latency, theme.text)]);
    pen.put("↳ ", theme.muted).put(glyph, style).skip(1);
    let badge = breaker::badge(&server.breaker, ctx.now, theme);
    let badge_width = badge.as_ref().map_or(0, |(words, _)| paint::width(words) + 1);
    let room = pen.left().saturating_sub(badge_width);
    pen.put_middle(id.as_str(), room, theme.accent).skip(1);
    if let Some((words, style)) = badge {
        pen.put(&words, style);
    }
}

/// Describes a tool whose schemas differ between the members.
pub fn conflict(tool: &Arc<str>, members: &[ServerId]) -> Vec<String> {
    let names: Vec<&str> = members.iter().map(ServerId::as_str).collect();
    let first = names.first().copied().unwrap_or("the first member");
    vec![
        format!("≠ {tool}: the schemas of {} differ", names.join(", ")),
        format!("  the form uses the schema of {first}; the others may reject its arguments. Check the servers' versions."),
    ]
}

/// Adds the info pane's rows of a group.
pub fn group_rows(out: &mut TextView, id: &ServerId, ctx: DrawContext) {
    let (theme, read_model) = (ctx.theme, ctx.read_model);
    let Some(group) = read_model.group(id) else {
        out.text("This group was removed from the configuration.", theme.muted);
        return;
    };
    out.text("Replicas: servers that provide the same tools. Each call of the group goes to one of them.", theme.muted).gap();
    let how = match &group.strategy {
        Strategy::RoundRobin => "each in turn".to_owned(),
        Strategy::Random => "any member".to_owned(),
        Strategy::LeastInFlight => "the member with the fewest calls in flight".to_owned(),
        Strategy::LeastLatency => "the faster of two random members".to_owned(),
        Strategy::Primary => "the first available member".to_owned(),
        Strategy::Weighted => "random, in proportion to the weights".to_owned(),
        Strategy::Sticky { argument } => format!("the same member for the same {argument}"),
    };
    out.field("strategy", &format!("{}: {how}", group.strategy.word()), theme.text);
    let listed = if group.members_listed { "their tools are also listed individually" } else { "their tools are not listed individually" };
    out.field("members", listed, theme.text);
    for member in &group.members {
        out.row(member_row(&member.server, member.weight, &group.strategy, ctx, theme));
    }
    let tools = read_model.group_tools(id);
    out.gap().text(&counted(tools.len(), "tool"), theme.accent);
    for (tool, providers, differ) in &tools {
        let mut row = vec![(format!("  {}", tool.name), theme.text)];
        if providers.len() < read_model.members(id).count() {
            let names: Vec<&str> = providers.iter().map(ServerId::as_str).collect();
            row.push((format!("  only {}", names.join(", ")), theme.muted));
        }
        if *differ {
            row.push(("  ≠ schemas differ".into(), theme.warn));
        }
        out.row(row);
    }
    for (tool, providers, _) in tools.iter().filter(|(_, _, differ)| *differ) {
        out.gap();
        for text in conflict(&tool.name, providers) {
            out.text(&text, theme.warn);
        }
    }
}

fn member_row(id: &ServerId, weight: u32, strategy: &Strategy, ctx: DrawContext, theme: &Theme) -> Vec<(String, ratatui::style::Style)> {
    let Some(server) = ctx.read_model.server(id) else {
        return vec![(format!("  ? {id}: unknown server"), theme.warn)];
    };
    let (glyph, style) = status_dot(&server.phase, theme);
    let mut row =
        vec![(format!("  {glyph} "), style), (format!("{:<16} ", id.as_str()), theme.accent), (state_words(server, ctx.now), style)];
    if matches!(strategy, Strategy::Weighted) {
        row.push((format!("  weight {weight}"), theme.text));
    }
    if let Some((words, style)) = breaker::badge(&server.breaker, ctx.now, theme) {
        row.push((format!("  {words}"), style));
    }
    if server.stats.in_flight > 0 {
        row.push((format!("  {} in flight", server.stats.in_flight), theme.running));
    }
    row
}
