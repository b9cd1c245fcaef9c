use super::*;
use crate::chart::Series;

pub(crate) fn example() -> Document {
    let points = |of: fn(f64) -> f64| (0..30).map(|i| (f64::from(i), of(f64::from(i)))).collect();
    let chart = |title: &str, shares: bool| Chart {
        title: title.into(),
        x_label: "seconds".into(),
        series: vec![
            Series {
                name: "train".into(),
                class: "train".into(),
                points: points(|x| 1.0 / (x + 1.0)),
            },
            Series {
                name: "validation".into(),
                class: "valid".into(),
                points: points(|x| 0.9 / (x + 1.0)),
            },
        ],
        mark: None,
        shares,
    };
    Document {
        title: "Dogs & <cats>".into(),
        subtitle: "account `123456789012`, 2026-11-21".into(),
        blocks: vec![
            Block::Heading("Training".into()),
            Block::led("Chosen.", "An `ml.m5.xlarge` costs 0.23 USD an hour → ≤ 1 USD *in all*"),
            Block::Table(Table {
                columns: vec![Column::words("job"), Column::numbers("seconds")],
                rows: vec![vec!["a|b_c".into(), "12".into()], vec!["`d`".into()]],
            }),
            Block::Charts(vec![chart("Loss", false), chart("Accuracy", true), chart("", false)]),
            Block::missing("No job used two instances.", "kennel job start --instances 2 photos"),
            Block::Code("{\"a\": 1}\n```".into()),
        ],
    }
}

#[test]
fn html_is_one_page_and_safe() {
    let page = html(&example());
    assert!(page.contains("<title>Dogs &amp; &lt;cats&gt;</title>"));
    assert!(page.contains("<b>Chosen.</b> An <code>ml.m5.xlarge</code> costs"));
    assert!(page.contains("<td class=\"number\">12</td>"));
    assert!(page.contains("<code>kennel job start --instances 2 photos</code>"));
    assert_eq!(page.matches("<section>").count(), page.matches("</section>").count());
    assert_eq!(page.matches("<svg").count(), 3);
}

#[test]
fn markdown_keeps_words_from_becoming_markup() {
    let text = markdown(&example());
    assert!(text.starts_with("# Dogs &amp; &lt;cats>\n\naccount `123456789012`, 2026-11-21\n"));
    assert!(text.contains("→ ≤ 1 USD \\*in all\\*"), "{text}");
    assert!(text.contains("| job | seconds |\n| --- | ---: |\n| a\\|b\\_c | 12 |\n| `d` |  |\n"));
    assert!(
        text.contains("````text\n{\"a\": 1}\n```\n````"),
        "the fence is longer than what is inside"
    );
    assert!(text.contains("  - train: `█▄▃▃▂▂▂▂▂▁"), "{text}");
    assert!(text.contains("first 100.0\u{a0}%, last 3.3\u{a0}%"), "{text}");
}

#[test]
fn sparklines_take_any_numbers() {
    assert_eq!(markdown::sparkline(&[]), "");
    assert_eq!(markdown::sparkline(&[(0.0, f64::NAN)]), "");
    assert_eq!(markdown::sparkline(&[(0.0, 1.0)]), "▅");
    assert_eq!(markdown::sparkline(&[(0.0, 0.0), (1.0, 7.0)]), "▁█");
    assert_eq!(markdown::sparkline(&[(0.0, 0.0), (9.0, 7.0), (10.0, 3.5)]), "▁ █");
    let many: Vec<(f64, f64)> = (0..1000).map(|i| (f64::from(i), f64::from(i % 7))).collect();
    assert_eq!(markdown::sparkline(&many).chars().count(), 40);
}
