"""The description of the server in OpenAPI 3.1; its examples are what the served model answers."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from carryline.serving.asked import UNITS
from carryline.serving.models import Models
from carryline.text.data import key

TEXT = "A film to remember, though not for the right reasons."
Schema = dict[str, Any]


def names(models: Models) -> tuple[list[str], list[str]]:
    """Of the models, and of the first one's classes."""
    found = [each.name for each in models]
    return found, [key(label) for label in models.find(None).classifier.classes]


def document(names: list[str], classes: list[str]) -> Schema:
    """Of a server of these models; classes: of the first one."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Carryline",
            "version": version("carryline"),
            "description": f"Recurrent text classifiers: {', '.join(names)}. Where no model is "
            f"named, {names[0]} answers.",
        },
        "paths": _paths(names, classes),
        "components": {
            "schemas": {**_bodies(names), **_answers()},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{}, {"token": []}],
    }


def _paths(names: list[str], classes: list[str]) -> Schema:
    predicted = {
        "one text": {"text": TEXT},
        "several, unsure ones without a label": {
            "texts": ["The film was a delight.", ""], "model": names[0], "abstain_below": 0.8,
        },
    }  # fmt: skip
    explained = {
        "the most probable label": {"text": TEXT},
        "a label": {"text": TEXT, "label": classes[0]},
    }
    return {
        "/v1/predict": _post(
            "predict", "The label of each text, with the probabilities of all.",
            "Predict", predicted, "Predicted",
        ),
        "/v1/explain": _post(
            "explain", "Each word's part in a decision.", "Explain", explained, "Explained"
        ),
        "/v1/inspect": _post(
            "inspect", "Gates, carry and states of a layer over the tokens of a text.",
            "Inspect", {"six units": {"text": TEXT}}, "Inspected",
        ),
        "/v1/stream": _stream(),
        "/v1/models": _get("models", "What is served.", "Served"),
        "/v1/models/{name}/reload": _reload(names),
        "/v1/models/{name}/report": _get(
            "report", "A page that says how good a model is.", None, "text/html", named=names
        ),
        "/healthz": _get("healthz", "The process answers.", "Status"),
        "/readyz": _get("readyz", "There is room for a request.", "Status", busy=True),
        "/metrics": _get("metrics", "Figures for Prometheus.", None, "text/plain"),
    }  # fmt: skip


def _post(name: str, summary: str, asked: str, examples: Schema, answer: str) -> Schema:
    shown = {title: {"value": value} for title, value in examples.items()}
    return {
        "post": {
            "operationId": name,
            "summary": summary,
            "requestBody": {
                "required": True,
                "content": {"application/json": {"schema": _ref(asked), "examples": shown}},
            },
            "responses": {
                "200": _content("the answer", "application/json", _ref(answer)),
                **_refusals(401, 404, 408, 413, 422, 503, 504),
            },
        }
    }


def _stream() -> Schema:
    found = _post(
        "stream", "The probabilities after each word, of a model that reads one way.",
        "Stream", {"a text": {"text": TEXT}}, "Predicted",
    )  # fmt: skip
    events = "events: word (text, begin, end, probabilities), then end; or error (status, rule)"
    answer = _content(events, "text/event-stream", _ref("Event"))
    found["post"]["responses"]["200"] = answer
    return found


def _reload(names: list[str]) -> Schema:
    responses = {
        "200": _content("the versions", "application/json", _ref("Reloaded")),
        **_refusals(401, 403, 404, 409),
    }
    summary = "Read a model's folder again; no request is dropped."
    return {
        "post": {
            "operationId": "reload", "summary": summary, "parameters": [_name(names)],
            "responses": responses,
        }
    }  # fmt: skip


def _get(
    name: str, summary: str, answer: str | None, kind: str = "application/json",
    *, named: list[str] | None = None, busy: bool = False,
) -> Schema:  # fmt: skip
    schema = {"type": "string"} if answer is None else _ref(answer)
    responses = {"200": _content("the answer", kind, schema), **_refusals(401)}
    if busy:
        responses["503"] = _content("there is none", kind, schema)
    if named:
        responses |= _refusals(404, 503, 504)
    found: Schema = {"operationId": name, "summary": summary, "responses": responses}
    return {"get": found | ({"parameters": [_name(named)]} if named else {})}


def _name(names: list[str]) -> Schema:
    schema = {"type": "string", "enum": names}
    return {"name": "name", "in": "path", "required": True, "schema": schema}


_WHY = {
    401: "no token, or a wrong one",
    403: "it is off",
    404: "no such model",
    408: "the body came too slowly",
    409: "the new version is missing or damaged",
    413: "the body is too large",
    422: "a rule was broken: the answer names it, and the value",
    503: "too much waits: try again after Retry-After seconds",
    504: "there was no answer in time",
}


def _refusals(*statuses: int) -> Schema:
    return {
        str(status): _content(_WHY[status], "application/json", _ref("Error"))
        for status in statuses
    }


def _content(description: str, kind: str, schema: Schema) -> Schema:
    return {"description": description, "content": {kind: {"schema": schema}}}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _object(required: str, **properties: Schema) -> Schema:
    return {"type": "object", "required": required.split(), "properties": properties}


def _asked(required: str, **properties: Schema) -> Schema:
    """A body, in which null is as good as nothing, but for texts."""
    for name, schema in properties.items():
        if name not in ("text", "texts"):
            kinds = schema.get("type", "string")
            kinds = kinds if isinstance(kinds, list) else [kinds]
            properties[name] = schema | {"type": [*kinds, "null"]}
            if "enum" in schema:
                properties[name]["enum"] = [*schema["enum"], None]
    return _object(required, **properties) | {"additionalProperties": False}


def _list(of: Schema) -> Schema:
    return {"type": "array", "items": of}


_STRING, _NUMBER, _WHOLE = {"type": "string"}, {"type": "number"}, {"type": "integer"}
_CHANCE = {"type": "number", "minimum": 0, "maximum": 1}


def _bodies(names: list[str]) -> Schema:
    """What is asked."""
    model = _STRING | {"enum": names, "default": names[0]}
    text = _STRING | {"description": "an empty one has an answer, too"}
    predict = _asked(
        "", text=text, texts=_list(_STRING), model=model, abstain_below=_CHANCE | {"default": 0}
    )
    label = {"type": ["string", "number", "boolean"], "description": "one of the model's"}
    layer = _WHOLE | {"minimum": 1, "maximum": 1000, "default": 1}
    return {
        "Predict": predict | {"oneOf": [{"required": ["text"]}, {"required": ["texts"]}]},
        "Explain": _asked(
            "text", text=text, model=model, label=label,
            way={"enum": ["gradients", "occlusion"], "default": "gradients"},
            by={"enum": ["words", "sentences"], "default": "words"},
        ),
        "Inspect": _asked(
            "text", text=text, model=model, layer=layer,
            units=layer | {"maximum": UNITS, "default": 6},
            direction={"enum": ["forward", "backward"], "default": "forward"},
        ),
        "Stream": _asked("text", text=text, model=model),
    }  # fmt: skip


def _answers() -> Schema:
    """What is given."""
    signed = {"model": _STRING, "version": _STRING}
    answer = _object(
        "label probability probabilities tokens", label={"type": ["string", "null"]},
        probability=_CHANCE, tokens=_WHOLE,
        probabilities={"type": "object", "additionalProperties": _CHANCE},
    )  # fmt: skip
    span = _object(
        "text begin end part linear recurrent", text=_STRING, begin=_WHOLE, end=_WHOLE,
        part=_NUMBER, linear=_NUMBER, recurrent=_NUMBER, after=_list(_CHANCE),
    )  # fmt: skip
    error = _object("status rule id", status=_WHOLE, rule=_STRING, id=_STRING)
    return {
        "Predicted": _object("model version answers", **signed, answers=_list(answer)),
        "Explained": _object(
            "model version text label probability classes probabilities score rest way spans",
            **signed, text=_STRING, label={}, probability=_CHANCE, classes=_list({}),
            probabilities=_list(_CHANCE), score=_NUMBER, rest=_NUMBER, way=_STRING,
            spans=_list(span),
        ),
        "Inspected": _object(
            "model version cell layer direction pieces units states",
            **signed, cell=_STRING, layer=_WHOLE, direction=_STRING, pieces=_list(_STRING),
            units=_list(_WHOLE), states=_list(_list(_NUMBER)), carry=_list(_list(_NUMBER)),
        ),
        "Event": _object("event data", event=_STRING, data=_STRING),
        "Served": _object(
            "models reload limits", models=_list({"type": "object"}), reload={"type": "boolean"},
            limits={"type": "object"},
        ),
        "Reloaded": _object("model version before", **signed, before=_STRING),
        "Status": _object("status", status=_STRING, wait=_NUMBER),
        "Error": _object("error", error=error),
    }  # fmt: skip
