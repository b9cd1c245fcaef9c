use super::*;
use crate::policy::Kind;

fn used(action: &str, resource: &str) -> Use {
    Use { action: action.to_owned(), resource: resource.to_owned() }
}

fn json(uses: &[Use], collapse: usize) -> String {
    policy(uses, Options { collapse }).unwrap().to_json()
}

const ENDPOINT: &str = "arn:aws:sagemaker:us-east-1:123456789012:endpoint/dogs";

#[test]
fn the_courses_one_statement() {
    let once = [used("sagemaker:InvokeEndpoint", ENDPOINT)];
    let twice = [once[0].clone(), used("SageMaker:invokeEndpoint", ENDPOINT)];
    let expected = format!(
        r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow","Action":["sagemaker:InvokeEndpoint"],"Resource":["{ENDPOINT}"]}}]}}"#
    );
    assert_eq!(json(&once, 10), expected);
    assert_eq!(json(&twice, 10), expected.replace("sagemaker:Inv", "SageMaker:inv"));
    assert_eq!(policy(&[], Options::default()), None);
}

#[test]
fn equal_resources_share_a_statement_and_order_does_not_matter() {
    let mut uses = vec![
        used("s3:PutObject", "arn:aws:s3:::dogs/a"),
        used("s3:GetObject", "arn:aws:s3:::dogs/a"),
        used("s3:ListAllMyBuckets", "arn:aws:s3:::dogs"),
        used("logs:PutLogEvents", "*"),
    ];
    let forwards = json(&uses, 10);
    uses.reverse();
    assert_eq!(json(&uses, 10), forwards);
    assert_eq!(
        forwards,
        r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["logs:PutLogEvents","s3:ListAllMyBuckets"],"Resource":["*"]},{"Effect":"Allow","Action":["s3:GetObject","s3:PutObject"],"Resource":["arn:aws:s3:::dogs/a"]}]}"#
    );
}

#[test]
fn many_names_become_a_star_and_few_do_not() {
    let uses: Vec<Use> =
        (0..4).map(|n| used("s3:GetObject", &format!("arn:aws:s3:::dogs/x/{n}.jpg"))).collect();
    assert!(json(&uses, 4).contains("dogs/x/3.jpg"));
    assert!(json(&uses, 3).contains(r#""Resource":["arn:aws:s3:::dogs/x/*"]"#));
    let folders: Vec<Use> = (0..16)
        .map(|n| used("s3:GetObject", &format!("arn:aws:s3:::dogs/{}/{}.jpg", n / 4, n % 4)))
        .collect();
    assert!(json(&folders, 3).contains(r#""Resource":["arn:aws:s3:::dogs/*"]"#));
    let buckets: Vec<Use> =
        (0..9).map(|n| used("s3:ListBucket", &format!("arn:aws:s3:::dogs{n}"))).collect();
    assert!(!json(&buckets, 1).contains('*'), "buckets have no common prefix to share");
}

#[test]
fn what_looks_like_a_wildcard_is_none() {
    let odd = [used("s3:GetObject", "arn:aws:s3:::dogs/a*b?c${aws:username}")];
    let document = policy(&odd, Options::default()).unwrap();
    assert!(covers(&document, &odd));
    assert!(!covers(&document, &[used("s3:GetObject", "arn:aws:s3:::dogs/axb?c${aws:username}")]));
}

proptest::proptest! {
    #[test]
    fn covers_its_uses_survives_json_and_nothing_beside_them(
        picks in proptest::collection::vec((0..3_usize, 0..3_usize, "[ab*?${}/:]{1,4}"), 1..12),
        collapse in 1..4_usize,
    ) {
        let actions = ["s3:GetObject", "s3:PutObject", "sagemaker:InvokeEndpoint"];
        let places = ["arn:aws:s3:::dogs/", "arn:aws:sagemaker:us-east-1:123456789012:endpoint/", "arn:aws:s3:::"];
        let uses: Vec<Use> = picks.iter().map(|(a, p, n)| used(actions[*a], &format!("{}{n}", places[*p]))).collect();
        let document = policy(&uses, Options { collapse }).unwrap();
        proptest::prop_assert!(covers(&document, &uses));
        proptest::prop_assert_eq!(&Document::parse(&document.to_json(), Kind::Identity).unwrap(), &document);
        proptest::prop_assert!(!covers(&document, &[used("s3:DeleteObject", "arn:aws:s3:::dogs/a")]));
        let exact = policy(&uses, Options { collapse: usize::MAX }).unwrap();
        let stranger = used(actions[0], "arn:aws:s3:::dogs/stranger");
        proptest::prop_assert!(!covers(&exact, &[stranger]));
    }
}
