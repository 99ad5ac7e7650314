//! Calls: request, progress and outcome.

mod failure;
mod kind;
mod origin;
mod outcome;
mod progress;
mod spec;

pub use self::{
    failure::{Failure, RpcError, SessionLoss, bound_lines, rpc_code_name},
    kind::{FailureKind, Label},
    origin::{Origin, OriginKind},
    outcome::{InterimKind, Outcome, Reply},
    progress::{Progress, Timings},
    spec::{ArgumentCheck, CallSpec, Operation},
};
