//! Round trips of every message.

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};

use super::{packet, samples, *};
use crate::{
    domain::{
        body::Body,
        call::{Operation, Origin},
        event::{Notice, NoticeLevel},
        id::ToolId,
        secret::{Secret, SecretRegistry},
        server::{ServerSpec, Transport},
        time::Stamp,
    },
    state::ConsoleState,
};

fn decoded<T: DeserializeOwned>(encoded: &Encoded) -> T {
    packet::decode(&encoded.bytes().slice(4..)).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(encoded.head())))
}

/// A message as text, with the exact bytes of its bodies.
fn exact(message: &impl Serialize) -> Bytes {
    packet::encode(message, packet::MAX).unwrap().bytes().clone()
}

#[test]
fn every_message_of_a_client_is_the_same_after_a_round_trip() {
    for message in samples::client_messages() {
        assert_eq!(decoded::<ClientMessage>(&message.encode().unwrap()), message);
    }
}

#[test]
fn every_message_of_an_engine_is_the_same_after_a_round_trip() {
    for message in samples::engine_messages() {
        let sent = message.clone().encode(&Redactor::default()).unwrap();
        let same: EngineMessage = decoded(&sent);
        assert_eq!(exact(&same), *sent.bytes(), "{message:?}");
    }
}

#[test]
fn a_state_is_the_same_after_a_round_trip_and_continues_in_the_same_way() {
    let mut state = samples::state();
    let mut restored: ConsoleState = decoded(&packet::encode(&state, packet::MAX).unwrap());
    let mut assembled = None;
    let complete: Vec<bool> = state.parts(true).map(|part| ConsoleState::add(&mut assembled, part)).collect();
    assert_eq!(complete, [false, false, false, true]);
    let mut assembled = assembled.unwrap();
    let names = |state: &ConsoleState| state.names.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&restored), names(&state));
    assert!(!names(&state).is_empty());
    let more = samples::events().into_iter().map(|event| Event { seq: event.seq + 1000, ..Event::clone(&event) });
    for event in more.collect::<Vec<_>>() {
        [&mut state, &mut restored, &mut assembled].into_iter().for_each(|state| state.apply(&event));
    }
    assert_eq!(exact(&restored), exact(&state));
    assert_eq!(exact(&assembled), exact(&state));
    assert_eq!((restored.frame_bytes, assembled.frame_bytes), (state.frame_bytes, state.frame_bytes));
}

#[test]
fn a_large_state_is_sent_in_many_parts() {
    let mut state = samples::state();
    let seq = state.seq;
    for n in 1..=2_000 {
        let operation = Operation::Tool { tool: ToolId::new("shop".into(), "buy"), arguments: Body::from("x".repeat(10_000)) };
        let kind = EventKind::CallQueued { call: CallId(1000 + n), spec: Arc::new(CallSpec::new(operation, Origin::Console)) };
        state.apply(&Event { seq: seq + n, at: Stamp(n), kind });
    }
    let mut assembled = None;
    let mut parts = 0;
    for part in state.parts(true) {
        let packet = EngineMessage::Snapshot(part).encode(&Redactor::default()).unwrap();
        assert!(packet.bytes().len() < 3 << 20, "{}", packet.bytes().len());
        let EngineMessage::Snapshot(part) = decoded(&packet) else { panic!("another message") };
        ConsoleState::add(&mut assembled, part);
        parts += 1;
    }
    assert!(parts > 15, "{parts}");
    for server in &mut state.servers {
        server.spec = Arc::new(server.spec.displayed());
    }
    assert_eq!(exact(&assembled.unwrap()), exact(&state));
}

