// The client of the official TypeScript SDK, which uses several real servers through the gateway, over HTTP (URL) or stdio (COMMAND …).
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const [packages, ...place] = process.argv.slice(2);
const require = createRequire(pathToFileURL(`${packages}/`));
const load = (name) => import(pathToFileURL(require.resolve(`@modelcontextprotocol/sdk/${name}`)));
const { Client } = await load("client/index.js");
const { StdioClientTransport } = await load("client/stdio.js");
const { StreamableHTTPClientTransport } = await load("client/streamableHttp.js");

const client = new Client({ name: "typescript-sdk", version: "1" });
const transport = place[0].startsWith("http")
  ? new StreamableHTTPClientTransport(new URL(place[0]))
  : new StdioClientTransport({ command: place[0], args: place.slice(1) });
await client.connect(transport);

const names = new Set((await client.listTools()).tools.map((tool) => tool.name));
for (const name of ["everything_echo", "files_list_allowed_directories", "memory_read_graph", "time_get_current_time"]) {
  assert(names.has(name), `${name} is missing in ${[...names]}`);
}
const text = async (name, args, options) => (await client.callTool({ name, arguments: args }, undefined, options)).content[0].text;
assert.equal(await text("everything_echo", { message: "grün 😀" }), "Echo: grün 😀");
const structured = await client.callTool({ name: "everything_get-structured-content", arguments: { location: "New York" } });
assert(structured.structuredContent.temperature !== undefined);
const entity = { name: "Ada", entityType: "person", observations: ["writes programs"] };
await client.callTool({ name: "memory_create_entities", arguments: { entities: [entity] } });
assert.match(await text("memory_read_graph", {}), /writes programs/);
assert.match(await text("time_get_current_time", { timezone: "Europe/Rome" }), /Europe\/Rome/);
const steps = [];
await text("everything_trigger-long-running-operation", { duration: 1, steps: 4 }, { onprogress: (step) => steps.push(step.progress) });
assert(steps.length > 0 && steps.every((step, at) => at === 0 || step > steps[at - 1]), `${steps}`);
const { resources } = await client.listResources();
assert((await client.readResource({ uri: resources[0].uri })).contents.length > 0);
const prompt = await client.getPrompt({ name: "everything_args-prompt", arguments: { city: "Rom" } });
assert.match(prompt.messages[0].content.text, /Rom/);
const completed = await client.complete({
  ref: { type: "ref/prompt", name: "everything_completable-prompt" },
  argument: { name: "department", value: "E" },
});
assert(completed.completion.values.length > 0);
// Calls at the same time: each answer belongs to its call.
const sums = await Promise.all([...Array(20).keys()].map((a) => text("everything_get-sum", { a, b: 1 })));
sums.forEach((sum, a) => assert.match(sum, new RegExp(`is ${a + 1}\\.`)));
await client.close();
console.log("ok");
