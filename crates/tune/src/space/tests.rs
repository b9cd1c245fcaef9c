//! Tests of `space`: checks, the automatic scale, texts that stay in bounds and parse back.

use proptest::prelude::{Just, Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest};

use super::*;

fn parameter(name: &str, domain: Domain) -> Parameter {
    Parameter { name: name.to_owned(), domain }
}

fn continuous(min: f64, max: f64, scaling: Scaling) -> Domain {
    Domain::Continuous { min, max, scaling }
}

fn integer(min: i64, max: i64, scaling: Scaling) -> Domain {
    Domain::Integer { min, max, scaling }
}

fn categorical(values: &[&str]) -> Domain {
    Domain::Categorical { values: values.iter().map(|&value| value.to_owned()).collect() }
}

#[test]
fn impossible_ranges_are_refused() {
    use Scaling::{Auto, Linear, Logarithmic, ReverseLogarithmic};
    let refused = |domain: Domain| Space::new(vec![parameter("p", domain)]).unwrap_err();
    let order = SpaceError::Order { name: "p".into(), min: "2".into(), max: "1".into() };
    assert_eq!(refused(continuous(2.0, 1.0, Linear)), order);
    assert_eq!(refused(integer(2, 1, Auto)), order);
    for (min, max) in [(f64::NAN, 1.0), (0.0, f64::INFINITY), (f64::MIN, f64::MAX)] {
        let error = refused(continuous(min, max, Linear));
        assert_eq!(error, SpaceError::NotFinite { name: "p".into() });
    }
    assert!(matches!(refused(continuous(0.0, 1.0, Logarithmic)), SpaceError::Logarithmic { .. }));
    assert!(matches!(refused(integer(0, 9, Logarithmic)), SpaceError::Logarithmic { .. }));
    for domain in [
        continuous(-0.1, 0.5, ReverseLogarithmic),
        continuous(0.5, 1.0, ReverseLogarithmic),
        integer(0, 1, ReverseLogarithmic),
    ] {
        assert!(matches!(refused(domain), SpaceError::ReverseLogarithmic { .. }));
    }
    assert!(matches!(refused(categorical(&[])), SpaceError::NoValues { .. }));
    assert!(matches!(refused(categorical(&["a", "b", "a"])), SpaceError::DuplicateValue { .. }));

    assert_eq!(Space::new(Vec::new()), Err(SpaceError::Empty));
    assert_eq!(Space::new(vec![parameter("", categorical(&["a"]))]), Err(SpaceError::NoName));
    let twice = vec![parameter("p", categorical(&["a"])), parameter("p", integer(1, 2, Auto))];
    assert_eq!(Space::new(twice), Err(SpaceError::Duplicate { name: "p".into() }));
    let many =
        |count: usize| (0..count).map(|i| parameter(&i.to_string(), integer(1, 2, Auto))).collect();
    assert!(Space::new(many(30)).is_ok());
    assert_eq!(Space::new(many(31)), Err(SpaceError::TooMany { count: 31 }));
}

#[test]
fn auto_is_logarithmic_from_two_orders_of_magnitude() {
    let auto = |min: f64, max: f64| continuous(min, max, Scaling::Auto).scale();
    assert_eq!(auto(1e-3, 1e-1), Scaling::Logarithmic);
    assert_eq!(auto(1e-3, 0.9e-1), Scaling::Linear);
    assert_eq!(auto(0.0, 1e-1), Scaling::Linear);
    assert_eq!(auto(-100.0, 1.0), Scaling::Linear);
    assert_eq!(auto(0.9, 0.999), Scaling::ReverseLogarithmic);
    assert_eq!(auto(0.9, 0.99), Scaling::Linear);
    assert_eq!(integer(32, 512, Scaling::Auto).scale(), Scaling::Linear);
    assert_eq!(integer(1, 100, Scaling::Auto).scale(), Scaling::Logarithmic);
    assert_eq!(continuous(1e-6, 1.0, Scaling::Linear).scale(), Scaling::Linear);
}

#[test]
fn places_on_each_scale_by_hand() {
    assert_eq!(continuous(0.0, 8.0, Scaling::Linear).text(0.25), "2.0");
    let value: f64 = continuous(1e-4, 1.0, Scaling::Logarithmic).text(0.5).parse().unwrap();
    assert!((value - 1e-2).abs() < 1e-15, "{value}");
    // Half way from a distance of 0.1 to one of 0.001 lies a distance of 0.01.
    let reverse = continuous(0.9, 0.999, Scaling::ReverseLogarithmic);
    let value: f64 = reverse.text(0.5).parse().unwrap();
    assert!((value - 0.99).abs() < 1e-12, "{value}");
    let dice = integer(1, 6, Scaling::Linear);
    let faces: Vec<String> = (0..6).map(|face| dice.text((f64::from(face) + 0.5) / 6.0)).collect();
    assert_eq!(faces, ["1", "2", "3", "4", "5", "6"]);
    let quoted = categorical(&["\"32\"", "\"64\"", " odd value"]);
    assert_eq!([0.0, 0.4, 1.0].map(|unit| quoted.text(unit)), ["\"32\"", "\"64\"", " odd value"]);
    assert_eq!(quoted.unit("32"), None);
}

