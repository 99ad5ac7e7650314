//! The routes page: groups with their members, routes, fallbacks, and the latest routing decisions.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    style::{Modifier, Style},
};

use crate::{
    domain::{
        directory::Directory,
        id::{CallId, ServerId},
        plural::counted,
        policy::route::{Group, Strategy},
        time::short,
    },
    state::ConsoleState,
    tui::{
        hits::Hit,
        pane::{DrawContext, breaker, outcome_glyph, replicas, status_dot},
        widget::{
            paint::{Pen, pane, scroll_bar, width, wrap},
            window::{Move, Window},
        },
    },
};

use super::Subject;

/// What Enter on a row opens.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum RouteTarget {
    /// Nothing.
    #[default]
    Nothing,
    /// A server.
    Server(ServerId),
    /// A call.
    Call(CallId),
}

/// A row of the page.
#[derive(Default)]
struct RouteRow {
    pieces: Vec<(String, Style)>,
    target: RouteTarget,
}

/// Cursor and scroll of the page.
#[derive(Default)]
pub struct Routes {
    window: Window,
    targets: Vec<RouteTarget>,
}

impl Routes {
    /// Returns the target of the row under the cursor.
    pub fn target(&self) -> RouteTarget {
        self.targets.get(self.window.cursor).cloned().unwrap_or_default()
    }

    /// Returns the server under the cursor.
    pub fn selected(&self) -> Option<Subject> {
        match self.target() {
            RouteTarget::Server(server) => Some(Subject { server, tool: None }),
            _ => None,
        }
    }

    /// Moves the cursor. Single steps skip rows without a target.
    pub fn go(&mut self, to: Move) {
        let len = self.targets.len();
        let has_target = |at: usize| self.targets.get(at).is_some_and(|target| *target != RouteTarget::Nothing);
        let found = match to {
            Move::On(1) => (self.window.cursor + 1..len).find(|at| has_target(*at)),
            Move::Back(1) => (0..self.window.cursor.min(len)).rev().find(|at| has_target(*at)),
            _ => None,
        };
        match found {
            Some(at) => self.window.cursor = at,
            None => self.window.go(to, len),
        }
    }

    /// Puts the cursor on a row. Returns whether it was there already.
    pub fn click(&mut self, row: usize) -> bool {
        if row >= self.targets.len() {
            return false;
        }
        std::mem::replace(&mut self.window.cursor, row) == row
    }

    /// Draws the page.
    pub fn draw(&mut self, ctx: DrawContext, area: Rect, buf: &mut Buffer) {
        let theme = ctx.theme;
        let title = if ctx.focused { theme.focus } else { theme.text };
        let routing = &ctx.read_model.rules.routing;
        let (groups, routes, calls) = (routing.groups.len(), routing.routes.len(), ctx.read_model.routed.len());
        let right = format!("{} · {} · {}", counted(groups, "group"), counted(routes, "route"), counted(calls, "routed call"));
        let inner = pane(buf, area, &[("Routes", title)], &[(&right, theme.muted)], ctx.focused, theme);
        let rows = rows(ctx, inner.width);
        self.targets = rows.iter().map(|row| row.target.clone()).collect();
        let height = usize::from(inner.height);
        self.window.fit(rows.len(), height);
        scroll_bar(buf, inner, (self.window.top, height, rows.len()), ctx.theme.muted);
        for (y, index) in self.window.rows(rows.len(), height).enumerate() {
            let line = Rect { y: inner.y + y as u16, height: 1, ..inner };
            ctx.hits.add(line, Hit::Row(index));
            let mut pen = Pen::new(buf, line, 0);
            pen.skip(1);
            for (text, style) in &rows[index].pieces {
                pen.cut(text, *style);
            }
            if index == self.window.cursor {
                buf.set_style(line.intersection(buf.area), ctx.selection());
            }
        }
    }
}

