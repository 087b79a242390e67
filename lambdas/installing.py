"""Writing the guardrail's own policies and groups, and taking them away at the end. Nothing else writes a document.

The invariants, whatever happens here and wherever it stops half-way: the default version keeps its level, so an
update never opens a closed brake, and neither does the rollback of one; and what is stopped alone stays stopped until
somebody releases it. Both are read from IAM each time: the default version of the brake policy is the truth.

Two may write at once, an update and a kill. IAM has no conditional write, but it hands out ascending version numbers
and refuses to make a version the default one that is gone. So a writer

1. creates what it wants, then looks again whether that is still wanted, and only then makes it the default version;
2. deletes older versions only, so that the newest of a level is always there for a stop to switch to;
3. is done when it reads back what it wants, and nothing else. Else it begins anew from what it read.

Whoever makes a version the default one has looked after it was created; had another writer finished in between, the
version would be gone. One gap is left: a stop that switches the level between the look and the switch to a newer
version of the level before is undone. It is a call wide; the stop reads back, and the next minute asserts it again.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from lambdas.core.brake_documents import DocumentSettings, narrow_scopes
from lambdas.core.errors import AwsCallError, GuardrailError, RefusedError, UnfinishedError
from lambdas.core.levels import Document, Level, level_of
from lambdas.core.scopes import Scope, parse_scope
from lambdas.settings import Settings

MAX_VERSIONS = 5
"""IAM's quota of versions for a managed policy."""

ALL_NARROW = "all-narrow"
"""Releases everything that is stopped alone but principals, which hold the deny policy."""

_TRIES = 8
_OVERTAKEN = {"NoSuchEntity", "LimitExceeded", "DeleteConflict"}
"""What IAM answers when another writer was quicker."""


class ForeignPolicyError(GuardrailError):
    """A policy or group of our name that is not ours."""


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


@dataclass(frozen=True, slots=True)
class Group:
    """A group as IAM has it."""

    path: str
    members: tuple[str, ...] = ()
    """Names of users."""
    policies: frozenset[str] = frozenset()
    """ARNs of the managed policies attached to it."""


@dataclass(frozen=True, slots=True)
class Own:
    """What the guardrail calls its own in IAM."""

    brake: str
    """ARN of the policy that hangs on the armed."""
    sweep: str
    """ARN of the policy that hangs on the others while something is stopped."""
    deny: str
    """ARN of the policy that stops one principal alone: one version, no levels."""
    path: str
    """The IAM path of its groups: ``/bedrock-spend/``."""
    us: str
    """The deployment, as the policies are marked."""

    @property
    def groups(self) -> tuple[tuple[str, str], ...]:
        """The groups, each of the name of the one policy it holds, and that policy's ARN."""
        return tuple((name_of(arn), arn) for arn in (self.sweep, self.deny))


def name_of(arn: str) -> str:
    """Return a policy's name."""
    return arn.rpartition("/")[2]


Render = Callable[[frozenset[Scope]], Mapping[Level, Document]]
"""Returns the documents with what is stopped alone in each. Raises RefusedError or BrakeDocumentError."""


@dataclass(frozen=True, slots=True)
class Change:
    """What somebody wants stopped alone, or released; without either the documents are brought up to date."""

    stop: Scope | None = None
    release: Scope | None = None
    release_all: bool = False

    def __call__(self, scopes: frozenset[Scope]) -> frozenset[Scope]:
        """Return what is to be stopped alone when these are."""
        left = frozenset() if self.release_all else scopes - {self.release}
        return left | {self.stop} if self.stop else left


UP_TO_DATE = Change()


def parse_change(event: object, account_id: str) -> Change:
    """Read ``{"source": "prices"}``, or ``{"source": "kill" | "release" | "meter", "stop" | "release": SCOPE}``.

    Raises RefusedError for anything else: it is the guardrail's own functions that ask.
    """
    if isinstance(event, Mapping):
        match dict(event):
            case {"source": "prices", **others} if not others:
                return UP_TO_DATE
            case {"source": "kill" | "release" | "meter", "stop": str(text), **others} if not others:
                return Change(stop=_narrow(text, account_id))
            case {"source": "kill" | "release" | "meter", "release": str(text), **others} if not others:
                return Change(release_all=True) if text == ALL_NARROW else Change(release=_narrow(text, account_id))
    msg = (
        'nothing was changed: the event must be {"source": "prices"} or {"source": "kill", "stop": SCOPE} or '
        '{"source": "release", "release": SCOPE}; a person uses the kill and the release function instead'
    )
    raise RefusedError(msg)


