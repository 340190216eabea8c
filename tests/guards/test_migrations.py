"""A release only adds to the schema: the version before runs on it while it is replaced."""

import ast
from pathlib import Path

import pytest

from core.config import PROJECT_ROOT

# What a running older version may still use, or would not fill.
CONTRACTING = {
    "alter_column",
    "drop_column",
    "drop_constraint",
    "drop_index",
    "drop_table",
    "execute",
    "rename_table",
    "create_check_constraint",
    "create_unique_constraint",
}
# The first versions were never replaced while they ran.
RULE_SINCE = "0003"
MIGRATIONS = sorted((PROJECT_ROOT / "core" / "migrations" / "versions").glob("[0-9]*.py"))


def contractions(source: str) -> list[str]:
    """What `upgrade` takes away or tightens, unless the migration says why it may."""
    module = ast.parse(source)
    if any(isinstance(node, ast.Assign) and _names(node, "CONTRACTS") for node in module.body):
        return []
    [upgrade] = [
        node for node in module.body if isinstance(node, ast.FunctionDef) and node.name == "upgrade"
    ]
    calls = [node for node in ast.walk(upgrade) if isinstance(node, ast.Call)]
    named = [call.func.attr for call in calls if isinstance(call.func, ast.Attribute)]
    found = [name for name in named if name in CONTRACTING]
    return found + [ast.unparse(call) for call in calls if _demands_a_value(call)]


def _names(node: ast.Assign, name: str) -> bool:
    return any(isinstance(target, ast.Name) and target.id == name for target in node.targets)


def _demands_a_value(call: ast.Call) -> bool:
    """A column added that an older version's INSERT, which does not name it, would fail on."""
    if not (isinstance(call.func, ast.Attribute) and call.func.attr == "add_column"):
        return False
    [column] = [argument for argument in call.args if isinstance(argument, ast.Call)]
    options = {keyword.arg: ast.unparse(keyword.value) for keyword in column.keywords}
    return options.get("nullable") == "False" and "server_default" not in options


@pytest.mark.parametrize("path", MIGRATIONS, ids=lambda path: path.stem)
def test_an_upgrade_only_adds(path: Path) -> None:
    if path.stem[:4] >= RULE_SINCE:
        assert contractions(path.read_text()) == []


@pytest.mark.parametrize(
    ("step", "refused"),
    [
        ("op.drop_column('bids', 'price')", True),
        ("op.alter_column('bids', 'price', nullable=False)", True),
        ("op.add_column('bids', sa.Column('x', sa.Text(), nullable=False))", True),
        ("op.add_column('bids', sa.Column('x', sa.Text(), nullable=True))", False),
        ("op.create_table('more', sa.Column('x', sa.Text(), nullable=False))", False),
    ],
)
def test_the_rule_tells_what_tightens(step: str, refused: bool) -> None:
    source = f"def upgrade():\n    {step}\n"
    assert bool(contractions(source)) is refused
    assert contractions(f"CONTRACTS = 'unused since'\n{source}") == []
