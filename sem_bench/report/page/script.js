"use strict";
// Sorting and a filter for every table; without this script the page holds the same, unsorted.

function sortValue(cell) {
  const copy = cell.cloneNode(true);
  copy.querySelectorAll("sup").forEach((mark) => mark.remove());
  const text = copy.textContent.trim();
  const number = /^[+-]?\d[\d,]*(\.\d+)?(e[+-]?\d+)?(?![\w.])/i.exec(text);
  return { text, number: number ? Number(number[0].replaceAll(",", "")) : null };
}

function compare(a, b) {
  if (a.number !== null && b.number !== null && a.number !== b.number) return a.number - b.number;
  return a.text.localeCompare(b.text, "en", { numeric: true });
}

function makeSortable(table) {
  const body = table.tBodies[0];
  const original = [...body.rows];
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const before = head.getAttribute("aria-sort");
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      if (before === "descending") {
        body.append(...original);
        return;
      }
      const up = before === null;
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const keyed = original.map((row) => [row, sortValue(row.cells[column])]);
      const empty = (value) => value.text === "" || value.text === "—";
      keyed.sort(([, a], [, b]) => empty(a) - empty(b) || (up ? compare(a, b) : compare(b, a)));
      body.append(...keyed.map(([row]) => row));
    });
  });
}

function makeFilter(table) {
  const rows = [...table.tBodies[0].rows];
  if (rows.length < 4) return;
  const [line, label, input, count] = ["div", "label", "input", "span"].map((name) => document.createElement(name));
  line.className = "filter";
  label.append("Filter rows ", input);
  input.type = "search";
  count.setAttribute("role", "status");
  line.append(label, count);
  table.closest(".scroll").before(line);
  const texts = rows.map((row) => [...row.cells].map((cell) => sortValue(cell).text).join(" ").toLowerCase());
  input.addEventListener("input", () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    rows.forEach((row, place) => { row.hidden = !words.every((word) => texts[place].includes(word)); });
    const shown = rows.filter((row) => !row.hidden).length;
    count.textContent = words.length ? `${shown} of ${rows.length}` : "";
  });
}

document.querySelectorAll("table.sortable").forEach((table) => {
  makeSortable(table);
  makeFilter(table);
});

// A link into what is folded opens it, in browsers that do not do so by themselves.
function unfold() {
  const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  for (let one = target; one; one = one.parentElement) if (one.tagName === "DETAILS") one.open = true;
}
addEventListener("hashchange", unfold);
unfold();
