use super::*;
use crate::document::tests::example;
use crate::document::{Column, Table};

/// The words of each page, as a reader shows them; the streams are not compressed.
fn text(file: &[u8]) -> Vec<String> {
    let mut pages = Vec::new();
    let mut rest = file;
    while let Some(at) = find(rest, b"\nstream\n") {
        rest = &rest[at + 8..];
        let end = find(rest, b"endstream").unwrap();
        pages.push(shown(&rest[..end]));
        rest = &rest[end..];
    }
    pages
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|part| part == what)
}

fn shown(stream: &[u8]) -> String {
    let mut out = String::new();
    let mut at = 0;
    while at < stream.len() {
        let mut bytes = Vec::new();
        if stream[at] == b'<' {
            let end = at + find(&stream[at..], b">").unwrap();
            let hex = std::str::from_utf8(&stream[at + 1..end]).unwrap();
            bytes = (0..hex.len() / 2)
                .map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap())
                .collect();
            at = end;
        } else if stream[at] == b'(' {
            let mut depth = 1;
            while depth > 0 {
                at += 1;
                match stream[at] {
                    b'\\' => {
                        at += 1;
                        bytes.push(stream[at]);
                    }
                    b')' if depth == 1 => depth = 0,
                    byte => {
                        depth += i32::from(byte == b'(') - i32::from(byte == b')');
                        bytes.push(byte);
                    }
                }
            }
        }
        if !bytes.is_empty() {
            out.extend(bytes.iter().map(|byte| char::from(*byte)));
            out.push(' ');
        }
        at += 1;
    }
    out.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn every_word_is_found_back() {
    let file = pdf(&example(), 2);
    assert!(file.starts_with(b"%PDF-1.7") && file.ends_with(b"%%EOF"));
    assert!(find(&file, b"/Title (Dogs & <cats>)").is_some());
    let pages = text(&file);
    let [page] = pages.as_slice() else { panic!("{} pages", pages.len()) };
    for words in [
        "Dogs & <cats> account",
        "Training Chosen. An ml.m5.xlarge costs 0.23 USD an hour -> <= 1 USD *in all*",
        "job seconds a|b_c 12 d",
        "Loss",
        "Accuracy",
        "No job used two instances. To have it: kennel job start --instances 2 photos",
        "{\"a\": 1} ```",
        "page 1 of 1",
    ] {
        let bare = |text: &str| text.replace(' ', "");
        assert!(bare(page).contains(&bare(words)), "{words} in {page}");
    }
}

#[test]
fn what_does_not_fit_goes_on() {
    let mut document = example();
    document.blocks = vec![
        Block::text("word ".repeat(3000)),
        Block::Table(Table {
            columns: vec![Column::words("name"), Column::words("long"), Column::numbers("n")],
            rows: (0..120)
                .map(|i| vec![format!("r{i}"), "many words ".repeat(i % 30), i.to_string()])
                .chain([vec!["last".into(), "tall ".repeat(6000), "1".into()]])
                .collect(),
        }),
        Block::Code("x".repeat(20_000)),
        Block::text("q".repeat(3000)),
    ];
    let pages = text(&pdf(&document, 2));
    assert!(pages.len() > 2);
    let all = pages.join(" ");
    assert_eq!(all.matches("word ").count(), 3000);
    assert_eq!(all.matches("tall").count(), 6000);
    assert_eq!(all.matches('x').count(), 20_000);
    assert_eq!(all.matches('q').count(), 3000);
    assert!((0..120).all(|i| all.contains(&format!("r{i} "))));
    assert!(all.contains(&format!("page {0} of {0}", pages.len())));
    assert!(all.matches("name long n").count() > 2, "the head is there again");
}

#[test]
fn letters_become_smaller_before_there_is_a_third_page() {
    let mut document = example();
    let sized = |document: &Document, scale: f32| laid_out(document, scale).pages();
    while sized(&document, 1.0) < 3 {
        document.blocks.push(Block::text("a few words more ".repeat(20)));
    }
    assert_eq!(text(&pdf(&document, 2)).len(), 2);
    assert_eq!(text(&pdf(&document, 3)).len(), 3);
}

#[test]
fn no_line_is_wider_than_the_page() {
    for words in ["a b", "`code` and `more`, then ", "W".repeat(500).as_str(), "ö→\u{1F415}"] {
        for line in lines(&words.repeat(40), Font::Bold, 9.0, 100.0) {
            assert!(line.width() <= 100.1, "{line:?}");
        }
    }
    assert_eq!(lines("", Font::Regular, 9.0, 100.0).len(), 1);
    assert_eq!(encode("a\u{1F415}→ö€"), b"a?->\xf6\x80");
}
