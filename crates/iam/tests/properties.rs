//! What must hold of every decision, whatever the policies and the request.
#![expect(clippy::unwrap_used, reason = "this file is a test")]

use kennel_iam::policy::{Document, Effect, Kind, Scope, Statement};
use kennel_iam::{
    Arn, Context, Decision, Outcome, Policies, Policy, PolicyType, Principal, Request, decide,
    explain,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};

const ACCOUNT: &str = "123456789012";
const ACTIONS: [&str; 4] = ["s3:GetObject", "s3:PutObject", "iam:PassRole", "logs:PutLogEvents"];
const RESOURCES: [&str; 4] =
    ["arn:aws:s3:::dogs/a", "arn:aws:s3:::cats/b", "arn:aws:iam::123456789012:role/Dog", "*"];
const DENY_ALL: &str = r#"{"Effect":"Deny","Action":"*","Resource":"*"}"#;

/// A request that owns its texts.
#[derive(Debug, Clone)]
struct Asked {
    principal: Principal<'static>,
    action: &'static str,
    resource: &'static str,
    context: Context,
}

impl Asked {
    fn request(&self) -> Request<'_> {
        Request {
            principal: self.principal,
            action: self.action,
            resource: self.resource,
            resource_account: ACCOUNT,
            context: &self.context,
        }
    }

    fn decide(&self, policies: &Policies) -> Decision {
        decide(&self.request(), policies)
    }
}

fn principals() -> [Principal<'static>; 6] {
    [
        Principal::Root { account: ACCOUNT },
        Principal::User {
            account: ACCOUNT,
            arn: "arn:aws:iam::123456789012:user/ann",
            id: "AIDAEXAMPLEANN000",
            name: "ann",
        },
        Principal::User {
            account: "210987654321",
            arn: "arn:aws:iam::210987654321:user/eve",
            id: "AIDAEXAMPLEEVE000",
            name: "eve",
        },
        Principal::Session {
            account: ACCOUNT,
            role_arn: "arn:aws:iam::123456789012:role/Dog",
            role_id: "AROAEXAMPLEDOG000",
            session_arn: "arn:aws:sts::123456789012:assumed-role/Dog/nb",
            session_name: "nb",
        },
        Principal::Service("lambda.amazonaws.com"),
        Principal::Anonymous,
    ]
}

fn asked() -> impl Strategy<Value = Asked> {
    let tags = vec(select(vec!["a", "b", "team"]), 0..3);
    (
        select(principals().to_vec()),
        select(ACTIONS.to_vec()),
        select(RESOURCES.to_vec()),
        option::of(tags),
        any::<bool>(),
    )
        .prop_map(|(principal, action, resource, tags, secure)| {
            let mut context = Context::new();
            context.set_principal(principal);
            context.set("aws:SecureTransport", secure.to_string());
            if let Some(tags) = tags {
                context.set_many("aws:TagKeys", tags.into_iter().map(str::to_owned).collect());
            }
            Asked { principal, action, resource, context }
        })
}

fn statement(effect: &'static str, who: bool) -> impl Strategy<Value = Value> {
    let actions = vec(
        select(vec!["*", "s3:*", "s3:Get*", "S3:putobject", "iam:PassRole", "*:Put*", "x:y"]),
        1..3,
    );
    let resources = vec(
        select(vec![
            "*",
            "arn:aws:s3:::*",
            "arn:aws:s3:::dogs/?",
            "arn:aws:s3:::dogs/${aws:username}",
            "arn:aws:iam::*:role/*",
        ]),
        1..3,
    );
    let condition = option::weighted(
        0.4,
        select(vec![
            json!({"Bool": {"aws:SecureTransport": "true"}}),
            json!({"ForAllValues:StringEquals": {"aws:TagKeys": ["a", "b"]}}),
            json!({"ForAnyValue:StringNotLike": {"aws:TagKeys": ["a*"]}}),
            json!({"StringNotEquals": {"aws:username": ["ann", "bob"]}}),
            json!({"ArnLikeIfExists": {"aws:PrincipalArn": "arn:aws:iam::*:role/*"}}),
            json!({"Null": {"aws:TagKeys": "false"}, "StringLike": {"aws:userid": "A*${aws:username, 'nb'}"}}),
        ]),
    );
    let principal = select(vec![
        json!("*"),
        json!({"AWS": ACCOUNT}),
        json!({"AWS": "arn:aws:iam::123456789012:user/ann"}),
        json!({"AWS": ["arn:aws:iam::123456789012:role/Dog", "210987654321"]}),
        json!({"AWS": "arn:aws:sts::123456789012:assumed-role/Dog/nb"}),
        json!({"Service": "lambda.amazonaws.com"}),
    ]);
    let nots = (any::<bool>(), any::<bool>(), prop::bool::weighted(0.2));
    (actions, resources, condition, principal, nots).prop_map(
        move |(actions, resources, condition, principal, nots)| {
            let named = |not: bool, name: &str| format!("{}{name}", if not { "Not" } else { "" });
            let mut statement = json!({"Effect": effect});
            statement[named(nots.0, "Action")] = json!(actions);
            statement[named(nots.1, "Resource")] = json!(resources);
            if who {
                statement[named(nots.2, "Principal")] = principal;
            }
            if let Some(condition) = condition {
                statement["Condition"] = condition;
            }
            statement
        },
    )
}

