use kennel_cost::Usage;

use super::*;
use crate::testing::{Reply, Server, ok};

/// The head of a price list, and lines of each offer as AWS writes them.
fn file(kind: OfferKind, date: &str) -> String {
    let head = format!(
        "\"FormatVersion\",\"v1.0\"\n\"Publication Date\",\"{date}T00:00:00Z\"\n\"OfferCode\",\"{}\"\n",
        kind.code()
    );
    let columns = r#""SKU","TermType","StartingRange","PricePerUnit","Currency","Location Type","Tenancy","Operating System","CapacityStatus","usageType","operation","Pre Installed S/W""#;
    let row = |usage_type: &str, price: &str| {
        format!(
            r#""A","OnDemand","0","{price}","USD","AWS Region","Shared","Linux","Used","EUC1-{usage_type}","RunInstances","NA""#
        )
    };
    let rows = match kind {
        OfferKind::SageMaker => {
            vec![row("Train:ml.m5.xlarge", "0.276"), row("Host:ml.m5.large", "0.138")]
        }
        OfferKind::Ec2 => vec![row("BoxUsage:m5.xlarge", "0.23")],
        OfferKind::Lambda => [
            "Request",
            "Lambda-GB-Second",
            "Lambda-GB-Second-ARM",
            "Lambda-Provisioned-Concurrency",
            "Lambda-Provisioned-Concurrency-ARM",
            "Lambda-Provisioned-GB-Second",
            "Lambda-Provisioned-GB-Second-ARM",
        ]
        .map(|unit| row(unit, "0.00001"))
        .to_vec(),
        OfferKind::S3 => ["TimedStorage-ByteHrs", "Requests-Tier1", "Requests-Tier2"]
            .map(|unit| row(unit, "0.0245"))
            .to_vec(),
    };
    format!("{head}{columns}\n{}\n", rows.join("\n"))
}

fn serve(date: &'static str, broken: Option<OfferKind>) -> Server {
    Server::start(move |seen, _| {
        let asked = OfferKind::ALL
            .into_iter()
            .find(|kind| seen.line.starts_with(&format!("GET {} ", kind.path("eu-central-1"))));
        match asked {
            Some(kind) if Some(kind) == broken => Reply(404, vec![], b"no".to_vec()),
            Some(kind) => ok(&file(kind, date)),
            None => Reply(404, vec![], b"no".to_vec()),
        }
    })
}

fn all(server: &Server) -> Result<Vec<Offered>, ClientError> {
    let mut spinner = Spinner::start();
    OfferKind::ALL
        .into_iter()
        .map(|kind| fetch(&server.url, kind, "eu-central-1", &mut spinner))
        .collect()
}

#[test]
fn a_fetched_list_is_kept_and_used() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kennel/prices.json");
    let offers = all(&serve("2099-01-02", None)).unwrap();
    write(&path, &offers, "2099-01-03").unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    let (catalogue, taken) = Catalogue::built_in().with_fetched(&text).unwrap();
    assert!(taken);
    let price = catalogue.hourly(Usage::Training, "ml.m5.xlarge", "eu-central-1").unwrap();
    assert_eq!((price.dollars, price.as_of.as_str(), price.verified), (0.276, "2099-01-02", true));
    assert!(price.source.contains("fetched 2099-01-03"), "{}", price.source);
    assert_eq!(catalogue.hourly(Usage::Ec2, "m5.xlarge", "eu-central-1").unwrap().dollars, 0.23);
    assert_eq!(catalogue.s3("eu-central-1").unwrap().gb_month, 0.0245);
    assert_eq!(catalogue.lambda("eu-central-1").unwrap().request, 0.00001);
    // Only what was asked for was asked for, and nothing is left beside the file.
    assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
}

#[test]
fn what_cannot_be_fetched_leaves_everything_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("prices.json");
    let error = all(&serve("2099-01-02", Some(OfferKind::Lambda))).unwrap_err();
    assert!(error.to_string().contains("there is none for `eu-central-1`"), "{error}");
    let old = all(&serve("2001-01-02", None)).unwrap();
    let error = write(&path, &old, "2099-01-03").unwrap_err();
    assert!(error.to_string().contains("older than the built-in"), "{error}");
    assert!(!path.exists());
    // Nobody listens there.
    let mut spinner = Spinner::start();
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", nobody.local_addr().unwrap());
    drop(nobody);
    let error = fetch(&url, OfferKind::S3, "us-east-1", &mut spinner).unwrap_err();
    assert!(error.to_string().contains("stay in use"), "{error}");
    let page = Server::start(|_, _| ok(&"<html>\n".repeat(200)));
    let error = fetch(&page.url, OfferKind::S3, "us-east-1", &mut spinner).unwrap_err();
    assert!(error.to_string().contains("no price list of AWS"), "{error}");
}

#[test]
fn lines_of_any_length_take_bounded_memory() {
    let mut text = "a\n".to_owned();
    text.push_str(&"x".repeat(3 * MAX_LINE + 5));
    text.push_str("\nlast");
    let mut seen = Vec::new();
    lines(BufReader::with_capacity(1000, text.as_bytes()), |line| {
        seen.push((line.len(), line.chars().next()));
        Ok(())
    })
    .unwrap();
    assert_eq!(seen, [(2, Some('a')), (MAX_LINE, Some('x')), (4, Some('l'))]);
}
