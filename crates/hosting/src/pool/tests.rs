//! Decisions; whole pools are in tests/pool.rs.

use proptest::prelude::*;

use super::decide::{Decision, Seen, decide};

fn seen(generation: u64, number: u64, ready: bool) -> Seen {
    Seen { generation, number, ready, load: 0 }
}

#[test]
fn missing_instances_are_started() {
    let decision = decide(&[seen(1, 1, true)], 1, 3, Some(1));
    let expected = Decision { start: 2, stop: vec![], route: vec![1], serving: Some(1) };
    assert_eq!(decision, expected);
}

#[test]
fn those_that_can_be_spared_go_first() {
    let busy = Seen { load: 5, ..seen(1, 4, true) };
    let all = [seen(1, 1, true), seen(1, 2, false), seen(1, 3, true), busy];
    let decision = decide(&all, 1, 2, Some(1));
    assert_eq!(decision.stop, [3, 2]);
    assert_eq!(decision.route, [4, 1]);
}

#[test]
fn the_old_generation_serves_until_all_new_are_ready() {
    let old = [seen(1, 1, true), seen(1, 2, true)];
    let begun = decide(&old, 2, 2, Some(1));
    assert_eq!((begun.start, &begun.stop, &begun.route), (2, &vec![], &vec![1, 2]));
    let half = [old[0], old[1], seen(2, 3, true), seen(2, 4, false)];
    let half = decide(&half, 2, 2, Some(1));
    assert_eq!((half.route, half.stop, half.serving), (vec![1, 2], vec![], Some(1)));
    let whole = [old[0], old[1], seen(2, 3, true), seen(2, 4, true)];
    let whole = decide(&whole, 2, 2, Some(1));
    assert_eq!((whole.route, whole.stop, whole.serving), (vec![3, 4], vec![1, 2], Some(2)));
}

#[test]
fn a_change_that_is_overtaken_ends_and_one_taken_back_costs_nothing() {
    let all = [seen(1, 1, true), seen(2, 2, false)];
    let overtaken = decide(&all, 3, 1, Some(1));
    assert_eq!((overtaken.start, overtaken.stop, overtaken.route), (1, vec![2], vec![1]));
    let back = decide(&all, 1, 1, Some(1));
    assert_eq!((back.start, back.stop, back.route), (0, vec![2], vec![1]));
}

#[test]
fn new_instances_help_out_when_no_old_one_is_ready() {
    let all = [seen(1, 1, false), seen(2, 2, true), seen(2, 3, false)];
    assert_eq!(decide(&all, 2, 2, Some(1)).route, [2]);
}

proptest! {
    /// Whatever the situation: nothing that is stopped is routed to, there are never more than wanted of
    /// the wanted generation, and while anything useful is ready, something is in service.
    #[test]
    fn service_is_never_given_up_needlessly(
        instances in proptest::collection::vec((1u64..4, any::<bool>(), 0usize..3), 0..8),
        generation in 1u64..4,
        count in 0usize..4,
        serving in proptest::option::of(1u64..4),
    ) {
        let all: Vec<Seen> = instances
            .iter()
            .zip(1..)
            .map(|((generation, ready, load), number)| Seen {
                generation: *generation,
                number,
                ready: *ready,
                load: *load,
            })
            .collect();
        let decision = decide(&all, generation, count, serving);
        prop_assert!(decision.route.iter().all(|number| !decision.stop.contains(number)));
        let kept = all
            .iter()
            .filter(|s| s.generation == generation && !decision.stop.contains(&s.number))
            .count();
        prop_assert_eq!(kept + decision.start, count);
        let useful = |s: &Seen| s.ready && (s.generation == generation || Some(s.generation) == serving);
        if count > 0 && all.iter().any(useful) && serving != Some(generation) {
            prop_assert!(!decision.route.is_empty());
        }
        // Taking the decision again changes nothing more than the starts.
        let after: Vec<Seen> =
            all.iter().filter(|s| !decision.stop.contains(&s.number)).copied().collect();
        let again = decide(&after, generation, count, decision.serving);
        prop_assert_eq!(again.stop, Vec::<u64>::new());
        prop_assert_eq!(again.route, decision.route);
    }
}
