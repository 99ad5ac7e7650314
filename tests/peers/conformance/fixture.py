#!/usr/bin/env python3
"""A server for the server scenarios of the conformance suite, in both eras of MCP, over stdio and Streamable HTTP.

    fixture.py [--era legacy|modern] [--part a|b] [--notes FILE] stdio|http

It writes plain JSON with nothing but the standard library, so that no SDK adds, drops or repairs anything, and it is independent of
Switchboard's own code. `--part` serves one half: tools at even places and resources, or tools at odd places and prompts. Over HTTP the
first line on stdout is the URL.
"""

import argparse
import base64
import hashlib
import hmac
import json
import os
import queue
import select
import socket
import sys
import threading
import time
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

MODERN = "2026-07-28"
LEGACY = ["2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"]
PREFIX = "io.modelcontextprotocol/"
IDENTITY = {"name": "conformance-fixture", "version": "1.0.0"}
IMAGE = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg=="
AUDIO = "UklGRiYAAABXQVZFZm10IBAAAAABAAEAQB8AAAB9AAACABAAZGF0YQIAAAA="
PATIENCE = 60


class Failure(Exception):
    """A JSON-RPC error."""

    def __init__(self, code, message, data=None, status=200):
        self.error = {"code": code, "message": message} | ({} if data is None else {"data": data})
        self.status = status


class Needs(Exception):
    """A result of the modern era that asks the client for input."""

    def __init__(self, requests, state=None):
        self.result = {"resultType": "input_required", "inputRequests": requests}
        if state is not None:
            self.result["requestState"] = sealed(state)


KEY = os.urandom(32)


def sealed(state):
    data = base64.urlsafe_b64encode(json.dumps(state | {"nonce": uuid.uuid4().hex}).encode()).decode()
    return f"{data}.{hmac.new(KEY, data.encode(), hashlib.sha256).hexdigest()}"


def opened(text):
    data, _, tag = text.rpartition(".")
    if not hmac.compare_digest(tag, hmac.new(KEY, data.encode(), hashlib.sha256).hexdigest()):
        raise Failure(-32602, "requestState was changed")
    return json.loads(base64.urlsafe_b64decode(data))


def text(value):
    return {"content": [{"type": "text", "text": value}]}


class Request:
    """A request in progress: what came with it, and the way back to its client."""

    def __init__(self, era, params, peer, send, cancelled):
        self.era, self.params, self.peer, self.send, self.cancelled = era, params, peer, send, cancelled
        self.meta = params.get("_meta") or {}
        self.arguments = params.get("arguments") or {}
        self.capabilities = self.meta.get(PREFIX + "clientCapabilities", {}) if era == "modern" else peer.capabilities

    def notify(self, method, params):
        self.send({"jsonrpc": "2.0", "method": method, "params": params})

    def progress(self, value, total, message):
        token = self.meta.get("progressToken")
        if token is not None:
            self.notify("notifications/progress", {"progressToken": token, "progress": value, "total": total, "message": message})

    def log(self, data):
        if self.era == "legacy" or PREFIX + "logLevel" in self.meta:
            self.notify("notifications/message", {"level": "info", "logger": "fixture", "data": data})

    def state(self):
        state = self.params.get("requestState")
        return {} if state is None else opened(state)

    def ask(self, questions, state=None):
        """Returns the answers of the client to `{key: (method, params)}`."""
        requests = {key: {"method": method, "params": params} for key, (method, params) in questions.items()}
        if self.era == "legacy":
            return {key: self.peer.ask(request["method"], request["params"], self.send) for key, request in requests.items()}
        answers = self.params.get("inputResponses")
        answers = answers if isinstance(answers, dict) else {}
        if not all(isinstance(answers.get(key), dict) for key in requests):
            raise Needs(requests, state)
        return answers


TOOLS, PROMPTS, RESOURCES = {}, {}, {}


def tool(description, schema=None, modern=False):
    def register(function):
        entry = {"name": function.__name__, "description": description, "inputSchema": schema or {"type": "object", "properties": {}}}
        TOOLS[function.__name__] = (entry, function, modern)
        return function

    return register


