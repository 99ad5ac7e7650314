#!/usr/bin/env python3
"""A client of either era, in plain JSON over stdio or HTTP, for the matrix of eras and transports.

    matrix_client.py legacy|modern URL
    matrix_client.py legacy|modern COMMAND ARGUMENT...

It calls the tools of conformance/fixture.py that ask the client, report progress and wait to be cancelled, and prints "ok".
"""

import http.client
import json
import queue
import subprocess
import sys
import threading
import time
import urllib.parse

PATIENCE = 60
MODERN = "2026-07-28"
PREFIX = "io.modelcontextprotocol/"
CAPABILITIES = {"elicitation": {}, "sampling": {}, "roots": {}}
ANSWERS = {
    "elicitation/create": {"action": "accept", "content": {"response": "yes"}},
    "sampling/createMessage": {"role": "assistant", "model": "m", "content": {"type": "text", "text": "a poem"}},
    "roots/list": {"roots": [{"uri": "file:///srv/one"}, {"uri": "file:///srv/two"}]},
}


class Stdio:
    def __init__(self, command):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.messages = queue.Queue()
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.process.stdout:
            self.messages.put(json.loads(line))

    def send(self, message):
        self.process.stdin.write(json.dumps(message) + "\n")
        self.process.stdin.flush()

    def cancel(self, number):
        self.send({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": number, "reason": "test"}})

    def close(self):
        self.process.stdin.close()
        assert self.process.wait(PATIENCE) == 0


class Http:
    def __init__(self, url, modern):
        self.url, self.modern, self.session, self.messages, self.open = urllib.parse.urlparse(url), modern, None, queue.Queue(), {}

    def headers(self, message):
        headers = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
        if self.modern:
            headers |= {"MCP-Protocol-Version": MODERN, "Mcp-Method": message["method"]}
            name = message["params"].get("name")
            return headers | ({"Mcp-Name": name} if name else {})
        return headers | ({"Mcp-Session-Id": self.session, "MCP-Protocol-Version": "2025-11-25"} if self.session else {})

    def send(self, message):
        connection = http.client.HTTPConnection(self.url.netloc, timeout=PATIENCE)
        connection.request("POST", self.url.path, json.dumps(message), self.headers(message))
        if "id" in message and "method" in message:
            self.open[message["id"]] = connection
            threading.Thread(target=self.read, args=[connection], daemon=True).start()
        else:
            assert connection.getresponse().status == 202

    def read(self, connection):
        try:
            response = connection.getresponse()
            self.session = response.getheader("Mcp-Session-Id") or self.session
            if response.getheader("Content-Type") == "text/event-stream":
                for line in response:
                    if line.startswith(b"data: ") and line.strip() != b"data:":
                        self.messages.put(json.loads(line[6:]))
            else:
                self.messages.put(json.loads(response.read()))
        except (OSError, http.client.HTTPException, ValueError, AttributeError):
            pass  # The request was cancelled.

    def cancel(self, number):
        if self.modern:
            connection = self.open[number]
            connection.sock and connection.sock.shutdown(2)
            connection.close()
        else:
            self.send({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": number, "reason": "test"}})

    def close(self):
        pass


class Client:
    def __init__(self, era, target):
        self.modern = era == "modern"
        self.wire = Http(target[0], self.modern) if target[0].startswith("http") else Stdio(target)
        self.next, self.progress = 0, []
        if not self.modern:
            info = {"name": "matrix", "version": "1"}
            self.ask("initialize", {"protocolVersion": "2025-11-25", "capabilities": CAPABILITIES, "clientInfo": info})
            self.wire.send({"jsonrpc": "2.0", "method": "notifications/initialized"})

    def request(self, method, params, token=None):
        self.next += 1
        meta = {} if token is None else {"progressToken": token}
        if self.modern:
            meta |= {PREFIX + "protocolVersion": MODERN, PREFIX + "clientCapabilities": CAPABILITIES}
        params = params | ({"_meta": meta} if meta else {})
        self.wire.send({"jsonrpc": "2.0", "id": self.next, "method": method, "params": params})
        return self.next

    def ask(self, method, params, token=None):
        number, asked = self.request(method, params, token), []
        while True:
            message = self.wire.messages.get(timeout=PATIENCE)
            if message.get("method") == "notifications/progress":
                self.progress.append(message["params"])
            elif "method" in message and "id" in message:
                assert not self.modern, f"a modern client takes no requests: {message}"
                asked.append(message["method"])
                self.wire.send({"jsonrpc": "2.0", "id": message["id"], "result": ANSWERS[message["method"]]})
            elif message.get("id") == number:
                assert "result" in message, message
                self.asked = asked
                return message["result"]

    def call(self, name, arguments, token=None):
        """Calls a tool, with its rounds. Returns the text, and what the client was asked."""
        params, asked = {"name": name, "arguments": arguments}, []
        for _ in range(5):
            result = self.ask("tools/call", params, token)
            asked += self.asked
            if result.get("resultType") != "input_required":
                assert not result.get("isError"), result
                return result["content"][0]["text"], asked
            asked += [request["method"] for request in result["inputRequests"].values()]
            answers = {key: ANSWERS[request["method"]] for key, request in result["inputRequests"].items()}
            params = params | {"inputResponses": answers}
            if "requestState" in result:
                params["requestState"] = result["requestState"]
        raise AssertionError(f"{name} asks again and again")

    def waits(self):
        return json.loads(self.call("test_waits", {})[0])

    def until(self, what, count):
        """Waits until the server has seen this number of calls that began to wait, or were cancelled."""
        deadline = time.monotonic() + PATIENCE
        while self.waits()[what] < count:
            assert time.monotonic() < deadline, f"the server has not seen {count} {what}: {self.waits()}"
            time.sleep(0.02)


def main():
    era, *target = sys.argv[1:]
    client = Client(era, target)
    for name, arguments, method, expected in [
        ("test_elicitation", {"message": "m"}, "elicitation/create", 'action=accept, content={"response": "yes"}'),
        ("test_sampling", {"prompt": "p"}, "sampling/createMessage", "LLM response: a poem"),
        ("test_roots", {}, "roots/list", "Found 2 root(s)"),
    ]:
        text, asked = client.call(name, arguments)
        assert (text, asked) == (expected, [method]), (name, text, asked)
    client.progress.clear()
    client.call("test_tool_with_progress", {}, "p-1")
    seen = [(progress["progressToken"], progress["progress"]) for progress in client.progress]
    assert seen == [("p-1", 0), ("p-1", 50), ("p-1", 100)], seen
    before = client.waits()
    number = client.request("tools/call", {"name": "test_wait", "arguments": {}})
    client.until("begun", before["begun"] + 1)
    client.wire.cancel(number)
    client.until("cancelled", before["cancelled"] + 1)
    client.wire.close()
    print("ok")


if __name__ == "__main__":
    main()
