"""An HTML page, as tests read it: elements with their attributes, tables as lists of texts."""

from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = {"meta", "link", "br", "img", "input", "hr", "base"}


@dataclass
class Element:
    """An element of a page."""

    tag: str
    attributes: dict[str, str]
    children: "list[Element | str]" = field(default_factory=list)

    def all(self, *tags: str) -> "list[Element]":
        """All elements below with one of these tags, in their order; without tags all."""
        found = []
        for child in self.children:
            if isinstance(child, Element):
                found += [child] if not tags or child.tag in tags else []
                found += child.all(*tags)
        return found

    @property
    def text(self) -> str:
        """All text below, its white space as a browser shows it."""
        return " ".join(self._words().split())

    def _words(self) -> str:
        return "".join(child if isinstance(child, str) else child._words() for child in self.children)

    def named(self, anchor: str) -> "Element":
        """The one element with this id."""
        (found,) = (one for one in self.all() if one.attributes.get("id") == anchor)
        return found

    @property
    def cells(self) -> list[list[str]]:
        """The texts of a table's body, without the marks of footnotes."""
        (body,) = self.all("tbody")
        return [[_plain(cell) for cell in row.all("th", "td")] for row in body.all("tr")]


def _plain(cell: Element) -> str:
    marks = {id(one) for one in cell.all("sup")}
    kept = [child for child in cell.children if id(child) not in marks]
    return Element(cell.tag, {}, kept).text


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open = [Element("", {})]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, {name: value or "" for name, value in attrs})
        self.open[-1].children.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open[-1].children.append(Element(tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop().tag == tag, f"</{tag}> closes nothing"

    def handle_data(self, data: str) -> None:
        self.open[-1].children.append(data)


def read(text: str) -> Element:
    """A page, every element of which has to be closed."""
    reader = _Reader()
    reader.feed(text)
    reader.close()
    assert len(reader.open) == 1, reader.open[-1].tag
    return reader.open[0]