def form(message, properties, required=()):
    return "elicitation/create", {"message": message, "requestedSchema": {"type": "object", "properties": properties, "required": list(required)}}


def one_text(name, description):
    return {"type": "object", "properties": {name: {"type": "string", "description": description}}, "required": [name]}


@tool("Returns a text")
def test_simple_text(request):
    return text("This is a simple text response for testing.")


@tool("Returns an image")
def test_image_content(request):
    return {"content": [{"type": "image", "data": IMAGE, "mimeType": "image/png"}]}


@tool("Returns sound")
def test_audio_content(request):
    return {"content": [{"type": "audio", "data": AUDIO, "mimeType": "audio/wav"}]}


@tool("Returns an embedded resource")
def test_embedded_resource(request):
    resource = {"uri": "test://embedded-resource", "mimeType": "text/plain", "text": "This is an embedded resource content."}
    return {"content": [{"type": "resource", "resource": resource}]}


@tool("Returns several types of content")
def test_multiple_content_types(request):
    resource = {"uri": "test://mixed-content-resource", "mimeType": "application/json", "text": '{"test":"data","value":123}'}
    image = {"type": "image", "data": IMAGE, "mimeType": "image/png"}
    return {"content": [{"type": "text", "text": "Multiple content types test:"}, image, {"type": "resource", "resource": resource}]}


@tool("Sends log messages while it runs")
def test_tool_with_logging(request):
    for message in ["Tool execution started", "Tool processing data", "Tool execution completed"]:
        request.log(message)
        time.sleep(0.05)
    return text("Tool with logging executed successfully")


@tool("Reports progress while it runs")
def test_tool_with_progress(request):
    for done in [0, 50, 100]:
        request.progress(done, 100, f"Completed step {done} of 100")
        time.sleep(0.05)
    return text(str(request.meta.get("progressToken")))


@tool("Fails")
def test_error_handling(request):
    return text("This tool intentionally returns an error for testing") | {"isError": True}


@tool("Asks the client for a completion", one_text("prompt", "The prompt"))
def test_sampling(request):
    message = {"role": "user", "content": {"type": "text", "text": request.arguments.get("prompt", "")}}
    answer = request.ask({"sample": ("sampling/createMessage", {"messages": [message], "maxTokens": 100})})["sample"]
    return text(f"LLM response: {answer.get('content', {}).get('text', 'No response')}")


def elicited(request, question):
    answer = request.ask({"form": question})["form"]
    return text(f"action={answer.get('action')}, content={json.dumps(answer.get('content', {}))}")


@tool("Asks the user", one_text("message", "The question"))
def test_elicitation(request):
    response = {"response": {"type": "string", "description": "User's response"}}
    return elicited(request, form(request.arguments.get("message", ""), response, ["response"]))


@tool("Asks with default values")
def test_elicitation_sep1034_defaults(request):
    return elicited(request, form("Please review the form", {
        "name": {"type": "string", "description": "User name", "default": "John Doe"},
        "age": {"type": "integer", "description": "User age", "default": 30},
        "score": {"type": "number", "description": "User score", "default": 95.5},
        "status": {"type": "string", "enum": ["active", "inactive", "pending"], "default": "active"},
        "verified": {"type": "boolean", "description": "Verification status", "default": True},
    }))


@tool("Asks with every kind of choice")
def test_elicitation_sep1330_enums(request):
    titled = [{"const": f"value{n}", "title": f"{word} Option"} for n, word in [(1, "First"), (2, "Second"), (3, "Third")]]
    plain = ["option1", "option2", "option3"]
    return elicited(request, form("Please select options", {
        "untitledSingle": {"type": "string", "enum": plain},
        "titledSingle": {"type": "string", "oneOf": titled},
        "legacyEnum": {"type": "string", "enum": ["opt1", "opt2", "opt3"], "enumNames": ["Option One", "Option Two", "Option Three"]},
        "untitledMulti": {"type": "array", "minItems": 1, "maxItems": 3, "items": {"type": "string", "enum": plain}},
        "titledMulti": {"type": "array", "minItems": 1, "maxItems": 3, "items": {"anyOf": titled}},
    }))


