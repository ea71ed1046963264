"""Jumpstarter: hold of hardware on somebody else's desk."""

import os

# gRPC reads these when it is imported; without them it writes its own notices to the user's terminal
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
os.environ.setdefault("GLOG_minloglevel", "2")
