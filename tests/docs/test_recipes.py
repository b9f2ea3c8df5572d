import re

import pytest

from calipers.train import OBJECTIVES, load_recipe
from tests.docs.pages import PAGES, ROOT

BLOCKS = [
    pytest.param(block, id=f"{page.stem}-{number}")
    for page in PAGES
    for number, block in enumerate(re.findall(r"```toml\n(.*?)```", page.read_text(), re.DOTALL))
]


@pytest.mark.parametrize("block", BLOCKS)
def test_the_recipes_of_the_pages_are_valid(block: str, tmp_path) -> None:
    (tmp_path / "recipe.toml").write_text(block)
    assert load_recipe(str(tmp_path / "recipe.toml")).epochs > 0


def test_the_page_of_certified_training_names_its_objectives_and_their_settings() -> None:
    page = (ROOT / "docs/certified-training.md").read_text()
    for name in ("ibp", "crown-ibp", "capm", "sabr", "mtl-ibp"):
        missing = [field for field in OBJECTIVES[name].settings.model_fields if f"`{field}`" not in page]
        assert (f"`{name}`" in page, missing) == (True, [])
