// SPDX-License-Identifier: Apache-2.0
//! Java: `AuthConfig`.

use super::{BOOL, Effect::Later, INT, Key, Kind, TEXT, key, unset};

/// Java: `AuthConfig`, which `-p` does not print.
#[rustfmt::skip]
pub(super) const AUTH_CONFIG: &[Key] = &[
    unset("configName", TEXT, Later),
    unset("clusterName", TEXT, Later),
    unset("authConfigPath", Kind::Path, Later),
    key("authenticationEnabled", BOOL, "false", Later),
    unset("authenticationProvider", TEXT, Later),
    unset("authenticationMetadataProvider", TEXT, Later),
    unset("authenticationStrategy", TEXT, Later),
    unset("authenticationWhitelist", TEXT, Later),
    unset("initAuthenticationUser", TEXT, Later).secret(),
    unset("innerClientAuthenticationCredentials", TEXT, Later).secret(),
    key("authorizationEnabled", BOOL, "false", Later),
    unset("authorizationProvider", TEXT, Later),
    unset("authorizationMetadataProvider", TEXT, Later),
    unset("authorizationStrategy", TEXT, Later),
    unset("authorizationWhitelist", TEXT, Later),
    key("migrateAuthFromV1Enabled", BOOL, "false", Later),
    key("userCacheMaxNum", INT, "1000", Later),
    key("userCacheExpiredSecond", INT, "600", Later),
    key("userCacheRefreshSecond", INT, "60", Later),
    key("aclCacheMaxNum", INT, "1000", Later),
    key("aclCacheExpiredSecond", INT, "600", Later),
    key("aclCacheRefreshSecond", INT, "60", Later),
    key("statefulAuthenticationCacheMaxNum", INT, "10000", Later),
    key("statefulAuthenticationCacheExpiredSecond", INT, "60", Later),
    key("statefulAuthorizationCacheMaxNum", INT, "10000", Later),
    key("statefulAuthorizationCacheExpiredSecond", INT, "60", Later),
];
