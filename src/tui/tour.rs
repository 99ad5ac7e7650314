//! The tour of the demo: captions, and the actions that show what they say. The model performs them as time passes.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    style::{Modifier, Style},
    widgets::{Clear, Widget},
};

use super::{
    action::Action,
    theme::Theme,
    widget::paint::{Pen, wrap},
};

/// Something that a step does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Does {
    /// Performs an action.
    Act(Action),
    /// Types a text.
    Type(&'static str),
}

/// A step.
#[derive(Clone, Copy, Debug)]
pub struct TourStep {
    /// What it shows.
    pub caption: &'static str,
    /// What it does.
    pub does: &'static [Does],
    /// How long it stays, in seconds.
    pub seconds: u64,
}

const fn step(caption: &'static str, does: &'static [Does], seconds: u64) -> TourStep {
    TourStep { caption, does, seconds }
}

/// The tour, about two minutes.
pub const STEPS: [TourStep; 16] = {
    use Does::{Act, Type};
    [
        step("Switchboard shows the tools of many MCP servers in one tree. These six servers are built in. Any key ends the tour.", &[], 8),
        step("/ finds a tool by its name, title, description or server.", &[Act(Action::Filter), Type("query users")], 6),
        step("Enter opens its form, which is made from the tool's schema.", &[Act(Action::Open)], 6),
        step("Enter sends the call. This tool only reads and its server is trusted, so nothing is asked.", &[Act(Action::Send)], 7),
        step("The result is a tree, a table or text. t shows the next one, | filters it with a JSONPath.", &[Act(Action::FormResult)], 8),
        step("d describes what is selected: the whole description, schemas, annotations.", &[Act(Action::Describe)], 7),
        step(
            "2 shows the traffic: every call and message as it happens, with a filter language.",
            &[Act(Action::Back), Act(Action::ViewTraffic)],
            8,
        ),
        step(
            "Faults can be injected into a server: here flaky fails sometimes and answers late.",
            &[Act(Action::ViewConsole), Act(Action::Filter), Type("flaky quote"), Act(Action::Open), Act(Action::Inject)],
            7,
        ),
        step("30 % of its calls fail from now on. The banner at the top says so.", &[Act(Action::Choose)], 6),
        step("F sends a call many times, several in parallel.", &[Act(Action::Burst)], 5),
        step("Latencies and outcomes are counted while the calls run.", &[Act(Action::Choose), Act(Action::Choose)], 10),
        step(
            "3 shows the timeline: where each call spent its time, retries and fallbacks included.",
            &[Act(Action::Back), Act(Action::Back), Act(Action::ViewTimeline)],
            9,
        ),
        step(
            "4 shows the health of servers and tools. Here are the circuit breakers, which stop calls to a server that keeps failing.",
            &[Act(Action::ViewHealth), Act(Action::Breakers)],
            9,
        ),
        step("All faults are stopped again with one key.", &[Act(Action::StopFaults)], 6),
        step(
            "5 shows workflows: calls over several servers, with conditions, loops, approvals and undo. r runs one.",
            &[Act(Action::ViewWorkflows)],
            9,
        ),
        step("? lists all keys, : runs any command. The demo is yours.", &[Act(Action::ViewConsole)], 8),
    ]
};

/// Draws a caption at the bottom of `area`.
pub fn draw(at: usize, theme: &Theme, area: Rect, buf: &mut Buffer) {
    let Some(step) = STEPS.get(at) else { return };
    let wide = area.width.saturating_sub(4).min(96);
    let rows = wrap(step.caption, wide.saturating_sub(4));
    let height = (rows.len() as u16 + 2).min(area.height);
    let place = Rect { x: area.x + area.width.saturating_sub(wide) / 2, y: area.bottom().saturating_sub(height), width: wide, height };
    let place = place.intersection(buf.area);
    Clear.render(place, buf);
    buf.set_style(place, Style::new().add_modifier(Modifier::REVERSED));
    let style = theme.text.add_modifier(Modifier::REVERSED | Modifier::BOLD);
    let count = format!("{} / {} ", at + 1, STEPS.len());
    Pen::new(buf, place, 0).right(&[(&count, style)]);
    for (y, row) in rows.iter().enumerate().take(usize::from(height.saturating_sub(1))) {
        Pen::new(buf, place, y as u16 + 1).skip(2).put(row, style);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tour_takes_about_two_minutes() {
        let seconds: u64 = STEPS.iter().map(|step| step.seconds).sum();
        assert!((90..=150).contains(&seconds), "{seconds}");
    }
}
