// SPDX-License-Identifier: Apache-2.0
//! TLS of outgoing connections: rustls with ring, no OpenSSL.

use rustls::{
    ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
};
use std::{io, sync::Arc};
use thiserror::Error as ThisError;
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

/// How outgoing connections are encrypted, and whom they trust. Cheap to clone.
#[derive(Clone)]
pub struct Tls {
    config: Arc<ClientConfig>,
    server_name: Option<ServerName<'static>>,
}

/// Why certificates or keys cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, ThisError)]
#[non_exhaustive]
pub enum TlsError {
    /// The text is no PEM, or holds nothing of the kind.
    #[error("{what}: no usable PEM: {reason}")]
    Pem {
        /// What was to be read.
        what: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// A certificate or key is malformed, or they do not belong together.
    #[error("{what}: {reason}")]
    Refused {
        /// What was refused.
        what: &'static str,
        /// Why.
        reason: String,
    },
    /// A server name that is no DNS name and no address.
    #[error("\"{0}\" is no server name")]
    ServerName(String),
}

impl Tls {
    /// Trusts servers whose certificate one of the authorities in `roots_pem` has signed.
    ///
    /// # Errors
    /// [`TlsError`] if `roots_pem` holds no certificate or a malformed one.
    pub fn trusting(roots_pem: &[u8]) -> Result<Self, TlsError> {
        Self::build(Some(roots_pem), None)
    }

    /// As [`Self::trusting`], and shows the server a certificate of our own (`chain_pem`, the leaf first) with its key.
    ///
    /// # Errors
    /// [`TlsError`] if a certificate or the key is missing or malformed.
    pub fn mutual(roots_pem: &[u8], chain_pem: &[u8], key_pem: &[u8]) -> Result<Self, TlsError> {
        Self::build(Some(roots_pem), Some((chain_pem, key_pem)))
    }

    /// Encrypts, but trusts whoever answers: good against listeners, not against impostors. The Java client does the
    /// same unless `tls.client.authServer` is set.
    ///
    /// # Errors
    /// [`TlsError::Refused`] if the library has no protocol version in common with itself, which does not happen.
    pub fn trusting_anyone() -> Result<Self, TlsError> {
        Self::build(None, None)
    }

    /// Expects this name in the certificates of all servers, whatever address they are dialled by. Certificates of the
    /// broker are seldom made out to the addresses that a name server tells.
    ///
    /// # Errors
    /// [`TlsError::ServerName`].
    pub fn expecting(mut self, server_name: &str) -> Result<Self, TlsError> {
        let name = ServerName::try_from(server_name.to_owned());
        self.server_name = Some(name.map_err(|_| TlsError::ServerName(server_name.to_owned()))?);
        Ok(self)
    }

    fn build(roots_pem: Option<&[u8]>, identity: Option<(&[u8], &[u8])>) -> Result<Self, TlsError> {
        let refused = |what| move |error: Error| TlsError::Refused { what, reason: error.to_string() };
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(refused("TLS versions"))?;
        let builder = match roots_pem {
            Some(pem) => {
                let mut roots = RootCertStore::empty();
                for certificate in certificates("trusted certificates", pem)? {
                    roots.add(certificate).map_err(refused("trusted certificates"))?;
                }
                builder.with_root_certificates(roots)
            }
            None => {
                let anyone = Arc::new(Anyone(provider));
                builder.dangerous().with_custom_certificate_verifier(anyone)
            }
        };
        let config = match identity {
            Some((chain, key)) => {
                let chain = certificates("our certificate", chain)?;
                let key = PrivateKeyDer::from_pem_slice(key)
                    .map_err(|error| TlsError::Pem { what: "our key", reason: error.to_string() })?;
                builder.with_client_auth_cert(chain, key).map_err(refused("our certificate"))?
            }
            None => builder.with_no_client_auth(),
        };
        Ok(Self { config: Arc::new(config), server_name: None })
    }

    /// Shakes hands over `stream`, which was dialled as `addr` (`host:port`).
    pub(crate) async fn connect(&self, addr: &str, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let name = match &self.server_name {
            Some(name) => name.clone(),
            None => {
                let host = addr.rsplit_once(':').map_or(addr, |(host, _)| host);
                let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
                ServerName::try_from(host)
                    .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?
            }
        };
        TlsConnector::from(self.config.clone()).connect(name, stream).await
    }
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").field("server_name", &self.server_name).finish_non_exhaustive()
    }
}

fn certificates(what: &'static str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let failed = |reason: String| TlsError::Pem { what, reason };
    let found: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|error| failed(error.to_string()))?;
    if found.is_empty() { Err(failed("it holds no certificate".into())) } else { Ok(found) }
}

/// Takes any certificate, but insists that the other side has its key.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
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
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