fn rows(ctx: DrawContext, wide: u16) -> Vec<RouteRow> {
    let mut rows = vec![];
    for group in &ctx.read_model.rules.routing.groups {
        group_rows(&mut rows, group, ctx, wide);
    }
    route_rows(&mut rows, ctx);
    fallback_rows(&mut rows, ctx);
    last_rows(&mut rows, ctx, wide);
    if rows.is_empty() {
        for text in [
            "No groups, routes or fallbacks: every call goes to the server that provides the tool.",
            "",
            "A group combines the same tools of several servers. A route sends the calls of matching tools to another server.",
            "A fallback answers when a call has failed. See config.example.toml for examples.",
        ] {
            rows.push(RouteRow { pieces: vec![(text.into(), ctx.theme.muted)], ..RouteRow::default() });
        }
    }
    rows
}

fn heading(rows: &mut Vec<RouteRow>, text: &str, more: &str, ctx: DrawContext) {
    if !rows.is_empty() {
        rows.push(RouteRow::default());
    }
    let pieces = vec![(text.to_owned(), ctx.theme.accent.add_modifier(Modifier::BOLD)), (format!("  {more}"), ctx.theme.muted)];
    rows.push(RouteRow { pieces, ..RouteRow::default() });
}

/// The columns of members that fit.
struct Columns {
    name: usize,
    weight: bool,
    state: usize,
    breaker: usize,
    stats: bool,
    bar: usize,
}

impl Columns {
    fn new(read_model: &ConsoleState, group: &Group, wide: u16) -> Columns {
        let name = group.members.iter().map(|m| usize::from(width(m.server.as_str()))).max().unwrap_or(6).clamp(6, 20) + 2;
        let weight = matches!(group.strategy, Strategy::Weighted) && !read_model.servers.is_empty();
        match wide {
            0..=59 => Columns { name, weight: false, state: 3, breaker: 14, stats: false, bar: 0 },
            60..=99 => Columns { name, weight, state: 12, breaker: 16, stats: false, bar: 4 },
            100..=139 => Columns { name, weight, state: 14, breaker: 18, stats: true, bar: 10 },
            _ => Columns { name, weight, state: 20, breaker: 20, stats: true, bar: 24 },
        }
    }
}

fn group_rows(rows: &mut Vec<RouteRow>, group: &Group, ctx: DrawContext, wide: u16) {
    let (theme, read_model) = (ctx.theme, ctx.read_model);
    let tools = read_model.group_tools(&group.id);
    let sticky = match &group.strategy {
        Strategy::Sticky { argument } => format!(" by {argument}"),
        _ => String::new(),
    };
    let hidden = if group.members_listed { "" } else { " · members' tools hidden" };
    let more =
        format!("replicas · {}{sticky} · {} as {}_…{hidden}", group.strategy.word(), counted(tools.len(), "tool"), group.namespace());
    heading(rows, &format!("⊞ {}", group.id), &more, ctx);
    let columns = Columns::new(read_model, group, wide);
    let mut head = format!("  {:<w$}", "member", w = columns.name + 2);
    if columns.weight {
        head.push_str(&format!("{:>7} ", "weight"));
    }
    let state = if columns.state > 4 { "state" } else { "" };
    head.push_str(&format!("{state:<s$}{:<b$}{:>9} ", "breaker", "in flight", s = columns.state, b = columns.breaker));
    if columns.stats {
        head.push_str(&format!("{:>9} {:>9} {:>8} ", "p50", "p95", "failed"));
    }
    head.push_str("  latest calls");
    rows.push(RouteRow { pieces: vec![(head, theme.muted)], ..RouteRow::default() });
    let first_choices: Vec<&ServerId> =
        read_model.routed.iter().filter(|(_, _, d)| d.group.as_ref() == Some(&group.id)).filter_map(|(_, _, d)| d.order.first()).collect();
    for member in &group.members {
        let count = first_choices.iter().filter(|id| ***id == member.server).count();
        rows.push(member_row(&member.server, member.weight, (count, first_choices.len()), &columns, ctx));
    }
    for (tool, members, differ) in &tools {
        if *differ {
            for text in replicas::conflict(&tool.name, members) {
                let indent = " ".repeat(2 + text.len() - text.trim_start().len());
                for row in wrap(text.trim_start(), wide.saturating_sub(6)) {
                    rows.push(RouteRow { pieces: vec![(format!("{indent}{row}"), theme.warn)], ..RouteRow::default() });
                }
            }
        }
    }
}

