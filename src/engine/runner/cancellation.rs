//! Giving something up, with the reason, for it and everything within it.

use std::sync::{Arc, OnceLock};

use tokio_util::sync::CancellationToken;

/// Raised once, with a reason. What comes of [`Signal::child`] is raised with it.
#[derive(Clone, Default)]
pub struct Signal {
    token: CancellationToken,
    why: Arc<OnceLock<String>>,
    around: Option<Arc<Signal>>,
}

impl Signal {
    /// A signal within this one.
    pub fn child(&self) -> Signal {
        Signal { token: self.token.child_token(), why: Arc::default(), around: Some(Arc::new(self.clone())) }
    }

    /// Gives up. The first reason counts.
    pub fn raise(&self, why: &str) {
        let _ = self.why.set(why.to_owned());
        self.token.cancel();
    }

    /// Whether it is given up.
    pub fn is_raised(&self) -> bool {
        self.token.is_cancelled()
    }

    /// Resolves when it is given up.
    pub async fn raised(&self) {
        self.token.cancelled().await;
    }

    /// Why; empty while it is not.
    pub fn why(&self) -> String {
        match (self.why.get(), &self.around) {
            (Some(why), _) => why.clone(),
            (None, Some(around)) => around.why(),
            (None, None) => String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_within_is_raised_too_with_the_same_reason() {
        let whole = Signal::default();
        let (one, other) = (whole.child(), whole.child());
        one.raise("first");
        assert!(one.is_raised() && !other.is_raised() && !whole.is_raised());
        whole.raise("all");
        assert!(other.is_raised());
        assert_eq!((one.why(), other.why()), ("first".to_owned(), "all".to_owned()));
    }
}
