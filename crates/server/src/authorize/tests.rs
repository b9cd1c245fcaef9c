use std::net::SocketAddr;

use kennel_iam::PolicyType;
use kennel_iam::policy::{Document, Kind};
use kennel_store::state::Database;
use serde_json::{Value, json};

use super::*;
use crate::context::Context;
use crate::identity::{Credentials as _, Peer};
use crate::s3::BucketPolicies;
use crate::service::Service as _;
use crate::sts::Sts;

pub(crate) const ACCOUNT: &str = "123456789012";
pub(crate) const NOW: Timestamp = Timestamp(1_795_248_000_000);
const ENDPOINT: &str = "arn:aws:sagemaker:us-east-1:123456789012:endpoint/dog";

/// IAM, its authoriser and buckets' policies over a folder of their own.
pub(crate) struct Stand {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) database: Database,
    pub(crate) iam: Iam,
    pub(crate) buckets: BucketPolicies,
    pub(crate) authorizer: PolicyAuthorizer,
}

pub(crate) async fn stand() -> Stand {
    let folder = tempfile::tempdir().unwrap();
    let migrations =
        [crate::iam::MIGRATIONS, kennel_store::objects::MIGRATIONS, crate::s3::MIGRATIONS];
    let database = Database::open(&folder.path().join("state.db"), &migrations).unwrap();
    let iam = Iam::open(database.clone(), folder.path(), Some(ACCOUNT), NOW).await.unwrap();
    let buckets = BucketPolicies::new(database.clone(), iam.clone());
    let authorizer =
        PolicyAuthorizer::new(iam.clone(), vec![Box::new(buckets.clone())], Vec::new());
    Stand { folder, database, iam, buckets, authorizer }
}

fn facts() -> Facts {
    let peer = Peer { address: SocketAddr::from(([203, 0, 113, 9], 1)), secure: false };
    Facts::of(&http::HeaderMap::new(), Some(peer), NOW, "us-east-1")
}

fn document(effect: &str, action: &str, resource: &str) -> Value {
    json!({"Version": "2012-10-17", "Statement": [
        {"Sid": "One", "Effect": effect, "Action": action, "Resource": resource}]})
}

fn conditioned(operator: &str, key: &str, value: &str) -> Value {
    let mut policy = document("Allow", "sagemaker:InvokeEndpoint", "*");
    policy["Statement"][0]["Condition"] = json!({operator: {key: value}});
    policy
}

impl Stand {
    pub(crate) fn root(&self) -> Caller {
        self.iam.lookup(&self.iam.root().access_key_id, NOW).unwrap().caller
    }

    fn context(&self, caller: Caller) -> Context {
        Context {
            request_id: "request".to_owned(),
            caller,
            region: "us-east-1".to_owned(),
            now: NOW,
            endpoint: "http://127.0.0.1:4566".to_owned(),
        }
    }

    pub(crate) async fn run(&self, operation: &str, input: Value) -> Value {
        let answer = self.iam.call(&self.context(self.root()), operation, input).await;
        answer.unwrap_or_else(|e| panic!("{operation}: {e}"))
    }

    /// A new user's key: id and secret.
    pub(crate) async fn user(&self, name: &str) -> (String, String) {
        self.run("CreateUser", json!({"UserName": name})).await;
        let key = self.run("CreateAccessKey", json!({"UserName": name})).await;
        let part = |member: &str| key["AccessKey"][member].as_str().unwrap().to_owned();
        (part("AccessKeyId"), part("SecretAccessKey"))
    }

    pub(crate) fn caller(&self, key: &str) -> Caller {
        self.iam.lookup(key, NOW).unwrap().caller
    }

    pub(crate) async fn inline(&self, user: &str, policy: &Value) {
        let input =
            json!({"UserName": user, "PolicyName": "own", "PolicyDocument": policy.to_string()});
        self.run("PutUserPolicy", input).await;
    }

    async fn role(&self, name: &str, principal: Value) {
        let trust = json!({"Version": "2012-10-17", "Statement": [
            {"Effect": "Allow", "Principal": principal, "Action": ["sts:AssumeRole", "sts:TagSession"]}]});
        let input = json!({"RoleName": name, "AssumeRolePolicyDocument": trust.to_string()});
        self.run("CreateRole", input).await;
    }

    /// A session of a role, made by the root.
    async fn session(&self, role: &str, more: Value) -> Caller {
        let mut input = json!({
            "RoleArn": format!("arn:aws:iam::{ACCOUNT}:role/{role}"), "RoleSessionName": "notebook",
        });
        for (name, value) in more.as_object().unwrap() {
            input[name] = value.clone();
        }
        let sts = Sts::new(self.iam.clone());
        let answer = sts.call(&self.context(self.root()), "AssumeRole", input).await.unwrap();
        self.caller(answer["Credentials"]["AccessKeyId"].as_str().unwrap())
    }

