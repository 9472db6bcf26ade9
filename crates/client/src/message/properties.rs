// SPDX-License-Identifier: Apache-2.0
//! Properties in the form of the wire.

use bytes::Bytes;
use oxmq_record::properties::{self, NAME_VALUE_SEPARATOR, PROPERTY_SEPARATOR};
use std::borrow::Cow;

/// Properties of a received message: a slice of the answer in which they came.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct PropertyText(Bytes);

impl PropertyText {
    /// `text` has the form of the wire; what in it is no pair is passed over when it is read.
    pub(crate) fn new(text: Bytes) -> Self {
        Self(text)
    }

    /// The value of `name`. What is not UTF-8 in it is replaced.
    pub(crate) fn get(&self, name: &str) -> Option<Cow<'_, str>> {
        properties::find(&self.0, name).map(String::from_utf8_lossy)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
        properties::iter(&self.0)
            .map(|(name, value)| (String::from_utf8_lossy(name), String::from_utf8_lossy(value)))
    }

    /// The form of the wire.
    pub(crate) fn bytes(&self) -> &Bytes {
        &self.0
    }
}

/// True if `text` can stand in a property: it has none of the two separators.
pub(crate) fn fits(text: &str) -> bool {
    !text.bytes().any(|byte| matches!(byte, NAME_VALUE_SEPARATOR | PROPERTY_SEPARATOR))
}
