// SPDX-License-Identifier: Apache-2.0
//! The RocketMQ remoting protocol: frames, both header encodings, request and response codes, typed headers and
//! bodies. Bytes in, values out: no socket, no clock, no async.
//!
//! The way of a request: [`split_frame`] finds a whole frame in a buffer, [`Header::parse`] reads its header in
//! place, a typed header such as [`requests::PullMessage`] takes its fields, and a [`Command`] is the answer,
//! written by [`Command::encode`] in the encoding that was asked.
#![forbid(unsafe_code)]

pub mod bodies;
mod class;
mod command;
pub mod fastjson;
mod frame;
mod header;
mod text;

pub mod admin_requests;
pub mod code;
pub mod namesrv_requests;
pub mod requests;

pub use class::{RequestClass, absent_because};
pub use command::{Body, Command, FieldValue, Kind, VERSION, version_name, version_of};
pub use frame::{Encoding, FRAME_MAX_BYTES, Frame, FrameError, split_frame};
pub use header::{Fields, Header, HeaderError, Language};
pub use requests::{FieldError, FromField, RequestHeader};
pub use text::Text;
