#!/usr/bin/env python3
"""Maps the client scenarios of @modelcontextprotocol/conformance to headless commands. Usage: adapter.py PROGRAM URL

In the scenarios of logins this program is also the browser: `adapter.py ADDRESS` opens the address and follows its redirects.

The suite appends the URL of its server, and passes the name of the scenario and its data in the environment. The first exit code
that is not 0 is this program's: the suite fails a scenario whose client fails.
"""
import json
import os
import subprocess
import sys
import tempfile
import urllib.request

if len(sys.argv) == 2:
    urllib.request.urlopen(sys.argv[1], timeout=20).read()
    sys.exit(0)

PROGRAM, URL = sys.argv[1], sys.argv[-1]
SCENARIO = os.environ["MCP_CONFORMANCE_SCENARIO"]
CONTEXT = json.loads(os.environ.get("MCP_CONFORMANCE_CONTEXT", "{}"))
FLAGS = ["--no-project-config", "--json", "--yes", "--timeout", "90s", "--elicit", "defaults"]
SERVER = ["--", URL]
ENV = dict(os.environ)

if SCENARIO.startswith("auth/"):
    # The document is on no server: the suite only compares its address.
    auth = {"client_metadata_url": "https://conformance-test.local/client-metadata.json"}
    auth |= {key: CONTEXT[key] for key in ("client_id", "client_secret") if key in CONTEXT}
    if SCENARIO.startswith("auth/client-credentials"):
        auth["grant"] = "client_credentials"
    keys = ", ".join(f"{key} = {json.dumps(value)}" for key, value in auth.items())
    with tempfile.NamedTemporaryFile("w", suffix=".toml", dir=os.environ["HOME"], delete=False) as file:
        file.write(f"[servers.suite]\nurl = {json.dumps(URL)}\nauth = {{ {keys} }}\n")
    FLAGS += ["--login", "--config", file.name]
    SERVER = []
    ENV["BROWSER"] = f"{sys.executable} {os.path.abspath(__file__)}"

codes = []


def run(*words):
    """Runs one command and returns the document that it prints, if it prints one."""
    done = subprocess.run(
        [PROGRAM, *FLAGS, *words, *SERVER], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, env=ENV
    )
    codes.append(done.returncode)
    print(f"$ {' '.join(words)}: exit code {done.returncode}\n{done.stdout}")
    print(done.stderr, file=sys.stderr)
    return json.loads(done.stdout) if done.stdout.lstrip().startswith("{") else {}


def call(tool, arguments, *flags):
    run("call", tool["name"], "--args", json.dumps(arguments), *flags)


def arguments_for(schema):
    """Returns a value of the right type for each required argument."""
    values = {"string": "x", "number": 5, "integer": 5, "boolean": True, "object": {}, "array": [], "null": None}
    properties = schema.get("properties", {})
    return {name: values.get(properties.get(name, {}).get("type")) for name in schema.get("required", [])}


tools = {tool["tool"]: tool for tool in run("tools", "--schema").get("tools", [])}
match SCENARIO:
    case "initialize" | "request-metadata" | "json-schema-ref-no-deref":
        pass
    case "json-schema-2020-12-preservation":
        call(tools["json_schema_echo"], {"schema": tools["json_schema_2020_12_tool"]["input_schema"]})
    case "http-custom-headers":
        # Some of its arguments do not match the schemas, on purpose.
        for wanted in CONTEXT["toolCalls"]:
            call(tools[wanted["name"]], wanted["arguments"], "--no-check")
    case _:
        for tool in tools.values():
            call(tool, arguments_for(tool["input_schema"]))
        if SCENARIO == "http-standard-headers":
            run("read", "file:///path/to/file%20name.txt")
            run("prompt", "test_prompt")
sys.exit(next((code for code in codes if code != 0), 0))
