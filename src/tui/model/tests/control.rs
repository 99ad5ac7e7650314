//! The console on an engine in this process and on one at the other end of a stream: the same screen.

use super::*;
use crate::control::{SubmitError, test_support::Way};

#[tokio::test]
async fn the_screen_is_the_same_over_a_stream() {
    let mut screens = vec![];
    for way in Way::BOTH {
        let fake = Arc::new(test_support::Fake::new(test_support::shop_state(), 1000));
        let reached = way.reach(fake.served()).await;
        let (state, mut tail) = reached.control.watch();
        let mut harness = Harness::set_up(120, 40, ConsoleState::clone(&state), Harness::setup(Startup::Normal));
        let first = harness.frame();
        let events = test_support::busy(state.seq);
        events.iter().for_each(|event| fake.publish(event.at, event.kind.clone()));
        let mut received = vec![];
        while received.len() < events.len() {
            received.push(tail.next().await.unwrap().unwrap());
        }
        assert_eq!(received, events);
        harness.send(Msg::Events(received));
        let busy = harness.frame();
        let spec = harness.tool("queryu").text("ann").keys("enter").submitted_spec();
        let id = reached.control.submit(spec).await.unwrap();
        let queued = tail.next().await.unwrap().unwrap();
        assert!(matches!(&queued.kind, EventKind::CallQueued { call, .. } if *call == id));
        harness.send(Msg::Events(vec![queued]));
        screens.push([first, busy, harness.frame()]);
    }
    assert_eq!(screens[0], screens[1]);
    assert!(screens[0][0] != screens[0][1] && screens[0][1] != screens[0][2]);
}

#[test]
fn a_call_that_is_not_started_is_reported() {
    let mut harness = Harness::new(120, 40);
    harness.tool("queryu").text("ann").keys("enter");
    let token = harness.take().into_iter().find_map(|command| match command {
        Cmd::Submit { token, .. } => Some(token),
        _ => None,
    });
    harness.send(Msg::NotSubmitted { token: token.unwrap(), why: SubmitError::Ended });
    assert!(harness.frame().contains("The call was not started"), "{}", harness.frame());
}
