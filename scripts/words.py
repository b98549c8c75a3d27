"""Refuses phrases that are not plain English: scripts/words.py [FILE...].

Looks at the text of imgclust/, docs/ and README.md (or of the files given) and prints each place
with a plainer way to say it. Exit code 1 when there are any. A phrase is refused in its odd sense
only: "all the same value" is fine, "they stay all the same" is not.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

# Each phrase as a regular expression, and what to write instead. A space matches a line break too.
PHRASES = {
    r"anew": "again, recreate, start over",
    r"(hold|holds|holding|held) [^.;:]{0,60}?against": "compare with, check against",
    r"(is|are|be|been|was|were) at it\b": "locked by another process, in progress",
    r"all the same(?! (?:values?|number|size|kind|colour|length|cluster|type|way)\b)": (
        "still, nevertheless, identical"
    ),
    r"in step\b(?! \d)": "up to date, in sync",
    r"(came|comes|come) since\b": "new, added since",
    r"(is|are|be|been) told(?! apart)": "is shown, is known, is given",
    r"nothing to do it with": "nothing found",
    r"how (?:the|a|this|each|every) \w+ stands": "the status of",
    r"stands (?:at|below|above|behind|beside|for|in|there|still|until|out|before|after|where)": (
        "is, represents"
    ),
    r"leave [^.;]{1,30}? away": "cannot be combined with, omit",
    r"give -y": "pass -y",
    r"nobody can be asked": "not running interactively",
    r"(?:is|was) (?:a|no) fault of imgclust": "internal error",
    r"add what\?|which command\?": "no path given, no command given",
    r"(?<!there\x20)(?:is|are) no (?!longer|more than|less than|wider|larger|better)[a-z]+": (
        "is not a"
    ),
    r"in the way\b(?! that| in which| it)": "already exists",
    r"twice a content|names a content twice": "contains a duplicate key",
    r"differ from theirs": "is corrupt",
    r"(?:tell|tells) little": "is unreliable",
    r"see to (?:the|it|its)\b": "check",
    r"for so long\b": "for this long",
    r"all it knew": "and everything in it",
    r"(?:is|are) looked for\b": "is searched for",
    r"take their places|takes its place": "is inserted, replaces it",
    r"outlive\w*": "continue after, survive",
    r"far out\b": "outlier, far from the centre",
    r"as a whole\b": "completely, atomically",
    r"mend(?:s|ed|ing)?\b": "repair",
    r"puts? right|putting right": "repair",
    r"in the midst": "during",
    r"(?:goes|go|went|going) on(?! (?:the|a|an)\b)": "continue, resume",
    r"in hand\b": "current",
    r"(?:that|those|one|ones) of before\b": "previous",
    r"thereof|wherein|hereafter|lest|shall": "plain words",
    r"for want of|save for\b": "without, except",
    r"in earnest": "really",
    r"the like\b(?! of)": "similar",
    r"is meant for": "is for",
    r"bear(?:s|ing)? in mind": "note",
    r"let(?:s)? go of": "release, remove",
    r"heard of\b": "reported",
    r"what (?:is|was) there before": "the previous content",
    r"what became of": "what happened to",
    r"what came of": "the result of",
    r"once more\b": "again",
    r"so few|so many that|so much as": "too few, too many",
    r"takes? (?:the|its|their) \w+ away": "remove",
    r"to be trusted": "reliable",
    r"sets? (?:it|its|them|\w+ permissions) right": "correct",
    r"lets? (?:it|them) go\b": "remove",
    r"(?:taken|took|takes?) for a\b": "recognised as, mistaken for",
    r"(?:nothing|something) is known of": "there is a record, there is no record",
    r"tells? no\b": "reports no",
    r"hold the same\b": "contain equal images, show the same",
    r"get(?:s|ting)? to its first": "start its first",
    r"in (?:\d+|\{[^}]*\}) parts:": "split into N clusters",
}
# Released: a program that wrote it long ago must recognise it.
ALLOWED = {"<!-- imgclust makes this page anew as the links change -->"}
_GAP = r"(?:\s|\\n|[\"#*]|\bf(?=\"))+"


def compiled() -> list[tuple[re.Pattern[str], str]]:
    """The phrases as patterns that match across line breaks of comments and strings."""
    found = []
    for phrase, advice in PHRASES.items():
        parts = re.split(r" (?![^\[]*\])", phrase)
        found.append((re.compile(r"\b(?:" + _GAP.join(parts) + ")", re.IGNORECASE), advice))
    return found


def files() -> list[Path]:
    """The texts that are looked at."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "imgclust", "docs", "README.md"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    return [
        Path(name)
        for name in listed
        if name.endswith((".py", ".md", ".toml")) and Path(name).is_file()
    ]


def main(arguments: list[str]) -> int:
    """Print every place; the exit code."""
    patterns = compiled()
    count = 0
    for path in map(Path, arguments) if arguments else files():
        text = path.read_text("utf-8")
        for phrase in ALLOWED:
            text = text.replace(phrase, "")
        for pattern, advice in patterns:
            for match in pattern.finditer(text):
                line = text.count("\n", 0, match.start()) + 1
                words = " ".join(match[0].split())
                print(f'{path}:{line}: "{words}": {advice}')
                count += 1
    if count:
        print(f"{count} phrases that are not plain English; see the list in scripts/words.py")
    return 1 if count else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
