"""Runs an installed program: version, a call and its exit code, and the console on the demo servers in a terminal, where it is
suspended, continued, resized, ended by a key and, in another run, by a signal."""

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time

PATIENCE = 20
program = sys.argv[1]
home = os.environ["TRY_HOME"]
os.environ.update(HOME=home, SWITCHBOARD_CONFIG_DIR=f"{home}/config", SWITCHBOARD_STATE_DIR=f"{home}/state")


def run(*arguments, code=0):
    done = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == code, (arguments, done)
    return done.stdout


class Console:
    """The console in a terminal of its own, under a shell with job control."""

    def __init__(self):
        self.screen = b""
        self.began = time.monotonic()
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            os.environ["TERM"] = "xterm-256color"
            os.environ["PS1"] = "$ "
            os.execvp("bash", ["bash", "--norc", "--noprofile", "-i"])
        self.resize(40, 120)
        self.wait(rb"\$ ")

    def resize(self, rows, columns):
        fcntl.ioctl(self.terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def send(self, text):
        os.write(self.terminal, text.encode())

    def wait(self, pattern):
        end = time.monotonic() + PATIENCE
        while not re.search(pattern, self.screen):
            left = end - time.monotonic()
            assert left > 0, (pattern, self.screen[-2000:])
            if select.select([self.terminal], [], [], min(left, 0.2))[0]:
                self.screen += os.read(self.terminal, 65536)

    def forget(self):
        self.screen = b""


assert re.search(r"switchboard \d+\.\d+\.\d+", run("--version")), run("--version")
call = ["call", "--demo", "--server", "database", "database_query_users", "limit:=1", "--json"]
assert json.loads(run(*call))["outcome"] == "ok"
run("call", "--demo", "--server", "database", "no_such_tool", code=2)
# A console without a terminal says so, through every wrapper.
run("demo", code=2)

console = Console()
console.forget()
begin = time.monotonic()
console.send(f"{program} demo\r")
console.wait(rb"database")
first = time.monotonic() - begin
console.forget()
console.send("\x1a")
console.wait(rb"Stopped")
console.forget()
console.send("fg\r")
console.wait(rb"database")
console.forget()
console.resize(30, 100)
console.wait(rb"database")
console.forget()
console.send("q")
console.wait(rb"\$ ")
console.forget()
console.send("echo code=$?=\r")
console.wait(rb"code=0=")
console.send("exit\r")

server = subprocess.Popen([program, "serve", "--demo", "--http", "127.0.0.1:0"], stderr=subprocess.PIPE, text=True)
line = server.stderr.readline()
server.send_signal(signal.SIGTERM)
code = server.wait(PATIENCE)
assert code in (0, 143, -signal.SIGTERM), (code, line)
print(f"first screen after {first:.2f} s, end by SIGTERM with {code}", file=sys.stderr)
