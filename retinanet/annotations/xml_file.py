"""Parsing of XML annotation files, without entities."""

import re
from pathlib import Path
from xml.etree import ElementTree
from xml.parsers import expat

from retinanet.annotations.files import read_start
from retinanet.errors import AnnotationError


def parse_xml(xml: Path) -> ElementTree.Element:
    """The root element. Entity declarations are refused in any encoding: nested ones expand to gigabytes.

    Raises AnnotationError.
    """

    def refuse_entity(*_: object) -> None:
        raise AnnotationError(f"{xml}: has XML entities, which no annotation needs; remove them")

    builder = ElementTree.TreeBuilder()
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data
    parser.EntityDeclHandler = refuse_entity
    parser.SkippedEntityHandler = refuse_entity
    try:
        parser.Parse(xml.read_bytes(), True)
        return builder.close()
    except (expat.ExpatError, ValueError, LookupError) as error:
        raise AnnotationError(f"{xml}: broken XML ({error}); download or write the file again") from error


def starts_with_element(path: Path, tag: str) -> bool:
    """Whether an element of this tag opens near the start of a file."""
    return re.search(rf"<{tag}[\s>]", read_start(path)) is not None


def text_at(element: ElementTree.Element, path: str) -> str | None:
    """The text of the element at a path of tags; unlike findtext, any path is valid."""
    node: ElementTree.Element | None = element
    for tag in path.split("/"):
        node = next((child for child in node if child.tag == tag), None) if node is not None else None
    return node.text if node is not None else None
