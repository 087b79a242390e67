"""IAM service-specific credentials: what a long-term Bedrock API key is."""

# ruff: noqa: SLF001 - a patch reaches inside by definition

import secrets
from collections.abc import Callable
from typing import Any

from drill.emulator.adaptations import launcher_patch
from drill.emulator.patches import Emulated, Response, module, wrap
from drill.emulator.patches.iam import Handler, Parameters, refuse, value

IDENTIFIER = "ServiceSpecificCredentialId"
LISTED = ("UserName", "Status", "ServiceUserName", "CreateDate", IDENTIFIER, "ServiceName", "ServiceCredentialAlias")


@launcher_patch("iam-service-specific-credentials")
def _service_specific_credentials() -> None:
    iam = module("services.iam")
    store = module("core.responses").AccountScopedDict()

    def answer(action: str, inner: str = "") -> Response:
        result = f"<{action}Result>{inner}</{action}Result>" if inner else ""
        response: Response = iam._xml(200, f"{action}Response", result, ns="iam")
        return response

    def create(parameters: Parameters) -> Response:
        user, service = value(parameters, "UserName"), value(parameters, "ServiceName")
        if user not in iam._users:
            return refuse(404, "NoSuchEntity", f"The user with name {user} cannot be found.")
        name = f"BedrockAPIKey-{secrets.token_hex(2)}"
        credential = {
            "UserName": user,
            "Status": "Active",
            "ServiceUserName": name,
            "ServiceCredentialAlias": name,
            "CreateDate": iam._now(),
            IDENTIFIER: f"ACCA{secrets.token_hex(8).upper()}",
            "ServiceName": service,
        }
        store[credential[IDENTIFIER]] = credential
        shown = {**credential, "ServiceCredentialSecret": secrets.token_hex(16)}
        wrapped = f"<ServiceSpecificCredential>{_xml(shown)}</ServiceSpecificCredential>"
        return answer("CreateServiceSpecificCredential", wrapped)

    def listed(parameters: Parameters) -> Response:
        user, service = value(parameters, "UserName"), value(parameters, "ServiceName")
        members = [
            f"<member>{_xml({name: credential[name] for name in LISTED})}</member>"
            for credential in store.values()
            if user in ("", credential["UserName"]) and service in ("", credential["ServiceName"])
        ]
        inner = f"<ServiceSpecificCredentials>{''.join(members)}</ServiceSpecificCredentials>"
        return answer("ListServiceSpecificCredentials", f"{inner}<IsTruncated>false</IsTruncated>")

    def on_known(action: str, effect: Any) -> Handler:  # noqa: ANN401 - a function on an untyped record
        def handle(parameters: Parameters) -> Response:
            credential = store.get(value(parameters, IDENTIFIER))
            if credential is None or value(parameters, "UserName") not in ("", credential["UserName"]):
                return refuse(404, "NoSuchEntity", "No such credential.")
            effect(credential, parameters)
            return answer(action)

        return handle

    wrap(module("core.iam_actions"), "request_tag_context", _with_service_name(store))
    iam._IAM_HANDLERS.update(
        CreateServiceSpecificCredential=create,
        ListServiceSpecificCredentials=listed,
        UpdateServiceSpecificCredential=on_known(
            "UpdateServiceSpecificCredential",
            lambda credential, parameters: credential.update(Status=value(parameters, "Status")),
        ),
        DeleteServiceSpecificCredential=on_known(
            "DeleteServiceSpecificCredential",
            lambda credential, _: store.pop(credential[IDENTIFIER]),
        ),
    )


def _with_service_name(store: Emulated) -> Callable[[Emulated], Emulated]:
    def make(original: Emulated) -> Emulated:
        def context(service: str, action: str, body: bytes, parameters: Parameters) -> dict[str, Any]:
            keys = dict(original(service, action, body, parameters))
            if service == "iam" and action.endswith("ServiceSpecificCredential"):
                known = store.get(value(parameters, IDENTIFIER)) or {}
                asked = value(parameters, "ServiceName") or known.get("ServiceName")
                keys |= {"iam:ServiceSpecificCredentialServiceName": asked} if asked else {}
            return keys

        return context

    return make


def _xml(record: dict[str, str]) -> str:
    return "".join(f"<{name}>{text}</{name}>" for name, text in record.items())
