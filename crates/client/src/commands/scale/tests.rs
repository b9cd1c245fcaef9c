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
    let server = Server::replies(vec![describe, registered, none(), put, none(), none(), none()]);
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
    assert_eq!(bodies[2], json!({"ResourceARN": "arn:t", "Tags": {"kennel:mode": "aws"}}));
    let tracking = &bodies[3]["TargetTrackingScalingPolicyConfiguration"];
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
