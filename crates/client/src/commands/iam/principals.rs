//! Users and roles with everything that is attached to them, as IAM's API tells it.

use std::collections::BTreeMap;
use std::fmt;

use kennel_iam::policy::{Document, Kind as PolicyKind};
use kennel_iam::{Arn, Policy, PolicyType};

use crate::client::{Client, Service};
use crate::clock;
use crate::error::ClientError;
use crate::xml::Element;

/// What can have policies of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::commands) enum Kind {
    User,
    Role,
}

impl Kind {
    /// `user` or `role`, as in ARNs and in the flags of AWS's command line.
    pub(in crate::commands) fn word(self) -> &'static str {
        match self {
            Kind::User => "user",
            Kind::Role => "role",
        }
    }

    /// `User` or `Role`, as in the names of operations and members.
    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::User => "User",
            Kind::Role => "Role",
        }
    }

    /// The member that names one: `RoleName`.
    pub(in crate::commands) fn member(self) -> String {
        format!("{}Name", self.name())
    }
}

/// Where a policy is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::commands) enum Origin {
    /// In the user or role, by this name.
    Inline(String),
    /// On its own, by this ARN.
    Managed(String),
}

/// As decisions call it: a managed policy's ARN, or `inline: invoke`.
impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Inline(name) => write!(f, "inline: {name}"),
            Origin::Managed(arn) => f.write_str(arn),
        }
    }
}

impl Origin {
    /// The name alone.
    pub(in crate::commands) fn name(&self) -> &str {
        match self {
            Origin::Inline(name) => name,
            Origin::Managed(arn) => arn.rsplit('/').next().unwrap_or(arn),
        }
    }
}

/// A policy of a user or role.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::commands) struct Attached {
    pub origin: Origin,
    pub document: Document,
}

/// A user or role.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::commands) struct Entity {
    pub kind: Kind,
    pub name: String,
    /// `AROA…` or `AIDA…`.
    pub id: String,
    pub arn: String,
    /// Epoch seconds.
    pub created: Option<i64>,
    /// Epoch seconds; of roles only.
    pub last_used: Option<i64>,
    /// Of roles only.
    pub trust: Option<Document>,
    pub policies: Vec<Attached>,
    pub boundary: Option<Attached>,
    pub tags: Vec<(String, String)>,
    /// Groups that a user is in; their policies are not read.
    pub groups: Vec<String>,
}

impl Entity {
    /// Twelve digits.
    pub(in crate::commands) fn account(&self) -> &str {
        self.arn.split(':').nth(4).unwrap_or_default()
    }

    /// Its own policies, ready for decisions.
    pub(in crate::commands) fn identity(&self) -> Vec<Policy> {
        let compile = |p: &Attached| {
            Policy::new(p.origin.to_string(), PolicyType::Identity, p.document.clone())
        };
        self.policies.iter().map(compile).collect()
    }
}

/// Reads users and roles; managed policies are read once.
#[derive(Debug)]
pub(in crate::commands) struct Reader<'a> {
    client: &'a Client,
    managed: BTreeMap<String, Document>,
}

impl<'a> Reader<'a> {
    pub(in crate::commands) fn new(client: &'a Client) -> Self {
        Reader { client, managed: BTreeMap::new() }
    }

    /// A user or role by its ARN or name; a name may be either's, a role first.
    ///
    /// # Errors
    /// When there is none, or IAM refuses.
    pub(in crate::commands) fn find(&mut self, given: &str) -> Result<Entity, ClientError> {
        if let Ok(arn) = given.parse::<Arn>() {
            let session = arn.resource.strip_prefix("assumed-role/");
            let role = session.and_then(|s| s.split('/').next()).or_else(|| arn.name_of("role"));
            if let Some(role) = role {
                return self.entity(Kind::Role, role);
            }
            if let Some(user) = arn.name_of("user") {
                return self.entity(Kind::User, user);
            }
            return Err(ClientError::Usage(format!(
                "`{given}` is neither a role nor a user\nhint: name one by its ARN or its name"
            )));
        }
        match self.entity(Kind::Role, given) {
            Err(error) if error.is_not_found() => match self.entity(Kind::User, given) {
                Err(error) if error.is_not_found() => Err(ClientError::Usage(format!(
                    "there is no role and no user `{given}`\nhint: `aws iam list-roles` and `aws iam list-users` name them"
                ))),
                found => found,
            },
            found => found,
        }
    }