def _narrow(text: str, account_id: str) -> Scope:
    scope = parse_scope(text, account_id)
    if scope.is_principal:
        msg = f"nothing was changed: {scope} is stopped by attaching the deny policy, which the kill function does"
        raise RefusedError(msg)
    return scope


def document_settings(settings: Settings) -> DocumentSettings:
    """Return what the configuration says about the documents."""
    return DocumentSettings(
        settings.exempt,
        settings.step_down_output_usd,
        settings.external_anthropic,
        settings.exempt_tag,
        settings.canary,
    )


@dataclass(frozen=True, slots=True)
class InstallTools:
    """What the policies are written with."""

    own: Own
    render: Render
    deny: Document
    """What the deny policy says."""
    writer: "PolicyWriter"


@dataclass(frozen=True, slots=True)
class Written:
    """What IAM has now."""

    scopes: frozenset[Scope]
    """What is stopped alone, but for principals."""
    versions: Mapping[str, Mapping[Level, str]]
    """The version for each level, by policy name."""

    def answer(self) -> dict[str, object]:
        """Return it as JSON has it."""
        return {
            "scopes": sorted(map(str, self.scopes)),
            "versions": {
                name: {str(level): version for level, version in sorted(by_level.items())}
                for name, by_level in self.versions.items()
            },
        }


class PolicyWriter(Protocol):
    """The calls only the installer may make, and only on the guardrail's own policies and groups."""

    def versions(self, arn: str) -> Sequence[Version] | None:
        """Return all versions, None when there is no such policy."""

    def owner(self, arn: str) -> str | None:
        """Return the deployment the policy belongs to, None when there is no such policy."""

    def create(self, name: str, document: Document) -> Version:
        """Create the policy, marked as the writer's own, and return its first version, the default one."""

    def create_version(self, arn: str, document: Document) -> Version:
        """Add a version, not as the default one."""

    def replace(self, arn: str, document: Document) -> Version:
        """Add a version as the default one."""

    def set_default(self, arn: str, version_id: str) -> None:
        """Make a version the default one."""

    def delete_version(self, arn: str, version_id: str) -> None:
        """Delete a version that is not the default one; no error where there is none."""

    def holders(self, arn: str) -> frozenset[str]:
        """Return whom the policy is attached to, groups left out."""

    def detach(self, arn: str, holder: str) -> None:
        """Detach the policy; no error where it is not attached any more."""

    def delete(self, arn: str) -> None:
        """Delete the policy; no error where there is none."""

    def group(self, name: str) -> Group | None:
        """Return the group, None when there is none."""

    def create_group(self, name: str, path: str) -> None:
        """Create a group."""

    def attach_to_group(self, name: str, arn: str) -> None:
        """Attach a policy to a group."""

    def leave_group(self, name: str, user: str) -> None:
        """Take a user out of a group; no error where it is no member any more."""

    def detach_from_group(self, name: str, arn: str) -> None:
        """Detach a policy from a group; no error where it is not attached any more."""

    def delete_group(self, name: str) -> None:
        """Delete a group; no error where there is none."""

    def wait(self) -> None:
        """Wait a moment, for IAM to catch up or another writer to finish."""


def install(tools: InstallTools) -> Written:
    """Make or renew everything that is ours in IAM; what is stopped, and how far, stays so.

    A stop survives every update, and a stack that is deployed again over what an interrupted one left behind. Raises
    ForeignPolicyError before anything is changed.
    """
    own, render, writer = tools.own, tools.render, tools.writer
    found = {arn: writer.versions(arn) for arn in (own.brake, own.sweep, own.deny)}
    for arn, versions in found.items():
        _refuse_foreign(arn, versions, own, writer)
    for name, _ in own.groups:
        if (group := writer.group(name)) is not None and group.path != own.path:
            msg = f"the group {group.path}{name} is not the guardrail's: {_ANOTHER_NAME}"
            raise ForeignPolicyError(msg)
    # Should one of the two be gone, the other still knows what is stopped alone.
    before = _scopes(found[own.brake] or found[own.sweep] or ())
    for arn in (own.brake, own.sweep):
        if found[arn] is None:
            writer.create(name_of(arn), render(before)[Level.RELEASED])
    written = write(UP_TO_DATE, tools)
    _install_deny(own.deny, found[own.deny], tools.deny, writer)
    for name, arn in own.groups:
        group = writer.group(name)
        if group is None:
            writer.create_group(name, own.path)
        if group is None or arn not in group.policies:
            writer.attach_to_group(name, arn)
    return written


