//! Parameters as people and the SDK write them.

use super::*;

fn given(name: &str, value: &str) -> BTreeMap<String, String> {
    BTreeMap::from([(name.to_owned(), value.to_owned())])
}

#[test]
fn numbers_and_flags() {
    for (text, number) in [("10", Some(10)), (" 10.0 ", Some(10)), ("None", Some(7)), ("", Some(7))]
    {
        assert_eq!(Params::new(&given("n", text)).integer("n", 7).ok(), number, "{text}");
    }
    for text in ["-1", "1.5", "1e300", "nan", "inf", "ten"] {
        assert!(Params::new(&given("n", text)).integer("n", 7).is_err(), "{text}");
    }
    assert_eq!(Params::new(&given("n", "1e-7")).number("n", 0.0), Ok(1e-7));
    assert_eq!(Params::new(&given("f", "True")).flag("f", false), Ok(true));
    assert_eq!(Params::new(&given("f", "false")).flag("f", true), Ok(false));
    assert!(Params::new(&given("f", "maybe")).flag("f", true).is_err());
}

#[test]
fn lists_of_patterns() {
    let matching =
        |text: &str, name: &str| regexes(text).unwrap().iter().any(|regex| regex.is_match(name));
    assert!(matching(".*tanh_input, .*sigmoid_input", "a.sigmoid_input_0"));
    assert!(matching(".*tanh_input|.*sigmoid_input", "a.sigmoid_input_0"));
    assert!(matching(r#"["a,b", "c"]"#, "a,b") && !matching(r#"["a,b", "c"]"#, "b"));
    assert!(matching("x{2,3}", "xx") && matching("[,]", "a,b"));
    assert_eq!(regexes("a{1,2},b").unwrap().len(), 2);
    for bad in ["(", "(?=a)", "a{99999}{99999}", &"a,".repeat(51)] {
        assert!(regexes(bad).is_err(), "{}", &bad[..bad.len().min(20)]);
    }
}

#[test]
fn collections_and_patterns_are_united() {
    let both = BTreeMap::from([
        ("collection_names".to_owned(), "weights, biases".to_owned()),
        ("tensor_regex".to_owned(), "^conv".to_owned()),
    ]);
    let selector = Selector::given(&mut Params::new(&both)).unwrap().unwrap();
    let named = |name: &str| [name.to_owned()];
    assert!(selector.matches("fc", &named("biases")));
    assert!(selector.matches("conv1", &[]));
    assert!(!selector.matches("fc", &named("gradients")));
    assert!(Selector::given(&mut Params::new(&BTreeMap::new())).unwrap().is_none());
    let all = given("collection_names", "all");
    let all = Selector::given(&mut Params::new(&all)).unwrap().unwrap();
    assert!(all.matches("anything", &[]));
}