/// Sets every text of a value to `canary`, except names and keys.
fn with_canary(event: &EventKind, canary: &str) -> EventKind {
    let mut kind = event.clone();
    match &mut kind {
        EventKind::ServerStderr { line, .. } => *line = format!("token {canary}").into(),
        EventKind::ServerLog { log, .. } => Arc::make_mut(log).text = format!("token {canary}"),
        EventKind::ServerAnomaly { anomaly, .. } => Arc::make_mut(anomaly).detail = format!("token {canary}"),
        EventKind::CallQueued { spec, .. } => match &mut Arc::make_mut(spec).operation {
            Operation::Tool { arguments, .. } | Operation::Prompt { arguments, .. } => *arguments = Body::json(&[canary]),
            Operation::Complete { params, .. } | Operation::Raw { params, .. } => *params = Body::json(&[canary]),
            Operation::Resource { uri, .. } => *uri = format!("shop://{canary}"),
        },
        EventKind::CallProgress { progress, .. } => progress.message = Some(canary.into()),
        EventKind::CallSettled { settled, .. } => {
            if let crate::domain::call::Outcome::Ok { result } = &mut Arc::make_mut(settled).outcome {
                *result = Body::json(&[canary]);
            }
        }
        EventKind::Frame { frame } => {
            let frame = Arc::make_mut(frame);
            frame.body = Body::json(&[canary]);
            let http = Arc::make_mut(frame.http.as_mut().unwrap());
            Arc::make_mut(&mut http.headers).push(("Authorization".into(), format!("Bearer {canary}")));
        }
        EventKind::Notice { notice } => *notice = Arc::new(Notice::new(NoticeLevel::Warn, canary)),
        _ => {}
    }
    kind
}

#[test]
fn secrets_that_became_known_later_or_were_typed_do_not_cross() {
    let canary = "canary-0123456789";
    let events: Vec<Arc<Event>> =
        samples::events().iter().map(|event| Arc::new(Event { kind: with_canary(&event.kind, canary), ..Event::clone(event) })).collect();
    let mut state = samples::state();
    for event in &events {
        state.apply(&Event { seq: event.seq + 1000, ..Event::clone(event) });
    }
    let frames = events.iter().filter_map(|event| match &event.kind {
        EventKind::Frame { frame } => Some(SequencedFrame { seq: event.seq, frame: frame.clone() }),
        _ => None,
    });
    let frames = EngineMessage::Frames { frames: frames.collect(), dropped: 0 };
    let messages: Vec<EngineMessage> =
        state.parts(true).map(EngineMessage::Snapshot).chain([EngineMessage::Events(events), frames]).collect();
    let (nothing, secrets) = (Redactor::default(), SecretRegistry::default());
    secrets.learn([Secret::literal(canary)]);
    let mut found = 0;
    for message in messages {
        let holds = |packet: &Encoded| memchr::memmem::find(packet.bytes(), canary.as_bytes()).is_some();
        found += usize::from(holds(&message.clone().encode(&nothing).unwrap()));
        let packet = message.encode(&secrets.redactor()).unwrap();
        assert!(!holds(&packet), "{}", String::from_utf8_lossy(packet.bytes()));
        decoded::<EngineMessage>(&packet);
    }
    assert_eq!(found, 5, "the canary is in every message except the end of the snapshot");
}

#[test]
fn configured_secrets_are_written_as_their_variables() {
    let token = "tok-0123456789abcdef";
    let args = vec![Secret::literal("--port"), Secret::literal("--token"), Secret::literal(token), Secret::new(token, "${TOKEN}")];
    let env = vec![("API_KEY".into(), Secret::literal(token))];
    let stdio = Transport::Stdio { command: "shop".into(), args, env, inherit_env: false, cwd: None };
    let http = Transport::Http { url: format!("https://user:{token}@host/a?api_key={token}"), headers: vec![], socket: None };
    for (launch, summary) in [(stdio, "shop --port --token '•••' '${TOKEN}'"), (http, "https://host/a")] {
        let spec = Arc::new(ServerSpec::new("shop", launch));
        let added = Arc::new(Event { seq: 1, at: Stamp(1), kind: EventKind::ServerAdded { spec } });
        let mut state = ConsoleState::new(Default::default(), "_", Default::default());
        state.apply(&added);
        for message in [EngineMessage::Events(vec![added]), EngineMessage::Snapshot(SnapshotPart::Base { state: Box::new(state) })] {
            let packet = message.encode(&Redactor::default()).unwrap();
            assert!(memchr::memmem::find(packet.bytes(), token.as_bytes()).is_none(), "{}", String::from_utf8_lossy(packet.head()));
            let spec = match decoded(&packet) {
                EngineMessage::Events(events) => match &events[0].kind {
                    EventKind::ServerAdded { spec } => spec.clone(),
                    other => panic!("{other:?}"),
                },
                EngineMessage::Snapshot(SnapshotPart::Base { state }) => state.servers[0].spec.clone(),
                other => panic!("{other:?}"),
            };
            assert_eq!(spec.summary(), summary);
        }
    }
}
