"""Names of the environment variables that the core reads or sets."""

JUMPSTARTER_HOST = "JUMPSTARTER_HOST"
"""Address of the session: path of a unix socket, or host:port."""

JMP_DRIVERS_ALLOW = "JMP_DRIVERS_ALLOW"
"""Comma-separated patterns of client classes to load; UNSAFE allows all that can be imported."""

JMP_DRIVERS_UNSAFE = "JMP_DRIVERS_UNSAFE"
"""`1` or `true`: as UNSAFE in JMP_DRIVERS_ALLOW."""

JMP_SUPPRESS_DRIVER_WARNINGS = "_JMP_SUPPRESS_DRIVER_WARNINGS"
"""Set: do not warn of client classes that are not available."""

JMP_GRPC_INSECURE = "JMP_GRPC_INSECURE"
"""`1`: JUMPSTARTER_HOST speaks clear text."""

JUMPSTARTER_GRPC_INSECURE = "JUMPSTARTER_GRPC_INSECURE"
"""Older name of JMP_GRPC_INSECURE."""

JMP_GRPC_PASSPHRASE = "JMP_GRPC_PASSPHRASE"
"""Passphrase of the exporter at JUMPSTARTER_HOST."""

JMP_LOCK_DIR = "JMP_LOCK_DIR"
"""Directory of the locks on devices, the same for all users of a host."""

JMP_EXPORTER = "JMP_EXPORTER"
"""Name of the exporter that a shell is attached to."""

JMP_EXPORTER_LABELS = "JMP_EXPORTER_LABELS"
"""Its labels, as k=v,k=v."""

JMP_LEASE = "JMP_LEASE"
"""Name of the lease that a shell holds."""

JMP_NAMESPACE = "JMP_NAMESPACE"
"""Namespace, where a configuration leaves it out."""

JMP_NAME = "JMP_NAME"
"""Name, where a configuration leaves it out."""

JMP_ENDPOINT = "JMP_ENDPOINT"
"""Controller, where the configuration of a client leaves it out."""

JMP_TOKEN = "JMP_TOKEN"
"""Token, where the configuration of a client leaves it out."""

JMP_REFRESH_TOKEN = "JMP_REFRESH_TOKEN"
"""Refresh token, where the configuration of a client leaves it out."""

JMP_TLS = "JMP_TLS"
"""`tls` of a client's configuration as JSON, where that leaves it out."""

JMP_GRPCOPTIONS = "JMP_GRPCOPTIONS"
"""`grpcOptions` of a client's configuration as JSON, where that leaves them out."""

JMP_RETRY_TIMEOUT = "JMP_RETRY_TIMEOUT"
"""Seconds for which a client that wants a lease waits for a controller that is away."""

JMP_DIAL_TIMEOUT = "JMP_DIAL_TIMEOUT"
"""Seconds that an exporter has to take a connection of the client that has leased it."""

GRPC_ROOTS = "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH"
"""PEM file of the certificate authorities that TLS connections trust."""

JMP_DEBUG = "JMP_DEBUG"
"""`1`: show tracebacks, and ask the exporter for its own. Set at an exporter that serves a TCP port: tell them."""

JMP_DISABLE_COMPRESSION = "JMP_DISABLE_COMPRESSION"
"""At an exporter: let clients decompress by themselves what they send."""

JMP_SESSION = "JMP_SESSION"
"""Token of the session that a process belongs to."""

JMP_SUPERVISOR = "_JMP_SUPERVISOR"
"""Descriptor of the socket to the parent that supervises an exporter."""