_ANOTHER_NAME = "rename or delete it, or choose another prefix in guardrail.toml"


def _refuse_foreign(arn: str, versions: Sequence[Version] | None, own: Own, writer: PolicyWriter) -> None:
    if (owner := writer.owner(arn)) not in {None, own.us}:
        msg = (
            f"the policy {arn} belongs to {owner or 'nobody known'}, not to {own.us}: one guardrail serves the whole "
            "account; destroy the other, or choose another prefix in guardrail.toml"
        )
        raise ForeignPolicyError(msg)
    if versions is not None and arn != own.deny and not _ours(versions):
        msg = f"the policy {arn} exists and is not the guardrail's: {_ANOTHER_NAME}"
        raise ForeignPolicyError(msg)


def write(change: Change, tools: InstallTools) -> Written:
    """Bring both policies that have levels to what the change makes of what is stopped alone now.

    Raises RefusedError when they do not exist or the documents would not fit, before anything is changed, and
    UnfinishedError when others kept writing.
    """
    own, writer = tools.own, tools.writer
    for arn in (own.brake, own.sweep):
        if (owner := writer.owner(arn)) != own.us:
            found = "there is none" if owner is None else f"it belongs to {owner or 'nobody known'}"
            msg = f"nothing was changed: the policy {name_of(arn)} is not ours ({found}): deploy the stack again"
            raise RefusedError(msg)
    settled = {arn: _Settling(arn, own.brake, change, tools.render, writer).settle() for arn in (own.brake, own.sweep)}
    # The brake's last: it is the truth, and the sweep's reading is no older.
    return Written(settled[own.sweep][0], {name_of(arn): versions for arn, (_, versions) in settled.items()})


@dataclass(slots=True)
class _Settling:
    """Brings one policy to the documents that are wanted; see the head of this file for the order of its calls."""

    arn: str
    truth: str
    """The policy whose default version says what is stopped alone."""
    change: Change
    render: Render
    writer: PolicyWriter
    made: dict[str, Version] = field(default_factory=dict)
    """What was just written, for it may not be read back yet."""
    rendered: dict[frozenset[Scope], Mapping[Level, Document]] = field(default_factory=dict)

    def settle(self) -> tuple[frozenset[Scope], dict[Level, str]]:
        """Write until IAM has what is wanted; return what is stopped alone and the version for each level."""
        overtaken: AwsCallError | None = None
        for attempt in range(_TRIES):
            if attempt > 1:
                self.writer.wait()
            scopes, known = self._read()
            if scopes not in self.rendered:
                self.rendered[scopes] = self.render(scopes)
            wanted = self.rendered[scopes]
            if _is_settled(known.values(), wanted):
                return scopes, {each.level: each.version_id for each in known.values() if each.level is not None}
            try:
                self._write(scopes, wanted, known)
            except AwsCallError as error:
                if error.code not in _OVERTAKEN:
                    raise
                overtaken = error
        msg = (
            f"the policy {name_of(self.arn)} was changed by somebody else each time it was written"
            f"{f' ({overtaken})' if overtaken else ''}: see who writes it, then do this again"
        )
        raise UnfinishedError(msg)

    def _read(self) -> tuple[frozenset[Scope], dict[str, Version]]:
        """Return what is to be stopped alone by now, and the versions of the policy."""
        known = {each.version_id: each for each in self.writer.versions(self.arn) or ()}
        truth = known.values() if self.truth == self.arn else self.writer.versions(self.truth) or ()
        for each in self.made.values():
            # The newest of a level is deleted by nobody, so it is there though it is not listed yet.
            newest = _newest(other for other in known.values() if other.level is each.level)
            if newest is None or newest.number < each.number:
                known[each.version_id] = each
        return self.change(_scopes(truth)), known

    def _write(self, scopes: frozenset[Scope], wanted: Mapping[Level, Document], known: dict[str, Version]) -> None:
        default = next((each.level for each in known.values() if each.is_default), None)
        # What is in force first, as it tells what is stopped alone; then what is needed most.
        for level in sorted(Level, key=lambda each: (each is not default, -each)):
            newest = _newest(each for each in known.values() if each.level is level)
            if newest is None or not _same(newest.document, wanted[level]):
                self._make_room(known)
                newest = self.writer.create_version(self.arn, wanted[level])
                self.made[newest.version_id] = known[newest.version_id] = newest
            elif not any(_supersedes(newest, each) for each in known.values()):
                continue
            # Look again: somebody may have pulled the brake since, or stopped something else alone.
            still, now = self._read()
            if still != scopes:
                return
            current = next((each for each in now.values() if each.is_default), None)
            # Only a default of this very level is moved.
            if current is not None and current.level is level and current.version_id != newest.version_id:
                self.writer.set_default(self.arn, newest.version_id)
            for each in now.values():
                if _supersedes(newest, each):
                    self.writer.delete_version(self.arn, each.version_id)
                    known.pop(each.version_id, None)
                    self.made.pop(each.version_id, None)

    def _make_room(self, known: dict[str, Version]) -> None:
        """Delete what an interrupted update left over, or somebody added: all but the newest of each level."""
        if len(known) < MAX_VERSIONS:
            return
        for each in list(known.values()):
            newest = _newest(other for other in known.values() if other.level is each.level)
            if not each.is_default and (each.level is None or each is not newest):
                self.writer.delete_version(self.arn, each.version_id)
                known.pop(each.version_id)
                self.made.pop(each.version_id, None)


