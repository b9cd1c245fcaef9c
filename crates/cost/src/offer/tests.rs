use proptest::prelude::*;

use super::*;

const HEAD: &str = r#""FormatVersion","v1.0"
"Disclaimer","This pricing list is for informational purposes only."
"Publication Date","2099-03-04T05:06:07Z"
"Version","20990304050607"
"OfferCode","CODE"
"#;

const SAGEMAKER: &str = r#""SKU","OfferTermCode","RateCode","TermType","PriceDescription","EffectiveDate","StartingRange","EndingRange","Unit","PricePerUnit","Currency","Location","Location Type","Instance Type","usageType","operation"
"A","J","A.J","OnDemand","$0.25 per Training ml.m5.xlarge hour, ""list""","2099-03-01","0","Inf","Hrs","0.2500000000","USD","US West (Oregon)","AWS Region","","USW2-Train:ml.m5.xlarge","RunInstance"
"B","J","B.J","OnDemand","$0.12 per Hosting ml.m5.large hour","2099-03-01","0","Inf","Hrs","0.1200000000","USD","US West (Oregon)","AWS Region","","USW2-Host:ml.m5.large","RunInstance"
"C","J","C.J","OnDemand","$0.06 per Notebook ml.t3.medium hour","2099-03-01","0","Inf","Hrs","0.0600000000","USD","US West (Oregon)","AWS Region","","USW2-Notebk:ml.t3.medium","RunInstance"
"D","J","D.J","OnDemand","$9 per Studio","2099-03-01","0","Inf","Hrs","9","USD","US West (Oregon)","AWS Region","","USW2-Studio:KernelGateway-ml.m5.large","RunInstance"
"E","J","E.J","OnDemand","unknown","2099-03-01","0","Inf","Hrs","9","USD","US West (Oregon)","AWS Region","","USW2-Train:ml.z9.huge","RunInstance"
"F","J","F.J","OnDemand","broken","2099-03-01","0","Inf","Hrs","many","USD","US West (Oregon)","AWS Region","","USW2-Train:ml.c5.xlarge","RunInstance"
"#;

const EC2: &str = r#""SKU","OfferTermCode","RateCode","TermType","PriceDescription","EffectiveDate","StartingRange","EndingRange","Unit","PricePerUnit","Currency","Location Type","Instance Type","Tenancy","Operating System","CapacityStatus","usageType","operation","Pre Installed S/W"
"A","J","A","OnDemand","m5.xlarge","2099","0","Inf","Hrs","0.2","USD","AWS Region","m5.xlarge","Shared","Linux","Used","BoxUsage:m5.xlarge","RunInstances","NA"
"B","J","B","OnDemand","windows","2099","0","Inf","Hrs","0.9","USD","AWS Region","m5.xlarge","Shared","Windows","Used","BoxUsage:m5.xlarge","RunInstances:0002","NA"
"C","J","C","OnDemand","unused","2099","0","Inf","Hrs","0.9","USD","AWS Region","m5.xlarge","Shared","Linux","UnusedCapacityReservation","UnusedBox:m5.xlarge","RunInstances","NA"
"D","J","D","Reserved","reserved","2099","0","Inf","Hrs","0.1","USD","AWS Region","m5.xlarge","Shared","Linux","Used","BoxUsage:m5.xlarge","RunInstances","NA"
"E","J","E","OnDemand","zone","2099","0","Inf","Hrs","0.8","USD","AWS Local Zone","m5.xlarge","Shared","Linux","Used","BOS1-BoxUsage:m5.xlarge","RunInstances","NA"
"F","J","F","OnDemand","sql","2099","0","Inf","Hrs","0.8","USD","AWS Region","m5.xlarge","Shared","Linux","Used","BoxUsage:m5.xlarge","RunInstances","SQL Std"
"G","J","G","OnDemand","dedicated","2099","0","Inf","Hrs","0.8","USD","AWS Region","m5.xlarge","Dedicated","Linux","Used","DedicatedUsage:m5.xlarge","RunInstances","NA"
"#;

const LAMBDA: &str = r#""SKU","TermType","StartingRange","EndingRange","PricePerUnit","Currency","usageType"
"A","OnDemand","0","Inf","0.0000002","USD","EU-Request"
"B","OnDemand","0","6000000000","0.0000166667","USD","EU-Lambda-GB-Second"
"C","OnDemand","6000000000","Inf","0.000015","USD","EU-Lambda-GB-Second"
"D","OnDemand","0","Inf","0.0000133334","USD","EU-Lambda-GB-Second-ARM"
"E","OnDemand","0","Inf","0.0000041667","USD","EU-Lambda-Provisioned-Concurrency"
"F","OnDemand","0","Inf","0.0000033334","USD","EU-Lambda-Provisioned-Concurrency-ARM"
"G","OnDemand","0","Inf","0.0000097222","USD","EU-Lambda-Provisioned-GB-Second"
"H","OnDemand","0","Inf","0.0000077778","USD","EU-Lambda-Provisioned-GB-Second-ARM"
"#;