    pub(crate) fn ask(&self, caller: &Caller, need: &Need) -> Result<(), Denied> {
        self.authorizer.authorize(Question { caller: Some(caller), need, facts: &facts() })
    }

    fn may(&self, caller: &Caller, action: &'static str, resource: &str) -> bool {
        self.ask(caller, &Need::new(action, resource)).is_ok()
    }

    /// May it invoke the endpoint?
    fn invokes(&self, caller: &Caller) -> Result<(), String> {
        let need = Need::new("sagemaker:InvokeEndpoint", ENDPOINT);
        self.ask(caller, &need).map_err(|denied| denied.message)
    }
}

#[tokio::test]
async fn nobody_may_what_no_policy_allows_and_changes_count_at_once() {
    let stand = stand().await;
    let (key, _) = stand.user("ann").await;
    let ann = stand.caller(&key);
    let none = format!(
        "User: arn:aws:iam::{ACCOUNT}:user/ann is not authorized to perform: sagemaker:InvokeEndpoint on resource: {ENDPOINT} because no identity-based policy allows the sagemaker:InvokeEndpoint action"
    );
    assert_eq!(stand.invokes(&ann), Err(none.clone()));
    let full = json!({"UserName": "ann", "PolicyArn": "arn:aws:iam::aws:policy/AmazonSageMakerFullAccess"});
    stand.run("AttachUserPolicy", full.clone()).await;
    assert_eq!(stand.invokes(&ann), Ok(()));
    assert!(!stand.may(&ann, "iam:DeleteUser", "arn:aws:iam::123456789012:user/ann"));
    stand.run("DetachUserPolicy", full).await;
    assert_eq!(stand.invokes(&ann), Err(none));

    // A managed policy's default version is what counts.
    let narrow = document("Allow", "sagemaker:InvokeEndpoint", ENDPOINT).to_string();
    let made =
        stand.run("CreatePolicy", json!({"PolicyName": "p", "PolicyDocument": narrow})).await;
    let arn = made["Policy"]["Arn"].as_str().unwrap();
    stand.run("AttachUserPolicy", json!({"UserName": "ann", "PolicyArn": arn})).await;
    assert_eq!(stand.invokes(&ann), Ok(()));
    let other = document("Allow", "sagemaker:InvokeEndpoint", "arn:aws:sagemaker:*:*:endpoint/cat");
    let mut version = json!({"PolicyArn": arn, "PolicyDocument": other.to_string()});
    stand.run("CreatePolicyVersion", version.clone()).await;
    assert_eq!(stand.invokes(&ann), Ok(()));
    version["SetAsDefault"] = json!(true);
    stand.run("CreatePolicyVersion", version).await;
    assert!(stand.invokes(&ann).is_err());
    stand.run("SetDefaultPolicyVersion", json!({"PolicyArn": arn, "VersionId": "v1"})).await;
    assert_eq!(stand.invokes(&ann), Ok(()));

    // A deny wins, and says where.
    stand.inline("ann", &document("Deny", "sagemaker:*", "*")).await;
    let denied = stand.ask(&ann, &Need::new("sagemaker:InvokeEndpoint", ENDPOINT)).unwrap_err();
    assert!(
        denied.message.ends_with("with an explicit deny in an identity-based policy"),
        "{denied}"
    );
    assert_eq!(denied.reason, "denied by statement 0 `One` of inline: own (identity-based policy)");
    let gone = json!({"UserName": "ann", "PolicyName": "own"});
    stand.run("DeleteUserPolicy", gone).await;
    assert_eq!(stand.invokes(&ann), Ok(()));
}

#[tokio::test]
async fn a_boundary_limits_what_policies_allow() {
    let stand = stand().await;
    let (key, _) = stand.user("ann").await;
    let ann = stand.caller(&key);
    stand.inline("ann", &document("Allow", "*", "*")).await;
    let read = "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess";
    let boundary = json!({"UserName": "ann", "PermissionsBoundary": read});
    stand.run("PutUserPermissionsBoundary", boundary).await;
    assert!(stand.may(&ann, "s3:GetObject", "arn:aws:s3:::b/k"));
    assert!(!stand.may(&ann, "s3:PutObject", "arn:aws:s3:::b/k"));
    let message = stand.invokes(&ann).unwrap_err();
    assert!(
        message.ends_with(
            "because no permissions boundary allows the sagemaker:InvokeEndpoint action"
        ),
        "{message}"
    );
    stand.run("DeleteUserPermissionsBoundary", json!({"UserName": "ann"})).await;
    assert_eq!(stand.invokes(&ann), Ok(()));
}

