//! From text to [`Document`]: first the syntax (anything wrong there is AWS's "Syntax errors in policy."),
//! then the rules, in the order in which IAM reports them.

use std::collections::HashSet;

use super::condition::{self, Condition};
use super::json::Json;
use super::{
    ActionPattern, Document, Effect, Kind, Malformed, Place, PrincipalPattern, ResourcePattern,
    Scope, Statement, Version, limits,
};
use crate::{Arn, ArnPattern};

const SYNTAX: &str = "Syntax errors in policy.";
const LEGACY: &str = "The policy failed legacy parsing";

impl Document {
    /// Reads and checks a policy document.
    ///
    /// # Errors
    /// With AWS's text, and where and what.
    pub fn parse(text: &str, kind: Kind) -> Result<Self, Malformed> {
        if text.len() > limits::PARSE {
            let detail = format!("the document has more than {} bytes", limits::PARSE);
            return Err(malformed(SYNTAX, detail, String::new()));
        }
        let json: Json = serde_json::from_str(text).map_err(|e| Malformed {
            message: match kind {
                Kind::Trust => "This policy contains invalid Json".to_owned(),
                Kind::Identity | Kind::Resource => SYNTAX.to_owned(),
            },
            detail: without_place(&e.to_string()),
            place: Place { path: String::new(), line_column: Some((e.line(), e.column())) },
        })?;
        let document = syntax(json)?;
        check(document, kind)
    }
}

/// serde_json ends its messages with the place, which [`Place`] prints.
fn without_place(message: &str) -> String {
    match message.rfind(" at line ") {
        Some(at) => message[..at].to_owned(),
        None => message.to_owned(),
    }
}

fn malformed(message: impl Into<String>, detail: impl Into<String>, path: String) -> Malformed {
    Malformed {
        message: message.into(),
        detail: detail.into(),
        place: Place { path, line_column: None },
    }
}

/// A document whose shape is right but whose rules are unchecked.
struct Draft {
    version: Option<Version>,
    id: Option<String>,
    statements: Vec<DraftStatement>,
}

#[derive(Default)]
struct DraftStatement {
    path: String,
    sid: Option<String>,
    effect: Option<String>,
    principal: Option<Scope<(String, String)>>,
    action: Option<Scope<String>>,
    resource: Option<Scope<String>>,
    conditions: Vec<Condition>,
}

fn syntax(json: Json) -> Result<Draft, Malformed> {
    let wrong = |detail: &str, path: &str| malformed(SYNTAX, detail, path.to_owned());
    let Json::Object(members) = json else {
        return Err(wrong("a policy is a JSON object", ""));
    };
    let mut draft = Draft { version: None, id: None, statements: Vec::new() };
    for (name, value) in members {
        match (name.as_str(), value) {
            ("Version", Json::Text(version)) => {
                draft.version = Some(match version.as_str() {
                    "2012-10-17" => Version::V2012,
                    "2008-10-17" => Version::V2008,
                    _ => return Err(wrong("write `2012-10-17`", "Version")),
                });
            }
            ("Id", Json::Text(id)) => draft.id = Some(id),
            ("Statement", Json::List(items)) => {
                for (index, item) in items.into_iter().enumerate() {
                    draft.statements.push(statement(item, format!("Statement[{index}]"))?);
                }
            }
            ("Statement", item @ Json::Object(_)) => {
                draft.statements.push(statement(item, "Statement".to_owned())?);
            }
            ("Version" | "Id", _) => return Err(wrong("must be a string", &name)),
            ("Statement", _) => return Err(wrong("must be an object or a list of objects", &name)),
            _ => return Err(wrong("unknown element; Version, Id and Statement exist", &name)),
        }
    }
    if draft.statements.is_empty() {
        return Err(wrong("at least one statement is needed", "Statement"));
    }
    Ok(draft)
}

