//! Lists of a server: reads all pages within the limits.

use std::{collections::HashSet, sync::Arc};

use serde_json::json;
use tokio::time::{Instant, timeout_at};

use super::McpSession;
use crate::{
    domain::{
        body::Body,
        bounds,
        call::{Failure, FailureKind},
        catalog::{BrokenList, RawLists, RefusedTool},
        frame::{Anomaly, AnomalyKind},
        server::{Era, Transport},
        time::{short, size},
    },
    engine::ports::Request,
    mcp::{
        link::Quiet,
        pages::{self, Cut, Next},
    },
    protocol::headers::mirrors,
};

impl McpSession {
    /// Reads all pages of one list within the limits; warnings and the TTL of the list go to `raw`.
    ///
    /// The lists of one server take at most [`Limits::message_bytes`](crate::domain::server::Limits) in total.
    pub(super) async fn list(&self, method: &str, key: &'static str, raw: &mut RawLists, until: Instant) -> Result<Vec<Body>, Failure> {
        let (limits, mut items, mut cursors) = (self.spec.limits, Vec::new(), HashSet::new());
        // A list whose changes are reported does not need its TTL.
        let reports_changes = self.info.declares(&[method.split('/').next().unwrap_or_default(), "listChanged"]);
        let ages = self.info.era == Era::Modern && !reports_changes;
        let mut cursor: Option<String> = None;
        for page in 1.. {
            let params = cursor.as_ref().map(|c| Body::json(&json!({"cursor": c}))).unwrap_or_default();
            let request = Request { method: method.into(), params, repeatable: true, ..Request::default() };
            let meta = self.meta();
            let asking = self.link.request(request, &meta, Arc::new(Quiet("listing took too long")));
            let late =
                |_| Err(Failure::after_send(FailureKind::Timeout, format!("listing took longer than {}", short(self.spec.timeouts.list))));
            let reply = match timeout_at(until, asking).await.unwrap_or_else(late) {
                Ok(reply) => reply,
                Err(failure) if page == 1 => return Err(failure),
                Err(failure) => {
                    raw.timed_out |= failure.kind == FailureKind::Timeout;
                    self.cut_list(raw, format!("{method}: page {page} failed ({}); the list is cut there", failure.message));
                    raw.broken.push(BrokenList::new(key, format!("page {page} failed: {}", failure.message)));
                    break;
                }
            };
            let read =
                pages::read(&reply.result, key, self.info.era, limits.items - items.len(), limits.message_bytes.saturating_sub(raw.bytes));
            let found = match read {
                Ok(page) => page,
                Err(why) => return Err(Failure::after_send(FailureKind::Protocol, format!("{method}: {why}"))),
            };
            raw.bytes += found.bytes;
            items.extend(found.items);
            if ages {
                raw.ttl = [raw.ttl, found.ttl].into_iter().flatten().min();
            }
            let why = match (found.cut, found.next) {
                (Some(Cut::Items), _) | (None, Next::At(_)) if items.len() >= limits.items => format!("more than {} entries", limits.items),
                (Some(_), _) => format!("the lists of this server are over {}", size(limits.message_bytes as u64)),
                (None, Next::End) => break,
                (None, Next::TooLong(length)) => format!("the cursor after page {page} is {} long", size(length as u64)),
                (None, Next::At(_)) if page >= limits.pages => format!("more than {} pages", limits.pages),
                (None, Next::At(next)) if cursors.insert(next.clone()) => {
                    cursor = Some(next);
                    continue;
                }
                (None, Next::At(next)) => format!("the cursor {:?} came twice", bounds::cut(&next, 100)),
            };
            self.cut_list(raw, format!("{method}: {why}; the list is cut there"));
            raw.cut.push(key);
            break;
        }
        Ok(items)
    }

    /// Takes the tools with invalid header annotations out of the list: clients of the modern Streamable HTTP transport must not
    /// offer them (MCP 2026-07-28, server/tools, "x-mcp-header").
    pub(super) fn refuse_tools(&self, raw: &mut RawLists) {
        if self.info.era != Era::Modern || !matches!(self.spec.launch, Transport::Http { .. }) {
            return;
        }
        let (mut valid, mut refused) = (Vec::with_capacity(raw.tools.len()), vec![]);
        for tool in raw.tools.drain(..) {
            let [name, schema] = tool.fields(["name", "inputSchema"]).unwrap_or_default();
            match schema.map(|schema| mirrors(schema.get().as_bytes())) {
                Some(Err(invalid)) => {
                    let name = name.and_then(|name| bounds::json_text(name.get(), bounds::NAME)).unwrap_or_default();
                    refused.push(RefusedTool { name, why: invalid.to_string() });
                }
                _ => valid.push(tool),
            }
        }
        for RefusedTool { name, why } in &refused {
            let detail = format!("the tool {:?} is refused: {why}", bounds::cut(name, 200));
            self.handler.anomaly(Anomaly { kind: AnomalyKind::BadListing, detail, call: None, frame: None });
        }
        (raw.tools, raw.refused) = (valid, refused);
    }

    /// Reports that a list is incomplete.
    fn cut_list(&self, raw: &mut RawLists, detail: String) {
        self.handler.anomaly(Anomaly { kind: AnomalyKind::Pagination, detail: detail.clone(), call: None, frame: None });
        raw.warnings.push(detail);
    }

    /// Reads one of the optional lists: a failure is a warning.
    pub(super) async fn optional_list(
        &self,
        capability: &str,
        method: &str,
        key: &'static str,
        raw: &mut RawLists,
        until: Instant,
    ) -> Vec<Body> {
        if !self.info.declares(&[capability]) {
            return vec![];
        }
        if Instant::now() >= until {
            raw.warnings.push(format!("{method}: not asked, the lists before took all the time"));
            raw.broken.push(BrokenList::new(key, "not asked, the lists before took all the time"));
            return vec![];
        }
        match self.list(method, key, raw, until).await {
            Ok(items) => items,
            // Servers that declare resources often do not support templates.
            Err(failure) if failure.rpc.as_ref().is_some_and(|rpc| rpc.code == -32601) => vec![],
            Err(failure) => {
                raw.timed_out |= failure.kind == FailureKind::Timeout;
                raw.warnings.push(format!("{method} failed: {}", failure.message));
                raw.broken.push(BrokenList::new(key, failure.message));
                vec![]
            }
        }
    }
}
