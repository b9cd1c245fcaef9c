//! Tests of `native`: the ranges are a space, and the native trainer takes every value of theirs.

use kennel_base::TrainOptions;

use super::*;

#[test]
fn the_ranges_pass_the_checks_of_any_space() {
    let space = space();
    assert_eq!(Space::new(space.parameters().to_vec()).unwrap(), space);
}

#[test]
fn the_trainer_takes_all_values() {
    for step in 0..=20 {
        let mut options = TrainOptions::default();
        for Parameter { name, domain } in space().parameters() {
            options.set(name, &domain.text(f64::from(step) / 20.0)).unwrap();
        }
    }
}
