//! Signature Version 4, by AWS's own crate.

use std::time::SystemTime;

use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings,
    UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4;

use crate::target::Credentials;

/// The parts of a request that its signature covers.
#[derive(Debug)]
pub(crate) struct Signable<'a> {
    pub method: &'a str,
    pub url: &'a str,
    pub headers: &'a [(String, String)],
    /// SHA-256 of the body in lower-case hex.
    pub body_sha256: String,
    /// Service name of the credential scope.
    pub service: &'a str,
    pub region: &'a str,
    pub time: SystemTime,
}

/// The headers that make a request a signed one.
///
/// S3 signs paths as they are sent and wants the body's hash in a header; all others encode the path
/// once more.
pub(crate) fn headers(
    request: &Signable<'_>,
    credentials: &Credentials,
) -> Result<Vec<(String, String)>, String> {
    let mut settings = SigningSettings::default();
    if request.service == "s3" {
        settings.percent_encoding_mode = PercentEncodingMode::Single;
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
    }
    let identity = aws_credential_types::Credentials::new(
        &credentials.access_key_id,
        &credentials.secret_access_key,
        credentials.session_token.clone(),
        None,
        "kennel",
    )
    .into();
    let parameters = v4::SigningParams::builder()
        .identity(&identity)
        .region(request.region)
        .name(request.service)
        .time(request.time)
        .settings(settings)
        .build()
        .map_err(|e| e.to_string())?
        .into();
    let signable = SignableRequest::new(
        request.method,
        request.url,
        request.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())),
        SignableBody::Precomputed(request.body_sha256.clone()),
    )
    .map_err(|e| e.to_string())?;
    let (instructions, _) = sign(signable, &parameters).map_err(|e| e.to_string())?.into_parts();
    Ok(instructions.headers().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    /// "GET Object" of Amazon S3's documentation, "Examples: Signature Calculations":
    /// <https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html>
    #[test]
    fn the_documented_s3_example_has_its_signature() {
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let credentials = Credentials::new(
            "AKIAIOSFODNN7EXAMPLE",
            "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
            None,
        );
        let request = Signable {
            method: "GET",
            url: "https://examplebucket.s3.amazonaws.com/test.txt",
            headers: &[("range".into(), "bytes=0-9".into())],
            body_sha256: empty.into(),
            service: "s3",
            region: "us-east-1",
            time: UNIX_EPOCH + Duration::from_secs(1_369_353_600),
        };
        let found = headers(&request, &credentials).unwrap();
        let authorization = found.iter().find(|h| h.0 == "authorization").unwrap();
        assert!(
            authorization.1.ends_with(
                "SignedHeaders=host;range;x-amz-content-sha256;x-amz-date, Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
            ),
            "{}",
            authorization.1
        );
        assert!(found.contains(&("x-amz-content-sha256".into(), empty.into())));
    }
}
