//! S3 over HTTP: the protocol by `s3s`, the objects by [`kennel_store::objects`], and what `s3s` leaves
//! open around it: session tokens, which headers must be signed, query signatures of version 2 with a
//! session, who may do what, and error answers in AWS's words.

mod access;
mod auth;
mod buckets;
mod convert;
mod error;
mod host;
mod lists;
mod multipart;
mod objects;
mod ops;
mod policy;
mod signature_v2;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use kennel_store::objects::ObjectStore;
use s3s::config::{S3Config, StaticConfigProvider};
use s3s::service::{S3Service, S3ServiceBuilder};

pub use self::policy::{BucketPolicies, MIGRATIONS};
use crate::authorize::Need;
use crate::context::{Caller, Clock, Timestamp};
use crate::identity::{Authorizer, Credentials, Facts, Peer};

/// A request's or an answer's body; both stream.
pub use s3s::Body as S3Body;

/// What the S3 front needs.
pub struct S3Options {
    /// Where objects are.
    pub store: Arc<dyn ObjectStore>,
    /// Who may sign.
    pub credentials: Arc<dyn Credentials>,
    /// Who may do what.
    pub authorizer: Arc<dyn Authorizer>,
    /// What buckets say of access to them; the authoriser asks it, too.
    pub policies: BucketPolicies,
    /// The account that owns every bucket, 12 digits.
    pub account: String,
    /// The region that buckets are in when their creator names none.
    pub region: String,
    /// Names of this server: `bucket.<base domain>` is virtual-host style. `localhost`,
    /// `s3.localhost` and AWS's own names are always known.
    pub base_domains: Vec<String>,
}

impl fmt::Debug for S3Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3Options")
            .field("account", &self.account)
            .field("region", &self.region)
            .field("base_domains", &self.base_domains)
            .finish_non_exhaustive()
    }
}

/// For the access record: in the extensions of every answer.
#[derive(Debug, Clone, Default)]
pub struct AccessNote {
    /// Also in the header `x-amz-request-id`.
    pub request_id: String,
    /// Whose signature was found to be right; nothing when the request failed before, or had none.
    pub caller: Option<Caller>,
    /// Whether authentication and authorisation let it pass.
    pub allowed: bool,
    /// What IAM was asked, and what it said.
    pub needs: Vec<(Need, bool)>,
    /// Why it was denied.
    pub reason: Option<String>,
    /// The operation, `s3:HeadObject`; nothing when the request failed before it was known.
    pub action: Option<String>,
    /// `arn:aws:s3:::bucket/key`.
    pub resource: Option<String>,
    /// AWS's error code, when it failed.
    pub error_code: Option<String>,
}

/// One request while it is being answered.
struct InFlight {
    now: Timestamp,
    /// None for a request without a signature.
    signer: Option<Signer>,
    facts: Facts,
    note: Mutex<AccessNote>,
}

/// Who signed a request.
struct Signer {
    access_key: String,
    secret: crate::identity::Secret,
    /// The signature was checked here and taken off the request; `s3s` sees none.
    verified: bool,
}

impl InFlight {
    fn caller(&self) -> Option<&Caller> {
        self.signer.as_ref().map(|signer| &signer.secret.caller)
    }

