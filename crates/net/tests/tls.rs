// SPDX-License-Identifier: Apache-2.0
//! [`Tls`]: encrypted outgoing connections, against a server of rustls.

mod kit;

use kit::LONG;
use oxmq_net::{CallError, Client, ClientOptions, NoService, Tls, TlsError};
use oxmq_remoting::{Command, Encoding, Header, Kind, split_frame};
use rcgen::{CertificateParams, Issuer, KeyPair};
use std::{net::SocketAddr, sync::Arc};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    runtime::Handle,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::ring,
        pki_types::{PrivateKeyDer, pem::PemObject},
    },
};

struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

fn authority() -> Authority {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec![]).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let pem = params.self_signed(&key).unwrap().pem();
    Authority { pem, issuer: Issuer::new(params, key) }
}

/// A server whose certificate is made out to `name` and that answers every request with its body.
async fn serve(authority: &Authority, name: &str) -> SocketAddr {
    let key = KeyPair::generate().unwrap();
    let certificate =
        CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &authority.issuer).unwrap();
    let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let mut received = Vec::new();
                while stream.read_buf(&mut received).await.is_ok_and(|read| read > 0) {
                    while let Some(frame) = split_frame(&received, 16 << 20).unwrap() {
                        let header = Header::parse(frame.encoding, frame.header).unwrap();
                        let mut answer = Vec::new();
                        let command = Command::success().with_body(frame.body.to_vec());
                        command.encode(Encoding::Json, Kind::Response, header.opaque, &mut answer);
                        answer.extend_from_slice(frame.body);
                        let size = frame.size;
                        stream.write_all(&answer).await.unwrap();
                        stream.flush().await.unwrap();
                        received.drain(..size);
                    }
                }
            });
        }
    });
    addr
}

async fn ask(tls: Option<Tls>, addr: SocketAddr, body: usize) -> Result<usize, CallError> {
    let options = ClientOptions { tls, ..ClientOptions::default() };
    let client = Client::on(Handle::current(), Arc::new(NoService), options);
    let call = client.call(&addr.to_string(), Command::new(1).with_body(vec![7; body]), LONG).await;
    call.map(|reply| reply.body.len())
}

#[tokio::test]
async fn servers_are_trusted_if_their_authority_is() {
    let (ours, other) = (authority(), authority());
    let trusting = |authority: &Authority| Tls::trusting(authority.pem.as_bytes()).unwrap();
    let addr = serve(&ours, "127.0.0.1").await;
    // More than the socket takes at once, and more than one record.
    for body in [0, 10, 3 << 20] {
        assert_eq!(ask(Some(trusting(&ours)), addr, body).await, Ok(body));
    }
    assert_eq!(ask(Some(Tls::trusting_anyone().unwrap()), addr, 10).await, Ok(10));
    let refused = ask(Some(trusting(&other)), addr, 10).await;
    assert!(matches!(refused, Err(CallError::Connect { .. })), "{refused:?}");
    // A certificate made out to another name than the address.
    let addr = serve(&ours, "broker.example").await;
    assert!(ask(Some(trusting(&ours)), addr, 10).await.is_err());
    let expecting = trusting(&ours).expecting("broker.example").unwrap();
    assert_eq!(ask(Some(expecting), addr, 10).await, Ok(10));
    // Without TLS there is no answer.
    assert!(ask(None, addr, 10).await.is_err());
}

#[test]
fn what_is_no_certificate_is_refused() {
    assert!(matches!(Tls::trusting(b"nonsense"), Err(TlsError::Pem { .. })));
    let ours = authority();
    let mutual = Tls::mutual(ours.pem.as_bytes(), ours.pem.as_bytes(), b"no key");
    assert!(matches!(mutual, Err(TlsError::Pem { what: "our key", .. })));
    assert!(matches!(Tls::trusting_anyone().unwrap().expecting("a b"), Err(TlsError::ServerName(_))));
}