    /// A user or role with its policies.
    ///
    /// # Errors
    /// What IAM answers; a policy that cannot be read is an error too, as it may deny.
    pub(in crate::commands) fn entity(
        &mut self,
        kind: Kind,
        name: &str,
    ) -> Result<Entity, ClientError> {
        let (member, word) = (kind.member(), kind.name());
        let ask = [(member.as_str(), name)];
        let found = self.client.query(Service::Iam, &format!("Get{word}"), &ask)?;
        let own = found.child(word).cloned().unwrap_or_default();
        let text = |name: &str| own.text(name).unwrap_or_default().to_owned();
        let time = |element: Option<&str>| element.and_then(clock::from_iso);
        let mut policies = Vec::new();
        let list = |operation: String, member: &str| pages(self.client, &operation, &ask, member);
        for policy in list(format!("ListAttached{word}Policies"), "AttachedPolicies")? {
            let arn = policy.text("PolicyArn").unwrap_or_default().to_owned();
            policies.push((arn, true));
        }
        for inline in list(format!("List{word}Policies"), "PolicyNames")? {
            policies.push((inline.content, false));
        }
        let groups = match kind {
            Kind::Role => Vec::new(),
            Kind::User => list("ListGroupsForUser".to_owned(), "Groups")?
                .iter()
                .map(|g| g.text("GroupName").unwrap_or_default().to_owned())
                .collect(),
        };
        let mut attached = Vec::new();
        for (policy, managed) in policies {
            attached.push(match managed {
                true => self.managed(&policy)?,
                false => self.inline(kind, name, policy)?,
            });
        }
        let boundary = own.child("PermissionsBoundary");
        let boundary = match boundary.and_then(|b| b.text("PermissionsBoundaryArn")) {
            Some(arn) => Some(self.managed(arn)?),
            None => None,
        };
        let trust = match own.text("AssumeRolePolicyDocument") {
            Some(text) => Some(document("the trust policy", text, PolicyKind::Trust)?),
            None => None,
        };
        let tags = own.child("Tags").map(|tags| {
            let text = |tag: &Element, name| tag.text(name).unwrap_or_default().to_owned();
            tags.all("member").map(|t| (text(t, "Key"), text(t, "Value"))).collect()
        });
        Ok(Entity {
            kind,
            name: text(&member),
            id: text(&format!("{word}Id")),
            arn: text("Arn"),
            created: time(own.text("CreateDate")),
            last_used: time(own.child("RoleLastUsed").and_then(|l| l.text("LastUsedDate"))),
            trust,
            policies: attached,
            boundary,
            tags: tags.unwrap_or_default(),
            groups,
        })
    }

    fn inline(&self, kind: Kind, name: &str, policy: String) -> Result<Attached, ClientError> {
        let member = kind.member();
        let ask = [(member.as_str(), name), ("PolicyName", policy.as_str())];
        let found = self.client.query(Service::Iam, &format!("Get{}Policy", kind.name()), &ask)?;
        let text = found.text("PolicyDocument").unwrap_or_default();
        let document = document(&format!("policy `{policy}`"), text, PolicyKind::Identity)?;
        Ok(Attached { origin: Origin::Inline(policy), document })
    }

    /// The default version of a managed policy.
    fn managed(&mut self, arn: &str) -> Result<Attached, ClientError> {
        let origin = Origin::Managed(arn.to_owned());
        if let Some(document) = self.managed.get(arn) {
            return Ok(Attached { origin, document: document.clone() });
        }
        let found = self.client.query(Service::Iam, "GetPolicy", &[("PolicyArn", arn)])?;
        let version = found.find("DefaultVersionId").map_or("v1", |e| e.content.as_str());
        let ask = [("PolicyArn", arn), ("VersionId", version)];
        let found = self.client.query(Service::Iam, "GetPolicyVersion", &ask)?;
        let text = found.find("Document").map_or("", |e| e.content.as_str());
        let document = document(&format!("policy `{arn}`"), text, PolicyKind::Identity)?;
        self.managed.insert(arn.to_owned(), document.clone());
        Ok(Attached { origin, document })
    }
}

/// A document as IAM sends it, which is percent-encoded, or as other services do, which is not.
pub(in crate::commands) fn document(
    what: &str,
    text: &str,
    kind: PolicyKind,
) -> Result<Document, ClientError> {
    let plain = match text.trim_start().starts_with('{') {
        true => text.into(),
        false => percent_encoding::percent_decode_str(text).decode_utf8_lossy(),
    };
    Document::parse(&plain, kind).map_err(|e| {
        ClientError::Failed(format!("{what} cannot be read, so nothing can be said: {e}"))
    })
}

/// All members of a list of IAM's.
///
/// # Errors
/// What IAM answers.
pub(in crate::commands) fn pages(
    client: &Client,
    operation: &str,
    ask: &[(&str, &str)],
    member: &str,
) -> Result<Vec<Element>, ClientError> {
    let mut all = Vec::new();
    let mut marker = String::new();
    loop {
        let mut ask = ask.to_vec();
        if !marker.is_empty() {
            ask.push(("Marker", &marker));
        }
        let page = client.query(Service::Iam, operation, &ask)?;
        all.extend(page.child(member).into_iter().flat_map(|list| list.all("member")).cloned());
        let more = page.text("IsTruncated") == Some("true");
        match page.text("Marker") {
            // The same marker again would be asked for ever.
            Some(next) if more && !next.is_empty() && next != marker => marker = next.to_owned(),
            _ => return Ok(all),
        }
    }
}
