"""HTML pages of one look, each a file with its images inside, which opens anywhere and needs nothing else."""

import base64
from pathlib import Path

import jinja2

PAGES = Path(__file__).parent


def render_page(name: str, **values: object) -> str:
    """The page of the template `name`.html; every text in values is escaped."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(PAGES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(f"{name}.html").render(values)


def jpeg_url(content: bytes) -> str:
    """A JPEG file's bytes as a URL that holds them."""
    return "data:image/jpeg;base64," + base64.b64encode(content).decode("ascii")


def css_color(rgb: tuple[int, int, int]) -> str:
    """As #rrggbb."""
    return "#{:02x}{:02x}{:02x}".format(*rgb)
