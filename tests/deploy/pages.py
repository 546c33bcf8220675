"""The pages about deployments, in parts: what a reader copies."""

import re
import textwrap
from dataclasses import dataclass

from manifests import PROJECT

PAGES = [PROJECT / "docs" / name for name in ("kubernetes.md", "cephadm.md")]


@dataclass
class Block:
    """A part of a page that is to be copied."""

    page: str
    line: int
    language: str
    text: str


def blocks(page):
    """The fenced blocks of a page, and the indented ones, which are commands for a shell."""
    lines, found, number = page.read_text().splitlines(), [], 0
    while number < len(lines):
        line, start = lines[number], number
        if line.lstrip().startswith("```"):
            number += 1
            while not lines[number].lstrip().startswith("```"):
                number += 1
            found.append(Block(page.name, start + 1, line.strip("` "), "\n".join(lines[start + 1 : number])))
        elif re.match(r" {4,}\S", line):
            while number + 1 < len(lines) and (re.match(r" {4,}\S", lines[number + 1])):
                number += 1
            found.append(Block(page.name, start + 1, "sh", textwrap.dedent("\n".join(lines[start : number + 1]))))
        number += 1
    return found


def commands(page):
    """All commands of a page as one program; the drawings aside."""
    return "\n".join(block.text for block in blocks(page) if block.language == "sh" and "  <--- " not in block.text)


def printed_messages():
    """The messages that docs/install.md has for what does not work, as patterns: `…` is for anything."""
    text = (PROJECT / "docs/install.md").read_text().split("\n## When it does not work\n")[1]
    messages = []
    for row in re.findall(r"^\| (.+?) \|", text, re.MULTILINE):
        for double, single in re.findall(r"``(.+?)``|`(.+?)`", row):
            message = (double or single).strip()
            messages.append(".*?".join(re.escape(part) for part in message.split("…")))
    return messages


def is_documented(text):
    """Whether docs/install.md has a message that stands in a text as it was printed."""
    return any(re.search(message, text) for message in printed_messages() if len(message) > 15)
