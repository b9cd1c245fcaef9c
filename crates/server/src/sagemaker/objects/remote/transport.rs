//! HTTP for `object_store`: hyper and rustls with ring, which this crate has anyway. Its own transport,
//! reqwest, would bring aws-lc-sys (docs/adr/0012). Redirects are not followed and proxies not asked.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use http_body_util::BodyExt as _;
use hyper_rustls::{ConfigBuilderExt as _, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpRequestBody,
    HttpResponse, HttpResponseBody, HttpService,
};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto};

/// For a connection to be made, its handshake included.
const CONNECT: Duration = Duration::from_secs(10);
/// For the head of an answer.
const ANSWER: Duration = Duration::from_secs(30);

/// Makes clients of one remote.
#[derive(Debug, Clone, Copy)]
pub(super) struct Connector {
    /// The endpoint is plain HTTP, and the configuration allows that. HTTPS only otherwise.
    pub(super) plain: bool,
}

impl HttpConnector for Connector {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        let failed = |source: std::io::Error| object_store::Error::Generic {
            store: "S3",
            source: Box::new(source),
        };
        let builder =
            ClientConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
                .with_safe_default_protocol_versions()
                .map_err(|e| failed(std::io::Error::other(e)))?;
        let config = if self.plain {
            // A machine without certificates can still use plain HTTP.
            builder.with_root_certificates(RootCertStore::empty()).with_no_client_auth()
        } else {
            builder.with_native_roots().map_err(failed)?.with_no_client_auth()
        };
        let mut tcp = connect::HttpConnector::new();
        tcp.set_connect_timeout(Some(CONNECT));
        tcp.set_nodelay(true);
        tcp.enforce_http(false);
        let schemes = HttpsConnectorBuilder::new().with_tls_config(config);
        let https = if self.plain { schemes.https_or_http() } else { schemes.https_only() }
            .enable_http1()
            .wrap_connector(tcp);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(ANSWER)
            .build(https);
        Ok(HttpClient::new(Transport { client }))
    }
}

#[derive(Debug)]
struct Transport {
    client: Client<HttpsConnector<connect::HttpConnector>, HttpRequestBody>,
}

#[async_trait]
impl HttpService for Transport {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let answer = tokio::time::timeout(ANSWER, self.client.request(request)).await;
        let answer = answer.map_err(|e| HttpError::new(HttpErrorKind::Timeout, e))?;
        let answer = answer.map_err(|e| {
            let kind = if e.is_connect() { HttpErrorKind::Connect } else { HttpErrorKind::Request };
            HttpError::new(kind, e)
        })?;
        let (head, body) = answer.into_parts();
        let body = body.map_err(|e| HttpError::new(HttpErrorKind::Interrupted, e));
        Ok(HttpResponse::from_parts(head, HttpResponseBody::new(body)))
    }
}
