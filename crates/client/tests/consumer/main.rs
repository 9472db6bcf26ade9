// SPDX-License-Identifier: Apache-2.0
//! Consumers against a broker in memory, also one that dies, lies and stalls.

#![allow(unreachable_pub)] // A test program has no outside.

mod kit;
mod orderly;
mod pulls;
mod push;
mod trouble;
