//! Small drawing parts that know no model.

pub mod lamps;
pub mod paint;
pub mod spark;
pub mod window;