#[tokio::test]
async fn a_session_is_narrowed_by_what_it_was_made_with() {
    let stand = stand().await;
    stand.role("Dog", json!({"AWS": ACCOUNT})).await;
    let full =
        json!({"RoleName": "Dog", "PolicyArn": "arn:aws:iam::aws:policy/AdministratorAccess"});
    stand.run("AttachRolePolicy", full).await;
    let whole = stand.session("Dog", json!({})).await;
    assert_eq!(stand.invokes(&whole), Ok(()));
    let inline = document("Allow", "s3:GetObject", "*").to_string();
    let narrow = stand.session("Dog", json!({"Policy": inline})).await;
    let message = stand.invokes(&narrow).unwrap_err();
    assert!(
        message.contains(&format!("User: arn:aws:sts::{ACCOUNT}:assumed-role/Dog/notebook is not")),
        "{message}"
    );
    assert!(
        message.ends_with("because no session policy allows the sagemaker:InvokeEndpoint action"),
        "{message}"
    );
    assert!(stand.may(&narrow, "s3:GetObject", "arn:aws:s3:::b/k"));
    // Managed session policies and the inline one add up.
    let logs = json!([{"arn": "arn:aws:iam::aws:policy/CloudWatchLogsReadOnlyAccess"}]);
    let both = json!({"Policy": inline, "PolicyArns": logs});
    let both = stand.session("Dog", both).await;
    assert!(stand.may(&both, "s3:GetObject", "arn:aws:s3:::b/k"));
    assert!(stand.may(&both, "logs:GetLogEvents", "*"));
    assert!(!stand.may(&both, "logs:PutLogEvents", "*"));
    // All sessions lose what the role loses.
    let detach =
        json!({"RoleName": "Dog", "PolicyArn": "arn:aws:iam::aws:policy/AdministratorAccess"});
    stand.run("DetachRolePolicy", detach).await;
    assert!(stand.invokes(&whole).is_err() && !stand.may(&both, "logs:GetLogEvents", "*"));
}

#[tokio::test]
async fn conditions_see_who_asks_from_where() {
    let stand = stand().await;
    let (key, _) = stand.user("ann").await;
    let ann = stand.caller(&key);
    let tag = json!({"UserName": "ann", "Tags": [{"Key": "team", "Value": "dogs"}]});
    stand.run("TagUser", tag).await;
    for (operator, key, value, holds) in [
        ("StringEquals", "aws:username", "ann", true),
        ("StringEquals", "aws:PrincipalTag/team", "dogs", true),
        ("StringEquals", "aws:PrincipalTag/team", "cats", false),
        ("IpAddress", "aws:SourceIp", "203.0.113.0/24", true),
        ("IpAddress", "aws:SourceIp", "10.0.0.0/8", false),
        ("Bool", "aws:SecureTransport", "true", false),
        ("StringEquals", "aws:RequestedRegion", "us-east-1", true),
        ("StringEquals", "aws:PrincipalAccount", ACCOUNT, true),
        ("StringEquals", "aws:ResourceAccount", ACCOUNT, true),
        ("ArnEquals", "aws:PrincipalArn", "arn:aws:iam::123456789012:user/ann", true),
        ("DateGreaterThan", "aws:CurrentTime", "2026-01-01T00:00:00Z", true),
        ("DateGreaterThan", "aws:CurrentTime", "2027-01-01T00:00:00Z", false),
        ("Null", "aws:MultiFactorAuthPresent", "true", true),
        ("Null", "aws:TokenIssueTime", "true", true),
        ("Bool", "aws:ViaAWSService", "false", true),
    ] {
        stand.inline("ann", &conditioned(operator, key, value)).await;
        assert_eq!(stand.invokes(&ann).is_ok(), holds, "{operator} {key} {value}");
    }
    // What the request brings is seen, too; a role's tags give way to its session's.
    let need = Need::new("iam:PassRole", "arn:aws:iam::123456789012:role/r")
        .with("iam:PassedToService", vec!["lambda.amazonaws.com".to_owned()]);
    let mut pass = document("Allow", "iam:PassRole", "*");
    let service = |name: &str| json!({"StringEquals": {"iam:PassedToService": name}});
    pass["Statement"][0]["Condition"] = service("sagemaker.amazonaws.com");
    stand.inline("ann", &pass).await;
    assert!(stand.ask(&ann, &need).is_err());
    pass["Statement"][0]["Condition"] = service("lambda.amazonaws.com");
    stand.inline("ann", &pass).await;
    assert!(stand.ask(&ann, &need).is_ok());

    stand.role("Dog", json!({"AWS": ACCOUNT})).await;
    let tag = json!({"RoleName": "Dog", "Tags": [{"Key": "Team", "Value": "cats"}]});
    stand.run("TagRole", tag).await;
    let tags = json!({"Tags": [{"Key": "team", "Value": "dogs"}]});
    let session = stand.session("Dog", tags).await;
    for (operator, key, value) in [
        ("StringEquals", "aws:PrincipalTag/team", "dogs"),
        ("Bool", "aws:MultiFactorAuthPresent", "false"),
        ("Null", "aws:TokenIssueTime", "false"),
        ("StringLike", "aws:userid", "AROA*:notebook"),
    ] {
        let policy = conditioned(operator, key, value).to_string();
        let input = json!({"RoleName": "Dog", "PolicyName": "own", "PolicyDocument": policy});
        stand.run("PutRolePolicy", input).await;
        assert_eq!(stand.invokes(&session), Ok(()), "{operator} {key} {value}");
    }
}

