"""The schema of what ECS is sent, made from AWS's description of its API in botocore.

    python -m tests.manifests.ecs_schema > tests/manifests/ecs.schema.json

wants botocore, which nothing else here does: so the result is kept, not the package.
"""

import json
import sys
from importlib import import_module
from typing import Any

_REQUESTS = ("RegisterTaskDefinition", "CreateService", "RunTask")
_SIMPLE = {"integer": "integer", "long": "integer", "boolean": "boolean", "double": "number"}


def schema_of(shape: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    match shape.type_name:
        case "structure":
            if shape.name not in definitions:
                made: dict[str, Any] = {"type": "object", "additionalProperties": False}
                definitions[shape.name] = made
                made["properties"] = {
                    name: schema_of(member, definitions) for name, member in shape.members.items()
                }
                made["required"] = list(shape.required_members)
            return {"$ref": f"#/$defs/{shape.name}"}
        case "list":
            return {"type": "array", "items": schema_of(shape.member, definitions)}
        case "map":
            return {"type": "object", "additionalProperties": schema_of(shape.value, definitions)}
        case "string":
            return {"type": "string"} | ({"enum": list(shape.enum)} if shape.enum else {})
        case simple:
            return {"type": _SIMPLE[simple]}


def main() -> None:
    botocore = import_module("botocore")
    model = import_module("botocore.session").get_session().get_service_model("ecs")
    definitions: dict[str, Any] = {}
    for request in _REQUESTS:
        schema_of(model.operation_model(request).input_shape, definitions)
    schema = {"$comment": f"from botocore {botocore.__version__}", "$defs": definitions}
    json.dump(schema, sys.stdout, indent=1, sort_keys=True)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
