"""Self-contained HTML pages from templates: images are embedded, and no other file is needed."""

import base64
from pathlib import Path

import jinja2

PAGES = Path(__file__).parent


def render_page(name: str, **values: object) -> str:
    """Render the template `name`.html; all values are escaped."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(PAGES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(f"{name}.html").render(values)


def jpeg_url(content: bytes) -> str:
    """The data: URL of a JPEG file."""
    return "data:image/jpeg;base64," + base64.b64encode(content).decode("ascii")


def css_color(rgb: tuple[int, int, int]) -> str:
    """A color as #rrggbb."""
    return "#{:02x}{:02x}{:02x}".format(*rgb)
