use super::*;

#[test]
fn the_built_in_file_can_be_read_and_every_price_has_a_type_and_a_source() {
    let catalogue = Catalogue::parse(BUILT_IN).unwrap();
    assert_eq!(catalogue.as_of().len(), 10);
    for group in &catalogue.data.prices {
        let source = &catalogue.data.sources[&group.source];
        assert_eq!(source.as_of.len(), 10, "{}", group.source);
        for name in group.hourly.keys() {
            assert_eq!(name.starts_with("ml."), !group.usage.is_ec2(), "{name}");
            assert!(catalogue.instance(name).is_some(), "{name}");
        }
    }
    for usage in Usage::ALL {
        for region in ["us-east-1", "us-west-2", "eu-west-1"] {
            assert!(catalogue.regions(usage).contains(&region), "{usage} {region}");
        }
    }
}

#[test]
fn what_the_course_meets_has_a_price() {
    let catalogue = Catalogue::built_in();
    let price = |usage, name| catalogue.hourly(usage, name, "us-east-1").unwrap();
    assert_eq!(price(Usage::Notebook, "ml.t3.medium").dollars, 0.05);
    assert_eq!(price(Usage::Training, "ml.m5.xlarge").dollars, 0.23);
    assert_eq!(price(Usage::Training, "ml.g4dn.xlarge").dollars, 0.736);
    assert_eq!(price(Usage::Hosting, "ml.m5.large").dollars, 0.115);
    assert_eq!(price(Usage::Hosting, "ml.t2.medium").dollars, 0.056);
    assert_eq!(price(Usage::Ec2, "g4dn.xlarge").dollars, 0.526);
    assert!(price(Usage::Training, "ml.m5.xlarge").verified);
    assert!(!price(Usage::Training, "ml.m4.xlarge").verified);
    assert!(!price(Usage::TrainingSpot, "ml.m5.xlarge").verified);
    // The name may have its prefix or not.
    assert_eq!(price(Usage::Training, "m5.xlarge"), price(Usage::Training, "ml.m5.xlarge"));
}

#[test]
fn spot_is_cheaper_and_sagemaker_dearer_than_ec2() {
    let catalogue = Catalogue::built_in();
    for region in ["us-east-1", "us-west-2", "eu-west-1"] {
        for kind in catalogue.types(Usage::Training) {
            let Ok(price) = catalogue.hourly(Usage::Training, &kind.name, region) else { continue };
            let spot = catalogue.hourly(Usage::TrainingSpot, &kind.name, region).unwrap();
            let bare = catalogue.hourly(Usage::Ec2, &kind.name, region).unwrap();
            let bare_spot = catalogue.hourly(Usage::Ec2Spot, &kind.name, region).unwrap();
            assert!(spot.dollars < price.dollars, "{} {region}", kind.name);
            assert!(bare_spot.dollars < bare.dollars, "{} {region}", kind.name);
            let surcharge = price.dollars / bare.dollars;
            assert!((1.1..1.45).contains(&surcharge), "{} {region}: {surcharge}", kind.name);
        }
    }
}

#[test]
fn what_is_not_there_is_said_with_the_next_step() {
    let catalogue = Catalogue::built_in();
    let said =
        |name, region| catalogue.hourly(Usage::Hosting, name, region).unwrap_err().to_string();
    assert!(said("ml.x9.huge", "us-east-1").contains("kennel cost catalogue"));
    assert!(said("ml.m5.large", "mars-1").contains("us-east-1"));
    assert!(said("ml.t3.medium", "us-east-1").contains("for hosting in `us-east-1`"));
    assert!(catalogue.lambda("mars-1").unwrap_err().to_string().contains("eu-west-1"));
}

#[test]
fn broken_files_are_refused() {
    for text in ["", "{}", "[]", "{\"as_of\":1}", "null"] {
        assert!(Catalogue::parse(text).is_err());
    }
    let no_price = BUILT_IN.replace("\"ml.m5.xlarge\": 0.23", "\"ml.m5.xlarge\": -1");
    assert!(Catalogue::parse(&no_price).unwrap_err().to_string().contains("ml.m5.xlarge"));
    let no_source = BUILT_IN.replace("\"source\": \"sagemaker-2026-09\"", "\"source\": \"dream\"");
    assert!(Catalogue::parse(&no_source).unwrap_err().to_string().contains("dream"));
}

#[test]
fn fetched_prices_win_when_they_are_newer() {
    let catalogue = Catalogue::built_in();
    let fetched = |date: &str| {
        format!(
            r#"{{"as_of":"{date}","source":"list","sources":{{"sagemaker-2026-09":{{"source":"fetched list","as_of":"{date}"}}}},
            "prices":[{{"usage":"training","region":"us-east-1","source":"sagemaker-2026-09","verified":true,"hourly":{{"ml.m5.xlarge":0.5}}}}]}}"#
        )
    };
    let (new, taken) = catalogue.with_fetched(&fetched("2099-01-01")).unwrap();
    assert!(taken);
    let price = new.hourly(Usage::Training, "ml.m5.xlarge", "us-east-1").unwrap();
    assert_eq!((price.dollars, price.source.as_str()), (0.5, "fetched list"));
    // What it does not tell stays, with its own source.
    let other = new.hourly(Usage::Training, "ml.m5.2xlarge", "us-east-1").unwrap();
    assert_ne!(other.source, "fetched list");
    let (old, taken) = catalogue.with_fetched(&fetched("2020-01-01")).unwrap();
    assert!(!taken);
    assert_eq!(old.hourly(Usage::Training, "ml.m5.xlarge", "us-east-1").unwrap().dollars, 0.23);
    assert!(catalogue.with_fetched("{").is_err());
}
