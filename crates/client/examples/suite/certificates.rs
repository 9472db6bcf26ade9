// SPDX-License-Identifier: Apache-2.0
//! Certificates of brokers and clients that know each other, and of an impostor.

use anyhow::{Context, Result};
use oxmq_client::Tls;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use std::{fs, path::Path};

/// The name in the certificate of the server: brokers are dialled by addresses that are in no certificate.
pub(crate) const SERVER_NAME: &str = "broker.test";

/// Makes an authority and what it signs in `folder`: `ca.pem`, `server.pem`, `server.key`, `client.pem`, `client.key`. Another
/// authority is in `other.pem`, with `stranger.pem` and `stranger.key` that it has signed. Keys are PKCS #8, as Java wants them.
pub(crate) fn write(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder)?;
    let save = |name: &str, text: String| fs::write(folder.join(name), text).context("a certificate");
    for (authority, signed) in [("ca", &["server", "client"][..]), ("other", &["stranger"])] {
        let mut params = named(authority, vec![])?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate()?;
        save(&format!("{authority}.pem"), params.self_signed(&key)?.pem())?;
        let issuer = Issuer::new(params, key);
        for name in signed {
            let key = KeyPair::generate()?;
            let certificate = named(name, vec![SERVER_NAME.to_owned()])?.signed_by(&key, &issuer)?;
            save(&format!("{name}.pem"), certificate.pem())?;
            save(&format!("{name}.key"), key.serialize_pem())?;
        }
    }
    Ok(())
}

/// Java takes a certificate whose issuer has its own name for one that signed itself.
fn named(name: &str, hosts: Vec<String>) -> Result<CertificateParams> {
    let mut params = CertificateParams::new(hosts)?;
    params.distinguished_name.push(DnType::CommonName, name);
    Ok(params)
}

/// What a client of those servers uses.
pub(crate) fn client(folder: &Path) -> Result<Tls> {
    mutual(folder, "ca", "client")
}

/// Trusts `authority`, and shows the certificate of `who`.
pub(crate) fn mutual(folder: &Path, authority: &str, who: &str) -> Result<Tls> {
    let read = |name: String| fs::read(folder.join(&name)).context(name);
    let (roots, chain, key) =
        (read(format!("{authority}.pem"))?, read(format!("{who}.pem"))?, read(format!("{who}.key"))?);
    Ok(Tls::mutual(&roots, &chain, &key)?.expecting(SERVER_NAME)?)
}

/// Trusts the authority, but has no certificate of its own.
pub(crate) fn unnamed(folder: &Path) -> Result<Tls> {
    let roots = fs::read(folder.join("ca.pem")).context("ca.pem")?;
    Ok(Tls::trusting(&roots)?.expecting(SERVER_NAME)?)
}
