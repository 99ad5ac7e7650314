//! `mock`: answers as the servers of a session file did, over stdin and stdout, or over HTTP with the gateway in front.

use std::{sync::Arc, time::Duration};

use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    sync::mpsc,
    task::JoinSet,
};

use super::{serve, session::read_session};
use crate::{
    cli::{
        self, Options,
        args::{MockArgs, ServeAccess, ServeArgs},
        exit,
        print::Io,
    },
    config::{self, LoadOptions},
    domain::{
        call::{Failure, FailureKind},
        mock_server::MockServer,
        server::ServerSpec,
    },
    process::{self, Watch},
    telemetry::Log,
    workspace::Selection,
};

/// Longest line of a client, in bytes.
const LINE: usize = 16 << 20;
/// Responses that wait for the reader of stdout.
const WAITING: usize = 256;

/// Runs `mock`; returns the exit code.
pub async fn run(selection: Selection, args: MockArgs, options: Options, log: Log, watch: Arc<Watch>) -> u8 {
    let invalid = |why: String| cli::fail(Failure::new(FailureKind::InvalidArguments, why), &options, Io::real());
    let session = match read_session(&args.file) {
        Ok(session) => session,
        Err(why) => return invalid(why),
    };
    if let Some(server) = &args.only
        && !session.calls.iter().any(|call| call.summary.server.as_str() == server)
    {
        return invalid(format!("the session file {} has no calls of {server}", args.file.display()));
    }
    let Some(address) = args.http else { return answer(MockServer::new(&session, args.only.as_deref()), args.speed).await };
    drop(session);
    let Some(program) = process::own_program() else { return invalid("the path of this program is unknown".into()) };
    let selection = only_mock(selection, server(&program.display().to_string(), &args));
    let gateway = ServeArgs { http: Some(address), control: ServeAccess::Off, ..ServeArgs::default() };
    serve::run(selection, gateway, options, log, watch).await
}

/// Returns the server that answers over stdin and stdout in another process.
fn server(program: &str, args: &MockArgs) -> ServerSpec {
    let mut line = vec![program.to_owned(), "mock".to_owned(), format!("--speed={}", args.speed)];
    line.extend(args.only.iter().map(|only| format!("--only={only}")));
    line.extend(["--".to_owned(), args.file.display().to_string()]);
    ServerSpec { id: "mock".into(), ..config::server_from_command(&line) }
}

/// Returns a selection of this server only, without those of the configuration.
fn only_mock(selection: Selection, server: ServerSpec) -> Selection {
    let load = LoadOptions { extra: vec![server], servers_given: true, ..selection.load };
    Selection { load, files: false, demo: false, only: vec![], ..selection }
}

/// Answers until the input ends. A slow answer does not hold up the ones after it.
async fn answer(mut mock: MockServer, speed: f64) -> u8 {
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
