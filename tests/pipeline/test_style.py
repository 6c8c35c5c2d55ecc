"""What the code promises its readers: short modules, and one word for one thing."""

import re
import subprocess
from pathlib import Path

import pytest

MAX_LINES = 250
# British spellings, and words that the field does not use; each with what to write.
WORDS = {
    r"pictures?\b": "image",
    r"[a-z]*colour": "color",
    r"cent(?:re|res|red)\b": "center",
    r"[a-z]*(?:normal|optim|summar|local|recogn|initial|general|quant)is(?:e|ed|er|es|ing|ation)\b": "-ize",
    r"(?:behavi|neighb|fav)our[a-z]*": "-or",
    r"gr[e]y[a-z]*": "gray",
    r"label[l](?:ed|ing)\b": "labeled, labeling",
    r"licen[c]e[a-z]*": "license",
    r"(?:LEAST|MOST)_[A-Z]+": "MIN_, MAX_",
    r"quarter_turns|clip_norm(?!_)|backbone_rate\b|learning_rate_batch": "the name in params.yaml",
}


def files(*patterns: str) -> list[str]:
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", *patterns], capture_output=True, text=True)
    return [name for name in listed.stdout.splitlines() if Path(name).is_file()]


def test_no_module_is_longer_than_a_reader_keeps_in_mind():
    modules = files("retinanet/*.py", "stages/*.py", "benchmarks/*.py")
    assert modules
    lengths = {name: len(Path(name).read_text(encoding="utf-8").splitlines()) for name in modules}
    assert {name: count for name, count in lengths.items() if count > MAX_LINES} == {}


@pytest.mark.parametrize("pattern", WORDS)
def test_words_of_the_field_in_one_spelling(pattern):
    found = []
    for name in files("*.py", "*.md", "*.yaml", "*.html", "*.toml"):
        if name == "tests/pipeline/test_style.py":
            continue
        for number, line in enumerate(Path(name).read_text(encoding="utf-8").splitlines(), start=1):
            if re.search(rf"(?i:(?<![A-Za-z]){pattern})" if pattern.islower() else pattern, line):
                found.append(f"{name}:{number}: {line.strip()[:100]}")
    assert not found, f"write {WORDS[pattern]}: {found[:20]}"
