use super::*;
use crate::testing::{Server, ok};

fn parsed(arguments: &[&str]) -> Arguments {
    #[derive(clap::Parser)]
    struct Cli {
        #[command(flatten)]
        scale: Arguments,
    }
    use clap::Parser as _;
    Cli::try_parse_from([&["scale"], arguments].concat()).unwrap().scale
}

#[test]
fn a_course_choice_is_one_command() {
    let describe = ok(r#"{"ProductionVariants":[{"VariantName":"AllTraffic"}]}"#);
    let registered = ok(r#"{"ScalableTargetARN":"arn:t"}"#);
    let put = ok(r#"{"PolicyARN":"arn:p","Alarms":[{"AlarmName":"a","AlarmARN":"b"}]}"#);
    let none = || ok("{}");
    let server = Server::replies(vec![describe, registered, put, none(), none(), none()]);
    let arguments = parsed(&[
        "set",
        "dogs",
        "--max",
        "3",
        "--target",
        "10",
        "--scale-out-cooldown",
        "30",
        "--scale-in-cooldown",
        "120",
    ]);
    let Verb::Set(set) = arguments.verb else { panic!("another verb") };
    target::set(&server.client(), &set).unwrap();
    let bodies: Vec<Value> =
        server.seen().iter().map(|seen| serde_json::from_slice(&seen.body).unwrap()).collect();
    assert_eq!(bodies[1]["ResourceId"], "endpoint/dogs/variant/AllTraffic");
    assert_eq!((&bodies[1]["MinCapacity"], &bodies[1]["MaxCapacity"]), (&json!(1), &json!(3)));
    assert_eq!(bodies[1]["Tags"], json!({"kennel:mode": "aws"}));
    let tracking = &bodies[2]["TargetTrackingScalingPolicyConfiguration"];
    assert_eq!(
        (&tracking["TargetValue"], &tracking["ScaleOutCooldown"], &tracking["ScaleInCooldown"]),
        (&json!(10.0), &json!(30), &json!(120))
    );
    let target = server.seen()[1].header("x-amz-target").map(str::to_owned);
    assert_eq!(target.as_deref(), Some("AnyScaleFrontendService.RegisterScalableTarget"));
}

#[test]
fn traces_are_read_and_nonsense_is_refused() {
    use kennel_scaling::trace::Trace;
    assert_eq!(
        scenario::trace("step:1,10,60,360").unwrap(),
        Trace::Step { low_rps: 1.0, high_rps: 10.0, at_s: 60.0, until_s: Some(360.0) }
    );
    assert_eq!(scenario::trace("constant:5").unwrap(), Trace::Constant { rps: 5.0 });
    for wrong in
        ["", "step", "step:1", "constant:-1", "constant:nan", "what:1", "csv:/no/such/file"]
    {
        assert!(scenario::trace(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn service_times_are_read() {
    let lognormal = scenario::service("12,30").unwrap();
    assert!((lognormal.quantile_ms(0.5) - 12.0).abs() < 0.5);
    assert!((scenario::service("7").unwrap().mean_ms() - 7.0).abs() < 1e-9);
    for wrong in ["a,b", "-3", "30,12", "/no/such/file"] {
        assert!(scenario::service(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn a_simulation_needs_no_platform() {
    let nobody = || -> Result<Client, ClientError> { panic!("it asked") };
    let arguments = parsed(&[
        "simulate",
        "--trace",
        "step:2,40,60",
        "--seconds",
        "600",
        "--service",
        "50,80",
        "--max",
        "5",
        "--target",
        "600",
    ]);
    let Verb::Simulate(simulate) = arguments.verb else { panic!("another verb") };
    simulate::run(nobody, &simulate).unwrap();
}

#[test]
fn bounds_that_cross_are_refused() {
    let nobody = || -> Result<Client, ClientError> { panic!("it asked") };
    let arguments = parsed(&["simulate", "--service", "5,9", "--min", "5", "--max", "2"]);
    let Verb::Simulate(simulate) = arguments.verb else { panic!("another verb") };
    let error = simulate::run(nobody, &simulate).unwrap_err();
    assert!(error.to_string().contains("--min 5 is more than --max 2"), "{error}");
}

#[test]
fn recommending_keeps_the_goal_or_fails() {
    let nobody = || -> Result<Client, ClientError> { panic!("it asked") };
    let run = |p99: &str| {
        let arguments = parsed(&[
            "recommend",
            "--trace",
            "constant:30",
            "--seconds",
            "300",
            "--service",
            "50,60",
            "--p99",
            p99,
            "--most",
            "4",
            "--simulations",
            "20",
        ]);
        let Verb::Recommend(recommend) = arguments.verb else { panic!("another verb") };
        recommend::run(nobody, &recommend)
    };
    run("500").unwrap();
    assert!(run("1").unwrap_err().to_string().contains("hint:"));
}

#[test]
fn steps_keep_their_corners() {
    let drawn = plot::steps(&[(0.0, 1.0), (1.0, 1.0), (2.0, 1.0), (3.0, 4.0), (4.0, 4.0)]);
    assert_eq!(drawn, [(0.0, 1.0), (2.0, 1.0), (3.0, 1.0), (3.0, 4.0), (4.0, 4.0)]);
}

#[test]
fn a_load_is_sent_at_its_times_and_everything_is_counted() {
    use crate::client::InvokeRequest;
    use crate::testing::Reply;
    let server = Server::start(|seen, number| {
        if seen.line.starts_with("POST /endpoints/") {
            return match number % 4 {
                0 => Reply(429, vec![], br#"{"__type":"ThrottlingException"}"#.to_vec()),
                1 => Reply(424, vec![], br#"{"__type":"ModelError","Message":"broken"}"#.to_vec()),
                _ => ok("[[1]]"),
            };
        }
        ok(
            r#"{"ProductionVariants":[{"VariantName":"V","CurrentInstanceCount":2,"DesiredInstanceCount":3}]}"#,
        )
    });
    let request = InvokeRequest {
        endpoint: "e".to_owned(),
        content_type: "image/jpeg".to_owned(),
        accept: None,
        variant: None,
        body: vec![1],
    };
    let arrivals: Vec<f64> = (0..40).map(|n| f64::from(n) * 0.005).collect();
    let plan = load::Plan {
        request: &request,
        variant: "V",
        arrivals: &arrivals,
        connections: 4,
        settle: None,
    };
    let run = load::run(&server.client(), &plan).unwrap();
    let count =
        |wanted: fn(&load::Outcome) -> bool| run.sent.iter().filter(|s| wanted(&s.outcome)).count();
    let (answered, throttled, failed) = (
        count(|o| *o == load::Outcome::Answered),
        count(|o| *o == load::Outcome::Throttled),
        count(|o| matches!(o, load::Outcome::Failed(_))),
    );
    assert_eq!(answered + throttled + failed, 40);
    assert!(answered > 0 && throttled > 0 && failed > 0, "{answered} {throttled} {failed}");
    assert!(run.sent.windows(2).all(|two| two[0].at_s <= two[1].at_s));
    assert!(run.lasted_s >= 0.195, "{}", run.lasted_s);
    let last = run.counts.last().unwrap();
    assert_eq!((last.ready, last.desired), (2, 3));
}
