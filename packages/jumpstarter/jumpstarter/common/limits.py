"""Limits and times of the wire, all in one place."""

from __future__ import annotations

MAX_MESSAGE = 4 << 20
"""Most bytes of one gRPC message."""

CALLER_STREAMS = 256
"""Byte streams that one TCP connection, or one connection of the client of a lease, may have open."""

LOCAL_STREAMS = 512
"""Byte streams that all local clients of a unix socket may have open: gRPC cannot tell their connections apart.

Every connection takes in more calls than that, so that who is beyond it is refused and does not wait. gRPC takes 20 KiB
for a call until it is refused: with 1024, somebody with four connections would cost 90 MiB, of 64 that a peer may cost.
"""

BESIDE_STREAMS = 64
"""Calls that a connection can make at a time while it has as many byte streams as it may; further ones wait."""

MAX_STREAMS = CALLER_STREAMS + BESIDE_STREAMS
"""Calls that a client may have under way on one stream of calls; further ones are refused."""

LANE_CALLS = 256
"""Calls that a client makes on one stream at a time; further ones go by themselves."""

IDLE_STREAMS = 16
"""Stream calls that a client keeps for the next connection of a forward."""

MAX_CONNECTIONS = 600
"""Connections of one exporter; further ones are closed at once. There is room for 200 clients, each of which takes
up to three: for its plain calls, for its event loop, and for the session that it holds."""

MAX_NAME = 255
"""Most characters of the name of a driver or method."""

MAX_METHODS = 10_000
"""Methods that the drivers of one exporter may have together."""

MAX_DOC = 20_000
"""Most characters of a docstring from an exporter that are shown."""

MAX_DETAILS = 2000
"""Most bytes of an error's text, as gRPC encodes it in a header; peers take 8 KiB of headers by default."""

MAX_METADATA = 16 << 10
"""Most bytes of a call's metadata between our own ends."""

MAX_TRACEBACK = 6 << 10
"""Most bytes of an exporter's traceback that a client gets."""

MAX_DEPTH = 64
"""How deeply lists, mappings and objects may nest in a value."""

MAX_NODES = 100_000
"""Most lists, mappings and tagged values inside one value in typed JSON; plain items of a list cost little and are
bounded by the message."""

LOG_LINES = 1024
"""Lines of log that a session keeps for its readers."""

LOG_BYTES = 4 << 20
"""Most characters of those lines together."""

DRIVER_QUEUE = 64
"""Calls of one driver that wait for their turn; further ones are refused, but for urgent ones."""

QUEUE_PATIENCE = 1.0
"""Seconds that a call waits for a place in that queue before it is refused: calls that come at once are soon served."""

CALL_TIMEOUT = 7200.0
"""Seconds that a call takes at most, unless its driver, its method or its client says otherwise."""

STUCK = 2.0
"""Seconds that a plain method has to end after its caller is gone; then its driver takes no calls until it does."""

BLOCKED = 0.1
"""Seconds for which a driver may block the event loop before it is named in the log."""

BATCH_ITEMS = 64
"""Items of a streamed call that travel in one message, where they are there at once."""

BATCH_BYTES = 64 << 10
"""Bytes of such a message from which on no further items join it."""

BATCH_TIME = 0.001
"""Seconds that a plain generator runs ahead of its items' way to the client."""

HOOK_OUTPUT = 10 << 20
"""Bytes that a hook may write into the log; what follows is dropped, and said to be."""

HOOK_LINE = 4096
"""Most characters of one line of a hook's output; longer ones are cut into several."""

HOOK_LINES_PER_SECOND = 10_000
"""Lines of a hook that are logged in a second; a hook that writes faster waits."""

RECORD_BYTES = 8 << 20
"""Most bytes of the record of one session; at that size, its older half goes."""

RECORDS = 100
"""Records that are kept of one exporter, beside those that are being written."""

RECORDS_BYTES = 128 << 20
"""Most bytes of them together."""

RECORD_QUEUE = 4096
"""Entries that wait to be written to a record; further ones are counted, and lost."""

STATUS_HISTORY = 256
"""Changes of its status that an exporter keeps for readers that are slow."""

STATUS_WAIT = 20.0
"""Seconds until an exporter answers the question for its next status although there is none."""

IDLE_SESSION = 600.0
"""Seconds without a call or stream after which a session ends that nobody began explicitly."""

CANCEL_CALLS = 10.0
"""Seconds that the calls of a session that has ended get to end, too, before the exporter goes on without them."""

CANCEL_AT_STOP = 1.0
"""Seconds of those that they get when the exporter is told to stop, which has to be over within 10 s."""

HOOK_AT_STOP = 5.0
"""Seconds that the script after a session gets when the exporter is told to stop."""

HOOK_FAILED_SHOWN = 3.0
"""Seconds for which the status says that a script after a session has failed, before it goes on."""

HOOK_RETRY = 1.0, 30.0
"""Seconds until a script that failed before a session is tried again: at first, and at most."""

PROBE_HOLDER = 2.0
"""Seconds in which the holder of a session has to answer when its user comes back for another one."""

PREPARE_WAIT = 15.0
"""Seconds that a call waits for the exporter to be ready between two sessions."""

MAX_WAITING = 64
"""Clients that wait for a session at a time."""

HAND_BACK = 180.0
"""Seconds that a client who ends its session waits until the exporter has taken the devices back."""

SIGN_OF_LIFE = 5.0
"""Seconds between the signs of life of an exporter that takes a session back."""

UNCLAIMED_RESOURCE = 60.0
"""Seconds that an offered byte stream waits for the call that uses it."""

IGNORED_RESOURCE = 1.0
"""Seconds that it lives on after a call that got it and did not open it."""

