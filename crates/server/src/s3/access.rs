//! The gate: the secret for a signature, then the account, then the authoriser. No authoriser's yes,
//! no operation.

use std::borrow::Cow;
use std::sync::Arc;

use s3s::access::{S3Access, S3AccessContext};
use s3s::auth::{S3Auth, SecretKey};
use s3s::path::S3Path;
use s3s::{S3Error, S3ErrorCode, S3Result, s3_error};

use super::{Core, IN_FLIGHT, InFlight};
use crate::authorize::needs::{self, S3Asked};
use crate::authorize::{Need, Needs};
use crate::context::Caller;
use crate::identity::{Denied, Question};

/// Questions of one call that are noted; a batch may touch a thousand keys.
const NOTED: usize = 100;

/// Answers the secret that the front looked up for this request, and no other.
pub(super) struct Keys;

#[async_trait::async_trait]
impl S3Auth for Keys {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        let request = in_flight()?;
        match &request.signer {
            Some(signer) if signer.access_key == access_key && !signer.verified => {
                Ok(SecretKey::from(signer.secret.secret.clone()))
            }
            // Somebody found a request that two parsers read differently.
            _ => Err(denied()),
        }
    }
}

fn denied() -> S3Error {
    s3_error!(AccessDenied, "Access Denied")
}

/// The request that this task answers.
pub(super) fn in_flight() -> S3Result<Arc<InFlight>> {
    IN_FLIGHT.try_with(Arc::clone).map_err(|_| denied())
}

/// Decides before an operation runs and before its body is read.
pub(super) struct Gate {
    pub(super) core: Arc<Core>,
}

#[async_trait::async_trait]
impl S3Access for Gate {
    async fn check(&self, cx: &mut S3AccessContext<'_>) -> S3Result<()> {
        let request = in_flight()?;
        let signed = cx.credentials().map(|c| c.access_key.as_str());
        let wanted = request.signer.as_ref().filter(|signer| !signer.verified);
        if signed != wanted.map(|signer| signer.access_key.as_str()) {
            return Err(denied());
        }
        for name in ["x-amz-expected-bucket-owner", "x-amz-source-expected-bucket-owner"] {
            if cx.headers().get(name).is_some_and(|owner| *owner != self.core.account.as_str()) {
                return Err(denied());
            }
        }
        let (bucket, key) = match cx.s3_path() {
            S3Path::Root => ("", ""),
            S3Path::Bucket { bucket } => (&**bucket, ""),
            S3Path::Object { bucket, key } => (&**bucket, &**key),
        };
        let query = cx.uri().query().unwrap_or_default();
        let query: Vec<(Cow<'_, str>, Cow<'_, str>)> =
            form_urlencoded::parse(query.as_bytes()).collect();
        let headers = cx.headers();
        let header =
            |name: &str| headers.get(name).and_then(|v| v.to_str().ok()).map(str::to_owned);
        let asked =
            S3Asked { operation: cx.s3_op().name(), bucket, key, query: &query, header: &header };
        let needs = needs::s3(&asked);
        request.note(|note| {
            note.caller = request.caller().cloned();
            let first = match &needs {
                Some(Needs::All(all)) => all.first(),
                _ => None,
            };
            note.action = Some(format!("s3:{}", cx.s3_op().name()));
            let whole = match (bucket, key) {
                ("", _) => "*".to_owned(),
                (bucket, "") => format!("arn:aws:s3:::{bucket}"),
                (bucket, key) => format!("arn:aws:s3:::{bucket}/{key}"),
            };
            note.resource = Some(first.map_or(whole, |need| need.resource.clone()));
        });
        // Whatever a policy says, what is not built is not let through.
        let not_built = || super::error::plain(S3ErrorCode::NotImplemented);
        match needs {
            // A stranger is told nothing more.
            None if request.signer.is_none() => return Err(denied()),
            None => return Err(not_built()),
            // Nothing at S3 is everybody's.
            Some(Needs::Nothing) => return Err(denied()),
            // A batch of a stranger would be read before it is refused.
            Some(Needs::Inside) if request.signer.is_none() => return Err(denied()),
            Some(Needs::Inside) => {}
            Some(Needs::All(all)) => {
                if all.is_empty() {
                    return Err(denied());
                }
                for need in all {
                    self.core.allow(&request, need)?;
                }
            }
        }
        request.note(|note| note.allowed = true);
        Ok(())
    }
}

impl Core {
    /// Asks the authoriser, and notes what it says.
    pub(super) fn allow(&self, request: &InFlight, need: Need) -> S3Result<()> {
        let answer = self.ask(request, &need);
        request.note(|note| {
            if let Err(denied) = &answer {
                note.reason.get_or_insert_with(|| denied.reason.clone());
            }
            if note.needs.len() < NOTED {
                note.needs.push((need.clone(), answer.is_ok()));
            }
        });
        answer.map_err(|denied| refusal(request.caller(), &need, denied))
    }

    /// May the caller list the bucket? Who may not is not told which keys there are.
    pub(super) fn may_list(&self, request: &InFlight, bucket: &str) -> S3Result<()> {
        let need = Need::new("s3:ListBucket", format!("arn:aws:s3:::{bucket}"));
        self.ask(request, &need).map_err(|denied| refusal(request.caller(), &need, denied))
    }

    fn ask(&self, request: &InFlight, need: &Need) -> Result<(), Denied> {
        let caller = request.caller();
        if caller.is_none() {
            let bucket = need.resource.strip_prefix("arn:aws:s3:::").unwrap_or_default();
            let bucket = bucket.split('/').next().unwrap_or_default();
            if self.policies.restricted(bucket) {
                let reason = "public access is blocked by RestrictPublicBuckets".to_owned();
                return Err(Denied { message: "Access Denied".to_owned(), reason });
            }
        }
        self.authorizer.authorize(Question { caller, need, facts: &request.facts })
    }
}

/// S3 puts the resource into quotes; strangers are told nothing.
fn refusal(caller: Option<&Caller>, need: &Need, refused: Denied) -> S3Error {
    if caller.is_none() {
        return denied();
    }
    let resource = &need.resource;
    let plain = format!(" on resource: {resource}");
    let quoted = format!(" on resource: \"{resource}\"");
    let message = refused.message.replacen(&plain, &quoted, 1);
    S3Error::with_message(S3ErrorCode::AccessDenied, message)
}
