//! The line under the header that is there only while something is wrong that concerns everything: faults made by hand,
//! a store of answers that does not answer.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    style::{Modifier, Style},
};

use crate::{
    domain::read_model::ConsoleState,
    tui::{
        action::Action,
        keymap::Context,
        widget::paint::{Pen, width},
    },
};

use super::DrawContext;

/// Faults that are made by hand now.
pub fn faults(read_model: &ConsoleState) -> usize {
    read_model.servers.iter().map(|server| server.faults.len()).sum()
}

/// Whether there is something to say.
pub fn wanted(read_model: &ConsoleState) -> bool {
    faults(read_model) > 0 || read_model.cache.trouble.is_some()
}

/// Draws the line.
pub fn draw(look: DrawContext, area: Rect, buf: &mut Buffer) {
    let (theme, read_model) = (look.theme, look.read_model);
    let loud = |style: Style| style.add_modifier(Modifier::REVERSED | Modifier::BOLD);
    let mut pen = Pen::new(buf, area, 0);
    pen.skip(1);
    let count = faults(read_model);
    if count > 0 {
        pen.put(&format!(" ‼ FAULTS INJECTED: {count} "), loud(theme.fail)).skip(1);
        let key = look.keys.key(&[Context::Servers, Context::Health], Action::StopFaults).unwrap_or_default();
        let ends = format!(" {key} ends them ");
        // The way out is always told; of the faults themselves as many as fit.
        let keep = width(&ends) + if read_model.cache.trouble.is_some() { 24 } else { 0 };
        let mut told = 0;
        for server in &read_model.servers {
            for (tool, fault) in &server.faults {
                let name = tool.as_ref().map_or_else(|| server.id().to_string(), |tool| format!("{} › {tool}", server.id()));
                let words = format!("{name} {}  ", fault.words());
                if width(&words) + keep + 4 <= pen.left() {
                    pen.put(&words, theme.fail);
                    told += 1;
                }
            }
        }
        if told < count && told > 0 {
            pen.put("…", theme.fail);
        }
        if !key.is_empty() {
            pen.put(&format!(" {key}"), theme.key).put(" ends them  ", theme.muted);
        }
    }
    if let Some(trouble) = &read_model.cache.trouble {
        pen.put(" ⚠ CACHE ", loud(theme.warn)).skip(1);
        let words = format!("{}: {trouble}; answers come from the servers meanwhile", read_model.cache.store);
        let room = pen.left();
        pen.put_middle(&words, room, theme.warn);
    }
}
