"""A figure's SVG as a part of a page: names of its own, and nothing that loads, runs or styles the rest."""

import re
from xml.etree import ElementTree

SVG, XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
DRAWN = {"svg", "g", "defs", "path", "use", "text", "tspan", "rect", "circle", "line", "polyline", "polygon"}
DRAWN |= {"clipPath", "image", "title", "linearGradient", "stop"}
ElementTree.register_namespace("", SVG)
ElementTree.register_namespace("xlink", XLINK)


def inlined(text: str, prefix: str) -> tuple[str, str]:
    """(title, SVG) of a figure as it is written to files; identifiers begin with `prefix`, as each is unique in a page.

    Raises ElementTree.ParseError for what is no XML.
    """
    root = ElementTree.fromstring(text)
    title = "".join(root.findtext(f"{{{SVG}}}title") or "")
    _clean(root, prefix)
    root.attrib |= {"role": "img", "aria-labelledby": f"{prefix}title"}
    for one in root.findall(f"{{{SVG}}}title"):
        one.set("id", f"{prefix}title")
    return title, ElementTree.tostring(root, encoding="unicode")


def _clean(element: ElementTree.Element, prefix: str) -> None:
    for name, value in list(element.attrib.items()):
        if name == "id":
            element.set(name, prefix + value)
        elif name.endswith("href"):
            if value.startswith("#"):
                element.set(name, f"#{prefix}{value[1:]}")
            elif not value.startswith("data:image/png;"):
                del element.attrib[name]
        elif "url(" in value:
            element.set(name, re.sub(r"url\(#([^)]*)\)", rf"url(#{prefix}\1)", value))
            if re.search(r"url\((?!#)", value):
                del element.attrib[name]
        elif name.startswith("on") or name.endswith("}base"):
            del element.attrib[name]
    for child in list(element):
        space, _, name = str(child.tag).rpartition("}")
        if space == f"{{{SVG}" and name in DRAWN:
            _clean(child, prefix)
        else:
            element.remove(child)