@tool("Asks for the roots")
def test_roots(request):
    roots = request.ask({"roots": ("roots/list", {})})["roots"]
    return text(f"Found {len(roots.get('roots', []))} root(s)")


@tool("Waits until it is cancelled")
def test_wait(request):
    server, deadline = request.peer.server, time.monotonic() + PATIENCE
    server.note("begun")
    while time.monotonic() < deadline:
        if request.cancelled():
            server.note("cancelled")
            return text("cancelled")
        time.sleep(0.01)
    return text("not cancelled")


@tool("Returns how many calls have begun to wait, and how many were cancelled")
def test_waits(request):
    return text(json.dumps({what: request.peer.server.noted().count(what) for what in ["begun", "cancelled"]}))


@tool("Has every keyword of JSON Schema 2020-12", {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "$defs": {"address": {"$anchor": "addressDef", "type": "object", "properties": {"street": {"type": "string"}, "city": {"type": "string"}}}},
    "properties": {
        "name": {"type": "string"},
        "address": {"$ref": "#/$defs/address"},
        "contactMethod": {"type": "string", "enum": ["phone", "email"]},
        "phone": {"type": "string"},
        "email": {"type": "string"},
    },
    "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
    "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
    "then": {"required": ["phone"]},
    "else": {"required": ["email"]},
    "additionalProperties": False,
})
def json_schema_2020_12_tool(request):
    return text(json.dumps(request.arguments))


@tool("Needs a client with sampling", modern=True)
def test_missing_capability(request):
    if "sampling" not in request.capabilities:
        raise Failure(-32021, "the client does not declare sampling", {"requiredCapabilities": {"sampling": {}}}, 400)
    return text("Success")


@tool("Reports progress in the modern era", modern=True)
def test_streaming_elicitation(request):
    request.progress(50, 100, "half")
    return text("Streaming complete")


@tool("Logs if the request has a level", modern=True)
def test_logging_tool(request):
    request.log("Diagnostic trace logging activated")
    return text("Logging evaluated")


NAME = form("What is your name?", {"name": {"type": "string"}}, ["name"])


def answered(answer, name):
    content = answer.get("content")
    return content.get(name, "unknown") if isinstance(content, dict) else "unknown"


@tool("Asks for a name", modern=True)
def test_input_required_result_elicitation(request):
    return text(f"Hello, {answered(request.ask({'user_name': NAME})['user_name'], 'name')}!")


@tool("Asks for a completion", modern=True)
def test_input_required_result_sampling(request):
    message = {"role": "user", "content": {"type": "text", "text": "What is the capital of France?"}}
    answer = request.ask({"capital_question": ("sampling/createMessage", {"messages": [message], "maxTokens": 100})})
    return text(f"Sampling result: {answer['capital_question'].get('content', {}).get('text', 'none')}")


@tool("Asks for the roots", modern=True)
def test_input_required_result_list_roots(request):
    return text(f"Found {len(request.ask({'client_roots': ('roots/list', {})})['client_roots'].get('roots', []))} root(s)")


CONFIRM = form("Please confirm", {"ok": {"type": "boolean"}}, ["ok"])


@tool("Has a state between the rounds", modern=True)
def test_input_required_result_request_state(request):
    state = request.state()
    if state.get("kind") != "request-state":
        raise Needs({"confirm": {"method": CONFIRM[0], "params": CONFIRM[1]}}, {"kind": "request-state"})
    request.ask({"confirm": CONFIRM}, {"kind": "request-state"})
    return text("state-ok: requestState validated")


@tool("Asks three things in one round", modern=True)
def test_input_required_result_multiple_inputs(request):
    request.state()
    message = {"role": "user", "content": {"type": "text", "text": "Generate a greeting"}}
    greeting = ("sampling/createMessage", {"messages": [message], "maxTokens": 50})
    answers = request.ask({"user_name": NAME, "greeting": greeting, "client_roots": ("roots/list", {})}, {"kind": "multiple"})
    return text(f"Name: {answered(answers['user_name'], 'name')}; Roots: {len(answers['client_roots'].get('roots', []))}")


