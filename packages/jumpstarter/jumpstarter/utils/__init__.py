"""Helpers for programs that use a session."""
