//! The gateway on a fake engine: what clients get, byte by byte.

mod calls;
mod changes;
mod lists;
mod logins;
mod modern;
mod profiles;
mod traps;
mod workflows;
