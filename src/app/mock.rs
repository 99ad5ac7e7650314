//! `mock`: answers over stdin and stdout as the servers of a session file did.

use std::time::Duration;

use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    sync::mpsc,
    task::JoinSet,
};

use crate::{
    cli::{self, Options, args::MockArgs, exit, print::Io},
    domain::{
        call::{Failure, FailureKind},
        mock_server::MockServer,
        session_file::SessionFile,
    },
    files::{self, Allowed},
};

/// Largest session file, in bytes.
const FILE: u64 = 1 << 30;
/// Longest line of a client, in bytes.
const LINE: usize = 16 << 20;
/// Responses that wait for the reader of stdout.
const WAITING: usize = 256;

/// Runs `mock`; returns the exit code.
pub async fn run(args: MockArgs, options: Options) -> u8 {
    let invalid = |why: String| cli::fail(Failure::new(FailureKind::InvalidArguments, why), &options, Io::real());
    let file = args.file.display();
    let text = match files::read_text(&args.file, Allowed { bytes: FILE, within: None }) {
        Ok(text) => text,
        Err(why) => return invalid(format!("the session file {file} {why}")),
    };
    let session = match SessionFile::parse(&text) {
        Ok(session) => session,
        Err(why) => return invalid(format!("the session file {file} cannot be read: {why}")),
    };
    drop(text);
    if let Some(server) = &args.only
        && !session.calls.iter().any(|call| call.summary.server.as_str() == server)
    {
        return invalid(format!("the session file {file} has no calls of {server}"));
    }
    serve(MockServer::new(&session, args.only.as_deref()), args.speed).await
}

/// Answers until the input ends. A slow answer does not hold up the ones after it.
async fn serve(mut mock: MockServer, speed: f64) -> u8 {
    let (lines, mut answered) = mpsc::channel::<String>(WAITING);
    let writer = tokio::spawn(async move {
        let mut out = tokio::io::stdout();
        while let Some(line) = answered.recv().await {
            if out.write_all((line + "\n").as_bytes()).await.is_err() || out.flush().await.is_err() {
                return;
            }
        }
    });
    let mut waiting = JoinSet::new();
    let mut input = BufReader::new(tokio::io::stdin());
    let mut line = Vec::new();
    while let Ok(1..) = input.read_until(b'\n', &mut line).await {
        if line.len() <= LINE
            && let Some(reply) = mock.answer(String::from_utf8_lossy(&line).trim())
        {
            let (lines, after) = (lines.clone(), Duration::try_from_secs_f64(reply.after.as_secs_f64() * speed).unwrap_or_default());
            waiting.spawn(async move {
                if !after.is_zero() {
                    tokio::time::sleep(after).await;
                }
                // Fails when nobody reads the responses any more.
                let _ = lines.send(reply.line).await;
            });
        }
        line.clear();
        while waiting.try_join_next().is_some() {}
    }
    while waiting.join_next().await.is_some() {}
    drop(lines);
    // A panic of the writer is in the log already.
    let _ = writer.await;
    exit::OK
}