@tool("Asks in two rounds", modern=True)
def test_input_required_result_multi_round(request):
    state = request.state()
    step1 = form("Step 1: What is your name?", {"name": {"type": "string"}}, ["name"])
    step2 = form("Step 2: What is your favorite color?", {"color": {"type": "string"}}, ["color"])
    if state.get("round") != 2:
        name = answered(request.ask({"step1": step1}, {"round": 1})["step1"], "name")
        raise Needs({"step2": {"method": step2[0], "params": step2[1]}}, {"round": 2, "name": name})
    color = answered(request.ask({"step2": step2}, state)["step2"], "color")
    return text(f"Multi-round complete for {state['name']} who likes {color}")


@tool("Refuses a state that was changed", modern=True)
def test_input_required_result_tampered_state(request):
    request.state()
    request.ask({"confirm": CONFIRM}, {"kind": "tamper"})
    return text("integrity-ok: state verified")


@tool("Asks only what the client declares", modern=True)
def test_input_required_result_capabilities(request):
    message = {"role": "user", "content": {"type": "text", "text": "Sample request"}}
    questions = {
        "elicitation": ("elicit_input", form("Elicitation input", {"value": {"type": "string"}}, ["value"])),
        "sampling": ("sample_input", ("sampling/createMessage", {"messages": [message], "maxTokens": 50})),
    }
    asked = dict(question for capability, question in questions.items() if capability in request.capabilities)
    if not asked:
        return text("No supported capabilities declared")
    return text(f"capabilities-ok: received {','.join(request.ask(asked, {'kind': 'capabilities'}))}")


def change(server, kind):
    server.changes[kind] = not server.changes[kind]
    server.changed(kind)
    return text("Mutation triggered")


@tool("Adds or removes a prompt", modern=True)
def test_trigger_prompt_change(request):
    return change(request.peer.server, "prompts")


@tool("Adds or removes a tool", modern=True)
def test_trigger_tool_change(request):
    return change(request.peer.server, "tools")


def prompt(description, *arguments, modern=False):
    def register(function):
        entry = {"name": function.__name__, "description": description}
        if arguments:
            entry["arguments"] = [{"name": name, "description": name, "required": True} for name in arguments]
        PROMPTS[function.__name__] = (entry, function, modern)
        return function

    return register


def messages(*contents):
    return {"messages": [{"role": "user", "content": content} for content in contents]}


@prompt("A prompt without arguments")
def test_simple_prompt(request):
    return messages({"type": "text", "text": "This is a simple prompt for testing."})


@prompt("A prompt with arguments", "arg1", "arg2")
def test_prompt_with_arguments(request):
    arguments = request.arguments
    return messages({"type": "text", "text": f"Prompt with arguments: arg1='{arguments.get('arg1')}', arg2='{arguments.get('arg2')}'"})


@prompt("A prompt with a resource", "resourceUri")
def test_prompt_with_embedded_resource(request):
    resource = {"uri": request.arguments.get("resourceUri"), "mimeType": "text/plain", "text": "Embedded resource content for testing."}
    return messages({"type": "resource", "resource": resource}, {"type": "text", "text": "Please process the embedded resource above."})


@prompt("A prompt with an image")
def test_prompt_with_image(request):
    return messages({"type": "image", "data": IMAGE, "mimeType": "image/png"}, {"type": "text", "text": "Please analyze the image above."})


@prompt("A prompt that asks for its context", modern=True)
def test_input_required_result_prompt(request):
    question = form("What context should the prompt use?", {"context": {"type": "string"}}, ["context"])
    context = answered(request.ask({"user_context": question})["user_context"], "context")
    return messages({"type": "text", "text": f"Prompt with context: {context}"})


RESOURCES = {
    "test://static-text": {"mimeType": "text/plain", "text": "This is the content of the static text resource."},
    "test://static-binary": {"mimeType": "image/png", "blob": IMAGE},
    "test://watched-resource": {"mimeType": "text/plain", "text": "Watched resource content"},
}
TEMPLATE = "test://template/{id}/data"


def resource(uri):
    content = RESOURCES.get(uri)
    before, after = TEMPLATE.split("{id}")
    if content is None and uri.startswith(before) and uri.endswith(after):
        name = uri[len(before):-len(after)]
        content = {"mimeType": "application/json", "text": json.dumps({"id": name, "templateTest": True, "data": f"Data for ID: {name}"})}
    return None if content is None else {"uri": uri} | content


