//! Compiled schemas, kept so that a call does not pay for compiling its tool's schema again.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use crate::domain::{catalog::Tool, id::ToolId, schema::Checker};

/// How many are kept; all are dropped when there are more.
const KEPT: usize = 1000;

/// A definition, and what was compiled from it.
type Compiled = (Arc<Tool>, Arc<Checker>);

/// The checkers of the tools that were called.
#[derive(Default)]
pub struct Checkers {
    kept: Mutex<HashMap<ToolId, Compiled>>,
}

impl Checkers {
    /// The checker of `tool` as it is listed now; a definition that changed is compiled again.
    pub fn of(&self, id: &ToolId, tool: &Arc<Tool>) -> Arc<Checker> {
        let found = self.kept.lock().unwrap_or_else(PoisonError::into_inner).get(id).cloned();
        if let Some((known, checker)) = found
            && known.input_schema == tool.input_schema
        {
            return checker;
        }
        // Outside the lock: a large schema must not hold up the calls of others.
        let checker = Arc::new(Checker::new(&tool.input_schema));
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= KEPT {
            kept.clear();
        }
        kept.insert(id.clone(), (tool.clone(), checker.clone()));
        checker
    }
}
