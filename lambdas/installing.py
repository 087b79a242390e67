"""Writing the versions of the brake's policies at deploy time, and taking them away at the end.

The invariant: whatever happens here, and wherever it stops half-way, the default version keeps its level. An
update never opens a closed brake; neither does the rollback of one, which is an update with the old documents.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from lambdas.core.errors import AwsCallError, GuardrailError, UnfinishedError
from lambdas.core.levels import Document, Level, level_of

MAX_VERSIONS = 5
"""IAM's quota of versions for a managed policy."""


class ForeignPolicyError(GuardrailError):
    """A policy of our name that is not ours."""


@dataclass(frozen=True, slots=True)
class Version:
    """A policy version as IAM has it."""

    version_id: str
    document: Document
    is_default: bool

    @property
    def number(self) -> int:
        """``7`` for ``v7``: later versions have higher numbers."""
        return int(self.version_id.removeprefix("v"))

    @property
    def level(self) -> Level | None:
        """What the version stands for; None when it is not ours."""
        return level_of(self.document)


class PolicyWriter(Protocol):
    """The calls only the installer may make, and only on the two policies."""

    def versions(self, arn: str) -> Sequence[Version] | None:
        """Return all versions, None when there is no such policy."""

    def owner(self, arn: str) -> str | None:
        """Return the deployment the policy belongs to, None when there is no such policy."""

    def create(self, name: str, document: Document) -> Version:
        """Create the policy, marked as the writer's own, and return its first version, the default one."""

    def create_version(self, arn: str, document: Document) -> Version:
        """Add a version, not as the default one."""

    def set_default(self, arn: str, version_id: str) -> None:
        """Make a version the default one."""

    def delete_version(self, arn: str, version_id: str) -> None:
        """Delete a version that is not the default one."""

    def holders(self, arn: str) -> frozenset[str]:
        """Return whom the policy is attached to."""

    def detach(self, arn: str, holder: str) -> None:
        """Detach the policy; no error where it is not attached any more."""

    def delete(self, arn: str) -> None:
        """Delete the policy; no error where there is none."""


def install(name: str, arn: str, wanted: Mapping[Level, Document], writer: PolicyWriter, us: str) -> dict[Level, str]:
    """Bring a policy of a deployment (``us``) to exactly the wanted documents; return the version id for each level.

    A policy that is there already keeps its level: a stop survives every update, and a stack that is deployed
    again over what an interrupted one left behind. Raises ForeignPolicyError before anything is changed.
    """
    if (owner := writer.owner(arn)) not in {None, us}:
        msg = (
            f"the policy {arn} belongs to {owner or 'nobody known'}, not to {us}: one guardrail serves the whole "
            "account; destroy the other, or choose another prefix in guardrail.toml"
        )
        raise ForeignPolicyError(msg)
    found = writer.versions(arn)
    if found is None:
        found = [writer.create(name, wanted[Level.RELEASED])]
    if not _ours(found):
        msg = (
            f"the policy {arn} exists and is not the guardrail's: rename or delete it, "
            "or choose another prefix in guardrail.toml"
        )
        raise ForeignPolicyError(msg)
    # What was just written may not be read back yet, so what is known is carried along.
    known = {each.version_id: each for each in found}
    # The stop first: if this is interrupted, what is needed most is the newest.
    return {level: _install_level(arn, level, wanted[level], known, writer) for level in sorted(Level, reverse=True)}


def _install_level(arn: str, level: Level, wanted: Document, known: dict[str, Version], writer: PolicyWriter) -> str:
    current = _newest(each for each in known.values() if each.level is level and _same(each.document, wanted))
    if current is None:
        _make_room(arn, known, writer)
        current = writer.create_version(arn, wanted)
        known[current.version_id] = current
    superseded = [each for each in known.values() if each.level is level and each.version_id != current.version_id]
    if superseded:
        # Read again: somebody may have pulled the brake since. Only a default of this very level is moved.
        default = next((each for each in writer.versions(arn) or () if each.is_default), None)
        if default is not None and default.level is level and default.version_id != current.version_id:
            writer.set_default(arn, current.version_id)
    for each in superseded:
        writer.delete_version(arn, each.version_id)
        del known[each.version_id]
    return current.version_id


def _make_room(arn: str, known: dict[str, Version], writer: PolicyWriter) -> None:
    """Delete what an interrupted update left over, or somebody added: all but the newest of each level."""
    if len(known) < MAX_VERSIONS:
        return
    for each in list(known.values()):
        newest = _newest(other for other in known.values() if other.level is each.level)
        if not each.is_default and (each.level is None or each is not newest):
            writer.delete_version(arn, each.version_id)
            del known[each.version_id]


def _ours(versions: Sequence[Version]) -> bool:
    return any(each.level is not None for each in versions)


def _newest(versions: Iterable[Version]) -> Version | None:
    return max(versions, key=lambda each: each.number, default=None)


def _same(one: Document, other: Document) -> bool:
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def remove(arn: str, writer: PolicyWriter, us: str) -> None:
    """Release, detach from everybody, delete. Safe to repeat after a crash anywhere; leaves what is not ours alone."""
    versions = writer.versions(arn)
    if versions is None or not _ours(versions) or writer.owner(arn) != us:
        return
    default = next(each for each in versions if each.is_default)
    released = _newest(each for each in versions if each.level is Level.RELEASED)
    if released is not None and default.level is not Level.RELEASED:
        writer.set_default(arn, released.version_id)
        default = released
    left = {}
    for holder in sorted(writer.holders(arn)):
        try:
            writer.detach(arn, holder)
        except AwsCallError as error:
            left[holder] = str(error)
    if left:
        msg = (
            f"the policy {arn.rpartition('/')[2]} cannot be detached from everybody; take it off by hand (for an "
            "Identity Center role: out of its permission set) and destroy again: "
            + "; ".join(f"{holder}: {why}" for holder, why in left.items())
        )
        raise UnfinishedError(msg)
    for each in versions:
        if each.version_id != default.version_id:
            writer.delete_version(arn, each.version_id)
    writer.delete(arn)