fn member_row(id: &ServerId, weight: u32, (count, all): (usize, usize), columns: &Columns, ctx: DrawContext) -> RouteRow {
    let theme = ctx.theme;
    let target = RouteTarget::Server(id.clone());
    let Some(server) = ctx.read_model.server(id) else {
        let pieces = vec![(format!("  ? {:<w$}", id.as_str(), w = columns.name), theme.muted), ("unknown server".into(), theme.warn)];
        return RouteRow { pieces, target };
    };
    let (glyph, style) = status_dot(&server.phase, theme);
    let cut = |text: &str, room: usize| crate::domain::text::middle(text, room.saturating_sub(1)).into_owned();
    let pad = |text: String, room: usize| format!("{text}{}", " ".repeat(room.saturating_sub(usize::from(width(&text)))));
    let mut pieces = vec![(format!("  {glyph} "), style), (pad(cut(id.as_str(), columns.name), columns.name), theme.accent)];
    if columns.weight {
        pieces.push((format!("{weight:>7} "), theme.text));
    }
    let word = if columns.state > 4 { server.phase.word() } else { "" };
    pieces.push((pad(cut(word, columns.state), columns.state), style));
    let policy = &server.spec.policy.breaker;
    let (words, style) = breaker::words(&server.breaker, policy, ctx.now, theme);
    pieces.push((pad(cut(&words, columns.breaker), columns.breaker), style));
    let busy = if server.stats.in_flight == 0 { theme.muted } else { theme.running };
    pieces.push((format!("{:>9} ", server.stats.in_flight), busy));
    if columns.stats {
        let time = |p| server.stats.percentile(p).map_or_else(|| "·".to_owned(), short);
        pieces.push((format!("{:>9} {:>9} ", time(50.0), time(95.0)), theme.text));
        let style = if server.stats.failed > 0 { theme.fail } else { theme.muted };
        pieces.push((format!("{:>6.0} % ", server.stats.failure_rate() * 100.0), style));
    }
    if let Some(share) = (count * 100).checked_div(all) {
        let full = if count == 0 { 0 } else { (count * columns.bar / all).max(1).min(columns.bar) };
        pieces.push((format!("  {}", "█".repeat(full)), theme.accent));
        pieces.push(("░".repeat(columns.bar - full), theme.muted));
        pieces.push((format!(" {count} · {share} %"), theme.text));
    } else {
        pieces.push(("  no calls yet".into(), theme.muted));
    }
    RouteRow { pieces, target }
}

fn route_rows(rows: &mut Vec<RouteRow>, ctx: DrawContext) {
    let (theme, read_model) = (ctx.theme, ctx.read_model);
    let routes = &read_model.rules.routing.routes;
    if routes.is_empty() {
        return;
    }
    heading(rows, "Routes", "first match applies", ctx);
    let wide = routes.iter().map(|route| usize::from(width(route.matches.text()))).max().unwrap_or(0).clamp(8, 40);
    for (index, route) in routes.iter().enumerate() {
        // The first matching route takes a tool.
        let first = |name: &str, id: &ServerId| {
            routes.iter().position(|r| r.only.as_ref().is_none_or(|only| only.contains(id)) && r.matches.matches(name))
        };
        let matched = read_model.names.iter().filter(|(name, tool)| first(name, &tool.server) == Some(index)).count();
        let group = read_model.group(&route.to).is_some();
        let known = read_model.server(&route.to).is_some() || group;
        let kind = if group { "group" } else { "server" };
        let pattern = route.matches.text();
        let mut pieces = vec![
            (format!("  {pattern}{}", " ".repeat(wide.saturating_sub(usize::from(width(pattern))))), theme.text),
            ("  → ".into(), theme.muted),
            (route.to.to_string(), theme.accent),
        ];
        if known {
            pieces.push((format!("  {kind} · {}", counted(matched, "tool")), theme.muted));
        } else {
            pieces.push(("  unknown server or group".into(), theme.warn));
        }
        let target = if known && !group { RouteTarget::Server(route.to.clone()) } else { RouteTarget::Nothing };
        rows.push(RouteRow { pieces, target });
    }
}