fn statement(json: Json, path: String) -> Result<DraftStatement, Malformed> {
    let Json::Object(members) = json else {
        return Err(malformed(SYNTAX, "a statement is an object", path));
    };
    let mut draft = DraftStatement { path: path.clone(), ..DraftStatement::default() };
    for (name, value) in members {
        let place = format!("{path}.{name}");
        match name.as_str() {
            "Sid" => draft.sid = Some(text(value, &place)?),
            "Effect" => draft.effect = Some(text(value, &place)?),
            "Action" => once(&mut draft.action, Scope::In(texts(value, &place)?), &place)?,
            "NotAction" => once(&mut draft.action, Scope::NotIn(texts(value, &place)?), &place)?,
            "Resource" => once(&mut draft.resource, Scope::In(texts(value, &place)?), &place)?,
            "NotResource" => {
                once(&mut draft.resource, Scope::NotIn(texts(value, &place)?), &place)?;
            }
            "Principal" => {
                once(&mut draft.principal, Scope::In(principals(value, &place)?), &place)?;
            }
            "NotPrincipal" => {
                once(&mut draft.principal, Scope::NotIn(principals(value, &place)?), &place)?;
            }
            "Condition" => draft.conditions = conditions(value, &place)?,
            _ => return Err(malformed(SYNTAX, "a statement has no such element", place)),
        }
    }
    match draft.effect.as_deref() {
        Some(effect)
            if effect.eq_ignore_ascii_case("Allow") || effect.eq_ignore_ascii_case("Deny") =>
        {
            Ok(draft)
        }
        _ => Err(malformed(SYNTAX, "write `Allow` or `Deny`", format!("{path}.Effect"))),
    }
}

/// `Action` and `NotAction` exclude each other.
fn once<T>(slot: &mut Option<T>, value: T, place: &str) -> Result<(), Malformed> {
    if slot.is_some() {
        let detail = "an element and its `Not…` form cannot stand together";
        return Err(malformed(SYNTAX, detail, place.to_owned()));
    }
    *slot = Some(value);
    Ok(())
}

fn text(value: Json, place: &str) -> Result<String, Malformed> {
    match value {
        Json::Text(text) => Ok(text),
        _ => Err(malformed(SYNTAX, "must be a string", place.to_owned())),
    }
}

fn texts(value: Json, place: &str) -> Result<Vec<String>, Malformed> {
    match value {
        Json::Text(text) => Ok(vec![text]),
        Json::List(items) => items.into_iter().map(|item| text(item, place)).collect(),
        _ => Err(malformed(SYNTAX, "must be a string or a list of strings", place.to_owned())),
    }
}

/// Pairs of kind (`AWS`, `Service`, …) and name; `*` alone has an empty kind.
fn principals(value: Json, place: &str) -> Result<Vec<(String, String)>, Malformed> {
    match value {
        Json::Text(star) if star == "*" => Ok(vec![(String::new(), star)]),
        Json::Object(members) => {
            let mut all = Vec::new();
            for (kind, names) in members {
                let place = format!("{place}.{kind}");
                if !matches!(kind.as_str(), "AWS" | "Service" | "Federated" | "CanonicalUser") {
                    return Err(malformed(SYNTAX, "no such kind of principal", place));
                }
                for name in texts(names, &place)? {
                    all.push((kind.clone(), name));
                }
            }
            if all.is_empty() {
                let detail = "at least one principal is needed";
                return Err(malformed(SYNTAX, detail, place.to_owned()));
            }
            Ok(all)
        }
        _ => Err(malformed(
            SYNTAX,
            "must be \"*\" or an object such as {\"AWS\": \"123456789012\"}",
            place.to_owned(),
        )),
    }
}