def _is_settled(versions: Iterable[Version], wanted: Mapping[Level, Document]) -> bool:
    """Tell whether there is exactly one version for each level, as wanted; what somebody added besides may stay."""
    ours = [each for each in versions if each.level is not None]
    return len(ours) == len(wanted) and all(
        any(each.level is level and _same(each.document, document) for each in ours)
        for level, document in wanted.items()
    )


def _supersedes(newest: Version, other: Version) -> bool:
    return other.level is newest.level and other.number < newest.number


def _scopes(versions: Iterable[Version]) -> frozenset[Scope]:
    """Return what is stopped alone: the default version says it, or the newest of ours when that one is foreign."""
    ours = [each for each in versions if each.level is not None]
    default = next((each for each in ours if each.is_default), _newest(ours))
    return frozenset(narrow_scopes(default.document)) if default else frozenset()


def _install_deny(arn: str, versions: Sequence[Version] | None, wanted: Document, writer: PolicyWriter) -> None:
    """Keep the one version of the deny policy: it has no levels, so it is replaced in a single write."""
    if versions is None:
        writer.create(name_of(arn), wanted)
        return
    known = {each.version_id: each for each in versions}
    default = next(each for each in versions if each.is_default)
    if not _same(default.document, wanted):
        if len(known) >= MAX_VERSIONS:
            spare = min((each for each in versions if not each.is_default), key=lambda each: each.number)
            writer.delete_version(arn, spare.version_id)
            del known[spare.version_id]
        default = writer.replace(arn, wanted)
    for each in known:
        if each != default.version_id:
            writer.delete_version(arn, each)


def _ours(versions: Sequence[Version]) -> bool:
    return any(each.level is not None for each in versions)


def _newest(versions: Iterable[Version]) -> Version | None:
    return max(versions, key=lambda each: each.number, default=None)


def _same(one: Document, other: Document) -> bool:
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def remove(own: Own, writer: PolicyWriter) -> None:
    """Release, take everybody out, delete. Safe to repeat after a crash anywhere; leaves what is not ours alone."""
    for name, arn in own.groups:
        # As the policy goes after its group, it is there as long as the group is.
        if writer.owner(arn) == own.us and (group := writer.group(name)) is not None and group.path == own.path:
            for user in group.members:
                writer.leave_group(name, user)
            writer.detach_from_group(name, arn)
            writer.delete_group(name)
    left = []
    # The brake last, as it came first: it is what a stop needs most.
    for arn in (own.deny, own.sweep, own.brake):
        versions = writer.versions(arn)
        if versions is None or writer.owner(arn) != own.us or not (arn == own.deny or _ours(versions)):
            continue
        try:
            _remove_policy(arn, versions, writer)
        except UnfinishedError as error:
            left.append(str(error))
    if left:
        raise UnfinishedError(". ".join(left))


def _remove_policy(arn: str, versions: Sequence[Version], writer: PolicyWriter) -> None:
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
