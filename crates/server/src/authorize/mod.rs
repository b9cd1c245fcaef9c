//! Admission by policies: what a call needs ([`needs`]), and whether the caller's policies, the resource's and
//! the organization's let it pass. The decision itself is [`kennel_iam::decide`]; here is what it is fed with.

mod cache;
pub(crate) mod needs;

use std::sync::Arc;

use kennel_iam::{Decision, Policies, Policy, Principal, Request};
use kennel_wire::ServiceError;

pub(crate) use self::cache::Cache;
pub use self::needs::Need;
pub(crate) use self::needs::{Known, Lookup, Needs};
use crate::context::{Caller, Principal as Who, Timestamp};
use crate::iam::Iam;
use crate::identity::{Authorizer, Denied, Facts, Question};

/// Policies that are attached to resources: buckets, functions.
pub trait ResourcePolicies: Send + Sync + 'static {
    /// The service in the ARNs of these resources: `s3`, `lambda`.
    fn service(&self) -> &'static str;

    /// The policy of the resource with this ARN, if it has one.
    ///
    /// # Errors
    /// When it cannot be read; everything is denied then.
    fn policy(&self, arn: &str) -> Result<Option<Policy>, ServiceError>;
}

/// The authoriser; cheap to clone.
#[derive(Clone)]
pub(crate) struct PolicyAuthorizer {
    inner: Arc<Inner>,
}

struct Inner {
    iam: Iam,
    resources: Vec<Box<dyn ResourcePolicies>>,
    service_control: Vec<Vec<Policy>>,
}

impl std::fmt::Debug for PolicyAuthorizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PolicyAuthorizer").finish_non_exhaustive()
    }
}

/// A question with everything that decides it.
struct Case<'a> {
    principal: Principal<'a>,
    resource_account: &'a str,
    context: kennel_iam::Context,
    policies: Policies,
}

impl PolicyAuthorizer {
    /// `service_control`: the organization's levels, each of which must allow; empty without one.
    pub(crate) fn new(
        iam: Iam,
        resources: Vec<Box<dyn ResourcePolicies>>,
        service_control: Vec<Vec<Policy>>,
    ) -> Self {
        PolicyAuthorizer { inner: Arc::new(Inner { iam, resources, service_control }) }
    }

    /// The platform as a session of a role; `None` when there is no such role.
    pub(crate) fn role_caller(&self, role_arn: &str) -> Option<Caller> {
        self.inner.iam.role_caller(role_arn).ok().flatten()
    }

    /// The decision, and AWS's words for it when it is a denial.
    fn decide(&self, question: Question<'_>) -> Result<(Decision, String), ServiceError> {
        let caller_arn = question.caller.map(Caller::arn).unwrap_or_default();
        let case = self.case(question, &caller_arn)?;
        let request = Request {
            principal: case.principal,
            action: &question.need.action,
            resource: &question.need.resource,
            resource_account: case.resource_account,
            context: &case.context,
        };
        let decision = kennel_iam::decide(&request, &case.policies);
        let message =
            if decision.allowed() { String::new() } else { decision.denied_message(&request) };
        Ok((decision, message))
    }