fn document(who: bool) -> impl Strategy<Value = Document> {
    let effects = prop_oneof![3 => statement("Allow", who), 1 => statement("Deny", who)];
    vec(effects, 1..4).prop_map(move |statements| parse(&json!(statements), who))
}

fn parse(statements: &Value, who: bool) -> Document {
    let text = json!({"Version": "2012-10-17", "Statement": statements}).to_string();
    Document::parse(&text, if who { Kind::Resource } else { Kind::Identity }).unwrap()
}

fn of(policy_type: PolicyType) -> impl Strategy<Value = Policy> {
    let who = matches!(policy_type, PolicyType::Resource | PolicyType::ResourceControl);
    document(who).prop_map(move |document| Policy::new("p", policy_type, document))
}

fn policies() -> impl Strategy<Value = Policies> {
    (
        vec(of(PolicyType::Identity), 0..4),
        option::weighted(0.3, of(PolicyType::Boundary)),
        option::weighted(0.3, vec(of(PolicyType::Session), 0..3)),
        option::of(of(PolicyType::Resource)),
        vec(vec(of(PolicyType::ServiceControl), 1..3), 0..3),
        vec(vec(of(PolicyType::ResourceControl), 1..3), 0..2),
    )
        .prop_map(
            |(identity, boundary, session, resource, service_control, resource_control)| Policies {
                identity,
                boundary,
                session,
                resource,
                service_control,
                resource_control,
            },
        )
}

fn with_statement(policy: &Policy, statement: Statement) -> Policy {
    let mut document = policy.document().clone();
    document.statements.push(statement);
    Policy::new(policy.name(), policy.policy_type(), document)
}

/// Every policy through `f`.
fn each(policies: &Policies, f: impl Fn(&Policy) -> Policy) -> Policies {
    let all = |list: &Vec<Policy>| list.iter().map(&f).collect::<Vec<_>>();
    Policies {
        identity: all(&policies.identity),
        boundary: policies.boundary.as_ref().map(&f),
        session: policies.session.as_ref().map(all),
        resource: policies.resource.as_ref().map(&f),
        service_control: policies.service_control.iter().map(all).collect(),
        resource_control: policies.resource_control.iter().map(all).collect(),
    }
}

fn reversed(policies: &Policies) -> Policies {
    let mut turned = each(policies, |policy| {
        let mut document = policy.document().clone();
        document.statements.reverse();
        Policy::new(policy.name(), policy.policy_type(), document)
    });
    turned.identity.reverse();
    turned.session.iter_mut().for_each(|list| list.reverse());
    for level in turned.service_control.iter_mut().chain(&mut turned.resource_control) {
        level.reverse();
    }
    turned.service_control.reverse();
    turned.resource_control.reverse();
    turned
}

