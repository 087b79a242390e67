"""IAM: long-term Bedrock API keys, set inactive while a stop is on. Each is a service-specific credential of a user."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from aws_lambda_powertools import Logger

from lambdas.aws import calls, gone, recalled
from lambdas.core.errors import AwsCallError
from lambdas.core.levels import Level
from lambdas.core.levers import Found, Held
from lambdas.core.permissions import On, needs
from lambdas.core.principals import Capability, Principal, PrincipalKind, Spared

if TYPE_CHECKING:
    from mypy_boto3_iam import IAMClient
    from mypy_boto3_iam.literals import StatusTypeType
    from mypy_boto3_iam.type_defs import (
        ListServiceSpecificCredentialsRequestTypeDef,
        ServiceSpecificCredentialMetadataTypeDef,
    )

_LIST = "iam:ListServiceSpecificCredentials"
_UPDATE = "iam:UpdateServiceSpecificCredential"
_GONE = "NoSuchEntity"
_NO_SUCH_KEYS = "NotSupportedService"
"""How IAM says that there are no keys for a service."""

logger = Logger(service="api-key")


def services(*, external_anthropic: bool) -> tuple[str, ...]:
    """Return whose keys these are, as IAM names it. A key for Bedrock opens both of its inference planes."""
    other = ("aws-external-anthropic.amazonaws.com",) if external_anthropic else ()
    return ("bedrock.amazonaws.com", *other)


class ApiKeys:
    """Long-term API keys. Short-term ones cannot be listed: they are stopped by the deny on whoever made them."""

    name = "api-key"

    def __init__(self, client: "IAMClient", *, external_anthropic: bool) -> None:
        """Take the client, and whether keys for Claude Platform on AWS count too."""
        self._iam = client
        self._services = services(external_anthropic=external_anthropic)

    # All users are asked for at once, so there is no one user to narrow this to.
    @needs(_LIST, on=On.EVERYTHING)
    @needs("iam:GetUser", on=On.USERS)
    def find(self, level: Level, spared: Spared) -> Found:
        """Return the active keys when the level is a stop: a key cannot tell dear models from cheap ones."""
        if level is not Level.STOP:
            return Found()
        active: list[ServiceSpecificCredentialMetadataTypeDef] = []
        unread: dict[str, str] = {}
        for service in self._services:
            try:
                active += (each for each in self._keys(service) if each["Status"] == "Active")
            except AwsCallError as error:
                if error.code != _NO_SUCH_KEYS:
                    unread[f"API keys for {service}"] = str(error)
        in_reach: set[str] = set()
        for user in sorted({each["UserName"] for each in active}):
            try:
                if not spared.covers(self._user(user)):
                    in_reach.add(user)
            except AwsCallError as error:
                # Not knowing path and tags, nobody can tell whether the user is exempt: the key is left to the deny
                # that its user holds.
                if error.code != _GONE:
                    unread[f"API keys of user/{user}"] = str(error)
        return Found(tuple(_held(each) for each in active if each["UserName"] in in_reach), unread)

    @needs(_UPDATE, on=On.API_KEYS)
    def hold(self, held: Held, level: Level) -> None:
        """Set a key inactive when the level is a stop."""
        if level is Level.STOP:
            with gone.passes(_GONE):
                self._set(recalled.value(held, "user", str), held.key, "Inactive")

    @needs(_LIST, on=On.EVERYTHING)
    @needs(_UPDATE, on=On.API_KEYS_TO_RESTORE)
    def restore(self, held: Held) -> None:
        """Set a key active again, if it is inactive: one that expired meanwhile stays so.

        A key keeps its id when its user is renamed; where there is none of that id any more, the log says so.
        """
        service, user = (recalled.value(held, each, str) for each in ("service", "user"))
        key = self._key(held.key, service, user)
        if key is None:
            logger.warning("a key that was set inactive is gone", key=held.key, user=user)
        elif key["Status"] == "Inactive":
            self._set(key["UserName"], held.key, "Active")

    def _key(self, name: str, service: str, user: str) -> "ServiceSpecificCredentialMetadataTypeDef | None":
        """Return the key of that id, of that user or of whoever has it now."""
        for whose in (user, ""):
            with gone.passes(_GONE):
                for each in self._keys(service, of=whose):
                    if each["ServiceSpecificCredentialId"] == name:
                        return each
        return None

    def _keys(self, service: str, *, of: str = "") -> "Iterator[ServiceSpecificCredentialMetadataTypeDef]":
        """Yield the keys of a user, by default of all, page by page."""
        asked: ListServiceSpecificCredentialsRequestTypeDef = {"ServiceName": service}
        if of:
            asked["UserName"] = of
        else:
            asked["AllUsers"] = True
        while True:  # botocore knows no paginator for it
            with calls.named(_LIST):
                page = self._iam.list_service_specific_credentials(**asked)
            yield from page.get("ServiceSpecificCredentials", ())
            if not page.get("IsTruncated"):
                return
            asked["Marker"] = page["Marker"]

    def _user(self, name: str) -> Principal:
        with calls.named("iam:GetUser"):
            user = self._iam.get_user(UserName=name)["User"]
        return Principal(
            user["Arn"],
            PrincipalKind.USER,
            name,
            user["Path"],
            Capability.NAMED,
            tags={each["Key"]: each["Value"] for each in user.get("Tags", ())},
        )

    def _set(self, user: str, key: str, status: "StatusTypeType") -> None:
        with calls.named(_UPDATE):
            self._iam.update_service_specific_credential(UserName=user, ServiceSpecificCredentialId=key, Status=status)


def _held(key: "ServiceSpecificCredentialMetadataTypeDef") -> Held:
    name, user = key["ServiceSpecificCredentialId"], key["UserName"]
    return Held(ApiKeys.name, name, f"API key {name} of user/{user}", {"user": user, "service": key["ServiceName"]})
