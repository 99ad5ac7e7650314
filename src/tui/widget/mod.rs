//! Small drawing parts that know no model.
