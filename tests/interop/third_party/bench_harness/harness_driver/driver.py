"""A harness that uses its children by reference, on pydantic's dataclass."""

from typing import Literal

from jumpstarter.common.exceptions import ConfigurationError
from jumpstarter.driver import Driver, export
from jumpstarter_driver_composite.driver import CompositeInterface
from pydantic import ConfigDict, Field, validate_call
from pydantic.dataclasses import dataclass

from .common import Step


@dataclass(kw_only=True, config=ConfigDict(arbitrary_types_allowed=True))
class Harness(CompositeInterface, Driver):
    mode: Literal["fast", "slow"] = "fast"
    steps: list[Step] = Field(default_factory=list)

    @classmethod
    def client(cls) -> str:
        return "harness_driver.client.HarnessClient"

    def __post_init__(self):
        if hasattr(super(), "__post_init__"):
            super().__post_init__()
        if "power" not in self.children:
            raise ConfigurationError("'power' is required as a child")

    def extra_labels(self) -> dict[str, str]:
        return {"harness.example/mode": self.mode}

    @export
    async def bring_up(self) -> str:
        await self.children["power"].on()
        return f"up in {len(self.steps)} steps"

    @export
    @validate_call(validate_return=True)
    def plan(self, repeat: int = 1) -> list[Step]:
        return self.steps * repeat
