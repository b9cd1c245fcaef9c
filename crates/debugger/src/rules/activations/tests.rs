//! Units, rows and places of activations.

use crate::Mode::Train;
use crate::rules::test_support::{clean, rule, show};
use crate::rules::{End, Rule};

/// Shows a tensor of this shape whose values come from their index.
fn layer(
    rule: &mut dyn Rule,
    name: &str,
    shape: &[usize],
    value: impl Fn(usize) -> f32,
) -> Option<String> {
    let values: Vec<f32> = (0..shape.iter().product()).map(value).collect();
    show(rule, Train, 0, &[(name, "", shape, &values)])
}

#[test]
fn more_than_half_of_the_units() {
    // Of four units, the first `dead` are never active.
    let dead = |dead: usize| move |index: usize| if index % 4 < dead { -1.0 } else { 1.0 };
    for (count, name) in
        [(2, "relu_output"), (3, "head.hidden.relu_output_0"), (3, "ReLU_output_0")]
    {
        let mut rule = rule("DeadRelu", &[]);
        let said = layer(rule.as_mut(), name, &[40, 4], dead(count));
        assert_eq!(said.is_some(), count == 3, "{name}");
        if let Some(said) = said {
            assert!(said.starts_with(&format!("3 of the 4 ReLUs of `{name}` are dead at step 0")));
        }
    }
    let mut strict = rule("DeadRelu", &[("threshold_layer", "49.9")]);
    assert!(layer(strict.as_mut(), "relu_output", &[40, 4], dead(2)).is_some());
}

#[test]
fn seldom_active_is_dead_too() {
    // Active in one row of 200: half a percent.
    let seldom = |index: usize| if index / 2 == 7 { 1.0 } else { 0.0 };
    let mut rule1 = rule("DeadRelu", &[]);
    assert!(layer(rule1.as_mut(), "relu_output", &[200, 2], seldom).is_some());
    let mut rule01 = rule("DeadRelu", &[("threshold_inactivity", "0.4")]);
    assert_eq!(layer(rule01.as_mut(), "relu_output", &[200, 2], seldom), None);
}

#[test]
fn channels_count_over_places() {
    // [rows, channels, height, width]: the second channel is dead everywhere, the first in most places.
    let value =
        |index: usize| if (index / 9).is_multiple_of(2) && index % 9 == 4 { 1.0 } else { 0.0 };
    let mut rule = rule("DeadRelu", &[("threshold_layer", "40")]);
    let said = layer(rule.as_mut(), "relu_output", &[8, 2, 3, 3], value).unwrap();
    assert!(said.starts_with("1 of the 2 ReLUs"), "{said}");
}

#[test]
fn small_batches_are_collected() {
    // Each row turns on another unit: by single rows most are off, together none is dead.
    let mut collected = rule("DeadRelu", &[]);
    for row in 0..64usize {
        let value = |unit: usize| if unit == row % 8 { 1.0 } else { 0.0 };
        assert_eq!(layer(collected.as_mut(), "relu_output", &[1, 8], value), None);
    }
    assert_eq!(clean(collected.as_mut()).as_deref(), Some(""));
    // A short run is judged at its end.
    let mut short = rule("DeadRelu", &[]);
    assert_eq!(layer(short.as_mut(), "relu_output", &[8, 4], |_| 0.0), None);
    assert!(matches!(short.finish(), End::Issue(_)));
}

#[test]
fn saturation_of_inputs_and_outputs() {
    for (name, inside, outside) in [
        ("a.tanh_input_0", 9.4, 9.6),
        ("a.tanh_input_0", -9.4, -9.6),
        ("a.sigmoid_input_0", 16.9, 17.1),
        ("a.sigmoid_input_0", -22.9, -23.1),
        ("a.tanh_output_0", 0.9999, 1.0),
        ("a.tanh_output_0", -0.9999, -1.0),
        ("a.sigmoid_output_0", 0.9999, 1.0),
        ("a.sigmoid_output_0", 1e-9, 1e-11),
        ("Sigmoid_output_0", 1e-9, 0.0),
    ] {
        let mut rule0 = rule("SaturatedActivation", &[]);
        assert_eq!(layer(rule0.as_mut(), name, &[40, 4], |_| inside), None, "{name} {inside}");
        assert!(layer(rule0.as_mut(), name, &[40, 4], |_| outside).is_some(), "{name} {outside}");
    }
    let mut own = rule("SaturatedActivation", &[("threshold_tanh", "(-2, 2)")]);
    assert!(layer(own.as_mut(), "tanh_input", &[40, 4], |_| 3.0).is_some());
    let mut newer = rule("SaturatedActivation", &[("threshold_tanh_max", "2")]);
    assert!(layer(newer.as_mut(), "tanh_input", &[40, 4], |_| 3.0).is_some());
}