fn fallback_rows(rows: &mut Vec<RouteRow>, ctx: DrawContext) {
    let theme = ctx.theme;
    let rules: Vec<_> = ctx.read_model.rules.tools.iter().filter(|rule| !rule.fallback.is_empty()).collect();
    if rules.is_empty() {
        return;
    }
    heading(rows, "Fallbacks", "tried in this order after a failure", ctx);
    let wide = rules.iter().map(|rule| usize::from(width(rule.matches.text()))).max().unwrap_or(0).clamp(8, 40);
    for rule in rules {
        let pattern = rule.matches.text();
        let mut pieces = vec![(format!("  {pattern}{}", " ".repeat(wide.saturating_sub(usize::from(width(pattern))))), theme.text)];
        for fallback in &rule.fallback {
            pieces.push(("  ↳ ".into(), theme.muted));
            pieces.push((fallback.words(), theme.accent));
        }
        rows.push(RouteRow { pieces, ..RouteRow::default() });
    }
}

/// Adds the latest routing decisions, newest first: target, reason and the server that answered.
fn last_rows(rows: &mut Vec<RouteRow>, ctx: DrawContext, wide: u16) {
    let (theme, read_model) = (ctx.theme, ctx.read_model);
    if read_model.routed.is_empty() {
        return;
    }
    heading(rows, "Latest calls", "newest first", ctx);
    let (name, server) = if wide < 100 { (18, 12) } else { (30, 18) };
    let fixed = |text: &str, room: usize| {
        let text = crate::domain::text::middle(&crate::domain::text::visible(text), room).into_owned();
        format!("{text}{}", " ".repeat(room.saturating_sub(usize::from(width(&text)))))
    };
    for (at, id, decision) in read_model.routed.iter().rev() {
        let call = read_model.call(*id);
        let asked = call.map_or_else(|| id.to_string(), |call| read_model.call_name(&call.spec.operation));
        let first = decision.order.first().map_or("nowhere", |id| id.as_str());
        let mut pieces = vec![
            (format!("  {}  ", &read_model.epoch.time_of_day(*at)[..12]), theme.muted),
            (fixed(&asked, name), theme.text),
            (" → ".into(), theme.muted),
            (fixed(first, server), theme.accent),
        ];
        match call.and_then(|call| call.settled.as_ref().map(|settled| (call, settled))) {
            Some((call, settled)) => {
                let (glyph, style) = outcome_glyph(&settled.outcome, theme);
                pieces.push((format!(" {glyph} "), style));
                if call.server().as_str() != first {
                    pieces.push((format!("by {} ", call.server()), theme.warn));
                }
            }
            None if call.is_some() => pieces.push((format!(" {} ", ctx.spinner()), theme.running)),
            None => pieces.push(("   ".into(), theme.muted)),
        }
        let by = match (&decision.group, &decision.rule) {
            (Some(group), Some(rule)) => format!("{group} by {rule}: "),
            (Some(group), None) => format!("{group}: "),
            _ => String::new(),
        };
        pieces.push((format!("{by}{}", decision.why), theme.muted));
        for (server, why) in &decision.passed_over {
            pieces.push((format!(" · skipped {server}: {why}"), theme.warn));
        }
        let target = if call.is_some() { RouteTarget::Call(*id) } else { RouteTarget::Nothing };
        rows.push(RouteRow { pieces, target });
    }
}