#[tokio::test]
async fn taking_a_role_needs_its_trust_and_unless_that_names_the_caller_a_policy() {
    let stand = stand().await;
    let (key, _) = stand.user("ann").await;
    let ann = stand.caller(&key);
    let user = format!("arn:aws:iam::{ACCOUNT}:user/ann");
    stand.role("Named", json!({"AWS": user})).await;
    stand.role("Account", json!({"AWS": ACCOUNT})).await;
    let arn = |role: &str| format!("arn:aws:iam::{ACCOUNT}:role/{role}");
    assert!(stand.may(&ann, "sts:AssumeRole", &arn("Named")));
    assert!(!stand.may(&ann, "sts:AssumeRole", &arn("Account")));
    stand.inline("ann", &document("Allow", "sts:AssumeRole", &arn("Account"))).await;
    assert!(stand.may(&ann, "sts:AssumeRole", &arn("Account")));
    stand.inline("ann", &document("Deny", "sts:AssumeRole", "*")).await;
    assert!(!stand.may(&ann, "sts:AssumeRole", &arn("Named")));
    // A role of another account has no trust that could be read.
    stand.inline("ann", &document("Allow", "*", "*")).await;
    assert!(!stand.may(&ann, "sts:AssumeRole", "arn:aws:iam::210987654321:role/Named"));
}

#[tokio::test]
async fn the_root_may_everything_of_its_own_account() {
    let stand = stand().await;
    let root = stand.root();
    assert_eq!(stand.invokes(&root), Ok(()));
    assert!(stand.may(&root, "iam:CreateUser", "*"));
    assert!(!stand.may(
        &root,
        "sagemaker:InvokeEndpoint",
        &ENDPOINT.replace(ACCOUNT, "210987654321")
    ));
}

#[tokio::test]
async fn an_organization_limits_everybody() {
    let stand = stand().await;
    let (key, _) = stand.user("ann").await;
    let ann = stand.caller(&key);
    stand.inline("ann", &document("Allow", "*", "*")).await;
    let policy = |text: Value| {
        let document = Document::parse(&text.to_string(), Kind::Identity).unwrap();
        Policy::new("scp", PolicyType::ServiceControl, document)
    };
    let level =
        vec![policy(document("Allow", "*", "*")), policy(document("Deny", "sagemaker:*", "*"))];
    let limited = PolicyAuthorizer::new(stand.iam.clone(), Vec::new(), vec![level]);
    let ask = |caller: &Caller, action: &'static str| {
        let need = Need::new(action, "*");
        limited.authorize(Question { caller: Some(caller), need: &need, facts: &facts() })
    };
    assert!(ask(&ann, "logs:PutLogEvents").is_ok());
    for caller in [&ann, &stand.root()] {
        let denied = ask(caller, "sagemaker:ListModels").unwrap_err();
        assert!(denied.message.ends_with("explicit deny in a service control policy"), "{denied}");
    }
}

#[tokio::test]
async fn the_platform_acts_for_a_role_with_the_roles_own_rights() {
    let stand = stand().await;
    stand.role("Dog", json!({"Service": "sagemaker.amazonaws.com"})).await;
    let role = format!("arn:aws:iam::{ACCOUNT}:role/Dog");
    let need = Need::new("s3:GetObject", "arn:aws:s3:::photos/a.jpg");
    let ask = || stand.authorizer.authorize_role(&role, &need, (NOW, "us-east-1"));
    let denied = ask().unwrap_err();
    assert!(
        denied.message.starts_with(&format!(
            "User: arn:aws:sts::{ACCOUNT}:assumed-role/Dog/SageMaker is not"
        )),
        "{denied}"
    );
    let full =
        json!({"RoleName": "Dog", "PolicyArn": "arn:aws:iam::aws:policy/AmazonS3FullAccess"});
    stand.run("AttachRolePolicy", full.clone()).await;
    assert_eq!(ask(), Ok(()));
    stand.run("DetachRolePolicy", full).await;
    stand.run("DeleteRole", json!({"RoleName": "Dog"})).await;
    assert_eq!(ask().unwrap_err().reason, "the role does not exist any more");
}
