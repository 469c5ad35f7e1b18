"""What the model is asked to see in a photo: the schema of its answer, and how a strange answer is noticed."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, ValidationError

from functions.shared.conditions import MATERIALS, State

#: Of the prompt in llm.py: part of every stored call.
PROMPT_VERSION = "see-1"

Name = Annotated[str, Field(min_length=1, max_length=60)]


class SeenState(BaseModel):
    """In what condition a thing is, as far as the photo shows it or the citizen says it."""

    contents: Literal["empty", "remaining", "unknown"]
    dirt: Literal["clean", "dirty", "oily", "unknown"]
    label: Literal["on", "off", "unknown"]
    cap: Literal["on", "off", "unknown"]
    damage: Literal["intact", "broken", "swollen", "unknown"]


class SeenObject(BaseModel):
    """One thing to be thrown away. `name` in Korean as people call it, `confidence` from 0 to 1."""

    name: Name
    name_en: Annotated[str, Field(max_length=60)]
    material: Annotated[str, Field(max_length=40, description=f"one of: {', '.join(MATERIALS)}, unknown")]
    state: SeenState
    confidence: Annotated[float, Field(ge=0, le=1)]

    def condition(self) -> State:
        """Its state and material in the words of the decision tables; what those do not know is dropped."""
        return State.of({**self.state.model_dump(), "material": self.material})


class SeenPhoto(BaseModel):
    """What is seen in a photo of waste."""

    objects: Annotated[list[SeenObject], Field(max_length=12)]
    text_in_photo: Annotated[str, Field(max_length=1000)]
    notes: Annotated[str, Field(max_length=1000)]


def parse(answer: dict[str, Any] | None) -> SeenPhoto | str:
    """The model's answer, or one line that says what is wrong with it."""
    if answer is None:
        return "it is not a JSON object"
    try:
        return SeenPhoto.model_validate(answer)
    except ValidationError as error:
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
