"""Damage to the bytes and the words of files, drawn at random."""

import re
from collections.abc import Sequence
from random import Random

EXTREMES = (0, 1, -1, 2, 240, 2**15 - 1, -(2**15), 2**16 - 1, 2**31 - 1, -(2**31), 0x7F800000)
WORDS = (
    *("nan", "inf", "-inf", "1e999", "-1", "0", "1.5", "null", "true", "~", "", '""', "[]", "{}"),
    *("2020-13-45", "0x1F", "1_000", "!!python/name:os.system", "&a", "*a", "|", "- ", "\t", "\0"),
    *("\ufeff", "é", "🧂", "\n\n", ": ", "{a: {a: {a: 1}}}", "9" * 5000, "[" * 1200, "{a: " * 1200),
)
TOKEN = re.compile(r"[\w.+-]+|[^\w\s]")


def damage_bytes(rng: Random, content: bytes, places: Sequence[int] = ()) -> bytes:
    """Change one to four things in a file, some of them at ``places``."""
    for _ in range(rng.choice((1, 1, 2, 4))):
        if content:
            place = rng.choice(places) if places and rng.random() < 0.5 else None
            place = rng.randrange(len(content)) if place is None else place % len(content)
            content = _change(rng, content, place)
    return content


def _change(rng: Random, content: bytes, place: int) -> bytes:
    before, after, length = content[:place], content[place:], rng.randint(0, 400)
    match rng.choice(("flip", "flip", "set", "set", "cut", "end", "insert", "repeat", "erase")):
        case "flip":
            return before + bytes([after[0] ^ rng.randint(1, 255)]) + after[1:]
        case "set":
            value, n_bytes = rng.choice(EXTREMES), rng.choice((1, 2, 4, 8))
            stored = (value % 2**64).to_bytes(8, "big")[-n_bytes:]
            return before + (stored[::-1] if rng.random() < 0.5 else stored) + after[n_bytes:]
        case "cut":
            return before + after[length:]
        case "end":
            return before
        case "insert":
            return before + bytes([rng.randint(0, 255)]) * length + after
        case "repeat":
            return before + after[:length] + after
        case _:
            return before + bytes(len(after[:length])) + after[length:]


def damage_text(rng: Random, content: bytes) -> bytes:
    """Exchange words of a text for odd ones, or lines for others; sometimes change its bytes."""
    if rng.random() < 0.25:
        return damage_bytes(rng, content)
    text = content.decode()
    for _ in range(rng.randint(1, 3)):
        lines = text.splitlines(keepends=True)
        tokens = list(TOKEN.finditer(text))
        if not tokens:
            break
        if rng.random() < 0.3:
            lines.insert(rng.randrange(len(lines) + 1), rng.choice(lines))
            lines.pop(rng.randrange(len(lines)))
            text = "".join(lines)
        else:
            token = rng.choice(tokens)
            word = rng.choice((*WORDS, *(other[0] for other in rng.sample(tokens, 1))))
            text = text[: token.start()] + word + text[token.end() :]
    return text.encode()


def cut_off(rng: Random, content: bytes, *, spare: int = 1) -> bytes:
    """End a file somewhere before its last ``spare`` bytes."""
    return content[: rng.randrange(1, len(content) - spare)]
