use super::*;

#[test]
fn the_share_is_the_ratio_of_the_weights() {
    assert_eq!(share(0.5, 1.0), 0.5);
    assert_eq!(share(1.0, 4.0), 0.25);
    assert_eq!(share(3.0, 1.0), 1.0, "no request is copied twice");
    assert_eq!(share(1.0, 0.0), 0.0, "a variant without traffic has nothing to copy");
}

#[test]
fn copies_are_bounded_in_number_and_bytes() {
    let load = Arc::new(Load::default());
    let places: Vec<Place> = (0..MOST_COPIES).filter_map(|_| Place::take(&load, 1000)).collect();
    assert_eq!(places.len(), MOST_COPIES);
    assert!(Place::take(&load, 1000).is_none());
    drop(places);
    let large = Place::take(&load, MOST_BYTES).is_some();
    assert!(large, "a refused copy leaves nothing behind");
    let _half = Place::take(&load, MOST_BYTES / 2);
    assert!(Place::take(&load, MOST_BYTES / 2 + 1).is_none());
    assert!(Place::take(&load, MOST_BYTES / 2).is_some());
}

#[test]
fn answers_agree_by_their_top_class() {
    let one = br#"{"predictions":[[{"label":"Beagle","class":"a","probability":0.7},{"label":"Boxer","class":"b","probability":0.3}]]}"#;
    let near = br#"{"predictions":[[{"label":"Boxer","class":"b","probability":0.4},{"label":"Beagle","class":"a","probability":0.6}]]}"#;
    let other = br#"{"predictions":[[{"label":"Boxer","class":"b","probability":0.9}]]}"#;
    assert!(agree(one, near));
    assert!(!agree(one, other));
    assert!(agree(b"[[0.1,0.9,0.0]]", b"[[0.2,0.7,0.1]]"));
    assert!(!agree(b"[[0.1,0.9],[0.8,0.2]]", b"[[0.2,0.7],[0.1,0.9]]"));
    assert!(!agree(b"[[0.1,0.9]]", b"[[0.1,0.9],[0.1,0.9]]"), "as many photos");
}

#[test]
fn other_answers_agree_when_they_are_equal() {
    assert!(agree(b"0.25,0.75", b"0.25,0.75"));
    assert!(!agree(b"0.25,0.75", b"0.25,0.76"));
    assert!(agree(br#"{"a": 1}"#, br#"{"a":1}"#), "JSON is more than its bytes");
    assert!(!agree(br#"{"a": 1}"#, br#"{"a":2}"#));
    assert!(!agree(b"[[]]", b"[[0.5]]"));
}
