//! The real program in a real terminal: what it does with keys, signals and sizes, and what it leaves behind.

mod exits;
mod hostile;
mod panics;
mod session;
mod stream;
mod work;
