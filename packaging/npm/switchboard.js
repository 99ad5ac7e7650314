#!/usr/bin/env node
// Starts the program of the package for this platform, and ends as it does.
"use strict";

const { spawn } = require("node:child_process");

const name = `switchboard-tui-${process.platform}-${process.arch}`;
let program;
try {
  program = require.resolve(`${name}/bin/switchboard`);
} catch {
  console.error(
    `switchboard: the package ${name} is not installed.\n` +
      "  try: install without --omit=optional; on a platform without a package: cargo install switchboard-tui"
  );
  process.exit(3);
}

const child = spawn(program, process.argv.slice(2), { stdio: "inherit" });
child.on("error", (error) => {
  console.error(`switchboard: ${program} cannot be started: ${error.message}`);
  process.exit(3);
});
// The terminal sends these to both processes; the program decides what they do. A resize reaches it in the same way.
for (const signal of ["SIGINT", "SIGQUIT"]) {
  process.on(signal, () => {});
}
// Other programs send these to this process only.
for (const signal of ["SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGCONT"]) {
  if (signal === "SIGUSR1") continue; // Node's debugger.
  process.on(signal, () => child.kill(signal));
}
child.on("exit", (code, signal) => {
  if (signal === null) {
    process.exit(code);
  }
  process.removeAllListeners(signal);
  process.kill(process.pid, signal);
});
