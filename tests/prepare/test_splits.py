import random

import pytest

from retinanet.prepare.splits import SplitCandidate, draw_splits, hash_position


def images(count: int, classes=("a",), start: int = 0) -> list[SplitCandidate]:
    return [SplitCandidate(f"p{n}", f"p{n}", frozenset(classes)) for n in range(start, start + count)]


def names_in(chosen: dict[str, str], split: str) -> set[str]:
    return {name for name, chosen_split in chosen.items() if chosen_split == split}


def test_hash_position_depends_on_seed_and_name():
    assert hash_position("p1", 0) == hash_position("p1", 0)
    assert hash_position("p1", 0) != hash_position("p1", 1)
    assert 0 <= hash_position("p1", 0) < 1


def test_split_sizes_are_close_to_the_shares():
    chosen = draw_splits(images(2000), 0.15, 0.2, seed=0)
    assert len(names_in(chosen, "test")) == pytest.approx(400, abs=60)
    assert len(names_in(chosen, "val")) == pytest.approx(300, abs=60)


def test_another_seed_gives_other_splits():
    assert draw_splits(images(50), 0.2, 0.2, seed=0) != draw_splits(images(50), 0.2, 0.2, seed=1)


def test_val_and_test_get_an_image_even_of_four():
    for seed in range(50):
        chosen = draw_splits(images(4), 0.1, 0.1, seed)
        assert names_in(chosen, "val") and names_in(chosen, "test")


def test_a_share_of_zero_gives_an_empty_split():
    assert not names_in(draw_splits(images(30), 0.3, 0.0, seed=0), "test")
    assert not names_in(draw_splits(images(30), 0.0, 0.3, seed=0), "val")


def test_rare_classes_are_in_train_and_test():
    """Ten images of a rare class among a thousand: by chance alone, test would lack it for one in ten seeds."""
    everything = images(1000) + images(10, ("a", "rare"), start=1000)
    for seed in range(40):
        chosen = draw_splits(everything, 0.15, 0.2, seed)
        rare = [chosen[f"p{n}"] for n in range(1000, 1010)]
        assert {"train", "test"} <= set(rare)


def test_with_many_single_image_classes_train_keeps_a_quarter_of_the_images():
    singles = [SplitCandidate(f"p{n}", f"p{n}", frozenset({f"class {n}"})) for n in range(500)]
    chosen = draw_splits(singles, 0.15, 0.2, seed=0)
    assert len(names_in(chosen, "train")) >= 0.25 * 500


def test_a_group_stays_in_one_split():
    drawn = [SplitCandidate(f"p{n}", f"patient {n % 20}", frozenset({"a"})) for n in range(200)]
    chosen = draw_splits(drawn, 0.2, 0.2, seed=3)
    assert all(len({chosen[f"p{n}"] for n in range(patient, 200, 20)}) == 1 for patient in range(20))
    assert set(chosen.values()) == {"train", "val", "test"}


def test_linked_images_share_a_split_and_train_wins():
    drawn = images(40)
    alone = draw_splits(drawn, 0.2, 0.2, seed=0)
    first, second = min(names_in(alone, "test")), min(names_in(alone, "train"))
    chosen = draw_splits(drawn, 0.2, 0.2, seed=0, linked=[[first, second]])
    assert chosen[first] == chosen[second] == "train"
    assert {name: chosen[name] for name in chosen if name != first} == {n: alone[n] for n in alone if n != first}


def test_covered_classes_need_no_image():
    two = images(2)
    seed = next(s for s in range(99) if min(hash_position(p.name, s) for p in two) > 0.5)
    covered = {"val": {"a"}, "test": {"a"}}
    assert set(draw_splits(two, 0.1, 0.1, seed, covered=covered).values()) == {"train"}
    assert len(set(draw_splits(two, 0.1, 0.1, seed).values())) == 2


def test_adding_images_moves_none_from_train_to_val_or_test():
    """Random datasets with random classes and linked images: train stays train, val never becomes test."""
    generator = random.Random(0)
    for seed in range(300):
        everything = [
            SplitCandidate(f"p{n}", f"p{n}", frozenset(generator.sample("abcd", generator.randrange(4))))
            for n in range(generator.randrange(2, 40))
        ]
        old = everything[: generator.randrange(1, len(everything))]
        alike = [generator.sample([p.name for p in everything], 2) for _ in range(generator.randrange(3))]
        old_names = {p.name for p in old}
        before = draw_splits(old, 0.15, 0.2, seed, [pair for pair in alike if set(pair) <= old_names])
        after = draw_splits(everything, 0.15, 0.2, seed, alike)
        moved = {(before[name], after[name]) for name in old_names if before[name] != after[name]}
        assert moved <= {("test", "val"), ("test", "train"), ("val", "train")}


def test_no_images_give_no_splits():
    assert draw_splits([], 0.2, 0.2, 0) == {}
