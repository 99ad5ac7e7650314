//! The probe of programs, and what is remembered of it.

use super::*;

/// Starts an engine with a program that does not answer the probe, over these catalogs.
fn start(catalogs: &Arc<MemoryCatalogs>) -> Rig {
    let options = EngineOptions { epoch: Epoch { unix_ms: 1_700_000_000_000, utc_offset_s: 0 }, separator: "_".into(), seed: Some(1) };
    let helper = Some(std::path::PathBuf::from(env!("CARGO_BIN_EXE_switchboard")));
    let adapters = Adapters { catalogs: catalogs.clone() as Arc<dyn CatalogStore>, ..Adapters::new(Arc::new(Connections::new(helper))) };
    let engine = LocalControl::with(options, Retention::default(), adapters);
    let mut spec = bad("silent_discover");
    spec.timeouts.probe = Duration::from_millis(300);
    engine.apply(vec![spec]);
    Rig { engine }
}

#[tokio::test(flavor = "multi_thread")]
async fn v19_a_program_that_does_not_answer_the_probe_costs_it_once() {
    let catalogs = Arc::new(MemoryCatalogs::default());
    for probed in [true, false] {
        let rig = start(&catalogs);
        let read_model = rig.ready("bad").await;
        let info = read_model.servers[0].info.clone().unwrap();
        assert_eq!(info.probe_unanswered, probed.then(|| Duration::from_millis(300)));
        let sent: Vec<&str> = read_model.frames.iter().filter_map(|frame| frame.method.as_deref()).collect();
        assert_eq!(sent.contains(&"server/discover"), probed, "{sent:?}");
        assert!(!sent.contains(&"notifications/cancelled"), "a probe ends without a notification: {sent:?}");
        rig.engine.shutdown().await;
        // The era is stored in the background.
        let launch = switchboard::domain::stored_catalog::launch_fingerprint(&bad("silent_discover").launch);
        let stored = async {
            while catalogs.era(&launch, 0).await.is_none() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(crate::support::PATIENCE, stored).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn v19_a_remembered_era_that_does_not_hold_is_probed_for_again() {
    let catalogs = Arc::new(MemoryCatalogs::default());
    let server = bad("modern_only");
    let launch = switchboard::domain::stored_catalog::launch_fingerprint(&server.launch);
    catalogs.save_era(&launch, Some(Era::Legacy), 0).await;
    let options = EngineOptions { epoch: Epoch { unix_ms: 1_700_000_000_000, utc_offset_s: 0 }, separator: "_".into(), seed: Some(1) };
    let adapters = Adapters { catalogs: catalogs.clone() as Arc<dyn CatalogStore>, ..Adapters::new(Arc::new(Connections::new(None))) };
    let engine = LocalControl::with(options, Retention::default(), adapters);
    engine.apply(vec![server]);
    let rig = Rig { engine };
    rig.until("the modern era", |w| w.servers[0].info.as_ref().is_some_and(|info| info.era == Era::Modern)).await;
    let gone = async {
        while catalogs.era(&launch, 0).await.is_some() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(crate::support::PATIENCE, gone).await.unwrap();
    rig.stop().await;
}
