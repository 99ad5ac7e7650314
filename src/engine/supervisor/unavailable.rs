//! The failures of calls to servers that are not connected.

use crate::domain::{
    call::{Failure, FailureKind},
    id::ServerId,
    server::{ConnectFailure, Step},
};

/// Returns the failure of a call to a server whose configuration has errors: what is wrong, where, and what to do.
fn unusable(id: &ServerId, why: &ConnectFailure) -> Failure {
    let mut failure = Failure::new(FailureKind::NotReady, format!("{id} cannot be used: {}", why.summary));
    failure.causes = why.place.iter().map(|place| format!("it is configured in {place}")).chain(why.causes.iter().cloned()).collect();
    match why.hints.first() {
        Some(hint) => failure.hint(hint.clone()),
        None => failure.hint(format!("correct the configuration of {id}")),
    }
}

/// Returns the failure of a call to a server that is not connected because of `why`; without a reason it is disabled.
pub fn not_connected(id: &ServerId, why: Option<&ConnectFailure>) -> Failure {
    let check = format!("run `switchboard doctor`; restart {id} once the cause is fixed");
    let Some(why) = why else {
        return Failure::new(FailureKind::NotReady, format!("{id} is disabled")).hint(check);
    };
    let failure = match &why.login {
        _ if why.step == Step::Configure => return unusable(id, why),
        Some(login) => Failure::new(FailureKind::Unauthorized, format!("{id} needs login: {}", login.why)),
        None => Failure::new(FailureKind::NotReady, format!("{id} is not connected: {}", why.summary)),
    };
    let failure = Failure {
        login: why.login.clone(),
        causes: why.causes.clone(),
        exit: why.exit,
        status: why.status,
        headers: why.headers.clone(),
        stderr: why.stderr.clone(),
        ..failure
    };
    match (&why.login, why.hints.first()) {
        (Some(_), Some(hint)) => failure.hint(hint.clone()),
        _ => failure.hint(check),
    }
}
