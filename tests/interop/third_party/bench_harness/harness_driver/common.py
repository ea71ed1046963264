from pydantic import BaseModel


class Step(BaseModel):
    name: str
    seconds: float = 0.0
