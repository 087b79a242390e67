"""EventBridge's schema registry, as far as it keeps the events of the Lambda console's Test drop-down."""

import json
import re
from typing import Any

from drill.emulator.adaptations import launcher_patch
from drill.emulator.patches import Emulated, Response, module, wrap

PATH = re.compile(r"^/v1/registries/name/(?P<registry>[^/]+)(?P<schemas>/schemas(?:/name/(?P<schema>[^/]+))?)?/?$")
_Registry = dict[str, Any]


@launcher_patch("schemas-registry")
def _registries() -> None:
    actions = module("core.iam_actions")
    store = module("core.responses").AccountRegionScopedDict()

    async def handle(method: str, path: str, _headers: Emulated, body: bytes, _query: Emulated) -> Response:
        if path.rstrip("/") == "/v1/registries":
            return _json(200, {"Registries": [{"RegistryName": name} for name in store]})
        found = PATH.match(path)
        if found is None:
            return _json(404, {"Code": "NotFoundException", "Message": path}, "NotFoundException")
        asked = json.loads(body or b"{}")
        if found["schema"]:
            return _of_schema(store.get(found["registry"]), found["schema"], method, asked)
        return _of_registry(store, found["registry"], asked if method == "POST" else None, method, found["schemas"])

    def resource(original: Emulated) -> Emulated:
        def extract(service: str, method: str, path: str, *rest: Emulated) -> str:
            found = PATH.match(path) if service == "schemas" else None
            if found is None:
                return str(original(service, method, path, *rest))
            *_, region, account = rest
            name = found["registry"]
            kind = f"schema/{name}/{found['schema']}" if found["schema"] else f"registry/{name}"
            return f"arn:aws:schemas:{region}:{account}:{kind}"

        return extract

    module("app").SERVICE_HANDLERS["schemas"] = handle
    actions.SERVICE_TO_IAM_NAMESPACE["schemas"] = "schemas"
    # The actions are those of botocore's own model.
    actions._BOTOCORE_SERVICE_MAP["schemas"] = ["schemas"]  # noqa: SLF001 - a patch reaches inside by definition
    wrap(actions, "extract_resource_arn", resource)


def _of_registry(store: Emulated, name: str, made: _Registry | None, method: str, listing: str | None) -> Response:
    if made is not None:
        if name in store:
            return _json(409, {"Code": "ConflictException", "Message": f"{name} exists."}, "ConflictException")
        store[name] = {"description": made.get("Description", ""), "schemas": {}}
    registry = store.get(name)
    if registry is None:
        return _missing(name)
    if listing:
        return _json(200, {"Schemas": [{"SchemaName": each} for each in registry["schemas"]]})
    if method == "DELETE":
        del store[name]
        return 204, {}, b""
    shown = {"RegistryName": name, "Description": registry["description"]}
    return _json(201 if method == "POST" else 200, shown)


def _of_schema(registry: _Registry | None, name: str, method: str, asked: dict[str, Any]) -> Response:
    if registry is None:
        return _missing("the registry")
    schemas = registry["schemas"]
    if method == "POST":
        if name in schemas:
            return _json(409, {"Code": "ConflictException", "Message": f"{name} exists."}, "ConflictException")
        schemas[name] = {"Content": asked["Content"], "Version": 1}
    elif name not in schemas:
        return _missing(name)
    elif method == "PUT":
        schemas[name] = {"Content": asked["Content"], "Version": schemas[name]["Version"] + 1}
    elif method == "DELETE":
        del schemas[name]
        return 204, {}, b""
    kept = schemas[name]
    shown = {"SchemaName": name, "Type": "OpenApi3", "SchemaVersion": str(kept["Version"]), "Content": kept["Content"]}
    return _json(201 if method == "POST" else 200, shown)


def _missing(what: str) -> Response:
    return _json(404, {"Code": "NotFoundException", "Message": f"{what} does not exist."}, "NotFoundException")


def _json(status: int, body: dict[str, Any], error: str = "") -> Response:
    headers = {"Content-Type": "application/json", **({"x-amzn-errortype": error} if error else {})}
    return status, headers, json.dumps(body).encode()
