use std::sync::Arc;

use kennel_hosting::pool::PoolOptions;
use kennel_hosting::process::{Launcher, LauncherOptions};

use super::super::live::LiveEndpoint;
use super::*;

/// An endpoint `dogs` whose one variant has no instances; nothing can start one.
#[derive(Debug, Clone)]
struct Stage {
    live: Arc<Live>,
    endpoints_changed: Arc<Notify>,
    held_changed: Arc<Notify>,
    variant: Arc<LiveVariant>,
}

impl Stage {
    fn new() -> Stage {
        let launcher = Launcher::start(LauncherOptions { kennel: "/nowhere".into() }).unwrap();
        let variant = Arc::new(LiveVariant {
            name: "AllTraffic".to_owned(),
            weight: 1.0,
            pool: Pool::new(PoolOptions::new(launcher)),
            load: Arc::default(),
        });
        let fleet = LiveEndpoint {
            name: "dogs".to_owned(),
            config: "first".to_owned(),
            deployment: 1,
            variants: vec![variant.clone()],
            shadows: Vec::new(),
            capture: None,
            users: Arc::new(()),
        };
        let live = Arc::new(Live::default());
        live.open("dogs", vec![(Arc::new(fleet), 1.0)]);
        Stage { live, endpoints_changed: Arc::default(), held_changed: Arc::default(), variant }
    }

    async fn send(&self, deadline: Instant) -> Result<Sent, NotSent> {
        let scene = Scene {
            endpoint: "dogs",
            live: &self.live,
            endpoints_changed: &self.endpoints_changed,
            held_changed: &self.held_changed,
        };
        send(scene, &self.variant, Request::default(), deadline).await
    }

    /// A request that has begun to wait.
    async fn waiting(&self) -> tokio::task::JoinHandle<Result<Sent, NotSent>> {
        let stage = self.clone();
        let far = Instant::now() + Duration::from_secs(60);
        let task = tokio::spawn(async move { stage.send(far).await });
        // Whoever waits has said so.
        self.held_changed.notified().await;
        assert_eq!(self.variant.load.held(), 1);
        task
    }
}

#[tokio::test]
async fn who_waits_in_vain_is_told_after_his_time() {
    let stage = Stage::new();
    let outcome = stage.send(Instant::now() + Duration::from_millis(20)).await;
    assert!(matches!(outcome, Err(NotSent::Late)), "{outcome:?}");
    let load = &stage.variant.load;
    assert_eq!((load.arrived(), load.in_flight(), load.held()), (1, 0, 0));
}

#[tokio::test]
async fn who_hangs_up_is_forgotten() {
    let stage = Stage::new();
    let waiting = stage.waiting().await;
    assert_eq!(stage.variant.load.in_flight(), 1);
    waiting.abort();
    assert!(waiting.await.unwrap_err().is_cancelled());
    assert_eq!((stage.variant.load.in_flight(), stage.variant.load.held()), (0, 0));
}

#[tokio::test]
async fn one_too_many_is_refused_at_once() {
    let stage = Stage::new();
    let load = stage.variant.load.clone();
    let _others: Vec<_> = (0..MOST_HELD).filter_map(|_| load.hold()).collect();
    let outcome = stage.send(Instant::now() + Duration::from_secs(60)).await;
    assert!(matches!(outcome, Err(NotSent::TooMany)), "{outcome:?}");
}

#[tokio::test]
async fn a_request_wakes_the_sleeper() {
    let stage = Stage::new();
    stage.variant.load.sleep(2);
    let changed = stage.endpoints_changed.clone();
    let looked = changed.notified();
    tokio::pin!(looked);
    looked.as_mut().enable();
    let waiting = stage.waiting().await;
    assert!(!stage.variant.load.asleep());
    assert_eq!(stage.variant.pool.counts().2, 2);
    looked.await;
    waiting.abort();
}

#[tokio::test]
async fn who_waits_goes_with_the_traffic() {
    let stage = Stage::new();
    let waiting = stage.waiting().await;
    stage.live.close("dogs");
    let outcome = waiting.await.unwrap();
    assert!(matches!(outcome, Ok(Sent::Moved)), "{outcome:?}");
    assert_eq!(stage.variant.load.held(), 0);
}
