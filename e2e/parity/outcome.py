"""What a run comes to: the state of each field of each operation, in the form that docs/parity/ keeps."""

import json
import re

from .allowed import ALLOWED, alone
from .compare import cells
from .operations import of_release


def judge(release, operation, cell):
    """How ours stands to RGW's in a field: a state, the reason for it, and what is wrong, if anything is."""
    found = [one for one in ALLOWED if one.covers(release, operation, cell.field)]
    if len(found) > 1:
        return "wrong", "", f"{cell}\n    is allowed to differ twice"
    if not found:
        return ("equal", "", "") if cell.is_equal else ("wrong", "", f"{cell}\n    differ")
    (one,) = found
    if cell.is_equal:
        return "wrong", "", f"{cell}\n    are equal, but should be {one.state}: {one.reason}"
    if not one.check(cell):
        return "wrong", "", f"{cell}\n    should be {one.state}, and are not: {one.reason}"
    return one.state, one.reason, ""


def outcome(release, results):
    """The results of a run: operations by name; fields with those in which they are not equal, by state and reason."""
    operations, fields = {}, {}
    for one in of_release(release):
        seen = results[one.name]
        names = [record["eventName"] for record in seen.native + seen.ours]
        # RGW's own name comes first, if it tells of it.
        entry = {"title": one.title, "event": names[0] if names else ""}
        single = alone(release, one.name)
        if single:
            entry |= {"only": "RGW" if single.native else "rgw_nats", "why": single.reason}
        operations[one.name] = entry
        if single or not (seen.native and seen.ours and seen.alone):
            continue
        for cell in cells(seen)[0]:
            state, reason, _ = judge(release, one.name, cell)
            states = fields.setdefault(cell.field, {})
            if state != "equal":
                states.setdefault(state, {}).setdefault(reason, []).append(one.name)
    return {"release": release, "operations": operations, "fields": fields}


def dump(outcome):
    """The text of a file in docs/parity/: JSON with each list of operations on one line."""
    text = json.dumps(outcome, indent=1, ensure_ascii=False)
    return re.sub(r"\[[^][{}]*\]", lambda found: " ".join(found[0].split()), text) + "\n"
