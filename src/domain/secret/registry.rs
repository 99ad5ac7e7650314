//! The registry of the secret values that a process knows.

use std::{collections::HashSet, fmt, sync::Arc};

use parking_lot::{Mutex, MutexGuard};

use super::{Redactor, Secret};

/// Collects secret values and builds their redactor. Clones share the values.
///
/// Values are added when a configuration is read, a server is added or a workflow reads its environment. They are
/// never removed, because a server may still repeat a replaced value.
#[derive(Clone, Default)]
pub struct SecretRegistry(Arc<Mutex<Known>>);

#[derive(Default)]
struct Known {
    values: HashSet<Secret>,
    /// Built on first use after a value was added.
    redactor: Option<Redactor>,
}

impl fmt::Debug for SecretRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretRegistry")
    }
}

impl SecretRegistry {
    /// Adds values found by [`super::rule`].
    pub fn learn(&self, secrets: impl IntoIterator<Item = Secret>) {
        let mut known = self.lock();
        let before = known.values.len();
        known.values.extend(secrets);
        if known.values.len() > before {
            known.redactor = None;
        }
    }

    /// Returns the redactor for all values so far.
    pub fn redactor(&self) -> Redactor {
        let mut known = self.lock();
        if let Some(redactor) = &known.redactor {
            return redactor.clone();
        }
        let made = Redactor::new(&known.values);
        known.redactor = Some(made.clone());
        made
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_share_what_they_learn() {
        let (one, two) = (SecretRegistry::default(), SecretRegistry::default());
        let same = one.clone();
        assert!(one.redactor().is_empty());
        same.learn([Secret::literal("s3cret-value")]);
        assert_eq!(one.redactor().redact("s3cret-value"), super::super::MASK);
        assert!(two.redactor().is_empty());
    }
}
