// SPDX-License-Identifier: Apache-2.0
//! By what two messages are the same. Pure.

use super::HandleError;
use crate::{ReceivedMessage, property};
use ring::digest::{SHA256, digest};
use std::{borrow::Cow, fmt, sync::Arc};

/// Longest text of a key that is kept as it is, in bytes; of a longer one its SHA-256 is kept. Group, topic and key
/// together have to fit into an index of MySQL, which takes 3072 bytes.
pub const KEY_BYTES_MAX: usize = 512;
/// Longest group or topic of a key, in bytes.
pub const NAME_BYTES_MAX: usize = 255;

/// Names one piece of work: a group handles a key of a topic once.
///
/// Keys are compared byte by byte: `a` and `A`, `a` and `a ` are different, whatever the collation of a database says.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    group: Arc<str>,
    topic: String,
    text: String,
}

impl Key {
    /// A key in the namespace of a group and a topic. A `text` of more than [`KEY_BYTES_MAX`] bytes, or one that has a
    /// NUL, which PostgreSQL cannot hold, is replaced by `sha256:` and its digest.
    ///
    /// # Errors
    /// [`KeyError`] if a part is empty, or the group or the topic is longer than [`NAME_BYTES_MAX`].
    pub fn new(
        group: impl Into<Arc<str>>,
        topic: impl Into<String>,
        text: impl Into<String>,
    ) -> Result<Self, KeyError> {
        let (group, topic, text) = (group.into(), topic.into(), text.into());
        if text.is_empty() {
            return Err(KeyError::Empty);
        }
        for name in [&*group, &*topic] {
            if name.is_empty() || name.len() > NAME_BYTES_MAX || name.contains('\0') {
                return Err(KeyError::Name(name.chars().take(NAME_BYTES_MAX).collect()));
            }
        }
        let text = if text.len() > KEY_BYTES_MAX || text.contains('\0') {
            format!("sha256:{}", hex(digest(&SHA256, text.as_bytes()).as_ref()))
        } else {
            text
        };
        Ok(Self { group, topic, text })
    }

    /// The group that handles it.
    #[must_use]
    pub fn group(&self) -> &str {
        &self.group
    }

    /// The topic.
    #[must_use]
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// What tells it from the others of the topic.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.group, self.topic, self.text)
    }
}

/// Why there is no such [`Key`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// There is no text.
    #[error("the message has no key by which it could be recognised")]
    Empty,
    /// The group or the topic.
    #[error("\"{0}\" is no name of a group or topic of at most {NAME_BYTES_MAX} bytes")]
    Name(String),
}

type Function = dyn Fn(&ReceivedMessage) -> Option<String> + Send + Sync;

/// Where the key of a message comes from.
#[derive(Clone, Default)]
pub enum KeyOf {
    /// The keys that the producer gave the message (`Message::setKeys` in Java), all of them as one text. The best choice:
    /// it recognises what the application sent twice, too. Every key must mean one piece of work: `order-17` on both
    /// "order made" and "order paid" of one topic would leave the second out.
    #[default]
    MessageKeys,
    /// The unique id that the producer's client gave the message, with a digest of its body. It recognises what client and
    /// broker repeat: sends that were retried, deliveries after a crash or a rebalance. It does not recognise what the
    /// application sends twice: that has two ids.
    ///
    /// The digest is there because a Java broker of 5.x gives all messages of a batch the id of the batch. Messages of
    /// one batch with equal bodies are still taken for one: give the messages of batches keys.
    UniqueId,
    /// A function of the message; `None` or an empty text if it has no key.
    Function(Arc<Function>),
}

impl KeyOf {
    /// The key is what `function` says of the message; `None` or an empty text if it has none.
    pub fn function(function: impl Fn(&ReceivedMessage) -> Option<String> + Send + Sync + 'static) -> Self {
        Self::Function(Arc::new(function))
    }

    fn text(&self, message: &ReceivedMessage) -> Option<String> {
        let text = match self {
            Self::MessageKeys => message.keys().map(Cow::into_owned),
            Self::UniqueId => message.get(property::UNIQ_KEY).filter(|id| !id.is_empty()).map(|id| {
                let body = digest(&SHA256, message.body());
                format!("id:{id}:{}", hex(&body.as_ref()[..8]))
            }),
            Self::Function(function) => function(message),
        };
        text.filter(|text| !text.is_empty())
    }
}

impl fmt::Debug for KeyOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MessageKeys => "MessageKeys",
            Self::UniqueId => "UniqueId",
            Self::Function(_) => "Function",
        })
    }
}

/// What becomes of a message that has no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum WithoutKey {
    /// It is not handled: it comes again, and becomes a dead letter in the end, where somebody sees it.
    #[default]
    Refuse,
    /// [`KeyOf::UniqueId`] is its key.
    UniqueId,
}

/// How a wrapper finds the key of a message.
#[derive(Debug, Clone)]
pub(super) struct Keys {
    pub(super) group: Arc<str>,
    pub(super) of: KeyOf,
    pub(super) without: WithoutKey,
}

impl Keys {
    /// By the messages' keys, for a consumer of `group`, if that is the name of one.
    pub(super) fn new(group: &str) -> Result<Self, KeyError> {
        Key::new(group, "topic", "key")?;
        Ok(Self { group: group.into(), of: KeyOf::default(), without: WithoutKey::default() })
    }

    pub(super) fn key(&self, message: &ReceivedMessage) -> Result<Key, HandleError> {
        let text = self.of.text(message).or_else(|| match self.without {
            WithoutKey::Refuse => None,
            WithoutKey::UniqueId => KeyOf::UniqueId.text(message),
        });
        // A message that comes again must have the key that it had first.
        let topic = message.get(property::RETRY_TOPIC).filter(|topic| !topic.is_empty());
        let topic = topic.unwrap_or(Cow::Borrowed(message.topic()));
        Ok(Key::new(self.group.clone(), topic, text.unwrap_or_default())?)
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
