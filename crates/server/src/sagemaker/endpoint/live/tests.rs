use super::*;

fn fleet(deployment: u64) -> Arc<LiveEndpoint> {
    Arc::new(LiveEndpoint {
        name: "photos".to_owned(),
        config: format!("config-{deployment}"),
        deployment,
        variants: Vec::new(),
        shadows: Vec::new(),
        capture: None,
        users: Arc::new(()),
    })
}

#[test]
fn fleets_are_drawn_by_their_shares() {
    let fleets = vec![(fleet(1), 0.7), (fleet(2), 0.3)];
    let at = |place| draw(&fleets, place).map(|fleet| fleet.deployment);
    assert_eq!(at(0.0), Some(1));
    assert_eq!(at(0.69), Some(1));
    assert_eq!(at(0.71), Some(2));
    assert_eq!(at(0.999_999), Some(2));
    // Shares that do not quite add up.
    let short = vec![(fleet(1), 0.4), (fleet(2), 0.599), (fleet(3), 0.0)];
    assert_eq!(draw(&short, 0.9995).map(|fleet| fleet.deployment), Some(2));
}

#[test]
fn nobody_is_drawn_before_a_share_is_given() {
    let live = Live::default();
    assert!(live.get("photos").is_none());
    live.open("photos", vec![(fleet(1), 0.0), (fleet(2), 0.0)]);
    assert!(live.get("photos").is_none());
    live.open("photos", vec![(fleet(1), 0.0)]);
    assert!(live.get("photos").is_none());
    assert_eq!(live.all().len(), 1);
    live.open("photos", vec![(fleet(1), 0.0), (fleet(2), 1.0)]);
    for _ in 0..100 {
        assert_eq!(live.get("photos").map(|fleet| fleet.deployment), Some(2));
    }
    live.close("photos");
    assert!(live.get("photos").is_none());
}
