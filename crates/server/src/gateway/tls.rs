//! TLS on the same port: a certificate authority of this data folder's own, made at first start, and a
//! leaf for the names by which clients reach a local AWS. Clients trust it with `AWS_CA_BUNDLE`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose,
};
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::folder::{FolderError, write_private};

/// Why TLS cannot be offered.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A certificate could not be made or read.
    #[error("the certificates in `{}` cannot be used: {reason}\nhint: remove that folder; new ones are made at the next start", path.display())]
    Certificate {
        /// The folder.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The folder cannot be written.
    #[error(transparent)]
    Folder(#[from] FolderError),
}

/// The authority's certificate, for `AWS_CA_BUNDLE`.
pub fn authority_path(data: &Path) -> PathBuf {
    data.join("tls").join("ca.pem")
}

/// The server's configuration; makes what is missing.
pub(crate) fn config(data: &Path, region: &str) -> Result<Arc<ServerConfig>, TlsError> {
    let folder = data.join("tls");
    let broken = |reason: String| TlsError::Certificate { path: folder.clone(), reason };
    let (chain, key) = (folder.join("server.pem"), folder.join("server.key"));
    if !(chain.is_file() && key.is_file() && authority_path(data).is_file()) {
        make(data, region).map_err(|error| match error {
            MakeError::Certificate(e) => broken(e.to_string()),
            MakeError::Folder(e) => TlsError::Folder(e),
        })?;
    }
    let certificates = CertificateDer::pem_file_iter(&chain)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|e| broken(e.to_string()))?;
    let key = PrivateKeyDer::from_pem_file(&key).map_err(|e| broken(e.to_string()))?;
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| broken(e.to_string()))?
        .with_no_client_auth()
        .with_single_cert(certificates, key)
        .map_err(|e| broken(e.to_string()))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

enum MakeError {
    Certificate(rcgen::Error),
    Folder(FolderError),
}

impl From<rcgen::Error> for MakeError {
    fn from(e: rcgen::Error) -> Self {
        MakeError::Certificate(e)
    }
}

impl From<FolderError> for MakeError {
    fn from(e: FolderError) -> Self {
        MakeError::Folder(e)
    }
}

fn named(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

fn make(data: &Path, region: &str) -> Result<(), MakeError> {
    let folder = data.join("tls");
    std::fs::create_dir_all(&folder).map_err(|e| FolderError::io(&folder, e))?;
    let authority_key = KeyPair::generate()?;
    let mut authority = CertificateParams::default();
    authority.distinguished_name = named("Kennel local authority");
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let authority_certificate = authority.self_signed(&authority_key)?;
    let issuer = Issuer::new(authority, authority_key);

    let mut leaf = CertificateParams::new(vec![
        "localhost".to_owned(),
        "*.localhost".to_owned(),
        "127.0.0.1".to_owned(),
        "::1".to_owned(),
        "*.amazonaws.com".to_owned(),
        format!("*.{region}.amazonaws.com"),
        format!("*.s3.{region}.amazonaws.com"),
        "*.s3.amazonaws.com".to_owned(),
    ])?;
    leaf.distinguished_name = named("Kennel");
    leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let leaf_key = KeyPair::generate()?;
    let leaf = leaf.signed_by(&leaf_key, &issuer)?;

    // The authority's key is not kept: nothing else can ever be signed with it.
    write_private(&folder.join("server.key"), leaf_key.serialize_pem().as_bytes())?;
    let chain = format!("{}{}", leaf.pem(), authority_certificate.pem());
    write_private(&folder.join("server.pem"), chain.as_bytes())?;
    write_private(&authority_path(data), authority_certificate.pem().as_bytes())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_are_made_once_and_read_again() {
        let data = tempfile::tempdir().unwrap();
        config(data.path(), "us-east-1").unwrap();
        let first = std::fs::read(authority_path(data.path())).unwrap();
        config(data.path(), "us-east-1").unwrap();
        assert_eq!(first, std::fs::read(authority_path(data.path())).unwrap());
    }

    #[test]
    fn a_broken_certificate_says_where_it_is() {
        let data = tempfile::tempdir().unwrap();
        config(data.path(), "us-east-1").unwrap();
        std::fs::write(data.path().join("tls/server.key"), "rubbish").unwrap();
        let error = config(data.path(), "us-east-1").unwrap_err();
        assert!(error.to_string().contains("tls"), "{error}");
    }
}
