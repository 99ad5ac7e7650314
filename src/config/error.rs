//! Errors of a configuration. Plain data of the domain, because they cross to faces.

pub use crate::domain::config_error::ConfigError;