class Peer:
    """A client of the legacy era, or all clients of the modern one."""

    def __init__(self, server):
        self.server, self.capabilities, self.open, self.lock, self.next = server, {}, {}, threading.Lock(), 0
        self.cancelled = set()

    def ask(self, method, params, send):
        with self.lock:
            self.next += 1
            number, answer = self.next, queue.Queue()
            self.open[number] = answer
        send({"jsonrpc": "2.0", "id": number, "method": method, "params": params})
        response = answer.get(timeout=PATIENCE)
        if "error" in response:
            raise Failure(-32603, f"the client refused: {response['error'].get('message')}")
        return response["result"]

    def answered(self, response):
        answer = self.open.pop(response.get("id"), None)
        if answer:
            answer.put(response)


class Server:
    """What is served, whatever the transport."""

    def __init__(self, era, part, notes):
        self.eras = ["legacy", "modern"] if era is None else [era]
        self.tools = dict(list(TOOLS.items())[{None: slice(None), "a": slice(0, None, 2), "b": slice(1, None, 2)}[part]])
        self.prompts, self.resources = part != "a", part != "b"
        self.changes = {"tools": False, "prompts": False}
        self.listeners, self.lock, self.notes, self.file = {}, threading.Lock(), [], notes

    def capabilities(self):
        all = {"tools": {"listChanged": True}, "logging": {}}
        if self.prompts:
            all |= {"prompts": {"listChanged": True}, "completions": {}}
        if self.resources:
            all["resources"] = {"subscribe": True, "listChanged": True}
        return all

    def note(self, what):
        """Records what happened. A gateway may have several processes of this server, which share the file."""
        self.notes.append(what)
        if self.file:
            with open(self.file, "a") as file:
                file.write(what + "\n")

    def noted(self):
        if not self.file:
            return self.notes
        return open(self.file).read().split() if os.path.exists(self.file) else []

    def changed(self, kind):
        with self.lock:
            listeners = list(self.listeners.items())
        for number, (send, wanted) in listeners:
            if wanted.get(f"{kind}ListChanged"):
                params = {"_meta": {PREFIX + "subscriptionId": json.loads(number)}}
                send({"jsonrpc": "2.0", "method": f"notifications/{kind}/list_changed", "params": params})

    def listed(self, table, kind, era):
        entries = [entry for entry, _, modern in table.values() if era == "modern" or not modern]
        added = {"name": f"test_dynamic_{kind}", "description": "Comes and goes", "inputSchema": {"type": "object"}}
        return entries + ([added] if self.changes[kind] else [])

    def called(self, table, request):
        found = table.get(request.params.get("name"))
        if found is None:
            raise Failure(-32602, f"unknown: {request.params.get('name')}")
        return found[1](request)

    def answer(self, method, request, number):
        """Returns the result of a request."""
        era, params = request.era, request.params
        if method == "initialize" and era == "legacy":
            request.peer.capabilities = params.get("capabilities") or {}
            wanted = params.get("protocolVersion")
            version = wanted if wanted in LEGACY else LEGACY[0]
            return {"protocolVersion": version, "capabilities": self.capabilities(), "serverInfo": IDENTITY}
        if method == "server/discover" and era == "modern":
            capabilities, meta = self.capabilities(), {PREFIX + "serverInfo": IDENTITY}
            return {"supportedVersions": [MODERN], "capabilities": capabilities, "_meta": meta}
        if method in ["ping", "logging/setLevel", "resources/subscribe", "resources/unsubscribe"] and era == "legacy":
            return {}
        if method == "tools/list":
            return {"tools": self.listed(self.tools, "tools", era)}
        if method == "tools/call":
            return self.called(self.tools, request)
        if method == "prompts/list" and self.prompts:
            return {"prompts": self.listed(PROMPTS, "prompts", era)}
        if method == "prompts/get" and self.prompts:
            return self.called(PROMPTS, request)
        if method == "completion/complete" and self.prompts:
            return {"completion": {"values": ["paris", "park"], "total": 2, "hasMore": False}}
        if method == "resources/list" and self.resources:
            return {"resources": [{"uri": uri, "name": uri, "mimeType": content["mimeType"]} for uri, content in RESOURCES.items()]}
        if method == "resources/templates/list" and self.resources:
            return {"resourceTemplates": [{"uriTemplate": TEMPLATE, "name": "template", "mimeType": "application/json"}]}
        if method == "resources/read" and self.resources:
            content = resource(params.get("uri", ""))
            if content is None:
                raise Failure(-32602 if era == "modern" else -32002, "Resource not found", {"uri": params.get("uri")})
            return {"contents": [content]}
        raise Failure(-32601, f"{method} is not supported", status=404)

    def respond(self, message, era, peer, send, gone=lambda: False):
        """Returns the response to a request, and its HTTP status."""
        method, number = message["method"], message["id"]
        key = json.dumps(number)
        params = message.get("params") or {}
        try:
            if era not in self.eras:
                raise Failure(-32601, f"{method} is not supported", status=404)
            if era == "modern":
                meta = params.get("_meta") or {}
                version = meta.get(PREFIX + "protocolVersion")
                if not isinstance(version, str) or not isinstance(meta.get(PREFIX + "clientCapabilities"), dict):
                    raise Failure(-32602, "_meta lacks protocolVersion or clientCapabilities", status=400)
                if version != MODERN:
                    raise Failure(-32022, "Unsupported protocol version", {"supported": [MODERN], "requested": version}, 400)
            cancelled = lambda: key in peer.cancelled or gone()
            result = self.answer(method, Request(era, params, peer, send, cancelled), number)
        except Needs as needs:
            result = needs.result
        except Failure as failure:
            return {"jsonrpc": "2.0", "id": number, "error": failure.error}, failure.status
        if era == "modern":
            result = {"resultType": "complete"} | result
            if method in ["server/discover", "tools/list", "prompts/list", "resources/list", "resources/templates/list", "resources/read"]:
                result |= {"ttlMs": 0, "cacheScope": "private"}
        return {"jsonrpc": "2.0", "id": number, "result": result}, 200

    def listen(self, message, send):
        """Opens a subscription."""
        wanted = (message.get("params") or {}).get("notifications") or {}
        kept = {key: True for key in ["toolsListChanged", "promptsListChanged", "resourcesListChanged"] if wanted.get(key)}
        if self.resources and wanted.get("resourceSubscriptions"):
            kept["resourceSubscriptions"] = wanted["resourceSubscriptions"]
        number = json.dumps(message["id"])
        with self.lock:
            self.listeners[number] = (send, kept)
        params = {"_meta": {PREFIX + "subscriptionId": message["id"]}, "notifications": kept}
        send({"jsonrpc": "2.0", "method": "notifications/subscriptions/acknowledged", "params": params})
        return number

    def ended(self, number):
        with self.lock:
            self.listeners.pop(number, None)


