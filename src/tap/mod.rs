//! The tap: passes the bytes of one connection between a client and a server on unchanged, and shows a copy of them.
//!
//! [`stdio`] passes on the standard streams of a server's process, [`http`] the connections to an HTTP server. Each writes a run of bytes
//! first, and then offers a copy to the [`queue`], which never blocks. [`follow`] reads the queue, cuts the bytes into messages and
//! reports them as frames, and as the [`calls`] of a client; the [`connector`] gives an engine a server of which it only observes the connection.

pub mod calls;
pub mod connector;
pub mod follow;
pub mod http;
pub mod message;
pub mod queue;
pub mod record;
pub mod stdio;
