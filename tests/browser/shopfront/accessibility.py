"""What axe-core finds on a page (https://github.com/dequelabs/axe-core)."""

from importlib import resources

from tests.browser.visitor import Visitor

AXE = (resources.files("axe_playwright_python") / "axe.min.js").read_text()
GRAVE = ("serious", "critical")
RUN = """async (impacts) => (await axe.run()).violations
  .filter(({ impact }) => impacts.includes(impact))
  .flatMap(({ id, nodes }) =>
    nodes.map(({ html, failureSummary }) => `${id}: ${html} ${failureSummary}`))"""


def violations(visitor: Visitor) -> list[str]:
    """Each element that violates a rule whose impact is serious or critical."""
    visitor.page.evaluate(AXE)
    return visitor.page.evaluate(RUN, GRAVE)
