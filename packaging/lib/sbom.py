"""Prints a bill of materials in the format of CycloneDX 1.5: every crate that is compiled into the program."""

import json
import os
import subprocess

root, version = os.environ["ROOT"], os.environ["VERSION"]
triple = f"{os.environ['ARCH']}-unknown-linux-gnu"
command = ["cargo", "metadata", "--format-version", "1", "--locked", "--filter-platform", triple]
metadata = json.loads(subprocess.run(command, cwd=root, check=True, capture_output=True).stdout)
packages = {package["id"]: package for package in metadata["packages"]}
nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}


def compiled(node):
    """The dependencies that are compiled in: not those of tests and build scripts."""
    return [dep["pkg"] for dep in node["deps"] if any(kind["kind"] is None for kind in dep["dep_kinds"])]


seen, queue = set(), [metadata["resolve"]["root"]]
while queue:
    found = queue.pop()
    if found not in seen:
        seen.add(found)
        queue += compiled(nodes[found])

components, dependencies = [], []
for found in sorted(seen, key=lambda item: (packages[item]["name"], packages[item]["version"])):
    package = packages[found]
    reference = f"pkg:cargo/{package['name']}@{package['version']}"
    dependencies.append({"ref": reference, "dependsOn": sorted(f"pkg:cargo/{packages[i]['name']}@{packages[i]['version']}" for i in compiled(nodes[found]))})
    if found == metadata["resolve"]["root"]:
        continue
    component = {"type": "library", "bom-ref": reference, "name": package["name"], "version": package["version"], "purl": reference}
    if package["license"]:
        component["licenses"] = [{"expression": package["license"].replace("/", " OR ")}]
    components.append(component)
own = packages[metadata["resolve"]["root"]]
bom = {
    "bomFormat": "CycloneDX",
    "specVersion": "1.5",
    "version": 1,
    "metadata": {"component": {"type": "application", "bom-ref": f"pkg:cargo/{own['name']}@{version}", "name": own["name"], "version": version}},
    "components": components,
    "dependencies": dependencies,
}
print(json.dumps(bom, indent=1))
