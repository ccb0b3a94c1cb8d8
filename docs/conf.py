"""The documentation site's configuration: `nox -s site` builds it from the pages as they stand."""

from __future__ import annotations

import inspect
import re
from importlib import metadata
from posixpath import dirname, join, normpath

from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx

import trio_chat
import trio_chat.remote

project = "trio_chat"
release = metadata.version("trio-chat")
copyright = "trio_chat contributors"  # noqa: A001 - Sphinx's name

extensions = ["myst_parser", "sphinx.ext.autodoc"]
include_patterns = [
    *("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/*.md"),
    *("benchmarks/README.md", "changes/README.md", "examples/README.md"),
    *("examples/systemd/README.md", "examples/cluster/README.md"),
]
root_doc = "docs/index"

html_theme = "furo"
html_favicon = "../trio_chat/web/icon.svg"
html_title = f"trio_chat {release}"
html_additional_pages = {"index": "redirect.html"}
html_copy_source = False
templates_path = ["templates"]

myst_heading_anchors = 4
myst_enable_extensions = ["html_image"]
linkcheck_ignore = [r"http://127\.0\.0\.1"]
nitpicky = True
# Links to names of Python and Trio would need their sites.
nitpick_ignore_regex = [("py:.*", r"(?!trio_chat\b).*")]

# These stand in signatures, and are not public.
nitpick_ignore = [
    ("py:class", "trio_chat.hub.whole.WholeChat"),
    ("py:class", "trio_chat.snapshot.ahead.Ahead"),
]

# Docstrings have names in single backquotes; a public one becomes a link.
default_role = "py:obj"
autodoc_default_options = {"members": True, "member-order": "bysource"}

# Programs get instances of these from a function, and never call the class.
GIVEN = {"trio_chat.Chat", "trio_chat.InProcessClient", "trio_chat.remote.RemoteClient"}
# Annotations have the module that defines a name. Readers import it from one of these modules.
PUBLIC = {
    f"{value.__module__}.{name}": f"{module.__name__}.{name}"
    for module in (trio_chat, trio_chat.remote)
    for name in module.__all__
    if hasattr(value := getattr(module, name), "__module__")
}
ENTRY = re.compile(r"^- \[([^]]+)\]\(([^)]+)\.md\)", re.MULTILINE)


def list_pages(app: Sphinx, page: str, source: list[str]) -> None:
    """Make the menu of the site from the lists of the first page."""
    if page != app.config.root_doc:
        return
    intro, *sections = source[0].split("\n## ")
    text = intro
    for section in sections:
        title = section.partition("\n")[0]
        entries = [
            f"{name} <{normpath(join('/', dirname(page), path))}>"
            for name, path in ENTRY.findall(section)
        ]
        menu = "\n".join(["```{toctree}", ":hidden:", f":caption: {title}", "", *entries, "```"])
        text += f"\n## {section.rstrip()}\n\n{menu}\n"
    source[0] = text


def point_to_public_name(_app: Sphinx, _env: object, node: pending_xref, _text: object) -> None:
    """Have a link to the module that defines a name lead to where the name is public."""
    target = node.get("reftarget")
    if target in PUBLIC:
        node["reftarget"] = PUBLIC[target]


Signature = tuple[str, str | None]


def show_signature(
    _app: Sphinx,
    _kind: str,
    name: str,
    value: object,
    _options: object,
    arguments: str | None,
    result: str | None,
) -> Signature | None:
    """Show how a public name is used, where its definition would say something else."""
    if name in GIVEN:
        return "", None
    if inspect.isasyncgenfunction(getattr(value, "__wrapped__", None)):
        given = re.fullmatch(r".*AsyncGenerator\[(.*), None\]", result or "")
        if arguments and given:
            return arguments, f"AbstractAsyncContextManager[{given[1]}]"
    return None


def setup(app: Sphinx) -> None:
    """Connect these functions to Sphinx."""
    app.connect("autodoc-process-signature", show_signature)
    app.connect("source-read", list_pages)
    app.connect("missing-reference", point_to_public_name)
