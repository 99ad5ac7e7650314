//! Draws the model: header, panes, dialogs, footer. Changes nothing but the scroll offsets of widgets.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    style::{Modifier, Style},
};

use crate::domain::{
    plural::counted,
    server::Phase,
    text::{middle, visible},
    time::short,
};

use super::{
    action::{Action, Group},
    dialog::Dialog,
    hits::{Hit, Owner},
    keymap::{Context, show},
    model::Model,
    overlay::toast,
    pane::{activity, banner, breaker},
    tour,
    view::ViewId,
    widget::{
        paint::{Pen, width},
        status_dots, tabs,
    },
};

/// The most cells of the name of an environment in the header.
const ENVIRONMENT: usize = 20;

/// Draws the screen.
pub fn draw(model: &mut Model, buf: &mut Buffer) {
    let layout = model.layout.clone();
    model.session.hits.start(model.dialogs.len());
    model.session.covered =
        !model.dialogs.is_empty() || !model.toasts.is_empty() || model.choosing().is_some() || model.tour_step().is_some();
    let screen = layout.screen.intersection(buf.area);
    if layout.too_small {
        Pen::new(buf, screen, 0).put("too small", model.session.theme.muted);
        return model.session.theme.ground(buf);
    }
    header(model, layout.header, buf);
    if let Some(place) = layout.banner {
        banner::draw(model.look(), place, buf);
    }
    if let Some(place) = layout.lamps {
        lamp_row(model, place, buf);
    }
    if let Some(place) = layout.activity {
        model.session.hits.enter(Owner::Activity, place);
        activity::draw(&model.activity, model.look(), place, buf);
    }
    let (view, state, ctx) = model.view_mut();
    view.draw(state, ctx, buf);
    footer(model, layout.footer, buf);
    let body = Rect { y: 1, height: screen.height.saturating_sub(2), ..screen };
    draw_dialogs(model, body, buf);
    // A dialog must be readable completely. The toasts are hidden until it closes.
    if model.dialogs.is_empty() {
        toast::draw(&model.toasts, &model.session.theme, body, buf);
    }
    if let Some((form, look)) = model.choosing() {
        form.draw_list(body, buf, look.theme, look.hits);
    }
    if let Some(step) = model.tour_step() {
        tour::draw(step, &model.session.theme, body, buf);
    }
    model.session.theme.ground(buf);
}

/// Returns the window title: the configuration and its state.
pub fn window_title(model: &Model) -> String {
    let read_model = model.read_model();
    let bad = read_model.servers.iter().filter(|s| matches!(*s.phase, Phase::Failed { .. } | Phase::Reconnecting { .. })).count();
    let mut title = "switchboard".to_owned();
    if !model.session.title.is_empty() {
        title.push_str(&format!(" · {}", model.session.title));
    }
    if bad > 0 {
        title.push_str(&format!(" · {bad} down"));
    }
    match banner::faults(read_model) {
        0 => {}
        1 => title.push_str(" · 1 FAULT INJECTED"),
        n => title.push_str(&format!(" · {n} FAULTS INJECTED")),
    }
    title
}

fn draw_dialogs(model: &mut Model, area: Rect, buf: &mut Buffer) {
    let above_footer = Rect { height: model.layout.footer.y, ..model.layout.screen };
    let look = model.session.context(true);
    for dialog in model.dialogs.iter_mut() {
        // A dialog takes the clicks next to it as well. The footer shows its keys.
        look.hits.enter(Owner::Dialog, above_footer);
        dialog.draw(look, area, buf);
    }
}

/// Returns the header badge for waiting questions, with the key that opens the inbox.
fn inbox_badge(model: &Model) -> Option<String> {
    let (asks, key) = (model.read_model().asks.len(), model.inbox_key());
    (asks > 0).then(|| format!(" {} {key} ", counted(asks, "question")))
}

