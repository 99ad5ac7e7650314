//! Cancellation: signals with a reason that also cancel everything within.

use std::sync::{Arc, OnceLock};

use tokio_util::sync::CancellationToken;

/// A cancellation signal, raised once with a reason. Raising it also raises its children ([`Signal::child`]).
#[derive(Clone, Default)]
pub struct Signal {
    token: CancellationToken,
    why: Arc<OnceLock<String>>,
    parent: Option<Arc<Signal>>,
}

impl Signal {
    /// Creates a child of this signal.
    pub fn child(&self) -> Signal {
        Signal { token: self.token.child_token(), why: Arc::default(), parent: Some(Arc::new(self.clone())) }
    }

    /// Raises the signal. The first reason counts.
    pub fn raise(&self, why: &str) {
        let _ = self.why.set(why.to_owned());
        self.token.cancel();
    }

    /// Returns whether the signal was raised.
    pub fn is_raised(&self) -> bool {
        self.token.is_cancelled()
    }

    /// Resolves when the signal is raised.
    pub async fn raised(&self) {
        self.token.cancelled().await;
    }

    /// Returns the reason; empty until the signal is raised.
    pub fn why(&self) -> String {
        match (self.why.get(), &self.parent) {
            (Some(why), _) => why.clone(),
            (None, Some(parent)) => parent.why(),
            (None, None) => String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn children_are_raised_with_the_same_reason() {
        let parent = Signal::default();
        let (one, other) = (parent.child(), parent.child());
        one.raise("first");
        assert!(one.is_raised() && !other.is_raised() && !parent.is_raised());
        parent.raise("all");
        assert!(other.is_raised());
        assert_eq!((one.why(), other.why()), ("first".to_owned(), "all".to_owned()));
    }
}
