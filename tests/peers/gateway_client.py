"""A client on the official Python SDK that uses the demo servers through the gateway, over HTTP (URL) or stdio (COMMAND …)."""

import asyncio
import sys

from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client


async def use(read, write):
    async with ClientSession(read, write) as session:
        await session.initialize()
        tools = {tool.name for tool in (await session.list_tools()).tools}
        assert {"database_query_users", "email_send_email", "analytics_report"} <= tools, tools
        found = await session.call_tool("database_query_users", {"role": "admin"})
        assert not found.is_error and found.structured_content["users"], found
        values = []

        async def progress(value, total, message):
            values.append(value)

        message = {"to": "ann@example.com", "subject": "s", "body": "b"}
        await session.call_tool("email_send_email", message, progress_callback=progress)
        assert values and values == sorted(values), values
        resources = (await session.list_resources()).resources
        assert (await session.read_resource(resources[0].uri)).contents, resources
        prompt = (await session.list_prompts()).prompts[0].name
        assert (await session.get_prompt(prompt, {"name": "Ann"})).messages, prompt
        # Both directions at the same time: each answer belongs to its call.
        names = [f"u_100{number}" for number in range(1, 7)]
        calls = [session.call_tool("database_get_user_profile", {"userId": name}) for name in names]
        for name, profile in zip(names, await asyncio.gather(*calls)):
            assert name in profile.content[0].text, (name, profile)


async def main():
    place = sys.argv[1:]
    if place[0].startswith("http"):
        async with streamable_http_client(place[0]) as streams:
            await use(streams[0], streams[1])
    else:
        async with stdio_client(StdioServerParameters(command=place[0], args=place[1:])) as (read, write):
            await use(read, write)


asyncio.run(main())
print("ok")
