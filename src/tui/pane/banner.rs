//! The banner: a line under the header while faults are injected or the shared response cache is unavailable.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    style::{Modifier, Style},
};

use crate::{
    state::ConsoleState,
    tui::{
        action::Action,
        keymap::Context,
        widget::paint::{Pen, width},
    },
};

use super::DrawContext;

/// Returns how many injected faults are active.
pub fn faults(read_model: &ConsoleState) -> usize {
    read_model.servers.iter().map(|server| server.faults.len()).sum()
}

/// Returns whether the banner is shown.
pub fn wanted(read_model: &ConsoleState) -> bool {
    faults(read_model) > 0 || read_model.cache.trouble.is_some()
}

/// Draws the banner.
pub fn draw(ctx: DrawContext, area: Rect, buf: &mut Buffer) {
    let (theme, read_model) = (ctx.theme, ctx.read_model);
    let emphasis = |style: Style| style.add_modifier(Modifier::REVERSED | Modifier::BOLD);
    let mut pen = Pen::new(buf, area, 0);
    pen.skip(1);
    let count = faults(read_model);
    if count > 0 {
        pen.put(&format!(" ‼ FAULTS INJECTED: {count} "), emphasis(theme.fail)).skip(1);
        let key = ctx.keys.key(&[Context::Servers, Context::Health], Action::StopFaults).unwrap_or_default();
        let stop = format!(" {key} stop ");
        // The key that stops the faults is always shown, then as many faults as fit.
        let reserved = width(&stop) + if read_model.cache.trouble.is_some() { 24 } else { 0 };
        let mut shown = 0;
        for server in &read_model.servers {
            for (tool, fault) in &server.faults {
                let name = tool.as_ref().map_or_else(|| server.id().to_string(), |tool| format!("{} › {tool}", server.id()));
                let words = format!("{name} {}  ", fault.words());
                if width(&words) + reserved + 4 <= pen.left() {
                    pen.put(&words, theme.fail);
                    shown += 1;
                }
            }
        }
        if shown < count && shown > 0 {
            pen.put("…", theme.fail);
        }
        if !key.is_empty() {
            ctx.put_key(&mut pen, Action::StopFaults, &format!(" {key}"), " stop  ");
        }
    }
    if let Some(trouble) = &read_model.cache.trouble {
        pen.put(" ⚠ CACHE ", emphasis(theme.warn)).skip(1);
        let words = format!("{}: {trouble} · responses come from the servers", read_model.cache.store);
        let room = pen.left();
        pen.put_middle(&words, room, theme.warn);
    }
}
