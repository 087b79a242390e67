"""Who is in the drill's account: an agent, users, an admin, a break-glass role, and somebody who has no part in it."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

from botocore.exceptions import ClientError

from drill.emulator.emulator import Credentials, Emulator

MODEL = "us.anthropic.claude-sonnet-5-5"
"""Not dear enough for the step-down, so that the stop has to do the stopping."""

OTHER_MODEL = "us.amazon.nova-lite-v1:0"
"""Called where the first one alone is stopped."""

_SLOTS_OF_A_USER = 10
_BUCKETS = "s3:ListAllMyBuckets"


@dataclass(frozen=True, slots=True)
class Person:
    """A principal with a live session, and how the guardrail should treat it."""

    arn: str
    holder: str
    session: Credentials
    armed: bool
    swept: bool
    note: str
    may_invoke: bool = True

    @property
    def stopped(self) -> bool:
        """Whether a stop must reach it."""
        return self.armed or self.swept


def arrive(emulator: Emulator) -> tuple[Person, ...]:
    """Create everybody, and open their sessions: a stop must hold for sessions that are open already."""
    emulator.client("s3").create_bucket(Bucket="somebody-elses-data")
    return (
        _role(emulator, "runaway-agent", "/agents/", ["bedrock:InvokeModel*", _BUCKETS], "an agent, armed", armed=True),
        _user(emulator, "data-scientist", [_BUCKETS], "IAM user with AmazonBedrockFullAccess, armed"),
        _user_without_a_slot(emulator, "team-lead", "IAM user without a free policy slot, stopped through a group"),
        _role(emulator, "platform-admin", "/", ["*"], "wildcard admin, swept at the stop", swept=True),
        _role(emulator, "break-glass", "/", ["bedrock:*", _BUCKETS], "exempt by configuration"),
        _role(emulator, "web-app", "/", [_BUCKETS], "cannot use Bedrock, left alone", may_invoke=False),
    )


def hire(emulator: Emulator, name: str) -> Person:
    """Create one more agent."""
    return _role(emulator, name, "/", ["bedrock:InvokeModel"], "an agent that comes and goes", armed=True)


def may_invoke(emulator: Emulator, person: Person, model: str = MODEL) -> bool:
    """Call Bedrock as that person; False when IAM denies it."""
    try:
        emulator.client("bedrock-runtime", person.session).converse(
            modelId=model, messages=[{"role": "user", "content": [{"text": "Are you there?"}]}]
        )
    except ClientError as error:
        return _not_denied(error)
    return True


def may_list_buckets(emulator: Emulator, person: Person) -> bool:
    """Use another service as that person."""
    try:
        emulator.client("s3", person.session).list_buckets()
    except ClientError as error:
        return _not_denied(error)
    return True


def _not_denied(error: ClientError) -> bool:
    if error.response["Error"]["Code"] in {"AccessDeniedException", "AccessDenied"}:
        return False
    raise error


def _document(actions: Sequence[str]) -> str:
    statement = {"Effect": "Allow", "Action": list(actions), "Resource": "*"}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def _role(
    emulator: Emulator,
    name: str,
    path: str,
    actions: Sequence[str],
    note: str,
    *,
    armed: bool = False,
    swept: bool = False,
    may_invoke: bool = True,
) -> Person:
    iam = emulator.client("iam")
    account = {"AWS": f"arn:aws:iam::{emulator.account}:root"}
    trust = {"Effect": "Allow", "Principal": account, "Action": "sts:AssumeRole"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    arn = iam.create_role(RoleName=name, Path=path, AssumeRolePolicyDocument=document)["Role"]["Arn"]
    iam.put_role_policy(RoleName=name, PolicyName="work", PolicyDocument=_document(actions))
    return Person(arn, f"role/{name}", emulator.assume_role(arn, "drill"), armed, swept, note, may_invoke)


def _user(emulator: Emulator, name: str, actions: Sequence[str], note: str) -> Person:
    session = emulator.create_user(name, _document(actions))
    iam = emulator.client("iam")
    iam.attach_user_policy(UserName=name, PolicyArn="arn:aws:iam::aws:policy/AmazonBedrockFullAccess")
    arn = iam.get_user(UserName=name)["User"]["Arn"]
    return Person(arn, f"user/{name}", session, armed=True, swept=False, note=note)


def _user_without_a_slot(emulator: Emulator, name: str, note: str) -> Person:
    user = _user(emulator, name, [_BUCKETS], note)
    iam = emulator.client("iam")
    for number in range(1, _SLOTS_OF_A_USER):
        filler = iam.create_policy(PolicyName=f"{name}-{number}", PolicyDocument=_document([_BUCKETS]))["Policy"]
        iam.attach_user_policy(UserName=name, PolicyArn=filler["Arn"])
    return replace(user, armed=False, swept=True)
