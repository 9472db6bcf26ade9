// SPDX-License-Identifier: Apache-2.0
//! Who may ask for what destroys: the one check of broker and name server.
//!
//! This machine always may: loopback, and whoever dialled us from the address that he dialled, because nobody
//! elsewhere can finish a handshake with our own address as his. Others may if `adminAllowedNetworks` names them. In
//! what class a request is says [`RequestClass`].

use crate::Peer;
use oxmq_remoting::RequestClass;
use oxmq_types::Networks;
use std::{
    net::IpAddr,
    sync::{PoisonError, RwLock},
};

/// Networks whose tools may ask for what destroys.
#[derive(Debug, Default)]
pub struct AdminAccess {
    allowed: RwLock<Networks>,
}

impl AdminAccess {
    /// The key that says which networks are allowed.
    pub const KEY: &str = "adminAllowedNetworks";

    /// Access for this machine and those networks.
    #[must_use]
    pub fn new(allowed: Networks) -> Self {
        Self { allowed: RwLock::new(allowed) }
    }

    /// Allows these networks from now on, instead of those before.
    pub fn allow(&self, networks: Networks) {
        *self.allowed.write().unwrap_or_else(PoisonError::into_inner) = networks;
    }

    /// Checks whether a peer may ask for a request code. Codes that nobody knows pass: they are answered as such.
    ///
    /// # Errors
    /// The remark for the peer: what was refused, and how it can be allowed.
    pub fn check(&self, code: i32, peer: &Peer) -> Result<(), String> {
        match RequestClass::of(code) {
            Some((RequestClass::Destroy, name)) => self.check_destroy(&format!("{name} ({code})"), peer),
            _ => Ok(()),
        }
    }

    /// Checks whether a peer may do something that destroys, whatever its request code.
    ///
    /// `what`: what it is, the beginning of the remark.
    ///
    /// # Errors
    /// The remark for the peer.
    pub fn check_destroy(&self, what: &str, peer: &Peer) -> Result<(), String> {
        let remote = peer.remote().ip().to_canonical();
        if Self::is_here(peer) || self.allowed.read().unwrap_or_else(PoisonError::into_inner).contain(remote)
        {
            return Ok(());
        }
        let key = Self::KEY;
        Err(format!(
            "{what} is refused to {remote}: it comes from another machine. Run the tool on this server's machine, or add \
             {remote} to {key} in this server's configuration (addresses and networks such as 10.0.0.0/8, separated by \
             commas). On its machine, updateBrokerConfig and updateNamesrvConfig set {key} at once"
        ))
    }

    /// True for a peer on this machine.
    #[must_use]
    pub fn is_here(peer: &Peer) -> bool {
        let canonical = |address: IpAddr| address.to_canonical();
        let remote = canonical(peer.remote().ip());
        remote.is_loopback() || remote == canonical(peer.local().ip())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use oxmq_remoting::code::request as codes;

    fn peer(remote: &str, local: &str) -> std::sync::Arc<Peer> {
        Peer::new(remote.parse().unwrap(), local.parse().unwrap())
    }

    #[track_caller]
    fn check(allowed: &str, remote: &str, local: &str, admitted: bool) {
        let access = AdminAccess::new(allowed.parse().unwrap());
        let found = access.check(codes::DELETE_TOPIC_IN_BROKER, &peer(remote, local));
        assert_eq!(found.is_ok(), admitted, "{remote} -> {local} with {allowed:?}: {found:?}");
    }

    #[test]
    fn this_machine_and_the_networks_named_are_admitted() {
        for (remote, local) in [
            ("127.0.0.1:5000", "127.0.0.1:10911"),
            ("127.8.9.1:5000", "127.0.0.1:10911"),
            ("[::1]:5000", "[::1]:10911"),
            ("[::ffff:127.0.0.1]:5000", "[::ffff:127.0.0.1]:10911"),
            ("10.1.2.3:5000", "10.1.2.3:10911"),
            ("[::ffff:10.1.2.3]:5000", "10.1.2.3:10911"),
            ("[fd00::7]:5000", "[fd00::7]:10911"),
        ] {
            check("", remote, local, true);
        }
        let here = "10.1.2.3:10911";
        for foreign in
            ["10.1.2.4:5000", "[::ffff:10.1.2.4]:5000", "[fd00::7]:5000", "0.0.0.0:5000", "[::2]:5000"]
        {
            check("", foreign, here, false);
            check("192.168.0.0/16", foreign, here, false);
            check("0.0.0.0/0", foreign, here, true);
            check("::/0", foreign, here, true);
        }
        check("10.1.2.0/24", "10.1.2.4:5000", here, true);
        check("10.1.2.0/24", "[::ffff:10.1.2.4]:5000", here, true);
        check("10.1.2.4", "10.1.2.4:5000", here, true);
        check("10.1.2.4", "10.1.2.5:5000", here, false);
        check("fd00::/8", "[fd12::1]:5000", "[fd00::1]:10911", true);
        check("fd00::/8", "[fe12::1]:5000", "[fd00::1]:10911", false);
    }

    #[test]
    fn only_what_destroys_is_refused_and_the_remark_says_how_to_allow_it() {
        let (access, foreign) = (AdminAccess::default(), peer("10.1.2.4:5000", "10.1.2.3:10911"));
        let mut refused = Vec::new();
        for code in -10..300_000 {
            if let Err(remark) = access.check(code, &foreign) {
                let (class, name) = RequestClass::of(code).unwrap();
                assert_eq!(class, RequestClass::Destroy, "{name}");
                assert!(remark.starts_with(&format!("{name} ({code}) is refused to 10.1.2.4: ")), "{remark}");
                assert!(remark.contains("add 10.1.2.4 to adminAllowedNetworks in"), "{remark}");
                refused.push(code);
            }
        }
        for code in [25, 100, 102, 205, 207, 215, 216, 222, 306, 314, 316, 318, 327, 329, 401, 3003] {
            assert!(refused.contains(&code), "{code}");
        }
        for code in [10, 15, 17, 26, 28, 34, 103, 105, 200, 203, 309, 310, 319, 7777] {
            assert!(!refused.contains(&code), "{code}");
        }
        access.allow("10.1.2.4".parse().unwrap());
        assert!(refused.iter().all(|code| access.check(*code, &foreign).is_ok()));
    }
}
