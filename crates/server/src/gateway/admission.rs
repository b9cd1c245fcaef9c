//! Who gets in: the body within its bounds, the signature over it, and what IAM says to the call.

use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use http::HeaderValue;
use http::request::Parts;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Incoming;
use kennel_wire::sigv4::{self, Signed};
use kennel_wire::{Operation, Scope, ServiceError, ServiceModel, SignatureRefusal};
use tokio::sync::OwnedSemaphorePermit;

use super::{BODY_TIME, Call, Gateway};
use crate::authorize::needs::{self, Asked};
use crate::authorize::{Need, Needs};
use crate::context::{Context, Timestamp};
use crate::identity::{Denied, Facts, Question, Unknown as NoKey};

impl Gateway {
    /// Asks for everything that an operation needs. What the table of needs does not know is denied.
    pub(super) fn authorize(
        &self,
        (service, operation): (&ServiceModel, &Operation),
        context: &Context,
        input: &serde_json::Value,
        parts: &Parts,
        call: &mut Call,
    ) -> Result<(), Denied> {
        let asked = Asked {
            service: &service.name,
            operation: &operation.name,
            input,
            caller: &context.caller,
            account: &self.inner.account,
            region: &context.region,
            lookup: &self.inner.iam,
        };
        let mut asked_for = needs::needs(&asked);
        // Resources are the platform's, whatever region a call was signed for: a statement about their own region
        // counts as well, or a Deny could be gone round by signing for another one.
        if context.region != self.inner.region
            && let Some(Needs::All(signed)) = &mut asked_for
            && let Some(Needs::All(own)) =
                needs::needs(&Asked { region: &self.inner.region, ..asked })
        {
            let further = own.into_iter().filter(|need| {
                !signed.iter().any(|n| n.action == need.action && n.resource == need.resource)
            });
            let further: Vec<Need> = further.collect();
            signed.extend(further);
        }
        let needs = match asked_for {
            Some(Needs::Nothing) => {
                call.free = true;
                Vec::new()
            }
            Some(Needs::All(all)) if !all.is_empty() => all,
            _ => {
                let reason = "nobody knows which permission the operation needs".to_owned();
                call.reason = Some(reason.clone());
                let (who, what) = (context.caller.arn(), &call.action);
                let message =
                    format!("User: {who} is not authorized to perform: {what} because {reason}");
                return Err(Denied { message, reason });
            }
        };
        call.resource = needs.first().map(|need| need.resource.clone());
        let facts = Facts::of(&parts.headers, Some(call.peer), context.now, &context.region);
        for need in needs {
            let question = Question { caller: Some(&context.caller), need: &need, facts: &facts };
            let answer = self.inner.authorizer.authorize(question);
            call.needs.push((need, answer.is_ok()));
            if let Err(denied) = answer {
                call.reason = Some(denied.reason.clone());
                return Err(denied);
            }
        }
        call.allowed = true;
        Ok(())
    }

    /// Reads the body and verifies the signature over it.
    pub(super) async fn authenticate(
        &self,
        service: &str,
        parts: &Parts,
        body: Incoming,
        limit: usize,
        call: &mut Call,
    ) -> Result<(Context, Bytes), ServiceError> {
        // Who is nobody is refused before a byte of the body is read.
        if !parts.headers.contains_key(http::header::AUTHORIZATION)
            && !parts.uri.query().is_some_and(|q| q.contains("X-Amz-Signature="))
        {
            return Err(ServiceError::new(
                "MissingAuthenticationTokenException",
                403,
                "Missing Authentication Token",
            ));
        }
        let body = self.read(parts, body, limit, call).await?;
        let now = call.time;
        let found = Mutex::new(None);
        let credentials = self.inner.credentials.clone();
        let signed = Signed { parts, body: &body, service, now_ms: now.0 };
        let verified = sigv4::verify(signed, |access_key, _token| {
            let secret = credentials.lookup(access_key, now).map_err(|unknown| match unknown {
                NoKey::NoSuchKey | NoKey::Inactive => SignatureRefusal::Unknown,
                NoKey::Expired => SignatureRefusal::Expired,
            })?;
            *found.lock().unwrap_or_else(PoisonError::into_inner) = Some(secret.caller);
            Ok(kennel_wire::Secret { key: secret.secret, session_token: secret.session_token })
        })
        .await?;
        let found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
        let caller = found.ok_or_else(ServiceError::internal)?;
        call.caller = Some(caller.clone());
        self.inner.iam.note_use(&caller, call.service, &verified.region, now);
        let context = Context {
            request_id: call.request_id.clone(),
            caller,
            region: verified.region,
            now,
            endpoint: self.inner.url.clone(),
        };
        Ok((context, body))
    }

    /// The body, once there is a place for it.
    pub(super) async fn read(
        &self,
        parts: &Parts,
        body: Incoming,
        limit: usize,
        call: &mut Call,
    ) -> Result<Bytes, ServiceError> {
        call.place = Some(self.admit(parts, limit, call.time)?);
        let read = tokio::time::timeout(BODY_TIME, Limited::new(body, limit).collect());
        match read.await.unwrap_or_else(|slow| Err(slow.into())) {
            Ok(collected) => Ok(collected.to_bytes()),
            Err(e) if e.is::<LengthLimitError>() => Err(ServiceError::new(
                "RequestEntityTooLargeException",
                413,
                format!("the body is larger than {limit} bytes"),
            )),
            Err(e) => Err(ServiceError::new(
                "RequestTimeoutException",
                400,
                format!("the body could not be read: {e}"),
            )),
        }
    }

    /// A place in memory for a body, before a byte of it is read: only for keys that exist, and only
    /// while all bodies together stay below [`BODIES`].
    fn admit(
        &self,
        parts: &Parts,
        limit: usize,
        now: Timestamp,
    ) -> Result<OwnedSemaphorePermit, ServiceError> {
        let header = |name| parts.headers.get(name).and_then(|v: &HeaderValue| v.to_str().ok());
        let scope = match header(http::header::AUTHORIZATION) {
            Some(value) => Scope::from_authorization(value),
            None => Scope::from_query(parts.uri.query().unwrap_or_default()),
        };
        // Without a readable scope the verification says what is wrong with it.
        if let Some(scope) = scope
            && let Err(NoKey::NoSuchKey | NoKey::Inactive) =
                self.inner.credentials.lookup(&scope.access_key, now)
        {
            return Err(ServiceError::new(
                "UnrecognizedClientException",
                403,
                "The security token included in the request is invalid.",
            ));
        }
        let length = header(http::header::CONTENT_LENGTH).and_then(|text| text.parse().ok());
        let kib = length.unwrap_or(limit).min(limit) / 1024 + 1;
        let kib = u32::try_from(kib).unwrap_or(u32::MAX);
        self.inner.bodies.clone().try_acquire_many_owned(kib).map_err(|_| {
            ServiceError::new("ThrottlingException", 429, "too many requests at a time; try again")
        })
    }
}