def era_of(message, header=None):
    meta = (message.get("params") or {}).get("_meta") or {}
    named = isinstance(meta, dict) and PREFIX + "protocolVersion" in meta
    modern = named or message.get("method") in ["server/discover", "subscriptions/listen"] or (header or "") >= MODERN
    return "modern" if modern else "legacy"


def stdio(server):
    peer, lock = Peer(server), threading.Lock()

    def send(message):
        with lock:
            sys.stdout.write(json.dumps(message) + "\n")
            sys.stdout.flush()

    def handle(message):
        send(server.respond(message, era_of(message), peer, send)[0])

    for line in sys.stdin:
        message = json.loads(line)
        if "method" not in message:
            peer.answered(message)
        elif message["method"] == "subscriptions/listen" and "modern" in server.eras:
            server.listen(message, send)
        elif message["method"] == "notifications/cancelled":
            key = json.dumps(message["params"].get("requestId"))
            peer.cancelled.add(key)
            server.ended(key)
        elif "id" in message:
            threading.Thread(target=handle, args=[message], daemon=True).start()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server_core, sessions = None, {}

    def log_message(self, *_):
        pass

    def plain(self, status, message=None, **headers):
        body = b"" if message is None else json.dumps(message).encode()
        self.send_response(status)
        if message is not None:
            self.send_header("Content-Type", "application/json")
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def refuse(self, status, code, message, number=None):
        self.plain(status, {"jsonrpc": "2.0", "id": number, "error": {"code": code, "message": message}})

    def local(self):
        host = (self.headers.get("Host") or "").rsplit(":", 1)[0]
        origin = self.headers.get("Origin")
        near = origin is None or origin.split("//")[-1].rsplit(":", 1)[0] in ["localhost", "127.0.0.1", "[::1]"]
        return host in ["localhost", "127.0.0.1", "[::1]"] and near

    def stream(self):
        """Begins an event stream, once. Returns the function that sends a message over it."""
        if not self.streaming:
            self.streaming = True
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Cache-Control", "no-store")
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()

    def send(self, message):
        data = f"data: {json.dumps(message)}\n\n".encode()
        with self.writing:
            self.stream()
            self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")

    def gone(self):
        """Returns whether the client has closed the connection: so it cancels in the modern era."""
        readable, _, _ = select.select([self.connection], [], [], 0)
        try:
            return bool(readable) and self.connection.recv(1, socket.MSG_PEEK) == b""
        except OSError:
            return True

    def finish_stream(self):
        self.wfile.write(b"0\r\n\r\n")

    def do_POST(self):
        self.streaming, self.writing = False, threading.Lock()
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if not self.local():
            return self.refuse(403, -32600, "not from this machine")
        try:
            message = json.loads(raw)
        except ValueError:
            return self.refuse(400, -32700, "not JSON")
        header, number = self.headers.get("MCP-Protocol-Version"), message.get("id")
        core, era = self.server_core, era_of(message, header)
        if era == "modern":
            params = message.get("params") or {}
            named = (params.get("_meta") or {}).get(PREFIX + "protocolVersion")
            if header is None or (named is not None and named != header):
                return self.refuse(400, -32020, "MCP-Protocol-Version differs from the body", number)
            if self.headers.get("Mcp-Method") != message.get("method"):
                return self.refuse(400, -32020, "Mcp-Method differs from the body", number)
            peer = Peer(core)
        else:
            name = self.headers.get("Mcp-Session-Id")
            if message.get("method") == "initialize":
                name = uuid.uuid4().hex
                self.sessions[name] = Peer(core)
            if name is None:
                return self.refuse(400, -32600, "a session is required", number)
            peer = self.sessions.get(name)
            if peer is None:
                return self.refuse(404, -32600, "the session is unknown", number)
        if "method" not in message:
            peer.answered(message)
            return self.plain(202)
        if message["method"] == "notifications/cancelled":
            peer.cancelled.add(json.dumps(message["params"].get("requestId")))
        if number is None:
            return self.plain(202)
        if message["method"] == "subscriptions/listen" and era == "modern" and "modern" in core.eras:
            listener = core.listen(message, self.send)
            self.close_connection = True
            try:
                self.rfile.read(1)
            except OSError:
                pass
            return core.ended(listener)
        response, status = core.respond(message, era, peer, self.send, self.gone if era == "modern" else lambda: False)
        if self.gone():
            self.close_connection = True
            return None
        if self.streaming:
            self.send(response)
            return self.finish_stream()
        headers = {"Mcp_Session_Id": name} if era == "legacy" and message["method"] == "initialize" else {}
        return self.plain(status if era == "modern" else 200, response, **headers)

    def do_GET(self):
        self.plain(405 if self.local() else 403)

    def do_DELETE(self):
        gone = self.sessions.pop(self.headers.get("Mcp-Session-Id"), None)
        self.plain(404 if gone is None else 204)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--era", choices=["legacy", "modern"])
    parser.add_argument("--part", choices=["a", "b"])
    parser.add_argument("--notes", metavar="FILE")
    parser.add_argument("transport", choices=["stdio", "http"])
    args = parser.parse_args()
    server = Server(args.era, args.part, args.notes)
    if args.transport == "stdio":
        return stdio(server)
    Handler.server_core = server
    listener = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(f"http://127.0.0.1:{listener.server_address[1]}/mcp", flush=True)
    listener.serve_forever()


if __name__ == "__main__":
    main()
