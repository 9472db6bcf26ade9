// SPDX-License-Identifier: Apache-2.0
//! The signature by which a broker with ACL knows who asks. Java: `AclClientRPCHook`, `AclUtils`, `AclSigner`.
//!
//! The values of all custom fields, in the order of the names, and then the body are signed with HMAC-SHA1 under the
//! secret key. Access key and security token are among the fields; the signature itself is not.

use base64::{Engine, prelude::BASE64_STANDARD};
use oxmq_remoting::{Command, FieldValue};
use ring::hmac;
use std::sync::Arc;

/// Who asks, for brokers with ACL: 1.0 and the accounts of 2.0. Cheap to clone; the secret is never printed.
#[derive(Clone)]
pub struct Credentials {
    access_key: Arc<str>,
    security_token: Option<Arc<str>>,
    key: hmac::Key,
}

impl Credentials {
    /// `access_key` names the account, `secret_key` proves it and never leaves this process.
    #[must_use]
    pub fn new(access_key: &str, secret_key: &str) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret_key.as_bytes());
        Self { access_key: access_key.into(), security_token: None, key }
    }

    /// Adds the token of temporary credentials. Java: `SessionCredentials#setSecurityToken`.
    #[must_use]
    pub fn with_security_token(mut self, token: &str) -> Self {
        self.security_token = Some(token.into());
        self
    }

    /// Adds access key, token and signature to `command`, which is not changed after that.
    pub(crate) fn sign(&self, command: &mut Command) {
        command.fields.push(("AccessKey".into(), self.access_key.clone().into()));
        if let Some(token) = &self.security_token {
            command.fields.push(("SecurityToken".into(), token.clone().into()));
        }
        // The order of Java's TreeMap, by UTF-16 units; names are ASCII, where that is the order of bytes.
        let mut order: Vec<usize> = (0..command.fields.len()).collect();
        order.sort_by(|a, b| command.fields[*a].0.cmp(&command.fields[*b].0));
        let mut context = hmac::Context::with_key(&self.key);
        for at in order {
            match &command.fields[at].1 {
                FieldValue::Int(value) => context.update(itoa::Buffer::new().format(*value).as_bytes()),
                FieldValue::Bool(value) => context.update(if *value { b"true" } else { b"false" }),
                FieldValue::Text(text) => context.update(text.as_bytes()),
                FieldValue::Shared(text) => context.update(text.as_bytes()),
            }
        }
        for piece in command.body.pieces() {
            context.update(piece);
        }
        let signature = BASE64_STANDARD.encode(context.sign());
        command.fields.push(("Signature".into(), signature.into()));
    }
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("access_key", &self.access_key).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_are_those_of_java() {
        // Made by AclClientRPCHook of the Java client 5.3.3.
        let check = |credentials: Credentials, expected: &str| {
            let mut command = Command::new(310)
                .with("b", "TopicTest")
                .with("a", "group")
                .with("e", 3)
                .with("k", false)
                .with("i", "TAGS\u{1}中\u{2}")
                .with_body(&b"hello"[..]);
            credentials.sign(&mut command);
            assert_eq!(command.field("Signature").as_deref(), Some(expected));
            assert_eq!(command.field("AccessKey").as_deref(), Some("RocketMQ"));
        };
        let credentials = Credentials::new("RocketMQ", "12345678");
        check(credentials.clone(), "it4l6yPqSCU4r+LHqsEd43VeOAU=");
        check(credentials.clone().with_security_token("tok"), "9cGs4riZjdmDWhMv2fA2F5ewMzk=");
        assert!(!format!("{credentials:?}").contains("12345678"));
    }
}