fn read(kind: OfferKind, region: &str, body: &str) -> Result<Offered, CostError> {
    let mut reader = OfferReader::new(kind, region, &Catalogue::built_in());
    for line in HEAD.replace("CODE", kind.code()).lines().chain(body.lines()) {
        reader.line(line)?;
    }
    reader.finish()
}

#[test]
fn prices_that_matter_are_kept_and_others_left() {
    let found = read(OfferKind::SageMaker, "us-west-2", SAGEMAKER).unwrap();
    assert_eq!(found.published, "2099-03-04");
    assert_eq!(found.hourly[&Usage::Training], BTreeMap::from([("ml.m5.xlarge".into(), 0.25)]));
    assert_eq!(found.hourly[&Usage::Hosting], BTreeMap::from([("ml.m5.large".into(), 0.12)]));
    assert_eq!(found.hourly[&Usage::Notebook], BTreeMap::from([("ml.t3.medium".into(), 0.06)]));
    let found = read(OfferKind::Ec2, "us-east-1", EC2).unwrap();
    assert_eq!(found.hourly[&Usage::Ec2], BTreeMap::from([("m5.xlarge".into(), 0.2)]));
    let found = read(OfferKind::Lambda, "eu-west-1", LAMBDA).unwrap();
    assert_eq!(found.units["Lambda-GB-Second"], 0.000_016_666_7);
    assert_eq!(found.units.len(), 7);
}

#[test]
fn merged_offers_are_laid_over_the_catalogue_region_by_region() {
    let sagemaker = read(OfferKind::SageMaker, "us-west-2", SAGEMAKER).unwrap();
    let lambda = read(OfferKind::Lambda, "eu-west-1", LAMBDA).unwrap();
    let first = merge(&[sagemaker], None, "fetched 2099-03-05").unwrap();
    let both = merge(&[lambda], Some(&first), "fetched 2099-03-06").unwrap();
    let again = merge(
        &[read(OfferKind::SageMaker, "us-west-2", &SAGEMAKER.replace("0.25", "0.26")).unwrap()],
        Some(&both),
        "fetched 2099-03-07",
    )
    .unwrap();
    let built_in = Catalogue::built_in();
    let (catalogue, taken) = built_in.with_fetched(&again).unwrap();
    assert!(taken);
    assert_eq!(catalogue.as_of(), "2099-03-04");
    let price = catalogue.hourly(Usage::Training, "ml.m5.xlarge", "us-west-2").unwrap();
    assert!(price.verified && price.dollars == 0.26, "{price:?}");
    // Nothing else changed.
    for region in ["us-east-1", "eu-west-1"] {
        assert_eq!(
            catalogue.hourly(Usage::Training, "ml.m5.xlarge", region),
            built_in.hourly(Usage::Training, "ml.m5.xlarge", region)
        );
    }
    assert_eq!(catalogue.lambda("eu-west-1").unwrap().source, "fetched/AWSLambda/eu-west-1");
}

#[test]
fn other_files_are_refused_with_words() {
    let said = |kind, body: &str| read(kind, "us-east-1", body).unwrap_err().to_string();
    assert!(said(OfferKind::Ec2, "").contains("column names"));
    assert!(said(OfferKind::Ec2, "\"SKU\",\"x\"").contains("lacks a column"));
    assert!(said(OfferKind::Ec2, LAMBDA).contains("no price of AmazonEC2"));
    let mut reader = OfferReader::new(OfferKind::S3, "us-east-1", &Catalogue::built_in());
    assert!(
        reader.line("\"OfferCode\",\"AmazonEC2\"").unwrap_err().to_string().contains("AmazonS3")
    );
    let mut reader = OfferReader::new(OfferKind::S3, "us-east-1", &Catalogue::built_in());
    let endless = (0..1000).find_map(|_| reader.line("<html>").err());
    assert!(endless.is_some());
}

proptest! {
    #[test]
    fn no_line_makes_the_reader_panic(lines in prop::collection::vec("[\\PC\"\\\\,]{0,80}", 0..20)) {
        let mut reader = OfferReader::new(OfferKind::Ec2, "us-east-1", &Catalogue::built_in());
        for line in EC2.lines().take(1).map(str::to_owned).chain(lines) {
            let _ = reader.line(&format!("{line},OnDemand"));
        }
        let _ = reader.finish();
    }

    #[test]
    fn fields_come_back_as_they_were_written(row in prop::collection::vec("[a-z\",é ]{0,12}", 1..8)) {
        let written: Vec<String> =
            row.iter().map(|field| format!("\"{}\"", field.replace('"', "\"\""))).collect();
        prop_assert_eq!(fields(&written.join(",")), row);
    }

    #[test]
    fn no_text_makes_the_catalogue_panic(text in "\\PC{0,200}") {
        let _ = Catalogue::parse(&text);
        let _ = Catalogue::built_in().with_fetched(&text);
    }
}
