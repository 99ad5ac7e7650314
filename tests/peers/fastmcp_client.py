"""FastMCP's client, which uses several real servers through the gateway, over HTTP (URL) or stdio (COMMAND …)."""

import asyncio
import sys

from fastmcp import Client
from fastmcp.client.transports import StdioTransport, StreamableHttpTransport

READS = "memory_read_graph"


async def use(client):
    async with client:
        names = {tool.name for tool in await client.list_tools()}
        wanted = {"everything_echo", "everything_get-sum", "files_list_allowed_directories", READS, "time_get_current_time"}
        assert wanted <= names, wanted - names
        echoed = await client.call_tool("everything_echo", {"message": "grün 😀"})
        assert echoed.content[0].text == "Echo: grün 😀", echoed
        structured = await client.call_tool("everything_get-structured-content", {"location": "New York"})
        assert structured.structured_content["temperature"], structured
        failed = await client.call_tool("everything_get-sum", {"a": "x"}, raise_on_error=False)
        assert failed.is_error, failed
        entity = {"name": "Ada", "entityType": "person", "observations": ["writes programs"]}
        await client.call_tool("memory_create_entities", {"entities": [entity]})
        graph = await client.call_tool(READS, {})
        assert "writes programs" in graph.content[0].text, graph
        time = await client.call_tool("time_get_current_time", {"timezone": "Europe/Rome"})
        assert "Europe/Rome" in time.content[0].text, time
        resources = await client.list_resources()
        assert await client.read_resource(resources[0].uri), resources
        prompt = await client.get_prompt("everything_args-prompt", {"city": "Rom"})
        assert "Rom" in prompt.messages[0].content.text, prompt
        # Calls at the same time: each answer belongs to its call.
        sums = [client.call_tool("everything_get-sum", {"a": number, "b": 1}) for number in range(20)]
        for number, found in enumerate(await asyncio.gather(*sums)):
            assert f"is {number + 1}." in found.content[0].text, (number, found)


async def main():
    place = sys.argv[1:]
    if place[0].startswith("http"):
        transport = StreamableHttpTransport(place[0])
    else:
        transport = StdioTransport(command=place[0], args=place[1:])
    await use(Client(transport))


asyncio.run(main())
print("ok")
