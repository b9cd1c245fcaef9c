//! Tests of `schedule`.

use proptest::prelude::*;

use super::*;

fn ms(text: &str) -> i64 {
    DateTime::parse_from_rfc3339(text).unwrap().timestamp_millis()
}

fn text(ms: i64) -> String {
    DateTime::from_timestamp_millis(ms).unwrap().format("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// The first times after a moment.
fn times(schedule: &str, zone: Option<&str>, after: &str, count: usize) -> Vec<String> {
    let schedule = Schedule::parse(schedule, zone).unwrap();
    let mut after = ms(after);
    let mut times = Vec::new();
    while times.len() < count {
        let Some(next) = schedule.next(after) else { break };
        times.push(text(next));
        after = next;
    }
    times
}

/// The table of <https://docs.aws.amazon.com/autoscaling/application/userguide/scheduled-scaling-using-cron-expressions.html>
/// and its other examples. 2026-11-21 is a Saturday.
#[test]
fn the_cron_examples_of_aws() {
    let table: [(&str, [&str; 3]); 12] = [
        // "Run at 10:00 am (UTC) every day"
        ("0 10 * * ? *", ["11-22T10:00", "11-23T10:00", "11-24T10:00"]),
        // "Run at 12:15 pm (UTC) every day"
        ("15 12 * * ? *", ["11-21T12:15", "11-22T12:15", "11-23T12:15"]),
        // "Run at 6:00 pm (UTC) every Monday through Friday"
        ("0 18 ? * MON-FRI *", ["11-23T18:00", "11-24T18:00", "11-25T18:00"]),
        // "Run at 8:00 am (UTC) the 1st day of every month"
        ("0 8 1 * ? *", ["12-01T08:00", "2027-01-01T08:00", "2027-02-01T08:00"]),
        // "Run every 15 minutes"
        ("0/15 * * * ? *", ["11-21T12:15", "11-21T12:30", "11-21T12:45"]),
        // "Run every 10 minutes Monday through Friday"
        ("0/10 * ? * MON-FRI *", ["11-23T00:00", "11-23T00:10", "11-23T00:20"]),
        // "Run every 5 minutes Monday through Friday between 8:00 am and 5:55 pm (UTC)"
        ("0/5 8-17 ? * MON-FRI *", ["11-23T08:00", "11-23T08:05", "11-23T08:10"]),
        // "recurs every Monday at 6:30 AM"
        ("30 6 ? * MON *", ["11-23T06:30", "11-30T06:30", "12-07T06:30"]),
        // Its edition of 2022 writes the open field as `*`; 2 is Monday.
        ("30 6 * * 2 *", ["11-23T06:30", "11-30T06:30", "12-07T06:30"]),
        // https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-cron-expressions.html: "3#2 refers to the
        // second Tuesday of the month"
        ("0 9 ? * 3#2 *", ["12-08T09:00", "2027-01-12T09:00", "2027-02-09T09:00"]),
        // "3W specifies the weekday closest to the third day of the month": 3 January 2027 is a Sunday.
        ("0 9 3W * ? *", ["12-03T09:00", "2027-01-04T09:00", "2027-02-03T09:00"]),
        // "you could enter 1/10 to specify every tenth minute, starting from the first minute of the hour"
        ("1/10 12 * * ? *", ["11-21T12:01", "11-21T12:11", "11-21T12:21"]),
    ];
    for (fields, expected) in table {
        let expected = expected.map(|time| {
            let year = if time.starts_with("2027") { "" } else { "2026-" };
            format!("{year}{time}:00Z")
        });
        let schedule = format!("cron({fields})");
        assert_eq!(times(&schedule, None, "2026-11-21T12:00:00Z", 3), expected, "{schedule}");
    }
}

#[test]
fn last_days_and_other_forms() {
    let table: [(&str, &[&str]); 9] = [
        ("0 0 L * ? *", &["2026-11-30T00:00:00Z", "2026-12-31T00:00:00Z", "2027-01-31T00:00:00Z"]),
        ("0 0 ? * 6L *", &["2026-11-27T00:00:00Z", "2026-12-25T00:00:00Z"]),
        ("0 0 ? * FRIL *", &["2026-11-27T00:00:00Z"]),
        ("0 0 ? * L *", &["2026-11-28T00:00:00Z"]),
        (
            "0 0 ? * SAT-MON *",
            &["2026-11-22T00:00:00Z", "2026-11-23T00:00:00Z", "2026-11-28T00:00:00Z"],
        ),
        ("0 0 29 FEB ? *", &["2028-02-29T00:00:00Z", "2032-02-29T00:00:00Z"]),
        ("0 0 1W AUG ? 2026,2027-2028", &["2027-08-02T00:00:00Z", "2028-08-01T00:00:00Z"]),
        ("30 0 12 21 11 ? 2026", &["2026-11-21T12:00:30Z"]),
        ("0 0 31 feb,Apr ? *", &[]),
    ];
    for (fields, expected) in table {
        let schedule = format!("cron({fields})");
        let count = expected.len().max(1);
        assert_eq!(times(&schedule, None, "2026-11-21T12:00:00Z", count), expected, "{schedule}");
    }
    // Sunday the 31st: within the month, so the Friday before it.
    let nearest = times("cron(0 0 31W JAN ? 2027)", None, "2026-11-21T12:00:00Z", 2);
    assert_eq!(nearest, ["2027-01-29T00:00:00Z"]);
}

/// The examples of <https://docs.aws.amazon.com/autoscaling/application/userguide/create-scheduled-actions.html>.
#[test]
fn the_examples_of_scheduled_actions() {
    // "10:00 PM UTC on March 31, 2021"
    let once = times("at(2021-03-31T22:00:00)", None, "2021-01-01T00:00:00Z", 3);
    assert_eq!(once, ["2021-03-31T22:00:00Z"]);
    // "5:00 PM local time on January 31, 2021"
    let new_york = Some("America/New_York");
    let once = times("at(2021-01-31T17:00:00)", new_york, "2021-01-01T00:00:00Z", 3);
    assert_eq!(once, ["2021-01-31T22:00:00Z"]);
    // "every Monday through Friday at 6:00 PM local time"
    let recurring = times("cron(0 18 ? * MON-FRI *)", Some("Etc/GMT+9"), "2026-11-21T12:00:00Z", 2);
    assert_eq!(recurring, ["2026-11-24T03:00:00Z", "2026-11-25T03:00:00Z"]);
    // "every 5 hours starting on January 30, 2021 at 12:00 PM UTC"
    let start = ms("2021-01-30T12:00:00Z");
    let rate = Schedule::parse("rate(5 hours)", None).unwrap().anchored(start);
    assert_eq!(rate.next(0), Some(start));
    assert_eq!(rate.next(start - 1), Some(start));
    assert_eq!(rate.next(start), Some(ms("2021-01-30T17:00:00Z")));
    assert_eq!(rate.next(ms("2021-01-31T22:59:59Z")), Some(ms("2021-01-31T23:00:00Z")));
    for (text, minutes) in [
        ("rate(1 minute)", 1),
        ("rate(1 hour)", 60),
        ("rate(2 days)", 2_880),
        (" rate( 3  minutes ) ", 3),
    ] {
        let rate = Schedule::parse(text, None).unwrap();
        assert_eq!(rate.next(0), Some(minutes * MINUTE_MS), "{text}");
    }
}

/// "When the time shifts forward in Spring, your schedule invocation gets skipped if the cron expression falls on
/// a non-existent date and time. When the time shifts back in the Fall, your schedule runs only once."
/// <https://repost.aws/knowledge-center/eventbridge-scheduler-adjust-dst>
#[test]
fn when_the_clocks_change() {
    let berlin = Some("Europe/Berlin");
    // 29 March 2026, 02:00 to 03:00.
    let spring = times("cron(30 2 * * ? *)", berlin, "2026-03-27T12:00:00Z", 3);
    assert_eq!(spring, ["2026-03-28T01:30:00Z", "2026-03-30T00:30:00Z", "2026-03-31T00:30:00Z"]);
    let hourly = times("cron(0 * * * ? *)", berlin, "2026-03-28T23:59:59Z", 3);
    assert_eq!(hourly, ["2026-03-29T00:00:00Z", "2026-03-29T01:00:00Z", "2026-03-29T02:00:00Z"]);
    // 25 October 2026, 03:00 back to 02:00.
    let autumn = times("cron(30 2 * * ? *)", berlin, "2026-10-24T12:00:00Z", 2);
    assert_eq!(autumn, ["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]);
    // Asked within the repeated hour.
    let within = times("cron(0/30 * * * ? *)", berlin, "2026-10-25T01:10:00Z", 1);
    assert_eq!(within, ["2026-10-25T02:00:00Z"]);
    let error = Schedule::parse("at(2026-03-29T02:30:00)", berlin).unwrap_err();
    assert_eq!(
        error.to_string(),
        "there is no `2026-03-29T02:30:00` in the time zone `Europe/Berlin`: its clocks are put forward then"
    );
}

#[test]
fn refusals() {
    let table = [
        ("", "is no schedule"),
        ("every day", "is no schedule"),
        ("when(1)", "is no schedule"),
        ("cron(0 0 * * ? *", "is no schedule"),
        ("at(2026-11-21)", "`2026-11-21` is no date and time"),
        ("at(2026-02-30T00:00:00)", "is no date and time"),
        ("rate(0 minutes)", "`0 minutes` is no rate"),
        ("rate(-1 minutes)", "is no rate"),
        ("rate(5 weeks)", "is no rate"),
        ("rate(5)", "is no rate"),
        ("rate(99999999999 days)", "is no rate"),
        ("cron(0 0 * * *)", "six fields, not 5"),
        ("cron()", "six fields, not 0"),
        ("cron(60 0 * * ? *)", "`60` is no minute"),
        ("cron(0 24 * * ? *)", "`24` is no hour"),
        ("cron(0 0 0 * ? *)", "`0` is no day of the month"),
        ("cron(0 0 32W * ? *)", "`32W` is no day of the month"),
        ("cron(0 0 1,L * ? *)", "`1,L` is no day of the month"),
        ("cron(0 0 1 FOO ? *)", "`FOO` is no month"),
        ("cron(0 0 ? * 8 *)", "`8` is no day of the week"),
        ("cron(0 0 ? * 3#6 *)", "`3#6` is no day of the week"),
        // "You can only have one expression … 3#1,6#3 is not valid"
        ("cron(0 0 ? * 3#1,6#3 *)", "is no day of the week"),
        ("cron(0 0 1 * ? 2200)", "`2200` is no year"),
        ("cron(0 0 1 * ? 2030-2020)", "is no year"),
        ("cron(0/0 0 1 * ? *)", "`0/0` is no minute"),
        ("cron(+5 0 1 * ? *)", "`+5` is no minute"),
        ("cron(, 0 1 * ? *)", "is no minute"),
        ("cron(0 0 1 * MON *)", "`1` and `MON`"),
        ("cron(0 0 ? * ? *)", "`?` and `?`"),
    ];
    for (text, words) in table {
        let message = Schedule::parse(text, None).unwrap_err().to_string();
        assert!(message.contains(words), "{text}: {message}");
    }
    let zone = Schedule::parse("rate(1 day)", Some("Mars/Olympus")).unwrap_err();
    assert!(zone.to_string().starts_with("there is no time zone `Mars/Olympus`\nhint: "), "{zone}");
}

fn any_schedule() -> impl Strategy<Value = (String, &'static str)> {
    let minutes = prop::sample::select(vec!["0", "0/15", "7,42", "*", "50-10/5"]);
    let hours = prop::sample::select(vec!["*", "2", "0/6", "22-3"]);
    let days = prop::sample::select(vec![
        ("*", "?"),
        ("?", "MON-FRI"),
        ("L", "?"),
        ("15W", "?"),
        ("?", "3#5"),
        ("?", "1L"),
        ("31", "?"),
    ]);
    let months = prop::sample::select(vec!["*", "MAR,OCT", "2,7", "11-1"]);
    let zones = prop::sample::select(vec![
        "UTC",
        "Europe/Berlin",
        "America/New_York",
        "Australia/Lord_Howe",
        "Asia/Kolkata",
        "Africa/Cairo",
    ]);
    let cron = (minutes, hours, days, months).prop_map(|(minutes, hours, (day, week), months)| {
        format!("cron({minutes} {hours} {day} {months} {week} *)")
    });
    let rate = (1_u32..1_000, prop::sample::select(vec!["minutes", "hours", "days"]))
        .prop_map(|(value, unit)| format!("rate({value} {unit})"));
    (prop_oneof![4 => cron, 1 => rate], zones)
}

proptest! {
    #[test]
    fn strictly_increasing_and_nothing_in_between(
        (schedule, zone) in any_schedule(),
        start in ms("2020-01-01T00:00:00Z")..ms("2090-01-01T00:00:00Z"),
        part in 0.0_f64..1.0,
    ) {
        let schedule = Schedule::parse(&schedule, Some(zone)).unwrap();
        let mut after = start;
        for _ in 0..5 {
            let next = schedule.next(after).unwrap();
            prop_assert!(next > after);
            // From anywhere between the two the answer is the same.
            let between = after + ((next - after - 1) as f64 * part) as i64;
            prop_assert_eq!(schedule.next(between), Some(next));
            after = next;
        }
    }

    #[test]
    fn whatever_comes_in_nothing_panics(
        text in "(cron|rate|at)?\\(?[-0-9A-Z*?,/# L:T]{0,30}\\)?",
        zone in prop::option::of("[A-Za-z/+0-9_]{0,20}"),
        after in any::<i64>(),
    ) {
        if let Ok(schedule) = Schedule::parse(&text, zone.as_deref()) {
            let next = schedule.next(after);
            prop_assert!(next.is_none_or(|next| next > after));
        }
    }

    #[test]
    fn no_moment_is_too_early_or_too_late((schedule, zone) in any_schedule(), after in any::<i64>()) {
        let schedule = Schedule::parse(&schedule, Some(zone)).unwrap();
        prop_assert!(schedule.next(after).is_none_or(|next| next > after));
    }
}