#[test]
fn extreme_ranges_neither_overflow_nor_leave_their_bounds() {
    let all = integer(i64::MIN, i64::MAX, Scaling::Linear);
    assert_eq!(all.text(0.0), i64::MIN.to_string());
    assert_eq!(all.text(1.0), i64::MAX.to_string());
    assert_eq!(all.values(), Some(u64::MAX));
    assert_eq!(all.text_at(u64::MAX), i64::MAX.to_string());
    let tiny = continuous(5e-324, 1e-300, Scaling::Logarithmic);
    for unit in [0.0, 0.3, 1.0] {
        let value: f64 = tiny.text(unit).parse().unwrap();
        assert!((5e-324..=1e-300).contains(&value), "{value}");
    }
    let point = continuous(0.5, 0.5, Scaling::Auto);
    assert_eq!(
        (point.text(0.7), point.values(), point.unit("0.5")),
        ("0.5".into(), Some(1), Some(0.5))
    );
    assert_eq!(continuous(-0.0, 1.0, Scaling::Linear).text(0.0), "0.0");
}

#[test]
fn grids_are_counted_and_gone_through_once() {
    let space = Space::new(vec![
        parameter("a", categorical(&["x", "y"])),
        parameter("b", integer(-1, 1, Scaling::Auto)),
    ])
    .unwrap();
    assert_eq!(space.grid_size(), Some(6));
    let all: BTreeSet<Assignment> = (0..6).map(|index| space.combination(index)).collect();
    assert_eq!(all.len(), 6);
    let mixed = Space::new(vec![parameter("a", continuous(1.0, 1.0, Scaling::Auto))]).unwrap();
    assert_eq!((mixed.grid_size(), mixed.size()), (None, Some(1)));
    let wide = (0..3).map(|i| parameter(&i.to_string(), integer(0, i64::MAX, Scaling::Auto)));
    assert_eq!(Space::new(wide.collect()).unwrap().grid_size(), Some(u64::MAX));
}

#[test]
fn spaces_are_checked_when_read_back() {
    let space = Space::new(vec![parameter("a", continuous(0.1, 0.2, Scaling::Auto))]).unwrap();
    let text = serde_json::to_string(&space).unwrap();
    assert_eq!(serde_json::from_str::<Space>(&text).unwrap(), space);
    let broken = text.replace("0.2", "0.01");
    assert!(serde_json::from_str::<Space>(&broken).unwrap_err().to_string().contains("above"));
}

#[test]
fn scalings_have_their_names() {
    for name in ["Auto", "Linear", "Logarithmic", "ReverseLogarithmic"] {
        assert_eq!(name.parse::<Scaling>().unwrap().to_string(), name);
    }
    assert!("auto".parse::<Scaling>().unwrap_err().contains("`auto`"));
}

fn any_continuous() -> impl Strategy<Value = Domain> {
    let linear =
        (-1e9..1e9f64, 0.0..1e9f64, prop_oneof![Just(Scaling::Auto), Just(Scaling::Linear)])
            .prop_map(|(min, width, scaling)| continuous(min, min + width, scaling));
    let logarithmic = (-12.0..6.0f64, 0.0..9.0f64).prop_map(|(low, orders)| {
        continuous(10f64.powf(low), 10f64.powf(low + orders), Scaling::Logarithmic)
    });
    let reverse = (0.0..0.9999f64, 0.0..1.0f64).prop_map(|(min, share)| {
        continuous(min, min + share * (0.99999 - min), Scaling::ReverseLogarithmic)
    });
    prop_oneof![linear, logarithmic, reverse]
}

fn any_integer() -> impl Strategy<Value = Domain> {
    let linear = (any::<i32>(), 0..i64::from(i32::MAX))
        .prop_map(|(min, width)| integer(min.into(), i64::from(min) + width, Scaling::Linear));
    let logarithmic = (1..10_000i64, 0..1_000_000i64)
        .prop_map(|(min, width)| integer(min, min + width, Scaling::Logarithmic));
    prop_oneof![linear, logarithmic]
}

proptest! {
    #[test]
    fn continuous_texts_parse_back_within_their_bounds(domain in any_continuous(), unit in 0.0..=1.0f64) {
        let Domain::Continuous { min, max, .. } = domain else { unreachable!() };
        let text = domain.text(unit);
        let value: f64 = text.parse().unwrap();
        prop_assert!((min..=max).contains(&value), "{text} of {domain:?}");
        prop_assert_eq!(number(value), text);
        if max - min > 1e-6 * max.abs() {
            // A value that is close to 1 has few digits left for its distance to 1.
            prop_assert!((domain.unit(&number(value)).unwrap() - unit).abs() < 1e-4);
        }
    }

    #[test]
    fn whole_numbers_stay_within_their_bounds_and_both_ends_are_met(domain in any_integer(), unit in 0.0..=1.0f64) {
        let Domain::Integer { min, max, .. } = domain else { unreachable!() };
        let value: i64 = domain.text(unit).parse().unwrap();
        prop_assert!((min..=max).contains(&value));
        prop_assert_eq!(domain.text(0.0), min.to_string());
        prop_assert_eq!(domain.text(1.0), max.to_string());
        let snapped = domain.snap(unit);
        prop_assert!((0.0..=1.0).contains(&snapped));
    }
}
