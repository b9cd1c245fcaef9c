//! Means by channel.

use crate::Mode::Train;
use crate::rules::test_support::{clean, rule, show};

/// Two pictures whose channels have these values everywhere.
fn pictures(channels: [f32; 3]) -> Vec<f32> {
    (0..2 * 3 * 4).map(|index| channels[(index / 4) % 3]).collect()
}

#[test]
fn one_channel_is_enough() {
    let parameters = [("threshold_samples", "4")];
    let mut images = rule("CheckInputImages", &parameters);
    let off = pictures([0.1, -0.1, -0.3]);
    let tensor = ("images", "input_images", &[2, 3, 2, 2][..], &off[..]);
    assert_eq!(show(images.as_mut(), Train, 0, &[tensor]), None, "two pictures of four");
    assert!(clean(images.as_mut()).unwrap().contains("only 2 pictures"));
    let said = show(images.as_mut(), Train, 1, &[tensor]).unwrap();
    assert!(
        said.contains("over 4 pictures up to step 1 the mean of channel 2 of `images` is -0.3"),
        "{said}"
    );
    let fine = pictures([0.19, -0.19, 0.0]);
    let mut images = rule("CheckInputImages", &parameters);
    for step in 0..4 {
        let tensor = ("images", "input_images", &[2, 3, 2, 2][..], &fine[..]);
        assert_eq!(show(images.as_mut(), Train, step, &[tensor]), None);
    }
    assert_eq!(clean(images.as_mut()).as_deref(), Some(""));
}

#[test]
fn channels_at_another_place() {
    // [rows, height, width, channels]
    let values: Vec<f32> = (0..2 * 4 * 3).map(|index| [0.0, 0.0, 0.9][index % 3]).collect();
    let parameters = [("threshold_samples", "2"), ("channel", "3"), ("regex", "^x$")];
    let mut last = rule("CheckInputImages", &parameters);
    let said = show(last.as_mut(), Train, 0, &[("x", "", &[2, 2, 2, 3], &values)]).unwrap();
    assert!(said.contains("channel 2 of `x` is 0.9"), "{said}");
    // A channel that the tensor has not: all values together.
    let mut none =
        rule("CheckInputImages", &[("threshold_samples", "2"), ("channel", "9"), ("regex", "x")]);
    let said = show(none.as_mut(), Train, 0, &[("x", "", &[2, 2, 2, 3], &values)]).unwrap();
    assert!(said.contains("channel 0 of `x` is 0.3"), "{said}");
}

#[test]
fn a_run_that_saved_few_pictures_is_judged_at_its_end() {
    let off = pictures([0.1, -0.1, -0.3]);
    let mut images = rule("CheckInputImages", &[]);
    for step in 0..8 {
        let tensor = ("images", "input_images", &[2, 3, 2, 2][..], &off[..]);
        assert_eq!(show(images.as_mut(), Train, step, &[tensor]), None, "sixteen of 500");
    }
    assert!(matches!(images.finish(), crate::rules::End::Issue(said) if said.contains("-0.3")));
}
