"""The checked-in stubs are those of the checked-in proto."""

from pathlib import Path

from policy_controller.wire import generate


def test_regenerating_the_stubs_gives_the_same_bytes(tmp_path: Path) -> None:
    generate.generate(tmp_path)
    made = tmp_path / generate.PROTO.parent
    assert sorted(path.name for path in made.iterdir()) == sorted(generate.STUBS)
    for name in generate.STUBS:
        checked_in = generate.REPOSITORY / generate.PROTO.parent / name
        assert (made / name).read_bytes() == checked_in.read_bytes(), name