fn conditions(value: Json, place: &str) -> Result<Vec<Condition>, Malformed> {
    let Json::Object(operators) = value else {
        return Err(malformed(SYNTAX, "must be an object", place.to_owned()));
    };
    let mut all = Vec::new();
    for (name, keys) in operators {
        let place = format!("{place}.{name}");
        let Json::Object(keys) = keys else {
            return Err(malformed(SYNTAX, "must be an object of keys and values", place));
        };
        let Some((quantifier, operator, if_exists)) = condition::operator(&name) else {
            return Err(malformed(SYNTAX, "no such condition operator", place));
        };
        let mut seen = HashSet::new();
        for (key, values) in keys {
            let place = format!("{place}.{key}");
            // Keys are compared without regard to case, so this is a duplicate too.
            if !seen.insert(key.to_ascii_lowercase()) {
                return Err(malformed(SYNTAX, "the key occurs twice", place));
            }
            let values = match values {
                Json::List(items) => items,
                single => vec![single],
            };
            let values = values
                .into_iter()
                .map(|value| {
                    let text = match value {
                        Json::Text(text) | Json::Number(text) => text,
                        Json::Bool(value) => value.to_string(),
                        _ => {
                            let detail = "must be strings, numbers or booleans";
                            return Err(malformed(SYNTAX, detail, place.clone()));
                        }
                    };
                    condition::value(operator, text).map_err(|expected| {
                        // IAM reports dates at a later stage than the rest.
                        let text = if name.contains("Date") { LEGACY } else { SYNTAX };
                        malformed(text, format!("must be {expected}"), place.clone())
                    })
                })
                .collect::<Result<_, _>>()?;
            all.push(Condition { quantifier, operator, if_exists, key, values });
        }
    }
    Ok(all)
}

fn check(draft: Draft, kind: Kind) -> Result<Document, Malformed> {
    if kind == Kind::Identity && draft.version != Some(Version::V2012) {
        return Err(malformed(
            "Policy document must be version 2012-10-17 or greater.",
            "add `\"Version\": \"2012-10-17\"`",
            "Version".to_owned(),
        ));
    }
    let mut sids = HashSet::new();
    for statement in &draft.statements {
        let Some(sid) = statement.sid.as_deref().filter(|sid| !sid.is_empty()) else { continue };
        let place = format!("{}.Sid", statement.path);
        // Services with resource policies allow more characters.
        if kind != Kind::Resource && !sid.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return Err(malformed(
                "Statement IDs (SID) must be alpha-numeric. Check that your input satisfies the regular expression [0-9A-Za-z]*",
                format!("`{sid}` has other characters"),
                place,
            ));
        }
        if !sids.insert(sid) {
            return Err(malformed(
                "Statement IDs (SID) in a single policy must be unique.",
                format!("`{sid}` occurs twice"),
                place,
            ));
        }
    }
    let statements =
        draft.statements.into_iter().map(|s| checked(s, kind)).collect::<Result<_, _>>()?;
    Ok(Document { version: draft.version.unwrap_or_default(), id: draft.id, statements })
}

