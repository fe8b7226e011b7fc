"""The requirement catalogue: reads ``requirements.yaml``, which ships beside this module."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from conformance.errors import HarnessBug, UsageError
from conformance.scenario.document import plain, read_mapping
from conformance.scenario.words import nearest

FILE = Path(__file__).with_name("requirements.yaml")

Level = Literal["MUST", "SHOULD", "INFO"]
Source = Literal["doc", "hm", "rfc", "exp"]
"""The page, hMailServer's documented behaviour, an RFC, or operators' experience."""


class Requirement(BaseModel):
    """What a server must do, under a stable id."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str = Field(pattern=r"^[A-Z]+-[1-9][0-9]*$")
    topic: str = Field(description="The id's first part; `Catalogue.topics` has its title")
    level: Level
    page_policy: bool = Field(
        default=False, description="Binds only servers that follow the page; recorded as info on the others"
    )
    sources: tuple[Source, ...] = Field(min_length=1)
    text: str = Field(min_length=20)
    excluded: str | None = Field(default=None, description="Why no scenario will ever show it")

    @model_validator(mode="after")
    def _topic_is_in_the_id(self) -> Requirement:
        if self.id.partition("-")[0] != self.topic:
            raise ValueError(f"the topic of {self.id} is {self.id.partition('-')[0]}")
        return self

    @property
    def level_text(self) -> str:
        """The level as the catalogue prints it, ``MUST*`` for a policy of the page."""
        return f"{self.level}*" if self.page_policy else self.level


class UnknownRequirement(UsageError, KeyError):  # noqa: N818 - it names what is wrong
    """An id that the catalogue does not have."""

    def __str__(self) -> str:
        return str(self.args[0])


@dataclass(frozen=True, slots=True)
class Catalogue:
    """All requirements, in the catalogue's order."""

    requirements: Mapping[str, Requirement]
    topics: Mapping[str, str] = field(default_factory=dict)
    """Title by topic: ``{"OS": "Operating-system support", …}``."""

    def __getitem__(self, requirement_id: str) -> Requirement:
        """Return the requirement; raise UnknownRequirement (a KeyError) with the nearest known id."""
        try:
            return self.requirements[requirement_id]
        except KeyError:
            raise UnknownRequirement(self.unknown(requirement_id)) from None

    def __contains__(self, requirement_id: object) -> bool:
        return requirement_id in self.requirements

    def __iter__(self) -> Iterator[Requirement]:
        return iter(self.requirements.values())

    def __len__(self) -> int:
        return len(self.requirements)

    @property
    def ids(self) -> tuple[str, ...]:
        """Every id, in the catalogue's order."""
        return tuple(self.requirements)

    def unknown(self, requirement_id: str) -> str:
        """Return what to tell a user who wrote an id that is not here."""
        topic = requirement_id.strip().upper().partition("-")[0]
        near = nearest(requirement_id, self.requirements)
        of_topic = [known for known in self.requirements if known.startswith(f"{topic}-")]
        if of_topic:
            hint = f"the topic {topic} has {', '.join(of_topic)}"
        else:
            hint = f"the topics are {', '.join(dict.fromkeys(r.topic for r in self))}"
        return f"unknown requirement {requirement_id!r}; " + (f"did you mean {near!r}?" if near else hint)


@cache
def load() -> Catalogue:
    """Return the catalogue that ships with the harness. Raises HarnessBug when its file is damaged."""
    return read(FILE)


def read(file: Path) -> Catalogue:
    """Return the catalogue in ``file``; raise HarnessBug with what is wrong in it."""
    try:
        return _catalogue(plain(read_mapping(file)))
    except (UsageError, ValidationError, LookupError, AttributeError, TypeError, ValueError) as error:
        raise HarnessBug(f"the requirement catalogue {file} is damaged: {error}") from error


def _catalogue(document: object) -> Catalogue:
    if not isinstance(document, dict):
        raise TypeError("a mapping is expected")
    requirements: dict[str, Requirement] = {}
    topics: dict[str, str] = {}
    for topic, content in document["topics"].items():
        topics[topic] = content["title"]
        for requirement_id, fields in content["requirements"].items():
            if requirement_id in requirements:
                raise ValueError(f"{requirement_id} is there twice")
            requirements[requirement_id] = Requirement(id=requirement_id, topic=topic, **fields)
    return Catalogue(requirements, topics)
