// SPDX-License-Identifier: Apache-2.0
//! Java: `NettyServerConfig`, `NettyClientConfig`. Most of it tunes Netty and has no counterpart here.

use super::{
    BOOL,
    Effect::{Ignored, Later, Used},
    INT, Key, Kind, LONG, PORT, POSITIVE, TEXT, key,
};

/// Java: `NettyServerConfig`. The default of `listenPort` is the broker's; a name server's is 9876.
#[rustfmt::skip]
pub(super) const NETTY_SERVER_CONFIG: &[Key] = &[
    key("bindAddress", Kind::Name, "0.0.0.0", Used),
    key("listenPort", PORT, "10911", Used),
    key("serverWorkerThreads", INT, "8", Ignored),
    key("serverCallbackExecutorThreads", INT, "0", Ignored),
    key("serverSelectorThreads", INT, "3", Ignored),
    key("serverOnewaySemaphoreValue", INT, "256", Ignored),
    key("serverAsyncSemaphoreValue", INT, "64", Ignored),
    key("serverChannelMaxIdleTimeSeconds", POSITIVE, "120", Used),
    key("serverSocketSndBufSize", INT, "0", Ignored),
    key("serverSocketRcvBufSize", INT, "0", Ignored),
    key("writeBufferHighWaterMark", INT, "0", Ignored),
    key("writeBufferLowWaterMark", INT, "0", Ignored),
    key("serverSocketBacklog", POSITIVE, "1024", Used),
    key("serverNettyWorkerGroupEnable", BOOL, "true", Ignored),
    key("serverPooledByteBufAllocatorEnable", BOOL, "true", Ignored),
    key("enableShutdownGracefully", BOOL, "false", Later),
    key("shutdownWaitTimeSeconds", INT, "30", Later),
    key("useEpollNativeSelector", BOOL, "false", Ignored),
];

/// Java: `NettyClientConfig`.
#[rustfmt::skip]
pub(super) const NETTY_CLIENT_CONFIG: &[Key] = &[
    key("clientWorkerThreads", INT, "4", Ignored),
    key("clientCallbackExecutorThreads", INT, "2", Ignored),
    key("clientOnewaySemaphoreValue", INT, "65535", Ignored),
    key("clientAsyncSemaphoreValue", INT, "65535", Ignored),
    key("connectTimeoutMillis", POSITIVE, "3000", Used),
    key("channelNotActiveInterval", LONG, "60000", Ignored),
    key("isScanAvailableNameSrv", BOOL, "true", Ignored),
    key("clientChannelMaxIdleTimeSeconds", INT, "120", Ignored),
    key("clientSocketSndBufSize", INT, "0", Ignored),
    key("clientSocketRcvBufSize", INT, "0", Ignored),
    key("clientPooledByteBufAllocatorEnable", BOOL, "false", Ignored),
    key("clientCloseSocketIfTimeout", BOOL, "true", Ignored),
    key("useTLS", BOOL, "false", Later),
    key("socksProxyConfig", TEXT, "{}", Ignored).secret(),
    key("writeBufferHighWaterMark", INT, "0", Ignored),
    key("writeBufferLowWaterMark", INT, "0", Ignored),
    key("disableCallbackExecutor", BOOL, "false", Ignored),
    key("disableNettyWorkerGroup", BOOL, "false", Ignored),
    key("maxReconnectIntervalTimeSeconds", LONG, "60", Ignored),
    key("enableReconnectForGoAway", BOOL, "true", Ignored),
];
