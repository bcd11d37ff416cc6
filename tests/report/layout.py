"""What can be read on a page as a browser shows it: measured boxes of labels, and tables wider than their place."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import Page

LABELS = """
() => {
  // Corners of a label as it is turned, without the room that its font keeps free above and below letters.
  function corners(text) {
    const box = text.getBBox();
    const matrix = text.getScreenCTM();
    const [x, y] = [1, 0.17 * box.height];
    return [[box.x + x, box.y + y], [box.x + box.width - x, box.y + y],
            [box.x + box.width - x, box.y + box.height - y], [box.x + x, box.y + box.height - y]]
      .map(([a, b]) => new DOMPoint(a, b).matrixTransform(matrix));
  }
  // Two convex shapes overlap unless a line along a side of one of them parts them.
  function overlap(one, other) {
    for (const shape of [one, other]) {
      for (const [n, from] of shape.entries()) {
        const to = shape[(n + 1) % shape.length];
        const [x, y] = [from.y - to.y, to.x - from.x];
        const [a, b] = [one, other].map((s) => s.map((point) => x * point.x + y * point.y));
        if (Math.max(...a) <= Math.min(...b) || Math.max(...b) <= Math.min(...a)) return false;
      }
    }
    return true;
  }
  const found = { labels: 0, overlapping: [], cut: [] };
  for (const svg of document.querySelectorAll(".figure svg")) {
    const id = svg.closest(".figure").id;
    const frame = svg.getBoundingClientRect();
    const room = svg.closest(".figure").getBoundingClientRect();
    if (frame.right > room.right + 1 && !svg.closest(".scroll")) found.cut.push([id, "the figure itself"]);
    const shown = (text) => text.textContent.trim() && text.checkVisibility({ opacityProperty: true });
    const labels = [...svg.querySelectorAll("text")].filter(shown).map((text) => [text.textContent, corners(text)]);
    found.labels += labels.length;
    labels.forEach(([name, one], n) => {
      const outside = ({ x, y }) =>
        x < frame.left - 1 || x > frame.right + 1 || y < frame.top - 1 || y > frame.bottom + 1;
      if (one.some(outside)) found.cut.push([id, name]);
      for (const [other, two] of labels.slice(n + 1)) if (overlap(one, two)) found.overlapping.push([id, name, other]);
    });
  }
  return found;
}
"""

NAMES = """
() => {
  const found = { dots: 0, names: 0, strayed: [] };
  const own = (element) => element.__data__?.datum ?? {};
  const dots = [...document.querySelectorAll("#figure-labels .mark-symbol path")];
  const names = [...document.querySelectorAll("#figure-labels .mark-text text")].filter((text) => own(text).model);
  for (const name of names) {
    const box = name.getBoundingClientRect();
    const free = 0.17 * box.height;
    const away = dots.map((dot) => {
      const { left, right, top, bottom } = dot.getBoundingClientRect();
      const [x, y] = [(left + right) / 2, (top + bottom) / 2];
      const beside = Math.max(box.left - x, x - box.right, 0);
      return Math.hypot(beside, Math.max(box.top + free - y, y - box.bottom + free, 0));
    });
    const mine = dots.findIndex((dot) => ["model", "intervention"].every((key) => own(dot)[key] === own(name)[key]));
    if (away[mine] > Math.min(...away) + 1) found.strayed.push([own(name).intervention, away[mine], Math.min(...away)]);
  }
  return { ...found, dots: dots.length, names: names.length };
}
"""

EDGE = 10
"""Pixels at the right edge of a table's place in which the cue shows."""


def labels(page: Page) -> dict[str, Any]:
    """How many ``labels`` the figures of a page have, which pairs are ``overlapping`` and which are ``cut`` off."""
    return page.evaluate(LABELS)


def names_of_dots(page: Page) -> dict[str, Any]:
    """Of the figure of extreme against probing shifts the ``dots``, the ``names``, and names ``strayed`` to others."""
    return page.evaluate(NAMES)


def wide_tables(page: Page) -> list[str]:
    """Names of tables that are wider than their place; every disclosure is opened first."""
    page.evaluate("document.querySelectorAll('details').forEach((element) => { element.open = true })")
    return page.evaluate(
        """() => [...document.querySelectorAll("table")]
          .filter((table) => table.checkVisibility() && table.scrollWidth > table.parentElement.clientWidth + 1)
          .map((table, n) => { table.dataset.wide = n; return table.dataset.name ?? table.className; })"""
    )


def shows_that_it_scrolls(page: Page, number: int) -> bool:
    """Whether the right edge of a wide table's place looks other at the end than before it, all texts left out.

    Args:
        page: shown by a browser.
        number: of the table among ``wide_tables``.
    """
    table = page.locator(f"[data-wide='{number}']")
    place = table.locator("..")
    table.evaluate("(table) => { for (const part of table.querySelectorAll('*')) part.style.color = 'transparent' }")
    place.scroll_into_view_if_needed()
    pictures = []
    for left in (0, 100_000):
        box = place.evaluate(
            """(place, left) => {
              place.scrollLeft = left;
              const { left: begin, top, bottom } = place.getBoundingClientRect();
              const y = Math.max(top, 0);
              const right = begin + place.clientLeft + place.clientWidth;
              return { right, y, height: Math.min(bottom, innerHeight) - y };
            }""",
            left,
        )
        clip = {"x": box["right"] - EDGE, "y": box["y"], "width": EDGE, "height": box["height"]}
        pictures.append(page.screenshot(clip=clip))
    return pictures[0] != pictures[1]