    fn note<T>(&self, change: impl FnOnce(&mut AccessNote) -> T) -> T {
        change(&mut self.note.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

tokio::task_local! {
    /// The request that the current task answers: `s3s` hands no context to the secret's lookup.
    static IN_FLIGHT: Arc<InFlight>;
}

/// What every operation needs.
struct Core {
    store: Arc<dyn ObjectStore>,
    credentials: Arc<dyn Credentials>,
    authorizer: Arc<dyn Authorizer>,
    policies: BucketPolicies,
    account: String,
    region: String,
}

/// S3 for one server; cheap to clone.
#[derive(Clone)]
pub struct S3Front {
    core: Arc<Core>,
    host: host::Hosts,
    service: S3Service,
}

impl fmt::Debug for S3Front {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3Front").field("account", &self.core.account).finish_non_exhaustive()
    }
}

/// The largest XML body, in bytes: 1,000 keys of 1,024 bytes, each byte escaped, or 10,000 parts.
const LARGEST_XML: usize = 8 * 1024 * 1024;

impl S3Front {
    /// Builds the front.
    pub fn new(options: S3Options) -> Self {
        let host = host::Hosts::new(options.base_domains);
        let core = Arc::new(Core {
            store: options.store,
            credentials: options.credentials,
            authorizer: options.authorizer,
            policies: options.policies,
            account: options.account,
            region: options.region,
        });
        let mut builder = S3ServiceBuilder::new(ops::Ops { core: Arc::clone(&core) });
        builder.set_auth(access::Keys);
        builder.set_access(access::Gate { core: Arc::clone(&core) });
        builder.set_host(host.clone());
        let mut config = S3Config::default();
        config.xml_max_body_size = LARGEST_XML;
        // Uploads by browser forms are refused before they are read.
        config.post_object_max_file_size = 0;
        builder.set_config(Arc::new(StaticConfigProvider::new(Arc::new(config))));
        S3Front { core, host, service: builder.build() }
    }

    /// Answers a request; bodies stream both ways. A request without a signature passes where a bucket's policy
    /// lets everybody. Where it came from ([`Peer`]) is read from its extensions.
    pub async fn call<B: Into<S3Body>>(&self, request: http::Request<B>) -> http::Response<S3Body> {
        let id = uuid::Uuid::new_v4().simple().to_string().to_uppercase();
        let id = id.get(..16).unwrap_or_default().to_owned();
        let note = AccessNote { request_id: id, ..AccessNote::default() };
        let method = request.method().clone();
        let path = request.uri().path().to_owned();
        let now = Clock.now();
        let (note, answer) = match self.admit(request, now) {
            Err(error) => (note, error::answer(error)),
            Ok((request, mut in_flight)) => {
                in_flight.note = Mutex::new(note);
                let in_flight = Arc::new(in_flight);
                let service = self.service.call(request);
                let answer = IN_FLIGHT.scope(Arc::clone(&in_flight), service).await;
                let note = in_flight.note(|note| note.clone());
                match answer {
                    // Whatever way a request found around the gate, nobody is answered without its yes,
                    // and a stranger is told nothing but that.
                    Ok(answer)
                        if !note.allowed
                            && (answer.status().is_success() || in_flight.signer.is_none()) =>
                    {
                        (note, error::answer(s3s::s3_error!(AccessDenied, "Access Denied")))
                    }
                    Ok(answer) => (note, answer),
                    Err(e) => {
                        tracing::error!(request_id = note.request_id, "S3: {e:?}");
                        (note, error::answer(s3s::s3_error!(InternalError)))
                    }
                }
            }
        };
        error::finish(answer, note, &path, &method)
    }

    /// Checks what `s3s` does not, before it sees the request.
    fn admit<B: Into<S3Body>>(
        &self,
        request: http::Request<B>,
        now: Timestamp,
    ) -> s3s::S3Result<(http::Request<S3Body>, InFlight)> {
        let (mut parts, body) = request.into_parts();
        let peer = parts.extensions.get::<Peer>().copied();
        let mut facts = Facts::of(&parts.headers, peer, now, &self.core.region);
        let mut signer = None;
        if let Some(signed) = auth::signed(&parts)? {
            facts.more.extend(auth::facts(&signed, &parts));
            let secret = auth::secret(&*self.core.credentials, &signed, now)?;
            let verified = matches!(signed.how, auth::How::QueryV2);
            if verified {
                let bucket = parts
                    .headers
                    .get(http::header::HOST)
                    .and_then(|h| h.to_str().ok())
                    .and_then(|h| self.host.bucket(h));
                signature_v2::verify(&mut parts, &secret.secret, bucket.as_deref(), now)?;
            }
            signer = Some(Signer { access_key: signed.access_key, secret, verified });
        }
        let in_flight = InFlight { now, signer, facts, note: Mutex::default() };
        Ok((http::Request::from_parts(parts, body.into()), in_flight))
    }
}

#[cfg(test)]
pub(crate) mod tests;
