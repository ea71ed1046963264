"""A plugin of pytest: what an exporter's configuration would say for the drivers of the packaged tests.

Those make their drivers themselves, so it is said to the classes:

* URLs of this host may be read, which our core refuses unless a driver's `url_rules` say otherwise;
* the classes in CONFORMANCE_CONCURRENT (module:name, separated by commas) have `concurrent: true`.
"""

from __future__ import annotations

import os
from importlib import import_module
from urllib.parse import SplitResult

from jumpstarter.driver import Driver
from jumpstarter.streams.http import UrlRules


class LoopbackRules(UrlRules):
    def lists(self, url: SplitResult) -> bool:
        return url.hostname in ("127.0.0.1", "localhost")


def _rules(self: Driver) -> UrlRules:
    return LoopbackRules()


Driver.url_rules = _rules

for path in filter(None, os.environ.get("CONFORMANCE_CONCURRENT", "").split(",")):
    module, _, name = path.partition(":")
    getattr(import_module(module), name).concurrent_calls = True
