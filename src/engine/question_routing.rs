//! Routing of the requests that servers send (elicitation, sampling, roots): who answers for the client.
//!
//! A request belongs to the call on whose response stream it came, and nothing else attributes it to a client: a request for the
//! only call in flight may be meant for nobody. It is answered by the desk of that call, if the client declared the capability;
//! else by the server's policy; else by the user, if the call is not one of a client.

use std::sync::Arc;

use super::{inbox::Inbox, session_pool::SessionOwner};
use crate::domain::{
    ask::{Answer, AskPolicy, Question},
    body::Body,
    call::RpcError,
    capabilities::ClientCapabilities,
    id::Attribution,
    server::ServerSpec,
};

/// The outcome of a request on the own session of a client.
pub enum Routed {
    /// It was answered.
    Answered(Result<Body, RpcError>),
    /// No call can carry it, and the client is not reachable outside of calls.
    Unattributed,
}

impl Inbox {
    /// Answers a request on the own session of a client: by the desk of the call on whose stream it came, of the call that leases
    /// the session or opens it, or of the client's connection. Dropping the future withdraws it.
    pub async fn route_to_owner(
        self: &Arc<Self>,
        spec: &ServerSpec,
        owner: &SessionOwner,
        method: &str,
        params: Body,
        call: Attribution,
    ) -> Routed {
        if !owner.allows(method, &params) {
            return Routed::Answered(Err(not_found(method)));
        }
        let certain = call.certain().and_then(|id| Some((id, self.passage(id)?)));
        let attributed = certain.filter(|(_, passage)| passage.client() == owner.client()).or_else(|| owner.leased_to());
        let client = owner.client();
        Routed::Answered(match (&attributed, owner.connection_desk()) {
            (Some((id, passage)), _) => self.ask_client(&spec.id, method, params, Some(*id), client, passage.desk()).await,
            (None, Some(desk)) => {
                // The deadline of the call is paused, if it is one of this client.
                let waiting = call.likely().filter(|id| self.passage(*id).is_some_and(|passage| passage.client() == client));
                self.ask_client(&spec.id, method, params, waiting, client, desk).await
            }
            (None, None) => return Routed::Unattributed,
        })
    }

    /// Answers a request of a server. Dropping the future withdraws it.
    pub async fn route(self: &Arc<Self>, spec: &ServerSpec, method: &str, params: Body, call: Attribution) -> Result<Body, RpcError> {
        if let Some(id) = call.certain()
            && let Some(passage) = self.passage(id)
            && permits(passage.declared(), method, &params)
        {
            return self.ask_client(&spec.id, method, params, Some(id), passage.client(), passage.desk()).await;
        }
        let question = Question::from_request(method, &params).map_err(|_| not_found(method))?;
        let of_client = call.likely().is_some_and(|id| self.passage(id).is_some());
        if of_client && matches!(spec.policy(&question), AskPolicy::Ask) {
            // The client declared no capability for it, and the user of the console is not the one who is asked.
            return Err(not_found(method));
        }
        let answer = self.ask(spec, question.clone(), call).await;
        answer.to_result(&question)
    }
}

/// Returns whether a client that declares these capabilities can be sent a request.
pub fn permits(declared: &ClientCapabilities, method: &str, params: &Body) -> bool {
    Question::from_request(method, params).is_ok_and(|question| declared.permit(&question).is_ok())
}

/// Returns the error for a request that nobody here answers.
pub fn not_found(method: &str) -> RpcError {
    RpcError { code: -32601, message: format!("{method}: the client of this call does not support it"), data: None }
}

/// Returns the response to a question whose call has ended.
pub fn call_ended(question: &Question) -> Result<Body, RpcError> {
    Answer::Cancel.to_result(question)
}