fn header(model: &Model, area: Rect, buf: &mut Buffer) {
    let (theme, read_model) = (&model.session.theme, model.read_model());
    let mut pen = Pen::new(buf, area, 0);
    pen.skip(1);
    let pieces = counters(model);
    let pieces: Vec<(&str, Style)> = pieces.iter().map(|(t, s)| (t.as_str(), *s)).collect();
    // The inbox is the most urgent item of the line, so it is drawn even if the rest is cut off.
    if let Some(badge) = inbox_badge(model) {
        let before = pen.left();
        pen.right(&[(&badge, theme.warn.add_modifier(Modifier::REVERSED)), (" ", theme.text)]);
        // Without the blank at its end.
        model
            .session
            .hits
            .add(Rect { width: (before - pen.left()).saturating_sub(1), x: pen.x() + pen.left(), height: 1, y: area.y }, Hit::Inbox);
    }
    // For screens without room for the banner.
    if let faults @ 1.. = banner::faults(read_model)
        && model.layout.banner.is_none()
    {
        let badge = format!(" ‼ {faults} INJECTED ");
        pen.right(&[(&badge, theme.fail.add_modifier(Modifier::REVERSED | Modifier::BOLD)), (" ", theme.text)]);
    }
    let (x, room) = model.tab_bar();
    let tabs: u16 = model.tabs().iter().map(|(key, word)| width(key) + width(word) + 3).sum();
    // The names of the views are more useful than the last figures.
    let mut shown = pieces.as_slice();
    // On a narrow screen the tabs leave them this much.
    let most = if model.layout.narrow { area.width.saturating_sub(room + 1) } else { pen.left().saturating_sub(x + tabs) };
    while shown.len() > 1 && shown.iter().map(|(text, _)| width(text)).sum::<u16>() > most {
        shown = &shown[..shown.len() - 1];
    }
    pen.right(shown);
    if x > 1 {
        pen.put("switchboard", theme.accent.add_modifier(Modifier::BOLD)).to(area.x + x);
    }
    let places = tabs::draw(&mut pen, &model.tabs(), model.tab(), room, theme);
    places.into_iter().zip(ViewId::ALL).for_each(|(place, view)| model.session.hits.add(place, Hit::View(view)));
}

/// Formats `staging  ● 4  ◐ 1  ✕ 1   2 running   p95 43 ms   0.8 % failed`, without items that are zero.
fn counters(model: &Model) -> Vec<(String, Style)> {
    let (theme, read_model) = (&model.session.theme, model.read_model());
    let mut pieces: Vec<(String, Style)> = Vec::new();
    if let Some(name) = &model.session.environments.current {
        pieces.push((format!(" {}  ", middle(&visible(name), ENVIRONMENT)), theme.accent));
    }
    let mut lamps: Vec<(&str, Style, usize)> = Vec::new();
    for server in &read_model.servers {
        let (glyph, style) = breaker::status_dot_of(server, theme);
        match lamps.iter_mut().find(|(g, s, _)| *g == glyph && *s == style) {
            Some((_, _, count)) => *count += 1,
            None => lamps.push((glyph, style, 1)),
        }
    }
    for (glyph, style, count) in lamps {
        pieces.push((format!("{glyph} {count}  "), style));
    }
    if read_model.running > 0 {
        pieces.push((format!(" {} running  ", read_model.running), theme.running));
    }
    if !model.layout.narrow {
        if let Some(p95) = read_model.stats.percentile(95.0) {
            pieces.push((format!(" p95 {}  ", short(p95)), theme.text));
        }
        if read_model.settled_total > 0 {
            let rate = read_model.stats.failure_rate() * 100.0;
            pieces.push((format!(" {rate:.1} % failed "), if rate > 0.0 { theme.fail } else { theme.muted }));
        }
    }
    pieces
}

fn lamp_row(model: &Model, area: Rect, buf: &mut Buffer) {
    let theme = &model.session.theme;
    let row: Vec<status_dots::StatusDot> = model
        .read_model()
        .servers
        .iter()
        .map(|s| {
            let (glyph, style) = breaker::status_dot_of(s, theme);
            (glyph, style, s.id().as_str(), s.stats.in_flight)
        })
        .collect();
    status_dots::draw(buf, area, &row, theme.text, theme.muted);
}