    fn case<'a>(
        &'a self,
        question: Question<'a>,
        caller_arn: &'a str,
    ) -> Result<Case<'a>, ServiceError> {
        let Question { caller, need, facts } = question;
        let iam = &self.inner.iam;
        let principal = principal(caller, caller_arn);
        let mut context = global(facts);
        context.set_principal(principal);
        // A resource whose ARN names another account is that account's; buckets and `*` are ours.
        let named = need.resource.split(':').nth(4).filter(|account| is_account(account));
        let resource_account = named.unwrap_or(iam.account());
        context.set("aws:ResourceAccount", resource_account);
        if need.action.starts_with("s3:") {
            context.set("s3:ResourceAccount", resource_account);
        }
        let mut policies = Policies::default();
        if let Some(caller) = caller {
            let standing = iam.standing(caller)?;
            policies.clone_from(&standing.policies);
            for (key, value) in &standing.tags {
                context.set(&format!("aws:PrincipalTag/{key}"), value);
            }
            if let Some(identity) = &standing.source_identity {
                context.set("aws:SourceIdentity", identity);
            }
            if let Some(issued) = standing.issued {
                context.set("aws:TokenIssueTime", issued.iso8601());
                // Nobody has a device here; long-lived keys do not have the key at all.
                context.set("aws:MultiFactorAuthPresent", "false");
            }
        }
        for (key, value) in &facts.more {
            context.set(key, value);
        }
        for (key, values) in &need.context {
            context.set_many(key, values.clone());
        }
        policies.service_control.clone_from(&self.inner.service_control);
        policies.resource = self.of_resource(principal, need)?;
        Ok(Case { principal, resource_account, context, policies })
    }

    fn of_resource(
        &self,
        principal: Principal<'_>,
        need: &Need,
    ) -> Result<Option<Policy>, ServiceError> {
        let (action, resource) = (need.action.as_ref(), need.resource.as_str());
        let service = resource.strip_prefix("arn:aws:").and_then(|rest| rest.split(':').next());
        // Or nobody could ever repair a policy that denies everybody:
        // https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucket-policies.html
        let repair = ["s3:GetBucketPolicy", "s3:PutBucketPolicy", "s3:DeleteBucketPolicy"];
        if matches!(principal, Principal::Root { .. }) && repair.contains(&action) {
            return Ok(None);
        }
        if service == Some("iam") && action.starts_with("sts:") {
            return self.inner.iam.trust_policy(resource);
        }
        match self.inner.resources.iter().find(|r| Some(r.service()) == service) {
            Some(policies) => policies.policy(resource),
            None => Ok(None),
        }
    }

    /// May the platform do this for a role, as AWS's services do with the role that they were passed? `facts`
    /// are made here: such a request comes from no address.
    ///
    /// # Errors
    /// The refusal.
    pub(crate) fn authorize_role(
        &self,
        role_arn: &str,
        need: &Need,
        (now, region): (Timestamp, &str),
    ) -> Result<(), Denied> {
        let unreadable = |_| refused(need, "its policies could not be read");
        let found = self.inner.iam.role_caller(role_arn).map_err(unreadable)?;
        let caller = found.ok_or_else(|| refused(need, "the role does not exist any more"))?;
        let mut facts = Facts::of(&http::HeaderMap::new(), None, now, region);
        facts.user_agent = Some("sagemaker.amazonaws.com".to_owned());
        facts.more.push(("aws:ViaAWSService", "true".to_owned()));
        self.authorize(Question { caller: Some(&caller), need, facts: &facts })
    }
}

fn refused(need: &Need, reason: &str) -> Denied {
    let message = format!("{} on {} is denied: {reason}", need.action, need.resource);
    Denied { message, reason: reason.to_owned() }
}

impl Authorizer for PolicyAuthorizer {
    fn authorize(&self, question: Question<'_>) -> Result<(), Denied> {
        let need = question.need;
        let Ok((decision, message)) = self.decide(question) else {
            // The log has the cause; who cannot be judged may do nothing.
            return Err(refused(need, "the policies could not be read"));
        };
        if decision.allowed() {
            return Ok(());
        }
        let reason = match (&decision.by, decision.missing) {
            (Some(by), _) => format!("denied by {by}"),
            (None, Some(missing)) => format!("no {} allows it", missing.words()),
            (None, None) => "denied".to_owned(),
        };
        Err(Denied { message, reason })
    }
}

fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit())
}

fn principal<'a>(caller: Option<&'a Caller>, caller_arn: &'a str) -> Principal<'a> {
    let Some(caller) = caller else { return Principal::Anonymous };
    let account = caller.account.as_str();
    match &caller.principal {
        Who::Root => Principal::Root { account },
        Who::User { name, id, arn } => Principal::User { account, arn, id, name },
        Who::Role { id, session, role_arn, .. } => Principal::Session {
            account,
            role_arn,
            role_id: id,
            session_arn: caller_arn,
            session_name: session,
        },
    }
}

/// The global condition keys that do not depend on who asks.
///
/// Source: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html>.
fn global(facts: &Facts) -> kennel_iam::Context {
    let mut context = kennel_iam::Context::new();
    context.set("aws:CurrentTime", facts.now.iso8601());
    context.set("aws:EpochTime", facts.now.0.div_euclid(1000).to_string());
    context.set("aws:RequestedRegion", &facts.region);
    context.set("aws:ViaAWSService", "false");
    if let Some(peer) = facts.peer {
        context.set("aws:SourceIp", peer.address.ip().to_canonical().to_string());
        context.set("aws:SecureTransport", if peer.secure { "true" } else { "false" });
    }
    if let Some(agent) = &facts.user_agent {
        context.set("aws:UserAgent", agent);
    }
    if let Some(referer) = &facts.referer {
        context.set("aws:Referer", referer);
    }
    context
}

#[cfg(test)]
pub(crate) mod tests;
