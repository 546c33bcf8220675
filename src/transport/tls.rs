//! TLS as a configuration wants it: certificates are read anew for each connection, so that new ones are taken up.

use crate::config::{Secret, Tls};
use crate::error::with_remedy;
use async_nats::rustls::client::WebPkiServerVerifier;
use async_nats::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use async_nats::rustls::crypto::{CryptoProvider, ring};
use async_nats::rustls::pki_types::pem::PemObject;
use async_nats::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use async_nats::rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use std::sync::Arc;

/// How many files of a directory are read.
const MAX_FILES: usize = 1000;

/// The configuration of rustls. Blocks on the disk.
///
/// # Errors
/// What is missing or no certificate, as a sentence without a secret.
pub fn client_config(tls: &Tls) -> Result<ClientConfig, String> {
    let provider = Arc::new(ring::default_provider());
    let verifier = verifier(tls, &provider)?;
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("tls: {error}"))?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let Some((cert, key)) = &tls.identity else { return Ok(builder.with_no_client_auth()) };
    let chain = certificates(cert)?;
    let text = key.get().map_err(|problem| format!("tls: {problem}"))?;
    let parsed = PrivateKeyDer::from_pem_slice(text.as_bytes());
    let parsed =
        parsed.map_err(|_| format!("tls: {key} has no private key in PEM; one with a password can't be read"))?;
    builder.with_client_auth_cert(chain, parsed).map_err(|error| format!("tls: {cert} and {key}: {error}"))
}

fn verifier(tls: &Tls, provider: &Arc<CryptoProvider>) -> Result<Arc<dyn ServerCertVerifier>, String> {
    if tls.insecure_skip_verify {
        return Ok(Arc::new(Unchecked { provider: provider.clone() }));
    }
    let mut roots = RootCertStore::empty();
    if let Some(ca) = &tls.ca {
        for certificate in certificates(ca)? {
            roots.add(certificate).map_err(|error| format!("tls: {ca}: {error}"))?;
        }
    }
    if let Some(directory) = &tls.ca_dir {
        add_directory(&mut roots, directory)?;
    }
    if tls.ca.is_none() && tls.ca_dir.is_none() {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    }
    if roots.is_empty() {
        return Err("tls: there is no certificate to check the server's with; give ca_file".to_owned());
    }
    let inner = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .build()
        .map_err(|error| format!("tls: {error}"))?;
    let Some(name) = &tls.server_name else { return Ok(inner) };
    let name =
        ServerName::try_from(name.clone()).map_err(|_| format!("tls: server_name {name} is no name of a host"))?;
    Ok(Arc::new(Renamed { inner, name }))
}

fn certificates(source: &Secret) -> Result<Vec<CertificateDer<'static>>, String> {
    let text = source.get().map_err(|problem| format!("tls: {problem}"))?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
    match found {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err(format!("tls: {source} has no certificate in PEM, or a broken one")),
    }
}

fn add_directory(roots: &mut RootCertStore, directory: &str) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("tls: {directory}: {}", with_remedy(&error));
    for entry in std::fs::read_dir(directory).map_err(failed)?.take(MAX_FILES) {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|end| end == "pem" || end == "crt") {
            roots.add_parsable_certificates(certificates(&Secret::File(path.to_string_lossy().into_owned()))?);
        }
    }
    Ok(())
}

/// Checks a server's certificate against another name than the one that was connected to.
#[derive(Debug)]
struct Renamed {
    inner: Arc<WebPkiServerVerifier>,
    name: ServerName<'static>,
}

impl ServerCertVerifier for Renamed {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.inner.verify_server_cert(end_entity, intermediates, &self.name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

/// Takes any certificate; that its holder has the key for it is still checked.
#[derive(Debug)]
struct Unchecked {
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Unchecked {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        async_nats::rustls::crypto::verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        async_nats::rustls::crypto::verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
