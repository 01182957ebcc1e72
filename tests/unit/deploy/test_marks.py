"""Which tests hold a case from the field or a promise, by the marks in their files."""

from scripts.marks import numbers_of_tests

SOURCE = """
pytestmark = {mark}

def helper(): ...

@pytest.mark.promise("G1")
@pytest.mark.field_case("10")
def test_alone(): ...

@pytest.mark.field_case("11")
class TestMany:
    pytestmark = pytest.mark.field_case("12")

    async def test_inside(self): ...
"""


def test_marks_of_a_module_count_for_each_of_its_tests() -> None:
    for mark in ('pytest.mark.field_case("25")', '[pytest.mark.slow, pytest.mark.field_case("25")]'):
        found = dict(numbers_of_tests(SOURCE.format(mark=mark), "field_case"))
        assert found == {"test_alone": ["25", "10"], "test_inside": ["25", "11", "12"]}


def test_marks_of_another_name_do_not_count() -> None:
    found = dict(numbers_of_tests(SOURCE.format(mark="[]"), "promise"))
    assert found == {"test_alone": ["G1"], "test_inside": []}


def test_a_module_without_marks_holds_no_case() -> None:
    assert dict(numbers_of_tests("def test_a(): ...", "field_case")) == {"test_a": []}
