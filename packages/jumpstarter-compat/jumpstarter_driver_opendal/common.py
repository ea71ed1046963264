"""`jumpstarter.client.flasher` by the name that the public release has for its paths."""

from jumpstarter.client.flasher import PathBuf

__all__ = ["PathBuf"]
