from pathlib import Path
from typing import get_args

import pytest
import yaml

from retinanet.annotations.formats import FORMATS
from retinanet.cli.reference import reference_text, values_text, with_tables
from retinanet.config.fields import Section, is_section, walk_keys
from retinanet.config.settings import Params
from retinanet.fetch.sources import SOURCES

FIELDS = dict(walk_keys(Params))
RUN = "run `uv run python -m retinanet.cli.reference`"


def test_docs_params_md_is_up_to_date():
    text = reference_text(yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8")))
    assert Path("docs/params.md").read_text(encoding="utf-8") == text, f"docs/params.md is out of date; {RUN}"


def test_the_tables_of_docs_data_md_are_up_to_date():
    page = Path("docs/data.md").read_text(encoding="utf-8")
    assert with_tables(page) == page, f"docs/data.md is out of date; {RUN}"
    assert [name for name in (*SOURCES, *FORMATS) if f"| `{name}` |" not in page] == []


def described_fields(section: type[Section]):
    """Every field except sections and `kind`, with those of sections in lists and choices."""
    for name, field in walk_keys(section):
        if name != "kind":
            yield name, field
        for part in get_args(field.annotation):
            if is_section(part):
                yield from ((f"{name}: {key}", of_part) for key, of_part in described_fields(part))


@pytest.mark.parametrize(("name", "field"), [*described_fields(Params)], ids=lambda value: str(value)[:40])
def test_every_key_has_a_description(name, field):
    assert field.description and field.description.endswith("."), name


@pytest.mark.parametrize("section", [field.annotation for field in Params.model_fields.values()])
def test_every_section_has_a_description(section):
    assert section.__doc__ and section.__doc__ != Section.__doc__


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("train.epochs", "`auto`, integer >= 1"),
        ("train.batch_size", "integer >= 1"),
        ("train.learning_rate", "number > 0"),
        ("prepare.tile_overlap", "number >= 0 and < 1"),
        ("train.optimizer", "`adamw`, `sgd`"),
        ("train.compile", "`true`, `false`"),
        ("train.class_weights", "map of string to number >= 0"),
        ("model.anchors.sizes", "list of 5 numbers > 0"),
        ("download.archive.more", "list of maps"),
        ("download.archive.sha256", "64 hexadecimal digits, or empty"),
    ],
)
def test_values_text_gives_choices_or_type_and_range(key, text):
    assert values_text(FIELDS[key]) == text


def test_values_text_gives_the_parameters_of_a_choice():
    choices = values_text(FIELDS["train.box_loss"])
    assert "`l1`" in choices and "`{kind: smooth_l1, beta: ...}`" in choices
