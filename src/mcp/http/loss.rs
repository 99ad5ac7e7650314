//! Session loss: which refusals say that the server does not know a session. The only place that decides it.
//!
//! Two refusals do: HTTP 404 to a request that carried a session id (MCP 2025-11-25, transports, "Session Management"), and
//! HTTP 400 with a JSON-RPC error that an SDK answers to an unknown session. Neither pages nor other messages are read for
//! it: a tool may have run and failed with any text. What an SDK's server answers to an unknown session, as of 2026:
//!
//! | SDK | answer |
//! |---|---|
//! | TypeScript, Kotlin | 404, -32001 `Session not found`; 400, -32000 `Bad Request: Server not initialized` after a restart of a server with one session; 400, -32000 `Bad Request: No valid session ID provided` from servers built on the SDK's examples |
//! | Python | 404, -32600 `Session not found`; older versions 400 and a page |
//! | C# | 404, -32001 `Session not found` |
//! | Java | 404, an error of its own |
//! | Go, Rust | 404 and a page; older Rust versions 401 and a page |
//!
//! A server that answers a page with another status is found by the health check, and connected to again.

use reqwest::StatusCode;

use crate::domain::call::{RpcError, SessionLoss};

/// The JSON-RPC errors, code and whole message, by which SDKs refuse an unknown session with HTTP 400.
const SDK_ERRORS: [(i64, &str); 3] =
    [(-32000, "Bad Request: No valid session ID provided"), (-32000, "Bad Request: Server not initialized"), (-32001, "Session not found")];

/// Classifies the refusal of a request that carried a session id.
pub(super) fn session_loss(status: StatusCode, rpc: Option<&RpcError>) -> Option<SessionLoss> {
    match (status, rpc) {
        (StatusCode::NOT_FOUND, _) => Some(SessionLoss::NotFound),
        (StatusCode::BAD_REQUEST, Some(rpc)) => SDK_ERRORS.contains(&(rpc.code, rpc.message.as_str())).then_some(SessionLoss::SdkError),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_404_and_the_errors_of_sdks_are_a_lost_session() {
        let rpc = |code, message: &str| Some(RpcError { code, message: message.into(), data: None });
        let table = [
            (404, None, Some(SessionLoss::NotFound)),
            (404, rpc(-32602, "no such order"), Some(SessionLoss::NotFound)),
            (400, rpc(-32000, "Bad Request: No valid session ID provided"), Some(SessionLoss::SdkError)),
            (400, rpc(-32000, "Bad Request: Server not initialized"), Some(SessionLoss::SdkError)),
            (400, rpc(-32001, "Session not found"), Some(SessionLoss::SdkError)),
            (400, None, None),
            (400, rpc(-32000, "charged, but the checkout session could not be saved"), None),
            (400, rpc(-32000, "Session not found"), None),
            (400, rpc(-32001, "Session not found: checkout-17"), None),
            (400, rpc(-32603, "Bad Request: No valid session ID provided"), None),
            (400, rpc(-32000, "Bad Request: No valid session ID provided."), None),
            (400, rpc(-32000, "bad request: no valid session id provided"), None),
            (401, rpc(-32001, "Session not found"), None),
            (410, rpc(-32001, "Session not found"), None),
            (500, rpc(-32001, "Session not found"), None),
        ];
        for (status, rpc, loss) in table {
            assert_eq!(session_loss(StatusCode::from_u16(status).unwrap(), rpc.as_ref()), loss, "{status} {rpc:?}");
        }
    }
}