/// The obvious evaluation of one policy without conditions and variables: does a statement of this effect apply?
fn says(policy: &Policy, effect: Effect, asked: &Asked) -> bool {
    let arn: Option<Arn> = asked.resource.parse().ok();
    policy.document().statements.iter().filter(|s| s.effect == effect).any(|s| {
        let resource = s.resource.as_ref().unwrap();
        s.action.covers(|pattern| pattern.matches(asked.action))
            && resource.covers(|pattern| match pattern {
                kennel_iam::policy::ResourcePattern::Any => true,
                kennel_iam::policy::ResourcePattern::Arn(pattern) => {
                    arn.as_ref().is_some_and(|arn| pattern.matches(arn))
                }
            })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn explain_agrees_with_decide(asked in asked(), policies in policies()) {
        let decision = asked.decide(&policies);
        let trace = explain(&asked.request(), &policies);
        prop_assert_eq!(&decision, &trace.decision);
        prop_assert_eq!(decision.allowed(), trace.message.is_none());
        let simulated = kennel_iam::simulate::simulate(&asked.request(), &policies);
        prop_assert_eq!(&decision, &simulated.decision);
        // The statement that decided is one that applies, with the right effect.
        if let Some(by) = &decision.by {
            let wanted = if decision.outcome == Outcome::ExplicitDeny { "Deny" } else { "Allow" };
            let applies = trace.policies.iter().filter(|p| p.policy_type == by.policy_type)
                .filter_map(|p| p.statements.get(by.statement))
                .any(|s| s.applies && s.effect == wanted);
            prop_assert!(applies);
        }
    }

    #[test]
    fn order_does_not_matter(asked in asked(), policies in policies()) {
        let (a, b) = (asked.decide(&policies), asked.decide(&reversed(&policies)));
        prop_assert_eq!((a.outcome, a.decided_by()), (b.outcome, b.decided_by()));
    }

    #[test]
    fn an_explicit_deny_wins(asked in asked(), mut policies in policies(), side in 0..4_usize) {
        let deny: Value = serde_json::from_str(DENY_ALL).unwrap();
        let plain = |policy_type| Policy::new("d", policy_type, parse(&json!([deny]), false));
        let mut everybody = deny.clone();
        everybody["Principal"] = json!("*");
        let resource = Policy::new("d", PolicyType::Resource, parse(&json!([everybody]), true));
        let attached = matches!(asked.principal, Principal::User { .. } | Principal::Session { .. });
        match side {
            0 if attached => policies.identity.push(plain(PolicyType::Identity)),
            1 if attached => policies.boundary = Some(plain(PolicyType::Boundary)),
            2 if asked.principal.account().is_some() => {
                policies.service_control.push(vec![plain(PolicyType::ServiceControl)]);
            }
            _ => policies.resource = Some(resource),
        }
        prop_assert_eq!(asked.decide(&policies).outcome, Outcome::ExplicitDeny);
    }

    #[test]
    fn an_allow_never_takes_away(
        asked in asked(), mut policies in policies(), more in statement("Allow", false),
    ) {
        let before = asked.decide(&policies).allowed();
        policies.identity.push(Policy::new("m", PolicyType::Identity, parse(&json!([more]), false)));
        prop_assert!(!before || asked.decide(&policies).allowed());
    }

    #[test]
    fn a_deny_never_adds(
        asked in asked(), policies in policies(),
        deny in statement("Deny", false), named in statement("Deny", true),
    ) {
        let after = each(&policies, |policy| {
            let who = matches!(policy.policy_type(), PolicyType::Resource | PolicyType::ResourceControl);
            let deny = if who { parse(&json!([named]), true) } else { parse(&json!([deny]), false) };
            with_statement(policy, deny.statements[0].clone())
        });
        prop_assert!(asked.decide(&policies).allowed() || !asked.decide(&after).allowed());
    }

    #[test]
    fn limits_never_add(
        asked in asked(), policies in policies(),
        boundary in of(PolicyType::Boundary), session in vec(of(PolicyType::Session), 0..2),
        level in vec(of(PolicyType::ServiceControl), 0..2),
    ) {
        let unlimited = Policies { boundary: None, session: None, ..policies.clone() };
        let before = asked.decide(&unlimited).allowed();
        let bounded = Policies { boundary: Some(boundary), ..unlimited.clone() };
        let limited = Policies { session: Some(session), ..unlimited.clone() };
        let mut controlled = unlimited;
        controlled.service_control.push(level);
        for limits in [bounded, limited, controlled] {
            prop_assert!(before || !asked.decide(&limits).allowed());
        }
    }

    #[test]
    fn written_and_read_again_it_decides_equally(asked in asked(), policies in policies()) {
        let again = each(&policies, |policy| {
            let who = matches!(policy.policy_type(), PolicyType::Resource | PolicyType::ResourceControl);
            let kind = if who { Kind::Resource } else { Kind::Identity };
            let document = Document::parse(&policy.document().to_json(), kind).unwrap();
            Policy::new(policy.name(), policy.policy_type(), document)
        });
        prop_assert_eq!(asked.decide(&policies), asked.decide(&again));
    }

    #[test]
    fn agrees_with_the_obvious_formula(mut asked in asked(), mut policies in policies(), who in 0..2_usize) {
        asked.principal = [principals()[1], principals()[3]][who];
        policies.resource = None;
        policies.resource_control.clear();
        let policies = each(&policies, |policy| {
            let mut document = policy.document().clone();
            for statement in &mut document.statements {
                statement.conditions.clear();
                // Variables are no part of the model.
                if let Some(Scope::In(items) | Scope::NotIn(items)) = &mut statement.resource {
                    items.retain(|item| !item.to_string().contains('$'));
                }
            }
            Policy::new(policy.name(), policy.policy_type(), document)
        });
        let all = policies.identity.iter().chain(&policies.boundary)
            .chain(policies.session.iter().flatten()).chain(policies.service_control.iter().flatten());
        let denied = all.clone().any(|p| says(p, Effect::Deny, &asked));
        let some = |list: &[Policy]| list.iter().any(|p| says(p, Effect::Allow, &asked));
        let model = !denied
            && some(&policies.identity)
            && policies.boundary.as_ref().is_none_or(|p| says(p, Effect::Allow, &asked))
            && policies.session.as_ref().is_none_or(|list| some(list))
            && policies.service_control.iter().all(|level| some(level));
        prop_assert_eq!(asked.decide(&policies).allowed(), model);
    }

    /// Whatever strangers send: it is refused, or it decides.
    #[test]
    fn strangers_documents_never_panic(
        asked in asked(),
        words in vec(select(vec![
            "{", "}", "[", "]", ":", ",", "\"Version\":\"2012-10-17\",", "\"Statement\":", "\"Effect\":\"Allow\",",
            "\"Action\":\"*\",", "\"Resource\":\"*\"", "\"Principal\":\"*\",", "\"Condition\":{\"StringLike\":{\"a:b\":",
            "\"${\"", "\"${aws:username,'\"", "\"${*}\"", "\"NotAction\":[\"s3:*\",\"\"],", "\u{e9}", "null", "1e999",
        ]), 0..24),
        bytes in vec(any::<u8>(), 0..200),
    ) {
        for text in [words.concat(), String::from_utf8_lossy(&bytes).into_owned()] {
            kennel_iam::policy::positions(&text);
            for kind in [Kind::Identity, Kind::Trust, Kind::Resource] {
                if let Ok(document) = Document::parse(&text, kind) {
                    let policy = Policy::new("s", PolicyType::Resource, document);
                    asked.decide(&Policies { resource: Some(policy), ..Policies::default() });
                }
            }
        }
    }

    /// Values of every kind under every operator, from texts that were not made for them.
    #[test]
    fn odd_values_never_panic(
        asked in asked(),
        operator in select(vec![
            "StringEquals", "StringNotLike", "StringEqualsIgnoreCase", "NumericLessThan", "DateGreaterThan",
            "Bool", "BinaryEquals", "IpAddress", "NotIpAddress", "ArnLike", "ArnNotEquals", "Null",
        ]),
        quantifier in select(vec!["", "ForAllValues:", "ForAnyValue:"]),
        wanted in "[a-z0-9:/*?${}',.\u{e9}-]{0,24}",
        values in vec("[a-z0-9:/*?${}',.\u{e9}-]{0,24}", 0..3),
    ) {
        let statement = json!({"Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "*",
            "Condition": {format!("{quantifier}{operator}"): {"a:b": wanted}}});
        let text = json!({"Version": "2012-10-17", "Statement": statement}).to_string();
        if let Ok(document) = Document::parse(&text, Kind::Resource) {
            let mut asked = asked;
            asked.context.set_many("a:b", values);
            let policy = Policy::new("s", PolicyType::Resource, document);
            let policies = Policies { resource: Some(policy), ..Policies::default() };
            prop_assert_eq!(asked.decide(&policies), explain(&asked.request(), &policies).decision);
        }
    }
}
