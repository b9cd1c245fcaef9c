//! The rings of instances against a plain list.

use proptest::prelude::*;

use super::super::fleet::{Fleet, Request};

const REQUEST: Request = Request { arrival: 0.0, service: 0.0 };

#[derive(Debug, Clone, Copy)]
enum Step {
    Start,
    Ready,
    Admit,
    Answer(usize),
    Stop(u32),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        1 => Just(Step::Start),
        2 => Just(Step::Ready),
        6 => Just(Step::Admit),
        4 => (0..64_usize).prop_map(Step::Answer),
        1 => (0..4_u32).prop_map(Step::Stop),
    ]
}

/// An instance of the model: its place in the fleet once it has had a request, its load, and whether it
/// still gets requests.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Plain {
    load: u32,
    routed: bool,
}

proptest! {
    #[test]
    fn the_least_loaded_gets_the_request_and_nobody_is_lost(
        steps in prop::collection::vec(step(), 0..300), room in 1..5_usize,
    ) {
        let mut fleet = Fleet::new(room);
        // By place; the fleet tells a place when it gives it a request.
        let mut busy: std::collections::BTreeMap<u32, Plain> = Default::default();
        let (mut starting, mut ready) = (0_u32, 0_u32);
        for step in steps {
            match step {
                Step::Start => {
                    fleet.start(0.0, 0);
                    starting += 1;
                }
                Step::Ready => {
                    prop_assert_eq!(fleet.one_is_ready().is_some(), starting > 0);
                    if starting > 0 {
                        starting -= 1;
                        ready += 1;
                    }
                }
                Step::Admit => {
                    let loads = busy.values().filter(|plain| plain.routed).map(|plain| plain.load);
                    let loaded = loads.clone().count() as u32;
                    let least = if loaded < ready { Some(0) } else { loads.min() };
                    let expected = least.filter(|load| (*load as usize) < room).map(|load| load + 1);
                    let found = fleet.admit();
                    prop_assert_eq!(found.map(|(_, load)| load), expected);
                    if let Some((place, load)) = found {
                        if load > 1 {
                            fleet.wait(place, REQUEST);
                        }
                        let before = busy.insert(place, Plain { load, routed: true });
                        prop_assert_eq!(before.map_or(0, |plain| plain.load) + 1, load);
                    }
                }
                Step::Answer(number) => {
                    let Some((&place, &plain)) = busy.iter().nth(number) else { continue };
                    let (next, ended) = fleet.answered(place);
                    prop_assert_eq!(next.is_some(), plain.load > 1);
                    prop_assert_eq!(ended, plain.load == 1 && !plain.routed);
                    if plain.load == 1 {
                        busy.remove(&place);
                    } else {
                        busy.insert(place, Plain { load: plain.load - 1, ..plain });
                    }
                }
                Step::Stop(count) => {
                    fleet.stop(count);
                    let unready = count.min(starting);
                    starting -= unready;
                    let mut left = (count - unready).min(ready);
                    ready -= left;
                    // Idle ones first; among the busy ones those with fewer requests.
                    let routed = busy.values().filter(|plain| plain.routed).count() as u32;
                    left = left.saturating_sub(ready + left - routed);
                    prop_assert_eq!(fleet.ready(), ready);
                    // Which of equals went shows in who ends: ask the fleet through its counts.
                    let mut by_load: Vec<(u32, u32)> =
                        busy.iter().filter(|(_, p)| p.routed).map(|(k, p)| (p.load, *k)).collect();
                    by_load.sort_unstable();
                    let limit = (left > 0).then(|| by_load[left as usize - 1].0);
                    let draining = fleet.draining_places();
                    for (load, place) in by_load {
                        if draining.contains(&place) {
                            prop_assert!(limit.is_some_and(|limit| load <= limit));
                            busy.insert(place, Plain { load, routed: false });
                            left -= 1;
                        }
                    }
                    prop_assert_eq!(left, 0);
                }
            }
            let draining = busy.values().filter(|plain| !plain.routed).count() as u32;
            prop_assert_eq!(fleet.ready(), ready);
            prop_assert_eq!(fleet.wanted(), ready + starting);
            prop_assert_eq!(fleet.alive(), ready + starting + draining);
        }
    }
}

#[test]
fn equals_take_turns() {
    let mut fleet = Fleet::new(8);
    for _ in 0..3 {
        fleet.start(0.0, 0);
        fleet.one_is_ready();
    }
    let places: Vec<u32> = (0..7).filter_map(|_| Some(fleet.admit()?.0)).collect();
    assert_eq!(places, vec![0, 1, 2, 0, 1, 2, 0]);
}

#[test]
fn the_youngest_goes_first_and_places_are_used_again() {
    let mut fleet = Fleet::new(2);
    for _ in 0..3 {
        fleet.start(0.0, 0);
        fleet.one_is_ready();
    }
    fleet.stop(1);
    let places: Vec<u32> = (0..5).filter_map(|_| Some(fleet.admit()?.0)).collect();
    assert_eq!(places, vec![0, 1, 0, 1]);
    fleet.start(0.0, 0);
    fleet.one_is_ready();
    assert_eq!(fleet.admit(), Some((2, 1)));
    assert_eq!(fleet.alive(), 3);
}