fn footer(model: &Model, area: Rect, buf: &mut Buffer) {
    let theme = &model.session.theme;
    model.session.hits.enter(Owner::Frame, area);
    let mut pen = Pen::new(buf, area, 0);
    pen.skip(1);
    if !model.sequence.is_empty() {
        pen.put(&show(&model.sequence), theme.key).put(" …", theme.muted).skip(3);
        for (key, action) in model.session.keymap.continuations(model.contexts(), &model.sequence) {
            if !model.is_enabled(action) || width(&key) + width(model.label(action)) + 1 > pen.left() {
                continue;
            }
            let start = pen.x();
            pen.put(&key, theme.key).skip(1).put(model.label(action), theme.muted);
            model.session.hits.add(pen.since(start), Hit::Key(action));
            pen.skip(3);
        }
        return;
    }
    if model.layout.screen.width >= 100 && !model.session.title.is_empty() {
        pen.right(&[("  ", theme.muted), (&model.session.title, theme.muted), (" ", theme.muted)]);
    }
    let (last, first): (Vec<Hint>, Vec<Hint>) = hints(model).into_iter().partition(|hint| LAST.contains(&hint.action));
    let wide = |hint: &Hint| width(&hint.key) + width(hint.label) + 4;
    // Help, palette and quit are always shown; the hints of the pane fill the rest.
    let mut room = last.iter().fold(pen.left().saturating_add(3), |room, hint| room.saturating_sub(wide(hint)));
    let mut shown = vec![];
    for hint in first {
        match room.checked_sub(wide(&hint)) {
            Some(rest) => room = rest,
            None => break,
        }
        shown.push(hint);
    }
    for hint in shown.iter().chain(&last) {
        if wide(hint) > pen.left() + 3 {
            break;
        }
        let start = pen.x();
        pen.put(&hint.key, theme.key).skip(1).put(hint.label, theme.muted);
        if !hint.prefix {
            model.session.hits.add(pen.since(start), Hit::Key(hint.action));
        }
        pen.skip(3);
    }
}

/// The hints at the end of the footer that are always shown.
const LAST: [Action; 3] = [Action::Palette, Action::Help, Action::Quit];

/// A key and its label.
struct Hint {
    key: String,
    action: Action,
    label: &'static str,
    /// Whether the key is followed by another one.
    prefix: bool,
}

/// The label of a key that is followed by another one.
const PREFIX: &str = "breakers, faults …";

/// Returns the keys that are enabled here, those of the pane first, then navigation.
fn hints(model: &Model) -> Vec<Hint> {
    if model.dialogs.top().is_some_and(Dialog::shows_keys) {
        return vec![];
    }
    let contexts = model.contexts();
    let mut hints: Vec<Hint> = Vec::new();
    // A value's own keys are as relevant as those of its pane, also those of a table.
    let two = contexts.get(1) == Some(&Context::Value) || contexts.first() == Some(&Context::Grid);
    let (near, wide) = contexts.split_at(if two { 2 } else { 1 });
    for (key, action) in near.iter().flat_map(|c| model.session.keymap.hints(*c)) {
        let shown = action.group() != Group::Move
            && !matches!(action, Action::NextPane | Action::PreviousPane | Action::FoldAll | Action::UnfoldAll);
        if !(shown || action == Action::Open) || !model.is_enabled(action) {
            continue;
        }
        match key.split_once(' ') {
            // The footer lists what follows once the prefix is pressed.
            Some((first, _)) if hints.iter().any(|hint| hint.prefix && hint.key == first) => {}
            Some((first, _)) => hints.push(Hint { key: first.to_owned(), action, label: PREFIX, prefix: true }),
            None => hints.push(Hint { key, action, label: model.label(action), prefix: false }),
        }
    }
    if model.dialogs.is_empty() {
        for action in [
            Action::Cancel,
            Action::NextPane,
            Action::Welcome,
            Action::Filter,
            Action::SendAgain,
            Action::Palette,
            Action::Help,
            Action::Zoom,
            Action::Quit,
        ] {
            let key = model.session.keymap.key(contexts, action);
            // With servers, help and palette are enough to find the rest.
            let wanted = action != Action::Welcome || model.read_model().servers.is_empty();
            if let Some(key) = key.filter(|_| wanted && model.is_enabled(action) && !(wide.is_empty() && near[0] == Context::Filter)) {
                // A key that the pane has bound itself has another meaning here.
                if !hints.iter().any(|hint| hint.action.label() == action.label() || hint.key == key) {
                    hints.push(Hint { key, action, label: model.label(action), prefix: false });
                }
            }
        }
    }
    hints
}