DRAIN = 5.0
"""Seconds that calls get to end, which still run at the end of the last session, before drivers are closed."""

DRIVER_LIFE = 10.0
"""Seconds that a driver has to be made, to reset, to hand back its device, or to close."""

HALT = 2.0
"""Seconds of those that a driver still has when the exporter is told to stop while it starts."""

RETRY_FIRST = 1.0
"""Seconds until a driver is tried again that could not be made or reset; each further time twice as long."""

RETRY_MOST = 30.0
"""Most seconds between two of these attempts."""

RETRY_WAIT = 0.5
"""Seconds that a call waits for an attempt to get its driver back."""

SHUTDOWN = 20.0
"""Seconds that an exporter takes at most to close its drivers."""

CONNECT_TIMEOUT = 10.0
"""Seconds until an exporter that does not answer counts as unreachable."""

_PING_TIMEOUT = ("grpc.http2.ping_timeout_ms", 10_000)
"""gRPC's own minute rules where this is not set, whatever the keepalive's timeout."""

_COMMON: list[tuple[str, int | str]] = [
    ("grpc.max_send_message_length", MAX_MESSAGE),
    ("grpc.max_receive_message_length", MAX_MESSAGE),
    ("grpc.max_metadata_size", MAX_METADATA),
    ("grpc.absolute_max_metadata_size", MAX_METADATA),
]

_SERVER: list[tuple[str, int | str]] = [
    *_COMMON,
    ("grpc.server_handshake_timeout_ms", 13_000),  # connections that say nothing are to be gone after 15 s
    ("grpc.max_allowed_incoming_connections", MAX_CONNECTIONS),
    ("grpc.server.max_pending_requests", 1 << 16),  # gRPC drops calls of anybody beyond that; a connection has few
    ("grpc.server.max_pending_requests_hard_limit", 1 << 16),
    ("grpc.http.overload_protection", 0),  # it refuses calls of clients that keep to the limit of streams
    ("grpc.so_reuseport", 0),  # or a second exporter would bind the same port in silence
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    _PING_TIMEOUT,
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.http2.max_ping_strikes", 0),
]

TCP_SERVER_OPTIONS = [*_SERVER, ("grpc.max_concurrent_streams", CALLER_STREAMS + BESIDE_STREAMS)]
"""Server options for TCP. Whoever has too many byte streams is refused; gRPC would let the next ones wait for ever."""

UNIX_SERVER_OPTIONS = [*_SERVER, ("grpc.max_concurrent_streams", LOCAL_STREAMS + BESIDE_STREAMS)]
"""Server options for a unix socket, where one connection may have all the byte streams that there may be."""

_KEEPALIVE: list[tuple[str, int | str]] = [
    ("grpc.keepalive_time_ms", 18_000),  # 28 s in all, of the 30 s after which a peer that is gone is to be known
    ("grpc.keepalive_timeout_ms", 10_000),
    _PING_TIMEOUT,
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
]

PROCESS_OPTIONS: list[tuple[str, int | str]] = [
    ("grpc.max_send_message_length", MAX_MESSAGE),
    ("grpc.max_receive_message_length", MAX_MESSAGE),
    ("grpc.keepalive_time_ms", 2_000),
    ("grpc.keepalive_timeout_ms", 3_000),
    ("grpc.http2.ping_timeout_ms", 3_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.min_reconnect_backoff_ms", 2_000),
    ("grpc.initial_reconnect_backoff_ms", 200),
]
"""Client options for the process of an isolated driver, whose hand-back waits for 10 s: one that is frozen is noticed
within 5 s, by gRPC's own threads, so that a driver that blocks its event loop does not count as that."""

FROZEN = 2.0
"""Seconds in which such a process has to take a new connection, or it is ended."""

_RECONNECT: list[tuple[str, int | str]] = [
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 5_000),  # gRPC's own two minutes would outlast the exporter's absence
    ("grpc.use_local_subchannel_pool", 1),  # or a new client in this process would wait out the back-off of an old one
]

UNIX_OPTIONS = [*_COMMON, *_RECONNECT]
"""Client options for a unix socket; no keepalive, which exporters of the public release punish there."""

TCP_OPTIONS = [*_COMMON, *_KEEPALIVE, *_RECONNECT]
"""Client options for TCP; a peer that is frozen or cut off is noticed within 30 s."""

SERVICE_OPTIONS: list[tuple[str, int | str]] = [
    *_COMMON,
    *_KEEPALIVE,
    ("grpc.initial_reconnect_backoff_ms", 500),
    ("grpc.min_reconnect_backoff_ms", 10_000),  # which is how long a connection may take
    ("grpc.max_reconnect_backoff_ms", 5_000),
]
"""Client options for controllers and routers; who uses them waits between attempts."""

CONTROLLER_RETRY = 0.5, 10.0
"""Seconds between attempts to reach a controller: at first, and at most."""

CONTROLLER_ANSWER = 10.0
"""Seconds that a controller has to answer an exporter, which asks again."""

CONTROLLER_PATIENCE = 25.0
"""Seconds that a controller has to answer a client, once it is connected: one with much to do counts as no dead one."""

LEASE_POLL = 4.0
"""Seconds between two looks at what becomes of a lease."""

RELEASE_LEASE = 30.0
"""Seconds that a client takes at most to give its lease back."""

REFUSALS = 4
"""Refusals of a token that worked before, one after the other, until the exporter believes them."""

MAX_TUNNELS = 256
"""Connections of the client of a lease at a time."""

LEASE_SHOWN = 1.0
"""Seconds that the client of a lease that it ended has to see how that went, before it is cut off."""

LEAVE_CONTROLLER = 5.0
"""Seconds that an exporter that stops takes at most to tell its controller."""