fn checked(draft: DraftStatement, kind: Kind) -> Result<Statement, Malformed> {
    let at = |element: &str| format!("{}.{element}", draft.path);
    let effect = match draft.effect.as_deref() {
        Some("Allow") => Effect::Allow,
        Some("Deny") => Effect::Deny,
        _ => return Err(malformed(LEGACY, "write `Allow` or `Deny`", at("Effect"))),
    };
    let action = match draft.action {
        Some(action) if !action.items().is_empty() => {
            try_map(action, |text| action_pattern(text).map_err(|m| m.at(at("Action"))))?
        }
        _ => {
            let message = "Policy statement must contain actions.";
            return Err(malformed(message, "Action or NotAction is needed", at("Action")));
        }
    };
    if kind == Kind::Trust && !action.items().iter().all(assumes) {
        return Err(malformed(
            "Trust Policy statement actions can only be sts:AssumeRole, sts:AssumeRoleWithSAML,  and sts:AssumeRoleWithWebIdentity",
            "a trust policy says who may take the role; write `sts:AssumeRole`",
            at("Action"),
        ));
    }
    let resource = match (draft.resource, kind) {
        (None, Kind::Trust) => None,
        (Some(_), Kind::Trust) => {
            let detail = "a trust policy is about its role; leave Resource out";
            return Err(malformed("Has prohibited field Resource", detail, at("Resource")));
        }
        (Some(resource), _) if !resource.items().is_empty() => Some(try_map(resource, |text| {
            resource_pattern(text).map_err(|m| m.at(at("Resource")))
        })?),
        (_, Kind::Identity | Kind::Resource) => {
            let message = "Policy statement must contain resources.";
            return Err(malformed(message, "Resource or NotResource is needed", at("Resource")));
        }
    };
    let principal = match (draft.principal, kind) {
        (None, Kind::Identity) => None,
        (Some(_), Kind::Identity) => {
            let message = "Policy document should not specify a principal.";
            let detail = "the principal is whom the policy is attached to; leave Principal out";
            return Err(malformed(message, detail, at("Principal")));
        }
        (Some(principal), Kind::Trust | Kind::Resource) => Some(try_map(principal, |pair| {
            principal_pattern(pair, kind).map_err(|m| m.at(at("Principal")))
        })?),
        (None, Kind::Trust | Kind::Resource) => {
            let detail = "say who, e.g. {\"Service\": \"sagemaker.amazonaws.com\"}";
            return Err(malformed("Missing required field Principal", detail, at("Principal")));
        }
    };
    for condition in &draft.conditions {
        if !condition.key.contains(':') {
            return Err(malformed(
                VENDOR,
                format!("condition key `{}` needs a prefix such as `aws:`", condition.key),
                at("Condition"),
            ));
        }
    }
    Ok(Statement {
        sid: draft.sid,
        effect,
        principal,
        action,
        resource,
        conditions: draft.conditions,
    })
}

const VENDOR: &str = "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc.";

/// A [`Malformed`] that does not know its place yet.
struct Unplaced {
    message: String,
    detail: String,
}

impl Unplaced {
    fn at(self, path: String) -> Malformed {
        malformed(self.message, self.detail, path)
    }
}

fn unplaced(message: impl Into<String>, detail: impl Into<String>) -> Unplaced {
    Unplaced { message: message.into(), detail: detail.into() }
}

fn try_map<A, B, E>(scope: Scope<A>, f: impl FnMut(A) -> Result<B, E>) -> Result<Scope<B>, E> {
    Ok(match scope {
        Scope::In(items) => Scope::In(items.into_iter().map(f).collect::<Result<_, _>>()?),
        Scope::NotIn(items) => Scope::NotIn(items.into_iter().map(f).collect::<Result<_, _>>()?),
    })
}

fn action_pattern(text: String) -> Result<ActionPattern, Unplaced> {
    if text == "*" {
        return Ok(ActionPattern { vendor: "*".to_owned(), name: "*".to_owned() });
    }
    let Some((vendor, name)) = text.split_once(':') else {
        return Err(unplaced(VENDOR, format!("`{text}` has no service before a colon")));
    };
    if name.contains(':') {
        let message = "Actions/Condition can contain only one colon.";
        return Err(unplaced(message, format!("`{text}` has more")));
    }
    let known = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
    if vendor != "*" && (vendor.is_empty() || !vendor.chars().all(known)) {
        return Err(unplaced(format!("Vendor {vendor} is not valid"), format!("in `{text}`")));
    }
    Ok(ActionPattern { vendor: vendor.to_owned(), name: name.to_owned() })
}

/// May this stand in a trust policy?
fn assumes(action: &ActionPattern) -> bool {
    let named = ["AssumeRole", "AssumeRoleWithSAML", "AssumeRoleWithWebIdentity"];
    let beside = ["TagSession", "SetSourceIdentity", "SetContext"];
    action.vendor.eq_ignore_ascii_case("sts")
        && (action.name.contains('*')
            || named.iter().chain(&beside).any(|name| action.name.eq_ignore_ascii_case(name)))
}

