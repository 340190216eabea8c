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
    "create_exclude_constraint",
    "create_foreign_key",
    "create_primary_key",
    "create_unique_constraint",
}
# The first versions were never replaced while they ran.
RULE_SINCE = "0003"
MIGRATIONS = sorted(
    (PROJECT_ROOT / "core" / "postgres" / "migrations" / "versions").glob("[0-9]*.py")
)


def contractions(source: str) -> list[str]:
    """What `upgrade` takes away or tightens, unless the migration says why it may."""
    module = ast.parse(source)
    if any(isinstance(node, ast.Assign) and _names(node, "CONTRACTS") for node in module.body):
        return []
    [upgrade] = [
        node for node in module.body if isinstance(node, ast.FunctionDef) and node.name == "upgrade"
    ]
    calls = [node for node in ast.walk(upgrade) if isinstance(node, ast.Call)]
    new_tables = {_argument(call, 0) for call in calls if _is_step(call, "create_table")}
    return [
        ast.unparse(call)
        for call in calls
        if _is_step(call, *CONTRACTING)
        or _demands_a_value(call)
        or (_forbids_twins(call) and _argument(call, 1) not in new_tables)
    ]


def _is_step(call: ast.Call, *names: str) -> bool:
    return isinstance(call.func, ast.Attribute) and call.func.attr in names


def _argument(call: ast.Call, place: int) -> str:
    return ast.unparse(call.args[place]) if len(call.args) > place else ""


def _options(call: ast.Call) -> dict[str | None, str]:
    return {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}


def _forbids_twins(call: ast.Call) -> bool:
    """An index of a table that is in use, which an older version's INSERT may fail on."""
    return _is_step(call, "create_index") and _options(call).get("unique", "False") != "False"


def _names(node: ast.Assign, name: str) -> bool:
    return any(isinstance(target, ast.Name) and target.id == name for target in node.targets)


def _demands_a_value(call: ast.Call) -> bool:
    """A column added that an older version's INSERT, which does not name it, would fail on."""
    if not _is_step(call, "add_column"):
        return False
    [column] = [argument for argument in call.args if isinstance(argument, ast.Call)]
    options = _options(column)
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
        ("op.create_index('ix', 'bids', ['price'])", False),
        ("op.create_index('ix', 'bids', ['price'], unique=False)", False),
        ("op.create_index('ix', 'bids', ['price'], unique=True)", True),
        ("op.create_table('more'); op.create_index('ix', 'more', ['x'], unique=True)", False),
        ("op.create_foreign_key('fk', 'bids', 'users', ['user_id'], ['id'])", True),
        ("op.create_primary_key('pk', 'bids', ['id'])", True),
    ],
)
def test_the_rule_tells_what_tightens(step: str, refused: bool) -> None:
    source = f"def upgrade():\n    {step}\n"
    assert bool(contractions(source)) is refused
    assert contractions(f"CONTRACTS = 'unused since'\n{source}") == []
