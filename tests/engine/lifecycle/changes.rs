//! What changes while calls are under way.

use super::*;

/// Reads of one resource are answered with how many there were, and hold for an hour.
fn counted_reads(handler: &Arc<Mutex<Option<Arc<dyn ClientHandler>>>>, gate: &Arc<Semaphore>) -> Plan {
    let (seen, gate, reads) = (handler.clone(), gate.clone(), Arc::new(AtomicUsize::new(0)));
    let answer = move |_: Request, observer: Arc<dyn RequestObserver>, handler: Arc<dyn ClientHandler>| {
        let (seen, gate, reads) = (seen.clone(), gate.clone(), reads.clone());
        async move {
            observer.sent(handler.now(), 1);
            let number = reads.fetch_add(1, Ordering::SeqCst);
            *seen.lock().unwrap() = Some(handler.clone());
            gate.acquire().await.unwrap().forget();
            let result = Body::json(&serde_json::json!({"contents": [{"uri": "r:a", "text": number.to_string()}], "ttlMs": 3_600_000}));
            Ok(Reply { result, ..reply(&handler) })
        }
    };
    Behaviour::new(answer).plan()
}

#[tokio::test(start_paused = true)]
async fn what_a_server_says_has_changed_is_read_anew() {
    let (handler, gate) = (Arc::default(), Arc::new(Semaphore::new(100)));
    let plan = Mutex::new(Some(counted_reads(&handler, &gate)));
    let rig = Rig::over(Fake::new(move |_| plan.lock().unwrap().take().unwrap()), vec![spec("web")]);
    rig.engine.set_store(Some(Arc::new(switchboard::cache::Memory::new(1 << 20))));
    let wall = Arc::new(AtomicU64::new(0));
    let clock = wall.clone();
    rig.engine.set_wall_clock(Arc::new(move || clock.load(Ordering::SeqCst)));
    until(&rig, |w| w.servers[0].phase.usable()).await;
    let submit = |uri: &str| {
        let operation = Operation::Resource { server: "web".into(), uri: uri.into() };
        rig.start_call(CallSpec::new(operation, Origin::Cli))
    };
    let read = async |uri: &str| {
        let call = submit(uri);
        let read_model = until(&rig, |w| w.call(call).is_some_and(|c| c.settled.is_some())).await;
        let settled = read_model.call(call).unwrap().settled.clone().unwrap();
        (settled.outcome.result().unwrap().value().unwrap()["contents"][0]["text"].as_str().unwrap().to_owned(), settled.cached.is_some())
    };
    let tell = |method: &str, uri: &str| {
        let handler = handler.lock().unwrap().clone().unwrap();
        handler.notification(method, &Body::json(&serde_json::json!({ "uri": uri })), Attribution::None);
    };
    assert_eq!((read("r:a").await, read("r:a").await), (("0".into(), false), ("0".into(), true)));
    tell("notifications/resources/updated", "r:other");
    assert_eq!(read("r:a").await, ("0".into(), true), "another one");
    tell("notifications/resources/updated", "r:a");
    assert_eq!((read("r:a").await, read("r:a").await), (("1".into(), false), ("1".into(), true)));
    tell("notifications/resources/list_changed", "");
    assert_eq!((read("r:a").await, read("r:a").await), (("2".into(), false), ("2".into(), true)));
    tell("notifications/tools/list_changed", "");
    assert_eq!(read("r:a").await, ("2".into(), true), "that was about tools");
    // The resource changes during the read: the response goes to its caller and to no later one.
    tell("notifications/resources/updated", "r:a");
    gate.forget_permits(100);
    let call = submit("r:a");
    until(&rig, |w| w.call(call).is_some_and(|c| c.sent.is_some())).await;
    tell("notifications/resources/updated", "r:a");
    gate.add_permits(100);
    until(&rig, |w| w.call(call).is_some_and(|c| c.settled.is_some())).await;
    assert_eq!((read("r:a").await, read("r:a").await), (("4".into(), false), ("4".into(), true)));
    // The machine sleeps for two hours, which the engine's own clock does not see.
    wall.store(1_700_000_000_000 + 2 * 3_600_000, Ordering::SeqCst);
    assert_eq!(read("r:a").await, ("5".into(), false), "its hour is over");
    rig.stop().await;
}