fn resource_pattern(text: String) -> Result<ResourcePattern, Unplaced> {
    if text == "*" {
        return Ok(ResourcePattern::Any);
    }
    let Some(pattern) = ArnPattern::parse(&text) else {
        let message = format!("Resource {text} must be in ARN format or \"*\".");
        return Err(unplaced(message, "write `*`, or `arn:aws:…`"));
    };
    let [partition, service, region, account, resource] = &pattern.parts;
    if !matches!(partition.as_str(), "aws" | "aws-cn" | "aws-us-gov" | "*")
        && !partition.contains("${")
    {
        let message = format!(
            "Partition \"{partition}\" is not valid for resource \"arn:{partition}:{service}:{region}:{account}:{resource}\"."
        );
        return Err(unplaced(message, "write `aws`"));
    }
    if service.is_empty() {
        let message = "Resource vendor must be fully qualified and cannot contain regexes.";
        return Err(unplaced(message, format!("`{text}` has no service")));
    }
    if service == "iam" && !region.is_empty() && region != "*" {
        let message = format!("IAM resource {text} cannot contain region information.");
        return Err(unplaced(message, "leave the region empty"));
    }
    Ok(ResourcePattern::Arn(pattern))
}

fn principal_pattern(
    (kind, name): (String, String),
    policy: Kind,
) -> Result<PrincipalPattern, Unplaced> {
    let invalid = |detail: &str| {
        let shown = if kind == "Service" { "SERVICE" } else { kind.as_str() };
        Err(unplaced(format!("Invalid principal in policy: \"{shown}\":\"{name}\""), detail))
    };
    match kind.as_str() {
        "" => Ok(PrincipalPattern::Everyone),
        "AWS" => match aws_principal(&name) {
            Some(pattern) => Ok(pattern),
            None => invalid("write an account, or the ARN of a root, user, role or session"),
        },
        "Service" => {
            let suffixes = [".amazonaws.com", ".amazonaws.com.cn", ".aws.internal"];
            let known = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
            let good = name.chars().all(known)
                && suffixes.iter().any(|s| name.len() > s.len() && name.ends_with(s));
            if !good {
                return invalid("write a service such as `lambda.amazonaws.com`");
            }
            Ok(PrincipalPattern::Service(name))
        }
        "Federated" if !name.is_empty() => Ok(PrincipalPattern::Federated(name)),
        "CanonicalUser" if policy == Kind::Resource && !name.is_empty() => {
            Ok(PrincipalPattern::CanonicalUser(name))
        }
        _ => invalid("this kind of principal cannot stand here"),
    }
}

fn aws_principal(name: &str) -> Option<PrincipalPattern> {
    if name == "*" {
        return Some(PrincipalPattern::AnyAws);
    }
    let account = |text: &str| text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit());
    if account(name) {
        return Some(PrincipalPattern::Account(name.to_owned()));
    }
    let id = (16..=128).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
        && (name.starts_with("AIDA") || name.starts_with("AROA"));
    if id {
        return Some(PrincipalPattern::UniqueId(name.to_owned()));
    }
    let arn: Arn = name.parse().ok()?;
    if !account(&arn.account) || !arn.region.is_empty() || name.contains(['*', '?', '$']) {
        return None;
    }
    match arn.service.as_str() {
        "iam" if arn.resource == "root" => Some(PrincipalPattern::Account(arn.account)),
        "iam" if arn.name_of("user").or(arn.name_of("role")).is_some() => {
            Some(PrincipalPattern::Arn(arn))
        }
        "sts" if arn.name_of("assumed-role").or(arn.name_of("federated-user")).is_some() => {
            Some(PrincipalPattern::Arn(arn))
        }
        _ => None,
    }
}
