//! A watch: one call that is sent again at an interval, with the lines of its result that changed.

use std::time::Duration;

use ratatui::{buffer::Buffer, layout::Rect, style::Style};

use crate::{
    domain::{
        call::CallSpec,
        id::CallId,
        plural::counted,
        time::{Stamp, short},
    },
    state::CallView,
    tui::{
        action::Action,
        dialog::{Dialog, DialogOutcome},
        keymap::Context,
        pane::DrawContext,
        widget::{
            paint::{Pen, dialog, padded, scroll_bar},
            rich_text::{Line, RichText},
            window::Move,
        },
    },
};

use super::{
    compare::{Change, lines, outcome_text},
    key_row,
};

/// The shortest interval, in seconds.
pub const LEAST_SECONDS: u64 = 1;
/// The longest interval, in seconds.
pub const MOST_SECONDS: u64 = 86_400;

/// Where the current call is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Current {
    /// The next call is sent at this time.
    Due(Stamp),
    /// Submitted with this token.
    Asked(u64),
    /// In flight.
    Running(CallId),
}

/// A watch.
pub struct Watch {
    /// The call that is sent.
    pub spec: CallSpec,
    /// The display name of the call's target.
    name: String,
    every: Duration,
    current: Current,
    sent: u64,
    /// How many of the latest calls had the same result as the one before.
    unchanged: u64,
    /// The text of the latest result, its state, and when it came.
    latest: Option<(String, String, Stamp)>,
    shown: RichText,
}

impl Watch {
    /// Creates a watch; its first call is due immediately.
    pub fn new(spec: CallSpec, name: String, every: Duration, now: Stamp) -> Watch {
        Watch { spec, name, every, current: Current::Due(now), sent: 0, unchanged: 0, latest: None, shown: RichText::new(vec![]) }
    }

    /// Returns whether the next call is due.
    pub fn due(&self, now: Stamp) -> bool {
        matches!(self.current, Current::Due(at) if at <= now)
    }

    /// Notes a submitted call.
    pub fn asked(&mut self, token: u64) {
        self.current = Current::Asked(token);
        self.sent += 1;
    }

    /// Notes the id of a submitted call. Returns whether the token belongs to this watch.
    pub fn submitted(&mut self, token: u64, call: CallId) -> bool {
        let ours = self.current == Current::Asked(token);
        if ours {
            self.current = Current::Running(call);
        }
        ours
    }

    /// Notes that a call was not started. Returns whether the token belongs to this watch.
    pub fn refused(&mut self, token: u64, now: Stamp) -> bool {
        let ours = self.current == Current::Asked(token);
        if ours {
            self.current = Current::Due(now.plus(self.every));
        }
        ours
    }

    /// Returns the call in flight.
    pub fn running(&self) -> Option<CallId> {
        match self.current {
            Current::Running(call) => Some(call),
            _ => None,
        }
    }

    /// Shows the result of the call in flight, and plans the next one. `None`: its result was dropped.
    pub fn settled(&mut self, call: Option<&CallView>, now: Stamp) {
        self.current = Current::Due(now.plus(self.every));
        let Some((call, settled)) = call.and_then(|call| Some((call, call.settled.as_ref()?))) else { return };
        let text = outcome_text(call);
        let state = format!("{} · {}", settled.outcome.words(), short(settled.timings.total()));
        let before = self.latest.replace((text.clone(), state, now));
        let changes = match &before {
            Some((before, ..)) if *before == text => {
                self.unchanged += 1;
                return;
            }
            Some((before, ..)) => lines(before, &text),
            None => None,
        };
        self.unchanged = 0;
        let shown: Vec<Line> = match changes {
            Some(changes) => changes.iter().map(|(change, line)| change.line(line)).collect(),
            None => text.lines().map(|line| Change::Equal.line(line)).collect(),
        };
        self.shown.set(shown);
    }

    /// Describes the latest result: `12 calls · ok · 8 ms · unchanged for 3 calls · next in 4 s`.
    fn words(&self, now: Stamp) -> String {
        let mut words = format!("every {} · {}", short(self.every), counted(self.sent, "call"));
        if let Some((_, state, _)) = &self.latest {
            words.push_str(&format!(" · {state}"));
        }
        if self.unchanged > 0 {
            words.push_str(&format!(" · unchanged for {}", counted(self.unchanged, "call")));
        }
        match self.current {
            Current::Due(at) => words.push_str(&format!(" · next in {} s", at.since(now).as_secs())),
            Current::Asked(_) | Current::Running(_) => words.push_str(" · waiting for the response"),
        }
        words
    }
}

impl Dialog for Watch {
    fn contexts(&self) -> &'static [Context] {
        &[Context::Watch, Context::List]
    }

    fn shows_keys(&self) -> bool {
        true
    }

    fn moving(&self) -> bool {
        true
    }

    fn gives_way(&self) -> bool {
        true
    }

    fn act(&mut self, action: Action, _ctx: DrawContext) -> DialogOutcome {
        match action {
            Action::Back => DialogOutcome::Close,
            Action::SendAgain => {
                if let Current::Due(at) = &mut self.current {
                    *at = Stamp::default();
                }
                DialogOutcome::run(|model| model.watch_more())
            }
            _ => DialogOutcome::Open,
        }
    }

    fn go(&mut self, to: Move, _ctx: DrawContext) {
        self.shown.go(to);
    }

    fn draw(&mut self, ctx: DrawContext, area: Rect, buf: &mut Buffer) {
        let theme = ctx.theme;
        let wish = (110.min(area.width), area.height.saturating_sub(2).min(48));
        let title = format!("Watch {}", self.name);
        let inner = dialog(buf, area, wish, &[(&title, theme.focus)], &[], theme);
        let room = padded(inner);
        if room.height < 4 {
            return;
        }
        let style: Style = if self.latest.is_some() && self.unchanged == 0 { theme.text } else { theme.muted };
        Pen::new(buf, room, 0).put(&self.words(ctx.now), style);
        let body = Rect { y: room.y + 2, height: room.height - 3, ..room };
        match &self.latest {
            Some(_) => self.shown.draw(body, buf, theme),
            None => drop(Pen::new(buf, body, 0).put("Waiting for the first result …", theme.muted)),
        }
        scroll_bar(buf, Rect { width: inner.right().saturating_sub(body.x), ..body }, self.shown.position(), theme.muted);
        key_row(ctx, Context::Watch, |_| true, inner, buf);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tui::test_support;

    #[test]
    fn a_watch_sends_one_call_at_a_time_and_counts_equal_results() {
        let spec = CallSpec::new(test_support::tool_call("files", "read_file", "{}"), crate::domain::call::Origin::Console);
        let at = |s: u64| Stamp(s * 1_000_000_000);
        let mut watch = Watch::new(spec, "files_read_file".into(), Duration::from_secs(5), at(0));
        assert!(watch.due(at(0)));
        watch.asked(7);
        assert!(!watch.due(at(60)), "one call at a time");
        assert!(!watch.submitted(8, CallId(1)) && watch.submitted(7, CallId(1)));
        assert_eq!(watch.running(), Some(CallId(1)));
        watch.settled(None, at(10));
        assert!(!watch.due(at(14)) && watch.due(at(15)));
        watch.asked(9);
        assert!(watch.refused(9, at(20)) && !watch.due(at(24)) && watch.due(at(25)));
    }
}
