"""A score board on the Python SDK, which speaks MCP 2026-07-28: a resource that changes and that one can
be told about (`subscriptions/listen`), a template and a prompt whose arguments it completes."""

from mcp.server.mcpserver import Context, MCPServer
from mcp_types import Completion

SCORE = "board://score"
TEAMS = {"red": ["Rosa", "Ruben"], "blue": ["Bela", "Bob"]}
points = 0
server = MCPServer("board")


@server.resource(SCORE)
def score() -> str:
    return f"{points} points"


@server.resource("board://team/{team}")
def team(team: str) -> str:
    return ", ".join(TEAMS[team])


@server.prompt()
def cheer(team: str, player: str) -> str:
    return f"Cheer for {player} of team {team}"


@server.tool()
async def add(by: int, ctx: Context) -> str:
    """Adds points, of which whoever wants to is told."""
    global points
    points += by
    await ctx.notify_resource_updated(SCORE)
    return f"{points} points"


@server.completion()
async def complete(ref, argument, context):
    known = (context and context.arguments) or {}
    values = TEAMS.get(known.get("team"), []) if argument.name == "player" else list(TEAMS)
    return Completion(values=[value for value in values if value.startswith(argument.value)])


server.run()
