//! The program: hands over to the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    if args.next().as_deref() == Some("reaper") {
        switchboard::mcp::reaper::run(&args.next().unwrap_or_default());
    }
    ExitCode::SUCCESS
}
