//! Calls as one HTML page with a waterfall. The page needs no network and runs no script.

use super::{arguments, failed, indented, result, timestamp};
use crate::domain::{journal::CallRecord, text::visible_lines, time};

const STYLE: &str = "\
:root{color-scheme:light dark;--bar:#3b82f6;--bad:#dc2626;--line:#8884}\
body{font:14px/1.45 system-ui,sans-serif;margin:2rem auto;max-width:72rem;padding:0 1rem}\
h1{font-size:1.3rem}details{border-bottom:1px solid var(--line)}\
summary{display:grid;grid-template-columns:13rem 14rem 8rem 5rem 1fr;gap:.75rem;padding:.3rem 0;cursor:pointer;align-items:center}\
summary span{overflow:hidden;text-overflow:ellipsis;white-space:nowrap}\
.lane{position:relative;height:.9rem;background:#8882}\
.lane i{position:absolute;height:100%;min-width:2px;background:var(--bar)}\
.failed .lane i{background:var(--bad)}.failed .outcome{color:var(--bad)}\
pre{background:#8881;padding:.6rem;overflow:auto;max-height:24rem;white-space:pre-wrap;overflow-wrap:anywhere}";

/// Returns the page.
pub fn render(calls: &[CallRecord]) -> String {
    let begin = calls.iter().map(|call| call.summary.unix_ms).min().unwrap_or_default();
    let end = calls.iter().map(|call| call.summary.unix_ms as f64 + call.summary.took_us as f64 / 1e3).fold(begin as f64, f64::max);
    let span = (end - begin as f64).max(0.001);
    let count = calls.iter().filter(|call| failed(call)).count();
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Calls</title><style>{STYLE}</style></head><body>\n\
         <h1>{} calls, {count} failed</h1>\n<p>From {} in {}.</p>\n",
        calls.len(),
        timestamp(begin),
        time::short(std::time::Duration::from_secs_f64(span / 1e3)),
    );
    for call in calls {
        out.push_str(&section(call, begin, span));
    }
    out.push_str("</body></html>\n");
    out
}

fn section(call: &CallRecord, begin: u64, span: f64) -> String {
    let summary = &call.summary;
    let left = (summary.unix_ms - begin) as f64 / span * 100.0;
    let width = (summary.took_us as f64 / 1e3 / span * 100.0).clamp(0.05, 100.0);
    let mut out = format!(
        "<details class=\"call{}\"><summary><span>{}</span><span>{}</span><span class=\"outcome\">{}</span><span>{}</span>\
         <span class=\"lane\"><i style=\"left:{left:.3}%;width:{width:.3}%\"></i></span></summary>\n<p>Server {}, call {}, {} attempts{}.</p>\n",
        if failed(call) { " failed" } else { "" },
        timestamp(summary.unix_ms),
        escape(&summary.name),
        escape(summary.outcome.words()),
        time::short(summary.took()),
        escape(summary.server.as_str()),
        summary.call,
        summary.attempts,
        summary.trace.map(|trace| format!(", trace {trace}")).unwrap_or_default(),
    );
    let error = summary.error.clone().unwrap_or_default();
    for (title, text) in [("Error", error), ("Arguments", arguments(call)), ("Result", result(call))] {
        if !text.is_empty() {
            out.push_str(&format!("<h2>{title}</h2><pre>{}</pre>\n", escape(&indented(&text))));
        }
    }
    out.push_str("</details>\n");
    out
}

/// Returns text for HTML, with control characters made visible.
fn escape(text: &str) -> String {
    let mut out = String::new();
    for c in visible_lines(text).chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}
