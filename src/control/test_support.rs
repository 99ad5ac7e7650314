//! Test support: the same assertions on a control in this process and on the other end of a stream.

use std::sync::Arc;

use tokio_util::task::AbortOnDropHandle;

use super::{Control, RemoteControl, Role, ServeError, Served, Wanted, serve};

/// Bytes that the stream holds in each direction.
pub const STREAM: usize = 64 << 10;

/// An operator who wants everything.
pub const OPERATOR: Wanted = Wanted { frames: true, role: Role::Operator };

/// How a test reaches the control.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Directly.
    Local,
    /// Over a stream in memory.
    Remote,
}

impl Way {
    /// Both ways.
    pub const BOTH: [Way; 2] = [Way::Local, Way::Remote];

    /// Returns the control, or a remote control of it.
    pub async fn reach(self, served: Served) -> Reached {
        match self {
            Way::Local => Reached { control: served.control, serving: None },
            Way::Remote => {
                let (ours, theirs) = tokio::io::duplex(STREAM);
                let serving = AbortOnDropHandle::new(tokio::spawn(serve(|_| served, theirs)));
                let control = RemoteControl::connect(ours, OPERATOR).await.expect("the engine serves");
                Reached { control, serving: Some(serving) }
            }
        }
    }
}

/// A control, and the task that serves it.
pub struct Reached {
    /// The control.
    pub control: Arc<dyn Control>,
    /// The task at the other end of the stream.
    pub serving: Option<AbortOnDropHandle<Result<(), ServeError>>>,
}
