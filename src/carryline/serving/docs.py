"""The description of the server as a page, which asks nothing of any other place."""

from __future__ import annotations

import json
from html import escape
from typing import Any

Schema = dict[str, Any]


def page(document: Schema) -> str:
    """Of an OpenAPI document: each endpoint with what it takes, examples to copy, what it gives."""
    info, schemas = document["info"], document["components"]["schemas"]
    operations = [
        _operation(path, method, operation, schemas)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(info['title'])}: its endpoints</title>\n"
        '<link rel="icon" href="/page/icon.svg">\n'
        '<link rel="stylesheet" href="/page/style.css">\n</head>\n<body class="docs">\n<header>\n'
        f'<h1>{escape(info["title"])} <small>{escape(info["version"])}</small></h1>\n'
        '<nav><a href="/">the page</a> <a href="/openapi.json">openapi.json</a></nav>\n</header>\n'
        f"<main>\n<p>{escape(info['description'])}</p>\n" + "\n".join(operations)
        + "\n</main>\n</body>\n</html>\n"
    )  # fmt: skip


def _operation(path: str, method: str, operation: Schema, schemas: Schema) -> str:
    asked = operation.get("requestBody", {}).get("content", {}).get("application/json")
    parts = [
        f"<section>\n<h2><code><b>{method.upper()}</b> {escape(path)}</code></h2>",
        f"<p>{escape(operation['summary'])}</p>",
    ]
    if asked is not None:
        parts.append(_fields("takes", _resolved(asked["schema"], schemas)))
    examples = {} if asked is None else asked["examples"]
    for title, example in examples.items():
        parts.append(f"<h3>{escape(title)}</h3>\n<pre>{escape(curl(path, example['value']))}</pre>")
    if asked is None:
        parts.append(f"<pre>{escape(curl(path, None, method))}</pre>")
    given = operation["responses"]["200"]
    kind, content = next(iter(given["content"].items()))
    schema = _resolved(content["schema"], schemas)
    json_too = kind == "application/json"
    parts.append(_fields("gives", schema) if json_too else _paragraph(kind, given))
    others = [
        f"<li><b>{status}</b> {escape(answer['description'])}</li>"
        for status, answer in operation["responses"].items()
        if status != "200"
    ]
    parts.append(f"<ul>{''.join(others)}</ul>\n</section>")
    return "\n".join(parts)


def curl(path: str, body: Any, method: str = "post") -> str:
    """A command that asks it; /v1/stream answers bit by bit."""
    if body is None:
        post = "-X POST " if method == "post" else ""
        return f"curl {post}http://127.0.0.1:8000{path}"
    told = json.dumps(body, ensure_ascii=False).replace("'", "'\\''")
    flag = "-N " if path == "/v1/stream" else ""
    return (
        f"curl {flag}http://127.0.0.1:8000{path} -H 'Content-Type: application/json' \\\n"
        f"  -d '{told}'"
    )


def _paragraph(kind: str, given: Schema) -> str:
    return f"<p>gives {escape(kind)}: {escape(given['description'])}</p>"


def _fields(title: str, schema: Schema) -> str:
    required = set(schema.get("required", ()))
    rows = [
        f"<tr><td><code>{escape(name)}</code></td><td>{escape(_kind(of))}</td>"
        f"<td>{'required' if name in required else escape(_default(of))}</td></tr>"
        for name, of in schema["properties"].items()
    ]
    return f"<table><caption>{title}</caption>\n{''.join(rows)}\n</table>"


def _kind(schema: Schema) -> str:
    if "enum" in schema:
        return " or ".join(str(value) for value in schema["enum"] if value is not None)
    kind = schema.get("type", "any value")
    if isinstance(kind, list):
        kind = " or ".join(one for one in kind if one != "null")
    if kind == "array":
        return f"list of {_kind(schema['items'])}"
    limits = [f"{schema[end]}" for end in ("minimum", "maximum") if end in schema]
    return f"{kind} from {' to '.join(limits)}" if limits else str(kind)


def _default(schema: Schema) -> str:
    return f"else {schema['default']}" if "default" in schema else ""


def _resolved(schema: Schema, schemas: Schema) -> Schema:
    found: Schema = schemas[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema
    return found
