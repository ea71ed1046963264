"""Names that a child of a composite cannot have, because the client object needs them itself."""

RESERVED_NAMES = frozenset(
    {
        "call",
        "call_async",
        "check_exporter_status",
        "children",
        "cli",
        "close",
        "description",
        "driver_type",
        "end_session",
        "end_session_async",
        "get_status_async",
        "joins_pieces",
        "labels",
        "log_level",
        "log_stream",
        "log_stream_async",
        "logger",
        "methods_description",
        "name",
        "open_stream",
        "path",
        "portal",
        "resource_async",
        "stack",
        "status",
        "status_changes",
        "status_changes_async",
        "status_monitor_async",
        "stream",
        "stream_async",
        "streamingcall",
        "streamingcall_async",
        "stub",
        "typed_results",
        "unavailable",
        "uuid",
        "wait_for_hook_status",
        "wait_for_lease_ready",
    }
)
"""Attributes of `CompositeClient`; written down so that an exporter need not import the client."""


def check_child_name(name: str) -> str | None:
    """What is wrong with the name of a child, or None."""
    if not name:
        return "a child needs a name"
    if name in RESERVED_NAMES or name.startswith("_"):
        return f"the name {name!r} hides an attribute of the client object; choose another"
    return None
