"""Which tests hold a case from the field, by the marks in their files."""

from scripts.field_cases import marks_of

SOURCE = """
pytestmark = {mark}

def helper(): ...

@pytest.mark.field_case("10")
def test_alone(): ...

@pytest.mark.field_case("11")
class TestMany:
    pytestmark = pytest.mark.field_case("12")

    async def test_inside(self): ...
"""


def test_marks_of_a_module_count_for_each_of_its_tests() -> None:
    for mark in ('pytest.mark.field_case("25")', '[pytest.mark.slow, pytest.mark.field_case("25")]'):
        found = dict(marks_of(SOURCE.format(mark=mark)))
        assert found == {"test_alone": ["25", "10"], "test_inside": ["25", "11", "12"]}


def test_a_module_without_marks_holds_no_case() -> None:
    assert dict(marks_of("def test_a(): ...")) == {"test_a": []}
