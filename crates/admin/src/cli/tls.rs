// SPDX-License-Identifier: Apache-2.0
//! TLS, switched on as for Java's tool: by `-Dtls.enable=true` in `JAVA_OPT`. Java: `TlsSystemConfig`, `TlsHelper`.

use oxmq_client::Tls;
use oxmq_types::Properties;
use std::{collections::HashMap, fs};

/// Where Java looks for the certificates unless `tls.config.file` says so.
const CONFIG_FILE: &str = "/etc/rocketmq/tls.properties";

/// What the options of Java in `java_opt` say: `None` if nothing is to be encrypted.
///
/// # Errors
/// One line, if they cannot be followed.
pub(super) fn of_java_options(java_opt: &str) -> Result<Option<Tls>, String> {
    let mut settings: HashMap<String, String> = HashMap::new();
    for (key, value) in
        java_opt.split_whitespace().filter_map(|option| option.strip_prefix("-D")?.split_once('='))
    {
        settings.insert(key.to_owned(), value.trim_matches(['"', '\'']).to_owned());
    }
    let on = |settings: &HashMap<String, String>, key: &str| {
        settings.get(key).map(|value| value.trim().eq_ignore_ascii_case("true"))
    };
    if on(&settings, "tls.enable") != Some(true) {
        return Ok(None);
    }
    let named = settings.get("tls.config.file").cloned();
    match fs::read(named.as_deref().unwrap_or(CONFIG_FILE)) {
        Ok(bytes) => {
            let text = String::from_utf8_lossy(&bytes);
            let file = Properties::parse(&text).map_err(|error| format!("tls.config.file: {error}"))?;
            settings.extend(file.iter().map(|(key, value)| (key.to_owned(), value.to_owned())));
        }
        // Java goes on without it. Who names one means it.
        Err(error) => {
            if let Some(named) = named {
                return Err(format!("tls.config.file={named} cannot be read: {error}"));
            }
        }
    }
    let read = |key: &str| -> Result<Option<Vec<u8>>, String> {
        let Some(path) = settings.get(key).filter(|path| !path.is_empty()) else { return Ok(None) };
        fs::read(path).map(Some).map_err(|error| format!("{key}={path} cannot be read: {error}"))
    };
    // Java's test mode, which is its default, trusts whoever answers and shows nothing.
    if on(&settings, "tls.test.mode.enable").unwrap_or(true) {
        return Tls::trusting_anyone().map(Some).map_err(|error| error.to_string());
    }
    let identity = (read("tls.client.certPath")?, read("tls.client.keyPath")?);
    if settings.get("tls.client.keyPassword").is_some_and(|password| !password.is_empty()) {
        return Err("tls.client.keyPassword: give a key without a password".into());
    }
    let roots = match on(&settings, "tls.client.authServer") {
        Some(true) => read("tls.client.trustCertPath")?,
        _ => None,
    };
    let tls = match (roots, identity) {
        (Some(roots), (Some(chain), Some(key))) => Tls::mutual(&roots, &chain, &key),
        (Some(roots), (None, None)) => Tls::trusting(&roots),
        (None, (None, None)) if on(&settings, "tls.client.authServer") != Some(true) => {
            Tls::trusting_anyone()
        }
        (None, (Some(_), Some(_))) => {
            return Err(
                "a certificate of our own goes with tls.client.authServer=true and tls.client.trustCertPath"
                    .into(),
            );
        }
        (None, (None, None)) => {
            return Err("tls.client.authServer=true wants tls.client.trustCertPath".into());
        }
        _ => return Err("tls.client.certPath and tls.client.keyPath go together".into()),
    };
    // COMPAT(java): which name a certificate is made out to is nothing to Java. Here it is the address that is dialled, or
    // this one, which Java does not know.
    let tls = match settings.get("tls.client.serverName") {
        Some(name) => tls.and_then(|tls| tls.expecting(name)),
        None => tls,
    };
    tls.map(Some).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_options_of_java_that_ask_for_it_switch_it_on() {
        for off in
            ["", "-Xmx1g", "tls.enable=true", "-Dtls.enable=false", "-Dtls.enable", "-Dtls.enabled=true"]
        {
            assert!(of_java_options(off).unwrap().is_none(), "{off}");
        }
        assert!(of_java_options("-Xmx1g -Dtls.enable=true -Da=b").unwrap().is_some());
        assert!(of_java_options("-Dtls.enable=\"TRUE\"").unwrap().is_some());
    }

    #[test]
    fn certificates_that_cannot_be_used_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        fs::write(path("no.pem"), "nothing").unwrap();
        fs::write(
            path("tls.properties"),
            format!(
                "tls.test.mode.enable=false\ntls.client.authServer=true\ntls.client.trustCertPath={}\n",
                path("no.pem")
            ),
        )
        .unwrap();
        for (options, told) in [
            (format!("-Dtls.config.file={}", path("absent")), "cannot be read"),
            (format!("-Dtls.config.file={}", path("tls.properties")), "it holds no certificate"),
            (
                "-Dtls.test.mode.enable=false -Dtls.client.authServer=true".to_owned(),
                "wants tls.client.trustCertPath",
            ),
            (format!("-Dtls.test.mode.enable=false -Dtls.client.keyPath={}", path("no.pem")), "go together"),
            (
                format!("-Dtls.test.mode.enable=false -Dtls.client.keyPath={}", path("absent")),
                "tls.client.keyPath=",
            ),
            ("-Dtls.test.mode.enable=false -Dtls.client.keyPassword=x".to_owned(), "without a password"),
        ] {
            let refused = of_java_options(&format!("-Dtls.enable=true {options}")).unwrap_err();
            assert!(refused.contains(told), "{options}: {refused}");
        }
        let anyone = of_java_options("-Dtls.enable=true -Dtls.test.mode.enable=false");
        assert!(anyone.unwrap().is_some());
    }
}
