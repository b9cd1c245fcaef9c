//! Whose rights decide when the platform reads and writes data itself: those of the role that a job or model
//! was given, as with AWS, where the service has no other.

use kennel_store::objects::{FileStore, ListOptions, ObjectStore as _};

use super::{Location, TransferError};
use crate::authorize::{Need, PolicyAuthorizer, needs};
use crate::context::{Caller, Clock};
use crate::gateway::access::{AccessLog, Record};
use crate::identity::{Authorizer as _, Denied, Facts, Question};

/// Asks for a role, and records what it was asked.
#[derive(Debug, Clone)]
pub(crate) struct Rights {
    pub(crate) authorizer: PolicyAuthorizer,
    pub(crate) access: AccessLog,
    pub(crate) region: String,
    pub(crate) clock: Clock,
}

/// Objects of one page.
const PAGE: usize = 1000;

impl Rights {
    /// May the role read everything below a prefix?
    pub(super) async fn read_prefix(
        &self,
        role: &str,
        store: &FileStore,
        location: &Location,
    ) -> Result<(), TransferError> {
        let Location { bucket, key: prefix } = location;
        let list = Need::new("s3:ListBucket", format!("arn:aws:s3:::{bucket}"))
            .with("s3:prefix", vec![prefix.clone()]);
        self.ask(role, &list).await?;
        let mut after = None;
        loop {
            let options = ListOptions { prefix: prefix.clone(), delimiter: None, after, max: PAGE };
            let page = store.list(bucket, options).await?;
            for object in &page.objects {
                let need = needs::object("s3:GetObject", bucket, &object.key);
                self.ask(role, &need).await?;
            }
            match page.next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
        // One row for all of them: what a policy for this role would say.
        let all = needs::object("s3:GetObject", bucket, &format!("{prefix}*"));
        self.record(role, vec![(all, true), (list, true)], None).await;
        Ok(())
    }

    /// May the role do this to one object?
    pub(super) async fn one(
        &self,
        role: &str,
        action: &'static str,
        location: &Location,
    ) -> Result<(), TransferError> {
        let need = needs::object(action, &location.bucket, &location.key);
        self.ask(role, &need).await?;
        self.record(role, vec![(need, true)], None).await;
        Ok(())
    }

    /// May an object be given to an endpoint: by the model's role, or else by who makes the model? AWS asks the
    /// role alone, and the full-access policy of the course's role reaches only buckets with `sagemaker` in their
    /// names; nobody gets at an object this way that neither of the two may read.
    pub(super) fn given(
        &self,
        role: Option<&str>,
        caller: &Caller,
        location: &Location,
    ) -> Result<(), Denied> {
        let need = needs::object("s3:GetObject", &location.bucket, &location.key);
        let (now, region) = (self.clock.now(), self.region.as_str());
        if role
            .is_some_and(|role| self.authorizer.authorize_role(role, &need, (now, region)).is_ok())
        {
            return Ok(());
        }
        let facts = Facts::of(&http::HeaderMap::new(), None, now, region);
        self.authorizer.authorize(Question { caller: Some(caller), need: &need, facts: &facts })
    }

    /// May a role write objects there?
    pub(super) fn may_write(&self, role: &str, location: &Location) -> Result<(), Denied> {
        let need = needs::object("s3:PutObject", &location.bucket, &location.key);
        self.authorizer.authorize_role(role, &need, (self.clock.now(), self.region.as_str()))
    }

    /// May a caller?
    pub(super) fn may_write_himself(
        &self,
        caller: &Caller,
        location: &Location,
    ) -> Result<(), Denied> {
        let need = needs::object("s3:PutObject", &location.bucket, &location.key);
        let now = self.clock.now();
        let facts = Facts::of(&http::HeaderMap::new(), None, now, &self.region);
        self.authorizer.authorize(Question { caller: Some(caller), need: &need, facts: &facts })
    }

    async fn ask(&self, role: &str, need: &Need) -> Result<(), TransferError> {
        let when = (self.clock.now(), self.region.as_str());
        match self.authorizer.authorize_role(role, need, when) {
            Ok(()) => Ok(()),
            Err(denied) => {
                self.record(role, vec![(need.clone(), false)], Some(denied.reason)).await;
                Err(TransferError::Denied(denied.message))
            }
        }
    }

    async fn record(&self, role: &str, needs: Vec<(Need, bool)>, reason: Option<String>) {
        let caller: Option<Caller> = self.authorizer.role_caller(role);
        let Some((first, allowed)) = needs.first() else { return };
        let (action, resource) = (first.action.clone().into_owned(), first.resource.clone());
        let allowed = *allowed;
        let record = Record {
            time: self.clock.now(),
            request_id: uuid::Uuid::new_v4().to_string(),
            caller,
            source: "sagemaker.amazonaws.com".to_owned(),
            service: "s3",
            action,
            resource: Some(resource),
            allowed,
            status: if allowed { 200 } else { 403 },
            error: (!allowed).then(|| "AccessDenied".to_owned()),
            microseconds: 0,
            needs,
            free: false,
            reason,
        };
        self.access.record(record).await;
    }
}
