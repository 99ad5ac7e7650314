//! The detail of a row of the history: its facts, its arguments and its result, which are read from the store.

use ratatui::{buffer::Buffer, layout::Rect};

use crate::{
    domain::{
        body::Body,
        call::Operation,
        id::CallId,
        journal::CallRecord,
        json::Json,
        time::{date, short, size},
    },
    tui::{
        background::JobKind,
        rows::{Row, RowKind, Rows},
        widget::{
            paint::{Pen, padded, pane},
            window::Window,
        },
    },
};

use super::{DrawContext, RowDetail, TextView, outcome};

/// A call of the history that is shown.
pub(super) struct PastCall {
    call: CallId,
    record: Reading,
}

/// How far a call was read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reading {
    Wanted,
    Requested,
    Done,
    Gone,
}

impl PastCall {
    pub(super) fn new(call: CallId) -> PastCall {
        PastCall { call, record: Reading::Wanted }
    }

    /// Returns whether the call is being read.
    pub(super) fn waits(&self) -> bool {
        self.record == Reading::Requested
    }
}

impl RowDetail {
    /// Returns the call of the history to read; each call once.
    pub fn wanted_record(&mut self) -> Option<CallId> {
        let past = self.past.as_mut().filter(|past| past.record == Reading::Wanted)?;
        past.record = Reading::Requested;
        Some(past.call)
    }

    /// Shows arguments and result of a call of the history, if it is the one that is shown; `None` if it was deleted.
    pub fn set_record(&mut self, call: CallId, record: Option<&CallRecord>) {
        let Some(past) = self.past.as_mut().filter(|past| past.call == call) else { return };
        past.record = if record.is_some() { Reading::Done } else { Reading::Gone };
        if let Some(record) = record {
            self.parse(JobKind::Frame(Body::from(document(record))));
        }
    }

    pub(super) fn draw_past(&mut self, row: &Row, rows: &Rows, ctx: DrawContext, area: Rect, buf: &mut Buffer) {
        let theme = ctx.theme;
        let title = if ctx.focused { theme.focus } else { theme.text };
        let word = if row.kind() == RowKind::Lifecycle { "Session" } else { "Call" };
        let about = rows.name(row.key).map_or_else(String::new, |name| format!(" ── {} · {}", name.server, name.tool));
        let epoch = &ctx.read_model.epoch;
        let local = i64::try_from(row.unix_ms(epoch) / 1_000).unwrap_or_default() + i64::from(epoch.utc_offset_s);
        let began = format!("{} {}", date(u64::try_from(local).unwrap_or_default()), row.time_of_day(epoch));
        let inner = pane(buf, area, &[(word, title), (&about, theme.accent)], &[(&began, theme.muted)], ctx.focused, theme);
        let inner = padded(inner);
        let (glyph, words, state) = outcome(row, None, ctx);
        let mut out = TextView::new(theme, inner.width);
        out.field("outcome", &format!("{glyph} {words} in {}", short(row.end(ctx.now).since(row.at))), state);
        out.field("bytes", &format!("{} sent · {} received", size(u64::from(row.sent)), size(u64::from(row.got))), theme.text);
        let session = self.row.and_then(|id| rows.session_of(id));
        let by = row.origin().map_or("engine", |origin| origin.word());
        let of = session.map_or_else(String::new, |session| format!(" · {} session {}", session.kind.word(), session.session));
        out.field("by", &format!("{by}{of}"), theme.text);
        let top = (out.len() as u16).min(inner.height);
        out.draw(buf, Rect { height: top, ..inner }, Window::default());
        let rest = Rect { y: inner.y.saturating_add(top + 1), height: inner.height.saturating_sub(top + 1), ..inner };
        match (&mut self.view, self.past.as_ref().map(|past| past.record)) {
            (Some(view), _) => view.draw(rest, buf, theme, ctx.focused, ctx.hits),
            (None, Some(Reading::Gone)) => drop(Pen::new(buf, rest, 0).put("The history has no arguments and result of it.", theme.muted)),
            (None, _) => drop(Pen::new(buf, rest, 0).put("Reading …", theme.muted)),
        }
    }
}

/// Returns error, arguments and result of a call as one JSON document.
fn document(record: &CallRecord) -> String {
    let arguments = match &record.spec.operation {
        Operation::Tool { arguments, .. } | Operation::Prompt { arguments, .. } => Some(arguments),
        Operation::Complete { params, .. } | Operation::Raw { params, .. } => Some(params),
        Operation::Resource { .. } => None,
    };
    // A tree of a large body would delay a frame. Text that is not JSON is shown as a string.
    let value = |body: &Body| match serde_json::from_slice::<serde::de::IgnoredAny>(body.bytes()) {
        Ok(_) => body.text().into_owned(),
        Err(_) => Json::String(body.text().into_owned()).text(),
    };
    let error = record.summary.error.clone().map(|error| format!("\"error\":{}", Json::String(error).text()));
    let bodies = [("arguments", arguments), ("result", record.result.as_ref())];
    let bodies = bodies.into_iter().filter_map(|(name, body)| Some(format!("\"{name}\":{}", value(body?))));
    format!("{{{}}}", error.into_iter().chain(bodies).collect::<Vec<_>>().join(","))
}
