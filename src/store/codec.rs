//! The numbers of formats and codecs in the store: what a reader must understand before it uses a run or a body. Every writer
//! stores the newest one, every reader refuses those that it does not know.

use super::ConnectionError;

/// The newest format of runs: the texts of their workflows are in `plans`. In format 1 they are in the first entry.
pub const RUN_FORMAT: i64 = 2;

/// The codec of a body that is stored as it is.
pub const PLAIN: i64 = 0;

/// Refuses a run of a newer format.
pub fn check_format(format: i64) -> Result<(), ConnectionError> {
    match format {
        1..=RUN_FORMAT => Ok(()),
        _ => Err(ConnectionError::Newer(format!("the run has the format {format}, this version knows up to {RUN_FORMAT}"))),
    }
}

/// Refuses a body of an unknown codec.
pub fn check_codec(codec: i64) -> Result<(), ConnectionError> {
    match codec {
        PLAIN => Ok(()),
        _ => Err(ConnectionError::Newer(format!("a stored text has the codec {codec}, this version knows {PLAIN} only"))),
    }
}
